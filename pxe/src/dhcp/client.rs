//! What a client says about itself. Data: nobody is told apart by any of it but by the MAC.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::options::sub_options;
use super::probe::VENDOR;

const TIME_SERVERS: u8 = 42;

/// Client architecture (option 93, RFC 4578; numbers of IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arch(pub u16);

impl Arch {
    /// x86 with BIOS.
    pub const BIOS: Arch = Arch(0);
    /// x86-64 with UEFI, what OVMF and servers send.
    pub const UEFI_X64: Arch = Arch(7);
    /// EBC to IANA, x86-64 to RFC 4578; seen from x86-64 machines, so it is the same as 7.
    pub const UEFI_BC: Arch = Arch(9);
    /// x86-64 with UEFI, by HTTP.
    pub const UEFI_X64_HTTP: Arch = Arch(16);
    /// 64-bit ARM with UEFI.
    pub const UEFI_ARM64: Arch = Arch(11);
    /// 64-bit ARM with UEFI, by HTTP.
    pub const UEFI_ARM64_HTTP: Arch = Arch(19);
    /// EBC by HTTP; to 16 as 9 is to 7.
    pub const UEFI_BC_HTTP: Arch = Arch(17);

    /// Those that there can be a loader for.
    const BOOTED: [Arch; 7] = [
        Arch::BIOS,
        Arch::UEFI_X64,
        Arch::UEFI_BC,
        Arch::UEFI_X64_HTTP,
        Arch::UEFI_BC_HTTP,
        Arch::UEFI_ARM64,
        Arch::UEFI_ARM64_HTTP,
    ];

    /// What IANA's number means, in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "x86 BIOS",
            6 => "32-bit x86 UEFI",
            7 | 9 => "64-bit x86 UEFI",
            10 => "32-bit ARM UEFI",
            11 => "64-bit ARM UEFI",
            15 => "32-bit x86 UEFI HTTP boot",
            16 | 17 => "64-bit x86 UEFI HTTP boot",
            18 => "32-bit ARM UEFI HTTP boot",
            19 => "64-bit ARM UEFI HTTP boot",
            20 => "x86 BIOS HTTP boot",
            21 | 23 => "32-bit ARM U-Boot",
            22 | 24 => "64-bit ARM U-Boot",
            25..=30 => "RISC-V UEFI",
            31 | 32 => "IBM Z",
            33 | 34 => "MIPS UEFI",
            35 | 36 => "Sunway UEFI",
            37..=40 => "LoongArch UEFI",
            41 => "a Raspberry Pi's own boot ROM",
            _ => "an architecture that nobody here knows",
        }
    }

    /// What an operator can do where there is no loader for it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self.0 {
            6 | 15 => "switch its firmware to 64-bit UEFI or BIOS mode; without either it cannot be used",
            10 | 18 | 21 | 23 => "use another server: of ARM only 64-bit machines are served",
            11 | 19 => {
                "put the arm64 boot files into the boot store (image-build ramdisk), or use another server"
            }
            20 => "in its firmware setup, put PXE over IPv4 before HTTP boot",
            22 | 24 => "give it UEFI firmware",
            25..=40 => "use another server: only x86-64 and arm64 are served",
            41 => "give it UEFI firmware, or its system by card",
            _ => "tell us which machine it is, and use another one until then",
        }
    }
}

/// What the vendor class (option 60) says the client is. Never says which architecture: after a chain load iPXE
/// sends what our own answer carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VendorClass {
    /// No option 60.
    #[default]
    Absent,
    /// `PXEClient`, alone or with `:Arch:…` after it.
    Pxe,
    /// `HTTPClient`, alone or with `:Arch:…` after it.
    Http,
    /// [`super::probe::VENDOR`]: a Rackwright controller that looks for other DHCP servers.
    Probe,
    /// Anything else (service processors, operating systems); printable ASCII, at most 64 characters, for the record.
    Other(String),
}

