//! On a veth pair: a client that has no address yet on one side, us on the other.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pxe::dhcp::Door;
use tokio::sync::{mpsc, watch};

use super::{DhcpAnswer, DhcpIn, DhcpService, PORTS, serve};
use crate::listen::{ListenerState, Place};
use crate::net::tests::{Other, alone, ip, runtime};
use crate::net::{Net, watch as watch_interface};
use crate::writer::Urgency;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Broadcasts every packet back behind the door's number; silent about those whose first octet is 0, and calls those
/// that begin with 9 malformed.
#[derive(Default)]
struct Echo {
    seen: AtomicUsize,
}

impl DhcpService for Echo {
    type Question = DhcpIn;
    type Decided = DhcpIn;

    fn read(&self, packet: DhcpIn) -> Result<(Urgency, DhcpIn), String> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        assert_eq!((&*packet.interface, packet.address), ("rw0", OURS));
        match packet.bytes.first() {
            Some(9) => Err("a nine".into()),
            _ => Ok((Urgency::Stranger, packet)),
        }
    }

    async fn ask(&self, questions: Vec<DhcpIn>, answers: &mpsc::UnboundedSender<Vec<DhcpIn>>) {
        answers.send(questions).unwrap();
    }

    fn say(&self, packet: DhcpIn) -> DhcpAnswer {
        if packet.bytes.first() == Some(&0) {
            return DhcpAnswer::Silence;
        }
        let door = u8::from(packet.arrival.door == Door::Proxy);
        let to = match packet.arrival.source.ip() {
            ip if ip.is_unspecified() => SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
            _ => packet.arrival.source,
        };
        DhcpAnswer::Send { to, packet: [&[door], packet.bytes.as_slice()].concat() }
    }
}

/// A client's socket, tied to its side of the cable.
fn client(address: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.bind_device(Some(b"rw1")).unwrap();
    socket.bind(&std::net::SocketAddr::from((address, port)).into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.into()
}

fn packet(first: u8, mac: u8) -> Vec<u8> {
    let mut bytes = vec![first; 300];
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, mac]);
    bytes
}

/// Asks until there is an answer, as clients do.
fn ask(socket: &UdpSocket, to: (Ipv4Addr, u16), packet: &[u8]) -> (Vec<u8>, SocketAddrV4) {
    let mut buffer = [0; 2000];
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    for _ in 0..20 {
        socket.send_to(packet, to).unwrap();
        if let Ok((length, std::net::SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
            return (buffer[..length].to_vec(), from);
        }
    }
    panic!("no answer from {to:?}");
}

/// Runs this at the other end of the cable, without holding up the listeners.
fn there<T: Send + 'static>(
    other: &Arc<Other>,
    there: impl FnOnce(&Other) -> T + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let other = Arc::clone(other);
    tokio::task::spawn_blocking(move || other.run(|| there(&other)))
}

fn start(place: &Place, service: &Arc<Echo>) -> (watch::Sender<bool>, Vec<Arc<ListenerState>>) {
    let (stopper, stop) = watch::channel(false);
    let states = PORTS.map(|(door, port)| {
        let state = ListenerState::new(if port == 67 { "dhcp" } else { "proxydhcp" }, &place.interface);
        tokio::spawn(serve(
            place.clone(),
            (door, port),
            Arc::clone(service),
            Arc::clone(&state),
            stop.clone(),
        ));
        state
    });
    (stopper, states.into())
}

async fn ready() -> Place {
    let net = Net::open().unwrap();
    let address = "10.77.0.1/24".parse().unwrap();
    net.prepare("rw0", address, Duration::from_secs(10), |_| ()).await.unwrap();
    Place { interface: "rw0".into(), address: OURS, presence: watch_interface("rw0", address).await.unwrap() }
}

