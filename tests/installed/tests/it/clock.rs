//! Clocks that a test sets, by libfaketime: the offset from the machine's own is in a file that a process reads whenever it asks what time
//! it is.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds.
pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Which clocks of a process a test sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one on the wall.
    Wall,
    /// That, and how much time has passed.
    Both,
}

/// One clock, right until it is set.
#[derive(Debug)]
pub(crate) struct Clock {
    file: PathBuf,
    which: Which,
    seconds: i64,
}

impl Clock {
    pub(crate) fn new(folder: &Path, name: &str, which: Which) -> Self {
        let mut clock = Self { file: folder.join(format!("{name}.clock")), which, seconds: 0 };
        clock.set(0);
        clock
    }

    /// So many seconds away from the machine's own.
    pub(crate) fn set(&mut self, seconds: i64) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, &self.file).unwrap();
        self.seconds = seconds;
    }

    /// So many seconds from where it is.
    pub(crate) fn advance(&mut self, seconds: i64) {
        self.set(self.seconds + seconds);
    }

    /// What it says, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(now.as_millis()).unwrap() + self.seconds * 1000
    }

    /// Has a process live by it.
    pub(crate) fn of(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("NO_FAKE_STAT", "1");
        if self.which == Which::Wall {
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries
        .find(|library| library.exists())
        .expect("libfaketime (package faketime) is needed for this test")
}
