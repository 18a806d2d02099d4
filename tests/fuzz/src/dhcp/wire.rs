//! Messages written and read by hand: none of the code under test, so that a mistake there cannot hide itself.

use std::net::Ipv4Addr;

/// A message from a client, before its options.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) flags: u16,
    pub(super) ciaddr: [u8; 4],
    pub(super) giaddr: [u8; 4],
    pub(super) mac: [u8; 6],
}

pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];
const XID: [u8; 4] = [0x12, 0x34, 0xab, 0xcd];

impl Head {
    /// The message with these octets after its cookie.
    pub(super) fn message(&self, options: &[u8]) -> Vec<u8> {
        let mut out = [&[1, 1, 6, 0][..], &XID, &[0, 4], &self.flags.to_be_bytes(), &self.ciaddr].concat();
        out.extend([0; 8]);
        out.extend(self.giaddr);
        out.extend(self.mac);
        out.resize(236, 0);
        out.extend(COOKIE);
        out.extend_from_slice(options);
        out
    }
}

/// An option as it travels; at most 255 octets of it.
pub(super) fn option(code: u8, value: &[u8]) -> Vec<u8> {
    let value = value.get(..255).unwrap_or(value);
    [&[code, u8::try_from(value.len()).unwrap_or(u8::MAX)], value].concat()
}

/// The options of an area in their order; None when one is cut.
pub(super) fn options(mut area: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    loop {
        match area {
            [] | [255, ..] => return Some(found),
            [0, rest @ ..] => area = rest,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                found.push((*code, value));
                area = rest;
            }
            [_] => return None,
        }
    }
}

/// All parts of an option joined; None when it is not there.
pub(super) fn joined(options: &[(u8, &[u8])], code: u8) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> =
        options.iter().filter(|(other, _)| *other == code).map(|(_, value)| *value).collect();
    (!parts.is_empty()).then(|| parts.concat())
}

pub(super) fn octets<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    message.get(at..).and_then(|rest| rest.first_chunk()).copied().expect("a message has a whole header")
}

pub(super) fn address(message: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(octets::<4>(message, at))
}

/// Asserts what every reply of ours is, and gives its options.
pub(super) fn well_formed(reply: &[u8]) -> Vec<(u8, &[u8])> {
    assert!((300..=1472).contains(&reply.len()), "{} octets", reply.len());
    assert_eq!(octets(reply, 0), [2, 1, 6], "a reply to Ethernet");
    assert_eq!(octets(reply, 236), COOKIE);
    let area = reply.get(240..).unwrap_or_default();
    let found = options(area).expect("an option of ours is cut");
    let length: usize = found.iter().map(|(_, value)| value.len() + 2).sum();
    // Our own replies have no padding between options: what follows them is END and zeros.
    assert_eq!(area.get(length), Some(&255), "no END");
    assert!(area.get(length + 1..).is_some_and(|rest| rest.iter().all(|octet| *octet == 0)), "after END");
    let split = [61, 82];
    for (number, (code, _)) in found.iter().enumerate() {
        let twice = found.iter().skip(number + 1).any(|(other, _)| other == code);
        assert!(!twice || split.contains(code), "option {code} twice");
    }
    found
}

/// Options of clients as they were captured from QEMU with OVMF and iPXE (pxe/tests/it/clients.rs says which), without
/// 53; systemd-networkd's; none.
pub(super) const CLIENTS: &[&str] = &[
    "390205c037230102030405060c0d0f111216171c28292a2b3233363a3b3c424361808182838485868761110033221100554477668899aabb\
     ccddeeff5e030103005d0200073c20505845436c69656e743a417263683a30303030373a554e44493a303033303030",
    "390205c05d0200005e030102013c20505845436c69656e743a417263683a30303030303a554e44493a3030323030314d04695058453717010\
     306070c0f111a2b3c4243778081828384858687afcbaf0fb105011af41000eb030100001301016111003322110055447766\
     8899aabbccddeeff",
    "390205c05d0200005e030102013c09505845436c69656e744d04695058453718010306070c0f111a2a2b3c4243778081828384858687afcb\
     af08eb030100001301013d0701525400abcd05",
    "3d0701525400abcd050c09636f6d707574652d333703010306",
    "",
];

/// The octets of one of [`CLIENTS`].
pub(super) fn client(number: usize) -> Vec<u8> {
    let hex: String = CLIENTS.get(number).unwrap_or(&"").chars().filter(|c| !c.is_whitespace()).collect();
    data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal of this file")
}
