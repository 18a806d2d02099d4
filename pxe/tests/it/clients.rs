//! Clients as they were seen on the wire (QEMU with OVMF and iPXE; order and content of the options).

use pxe::Mac;

use crate::wire::Packet;

const UUID: [u8; 17] =
    [0, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

/// What firmware asks for; the list's content does not matter to us.
const ASKED: [u8; 12] = [1, 2, 3, 4, 5, 6, 12, 13, 15, 54, 66, 67];

/// OVMF, UEFI PXE. No client identifier.
pub(crate) fn ovmf_pxe(mac: Mac, kind: u8) -> Packet {
    Packet::of(mac, kind)
        .with(57, [0x05, 0xc0])
        .with(55, ASKED)
        .with(97, UUID)
        .with(94, [1, 3, 0])
        .with(93, [0, 7])
        .with(60, "PXEClient:Arch:00007:UNDI:003000")
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

/// iPXE of trixie (1.21.1) under UEFI.
pub(crate) fn ipxe_efi(mac: Mac, kind: u8) -> Packet {
    Packet::of(mac, kind)
        .with(57, [0x05, 0xc0])
        .with(93, [0, 7])
        .with(94, [1, 3, 10])
        .with(60, "PXEClient:Arch:00007:UNDI:003010")
        .with(77, "iPXE")
        .with(55, ASKED)
        .with(175, encapsulated([1, 21, 1]))
        .with(61, client_id(mac))
        .with(97, UUID)
}

/// iPXE in the option ROM of QEMU (2019). Clears the broadcast bit.
pub(crate) fn ipxe_rom(mac: Mac, kind: u8) -> Packet {
    let mut packet = Packet::of(mac, kind)
        .with(57, [0x05, 0xc0])
        .with(93, [0, 0])
        .with(94, [1, 2, 1])
        .with(60, "PXEClient:Arch:00000:UNDI:002001")
        .with(77, "iPXE")
        .with(55, ASKED)
        .with(175, encapsulated([1, 0, 0]))
        .with(61, client_id(mac))
        .with(97, UUID);
    packet.flags = 0;
    packet
}

/// Our own iPXE on the same machine, a moment later.
pub(crate) fn ipxe_undionly(mac: Mac, kind: u8) -> Packet {
    ipxe_rom(mac, kind).without(175).with(175, encapsulated([1, 21, 1]))
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
