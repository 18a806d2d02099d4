//! What a machine is handed next, by what became of it before.

use std::net::SocketAddrV4;

use pxe::boot::{Choice, History, Loader, LocalBoot, Past, Rows};
use pxe::dhcp::{Arrival, BootFile, Decision, Door, Machine, Reply, decide};
use pxe::files::StoreFile;
use pxe::{BootPath, Mac, Time};

use crate::clients::{bios_rom, ipxe_rom, ipxe_undionly, ovmf_http, ovmf_pxe};
use crate::wire::{NOW, Packet, Server, broadcast, ip, mac, replied, selecting};

/// A server that remembers, as the shell would: choose, decide, commit, note.
struct Lab {
    server: Server,
    history: History,
    /// The machine has nothing to do here.
    idle: bool,
    xid: u32,
}

impl Lab {
    fn new() -> Lab {
        Lab { server: Server::new(), history: History::default(), idle: false, xid: 0 }
    }

    fn say(&mut self, packet: &Packet) -> Reply {
        let request = packet.request();
        let network = self.server.network();
        let now = self.server.now;
        let machine = Machine {
            choice: self.history.choose(&network, &request, broadcast(), now),
            local: self.idle.then(|| self.history.local(&request, now)),
            ..self.server.machine(request.mac)
        };
        let decided = decide(&network, &self.server.leases, machine, &request, broadcast(), now);
        let reply = replied(decided);
        if let Some(change) = &reply.lease {
            self.server.leases.apply(change).unwrap();
        }
        self.history.handed(&request, &reply, now);
        reply
    }

    /// One boot: DISCOVER and REQUEST four seconds later; the boot file. Then some minutes until the next.
    fn boot(&mut self, client: impl Fn(Mac, u8) -> Packet) -> BootFile {
        self.xid += 1;
        let with = |mut packet: Packet| {
            packet.xid = self.xid;
            packet
        };
        let (discover, request) = (with(client(mac(5), 1)), with(client(mac(5), 3)));
        let offer = self.say(&discover);
        self.wait(4);
        let Some(address) = offer.address else { return offer.boot.unwrap().0 };
        let ack = self.say(&request.with(50, address.octets()));
        assert_eq!(ack.boot, offer.boot, "what is acknowledged is what was offered");
        self.wait(4);
        ack.boot.unwrap().0
    }

    fn wait(&mut self, seconds: u64) {
        self.server.now = self.server.now.plus_seconds(seconds);
    }

    /// Boots that come to nothing; what each was handed.
    fn boots(&mut self, client: impl Fn(Mac, u8) -> Packet, times: usize) -> Vec<BootFile> {
        let boot = |_| {
            let file = self.boot(&client);
            self.wait(180);
            file
        };
        (0..times).map(boot).collect()
    }
}

const SHIM: BootFile = BootFile::Loader(StoreFile::Shim);
const SNPONLY: BootFile = BootFile::Loader(StoreFile::Snponly);

#[test]
fn what_came_to_nothing_twice_is_followed_by_the_next_and_then_by_the_first_again() {
    let mut lab = Lab::new();
    let handed = lab.boots(ovmf_pxe, 7);
    assert_eq!(handed, [SHIM, SHIM, SNPONLY, SNPONLY, SHIM, SHIM, SNPONLY]);
    let http = Lab::new().boots(ovmf_http, 3);
    let by_http = BootFile::HttpLoader;
    assert_eq!(http, [by_http(StoreFile::Shim), by_http(StoreFile::Shim), by_http(StoreFile::Snponly)]);
    let bios = Lab::new().boots(bios_rom, 4);
    assert_eq!(bios, [BootFile::Loader(StoreFile::Undionly); 4], "there is nothing else");
}

#[test]
fn a_client_that_repeats_itself_is_one_boot() {
    let mut lab = Lab::new();
    for _ in 0..3 {
        assert_eq!(lab.say(&ovmf_pxe(mac(5), 1)).boot.unwrap().0, SHIM);
        for _ in 0..4 {
            assert_eq!(lab.say(&ovmf_pxe(mac(5), 3).with(50, ip(100).octets())).boot.unwrap().0, SHIM);
            lab.wait(4);
        }
    }
}

