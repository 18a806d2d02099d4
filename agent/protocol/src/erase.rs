//! Stage *deploy*: disks are erased, and whoever did it says how, and what proves it.
//!
//! ```text
//! EraseJob -> per disk: ends zeroed, canaries laid and read back, erased, read back -> Erasure, signed -> the next task
//! ```
//! Where is read back is drawn from [`EraseJob::challenge`], which the controller draws when the plan is made, and tells with the
//! job: a disk that only says that it was erased can't know it before.

use serde::{Deserialize, Serialize};

use crate::{DiskId, Holding, JobId, Key, Mark, NodeId, Nonce, Signature, Subject, TooMuch, unnamed};

/// Places that are read back of every disk, at least, however small it is.
pub const SAMPLES_MIN: u64 = 64;
/// Blocks with a known pattern that lie on a disk before it is erased, at least.
pub const CANARIES_MIN: u64 = 32;

/// Disks to be erased, and nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseJob {
    /// The job.
    pub job: JobId,
    /// What the pattern, the canaries and the places of the samples are drawn from.
    pub challenge: Nonce,
    /// Those of the plan that are not proven yet. Every other disk of the server refuses writes meanwhile.
    pub disks: Vec<Doomed>,
}

/// One disk to be erased: every field must match, else the agent refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The disk, as the plan showed it.
    pub disk: Subject,
    /// The node's own system or data: what it has come to hold since the plan looked is the node's.
    #[serde(default)]
    pub own: bool,
    /// What is foreign on it and was shown in the plan. The agent looks again, and refuses a disk with anything foreign that
    /// is not here.
    #[serde(default)]
    pub erase: Vec<Mark>,
}

impl Doomed {
    /// What is foreign on the disk now, and was not shown to whoever applied the plan.
    pub fn unseen<'a>(&self, holds: &'a [Holding]) -> Vec<&'a Holding> {
        if self.own { Vec::new() } else { unnamed(holds, &self.erase) }
    }
}

/// How a disk was erased. A discard (TRIM) is none: a drive may keep what it was told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// NVMe Sanitize, the key of everything is changed (NVM Express Base 2.0, 5.24).
    NvmeSanitizeCrypto,
    /// NVMe Sanitize, every block is erased, spare ones too.
    NvmeSanitizeBlock,
    /// NVMe Format with SES 2: the key is changed.
    NvmeFormatCrypto,
    /// NVMe Format with SES 1: user data is erased.
    NvmeFormatErase,
    /// Every addressable sector was written over once.
    Overwrite,
}

impl Method {
    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            Method::NvmeSanitizeCrypto => "nvme-sanitize-crypto",
            Method::NvmeSanitizeBlock => "nvme-sanitize-block",
            Method::NvmeFormatCrypto => "nvme-format-crypto",
            Method::NvmeFormatErase => "nvme-format-erase",
            Method::Overwrite => "overwrite",
        }
    }

    /// `purge` or `clear`, in the words of NIST SP 800-88: what is written over may survive in spare blocks.
    pub fn level(self) -> &'static str {
        match self {
            Method::NvmeSanitizeCrypto
            | Method::NvmeSanitizeBlock
            | Method::NvmeFormatCrypto
            | Method::NvmeFormatErase => "purge",
            Method::Overwrite => "clear",
        }
    }
}

/// One disk is erased, as what was read from it proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The job.
    pub job: JobId,
    /// The disk, by WWN or serial.
    pub disk: DiskId,
    /// Its model, as the node reads it.
    pub model: String,
    /// Its serial number; may be empty.
    pub serial: String,
    /// Its WWN; may be empty.
    pub wwn: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How it was erased.
    pub method: Method,
    /// What the drive's own firmware said of it; empty where it was not asked.
    pub firmware: String,
    /// Bytes that were written over.
    pub written_bytes: u64,
    /// Blocks with a known pattern that lay on it before, and were gone.
    pub canaries: u64,
    /// Places that were read back, in every one of which was what should be.
    pub samples: u64,
    /// Bytes read back.
    pub sampled_bytes: u64,
    /// Wall time, from the first write to the last read.
    pub milliseconds: u64,
    /// The node's key: that of the certificate that this is handed in with.
    pub key: Key,
    /// [`Erasure::statement`], signed with that key (Ed25519, RFC 8032).
    pub signature: Signature,
}

impl Erasure {
    /// What the node signs: every number and name, a line each, the same text on every machine. Names are written as JSON
    /// strings, so that none can look like another line.
    pub fn statement(&self, node: &NodeId) -> String {
        let Erasure {
            job,
            disk,
            model,
            serial,
            wwn,
            bytes,
            method,
            firmware,
            written_bytes,
            canaries,
            samples,
            sampled_bytes,
            milliseconds,
            key,
            signature: _,
        } = self;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (disk, model, serial) = (quoted(disk.as_str()), quoted(model), quoted(serial));
        let (wwn, firmware, method, level) = (quoted(wwn), quoted(firmware), method.word(), method.level());
        format!(
            "rackwright erasure 1\nnode {node}\nkey {key}\njob {job}\ndisk {disk}\nmodel {model}\nserial {serial}\nwwn {wwn}\n\
             bytes {bytes}\nmethod {method}\nlevel {level}\nfirmware {firmware}\nwritten {written_bytes}\ncanaries {canaries}\n\
             samples {samples}\nsampled {sampled_bytes}\nmilliseconds {milliseconds}\n"
        )
    }

