//! Which boot file a machine is told to fetch.

use super::client::{Arch, Ipxe, VendorClass};
use super::policy::{Machine, Network, Policy};
use super::request::Request;
use super::why::Why;
use crate::boot::{Choice, Loader, LocalBoot, Stage};
use crate::files::{LOCAL_BOOT, StoreFile};
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
    /// A file that does not exist, by TFTP: firmware goes on to the next entry of its boot order.
    Missing,
    /// The same by HTTP.
    HttpMissing,
}

/// What a client is told to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    pub(super) file: BootFile,
    pub(super) path: BootPath,
    /// What it was chosen for, also when it shall fetch nothing now.
    pub(super) choice: Choice,
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
            BootFile::Missing => LOCAL_BOOT.to_owned(),
            BootFile::HttpMissing => format!("{url}/{LOCAL_BOOT}"),
        }
    }
}

impl Request {
    /// What asks; None for a client that does not boot from the network.
    ///
    /// # Errors
    /// [`Why::ArchMissing`], [`Why::ArchUnsupported`].
    pub fn stage(&self) -> Result<Option<Stage>, Why> {
        if !self.boots() {
            return Ok(None);
        }
        let by_http = self.vendor == VendorClass::Http;
        let either = |pxe, http| if by_http { http } else { pxe };
        let path = match self.arch.ok_or(Why::ArchMissing)? {
            Arch::BIOS => BootPath::BiosPxe,
            Arch::UEFI_X64 | Arch::UEFI_BC => either(BootPath::UefiPxe, BootPath::UefiHttp),
            Arch::UEFI_X64_HTTP | Arch::UEFI_BC_HTTP => BootPath::UefiHttp,
            Arch::UEFI_ARM64 => either(BootPath::UefiPxeArm64, BootPath::UefiHttpArm64),
            Arch::UEFI_ARM64_HTTP => BootPath::UefiHttpArm64,
            Arch(other) => return Err(Why::ArchUnsupported(other)),
        };
        Ok(Some(Stage { path, ipxe: self.ipxe.is_some() }))
    }
}

impl Network {
    /// The chain: everything that this client can be handed here, the best first. Empty when the boot store has nothing
    /// for its machine.
    #[must_use]
    pub fn choices(&self, policy: &Policy, request: &Request, stage: Stage) -> Vec<Choice> {
        let fit = request.ipxe.is_some_and(runs_our_script);
        let loaders: &[Loader] = match (stage.path.is_uefi(), stage.ipxe) {
            (true, false) => &[Loader::Shim, Loader::Ipxe],
            (true, true) => &[Loader::Script, Loader::Ipxe],
            (false, false) => &[Loader::Ipxe],
            (false, true) if fit => &[Loader::Script, Loader::Ipxe],
            (false, true) => &[Loader::Ipxe],
        };
        let there = loaders.iter().filter(|loader| self.has(**loader, stage.path));
        // iPXE, and firmware that boots by HTTP, have no port 4011 to ask.
        let both = policy.proxy && !stage.ipxe && !stage.path.is_http();
        let ways: &[bool] = if both { &[false, true] } else { &[false] };
        there
            .flat_map(|loader| ways.iter().map(|ask_again| Choice { loader: *loader, ask_again: *ask_again }))
            .collect()
    }

    /// Whether the boot store has all that a loader needs.
    fn has(&self, loader: Loader, path: BootPath) -> bool {
        let (kernel, ramdisk) = path.system();
        let second = match (loader, path.is_arm64()) {
            (Loader::Shim, true) => Some(StoreFile::GrubArm64),
            (Loader::Shim, false) => Some(StoreFile::Grub),
            (Loader::Ipxe | Loader::Script, _) => None,
        };
        let mut needed = [Some(kernel), Some(ramdisk), second, loader.file(path)].into_iter().flatten();
        needed.all(|file| StoreFile::REQUIRED.contains(&file) || self.extras.contains(&file))
    }
}

/// What to boot; None for a client that does not boot from the network.
pub(super) fn boot(
    network: &Network,
    policy: &Policy,
    machine: Machine,
    request: &Request,
) -> Result<Option<Boot>, Why> {
    let Some(stage) = request.stage()? else { return Ok(None) };
    let path = stage.path;
    let chain = network.choices(policy, request, stage);
    let wanted = machine.choice.filter(|choice| chain.contains(choice));
    let choice = wanted.or(chain.first().copied()).ok_or(Why::NoArm64Files)?;
    let file = match choice.loader.file(path) {
        _ if machine.local == Some(LocalBoot::MissingFile) && path.is_http() => BootFile::HttpMissing,
        _ if machine.local == Some(LocalBoot::MissingFile) => BootFile::Missing,
        Some(file) if path.is_http() => BootFile::HttpLoader(file),
        Some(file) => BootFile::Loader(file),
        None => BootFile::Script(request.mac),
    };
    Ok(Some(Boot { file, path, choice }))
}

/// The number alone would do, if it were true: Debian's 1.21.1 says 1.0.0, as the ROM of 2019 does, and would be told
/// to load itself for ever.
fn runs_our_script(ipxe: Ipxe) -> bool {
    ipxe.http && (ipxe.asks_time || ipxe.version.is_some_and(|version| version >= SCRIPTABLE))
}
