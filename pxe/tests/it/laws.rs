//! What holds for every input.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;
use pxe::dhcp::{Arrival, Decision, Door, Mode, ReplyKind, Request};
use pxe::files::{Resolved, StoreFile, Transport, resolve};
use pxe::tftp::TftpAnswer;
use pxe::{Mac, Time};

use crate::clients;
use crate::wire::{Answer, Packet, SERVER, Server, ip, mac};

/// One thing that happens on the network or at the operator's desk.
#[derive(Clone, Debug)]
enum Happening {
    Packet(Packet, Door),
    SetAddress(Mac, Ipv4Addr),
    Free(Mac),
    Wait(u64),
}

fn any_mac() -> impl Strategy<Value = Mac> {
    (1_u8..8).prop_map(mac)
}

/// Mostly in or near the pool, which has ten.
fn any_address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![6 => (98_u8..112).prop_map(ip), 1 => any::<u8>().prop_map(ip), 1 => any::<u32>().prop_map(Ipv4Addr::from)]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let kinds = prop_oneof![4 => Just(1_u8), 6 => Just(3), 1 => Just(4), 1 => Just(7), 1 => Just(8)];
    let client = 0_usize..5;
    let (asked, server) = (prop::option::of(any_address()), prop::option::weighted(0.6, Just(SERVER)));
    let ciaddr = prop::option::weighted(0.3, any_address());
    let giaddr = prop::option::weighted(0.05, any_address());
    (any_mac(), kinds, client, asked, server, ciaddr, giaddr).prop_map(
        |(mac, kind, client, asked, server, ciaddr, giaddr)| {
            let make = [
                clients::ovmf_pxe,
                clients::ipxe_rom,
                clients::ipxe_undionly,
                clients::networkd,
                clients::ovmf_http,
            ][client];
            let mut packet = make(mac, kind);
            if let Some(asked) = asked {
                packet = packet.with(50, asked.octets());
            }
            if let Some(server) = server {
                packet = packet.with(54, server.octets());
            }
            packet.ciaddr = ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
            packet.giaddr = giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
            packet
        },
    )
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let door = prop_oneof![9 => Just(Door::Lan), 1 => Just(Door::Proxy)];
    prop_oneof![
        20 => (any_packet(), door).prop_map(|(packet, door)| Happening::Packet(packet, door)),
        1 => (any_mac(), any_address()).prop_map(|(mac, address)| Happening::SetAddress(mac, address)),
        1 => any_mac().prop_map(Happening::Free),
        3 => prop_oneof![1_u64..90, 1_000_u64..5_000, 80_000_u64..90_000].prop_map(Happening::Wait),
    ]
}

/// What the clients were told: the other side of the books.
#[derive(Default)]
struct Told {
    /// Who believes that it may use which address, and until when.
    uses: BTreeMap<Ipv4Addr, (Mac, Time)>,
    /// The address a machine was last acknowledged, until it declined it or a person changed it.
    own: BTreeMap<Mac, Ipv4Addr>,
}

impl Told {
    fn acknowledged(&mut self, mac: Mac, address: Ipv4Addr, now: Time, lease_seconds: u32) {
        if let Some((user, until)) = self.uses.get(&address) {
            assert!(*user == mac || *until <= now, "{address} is {user}'s until {until:?}, and now {mac}'s");
        }
        let own = self.own.insert(mac, address);
        assert!(own.is_none_or(|own| own == address), "{mac} had {own:?} and now has {address}");
        self.uses.retain(|_, (user, _)| *user != mac);
        self.uses.insert(address, (mac, now.plus_seconds(u64::from(lease_seconds))));
    }
}

fn happen(server: &mut Server, told: &mut Told, happening: &Happening) {
    match happening {
        Happening::Wait(seconds) => server.now = server.now.plus_seconds(*seconds),
        Happening::SetAddress(mac, address) => {
            if let Ok(change) = server.leases.set_address(&server.policy, *mac, *address, server.now) {
                server.leases.apply(&change).unwrap();
                told.own.remove(mac);
            }
        }
        Happening::Free(mac) => {
            if let Some(change) = server.leases.release(*mac, server.now) {
                server.leases.apply(&change).unwrap();
                told.own.remove(mac);
            }
        }
        Happening::Packet(packet, door) => heard(server, told, packet, *door),
    }
}

fn heard(server: &mut Server, told: &mut Told, packet: &Packet, door: Door) {
    let sender = packet.request().mac;
    let source = SocketAddrV4::new(packet.ciaddr, 68);
    let in_quarantine: Vec<Ipv4Addr> = server.leases.quarantined(server.now).map(|(ip, _)| ip).collect();
    match server.hear_at(packet, Arrival { door, source }) {
        Decision::Ignore(why) => assert!(!why.to_string().is_empty()),
        Decision::Record { lease, .. } => {
            // The client has said that it does not use the address.
            told.uses.retain(|_, (user, _)| *user != sender);
            if lease.quarantine.is_some() {
                told.own.remove(&sender);
            }
        }
        Decision::Reply(reply) => {
            let answer = Answer::of(&reply);
            assert_eq!(answer.raw[28..34], sender.octets());
            assert!(reply.to.ip().is_broadcast() || server.policy.subnet.contains(reply.to.ip()));
            let Some(address) = reply.address else { return };
            assert_eq!(answer.yiaddr(), address);
            assert!(server.policy.is_for_clients(address), "{address}");
            assert!(!in_quarantine.contains(&address), "{address} was in quarantine");
            assert_eq!(server.leases.holder(address), Some(sender), "promised and not recorded");
            if reply.kind == ReplyKind::Ack {
                told.acknowledged(sender, address, server.now, server.policy.lease_seconds);
            }
        }
    }
}

