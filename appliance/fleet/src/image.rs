//! Images the controller holds: immutable disk content, named by digest.

use std::collections::BTreeSet;

use pack::{Digest, Layout, PublicKey};
use protocol::Carried;
use serde::{Deserialize, Serialize};

use crate::Time;

/// One image in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// BLAKE3 of the encoded manifest.
    pub digest: Digest,
    /// The manifest's name.
    pub name: String,
    /// Roles whose packages it carries.
    pub roles: BTreeSet<String>,
    /// Architecture.
    pub arch: String,
    /// Smallest disk it fits on, in bytes.
    pub disk_bytes: u64,
    /// Bytes of the disk that it defines.
    pub content_bytes: u64,
    /// Compressed bytes in the store.
    pub stored_bytes: u64,
    /// Who signed it.
    pub signer: PublicKey,
    /// When it was imported.
    pub imported: Time,
    /// What it makes of a disk; of an image that was imported before this was kept, nothing is known.
    #[serde(default)]
    pub layout: Layout,
    /// The Merkle root of its content: what is read back from a disk adds up to it. `None` when it was imported before this was
    /// kept.
    #[serde(default)]
    pub root: Option<Digest>,
}

impl Image {
    /// What it makes of the disk that it is written to, as far as the choice of that disk goes.
    pub fn carried(&self) -> Carried {
        Carried::of(&self.layout)
    }
}
