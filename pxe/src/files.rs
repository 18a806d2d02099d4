//! Names that clients ask for, by TFTP and HTTP: the one place that says what there is.
//!
//! A name is looked up in a table of our own; it never becomes a path. So there is no way from a request to any
//! other file, however it is spelt. What the bytes of a [`StoreFile`] are, and where they lie, the shell knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Mac;

/// Longest name looked at; the longest real one is below 50 octets.
pub const LONGEST_NAME: usize = 200;

/// The name of no file: what a machine is told to fetch that shall go on to the next entry of its boot order.
pub const LOCAL_BOOT: &str = "local-boot";

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TFTP: loaders and texts only. The kernel and the ramdisk would need a round trip per KiB.
    Tftp,
    /// HTTP: everything.
    Http,
}

/// A file of the boot store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreFile {
    /// The kernel of the boot ramdisk.
    Kernel,
    /// The boot ramdisk.
    Ramdisk,
    /// First UEFI loader, signed by Microsoft.
    Shim,
    /// Second UEFI loader, signed by Debian: GRUB with its network modules built in.
    Grub,
    /// iPXE for BIOS machines.
    Undionly,
    /// iPXE for UEFI machines, for those that GRUB does not suit.
    Snponly,
    /// [`StoreFile::Kernel`] for 64-bit ARM.
    KernelArm64,
    /// [`StoreFile::Ramdisk`] for 64-bit ARM.
    RamdiskArm64,
    /// [`StoreFile::Shim`] for 64-bit ARM.
    ShimArm64,
    /// [`StoreFile::Grub`] for 64-bit ARM.
    GrubArm64,
    /// iPXE for 64-bit ARM.
    IpxeArm64,
    /// The node agent, for servers that run a system of their own ([`Resolved::Join`]).
    Agent,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A file of the store, the same for everybody.
    Static(StoreFile),
    /// The first GRUB configuration, the same for everybody: [`crate::script::grub_entry`].
    GrubConfig,
    /// The first iPXE script, the same for everybody: [`crate::script::autoexec`].
    Autoexec,
    /// What GRUB shall do on one machine: [`crate::script::grub`].
    NodeGrub(Mac),
    /// What iPXE shall do on one machine: [`crate::script::ipxe`].
    NodeScript(Mac),
    /// How a server that runs a system of its own becomes a node: a script for its shell, the same for all on a network.
    Join,
    /// There is no such file. TFTP error 1; HTTP 404, and then the connection must be closed: GRUB (2.12, seen) waits
    /// for ever on one that is kept open after an error.
    NotFound(NotFound),
    /// No file of ours could ever be called that. TFTP error 2; HTTP 400, closed likewise.
    Refused(Refused),
}

/// Why there is nothing under a well-formed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// A loader asks for it every time and does without it: not worth a line in a log.
    #[error("an optional file which boot loaders ask for and we do not have")]
    Probe,
    /// [`LOCAL_BOOT`]: the machine was told to ask for it, so that it goes on to its own disk.
    #[error("there is none, on purpose: the machine goes on to its own disk")]
    OnPurpose,
    /// Anything else.
    #[error("no such file")]
    Unknown,
}

/// Why a name is no name of ours, whatever is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing but slashes, or nothing at all.
    #[error("no file is named")]
    Empty,
    /// Longer than [`LONGEST_NAME`].
    #[error("the name is longer than {LONGEST_NAME} octets")]
    TooLong,
    /// A control character, a space, a backslash, a percent sign, a colon outside a MAC, or no ASCII.
    #[error("octet 0x{0:02x} is in no name of ours")]
    Octet(u8),
    /// A part of the path begins with a dot: `.`, `..`, hidden files.
    #[error("a part of the path begins with a dot")]
    Dots,
    /// Ends with a slash.
    #[error("the name of a folder, and folders are not served")]
    Folder,
    /// The kernel or the ramdisk, asked for by TFTP.
    #[error("too big for TFTP; it is served by HTTP")]
    HttpOnly,
}

impl StoreFile {
    /// All of them.
    pub const ALL: [StoreFile; 12] = [
        StoreFile::Kernel,
        StoreFile::Ramdisk,
        StoreFile::Shim,
        StoreFile::Grub,
        StoreFile::Undionly,
        StoreFile::Snponly,
        StoreFile::KernelArm64,
        StoreFile::RamdiskArm64,
        StoreFile::ShimArm64,
        StoreFile::GrubArm64,
        StoreFile::IpxeArm64,
        StoreFile::Agent,
    ];

