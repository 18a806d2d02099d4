//! Who is compared: programs at the controller, one at each receiver, and how it is seen that a receiver has it.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cost::Cpu;
use super::lab::Lab;
use super::scenario::Scenario;

/// A way to bring a file to many.
pub(super) trait Peer {
    /// Its name in a report.
    fn name(&self) -> &'static str;

    /// Why it is not run there, if it is not.
    fn refuses(&self, scenario: &Scenario) -> Option<String>;

    /// Makes what its programs read.
    ///
    /// # Errors
    /// A file that cannot be written, a tool that fails.
    fn prepare(&self, _stage: &Stage<'_>) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// The programs at the controller, in the order in which they are started.
    fn controller(&self, stage: &Stage<'_>) -> Vec<Vec<OsString>>;

    /// The program at a receiver.
    fn receiver(&self, stage: &Stage<'_>, scenario: &Scenario, receiver: u16) -> Vec<OsString>;

    /// Which side waits for the other.
    fn first(&self, stage: &Stage<'_>) -> First;

    /// How it is seen that a receiver has it.
    fn arrival(&self, stage: &Stage<'_>, receiver: u16) -> Arrival;
}

/// Which side waits for the other. The clock starts with the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum First {
    /// Receivers wait for a sender, as booted nodes do.
    Receivers,
    /// Servers listen on these TCP ports before the first receiver asks.
    Servers(&'static [u16]),
    /// Servers listen on these TCP ports, and receivers wait for their job, as booted nodes do: until this file is there.
    Job(&'static [u16], PathBuf),
}

/// How it is seen that a receiver has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Its program ends without complaint.
    Exit,
    /// This file is there.
    File(PathBuf),
}

/// What is sent, and where it is put. Gone when dropped.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// The laboratory.
    pub(super) lab: &'a Lab,
    /// The file that is sent.
    pub(super) image: PathBuf,
    /// Unpacked programs.
    pub(super) programs: PathBuf,
    /// Configurations and logs.
    pub(super) dir: PathBuf,
    /// Seconds that it takes at least.
    pub(super) limit: f64,
    sinks: PathBuf,
}

/// What an image is rebuilt by, in bytes.
const WINDOW: usize = 1 << 20;
/// The name of the file that is sent, and of what arrives.
const IMAGE: &str = "image";

impl<'a> Stage<'a> {
    /// A file of so many bytes, and an empty folder for each receiver, all in memory: disks are not what is measured.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(super) fn set(
        lab: &'a Lab,
        dir: &Path,
        programs: &Path,
        bytes: u64,
        limit: f64,
    ) -> io::Result<Stage<'a>> {
        let sinks = Path::new(MEMORY).join(format!("{PREFIX}{}", std::process::id()));
        sweep();
        let image = sinks.join(IMAGE);
        let stage = Stage { lab, image, programs: programs.to_owned(), dir: dir.to_owned(), limit, sinks };
        if stage.sinks.exists() {
            fs::remove_dir_all(&stage.sinks)?;
        }
        fs::create_dir_all(&stage.sinks)?;
        fs::write(&stage.image, noise(bytes))?;
        Ok(stage)
    }

    /// Empties what receivers have.
    pub(super) fn clear(&self) -> io::Result<()> {
        for receiver in 1..=self.lab.receivers() {
            let folder = self.folder(receiver);
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        Ok(())
    }

    /// Each receiver has the file already, but for one MiB of each hundred, and no two lack the same.
    pub(super) fn fill_but_for_one_in_a_hundred(&self) -> io::Result<()> {
        let image = fs::read(&self.image)?;
        for receiver in 1..=self.lab.receivers() {
            let mut content = image.clone();
            let own = content.chunks_mut(WINDOW).skip(usize::from(receiver) - 1).step_by(100);
            own.for_each(|window| window.reverse());
            fs::write(self.sink(receiver), content)?;
        }
        Ok(())
    }

    /// Where a receiver puts what it gets.
    pub(super) fn folder(&self, receiver: u16) -> PathBuf {
        self.sinks.join(receiver.to_string())
    }

    /// The file that a receiver writes.
    pub(super) fn sink(&self, receiver: u16) -> PathBuf {
        self.folder(receiver).join(IMAGE)
    }

    /// Whether a receiver has exactly what was sent.
    pub(super) fn is_whole(&self, receiver: u16) -> bool {
        same(&self.image, &self.sink(receiver)).unwrap_or(false)
    }

    /// The path of an unpacked program, as a word.
    pub(super) fn program(&self, path: &str) -> String {
        self.programs.join(path).display().to_string()
    }

    /// The words of a command; the strings are split at blanks, the paths are not.
    pub(super) fn words(parts: &[&str], paths: &[&Path]) -> Vec<OsString> {
        let words = parts.iter().flat_map(|part| part.split_whitespace()).map(OsString::from);
        words.chain(paths.iter().map(|path| path.as_os_str().to_owned())).collect()
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.sinks);
    }
}

/// A file system in memory that every Debian has mounted.
const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "rackwright-cast-";

/// Removes what a run left in memory that was killed.
fn sweep() {
    let Ok(entries) = fs::read_dir(MEMORY) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What no compression finds anything in, and no two places of it are alike: xorshift.
fn noise(bytes: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut content: Vec<u8> = words.collect();
    content.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    content
}

/// Whether two files have the same content.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::io::Read as _;
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut ours)?;
        let (Some(ours), Some(theirs)) = (ours.get(..length), theirs.get_mut(..length)) else {
            return Ok(false);
        };
        other.read_exact(theirs)?;
        if length == 0 || ours != theirs {
            return Ok(length == 0);
        }
    }
}

