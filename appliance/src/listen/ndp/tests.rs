//! On a veth pair: firmware that boots on one side, us on the other.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::{ALL_ROUTERS, NdpAnswer, NdpService, serve};
use crate::listen::tests::bound;
use crate::listen::{ListenerState, Place};
use crate::net::tests::{Other, alone, ip, runtime};
use crate::net::{Net, watch as watch_interface};

/// The other side's hardware address, and what it makes of it for itself.
const MAC: [u8; 6] = [0x52, 0x54, 0, 0xab, 0xcd, 5];
const ITS_OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfeab, 0xcd05);
const ADVERTISEMENT: [u8; 16] = [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Advertises to whom says [`MAC`], is silent to others, and calls those that say nothing malformed.
struct Firmware;

impl NdpService for Firmware {
    fn answer(&self, message: &[u8], source: Ipv6Addr) -> NdpAnswer {
        assert_eq!((message[0], source), (133, ITS_OWN), "the kernel lets nothing else through");
        match message.get(10..16) {
            Some(mac) if mac == MAC => NdpAnswer::Send(ADVERTISEMENT.to_vec()),
            Some(_) => NdpAnswer::Silence("another".into()),
            None => NdpAnswer::Malformed("it says nothing".into()),
        }
    }
}

/// A message of the other side, out of its end of the cable, with this hop limit.
fn send(socket: &Socket, message: &[u8], hops: u32) {
    socket.set_multicast_hops_v6(hops).unwrap();
    // Until its address is usable nothing leaves.
    let _ = socket.send_to(message, &SocketAddr::V6(SocketAddrV6::new(ALL_ROUTERS, 0, 0, 0)).into());
}

fn firmware() -> Socket {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.bind_device(Some(b"rw1")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// The first router advertisement that comes in time, and from whom: raw sockets see all there is.
fn advertised(socket: &Socket) -> Option<(Vec<u8>, SocketAddr)> {
    let socket = std::net::UdpSocket::from(socket.try_clone().unwrap());
    let mut buffer = [0; 2000];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if buffer[0] == 134 {
            return Some((buffer[..length].to_vec(), from));
        }
    }
    None
}

fn solicitation(mac: [u8; 6]) -> Vec<u8> {
    [&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1], mac.as_slice()].concat()
}

async fn start() -> (watch::Sender<bool>, Arc<ListenerState>) {
    let net = Net::open().unwrap();
    let address = "10.77.0.1/24".parse().unwrap();
    net.prepare("rw0", address, Duration::from_secs(10), |_| ()).await.unwrap();
    let presence = watch_interface("rw0", address).await.unwrap();
    let place = Place { interface: "rw0".into(), address: address.addr(), presence };
    let (stopper, stop) = watch::channel(false);
    let state = ListenerState::new("ndp", "rw0");
    tokio::spawn(serve(place, Arc::new(Firmware), Arc::clone(&state), stop));
    (stopper, state)
}

#[test]
fn firmware_that_asks_is_told_at_once_and_others_are_not() {
    if !alone("listen::ndp::tests::firmware_that_asks_is_told_at_once_and_others_are_not") {
        return;
    }
    let other = Arc::new(Other::new());
    other.cable();
    // As firmware makes its address; and at once, without asking whether somebody else has it.
    other.ip("link set rw1 down");
    other.ip("link set rw1 address 52:54:00:ab:cd:05 addrgenmode eui64");
    other.ip("link set rw1 up");
    runtime().block_on(async {
        let (_stopper, state) = start().await;
        let own = bound(&state).await;
        let there = Arc::clone(&other);
        let asked = move || {
            there.run(|| {
                let socket = firmware();
                // Until the other side may use its address.
                let told = (0..40).find_map(|_| {
                    send(&socket, &solicitation(MAC), 255);
                    advertised(&socket)
                });
                let far = {
                    send(&socket, &solicitation(MAC), 64);
                    advertised(&socket)
                };
                let another = {
                    send(&socket, &solicitation([2; 6]), 255);
                    advertised(&socket)
                };
                let nonsense = {
                    send(&socket, &[133, 0, 0, 0, 0, 0, 0, 0], 255);
                    advertised(&socket)
                };
                (told, [far, another, nonsense])
            })
        };
        let (told, silences) = tokio::task::spawn_blocking(asked).await.unwrap();
        let (message, from) = told.expect("an advertisement");
        // All but the checksum, which the other kernel has verified.
        assert_eq!((&message[..2], &message[4..]), (&ADVERTISEMENT[..2], &ADVERTISEMENT[4..]));
        assert_ne!(message[2..4], [0, 0]);
        assert_eq!(from.ip(), own.ip(), "from our link-local address");
        assert_eq!(silences, [None, None, None]);
        let report = state.report();
        assert_eq!((report.answered >= 1, report.refused), (true, 1), "{report:?}");
    });
}

#[test]
fn without_ipv6_on_the_interface_it_says_so_and_waits() {
    if !alone("listen::ndp::tests::without_ipv6_on_the_interface_it_says_so_and_waits") {
        return;
    }
    let other = Other::new();
    other.cable();
    ip("link set rw0 addrgenmode none");
    ip("-6 addr flush dev rw0");
    runtime().block_on(async {
        let (_stopper, state) = start().await;
        while state.report().last.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let report = state.report();
        assert!(report.last.unwrap().what.contains("no IPv6 link-local address"));
        assert_eq!((report.bound, report.waiting), (None, None), "no fault of the appliance");
        ip("-6 addr add fe80::77/64 dev rw0 nodad");
        assert_eq!(bound(&state).await.ip(), "fe80::77".parse::<Ipv6Addr>().unwrap());
    });
}