#[test]
fn a_script_is_a_success_and_stays_the_choice() {
    let mut lab = Lab::new();
    lab.boots(ovmf_pxe, 2);
    for _ in 0..4 {
        assert_eq!(lab.boot(ovmf_pxe), SNPONLY);
        lab.history.fetched(mac(5), lab.server.now);
        lab.history.scripted(mac(5), lab.server.now);
        lab.history.arrived(mac(5), lab.server.now);
        lab.wait(300);
    }
    // A failure or two do not undo it at once, and a later success forgets them.
    assert_eq!(lab.boots(ovmf_pxe, 1), [SNPONLY]);
    assert_eq!(lab.boot(ovmf_pxe), SNPONLY);
    lab.history.held(mac(5), lab.server.now);
    lab.wait(300);
    assert_eq!(lab.boots(ovmf_pxe, 3), [SNPONLY, SNPONLY, SHIM]);
}

/// Somebody who restarts a machine now and then proves nothing.
#[test]
fn failures_far_apart_do_not_count() {
    let mut lab = Lab::new();
    for _ in 0..4 {
        assert_eq!(lab.boot(ovmf_pxe), SHIM);
        lab.wait(1900);
    }
}

/// Firmware with Secure Boot fetches iPXE whole, refuses it, and is back.
#[test]
fn a_loader_that_secure_boot_refuses_is_tried_once() {
    let mut lab = Lab::new();
    lab.boots(ovmf_pxe, 2);
    assert_eq!(lab.boot(ovmf_pxe), SNPONLY);
    lab.history.fetched(mac(5), lab.server.now);
    lab.wait(60);
    assert_eq!(lab.boot(ovmf_pxe), SHIM);
    // shim that was fetched whole is tried twice all the same.
    lab.history.fetched(mac(5), lab.server.now);
    lab.wait(60);
    assert_eq!(lab.boot(ovmf_pxe), SHIM);
}

#[test]
fn a_script_without_an_agent_is_borne_three_times() {
    let mut lab = Lab::new();
    for _ in 0..3 {
        assert_eq!(lab.boot(ovmf_pxe), SHIM);
        // GRUB asks again and again.
        for _ in 0..5 {
            lab.history.scripted(mac(5), lab.server.now);
            lab.wait(5);
        }
        lab.wait(120);
    }
    assert_eq!(lab.boot(ovmf_pxe), SNPONLY);
}

#[test]
fn a_new_machine_begins_with_what_worked_for_its_like() {
    let mut lab = Lab::new();
    lab.boots(ovmf_pxe, 2);
    lab.boot(ovmf_pxe);
    lab.history.scripted(mac(5), lab.server.now);
    let other =
        |mac: Mac| lab.history.choose(&lab.server.network(), &ovmf_pxe(mac, 1).request(), broadcast(), NOW);
    let ipxe = Choice { loader: Loader::Ipxe, ask_again: false };
    assert_eq!(other(mac(6)), Some(ipxe));
    let elsewhere = Mac::new([0x3c, 0xec, 0xef, 0, 0, 1]).unwrap();
    assert_eq!(other(elsewhere), None, "another maker");
    let by_http = ovmf_http(mac(6), 1).request();
    assert_eq!(lab.history.choose(&lab.server.network(), &by_http, broadcast(), NOW), None, "other firmware");
    assert_eq!(lab.boot(|_, kind| ovmf_pxe(mac(7), kind)), SNPONLY);
}

#[test]
fn ipxe_in_rom_whose_script_fails_is_given_ours() {
    let mut lab = Lab::new();
    let new_rom = |mac, kind| ipxe_undionly(mac, kind);
    let script = BootFile::Script(mac(5));
    let undionly = BootFile::Loader(StoreFile::Undionly);
    assert_eq!(lab.boots(new_rom, 4), [script, script, undionly, undionly]);
    assert_eq!(Lab::new().boots(ipxe_rom, 3), [undionly; 3], "an old one has nothing to run a script with");
}

