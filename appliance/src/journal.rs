//! The journal: one hash-chained, append-only table in the data base, written in the same transaction as what it tells of.
//!
//! Every record has the hash of the one before it in its own, so that no record can be changed, left out, put in or moved
//! without a trace. What a chain can't show is that its end was cut off: for that, its head is signed with a key of the
//! controller's own and appended to a file beside the data base ([`head`]). `appliance/docs/journal.md` has the format.

pub mod chain;
pub mod check;
pub mod command;
pub mod head;
mod read;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use chain::{Head, Record};
pub use check::{Fault, FaultKind, Report, check};
pub use command::{Command, Peer};
pub use head::{HeadError, Heads, SignedHead};
pub use read::records;

/// Where the parts of a journal lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The data base.
    pub database: PathBuf,
    /// The signed heads.
    pub heads: PathBuf,
    /// The directory of the key that signs them.
    pub keys: PathBuf,
}

impl Place {
    /// In the directory of this data base.
    pub fn beside(database: &Path) -> Self {
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        Self { database: database.to_owned(), heads: folder.join("journal/heads"), keys: folder.join("ca") }
    }
}
