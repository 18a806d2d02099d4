//! `cargo xtask bench pack`: a disk of 12 GB with 4 GB in use is captured and restored, by us and by partclone with zstd, in
//! turns, and rebuilt when little of it has changed.
//!
//! The disk is a file behind a loop device with direct I/O. What is on it comes from this machine's own system. Every clock
//! stops when the result is durable; what is on the disk then is compared with the image afterwards. At most 9 GB of files
//! lie in `target/bench` at once.

mod capture;
mod disk;
mod measure;
mod restore;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use super::wire::Precedence;
use super::{Report, Row, Side};
use crate::cargo::cargo;
use crate::tool::Tool;
use crate::{place, prerequisites, say};
use disk::{KINDS, Kind};

/// What is measured with and against.
const PACKAGES: &[&str] =
    &["coreutils", "e2fsprogs", "fdisk", "gdisk", "mount", "partclone", "util-linux", "xfsprogs", "zstd"];
/// Bytes of a disk, bytes of its content, and rounds.
const FULL: (u64, u64, usize) = (12_000_000_000, 4_000_000_000, 3);
const QUICK: (u64, u64, usize) = (3_000_000_000, 1_000_000_000, 1);

/// Measures, saves, and gives the table. `quick`: one round of a quarter of the disk instead of three.
///
/// # Errors
/// Not root; a program that fails; a disk that is not what its image says.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    let lab = Lab::set_up(quick)?;
    let _first = Precedence::take()?;
    let mut rows = Vec::new();
    for kind in KINDS {
        let source = lab.path("source");
        let making = format!("making a disk with {}", kind.name);
        let used = say::step(&making, || disk::make(&source, kind, lab.disk_bytes, lab.content))?;
        rows.extend(capture::measure(&lab, kind, used)?);
        // Its place is needed for the disk that is restored; the image knows what was on it.
        fs::remove_file(&source)?;
        rows.extend(restore::measure(&lab, kind, used)?);
    }
    lab.clear()?;
    let report = Report::new("pack", &format!("loop device with direct I/O, at nice −15, {}", load()), rows);
    report.save()?;
    Ok(report.table())
}

/// Programs and files of the bench.
struct Lab {
    dir: PathBuf,
    disk_bytes: u64,
    content: u64,
    rounds: usize,
}

impl Lab {
    fn set_up(quick: bool) -> Result<Lab, Box<dyn Error>> {
        prerequisites::install(PACKAGES)?;
        let (disk_bytes, content, rounds) = if quick { QUICK } else { FULL };
        let lab = Lab { dir: place::target().join("bench/pack"), disk_bytes, content, rounds };
        lab.clear()?;
        fs::create_dir_all(&lab.dir)?;
        let argv = "build --profile ship --locked -p image-build --bin image-build --example packlab";
        say::step("building image-build", || cargo(argv.split(' ')).show())?;
        let argv = "build --profile ship --locked -p agent";
        say::step("building the agent", || cargo(argv.split(' ')).show())?;
        Ok(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn program(name: &str) -> PathBuf {
        place::target().join("ship").join(name)
    }

    /// What `packlab` says, as numbers.
    fn packlab(words: &[&Path]) -> Result<impl Fn(&str) -> f64 + use<>, Box<dyn Error>> {
        let said = Tool::new(Lab::program("examples/packlab")).args(words.iter()).read()?;
        Ok(move |name: &str| number(&said, name).unwrap_or(f64::NAN))
    }

    fn clear(&self) -> std::io::Result<()> {
        if self.dir.exists() { fs::remove_dir_all(&self.dir) } else { Ok(()) }
    }
}

/// The number behind a word at the start of a line.
fn number(said: &str, name: &str) -> Option<f64> {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// What else the machine did: a figure beside 15 others that compile is not one of a quiet machine.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", text.split(' ').next().unwrap_or("?"))
}

#[allow(clippy::cast_precision_loss, reason = "a figure for a person")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A row whose figure is at most so many times the peer's.
fn no_more(row: Option<Row>, bar: f64) -> Option<Row> {
    row.map(|row| row.held(bar, Side::AtMost))
}

/// What is measured for one kind of file system.
fn case(kind: Kind, lab: &Lab) -> String {
    format!("{}, {:.0} GB of {:.0} GB used", kind.name, mega(lab.content) / 1e3, mega(lab.disk_bytes) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packlab_says_is_read() {
        let said = "chunks 12\nstored 34\nseconds 0.5\n";
        assert_eq!([number(said, "stored"), number(said, "seconds")], [Some(34.0), Some(0.5)]);
        assert_eq!([number(said, "stor"), number(said, "bytes")], [None, None]);
    }
}
