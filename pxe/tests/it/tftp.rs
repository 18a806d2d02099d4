//! Requests to port 69.

use pxe::files::{NotFound, Refused, Resolved, StoreFile};
use pxe::tftp::{Silent, TftpAnswer, TftpWhy, Transfer, decide};

const MTU: u16 = 1500;

fn rrq(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = [&[0, 1][..], name.as_bytes(), b"\0octet\0"].concat();
    for (option, value) in options {
        packet.extend(format!("{option}\0{value}\0").as_bytes());
    }
    packet
}

fn served(packet: &[u8], mtu: u16) -> (Resolved, Transfer) {
    match decide(packet, mtu) {
        TftpAnswer::Serve { what, transfer } => (what, transfer),
        other @ (TftpAnswer::Error(_) | TftpAnswer::Silence(_)) => panic!("{other:?}"),
    }
}

fn refused(packet: &[u8]) -> TftpWhy {
    match decide(packet, MTU) {
        TftpAnswer::Error(error) => error.why,
        other @ (TftpAnswer::Serve { .. } | TftpAnswer::Silence(_)) => panic!("{other:?}"),
    }
}

#[test]
fn what_ovmf_and_shim_and_grub_ask_for() {
    let probe = rrq("sb/shimx64.efi", &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")]);
    let (what, transfer) = served(&probe, MTU);
    assert_eq!(what, Resolved::Static(StoreFile::Shim));
    assert_eq!((transfer.block, transfer.window), (1468, 4));
    let oack = transfer.oack(965_000).unwrap();
    assert_eq!(oack, b"\0\x06blksize\x001468\0windowsize\x004\0tsize\x00965000\0");

    let (_, transfer) = served(&rrq("sb/grubx64.efi", &[("blksize", "512"), ("windowsize", "4")]), MTU);
    assert_eq!(transfer.oack(1).unwrap(), b"\0\x06blksize\x00512\0windowsize\x004\0");

    let (what, transfer) = served(&rrq("/grub/grub.cfg", &[("blksize", "1024"), ("tsize", "0")]), MTU);
    assert_eq!((what, transfer.block, transfer.window), (Resolved::GrubConfig, 1024, 1));

    let (_, transfer) = served(&rrq("undionly.kpxe", &[]), MTU);
    assert_eq!((transfer.block, transfer.window, transfer.oack(9)), (512, 1, None), "as in 1992");
    assert_eq!(refused(&rrq("sb/revocations_sku.efi", &[])), TftpWhy::NotFound(NotFound::Probe));
}

/// (asked, MTU, (block, window, timeout), options of the OACK).
type Bounded<'a> = (&'a [(&'a str, &'a str)], u16, (u16, u16, u8), &'a str);

#[test]
fn nothing_is_ever_more_than_asked_or_than_we_bear() {
    let table: &[Bounded<'_>] = &[
        (&[("blksize", "65464")], 1500, (1468, 1, 1), "blksize 1468"),
        (&[("blksize", "65464")], 9000, (1468, 1, 1), "blksize 1468"),
        (&[("blksize", "1468")], 1400, (1368, 1, 1), "blksize 1368"),
        (&[("blksize", "1468")], 0, (8, 1, 1), "blksize 8"),
        (&[("blksize", "8")], 1500, (8, 1, 1), "blksize 8"),
        (&[("blksize", "7")], 1500, (512, 1, 1), ""),
        (&[("blksize", "0")], 1500, (512, 1, 1), ""),
        (&[("blksize", "-1")], 1500, (512, 1, 1), ""),
        (&[("blksize", "")], 1500, (512, 1, 1), ""),
        (&[("blksize", "1e3")], 1500, (512, 1, 1), ""),
        (&[("blksize", " 512")], 1500, (512, 1, 1), ""),
        (&[("blksize", "99999999999999999999999999")], 1500, (1468, 1, 1), "blksize 1468"),
        (&[("BlkSize", "1024"), ("blksize", "9")], 1500, (1024, 1, 1), "blksize 1024"),
        (&[("windowsize", "65535"), ("blksize", "65464")], 1500, (1468, 16, 1), "blksize 1468 windowsize 16"),
        (&[("windowsize", "16")], 1500, (512, 16, 1), "windowsize 16"),
        (&[("windowsize", "0")], 1500, (512, 1, 1), ""),
        (&[("timeout", "1")], 1500, (512, 1, 1), "timeout 1"),
        (&[("timeout", "10")], 1500, (512, 1, 10), "timeout 10"),
        (&[("timeout", "11")], 1500, (512, 1, 1), ""),
        (&[("timeout", "0")], 1500, (512, 1, 1), ""),
        (&[("timeout", "261")], 1500, (512, 1, 1), ""),
        (&[("utimeout", "18446744073709551615"), ("windowwait", "9"), ("x", "y")], 1500, (512, 1, 1), ""),
        (&[("tsize", "junk")], 1500, (512, 1, 1), ""),
        (&[("junk", "junk"), ("tsize", "0")], 1500, (512, 1, 1), "tsize 77"),
    ];
    for (options, mtu, bounds, oack) in table {
        let (_, transfer) = served(&rrq("undionly.kpxe", options), *mtu);
        assert_eq!((transfer.block, transfer.window, transfer.timeout), *bounds, "{options:?}");
        let packet = transfer.oack(77).unwrap_or(vec![0, 6]);
        let said = String::from_utf8(packet[2..].to_vec()).unwrap().replace('\0', " ");
        assert_eq!(said.trim(), *oack, "{options:?}");
    }
}

#[test]
fn what_is_refused_and_how_it_looks_on_the_wire() {
    let table: &[(&[u8], TftpWhy)] = &[
        (b"\0\x01undionly.kpxe\0netascii\0", TftpWhy::Mode),
        (b"\0\x01undionly.kpxe\0mail\0", TftpWhy::Mode),
        (b"\0\x01undionly.kpxe\0\0", TftpWhy::Mode),
        (b"\0\x01undionly.kpxe\0octet", TftpWhy::Malformed),
        (b"\0\x01undionly.kpxe\0", TftpWhy::Malformed),
        (b"\0\x01undionly.kpxe", TftpWhy::Malformed),
        (b"\0\x01", TftpWhy::Malformed),
        (b"\0\x01\0octet\0", TftpWhy::Refused(Refused::Empty)),
        (b"\0\x02undionly.kpxe\0octet\0", TftpWhy::ReadOnly),
        (b"\0\x02", TftpWhy::ReadOnly),
        (b"\0\x01../x\0octet\0", TftpWhy::Refused(Refused::Dots)),
        (b"\0\x01boot/vmlinuz\0octet\0", TftpWhy::Refused(Refused::HttpOnly)),
        (b"\0\x01nothing\0octet\0", TftpWhy::NotFound(NotFound::Unknown)),
    ];
    for (packet, why) in table {
        assert_eq!(refused(packet), *why, "{packet:?}");
    }
    let TftpAnswer::Error(error) = decide(b"\0\x01no\x1bthing\0octet\0", MTU) else { panic!("served") };
    assert_eq!(error.packet()[..4], [0, 5, 0, 2]);
    assert_eq!(error.packet().last(), Some(&0));
    assert_eq!(error.to_string(), "octet 0x1b is in no name of ours (no?thing)");
    let TftpAnswer::Error(error) = decide(&rrq("nothing", &[]), MTU) else { panic!("served") };
    assert_eq!(error.packet(), b"\0\x05\0\x01no such file\0");
}

#[test]
fn options_cut_short_cost_the_option_and_not_the_request() {
    let packet = [rrq("undionly.kpxe", &[("blksize", "1024")]), b"windowsize\x0016".to_vec()].concat();
    assert_eq!(served(&packet, MTU).1.oack(1).unwrap(), b"\0\x06blksize\x001024\0");
    let padded = [rrq("undionly.kpxe", &[("blksize", "1024")]), vec![0; 301]].concat();
    assert_eq!(served(&padded, MTU).1.oack(1).unwrap(), b"\0\x06blksize\x001024\0");
}

#[test]
fn what_is_not_answered() {
    let garbage: &[&[u8]] = &[b"", b"\0", b"\0\0", b"\0\x07", b"\xff\xff", b"\x01\x00undionly.kpxe\0octet\0"];
    for packet in garbage {
        assert_eq!(decide(packet, MTU), TftpAnswer::Silence(Silent::Garbage), "{packet:?}");
    }
    for opcode in 3..=6 {
        let packet = [0, opcode, 0, 0];
        let silent = Silent::NotARequest(u16::from(opcode));
        assert_eq!(decide(&packet, MTU), TftpAnswer::Silence(silent), "an answer would begin a storm");
    }
}

#[test]
fn block_numbers_that_come_round_are_known_before() {
    let (_, transfer) = served(&rrq("undionly.kpxe", &[]), MTU);
    assert!(!transfer.comes_round(512 * 65_535 - 1), "65535 blocks, the last one short");
    assert!(transfer.comes_round(512 * 65_535), "65536: an empty one ends it");
}
