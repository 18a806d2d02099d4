//! Clients as they were seen on the wire (QEMU with OVMF and iPXE; order and content of the options).

use pxe::Mac;

use crate::wire::Packet;

/// OVMF of Debian 12. No client identifier.
const OVMF: &str = "\
    350101390205c037230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687611100332211\
    00554477668899aabbccddeeff5e030103005d0200073c20505845436c69656e743a417263683a30303030373a554e44493a\
    303033303030ff";

/// iPXE in the UEFI half of QEMU's option ROM, of 2019.
const ROM_EFI: &str = "\
    350101390205c05d0200075e0301030a3c20505845436c69656e743a417263683a30303030373a554e44493a303033303130\
    4d04695058453717010306070c0f111a2b3c4243778081828384858687afcbaf24b105011af41000eb030100001701012401\
    011301011101012701012901011501011201013d0701525400abcd0561110000000000000000000000000000000000ff";

pub(crate) fn ovmf_pxe(mac: Mac, kind: u8) -> Packet {
    captured(mac, kind, 0x8000, OVMF)
}

pub(crate) fn ipxe_efi(mac: Mac, kind: u8) -> Packet {
    captured(mac, kind, 0x8000, ROM_EFI)
}

/// OVMF, UEFI HTTP boot.
pub(crate) fn ovmf_http(mac: Mac, kind: u8) -> Packet {
    ovmf_pxe(mac, kind)
        .without(93)
        .without(60)
        .with(93, [0, 16])
        .with(60, "HTTPClient:Arch:00016:UNDI:003000")
}

/// iPXE's option 175: bus, version, features.
pub(crate) fn encapsulated(version: [u8; 3]) -> Vec<u8> {
    let [major, minor, patch] = version;
    let mut all = vec![0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0x00];
    all.extend([0xeb, 3, major, minor, patch]);
    all.extend([0x17, 1, 1, 0x22, 1, 1, 0x13, 1, 1, 0x11, 1, 1, 0x27, 1, 1, 0x19, 1, 1, 0x10, 1, 2]);
    all
}

fn client_id(mac: Mac) -> Vec<u8> {
    [&[1][..], &mac.octets()].concat()
}

/// iPXE in the option ROM of QEMU (Debian 12's ipxe-qemu, of 2019). Clears the broadcast bit.
const ROM: &str = "\
    350101390205c05d0200005e030102013c20505845436c69656e743a417263683a30303030303a554e44493a303032303031\
    4d04695058453717010306070c0f111a2b3c4243778081828384858687afcbaf30b105011af41000eb030100001701012201\
    011301011101012701011901012901011001022101011501011801011201013d0701525400abcd0561110033221100554477\
    668899aabbccddeeffff";

/// Debian 13's undionly.kpxe (iPXE 1.21.1, of May 2025), started by that ROM. It too says that it is version 1.0.0,
/// and its vendor class is what our ACK to the ROM carried. What tells it apart is 42 among the options asked for.
const UNDIONLY: &str = "\
    350101390205c05d0200005e030102013c09505845436c69656e744d04695058453718010306070c0f111a2a2b3c42437780\
    81828384858687afcbaf36b105011af41000eb03010000260101170101270101220101130101140101110101190101290101\
    1001022101011501011801011201013d0701525400abcd0561110033221100554477668899aabbccddeeffff";

/// The options of a DISCOVER captured from QEMU 10, octet for octet and in order; the kind and the MAC in 61 are the
/// caller's.
fn captured(mac: Mac, kind: u8, flags: u16, hex: &str) -> Packet {
    let octets: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut packet = Packet::of(mac, kind);
    packet.flags = flags;
    packet.options.clear();
    let mut rest = octets.as_slice();
    while rest[0] != 255 {
        let (code, value) = (rest[0], rest[2..2 + usize::from(rest[1])].to_vec());
        rest = &rest[2 + value.len()..];
        packet.options.push(match code {
            53 => (53, vec![kind]),
            61 => (61, client_id(mac)),
            _ => (code, value),
        });
    }
    packet
}

pub(crate) fn ipxe_rom(mac: Mac, kind: u8) -> Packet {
    captured(mac, kind, 0, ROM)
}

pub(crate) fn ipxe_undionly(mac: Mac, kind: u8) -> Packet {
    captured(mac, kind, 0, UNDIONLY)
}

/// A BIOS ROM that is not iPXE.
pub(crate) fn bios_rom(mac: Mac, kind: u8) -> Packet {
    ipxe_rom(mac, kind).without(77).without(175)
}

/// The installed system (systemd-networkd, ClientIdentifier=mac).
pub(crate) fn networkd(mac: Mac, kind: u8) -> Packet {
    let mut packet = Packet::of(mac, kind).with(61, client_id(mac)).with(12, "compute-3").with(55, [1, 3, 6]);
    packet.flags = 0;
    packet
}
