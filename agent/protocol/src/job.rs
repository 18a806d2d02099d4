//! Stage *deploy*: what the ramdisk's agent is told to do, and what it tells.

use pack::{Digest, PublicKey};
use serde::{Deserialize, Serialize};

use crate::{Disk, DiskId, Epoch, Inventory, JobId, Mark, NodeId};

/// Every command to an agent. The agent refuses one for another node or with a lower epoch than it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Whom it is for.
    pub node: NodeId,
    /// The node's certificate generation.
    pub generation: u64,
    /// The controller's reign.
    pub epoch: Epoch,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// The command.
    pub body: T,
}

/// The agent asks for work; the answer is held back until there is some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskAsk {
    /// The hardware as it is now: disks are looked at again before every ask.
    pub inventory: Inventory,
    /// How long the controller may hold the answer back, in seconds; at most 30.
    pub wait_seconds: u32,
}

/// What the ramdisk's agent shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Nothing yet: ask again.
    Wait {
        /// Why, for the server's screen.
        reason: String,
    },
    /// Write an image.
    Image(Box<ImageJob>),
    /// Restart; what boots next is decided when the server asks the network.
    Reboot,
}

/// One disk, one image, nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageJob {
    /// The job.
    pub job: JobId,
    /// BLAKE3 of the encoded manifest.
    pub image: Digest,
    /// The only key whose signature on the manifest counts.
    pub signer: PublicKey,
    /// The disk that the operator saw in the plan.
    pub target: Target,
    /// What is foreign on it and may be erased all the same, because the operator named it. The agent looks again, and
    /// refuses a disk with anything foreign that is not here.
    #[serde(default)]
    pub erase: Vec<Mark>,
}

/// The disk to be written: every field must match, else the agent refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// By WWN or serial.
    pub disk: DiskId,
    /// Model, as the plan showed it.
    pub model: String,
    /// Serial number, also where the disk is named by its WWN; none in a plan of the time before it was asked for.
    #[serde(default)]
    pub serial: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// What must be on it.
    pub expect: Expectation,
}

/// What the plan saw on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "expect", rename_all = "snake_case")]
pub enum Expectation {
    /// First and last MiB with this digest: nobody has touched it since the plan.
    Content {
        /// [`Disk::content`].
        digest: Digest,
    },
    /// A node of ours, told by its partition named `rackwright-root`: a rebuild.
    Own,
}

impl Target {
    /// Whether this is the disk that was planned, by name, model, serial number and size.
    pub fn is(&self, disk: &Disk) -> bool {
        let is_serial = self.serial.as_ref().is_none_or(|serial| *serial == disk.serial);
        disk.id().as_ref() == Some(&self.disk)
            && disk.model == self.model
            && is_serial
            && disk.bytes == self.bytes
    }
}

/// Where an image job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading what is on the disk; nothing is written yet.
    Compare,
    /// Making the disk unbootable.
    Disarm,
    /// Comparing, fetching, writing.
    Write,
    /// Reading back.
    ReadBack,
    /// Partition tables, last.
    Arm,
}

/// How far an image job is; bytes are of the raw disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The job.
    pub job: JobId,
    /// Where it is.
    pub phase: Phase,
    /// All bytes that the image has.
    pub total_bytes: u64,
    /// Bytes that are on the disk, written or found right.
    pub done_bytes: u64,
    /// Of these, found right already.
    pub same_bytes: u64,
    /// Bytes read back and compared.
    pub read_back_bytes: u64,
    /// Compressed bytes that came over the wire.
    pub fetched_bytes: u64,
    /// Set when the job can't go on: what, why, at which byte.
    pub failed: Option<String>,
}

/// The answer to [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressReply {
    /// False: the job was cancelled; stop where it is safe.
    pub go_on: bool,
}

/// The disk holds the image: everything was read back from it and compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The job.
    pub job: JobId,
    /// The image that was compared with.
    pub image: Digest,
    /// The disk that was read.
    pub disk: DiskId,
    /// Bytes of the image on that disk: all of them, each either written or found right.
    pub total_bytes: u64,
    /// Bytes written in this boot, each counted once.
    pub written_bytes: u64,
    /// Bytes found right and left alone.
    pub same_bytes: u64,
    /// Compressed bytes fetched.
    pub fetched_bytes: u64,
    /// Wall time of this boot's part of the job.
    pub milliseconds: u64,
}
