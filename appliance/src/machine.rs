//! This machine, for set-up: what is true of it, and what is written to it.
//!
//! Knows where files lie and how the kernel is asked. Refuses to know questions and what answers mean: `setup` has them.

mod cards;
mod dhcp;
mod record;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use console::wizard::{Machine, Written};
use setup::{Facts, Outcome};

use crate::config::Paths;
use crate::space::Room;

/// Of the answers of a set-up before, in bytes.
const MAX_ANSWERS: u64 = 64 << 10;

/// The machine that we run on, with files below a root.
#[derive(Debug)]
pub struct Live {
    paths: Paths,
    record: record::Record,
}

impl Live {
    /// With files below this root; `None` is the machine's own.
    #[must_use]
    pub fn under(root: Option<&Path>) -> Live {
        let paths = Paths::under(root);
        Live { record: record::Record::below(&paths.root), paths }
    }
}

impl Machine for Live {
    fn look(&mut self) -> Facts {
        Facts {
            interfaces: cards::cards(cards::names(Path::new("/sys/class/net"))),
            disk: existing(&self.paths.state).and_then(|folder| Room::of(folder).ok()).map(|room| room.free),
            memory: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
            now: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()),
        }
    }

    fn configured(&self) -> Option<PathBuf> {
        // A link that leads nowhere is somebody's intention too.
        self.paths.config.symlink_metadata().is_ok().then(|| self.paths.config.clone())
    }

    fn earlier(&self) -> Option<String> {
        record::bounded(&self.paths.config.with_file_name("answers.toml"), MAX_ANSWERS)
    }

    fn recorded(&self) -> Option<String> {
        self.record.read()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.record.begin()
    }

    fn record(&mut self, line: &str) -> io::Result<()> {
        self.record.add(line)
    }

    fn forget(&mut self) {
        self.record.forget();
    }

    fn write(&mut self, outcome: &Outcome, force: bool) -> Result<Written, String> {
        write::write(&self.paths.root, outcome, force).map_err(|error| crate::chain(&error))
    }
}

/// The folder, or the nearest above it that there is.
fn existing(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.is_dir())
}

/// proc_meminfo(5), in bytes.
fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