/// What one run was.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    /// By receiver: from the start of the clock, or from when it joined, until it had all of it; `None`: it never had.
    pub(super) seconds: Vec<Option<f64>>,
    /// Bytes that left the controller, with all headers, until the last had it.
    pub(super) sent: u64,
    /// Bytes that a bystander had to listen to meanwhile.
    pub(super) overheard: u64,
    /// Seconds that the run took, or was given.
    pub(super) took: f64,
    /// What was spent at the controller.
    pub(super) controller: Cpu,
    /// What all receivers have spent together.
    pub(super) receivers: Cpu,
    /// Per cent of this machine's processors that nobody wanted.
    pub(super) idle: f64,
    /// Per cent that went to programs that have no part in it.
    pub(super) foreign: f64,
    /// Receivers that said they had it and had something else.
    pub(super) wrong: usize,
    /// Whether everybody had it for whom the run waits.
    pub(super) finished: bool,
}

impl Outcome {
    /// Until the last of these had it; `None` when one never had.
    pub(super) fn last(&self, which: impl Fn(u16) -> bool) -> Option<f64> {
        let numbered = (1_u16..).zip(&self.seconds).filter(|(receiver, _)| which(*receiver));
        numbered.map(|(_, seconds)| *seconds).try_fold(0.0, |last: f64, seconds| Some(last.max(seconds?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_to_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let content = noise((2 << 20) + 5);
        assert_eq!(content.len(), (2 << 20) + 5);
        fs::write(path("a"), &content).unwrap();
        let mut changed = content.clone();
        *changed.last_mut().unwrap() ^= 1;
        for (other, alike) in [(&content[..], true), (&changed[..], false), (&content[1..], false)] {
            fs::write(path("b"), other).unwrap();
            assert_eq!(same(&path("a"), &path("b")).unwrap(), alike);
        }
    }

    #[test]
    fn the_last_of_those_that_count() {
        let outcome = Outcome { seconds: vec![None, Some(2.0), Some(3.0)], ..Outcome::default() };
        assert_eq!((outcome.last(|_| true), outcome.last(|receiver| receiver != 1)), (None, Some(3.0)));
    }
}
