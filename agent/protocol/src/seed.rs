//! The seed: what the ramdisk leaves on the disk so that the installed system can enrol, and a resumed ramdisk can go on.
//!
//! It lies in a partition of its own that no image has data in, at the same place on every node, so that it is found
//! while the partition table is still missing. It is wiped as soon as the node has a certificate of its own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CaPin, JobId, NodeId};

/// Where the seed lies, in bytes from the start of the disk: after the BIOS boot partition and the ESP.
pub const SEED_OFFSET: u64 = 66 << 20;
/// How much room it has, in bytes.
pub const SEED_BYTES: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"RWSEED1\n";
const HEAD: usize = 8 + 4;
const CHECK: usize = 32;
const MAX: usize = 64 << 10;

/// What the ramdisk leaves behind.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Where the controller's HTTPS listens.
    pub controller: SocketAddr,
    /// The site CA.
    pub ca: CaPin,
    /// Who this node is.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// The job that wrote it.
    pub job: Option<JobId>,
    /// The deploy key, PKCS#8, base64. Good for one enrolment and for this job.
    pub key: String,
    /// The deploy certificate, PEM; empty while the image is still being written.
    pub certificate: String,
    /// The disk holds the whole image, read back. Only then may the installed system use the seed.
    pub complete: bool,
}

impl std::fmt::Debug for Seed {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("node", &self.node).field("job", &self.job).finish_non_exhaustive()
    }
}

/// Why bytes are not a seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Nothing was ever left here, or it was wiped.
    #[error("there is no seed here")]
    Absent,
    /// Half-written or damaged.
    #[error("the seed is damaged: {0}")]
    Damaged(&'static str),
    /// Not the seed this version writes.
    #[error("decoding the seed")]
    Decode(#[source] serde_json::Error),
}

impl Seed {
    /// The whole partition's content: magic, length, JSON, BLAKE3, zeros to [`SEED_BYTES`].
    ///
    /// # Errors
    /// [`SeedError::Damaged`] when it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, SeedError> {
        let json = serde_json::to_vec(self).map_err(SeedError::Decode)?;
        let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX);
        let length = length.ok_or(SeedError::Damaged("it is longer than 64 KiB"))?;
        let mut out = [MAGIC.as_slice(), &length.to_le_bytes(), &json].concat();
        out.extend_from_slice(blake3::hash(&out).as_bytes());
        out.resize(usize::try_from(SEED_BYTES).unwrap_or(MAX), 0);
        Ok(out)
    }

    /// Reads what [`Seed::encode`] wrote.
    ///
    /// # Errors
    /// [`SeedError`], never a panic, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SeedError> {
        let head = bytes.get(..HEAD).ok_or(SeedError::Absent)?;
        let (magic, length) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(SeedError::Absent);
        }
        let length = u32::from_le_bytes(length.try_into().map_err(|_| SeedError::Damaged("no length"))?);
        let end = HEAD
            + usize::try_from(length)
                .ok()
                .filter(|&n| n <= MAX)
                .ok_or(SeedError::Damaged("a wild length"))?;
        let body = bytes.get(..end).ok_or(SeedError::Damaged("it ends early"))?;
        let check = bytes.get(end..end + CHECK).ok_or(SeedError::Damaged("it has no checksum"))?;
        if blake3::hash(body).as_bytes() != check {
            return Err(SeedError::Damaged("its checksum is wrong"));
        }
        serde_json::from_slice(body.get(HEAD..).unwrap_or_default()).map_err(SeedError::Decode)
    }
}
