//! Which boot file a machine is told to fetch.

use super::client::{Arch, Ipxe, VendorClass};
use super::policy::Policy;
use super::request::Request;
use super::why::Why;
use crate::files::StoreFile;
use crate::{BootPath, Mac};

/// The first iPXE release that is given a script. An older one (a 2019 option ROM, for example) is first given ours;
/// that is newer, so the chain ends there.
const SCRIPTABLE: [u8; 3] = [1, 20, 0];

/// What the `file` field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// A loader of the store, by TFTP.
    Loader(StoreFile),
    /// The machine's own iPXE script, by HTTP.
    Script(Mac),
}

impl BootFile {
    /// The text for `file` and option 67: a TFTP name or a URL. Below 100 octets.
    #[must_use]
    pub fn name(self, policy: &Policy) -> String {
        match self {
            BootFile::Loader(file) => file.client_name().to_owned(),
            BootFile::Script(mac) => format!("{}/boot/{}/script.ipxe", policy.http.url(), mac.hyphens()),
        }
    }
}

/// What to boot, and by which path; None for a client that does not boot from the network.
pub(super) fn choose(request: &Request) -> Result<Option<(BootFile, BootPath)>, Why> {
    if !request.boots() {
        return Ok(None);
    }
    let path = match request.arch {
        Some(Arch::BIOS) => BootPath::BiosPxe,
        Some(Arch::UEFI_X64 | Arch::UEFI_BC) => BootPath::UefiPxe,
        Some(Arch::UEFI_X64_HTTP) => return Err(Why::HttpBoot),
        Some(Arch(other)) => return Err(Why::ArchUnsupported(other)),
        None => return Err(Why::ArchMissing),
    };
    if request.vendor == VendorClass::Http {
        return Err(Why::HttpBoot);
    }
    let script = BootFile::Script(request.mac);
    let file = match (path, request.ipxe) {
        (BootPath::BiosPxe, Some(ipxe)) if runs_our_script(ipxe) => script,
        (BootPath::BiosPxe, _) => BootFile::Loader(StoreFile::Undionly),
        (BootPath::UefiPxe, Some(_)) => script,
        (BootPath::UefiPxe, None) => BootFile::Loader(StoreFile::Shim),
    };
    Ok(Some((file, path)))
}

/// The number alone would do, if it were true: Debian's 1.21.1 says 1.0.0, as the ROM of 2019 does, and would be told
/// to load itself for ever.
fn runs_our_script(ipxe: Ipxe) -> bool {
    ipxe.http && (ipxe.asks_time || ipxe.version.is_some_and(|version| version >= SCRIPTABLE))
}