/// A whole BIOS boot: the ROM and our iPXE are two stages, and one success.
#[test]
fn stages_of_one_boot_are_kept_apart() {
    let mut lab = Lab::new();
    for _ in 0..4 {
        assert_eq!(lab.boot(bios_rom), BootFile::Loader(StoreFile::Undionly));
        assert_eq!(lab.boot(ipxe_undionly), BootFile::Script(mac(5)));
        assert_eq!(lab.history.path(mac(5)), Some(BootPath::BiosPxe));
        lab.history.scripted(mac(5), lab.server.now);
        lab.history.arrived(mac(5), lab.server.now);
        lab.wait(120);
    }
}

/// Firmware that gives one entry of its boot order up and goes on with the next: what brings it on was the next one's.
#[test]
fn an_entry_that_came_to_nothing_is_not_credited_with_the_next() {
    let mut lab = Lab::new();
    for expected in [SHIM, SHIM, SNPONLY] {
        assert_eq!(lab.boot(ovmf_pxe), expected);
        lab.wait(60);
        lab.boot(ovmf_http);
        lab.history.fetched(mac(5), lab.server.now);
        lab.history.scripted(mac(5), lab.server.now);
        lab.history.arrived(mac(5), lab.server.now);
        lab.wait(240);
    }
}

/// Beside another server an offer may be ignored because of its form: the other form is tried before another loader.
#[test]
fn an_offer_that_is_ignored_is_made_in_the_other_form() {
    let mut lab = Lab::new();
    lab.server.policy.proxy = true;
    let mut handed = vec![];
    for seconds in [4, 8, 16, 30, 4, 8, 16, 30] {
        let mut packet = ovmf_pxe(mac(5), 1);
        packet.xid = 77;
        let reply = lab.say(&packet);
        let straight = crate::wire::Answer::of(&reply).option(43).is_some();
        assert_eq!(straight, !reply.choice.unwrap().ask_again);
        handed.push((reply.boot.unwrap().0, straight));
        lab.wait(seconds);
    }
    let (e, f) = ((SHIM, true), (SHIM, false));
    // The second question is within the first five seconds: a repetition.
    assert_eq!(handed, [e, e, e, f, f, f, (SNPONLY, true), (SNPONLY, true)]);
}

/// What is acknowledged on port 4011 is what was offered, also when it was offered for the last time; and it is one
/// handing out with the offer.
#[test]
fn port_4011_hands_out_what_the_offer_did() {
    let mut lab = Lab::new();
    lab.server.policy.proxy = true;
    let from = Arrival { door: Door::Proxy, source: SocketAddrV4::new(ip(33), 4011) };
    for boot in 0..8 {
        let mut packet = ovmf_pxe(mac(5), 1);
        packet.xid = 100 + boot;
        let offered = lab.say(&packet);
        lab.wait(6);
        let before = lab.history.clone();
        let (request, network) = (ovmf_pxe(mac(5), 3).request(), lab.server.network());
        let choice = lab.history.choose(&network, &request, from, lab.server.now);
        let machine = Machine { choice, ..Machine::default() };
        let decided = decide(&network, &lab.server.leases, machine, &request, from, lab.server.now);
        let acknowledged = replied(decided);
        assert_eq!(acknowledged.boot, offered.boot, "boot {boot}");
        assert_eq!(lab.history.handed(&request, &acknowledged, lab.server.now), Rows::new());
        assert_eq!(lab.history, before);
        lab.wait(120);
    }
}

/// A machine that is told to boot its disk and comes back to the network each time.
#[test]
fn another_way_to_the_disk_after_three_returns() {
    let mut lab = Lab { idle: true, ..Lab::new() };
    let mut handed = vec![];
    for _ in 0..9 {
        let file = lab.boot(ovmf_pxe);
        if file == SHIM {
            lab.history.sent_to_disk(mac(5), lab.server.now);
        }
        handed.push(file);
        lab.wait(100);
    }
    let gone = BootFile::Missing;
    assert_eq!(handed, [SHIM, SHIM, SHIM, gone, gone, gone, SHIM, SHIM, SHIM], "and round again");
}

