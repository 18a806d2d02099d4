//! The TFTP clients that people have, judged by their own output; and firmware that does not like an answer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pxe::files::StoreFile;

use super::{Client, GRUB, Server, rrq};
use crate::boot::tests::content;

/// Runs a client that writes into a file; the file, and what the client said.
fn fetched(program: &str, with: impl FnOnce(&mut Command, &Path)) -> (Vec<u8>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("got");
    let mut command = Command::new(program);
    with(&mut command, &file);
    let done = command
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; `cargo xtask prerequisites` installs it"));
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(done.status.success(), "{program}: {said}");
    (std::fs::read(file).unwrap_or_else(|e| panic!("{program} wrote nothing ({e}): {said}")), said)
}

fn tftp_hpa(server: &Server, name: &str) -> (Vec<u8>, String) {
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    fetched("tftp", |tftp, to| {
        tftp.args(["-m", "octet", "-v", &host, &port, "-c", "get", name]).arg(to);
    })
}

fn atftp(server: &Server, name: &str, options: &[&str]) -> (Vec<u8>, String) {
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    fetched("atftp", |atftp, to| {
        for option in options {
            atftp.args(["--option", option]);
        }
        atftp.args(["--verbose", "--trace", "-g", "-r", name, "-l"]).arg(to).args([host, port]);
    })
}

#[test]
fn tftp_hpa_gets_a_loader_and_a_text() {
    let server = Server::start();
    let (got, said) = tftp_hpa(&server, "sb/shimx64.efi");
    assert!(got == content(StoreFile::Shim), "{said}");
    assert!(said.contains(&format!("Received {} bytes", got.len())), "{said}");
    assert_eq!(tftp_hpa(&server, "/grub/grub.cfg").0, GRUB.as_bytes());
    server.until(|r| r.answered == 2);
}

#[test]
fn atftp_gets_a_loader_with_every_option_that_it_has() {
    let server = Server::start();
    let table: [(&[&str], &[&str]); 6] = [
        (&[], &[]),
        (&["blksize 1468"], &["blksize: 1468"]),
        (&["blksize 1468", "windowsize 8"], &["blksize: 1468", "windowsize: 8"]),
        (&["windowsize 16", "tsize", "timeout 2"], &["windowsize: 16", "tsize: ", "timeout: 2"]),
        // One answer for many is none of ours: it goes on alone.
        (&["multicast"], &[]),
        (&["blksize 65464"], &["blksize: 1468"]),
    ];
    for (options, agreed) in table {
        let (got, said) = atftp(&server, "sb/shimx64.efi", options);
        assert!(got == content(StoreFile::Shim), "{options:?}: {} bytes", got.len());
        let oack = said.lines().find(|line| line.starts_with("received OACK")).unwrap_or_default();
        assert_eq!(oack.is_empty(), agreed.is_empty(), "{options:?}: {oack}");
        assert!(agreed.iter().all(|option| oack.contains(option)), "{options:?}: {oack}");
    }
}

