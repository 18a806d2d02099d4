//! Backups: everything that makes this controller the one that its nodes trust, in one file that only the recovery kit opens.
//!
//! What is in it: the data base with the journal, the CA's directory, the signed heads, the configuration and the keys that
//! images are trusted by. Images are not: they are named, with their digests. `appliance/docs/journal.md` has the format.

pub mod copy;
pub(crate) mod durable;
pub mod kit;
pub mod make;
pub mod parts;
pub mod seal;
#[cfg(test)]
pub(crate) mod tests;
pub mod verify;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use copy::Copies;
pub use durable::{replace, replace_like};
pub use kit::{Kit, KitError};
pub use make::make;
pub use parts::Content;
pub use verify::{Verified, verify};

use crate::config::Paths;

/// For the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    use std::io::Write;

    /// These bytes, sealed with a salt that is always the same: what is random could not be run again.
    pub fn sealed(kit: &super::Kit, bytes: &[u8]) -> Vec<u8> {
        let begin = super::seal::Sealer::salted(Vec::new(), kit, [5; 32]);
        let sealed = begin.and_then(|mut out| {
            out.write_all(bytes)?;
            out.end()
        });
        sealed.unwrap_or_default()
    }
}

/// Where what is backed up lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The site's name.
    pub site: String,
    /// The state directory.
    pub state: PathBuf,
    /// The data base.
    pub database: PathBuf,
    /// The CA's directory.
    pub ca: PathBuf,
    /// The signed heads of the journal.
    pub heads: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The keys that images are trusted by.
    pub image_keys: PathBuf,
}

impl Sources {
    /// Of a controller with these paths.
    pub fn of(paths: &Paths, site: &str, image_keys: &Path) -> Self {
        Self {
            site: site.to_owned(),
            state: paths.state.clone(),
            database: paths.state_db.clone(),
            ca: paths.ca.clone(),
            heads: paths.journal.join("heads"),
            config: paths.config.clone(),
            image_keys: paths.resolve(image_keys),
        }
    }

    /// Where the secret of the recovery kit is kept.
    pub fn kit(&self) -> PathBuf {
        self.state.join(kit::FILE)
    }
}

/// What a backup says of itself; the first part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// RFC 3339.
    pub made: String,
    /// The site's name.
    pub site: String,
    /// The version of the program that made it.
    pub version: String,
    /// The controller's reign.
    pub epoch: u64,
    /// The schema of the data base.
    pub schema: u64,
    /// The SHA-256 of the CA's certificate, in lower-case hexadecimal: what nodes trust.
    pub ca: String,
    /// The number of the journal's last record.
    pub journal: u64,
    /// Its hash, in lower-case hexadecimal.
    pub journal_hash: String,
    /// How many nodes there were.
    pub nodes: u64,
    /// The images that the store had.
    pub images: Vec<ImageName>,
}

/// An image that is not in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageName {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
}

/// Why there is no backup, or why it is refused.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file operation failed.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The output could not be written.
    #[error("writing the backup")]
    Write(#[source] std::io::Error),
    /// The disk has no room for the copy that is made first.
    #[error(
        "a copy of the data base needs {need} bytes beside it, and {free} are free: free some space, then try again"
    )]
    NoRoom {
        /// Bytes, with what is kept for the data base.
        need: u64,
        /// Bytes.
        free: u64,
    },
    /// No key yet.
    #[error(
        "there is no recovery kit yet: make one, print it and put it away (rackwright backup key), then try again"
    )]
    NoKit,
    /// The kit can't be used.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// The data base can't be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Not what was sealed.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
    /// What was sealed is no backup.
    #[error("what is in the backup is not as it should be: {0}")]
    Content(String),
}

impl BackupError {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
        move |source| BackupError::File { what, path: path.to_owned(), source }
    }
}