proptest! {
    /// No two machines ever share an address, and a machine's address never changes (but by DECLINE or a person).
    #[test]
    fn addresses_are_never_shared_and_never_change(happenings in prop::collection::vec(any_happening(), 1..120)) {
        let (mut server, mut told) = (Server::new(), Told::default());
        for happening in &happenings {
            happen(&mut server, &mut told, happening);
            for (mac, lease) in server.leases.iter() {
                prop_assert_eq!(server.leases.holder(lease.ip), Some(mac));
            }
        }
    }

    /// Same inputs, same answer.
    #[test]
    fn deciding_is_a_function(packet in any_packet(), proxy in any::<bool>()) {
        let server = Server::new();
        let door = if proxy { Door::Proxy } else { Door::Lan };
        let arrival = Arrival { door, source: SocketAddrV4::new(ip(100), 68) };
        let request = packet.request();
        let answer = || server.decide(&request, arrival);
        prop_assert_eq!(answer(), answer());
    }

    #[test]
    fn any_octets_are_a_request_or_a_reason(octets in prop::collection::vec(any::<u8>(), 0..700)) {
        if let Err(why) = Request::parse(&octets) {
            prop_assert!(!why.to_string().is_empty());
        }
    }

    /// As above, past the guards: a sound header and any options.
    #[test]
    fn any_options_are_decided_about(
        options in prop::collection::vec(any::<u8>(), 0..400),
        fields in prop::collection::vec(any::<u8>(), 192),
        overload in 0_u8..5,
        proxy in any::<bool>(),
        mode in prop_oneof![Just(Mode::Full), Just(Mode::KnownOnly), Just(Mode::Off)],
    ) {
        let mut packet = Packet::of(mac(1), 1).with(52, [overload]);
        (packet.sname, packet.file) = (fields[..64].to_vec(), fields[64..].to_vec());
        let mut octets = packet.bytes();
        octets.pop();
        octets.extend(options);
        if let Ok(request) = Request::parse(&octets) {
            let mut server = Server::new();
            server.policy.mode = mode;
            let door = if proxy { Door::Proxy } else { Door::Lan };
            let arrival = Arrival { door, source: SocketAddrV4::new(ip(100), 4011) };
            if let Decision::Reply(reply) = server.decide(&request, arrival) {
                Answer::of(&reply);
                prop_assert!(reply.packet.len() <= 1472);
            }
        }
    }

    /// Whatever is asked for, only names of the table lead to anything.
    #[test]
    fn any_name_is_ours_or_refused(name in prop::collection::vec(any::<u8>(), 0..260)) {
        for transport in [Transport::Tftp, Transport::Http] {
            let found = resolve(&name, transport);
            prop_assert!(matches!(found, Resolved::NotFound(_) | Resolved::Refused(_)), "{:?}", found);
        }
    }

    /// Names made of the parts that names are made of.
    #[test]
    fn only_the_table_leads_to_a_store_file(
        parts in prop::collection::vec(
            prop::sample::select(vec!["sb", "boot", "grub", "..", ".", "", "shimx64.efi", "vmlinuz", "undionly.kpxe", "a"]),
            0..6,
        ),
    ) {
        let name = parts.join("/");
        let meant: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        if let Resolved::Static(file) = resolve(name.as_bytes(), Transport::Http) {
            prop_assert_eq!(meant.join("/"), file.client_name());
            prop_assert!(StoreFile::ALL.contains(&file));
        }
    }

    #[test]
    fn any_packet_to_port_69_is_bounded(
        opcode in 0_u8..8,
        rest in prop::collection::vec(any::<u8>(), 0..120),
        options in prop::collection::vec(("(blksize|windowsize|timeout|tsize|[a-z]{1,4})", "[0-9]{1,25}"), 0..6),
        mtu in any::<u16>(),
    ) {
        if let TftpAnswer::Error(error) = pxe::tftp::decide(&[&[0, opcode][..], &rest].concat(), mtu) {
            prop_assert!(error.packet().len() < 128);
        }
        let mut packet = b"\0\x01undionly.kpxe\0octet\0".to_vec();
        for (name, value) in &options {
            packet.extend(format!("{name}\0{value}\0").as_bytes());
        }
        let TftpAnswer::Serve { transfer, .. } = pxe::tftp::decide(&packet, mtu) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert!((8..=1468).contains(&transfer.block));
        prop_assert!((1..=16).contains(&transfer.window) && (1..=10).contains(&transfer.timeout));
        prop_assert!(transfer.oack(u64::MAX).is_none_or(|oack| oack.len() < 128));
    }
}