#[test]
fn block_numbers_come_round_for_clients_that_follow() {
    let server = Server::start();
    // 65,536 blocks of 512 octets and some more; of 8 octets, many times round.
    let large: Vec<u8> =
        (0..33_600_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(server.store.path().join(StoreFile::Undionly.store_name()), &large).unwrap();
    let (got, said) = tftp_hpa(&server, "undionly.kpxe");
    assert!(got == large, "{} bytes: {said}", got.len());
    let small = &large[..600_000];
    std::fs::write(server.store.path().join(StoreFile::Undionly.store_name()), small).unwrap();
    assert!(server.curl("undionly.kpxe", &["--tftp-blksize", "8"]).unwrap() == small);
    assert!(atftp(&server, "undionly.kpxe", &["blksize 8"]).0 == small);
    server.until(|r| r.answered == 3);
}

#[test]
fn firmware_that_does_not_like_the_options_is_served_at_once_without_them() {
    let server = Server::start();
    type Options<'a> = &'a [(&'a str, &'a str)];
    let table: [(Options<'_>, Options<'_>); 3] = [
        (&[("blksize", "1468"), ("windowsize", "4")], &[("blksize", "1468")]),
        (&[("blksize", "1468"), ("windowsize", "4")], &[]),
        // OVMF asks for the size first; a client that then asks for the same is not left waiting either.
        (&[("tsize", "0"), ("blksize", "1468")], &[("tsize", "0"), ("blksize", "1468")]),
    ];
    let clock = Instant::now();
    for round in 0..20 {
        for (first, second) in table {
            let mut client = server.ask(&rrq("sb/shimx64.efi", first));
            assert_eq!(client.receive()[..2], [0, 6]);
            client.socket.send_to(b"\0\x05\0\x08options refused\0", client.from.unwrap()).unwrap();
            client.from = None;
            client.socket.send_to(&rrq("sb/shimx64.efi", second), server.address).unwrap();
            let answer = client.receive();
            if second.is_empty() {
                assert_eq!(answer[..4], [0, 3, 0, 1], "round {round}");
            } else {
                assert_eq!(answer[..2], [0, 6], "round {round}");
                assert!(
                    !String::from_utf8_lossy(&answer).contains("windowsize"),
                    "round {round}: {answer:?}"
                );
            }
            client.socket.send_to(b"\0\x05\0\0enough\0", client.from.unwrap()).unwrap();
        }
    }
    // The shortest time-out of ours is a second: none of the sixty waited for one.
    assert!(clock.elapsed() < Duration::from_secs(20), "{:?}", clock.elapsed());
}

#[test]
fn a_request_for_something_else_from_the_same_port_takes_the_place_of_the_first() {
    let server = Server::start();
    let mut client = server.ask(&rrq("sb/shimx64.efi", &[("blksize", "1024")]));
    assert_eq!(client.receive()[..2], [0, 6]);
    client.from = None;
    client.socket.send_to(&rrq("undionly.kpxe", &[("blksize", "512")]), server.address).unwrap();
    let oack = client.receive();
    assert!(String::from_utf8_lossy(&oack).contains("512"), "{oack:?}");
    client.acknowledge(0);
    assert!(client.rest(512) == content(StoreFile::Undionly));
}

/// What a request brings that nobody ever acknowledges: octets with the headers of IP and UDP, and packets.
fn echo(server: &Server, packet: &[u8]) -> (usize, usize) {
    const HEADERS: usize = 28;
    let client = server.ask(packet);
    client.socket.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    let (mut octets, mut packets) = (0, 0);
    let mut buffer = [0; 2000];
    while let Ok(length) = client.socket.recv(&mut buffer) {
        octets += length + HEADERS;
        packets += 1;
    }
    (octets * 100 / (packet.len() + HEADERS), packets)
}

#[test]
fn a_request_with_a_forged_sender_is_no_amplifier() {
    let server = Server::start();
    let firmware = rrq("sb/shimx64.efi", &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")]);
    // Without options the first block is the answer, and there is no smaller one.
    let table = [(firmware, 3, 300), (rrq("nothing.efi", &[]), 1, 300), (rrq("undionly.kpxe", &[]), 3, 3300)];
    std::thread::scope(|scope| {
        for (request, most, bound) in table {
            let server = &server;
            scope.spawn(move || {
                let (percent, packets) = echo(server, &request);
                assert!(packets == most && percent <= bound, "{percent} % in {packets} packets: {request:?}");
            });
        }
    });
}

#[test]
fn sixty_four_at_once_from_as_many_addresses_get_it_whole() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for number in 1..=64_u8 {
            let server = &server;
            scope.spawn(move || {
                let socket =
                    std::net::UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 1, number), 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let options = [("blksize", "1468"), ("windowsize", "4")];
                socket.send_to(&rrq("sb/grubx64.efi", &options), server.address).unwrap();
                let mut client = Client { socket, from: None, window: 4 };
                assert_eq!(client.receive()[..2], [0, 6]);
                client.acknowledge(0);
                assert!(client.rest(1468) == content(StoreFile::Grub));
            });
        }
    });
    server.until(|r| r.answered == 64);
    assert_eq!(server.report().dropped, 0);
}

#[test]
fn over_a_wire_that_loses_repeats_and_reorders_it_arrives_whole() {
    let server = Server::start();
    let mut dice = 7_u64;
    let mut roll = move |of: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % of
    };
    let options = [("blksize", "1468"), ("windowsize", "16"), ("timeout", "1")];
    let mut client = server.ask(&rrq("sb/grubx64.efi", &options));
    client.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let wanted = content(StoreFile::Grub);
    let (mut got, mut last, mut unsaid) = (Vec::new(), 0_u16, 0);
    let mut buffer = [0; 2000];
    let started = Instant::now();
    while got.len() < wanted.len() {
        assert!(started.elapsed() < Duration::from_secs(300), "{} of {} octets", got.len(), wanted.len());
        let say = match client.socket.recv_from(&mut buffer) {
            Err(_) => true,
            Ok(_) if roll(100) < 15 => false,
            Ok((length, from)) => {
                client.from.get_or_insert(from);
                let block = u16::from_be_bytes([buffer[2], buffer[3]]);
                if buffer[1] == 6 {
                    got.is_empty()
                } else if block == last.wrapping_add(1) {
                    got.extend_from_slice(&buffer[4..length]);
                    (last, unsaid) = (block, unsaid + 1);
                    unsaid == 16 || length < 1472
                } else {
                    std::mem::take(&mut unsaid) > 0
                }
            }
        };
        if say && client.from.is_some() {
            unsaid = 0;
            for _ in 0..1 + u64::from(roll(100) < 15) {
                if roll(100) >= 15 {
                    client.acknowledge(last);
                }
            }
        }
    }
    assert!(got == wanted);
    client.acknowledge(last);
    server.until(|r| r.answered == 1);
}
