//! A file that holds a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use pack::Source;
use pack::source::within;

use crate::files::{self, FileError};

/// An open file, as bytes that can be read at any place.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    bytes: u64,
}

impl DiskFile {
    /// Opens a regular file. Its length is what it is now.
    pub fn open(path: &Path) -> Result<DiskFile, FileError> {
        let file = files::open(path)?;
        let look = file.metadata().map_err(files::named("looking at", path))?;
        if !look.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(files::named("opening", path)(error));
        }
        Ok(DiskFile { file, bytes: look.len() })
    }
}

impl Source for DiskFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, out.len())?;
        self.file.read_exact_at(out, offset)
    }
}