    /// Those that a boot store must have, for a shell that wants to see at its start that they are there. The others
    /// are for machines that a site may not have.
    pub const REQUIRED: [StoreFile; 6] = [
        StoreFile::Kernel,
        StoreFile::Ramdisk,
        StoreFile::Shim,
        StoreFile::Grub,
        StoreFile::Undionly,
        StoreFile::Snponly,
    ];

    /// Its name in the boot store.
    #[must_use]
    pub const fn store_name(self) -> &'static str {
        match self {
            StoreFile::Kernel => "vmlinuz",
            StoreFile::Ramdisk => "initrd.img",
            StoreFile::Shim => "shimx64.efi",
            StoreFile::Grub => "grubnetx64.efi",
            StoreFile::Undionly => "undionly.kpxe",
            StoreFile::Snponly => "snponly.efi",
            StoreFile::KernelArm64 => "vmlinuz-arm64",
            StoreFile::RamdiskArm64 => "initrd-arm64.img",
            StoreFile::ShimArm64 => "shimaa64.efi",
            StoreFile::GrubArm64 => "grubnetaa64.efi",
            StoreFile::IpxeArm64 => "ipxe-arm64.efi",
            StoreFile::Agent => "rackwright-agent",
        }
    }

    /// The name a client asks for, without a slash before it. shim looks for `grubx64.efi` beside itself, whatever
    /// we call it, and only when its own name came with a folder (the `file` field of the DHCP header).
    #[must_use]
    pub const fn client_name(self) -> &'static str {
        match self {
            StoreFile::Kernel => "boot/vmlinuz",
            StoreFile::Ramdisk => "boot/initrd.img",
            StoreFile::Shim => "sb/shimx64.efi",
            StoreFile::Grub => "sb/grubx64.efi",
            StoreFile::Undionly => "undionly.kpxe",
            StoreFile::Snponly => "snponly.efi",
            StoreFile::KernelArm64 => "boot/arm64/vmlinuz",
            StoreFile::RamdiskArm64 => "boot/arm64/initrd.img",
            StoreFile::ShimArm64 => "sb/shimaa64.efi",
            StoreFile::GrubArm64 => "sb/grubaa64.efi",
            StoreFile::IpxeArm64 => "ipxe-arm64.efi",
            StoreFile::Agent => "join/rackwright-agent",
        }
    }

    /// A kernel, a ramdisk or the agent: too big for TFTP.
    #[must_use]
    pub const fn is_system(self) -> bool {
        matches!(
            self,
            StoreFile::Kernel
                | StoreFile::Ramdisk
                | StoreFile::KernelArm64
                | StoreFile::RamdiskArm64
                | StoreFile::Agent
        )
    }
}

impl fmt::Display for StoreFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.client_name())
    }
}

/// What `name` means: a TFTP file name, or the path of a URL (still percent-encoded, without its query).
///
/// Total. Tolerates what boot loaders do: a slash before the name or none, and doubled slashes (shim asks for
/// `/sb//grubx64.efi` over HTTP). Letters count: `Grub.cfg` is not `grub.cfg`; only the digits of a MAC may be of
/// either case, and its separators hyphens (iPXE) or colons (GRUB).
#[must_use]
pub fn resolve(name: &[u8], transport: Transport) -> Resolved {
    match parts(name) {
        Ok(parts) => named(&parts, transport),
        Err(why) => Resolved::Refused(why),
    }
}

/// The parts between the slashes, once everything that no name of ours contains is refused.
fn parts(name: &[u8]) -> Result<Vec<&str>, Refused> {
    if name.len() > LONGEST_NAME {
        return Err(Refused::TooLong);
    }
    let ours = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(byte);
    if let Some(octet) = name.iter().find(|byte| !ours(byte)) {
        return Err(Refused::Octet(*octet));
    }
    let text = str::from_utf8(name).map_err(|_| Refused::Octet(0x80))?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(Refused::Empty);
    }
    if text.ends_with('/') {
        return Err(Refused::Folder);
    }
    for part in &parts {
        if part.starts_with('.') {
            return Err(Refused::Dots);
        }
        if part.contains(':') && part.parse::<Mac>().is_err() {
            return Err(Refused::Octet(b':'));
        }
    }
    Ok(parts)
}

fn named(parts: &[&str], transport: Transport) -> Resolved {
    if let Some(file) = StoreFile::ALL.into_iter().find(|file| parts.join("/") == file.client_name()) {
        return stored(file, transport);
    }
    match parts {
        ["grub", "grub.cfg"] => Resolved::GrubConfig,
        ["join", "join.sh"] => Resolved::Join,
        // iPXE looks beside itself, wherever it was loaded from.
        [.., "autoexec.ipxe"] => Resolved::Autoexec,
        ["boot", mac, "grub.cfg"] => {
            in_path(mac).map_or(Resolved::NotFound(NotFound::Unknown), Resolved::NodeGrub)
        }
        ["boot", mac, "script.ipxe"] => {
            in_path(mac).map_or(Resolved::NotFound(NotFound::Unknown), Resolved::NodeScript)
        }
        [LOCAL_BOOT] => Resolved::NotFound(NotFound::OnPurpose),
        _ if is_probe(parts) => Resolved::NotFound(NotFound::Probe),
        _ => Resolved::NotFound(NotFound::Unknown),
    }
}