#[test]
fn a_machine_that_runs_from_its_disk_is_not_led_another_way() {
    let mut lab = Lab { idle: true, ..Lab::new() };
    for _ in 0..8 {
        assert_eq!(lab.boot(ovmf_pxe), SHIM);
        lab.history.sent_to_disk(mac(5), lab.server.now);
        lab.wait(60);
        lab.history.arrived(mac(5), lab.server.now);
        lab.wait(60);
    }
    // Nor one whose firmware tries the network twice, by PXE and by HTTP, on its way to the disk.
    let mut lab = Lab { idle: true, ..Lab::new() };
    for _ in 0..2 {
        for _ in 0..2 {
            lab.boot(ovmf_pxe);
            lab.history.sent_to_disk(mac(5), lab.server.now);
            lab.wait(5);
            lab.boot(ovmf_http);
            lab.history.sent_to_disk(mac(5), lab.server.now);
        }
        lab.wait(4000);
    }
    assert_eq!(lab.history.local_by_script(mac(5)), LocalBoot::Start);
}

#[test]
fn ways_to_the_disk() {
    use LocalBoot::{MissingFile, Return, Start};
    for (loader, ways) in [
        (Loader::Shim, vec![Start, MissingFile, Start]),
        (Loader::Ipxe, vec![Start, Return, MissingFile, Start]),
        (Loader::Script, vec![Start, Return, MissingFile, Start]),
    ] {
        for pair in ways.windows(2) {
            assert_eq!(pair[0].next(loader), pair[1], "{loader:?}");
        }
    }
}

#[test]
fn a_missing_file_is_named_as_the_firmware_fetches() {
    let table = [
        (ovmf_pxe(mac(5), 1), "local-boot"),
        (bios_rom(mac(5), 1), "local-boot"),
        (ipxe_undionly(mac(5), 1), "local-boot"),
        (ovmf_http(mac(5), 1), "http://10.77.0.1/local-boot"),
    ];
    for (packet, file) in table {
        let server = Server::new();
        let decided = |local| {
            let machine = Machine { local, ..Machine::default() };
            let request = packet.request();
            let answered = decide(&server.network(), &server.leases, machine, &request, broadcast(), NOW);
            crate::wire::Answer::of(&replied(answered)).file()
        };
        assert_eq!(decided(Some(LocalBoot::MissingFile)), file);
        for local in [None, Some(LocalBoot::Start), Some(LocalBoot::Return)] {
            assert_ne!(decided(local), file);
        }
    }
}

#[test]
fn an_operators_choice_is_kept_to_where_there_is_such_a_loader() {
    let server = Server::new();
    let handed = |packet: &Packet, loader| {
        let machine = Machine { choice: Some(Choice { loader, ask_again: false }), ..Machine::default() };
        let request = packet.request();
        replied(decide(&server.network(), &server.leases, machine, &request, broadcast(), NOW))
            .boot
            .unwrap()
            .0
    };
    assert_eq!(handed(&ovmf_pxe(mac(5), 1), Loader::Ipxe), SNPONLY);
    assert_eq!(handed(&ovmf_pxe(mac(5), 1), Loader::Script), SHIM, "firmware runs no script");
    assert_eq!(handed(&bios_rom(mac(5), 1), Loader::Shim), BootFile::Loader(StoreFile::Undionly));
}

