//! What a booting machine is told apart by, and where it fetches from.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// Which firmware a machine boots its network card with. Printed as on the kernel command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootPath {
    /// A BIOS option ROM; the loader is iPXE (`undionly.kpxe`).
    BiosPxe,
    /// UEFI; the loader is shim and GRUB, so that Secure Boot may be on.
    UefiPxe,
    /// UEFI that fetches its boot file by HTTP; the same loaders.
    UefiHttp,
}

impl BootPath {
    /// `bios-pxe`, `uefi-pxe`, `uefi-http`: a word of at most 32 small letters, digits and hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BootPath::BiosPxe => "bios-pxe",
            BootPath::UefiPxe => "uefi-pxe",
            BootPath::UefiHttp => "uefi-http",
        }
    }

    /// Whether the firmware is UEFI.
    #[must_use]
    pub const fn is_uefi(self) -> bool {
        !matches!(self, BootPath::BiosPxe)
    }

    /// Whether the firmware fetches by HTTP, and wants a URL where others want a name.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, BootPath::UefiHttp)
    }
}

impl fmt::Display for BootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The HTTP server of the boot files: always a literal address, because firmware may not have a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpBase(pub SocketAddrV4);

impl HttpBase {
    /// The server at this address and HTTP's own port.
    #[must_use]
    pub const fn at(address: Ipv4Addr) -> HttpBase {
        HttpBase(SocketAddrV4::new(address, 80))
    }

    /// `http://ADDRESS`, with the port when it is not 80; no slash at the end.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://{self}")
    }

    /// GRUB's name of the same server, `(http,ADDRESS)`.
    #[must_use]
    pub fn grub_device(self) -> String {
        format!("(http,{self})")
    }
}

impl fmt::Display for HttpBase {
    /// `ADDRESS`, or `ADDRESS:PORT` when the port is not 80.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 80 { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}
