//! A file asked for, and how that ended.

use serde::{Deserialize, Serialize};

use super::plain::Plain;

/// A file asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// How.
    pub way: Way,
    /// Only its length was asked for (HTTP HEAD).
    #[serde(default, skip_serializing_if = "is_false")]
    pub head: bool,
    /// The name as it was asked for.
    pub name: Plain,
    /// Who asks, as far as it tells.
    pub by: By,
    /// The block size asked for (TFTP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u16>,
    /// The window asked for (TFTP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u16>,
    /// Its size was asked for as well (TFTP, option tsize).
    #[serde(default, skip_serializing_if = "is_false")]
    pub size: bool,
    /// How it ended.
    pub end: End,
    /// How long the transfer took, in milliseconds, where its beginning was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// What the machine was told, if the file is its own script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Task>,
}

/// By which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}

/// Which program asks (HTTP: by its User-Agent; TFTP does not say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// UEFI's HTTP boot, also when shim or GRUB use it.
    Firmware,
    /// GRUB with its own HTTP.
    Grub,
    /// iPXE.
    Ipxe,
    /// Our agent.
    Agent,
    /// Anything else, or not said.
    Other,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// It has not; it is under way.
    Begun,
    /// Sent, and by TFTP acknowledged, to the last byte.
    Whole {
        /// Bytes.
        bytes: u64,
    },
    /// A part of it was asked for and sent.
    Part {
        /// Bytes.
        bytes: u64,
    },
    /// Its length was told (HTTP HEAD).
    Told,
    /// The client broke off.
    BrokenOff {
        /// What it said.
        said: Plain,
    },
    /// The client went away, or the network did.
    Stopped {
        /// Bytes that the client had acknowledged until then; none when it acknowledged nothing at all, not even what
        /// was agreed, or when that is not known (HTTP).
        sent: Option<u64>,
        /// Why we gave up.
        why: Plain,
    },
    /// There is no such file, and the client does without it at every boot.
    Optional,
    /// There is no such file.
    NotFound,
    /// A file of ours is not in the boot store.
    Missing {
        /// What is wrong there.
        why: Plain,
    },
    /// No file of ours could be called that, or the request is none that we serve.
    Refused {
        /// Why.
        why: Plain,
    },
    /// Too many transfers were under way; the client asks again.
    Busy,
}

/// What a machine is told by its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Start the ramdisk with the agent.
    Agent,
    /// Start your own disk.
    LocalDisk,
    /// Wait, and ask again.
    Hold,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first UEFI loader, signed by Microsoft.
    Shim,
    /// GRUB itself.
    Grub,
    /// iPXE itself, in any build.
    Ipxe,
    /// GRUB's or iPXE's first configuration, the same for every machine.
    Config,
    /// The machine's own script.
    Script,
    /// The kernel.
    Kernel,
    /// The ramdisk.
    Ramdisk,
    /// The file that there is not, on purpose: firmware goes on to its own disk.
    Local,
    /// Anything else.
    Other,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl By {
    /// Read off a User-Agent.
    #[must_use]
    pub fn of_user_agent(text: &str) -> By {
        let begins = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        if begins("UefiHttpBoot") {
            By::Firmware
        } else if begins("iPXE") {
            By::Ipxe
        } else if begins("GRUB") {
            By::Grub
        } else if begins("rackwright-agent") {
            By::Agent
        } else {
            By::Other
        }
    }
}

impl Fetch {
    /// By TFTP, nothing asked beside the file.
    #[must_use]
    pub fn tftp(name: impl Into<Plain>, end: End) -> Fetch {
        Fetch {
            way: Way::Tftp,
            head: false,
            name: name.into(),
            by: By::Other,
            block: None,
            window: None,
            size: false,
            end,
            took_ms: None,
            told: None,
        }
    }

    /// By HTTP.
    #[must_use]
    pub fn http(name: impl Into<Plain>, by: By, end: End) -> Fetch {
        Fetch { way: Way::Http, by, ..Fetch::tftp(name, end) }
    }

    /// What the file is for, by its name: the same whatever folder, slashes and architecture are in it.
    #[must_use]
    pub fn role(&self) -> Role {
        role(self.name.as_str())
    }

    /// Whether the machine was told with this to start its own disk.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.told == Some(Task::LocalDisk) || (self.role() == Role::Local && self.end == End::NotFound)
    }

    /// Whether it was sent whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.end, End::Whole { .. })
    }
}

/// What a file of this name is for.
pub(crate) fn role(name: &str) -> Role {
    let mut parts = name.rsplit('/').filter(|part| !part.is_empty());
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next());
    let begins = |names: &[&str]| names.iter().any(|name| file.starts_with(name));
    let own = folder.is_some_and(|folder| folder.parse::<crate::Mac>().is_ok());
    match file {
        "grub.cfg" | "script.ipxe" if own => Role::Script,
        "grub.cfg" | "autoexec.ipxe" => Role::Config,
        crate::files::LOCAL_BOOT => Role::Local,
        _ if begins(&["vmlinuz", "linux"]) => Role::Kernel,
        _ if begins(&["initrd", "initramfs"]) => Role::Ramdisk,
        _ if begins(&["undionly", "snponly", "ipxe"]) => Role::Ipxe,
        _ if begins(&["shim"]) && file.ends_with(".efi") && !file.contains("certificate") => Role::Shim,
        _ if begins(&["grub"]) && file.ends_with(".efi") => Role::Grub,
        _ => Role::Other,
    }
}
