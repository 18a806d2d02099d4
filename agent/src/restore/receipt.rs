//! What was done, for a person and for a program.

use std::time::Duration;

use pack::{Digest, Manifest, PublicKey};
use protocol::{Disk, Verify};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The disk holds the image, as `verify` proves it. Times are of this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// `rackwright/v1`.
    pub api_version: String,
    /// `RestoreReceipt`.
    pub kind: String,
    /// The image.
    pub image: Digest,
    /// What people call it.
    pub name: String,
    /// The Merkle root over what was read from the disk; with `stream`, over what was given to it.
    pub root: Digest,
    /// Who signed the image.
    pub signer: PublicKey,
    /// Whether `--trust` named them.
    pub trusted: bool,
    /// The kernel's name of the disk, now.
    pub disk: String,
    /// Its model.
    pub model: String,
    /// Its serial number; empty when it has none.
    pub serial: String,
    /// Its WWN; empty when it has none.
    pub wwn: String,
    /// What did the I/O.
    pub engine: String,
    /// `readback` or `stream`.
    pub verify: Verify,
    /// Bytes of disk that the image determines.
    pub total_bytes: u64,
    /// Of these, written.
    pub written_bytes: u64,
    /// Of these, right already.
    pub skipped_bytes: u64,
    /// Stored bytes read from the image file.
    pub fetched_bytes: u64,
    /// Pieces that had to be done again.
    pub retries: u64,
    /// From the first look at the disk to the last read.
    pub milliseconds: u64,
    /// Processor time of this process.
    pub cpu_milliseconds: u64,
    /// The most memory that this process ever had.
    pub peak_rss_bytes: u64,
}

/// How a delivery went.
pub(super) struct Done {
    pub(super) progress: cast::Progress,
    pub(super) root: Digest,
    pub(super) took: Duration,
    pub(super) engine: String,
    pub(super) verify: Verify,
}

impl Receipt {
    pub(super) fn of(
        manifest: &Manifest,
        (image, signer, trusted): (Digest, PublicKey, bool),
        disk: &Disk,
        done: Done,
    ) -> Self {
        let counted = done.progress.receipt;
        Self {
            api_version: "rackwright/v1".to_owned(),
            kind: "RestoreReceipt".to_owned(),
            image,
            name: manifest.name().to_owned(),
            root: done.root,
            signer,
            trusted,
            disk: disk.name.clone(),
            model: disk.model.clone(),
            serial: disk.serial.clone(),
            wwn: disk.wwn.clone(),
            engine: done.engine,
            verify: done.verify,
            total_bytes: done.progress.bytes_total,
            written_bytes: counted.bytes_written,
            skipped_bytes: counted.bytes_skipped,
            fetched_bytes: counted.bytes_fetched,
            retries: counted.retries,
            milliseconds: u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
            cpu_milliseconds: cpu_milliseconds(),
            peak_rss_bytes: peak_rss_bytes(),
        }
    }

    /// As JSON, for programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let seconds = self.milliseconds / 1000;
        let tenths = self.milliseconds % 1000 / 100;
        let proof = match self.verify {
            Verify::Readback => "were read back and compared",
            Verify::Stream => "were hashed on the way, and the disk says they are durable",
        };
        format!(
            "{} is {} {}: all {} MiB {proof}\n\
             {} MiB written, {} MiB right already, {} MiB read from the image, in {seconds}.{tenths} s\nroot {}",
            self.disk,
            self.name,
            self.image,
            mib(self.total_bytes),
            mib(self.written_bytes),
            mib(self.skipped_bytes),
            mib(self.fetched_bytes),
            self.root
        )
    }
}

fn cpu_milliseconds() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(spent.tv_sec), u64::try_from(spent.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1000).saturating_add(nanoseconds.unwrap_or(0) / 1_000_000)
}

/// `VmHWM` of `/proc/self/status` (proc_pid_status(5)), which is in KiB.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