/// What iPXE says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipxe {
    /// Major, minor, patch (option 175, 0xeb). None when it does not say. Builds from a source archive said 1.0.0
    /// from 2010 to 2026, Debian's 1.21.1 among them: only a higher number means something.
    pub version: Option<[u8; 3]>,
    /// It asks for time servers (42 in option 55): made after 10 July 2023, whatever its version says.
    pub asks_time: bool,
    /// It can HTTP (option 175, 0x13).
    pub http: bool,
}

/// A host name (option 12) made safe to print and store: letters, digits and inner hyphens, lower case, at most 63,
/// what came before the first dot. Data for the record; nobody is told apart by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hostname(String);

/// The SMBIOS UUID (option 97), as it travels: first three fields little-endian. Boards share vendor defaults, so it
/// is a hint and never a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uuid(pub [u8; 16]);

/// The first architecture of the list that we have a loader for, else the first of all.
pub(super) fn arch(list: &[u8]) -> Option<Arch> {
    let (pairs, _odd) = list.as_chunks::<2>();
    let listed = || pairs.iter().map(|pair| Arch(u16::from_be_bytes(*pair)));
    listed().find(|arch| Arch::BOOTED.contains(arch)).or(listed().next())
}

pub(super) fn vendor(value: &[u8]) -> VendorClass {
    let class = value.split(|byte| *byte == b':' || *byte == 0).next().unwrap_or_default();
    match class {
        b"PXEClient" => VendorClass::Pxe,
        b"HTTPClient" => VendorClass::Http,
        _ if value == VENDOR.as_bytes() => VendorClass::Probe,
        _ => VendorClass::Other(
            value
                .iter()
                .take(64)
                .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' })
                .collect(),
        ),
    }
}

pub(super) fn ipxe(user_class: Option<&[u8]>, encapsulated: Option<&[u8]>, asked: &[u8]) -> Option<Ipxe> {
    let named =
        user_class.is_some_and(|class| class == b"iPXE" || rfc3004(class).any(|item| item == b"iPXE"));
    if !named && encapsulated.is_none() {
        return None;
    }
    let mut found = Ipxe { asks_time: asked.contains(&TIME_SERVERS), ..Ipxe::default() };
    for (code, value) in sub_options(encapsulated.unwrap_or_default()) {
        match (code, value) {
            (0xeb, [major, minor, patch, ..]) => found.version = Some([*major, *minor, *patch]),
            (0x13, [flag, ..]) => found.http = *flag != 0,
            _ => {}
        }
    }
    Some(found)
}

/// The items of a user class as RFC 3004 has it: a length, then that many octets. Stops at the first that lies.
fn rfc3004(mut class: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = class.split_first()?;
        let (item, rest) = rest.split_at_checked(usize::from(*length))?;
        class = rest;
        Some(item)
    })
}

pub(super) fn uuid(machine_id: &[u8]) -> Option<Uuid> {
    match machine_id {
        [0, uuid @ ..] => <[u8; 16]>::try_from(uuid).ok().filter(|uuid| *uuid != [0; 16]).map(Uuid),
        _ => None,
    }
}

impl Hostname {
    /// The printable rest of what a client calls itself; None when nothing is left.
    #[must_use]
    pub fn sanitised(raw: &[u8]) -> Option<Hostname> {
        let first = raw.split(|byte| *byte == b'.' || *byte == 0).next().unwrap_or_default();
        let kept = first.iter().filter(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').take(63);
        let name: String = kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { None } else { Some(Hostname(name.to_owned())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Uuid {
    /// As SMBIOS prints it: the first three fields turned round.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e @ ..] = self.0;
        write!(f, "{a3:02x}{a2:02x}{a1:02x}{a0:02x}-{b1:02x}{b0:02x}-{c1:02x}{c0:02x}-{d0:02x}{d1:02x}-")?;
        e.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

impl fmt::Display for VendorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VendorClass::Absent => "-",
            VendorClass::Pxe => "PXEClient",
            VendorClass::Http => "HTTPClient",
            VendorClass::Probe => VENDOR,
            VendorClass::Other(text) => text,
        })
    }
}
