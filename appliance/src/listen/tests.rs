//! What the tests of listeners share.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::{Gate, ListenerState, Place, Stop};
use crate::net::{Link, Presence};

/// An interface that is ready and stays so.
pub(crate) fn place(interface: &str, address: Ipv4Addr) -> Place {
    // Senders live for ever: dropping one means that nobody watches any more.
    static SENDERS: OnceLock<std::sync::Mutex<Vec<watch::Sender<Presence>>>> = OnceLock::new();
    let (sender, presence) = watch::channel(Presence::Ready(link(interface, 1)));
    SENDERS.get_or_init(Default::default).lock().unwrap().push(sender);
    Place { interface: interface.into(), address, presence }
}

pub(crate) fn link(name: &str, index: u32) -> Link {
    Link { name: name.into(), index, mac: None, mtu: 1500, up: true, carrier: true }
}

/// A runtime on a thread of its own, for tests that block; it ends with the process.
pub(crate) fn background() -> tokio::runtime::Handle {
    let runtime = crate::net::tests::runtime();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// Waits until a listener listens, and says where.
pub(crate) async fn bound(state: &ListenerState) -> std::net::SocketAddr {
    loop {
        if let Some(address) = state.report().bound {
            return address;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn a_gate_counts_in_all_and_for_each_address() {
    let gate = Gate::new(3, 2);
    let (one, two): (std::net::IpAddr, _) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let first = gate.enter(one).unwrap();
    let second = gate.enter(one).unwrap();
    assert!(gate.enter(one).unwrap_err().to_string().contains("of the same"));
    let third = gate.enter(two).unwrap();
    assert!(gate.enter([10, 0, 0, 3].into()).unwrap_err().to_string().starts_with('3'));
    drop((second, third));
    assert_eq!(gate.inside(), 1);
    drop(first);
    assert_eq!(gate.inside(), 0);
    assert!(gate.enter(two).is_ok());
}

#[tokio::test]
async fn a_listener_follows_its_interface_and_outlives_its_failures() {
    let (sender, presence) = watch::channel(Presence::Gone);
    let (stopper, stop): (_, Stop) = watch::channel(false);
    let state = ListenerState::new("dhcp", "rw0");
    let place = Place { interface: "rw0".into(), address: Ipv4Addr::LOCALHOST, presence };
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let mut tries = 0;
    let running = tokio::spawn(super::supervise::supervise(place, Arc::clone(&state), stop, move |link| {
        tries += 1;
        started.send(link.index).unwrap();
        let fail = tries == 2;
        async move { if fail { std::io::Error::other("EMFILE, say") } else { std::future::pending().await } }
    }));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(state.report().waiting.as_deref(), Some("the interface is gone"));
    sender.send(Presence::Ready(link("rw0", 7))).unwrap();
    assert_eq!(starts.recv().await, Some(7));
    sender.send(Presence::Gone).unwrap();
    sender.send(Presence::Ready(link("rw0", 8))).unwrap();
    assert_eq!(starts.recv().await, Some(8));
    assert_eq!(starts.recv().await, Some(8), "after the failure it is opened again");
    assert!(state.report().last.unwrap().what.contains("EMFILE"));
    stopper.send(true).unwrap();
    running.await.unwrap();
}
