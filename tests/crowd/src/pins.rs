//! The agent's own verifier before the controller's own certificates, while one site CA takes the place of another.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::controller::{CallError, Controller, Dates, Line};
use appliance::ca::{SiteCa, Start};
use appliance::config::Site;
use appliance::tls::Door;
use fleet::Time;
use fleet::trust::Trust;
use protocol::CaPin;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Whether an agent that pins this believes who listens there: it gets as far as its request, to which nobody answers.
async fn believes(address: std::net::SocketAddr, pin: CaPin) -> bool {
    let controller = Controller::new(address, pin, Dates::Strict, None).unwrap();
    let asked = Line::new(controller).call::<_, serde_json::Value>("/x", &(), Duration::from_secs(5)).await;
    !matches!(asked.unwrap_err(), CallError::Tls { .. } | CallError::Connect { .. })
}

#[tokio::test]
async fn whoever_pins_either_ca_believes_the_controller_until_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (site, now) = (Site::parse("lab").unwrap(), SystemTime::now());
    let ca = Arc::new(SiteCa::open(&dir.path().join("ca"), &site, Start::First, now).unwrap());
    let where_ = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let door = Arc::new(Door::new(Arc::clone(&ca), vec![where_]).unwrap());
    let listener = TcpListener::bind((where_, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn({
        let door = Arc::clone(&door);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = door.config();
                // Closed as soon as they have come to terms.
                tokio::spawn(async move { drop(TlsAcceptor::from(config).accept(stream).await) });
            }
        }
    });
    let old = ca.pin();
    assert!(believes(address, old).await && !believes(address, CaPin([7; 32])).await);
    let new = ca.make_next(now).unwrap();
    assert!(believes(address, old).await && !believes(address, new).await, "nobody was told yet");
    let changing = Trust { wanted: new, other: Some(old), first: old, since: Time(0) };
    ca.follow(Some(&changing), now).unwrap();
    assert!(believes(address, old).await, "a ramdisk and a disk of before");
    assert!(believes(address, new).await, "whoever was told");
    let back = Trust { wanted: old, other: Some(new), ..changing.clone() };
    ca.follow(Some(&back), now).unwrap();
    assert!(believes(address, old).await && believes(address, new).await, "on the way back");
    ca.follow(Some(&Trust { other: None, ..changing }), now).unwrap();
    assert!(!believes(address, old).await, "the old one is no word any more");
    assert!(believes(address, new).await);
}
