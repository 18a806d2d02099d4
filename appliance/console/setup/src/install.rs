//! A controller on a disk of its own: which disks there are to choose from, and what one of them becomes.
//!
//! ```text
//! 1 MiB    BIOS boot partition, 1 MiB
//! 2 MiB    EFI system partition: loaders, their menu, and which slot is started ([`environment`])
//! 258 MiB  slot A, and after it slot B: each as the medium is, byte for byte
//! …        data: what the controller changes in /etc, /home, /root and /var
//! ```

pub mod environment;
mod layout;

use serde::Serialize;

pub use environment::{Environment, Slot};
pub use layout::{Layout, Place, TooSmall};

/// A disk of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What stands for it for good: its serial number, or its World Wide Name. None: it has neither.
    pub name: Option<String>,
    /// What its maker calls it.
    pub model: String,
    /// Its size.
    pub bytes: u64,
    /// What the kernel calls it, until the next start.
    pub path: String,
    /// It can be pulled out.
    pub removable: bool,
    /// What is on it now, a line each.
    pub content: Vec<String>,
    /// Why it can't be written to; none: it can.
    pub hindrance: Option<String>,
}

/// Why none of them is the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none of that name.
    #[error(
        "no disk of this machine has the serial number or World Wide Name {0:?}; rackwright install --list shows all"
    )]
    Unknown(String),
    /// There are more.
    #[error("{1} disks have the serial number {0:?}: pull out all but one, or all cables to it but one")]
    Ambiguous(String, usize),
    /// It can't be.
    #[error("{0} can't be used: {1}")]
    Hindered(String, String),
    /// It is too small.
    #[error("{0} can't be used: {1}")]
    Small(String, TooSmall),
}

/// The disk of this name, and what it becomes with a medium of so many bytes.
///
/// # Errors
/// [`Refusal`].
pub fn chosen<'a>(disks: &'a [Disk], name: &str, medium: u64) -> Result<(&'a Disk, Layout), Refusal> {
    let named = disks.iter().filter(|disk| disk.name.as_deref() == Some(name)).collect::<Vec<_>>();
    let [disk] = named.as_slice() else {
        return Err(match named.len() {
            0 => Refusal::Unknown(name.to_owned()),
            count => Refusal::Ambiguous(name.to_owned(), count),
        });
    };
    if let Some(why) = &disk.hindrance {
        return Err(Refusal::Hindered(name.to_owned(), why.clone()));
    }
    let layout = Layout::of(disk.bytes, medium).map_err(|small| Refusal::Small(name.to_owned(), small))?;
    Ok((disk, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: Option<&str>, gib: u64) -> Disk {
        Disk { name: name.map(str::to_owned), bytes: gib << 30, ..Disk::default() }
    }

    #[test]
    fn a_disk_is_named_by_what_nothing_else_has() {
        let busy = Disk { hindrance: Some("/ is on it".to_owned()), ..disk(Some("busy"), 100) };
        let disks = [
            disk(Some("a"), 100),
            disk(Some("twice"), 100),
            disk(Some("twice"), 100),
            disk(None, 100),
            busy,
            disk(Some("small"), 8),
        ];
        let of = |name: &str| chosen(&disks, name, 900 << 20).map(|(disk, _)| disk.name.clone());
        assert_eq!(of("a"), Ok(Some("a".to_owned())));
        assert_eq!(of("b"), Err(Refusal::Unknown("b".to_owned())));
        assert_eq!(of(""), Err(Refusal::Unknown(String::new())), "one that has no name is not named by none");
        assert_eq!(of("twice"), Err(Refusal::Ambiguous("twice".to_owned(), 2)));
        assert_eq!(of("busy").unwrap_err().to_string(), "busy can't be used: / is on it");
        assert!(of("small").unwrap_err().to_string().contains("at least"));
    }
}
