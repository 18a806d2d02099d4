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
    /// A loader of the store, by HTTP.
    HttpLoader(StoreFile),
    /// The machine's own iPXE script, by HTTP.
    Script(Mac),
}

impl BootFile {
    /// The text for `file` and option 67: a TFTP name or a URL. Below 100 octets.
    #[must_use]
    pub fn name(self, policy: &Policy) -> String {
        let url = policy.http.url();
        match self {
            BootFile::Loader(file) => file.client_name().to_owned(),
            BootFile::HttpLoader(file) => format!("{url}/{}", file.client_name()),
            BootFile::Script(mac) => format!("{url}/boot/{}/script.ipxe", mac.hyphens()),
        }
    }
}

/// By which path a client boots; None for one that does not boot from the network.
pub(super) fn path(request: &Request) -> Result<Option<BootPath>, Why> {
    if !request.boots() {
        return Ok(None);
    }
    let by_http = request.vendor == VendorClass::Http;
    Ok(Some(match request.arch.ok_or(Why::ArchMissing)? {
        Arch::BIOS => BootPath::BiosPxe,
        Arch::UEFI_X64 | Arch::UEFI_BC if !by_http => BootPath::UefiPxe,
        Arch::UEFI_X64 | Arch::UEFI_BC | Arch::UEFI_X64_HTTP | Arch::UEFI_BC_HTTP => BootPath::UefiHttp,
        Arch(other) => return Err(Why::ArchUnsupported(other)),
    }))
}

/// What to boot, and by which path; None for a client that does not boot from the network.
pub(super) fn choose(request: &Request) -> Result<Option<(BootFile, BootPath)>, Why> {
    let Some(path) = path(request)? else { return Ok(None) };
    let script = BootFile::Script(request.mac);
    let file = match (path, request.ipxe) {
        (BootPath::BiosPxe, Some(ipxe)) if runs_our_script(ipxe) => script,
        (BootPath::BiosPxe, _) => BootFile::Loader(StoreFile::Undionly),
        (BootPath::UefiPxe | BootPath::UefiHttp, Some(_)) => script,
        (BootPath::UefiPxe, None) => BootFile::Loader(StoreFile::Shim),
        (BootPath::UefiHttp, None) => BootFile::HttpLoader(StoreFile::Shim),
    };
    Ok(Some((file, path)))
}

/// The number alone would do, if it were true: Debian's 1.21.1 says 1.0.0, as the ROM of 2019 does, and would be told
/// to load itself for ever.
fn runs_our_script(ipxe: Ipxe) -> bool {
    ipxe.http && (ipxe.asks_time || ipxe.version.is_some_and(|version| version >= SCRIPTABLE))
}
