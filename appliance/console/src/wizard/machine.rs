//! What set-up needs of the machine.

use std::io;
use std::path::PathBuf;

use setup::{Facts, Outcome};

/// The machine that is set up.
pub trait Machine {
    /// Looks at it: some seconds.
    fn look(&mut self) -> Facts;

    /// The configuration that is there, if one is.
    fn configured(&self) -> Option<PathBuf>;

    /// The answers of the set-up that was written last.
    fn earlier(&self) -> Option<String>;

    /// The record of a set-up that did not come to its end.
    fn recorded(&self) -> Option<String>;

    /// Forgets that record, and begins another.
    ///
    /// # Errors
    /// What the kernel said; then none is kept.
    fn begin(&mut self) -> io::Result<()>;

    /// Adds to the record.
    ///
    /// # Errors
    /// As [`Machine::begin`].
    fn record(&mut self, line: &str) -> io::Result<()>;

    /// Forgets the record.
    fn forget(&mut self);

    /// Writes everything, the configuration last.
    ///
    /// # Errors
    /// Why not; then the configuration is the one of before.
    fn write(&mut self, outcome: &Outcome, force: bool) -> Result<Written, String>;
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The new files.
    pub files: Vec<PathBuf>,
    /// Where those are that were there before.
    pub kept: Vec<PathBuf>,
}
