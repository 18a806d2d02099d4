//! What a booting machine is told apart by, what it can be given, and where it fetches from.

mod history;
mod local;
mod past;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

pub use history::{History, Rows};
pub use local::LocalBoot;
pub use past::Past;

use crate::files::StoreFile;

/// Which firmware a machine boots its network card with. Printed as on the kernel command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootPath {
    /// A BIOS option ROM; the loader is iPXE (`undionly.kpxe`).
    BiosPxe,
    /// UEFI on x86-64; the loader is shim and GRUB, so that Secure Boot may be on.
    UefiPxe,
    /// UEFI on x86-64 that fetches its boot file by HTTP; the same loaders.
    UefiHttp,
    /// UEFI on 64-bit ARM.
    UefiPxeArm64,
    /// UEFI on 64-bit ARM that fetches its boot file by HTTP.
    UefiHttpArm64,
}

/// What asks what to boot: firmware on one of its paths, or iPXE in its place. One boot may pass several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stage {
    /// The firmware.
    pub path: BootPath,
    /// It is iPXE: in the card's ROM, or loaded from us.
    pub ipxe: bool,
}

/// What can be handed to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// shim, which loads GRUB. Signed: Secure Boot may be on.
    Shim,
    /// Our iPXE. Not signed.
    Ipxe,
    /// The machine's own script, where iPXE runs already.
    Script,
}

/// One way of handing out a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Choice {
    /// Which.
    pub loader: Loader,
    /// Beside another DHCP server: our offer makes firmware ask port 4011 before it boots. Some firmware takes only
    /// such offers from a second server, most takes only the others.
    pub ask_again: bool,
}

impl Loader {
    /// For a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Loader::Shim => "shim and GRUB",
            Loader::Ipxe => "iPXE",
            Loader::Script => "the iPXE it has",
        }
    }
}

impl BootPath {
    /// `bios-pxe`, `uefi-pxe`, `uefi-http`, `uefi-pxe-arm64` or `uefi-http-arm64`: a word of at most 32 small letters,
    /// digits and hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BootPath::BiosPxe => "bios-pxe",
            BootPath::UefiPxe => "uefi-pxe",
            BootPath::UefiHttp => "uefi-http",
            BootPath::UefiPxeArm64 => "uefi-pxe-arm64",
            BootPath::UefiHttpArm64 => "uefi-http-arm64",
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
        matches!(self, BootPath::UefiHttp | BootPath::UefiHttpArm64)
    }

    /// Whether the machine is 64-bit ARM rather than x86-64.
    #[must_use]
    pub const fn is_arm64(self) -> bool {
        matches!(self, BootPath::UefiPxeArm64 | BootPath::UefiHttpArm64)
    }

    /// The kernel and the ramdisk for it.
    #[must_use]
    pub const fn system(self) -> (StoreFile, StoreFile) {
        if self.is_arm64() {
            (StoreFile::KernelArm64, StoreFile::RamdiskArm64)
        } else {
            (StoreFile::Kernel, StoreFile::Ramdisk)
        }
    }
}

impl Loader {
    /// The file of the boot store that is fetched; None when there is none for this firmware, or none is needed.
    #[must_use]
    pub const fn file(self, path: BootPath) -> Option<StoreFile> {
        match (self, path) {
            (Loader::Script, _) | (Loader::Shim, BootPath::BiosPxe) => None,
            (Loader::Shim, BootPath::UefiPxe | BootPath::UefiHttp) => Some(StoreFile::Shim),
            (Loader::Shim, BootPath::UefiPxeArm64 | BootPath::UefiHttpArm64) => Some(StoreFile::ShimArm64),
            (Loader::Ipxe, BootPath::BiosPxe) => Some(StoreFile::Undionly),
            (Loader::Ipxe, BootPath::UefiPxe | BootPath::UefiHttp) => Some(StoreFile::Snponly),
            (Loader::Ipxe, BootPath::UefiPxeArm64 | BootPath::UefiHttpArm64) => Some(StoreFile::IpxeArm64),
        }
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