#[test]
fn a_broadcast_is_answered_from_our_address_on_the_same_interface() {
    if !alone("listen::dhcp::tests::a_broadcast_is_answered_from_our_address_on_the_same_interface") {
        return;
    }
    let other = Arc::new(Other::new());
    other.cable();
    // Another address first: the kernel would send from that one.
    ip("addr add 10.78.0.1/24 dev rw0");
    runtime().block_on(async {
        let (place, service) = (ready().await, Arc::new(Echo::default()));
        let (_stopper, states) = start(&place, &service);
        let blocking = there(&other, |other| {
            let nobody = client(Ipv4Addr::UNSPECIFIED, 68);
            let (answer, from) = ask(&nobody, (Ipv4Addr::BROADCAST, 67), &packet(1, 1));
            assert_eq!((from, answer[0], &answer[1..]), (SocketAddrV4::new(OURS, 67), 0, &packet(1, 1)[..]));
            for length in [0, 1, 33] {
                nobody.send_to(&packet(1, 1)[..length], (Ipv4Addr::BROADCAST, 67)).unwrap();
            }
            nobody.send_to(&packet(0, 2), (Ipv4Addr::BROADCAST, 67)).unwrap();
            nobody.send_to(&packet(9, 3), (Ipv4Addr::BROADCAST, 67)).unwrap();
            other.ip("addr add 10.77.0.9/24 dev rw1");
            let somebody = client(Ipv4Addr::new(10, 77, 0, 9), 4011);
            let (answer, from) = ask(&somebody, (OURS, 4011), &packet(1, 4));
            assert_eq!((from, answer[0]), (SocketAddrV4::new(OURS, 4011), 1));
            ask(&nobody, (Ipv4Addr::BROADCAST, 67), &packet(1, 5))
        });
        blocking.await.unwrap();
        let report = states[0].report();
        assert_eq!(report.bound, Some((OURS, 67).into()));
        assert_eq!(report.refused, 4, "{report:?}");
        assert!(report.last.unwrap().what.contains("a nine"));
        assert_eq!(states[1].report().answered, 1);
    });
}

#[test]
fn one_that_floods_is_slowed_and_the_others_are_answered() {
    if !alone("listen::dhcp::tests::one_that_floods_is_slowed_and_the_others_are_answered") {
        return;
    }
    let other = Arc::new(Other::new());
    other.cable();
    runtime().block_on(async {
        let (place, service) = (ready().await, Arc::new(Echo::default()));
        let (_stopper, states) = start(&place, &service);
        crate::listen::tests::bound(&states[0]).await;
        let blocking = there(&other, |_| {
            let nobody = client(Ipv4Addr::UNSPECIFIED, 68);
            for _ in 0..500 {
                nobody.send_to(&packet(0, 1), (Ipv4Addr::BROADCAST, 67)).unwrap();
            }
            ask(&nobody, (Ipv4Addr::BROADCAST, 67), &packet(1, 2));
        });
        blocking.await.unwrap();
        let report = states[0].report();
        assert!(report.dropped >= 400, "{report:?}");
        assert!(service.seen.load(Ordering::Relaxed) <= 60, "{report:?}");
        assert!(report.last.unwrap().what.contains("02:00:00:00:00:01 asks too often"));
    });
}

#[test]
fn it_serves_again_when_its_interface_comes_back() {
    if !alone("listen::dhcp::tests::it_serves_again_when_its_interface_comes_back") {
        return;
    }
    let other = Arc::new(Other::new());
    other.cable();
    runtime().block_on(async {
        let (place, service) = (ready().await, Arc::new(Echo::default()));
        let (stopper, states) = start(&place, &service);
        let once = || {
            there(&other, |_| {
                ask(&client(Ipv4Addr::UNSPECIFIED, 68), (Ipv4Addr::BROADCAST, 67), &packet(1, 1));
            })
        };
        once().await.unwrap();
        ip("link del rw0");
        while states[0].report().waiting.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        other.cable();
        ready().await;
        once().await.unwrap();
        stopper.send(true).unwrap();
        while Arc::strong_count(&states[0]) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
