//! Stage *deploy*: a disk becomes an image. The agent reads, packs and sends what the controller's store lacks; the controller
//! keeps the list of windows, makes the manifest of it and signs.
//!
//! ```text
//! CaptureJob -> Windows (records, in the order of the disk) -> which of them are missing -> their stored bytes -> Seal -> the next task
//! ```

use std::collections::BTreeSet;

use pack::{Digest, Layout, Span};
use serde::{Deserialize, Serialize};

use crate::{Disk, DiskId, JobId, TooMuch};

/// Windows in one [`Windows`], at most: their records are some 80 bytes each, and 4 KiB where a window is scattered.
pub const WINDOWS_MAX: usize = 128;
/// Findings in one [`Seal`], at most.
pub const FOUND_MAX: usize = 256;

/// One disk to be read, and nothing to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureJob {
    /// The job.
    pub job: JobId,
    /// The disk, as the controller knows it; every field must match, else the agent refuses.
    pub disk: Subject,
    /// What becomes of what belongs to this machine alone.
    pub identity: Identity,
}

/// The disk of which an image is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// By WWN or serial.
    pub disk: DiskId,
    /// Its model.
    pub model: String,
    /// Its serial number, also where it is named by its WWN.
    pub serial: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Subject {
    /// This disk; `None` when it has neither WWN nor serial number.
    pub fn of(disk: &Disk) -> Option<Subject> {
        let (model, serial) = (disk.model.clone(), disk.serial.clone());
        Some(Subject { disk: disk.id()?, model, serial, bytes: disk.bytes })
    }

    /// Whether this is that disk, by name, model, serial number and size.
    pub fn is(&self, disk: &Disk) -> bool {
        Subject::of(disk).as_ref() == Some(self)
    }
}

/// What becomes of that by which a machine is told apart from others: its ids, keys and leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "identity", rename_all = "kebab-case")]
pub enum Identity {
    /// The image has none of it, for any number of servers. The disk keeps it.
    Generalize {
        /// Rules whose findings stay in the image all the same.
        #[serde(default)]
        keep: BTreeSet<String>,
    },
    /// The image has all of it: for this one node.
    AsIs,
}

/// The next windows of the image, in the order of the disk. Sent again when its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// The job.
    pub job: JobId,
    /// How many windows were told before.
    pub before: u64,
    /// Their records, [`pack::Chunk::encode_all`], in base64; at most [`WINDOWS_MAX`].
    pub records: String,
}

/// The answer to [`Windows`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// False: the job was cancelled.
    pub go_on: bool,
    /// The windows of those whose stored bytes the store does not have: each is to be sent to
    /// [`crate::routes::stored`].
    pub windows: Vec<u32>,
}

/// Everything was told and sent: this is the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The job.
    pub job: JobId,
    /// How many windows it has.
    pub windows: u64,
    /// The Merkle root over them.
    pub root: Digest,
    /// What is on the disk.
    pub layout: Layout,
    /// Where the disk has the place for a seed, which no image has.
    pub seed: Option<Span>,
    /// What of this machine was found, and what became of it.
    pub found: Vec<Found>,
    /// Wall time of the capture, from the first look at the disk.
    pub milliseconds: u64,
}

/// Something that belongs to one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The rule's name, as in `image-build lint`.
    pub rule: String,
    /// What it is, for a person.
    pub what: String,
    /// In how many places.
    pub places: u64,
    /// Whether it is in the image.
    pub kept: bool,
}

impl Seal {
    /// Whether every list and every text stays within bounds; the layout is checked with the manifest.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        crate::bounds::count("findings", self.found.len(), FOUND_MAX)?;
        crate::bounds::texts("a finding", self.found.iter().flat_map(|found| [&found.rule, &found.what]))
    }
}

#[cfg(test)]
mod tests {
    use super::{FOUND_MAX, Found, Identity, Seal, Subject};
    use crate::{Disk, JobId, TEXT_BYTES_MAX, TooMuch};
    use pack::{Digest, Layout};

    #[test]
    fn a_disk_is_the_subject_only_if_everything_matches() {
        let disk = Disk { serial: "S1".into(), wwn: "5001".into(), bytes: 9, ..Disk::default() };
        let subject = Subject::of(&disk).unwrap();
        assert!(subject.is(&disk));
        for other in [
            Disk { serial: "S2".into(), ..disk.clone() },
            Disk { wwn: "5002".into(), ..disk.clone() },
            Disk { bytes: 10, ..disk.clone() },
            Disk { model: "M".into(), ..disk.clone() },
            Disk { serial: String::new(), wwn: String::new(), ..disk.clone() },
        ] {
            assert!(!subject.is(&other), "{other:?}");
        }
        assert_eq!(Subject::of(&Disk::default()), None, "nobody could tell it from another");
    }

    #[test]
    fn what_is_wished_has_one_spelling() {
        let spell = |identity: &Identity| serde_json::to_string(identity).unwrap();
        let keep = ["machine-id".to_owned()].into();
        let wish = Identity::Generalize { keep };
        assert_eq!(spell(&wish), r#"{"identity":"generalize","keep":["machine-id"]}"#);
        assert_eq!(spell(&Identity::AsIs), r#"{"identity":"as-is"}"#);
    }

    #[test]
    fn what_a_node_tells_of_a_capture_is_bounded() {
        let found = Found { rule: "r".into(), what: "w".into(), places: 1, kept: false };
        let seal = |found| Seal {
            job: JobId([1; 8]),
            windows: 2,
            root: Digest([1; 32]),
            layout: Layout::default(),
            seed: None,
            found,
            milliseconds: 1,
        };
        assert_eq!(seal(vec![found.clone(); FOUND_MAX]).check(), Ok(()));
        let told = seal(vec![found.clone(); FOUND_MAX + 1]).check();
        assert!(matches!(told, Err(TooMuch::Count { .. })));
        let what = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(matches!(seal(vec![Found { what, ..found }]).check(), Err(TooMuch::Text { .. })));
    }
}
