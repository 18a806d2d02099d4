//! The listeners for boot files alone, as the daemon runs them: what `cargo xtask bench tftp` and `bench http` measure.
//!
//! `bootfiles INTERFACE ADDRESS STORE`: TFTP and HTTP on their ports, until it is ended. No state, no scripts.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use appliance::boot::BootStore;
use appliance::listen::files::{Asker, FileService, Files, Script, Served};
use appliance::listen::{ListenerState, Place, http, tftp};
use appliance::net::{Link, Presence};
use tokio::sync::watch;

struct NoTexts;

impl FileService for NoTexts {
    async fn script(&self, _: Script, _: &Asker) -> Result<String, String> {
        Err("there are no nodes here".to_owned())
    }

    fn served(&self, _: Served, _: &Asker) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address, store] = words.as_slice() else {
        return Err("bootfiles INTERFACE ADDRESS STORE".into());
    };
    let address: Ipv4Addr = address.parse()?;
    let files = Files::new(BootStore::open(Path::new(store))?, Arc::new(NoTexts));
    // As many threads as the daemon has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu"))?.trim().parse()?;
    let link = Link { name: interface.clone(), index: 0, mac: None, mtu, up: true, carrier: true };
    let (_present, presence) = watch::channel(Presence::Ready(link));
    let (_running, stop) = watch::channel(false);
    let place = Place { interface: interface.clone(), address, presence };
    runtime.block_on(async {
        let state = |kind| ListenerState::new(kind, interface);
        tokio::join!(
            tftp::serve(place.clone(), tftp::PORT, files.clone(), state("tftp"), stop.clone()),
            http::serve(place.clone(), 80, files.clone(), state("http"), stop.clone()),
        );
    });
    Ok(())
}
