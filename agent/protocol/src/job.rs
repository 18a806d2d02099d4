//! Stage *deploy*: what the ramdisk's agent is told to do, and what it tells.

use pack::{Digest, PublicKey};
use serde::{Deserialize, Serialize};

use crate::{
    CaptureJob, Disk, DiskId, Epoch, EraseJob, Inventory, JobId, Key, Mark, NodeId, RescueJob, Signature,
    TestJob,
};

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
    /// What has come to it while it waited; none: it could not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

/// Which packets to groups have come to a node of late, while it waited for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Since how many seconds it has looked.
    pub seconds: u32,
    /// Those to the group that it is in.
    pub own: bool,
    /// Those to groups that others are in: the switch floods.
    pub others: bool,
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
    /// Take an image.
    Capture(Box<CaptureJob>),
    /// Erase disks.
    Erase(Box<EraseJob>),
    /// Be mended by hand. An agent that is older than rescues can't read it, and says hello again.
    Rescue(Box<RescueJob>),
    /// Put the hardware under load. An agent that is older than this does not understand it, and says hello again.
    Test(Box<TestJob>),
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
    /// How it is proven.
    #[serde(default)]
    pub verify: Verify,
}

/// What proves that a disk holds an image. In both, everything is hashed before it is written, the disk must have made it
/// durable, and the windows with the partition tables are read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Everything that was written is read from the disk again, past all caches, and hashed.
    #[default]
    Readback,
    /// What the disk says is durable is taken to be as it was written. After a flush that failed, it is read back all the same.
    Stream,
}

impl Verify {
    /// As it is asked for and told.
    pub fn word(self) -> &'static str {
        match self {
            Verify::Readback => "readback",
            Verify::Stream => "stream",
        }
    }

    fn is_readback(&self) -> bool {
        *self == Verify::Readback
    }
}

impl std::str::FromStr for Verify {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = [Verify::Readback, Verify::Stream];
        all.into_iter().find(|one| one.word() == word).ok_or("it is readback or stream")
    }
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

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Of a capture: finding out what on the disk is used, and what of it belongs to this machine alone.
    Survey,
    /// Of a capture: reading, packing, sending.
    Capture,
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
    /// Erasing.
    Erase,
    /// Reading back what was erased.
    Prove,
}

/// How far a job is; bytes are of the raw disk. Of a capture, what is done is read and packed, and what is the same was in the
/// store already.
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
    /// Compressed bytes that went over the wire.
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

/// The disk holds the image, as [`Receipt::verify`] proves it.
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
    /// What all this rests on.
    #[serde(default, skip_serializing_if = "Verify::is_readback")]
    pub verify: Verify,
    /// What proves it; an agent that is older than proofs sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Box<Proof>>,
}

/// Who says that a disk holds an image, and what was read from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The Merkle root over the windows as they were read from the disk, or, of those that were not read back, hashed before
    /// they were written; the manifest's, if all is right.
    pub root: Digest,
    /// The disk's serial number, as the node reads it; empty when it has none.
    pub serial: String,
    /// Its WWN; empty when it has none.
    pub wwn: String,
    /// Bytes of the image on that disk that no power cut takes.
    pub durable_bytes: u64,
    /// The node's key: that of the certificate that the receipt is handed in with.
    pub key: Key,
    /// [`Receipt::statement`], signed with that key (Ed25519, RFC 8032).
    pub signature: Signature,
}

impl Receipt {
    /// What the node signs: every number and name of the receipt and its proof, a line each, the same text on every machine.
    /// Names are written as JSON strings, so that none can look like another line. What was not read back says so in a line of
    /// its own at the end. `None` without a proof.
    pub fn statement(&self, node: &NodeId) -> Option<String> {
        let Receipt {
            job,
            image,
            disk,
            total_bytes,
            written_bytes,
            same_bytes,
            fetched_bytes,
            milliseconds,
            verify,
            proof,
        } = self;
        let Proof { root, serial, wwn, durable_bytes, key, signature: _ } = &**proof.as_ref()?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let verify = if verify.is_readback() { "" } else { "verify stream\n" };
        let (disk, serial, wwn) = (quoted(disk.as_str()), quoted(serial), quoted(wwn));
        Some(format!(
            "rackwright receipt 1\nnode {node}\nkey {key}\njob {job}\nimage {image}\nroot {root}\ndisk {disk}\n\
             serial {serial}\nwwn {wwn}\ntotal {total_bytes}\nwritten {written_bytes}\nsame {same_bytes}\n\
             fetched {fetched_bytes}\ndurable {durable_bytes}\nmilliseconds {milliseconds}\n{verify}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{Proof, Receipt, Verify};
    use crate::{DiskId, JobId, Key, NodeId, Signature};
    use pack::Digest;

    fn receipt() -> Receipt {
        let proof = Proof {
            root: Digest([2; 32]),
            serial: "QM\n\"1".to_owned(),
            wwn: String::new(),
            durable_bytes: 9,
            key: Key([3; 32]),
            signature: Signature([4; 64]),
        };
        Receipt {
            job: JobId([5; 8]),
            image: Digest([1; 32]),
            disk: DiskId::of("", "QM1").unwrap(),
            total_bytes: 9,
            written_bytes: 8,
            same_bytes: 1,
            fetched_bytes: 7,
            milliseconds: 6,
            verify: Verify::Readback,
            proof: Some(Box::new(proof)),
        }
    }

    /// Signatures are kept for years: this text never changes.
    #[test]
    fn the_statement_has_one_spelling_and_everything_in_it() {
        let hex = |digit: &str, bytes: usize| digit.repeat(bytes);
        let want = format!(
            "rackwright receipt 1\nnode {}\nkey {}\njob {}\nimage {}\nroot {}\ndisk \"serial:QM1\"\n\
             serial \"QM\\n\\\"1\"\nwwn \"\"\ntotal 9\nwritten 8\nsame 1\nfetched 7\ndurable 9\nmilliseconds 6\n",
            hex("06", 16),
            hex("03", 32),
            hex("05", 8),
            hex("01", 32),
            hex("02", 32)
        );
        let node = NodeId([6; 16]);
        let said = receipt();
        assert_eq!(said.statement(&node).unwrap(), want);
        assert_ne!(said.statement(&NodeId([7; 16])).unwrap(), want);
        let mut other = said.clone();
        other.proof.as_mut().unwrap().signature = Signature([9; 64]);
        assert_eq!(other.statement(&node).unwrap(), want, "the signature is no part of what it is over");
        other.proof.as_mut().unwrap().root = Digest([9; 32]);
        assert_ne!(other.statement(&node).unwrap(), want);
        let trusted = Receipt { verify: Verify::Stream, ..said.clone() };
        assert_eq!(trusted.statement(&node).unwrap(), format!("{want}verify stream\n"));
        assert_eq!(Receipt { proof: None, ..said }.statement(&node), None);
    }
}