#[test]
fn arm64_is_served_when_the_boot_store_has_files_for_it() {
    let packet = |arch| ovmf_pxe(mac(5), 1).without(93).with(93, [0, arch]);
    let http = |arch| ovmf_http(mac(5), 1).without(93).with(93, [0, arch]);
    let all = [
        StoreFile::KernelArm64,
        StoreFile::RamdiskArm64,
        StoreFile::ShimArm64,
        StoreFile::GrubArm64,
        StoreFile::IpxeArm64,
    ];
    let with = |files: &[StoreFile], packet: &Packet| {
        let server = Server::new();
        let network = pxe::dhcp::Network { extras: files.iter().copied().collect(), ..server.network() };
        let request = packet.request();
        match decide(&network, &server.leases, Machine::default(), &request, broadcast(), NOW) {
            Decision::Reply(reply) => Ok(reply.boot.unwrap()),
            Decision::Ignore(why) => Err(why),
            Decision::Record { what, .. } => panic!("{what}"),
        }
    };
    let loader = BootFile::Loader;
    assert_eq!(with(&all, &packet(11)), Ok((loader(StoreFile::ShimArm64), BootPath::UefiPxeArm64)));
    let by_http = BootFile::HttpLoader(StoreFile::ShimArm64);
    assert_eq!(with(&all, &http(19)), Ok((by_http, BootPath::UefiHttpArm64)));
    assert_eq!(with(&all[..3], &packet(11)), Err(pxe::dhcp::Why::NoArm64Files), "shim without GRUB");
    let ipxe = [StoreFile::KernelArm64, StoreFile::RamdiskArm64, StoreFile::IpxeArm64];
    assert_eq!(with(&ipxe, &packet(11)), Ok((loader(StoreFile::IpxeArm64), BootPath::UefiPxeArm64)));
    assert_eq!(with(&all[2..], &packet(11)), Err(pxe::dhcp::Why::NoArm64Files), "no kernel");
    assert_eq!(with(&[], &http(19)), Err(pxe::dhcp::Why::NoArm64Files));
    assert_eq!(with(&[], &packet(7)), Ok((SHIM, BootPath::UefiPxe)));
}

#[test]
fn rows_come_back_as_they_went() {
    let mut lab = Lab::new();
    lab.boots(ovmf_pxe, 3);
    lab.history.scripted(mac(5), lab.server.now);
    let request = ovmf_pxe(mac(6), 1).request();
    let reply = replied(lab.server.decide(&request, broadcast()));
    let ack = Reply { kind: pxe::dhcp::ReplyKind::Ack, ..reply };
    let rows = lab.history.handed(&request, &ack, lab.server.now);
    let [(saved, Some(past))] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(*saved, mac(6));
    let text = serde_json::to_string(past).unwrap();
    assert_eq!(&serde_json::from_str::<Past>(&text).unwrap(), past, "{text}");
    let again = History::from_rows(lab.rows());
    assert_eq!(again, lab.history);
    assert_eq!(History::default().arrived(mac(1), NOW), Rows::new(), "of a machine never seen");
    assert_eq!(History::default().sent_to_disk(mac(1), NOW), Rows::new());
}

impl Lab {
    /// What the shell would have in its store.
    fn rows(&self) -> Vec<(Mac, Past)> {
        self.history.iter().map(|(mac, past)| (mac, past.clone())).collect()
    }
}

#[test]
fn a_flood_of_made_up_machines_is_forgotten_first_in_first_out() {
    let mut lab = Lab::new();
    lab.boot(ovmf_pxe);
    lab.history.fetched(mac(5), lab.server.now);
    lab.history.scripted(mac(5), lab.server.now);
    let Lab { mut history, .. } = lab;
    let server = Server::new();
    let mut removed = 0;
    for number in 0..5000_u32 {
        let [_, _, c, d] = number.to_be_bytes();
        let made_up = Mac::new([2, 0, 0, 0, c, d]).unwrap();
        let request = ovmf_pxe(made_up, 1).request();
        let reply = replied(server.decide(&request, broadcast()));
        let ack = Reply { kind: pxe::dhcp::ReplyKind::Ack, ..reply };
        let rows = history.handed(&request, &ack, Time(NOW.0 + u64::from(number)));
        removed += rows.iter().filter(|(_, past)| past.is_none()).count();
    }
    assert_eq!((history.iter().count(), removed), (4096, 5001 - 4096));
    assert_eq!(history.path(Mac::new([2, 0, 0, 0, 0, 0]).unwrap()), None);
    assert!(history.path(Mac::new([2, 0, 0, 0, 0x13, 0x87]).unwrap()).is_some());
    assert!(history.path(mac(5)).is_some(), "what booted here is kept before them");
}

#[test]
fn what_is_offered_and_never_taken_is_not_remembered() {
    let mut lab = Lab::new();
    for _ in 0..5 {
        lab.say(&ovmf_pxe(mac(5), 1));
        lab.wait(30);
    }
    assert_eq!(lab.history, History::default());
    lab.say(&selecting(mac(5), ip(100)));
    assert_eq!(lab.history, History::default(), "an installed system");
}
