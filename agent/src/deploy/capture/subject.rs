//! The disk of which an image is taken: exactly that one, used by nobody, and no disk of this server open to writes.

use std::io;
use std::path::Path;
use std::time::Duration;

use pack::disk::{self, Access};
use protocol::{Disk, DiskId, Subject};

use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::deploy::imaging::target::{self, patiently};
use crate::deploy::imaging::user;
use crate::inventory;

/// How often a disk is asked for whether it is in use, and what is between.
const UNUSED_TRIES: u32 = 20;
const UNUSED_PAUSE: Duration = Duration::from_millis(100);

/// Why no image is taken of a disk.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not there.
    #[error("the disk {id} is not in this server; it has {there}")]
    Missing {
        /// The one that is wanted.
        id: DiskId,
        /// Those that are here.
        there: String,
    },
    /// More than one disk has its name.
    #[error("{count} disks call themselves {id}: which of them is meant nobody knows")]
    Ambiguous {
        /// The name.
        id: DiskId,
        /// How many.
        count: usize,
    },
    /// A disk of its name is here, but it is another.
    #[error("the disk {id} is another than the controller knows: that is {known}, this is {here}")]
    Changed {
        /// Its name.
        id: DiskId,
        /// Model, serial number and size, as the controller knows them.
        known: String,
        /// The same, as they are here.
        here: String,
    },
    /// A medium that can be taken out.
    #[error("the disk {id} can be taken out of its drive: no image is taken of such a one")]
    Removable {
        /// Its name.
        id: DiskId,
    },
    /// It was swapped while it was opened.
    #[error("the disk {id} was swapped while it was opened: it was {before}, and is {after} now")]
    Swapped {
        /// Its name.
        id: DiskId,
        /// The kernel's name at the first look.
        before: String,
        /// And at the second.
        after: String,
    },
    /// Somebody uses it, or a disk can't be protected.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It can't be opened.
    #[error(transparent)]
    Open(#[from] disk::DiskError),
    /// What was opened is not what was looked at.
    #[error(transparent)]
    Other(#[from] target::DiskError),
}

/// The disk in hand.
#[derive(Debug)]
pub(super) struct Ready {
    /// What keeps all disks read-only, this one too.
    pub(super) held: Protected,
    /// The disk, as it was seen when it was open.
    pub(super) disk: Disk,
    /// The disk, open for this alone.
    pub(super) open: disk::Disk,
}

/// Has the disk open and everything protected, or refuses. Looks again when it is open: between a look and an open a disk can
/// be pulled and another put in, which gets its name.
///
/// # Errors
/// [`Unfit`].
pub(super) fn ready(root: &Path, subject: &Subject) -> Result<Ready, Unfit> {
    let before = choose(&inventory::disks(root), subject)?;
    unused(root, &before.name)?;
    let held = Protected::all(root)?;
    let (disk, open) = open(root, subject, &before)?;
    Ok(Ready { held, disk, open })
}

/// What an earlier job's programs had made of the disk goes a moment after them: only a disk that stays in use is in use.
fn unused(root: &Path, name: &str) -> Result<(), HoldError> {
    for _ in 0..UNUSED_TRIES {
        match user::unused(root, name) {
            Err(HoldError::InUse { .. }) => std::thread::sleep(UNUSED_PAUSE),
            other => return other,
        }
    }
    user::unused(root, name)
}

/// Opens a disk that was looked at, for this alone, and looks again.
///
/// # Errors
/// [`Unfit`].
pub(super) fn open(root: &Path, subject: &Subject, before: &Disk) -> Result<(Disk, disk::Disk), Unfit> {
    let path = inventory::device(root, &before.name);
    let open = patiently(|| disk::Disk::open(&path, Access::ReadExclusive), is_busy)?;
    let after = choose(&inventory::disks(root), subject)?;
    if after.name != before.name {
        let (id, before, after) = (subject.disk.clone(), before.name.clone(), after.name);
        return Err(Unfit::Swapped { id, before, after });
    }
    target::same(root, &after, subject.disk.as_str(), &open)?;
    Ok((after, open))
}

fn is_busy(error: &disk::DiskError) -> bool {
    let disk::DiskError::Open { source, .. } = error else { return false };
    source.kind() == io::ErrorKind::ResourceBusy
}

/// Finds the disk among these.
pub(in crate::deploy) fn choose(disks: &[Disk], subject: &Subject) -> Result<Disk, Unfit> {
    let id = subject.disk.clone();
    let named = disks.iter().filter(|disk| disk.id().as_ref() == Some(&id)).collect::<Vec<_>>();
    match named.as_slice() {
        [] => Err(Unfit::Missing { id, there: list(disks) }),
        [one] if !subject.is(one) => {
            let known = words(&subject.model, &subject.serial, subject.bytes);
            Err(Unfit::Changed { id, known, here: words(&one.model, &one.serial, one.bytes) })
        }
        [one] if one.removable => Err(Unfit::Removable { id }),
        [one] => Ok((*one).clone()),
        many => Err(Unfit::Ambiguous { id, count: many.len() }),
    }
}

fn words(model: &str, serial: &str, bytes: u64) -> String {
    format!("{model:?} {serial:?} of {bytes} bytes")
}

fn list(disks: &[Disk]) -> String {
    let named = |disk: &Disk| disk.id().map_or_else(|| disk.name.clone(), |id| id.as_str().to_owned());
    let names = disks.iter().map(named).collect::<Vec<_>>();
    if names.is_empty() { "no disk at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use protocol::{Disk, Subject};

    use super::choose;

    fn disk() -> Disk {
        Disk { name: "sda".into(), serial: "S1".into(), model: "M".into(), bytes: 9, ..Disk::default() }
    }

    #[test]
    fn exactly_one_disk_and_everything_of_it_matches() {
        let subject = Subject::of(&disk()).unwrap();
        let other = Disk { name: "sdb".into(), serial: "S2".into(), ..disk() };
        let twin = Disk { name: "sdc".into(), bytes: 8, ..disk() };
        let table: [(&[Disk], &str); 6] = [
            (&[other.clone(), disk()], ""),
            (&[], "is not in this server; it has no disk at all"),
            (std::slice::from_ref(&other), "it has serial:S2"),
            (&[disk(), twin.clone()], "2 disks call themselves serial:S1"),
            (&[twin], "that is \"M\" \"S1\" of 9 bytes, this is \"M\" \"S1\" of 8 bytes"),
            (&[Disk { removable: true, ..disk() }], "can be taken out"),
        ];
        for (disks, words) in table {
            match choose(disks, &subject) {
                Ok(chosen) => assert!(words.is_empty() && chosen == disk()),
                Err(error) => assert!(!words.is_empty() && error.to_string().contains(words), "{error}"),
            }
        }
    }
}