    /// Whether every text in it stays within bounds.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        crate::bounds::texts("a text of a disk", [&self.model, &self.serial, &self.wwn, &self.firmware])
    }

    /// Whether this is about that disk, and what was read of it is enough to say so; else why not.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn proves(&self, doomed: &Subject) -> Result<(), String> {
        let Subject { disk, model, serial, bytes } = doomed;
        if (&self.disk, &self.model, &self.serial, self.bytes) != (disk, model, serial, *bytes) {
            return Err(format!("it is about {:?} {:?} of {} bytes", self.model, self.serial, self.bytes));
        }
        if self.method == Method::Overwrite && self.written_bytes < self.bytes {
            return Err(format!("only {} of {} bytes were written over", self.written_bytes, self.bytes));
        }
        if self.canaries < CANARIES_MIN || self.samples < SAMPLES_MIN {
            return Err(format!(
                "{} canaries and {} samples are less than the {CANARIES_MIN} and {SAMPLES_MIN} that prove it",
                self.canaries, self.samples
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Doomed, Erasure, Method};
    use crate::{DiskId, Holding, JobId, Key, NodeId, Signature, Subject};

    fn erasure() -> Erasure {
        Erasure {
            job: JobId([5; 8]),
            disk: DiskId::of("", "QM1").unwrap(),
            model: "QEMU".to_owned(),
            serial: "QM\n1".to_owned(),
            wwn: String::new(),
            bytes: 9,
            method: Method::Overwrite,
            firmware: String::new(),
            written_bytes: 9,
            canaries: 64,
            samples: 100,
            sampled_bytes: 409_600,
            milliseconds: 6,
            key: Key([3; 32]),
            signature: Signature([4; 64]),
        }
    }

    /// Signatures are kept for years: this text never changes.
    #[test]
    fn the_statement_has_one_spelling_and_everything_in_it() {
        let hex = |digit: &str, bytes: usize| digit.repeat(bytes);
        let want = format!(
            "rackwright erasure 1\nnode {}\nkey {}\njob {}\ndisk \"serial:QM1\"\nmodel \"QEMU\"\nserial \"QM\\n1\"\nwwn \"\"\n\
             bytes 9\nmethod overwrite\nlevel clear\nfirmware \"\"\nwritten 9\ncanaries 64\nsamples 100\nsampled 409600\n\
             milliseconds 6\n",
            hex("06", 16),
            hex("03", 32),
            hex("05", 8),
        );
        let node = NodeId([6; 16]);
        assert_eq!(erasure().statement(&node), want);
        assert_ne!(erasure().statement(&NodeId([7; 16])), want);
        let unsigned = Erasure { signature: Signature([9; 64]), ..erasure() };
        assert_eq!(unsigned.statement(&node), want, "the signature is no part of what it is over");
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let disk = Subject {
            disk: DiskId::of("", "QM1").unwrap(),
            model: "QEMU".to_owned(),
            serial: "QM\n1".to_owned(),
            bytes: 9,
        };
        erasure().proves(&disk).unwrap();
        let wrong: [fn(&mut Erasure); 6] = [
            |e| e.serial = "QM2".to_owned(),
            |e| e.disk = DiskId::of("", "QM2").unwrap(),
            |e| e.bytes = 8,
            |e| e.written_bytes = 8,
            |e| e.canaries = 31,
            |e| e.samples = 63,
        ];
        for (at, change) in wrong.into_iter().enumerate() {
            let mut erasure = erasure();
            change(&mut erasure);
            assert!(erasure.proves(&disk).is_err(), "{at}");
        }
        let by_firmware = Erasure { method: Method::NvmeSanitizeBlock, written_bytes: 0, ..erasure() };
        by_firmware.proves(&disk).unwrap();
    }

    #[test]
    fn what_nobody_was_shown_is_not_erased() {
        let held = |kind: &str| Holding { kind: kind.to_owned(), partition: 1, ..Holding::default() };
        let disk = Subject {
            disk: DiskId::of("", "A").unwrap(),
            model: String::new(),
            serial: "A".to_owned(),
            bytes: 9,
        };
        let doomed = Doomed { disk, own: false, erase: vec!["lvm@1".parse().unwrap()] };
        assert!(doomed.unseen(&[held("lvm"), held("vfat")]).is_empty());
        assert_eq!(doomed.unseen(&[held("lvm"), held("ceph")]), [&held("ceph")]);
        assert!(Doomed { own: true, ..doomed }.unseen(&[held("ceph")]).is_empty());
    }
}