fn stored(file: StoreFile, transport: Transport) -> Resolved {
    if file.is_system() && transport == Transport::Tftp {
        return Resolved::Refused(Refused::HttpOnly);
    }
    Resolved::Static(file)
}

/// The two spellings boot loaders use; not the others a person may type.
fn in_path(part: &str) -> Option<Mac> {
    if part.len() == 17 { part.parse().ok() } else { None }
}

/// What shim 16 and Debian's GRUB ask for at every boot and do without.
fn is_probe(parts: &[&str]) -> bool {
    match parts {
        ["sb", name] => {
            matches!(*name, "revocations_sku.efi" | "revocations_sbat.efi" | "revocations.efi")
                || (name.starts_with("shim_certificate") && name.ends_with(".efi"))
        }
        ["grub", "x86_64-efi" | "arm64-efi", name] => *name == "grub.cfg" || name.ends_with(".lst"),
        ["grub", name] => name.starts_with("grub.cfg-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "52:54:00:ab:cd:0f";

    #[test]
    fn names_that_firmware_and_loaders_ask_for() {
        let node: Mac = NODE.parse().unwrap();
        let probe = Resolved::NotFound(NotFound::Probe);
        let table = [
            ("sb/shimx64.efi", Resolved::Static(StoreFile::Shim)),
            ("/sb/shimx64.efi", Resolved::Static(StoreFile::Shim)),
            ("/sb//grubx64.efi", Resolved::Static(StoreFile::Grub)),
            ("sb/grubx64.efi", Resolved::Static(StoreFile::Grub)),
            ("undionly.kpxe", Resolved::Static(StoreFile::Undionly)),
            ("snponly.efi", Resolved::Static(StoreFile::Snponly)),
            ("/grub/grub.cfg", Resolved::GrubConfig),
            ("//grub/grub.cfg", Resolved::GrubConfig),
            ("autoexec.ipxe", Resolved::Autoexec),
            ("sb/autoexec.ipxe", Resolved::Autoexec),
            ("/boot/52-54-00-ab-cd-0f/script.ipxe", Resolved::NodeScript(node)),
            ("/boot/52:54:00:ab:cd:0f/grub.cfg", Resolved::NodeGrub(node)),
            ("/boot/52-54-00-AB-CD-0F/grub.cfg", Resolved::NodeGrub(node)),
            ("sb/revocations_sku.efi", probe),
            ("sb/revocations_sbat.efi", probe),
            ("sb/revocations.efi", probe),
            ("sb/shim_certificate_0.efi", probe),
            ("/grub/x86_64-efi/command.lst", probe),
            ("/grub/x86_64-efi/grub.cfg", probe),
            ("/grub/grub.cfg-amd64", probe),
            ("/grub/arm64-efi/fs.lst", probe),
            ("/sb//grubaa64.efi", Resolved::Static(StoreFile::GrubArm64)),
            ("/join/join.sh", Resolved::Join),
            ("local-boot", Resolved::NotFound(NotFound::OnPurpose)),
            ("/local-boot", Resolved::NotFound(NotFound::OnPurpose)),
        ];
        for (name, meaning) in table {
            for transport in [Transport::Tftp, Transport::Http] {
                assert_eq!(resolve(name.as_bytes(), transport), meaning, "{name}");
            }
        }
    }

    #[test]
    fn big_files_go_by_http_only() {
        for (name, file) in [
            ("/boot/vmlinuz", StoreFile::Kernel),
            ("boot//initrd.img", StoreFile::Ramdisk),
            ("/boot/arm64/vmlinuz", StoreFile::KernelArm64),
            ("/boot/arm64/initrd.img", StoreFile::RamdiskArm64),
            ("/join/rackwright-agent", StoreFile::Agent),
        ] {
            assert_eq!(resolve(name.as_bytes(), Transport::Http), Resolved::Static(file));
            assert_eq!(resolve(name.as_bytes(), Transport::Tftp), Resolved::Refused(Refused::HttpOnly));
        }
    }

    #[test]
    fn every_store_file_is_found_under_its_client_name() {
        for file in StoreFile::ALL {
            assert_eq!(resolve(file.client_name().as_bytes(), Transport::Http), Resolved::Static(file));
        }
    }
}
