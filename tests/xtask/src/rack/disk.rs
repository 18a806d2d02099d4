//! The servers' disks: sparse raw files, looked at from outside.
//!
//! Knows files. Refuses to believe an agent: what is compared is what QEMU wrote.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// 1 MiB: a chunk of an image, and the step of every comparison.
pub const MIB: u64 = 1 << 20;

/// Why disks could not be compared, or where they differ.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file could not be read or made.
    #[error("using {}", path.display())]
    Io {
        /// The disk or image file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// They are not the same.
    #[error(
        "{} differs from {} in {count} of {compared} stretches, first at byte {first}",
        disk.display(), image.display()
    )]
    Differs {
        /// The server's disk.
        disk: PathBuf,
        /// What should be on it.
        image: PathBuf,
        /// Offset of the first byte which differs.
        first: u64,
        /// Stretches that differ.
        count: u64,
        /// Stretches looked at.
        compared: u64,
    },
    /// The disk is smaller than what should be on it.
    #[error("{} has {have} bytes, the image {need}", disk.display())]
    Short {
        /// The server's disk.
        disk: PathBuf,
        /// Its size in bytes.
        have: u64,
        /// The image's size in bytes.
        need: u64,
    },
}

/// Makes an empty disk of `bytes`; it takes room only as it is written.
///
/// # Errors
/// The file exists, or the file system says no.
pub fn create(path: &Path, bytes: u64) -> Result<(), DiskError> {
    let io = |source| DiskError::Io { path: path.to_path_buf(), source };
    File::create_new(path).and_then(|file| file.set_len(bytes)).map_err(io)
}

/// Bytes that really take room in the file: how much was written to a disk so far.
///
/// # Errors
/// The file can't be looked at.
pub fn allocated(path: &Path) -> Result<u64, DiskError> {
    let io = |source| DiskError::Io { path: path.to_path_buf(), source };
    Ok(fs::metadata(path).map_err(io)?.blocks() * 512)
}

/// A stretch of a disk that an image says something about, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// Offset on the disk.
    pub offset: u64,
    /// Length.
    pub length: u64,
}

/// Compares `disk` with `image` byte for byte inside `stretches`. Returns how many bytes are equal.
///
/// # Errors
/// The first difference and how many windows have one; or a file can't be read.
pub fn compare(disk: &Path, image: &Path, stretches: &[Stretch]) -> Result<u64, DiskError> {
    let on_disk = Reader::open(disk)?;
    let wanted = Reader::open(image)?;
    let need = stretches.iter().map(|stretch| stretch.offset + stretch.length).max().unwrap_or(0);
    if on_disk.size < need {
        return Err(DiskError::Short { disk: disk.to_path_buf(), have: on_disk.size, need });
    }
    let (mut first, mut count, mut bytes) = (None, 0, 0);
    for stretch in stretches {
        let (have, want) = (on_disk.read(*stretch)?, wanted.read(*stretch)?);
        if have == want {
            bytes += stretch.length;
            continue;
        }
        count += 1;
        let at = have.iter().zip(&want).take_while(|(one, other)| one == other).count();
        first.get_or_insert(stretch.offset.saturating_add(u64::try_from(at).unwrap_or(u64::MAX)));
    }
    let Some(first) = first else { return Ok(bytes) };
    let compared = u64::try_from(stretches.len()).unwrap_or(u64::MAX);
    Err(DiskError::Differs { disk: disk.to_path_buf(), image: image.to_path_buf(), first, count, compared })
}

struct Reader<'a> {
    path: &'a Path,
    file: File,
    size: u64,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Reader<'a>, DiskError> {
        let io = |source| DiskError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        Ok(Reader { path, file, size })
    }

    /// The window's bytes; past the end of the file it reads as zeros (a raw image may end early).
    fn read(&self, stretch: Stretch) -> Result<Vec<u8>, DiskError> {
        let io = |source| DiskError::Io { path: self.path.to_path_buf(), source };
        let length = usize::try_from(stretch.length).map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = Vec::with_capacity(length);
        let from = At { file: &self.file, offset: stretch.offset };
        from.take(stretch.length).read_to_end(&mut bytes).map_err(io)?;
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

/// Positioned reads as a stream, so that one open file serves any window.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(into, self.offset)?;
        self.offset += u64::try_from(got).unwrap_or(0);
        Ok(got)
    }
}

/// What a firmware could find at the start of a disk: the two things imaging writes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armed {
    /// Sector 0 ends in 55 AA: a BIOS would run it.
    pub boot_sector: bool,
    /// Sector 1 begins with `EFI PART`, or the last sector does: a firmware would see partitions.
    pub partition_table: bool,
}

/// Looks whether a disk could boot at all.
///
/// # Errors
/// The file can't be read.
pub fn armed(path: &Path) -> Result<Armed, DiskError> {
    let reader = Reader::open(path)?;
    let head = reader.read(Stretch { offset: 0, length: 1024 })?;
    let tail = reader.read(Stretch { offset: reader.size.saturating_sub(512), length: 512 })?;
    Ok(Armed {
        boot_sector: head.get(510..512) == Some([0x55, 0xaa].as_slice()),
        partition_table: head.get(512..520) == Some(b"EFI PART".as_slice()) || tail.starts_with(b"EFI PART"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_what_is_free_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, image) = (dir.path().join("disk"), dir.path().join("image"));
        create(&disk, 4 * MIB).unwrap();
        create(&image, 3 * MIB - 512).unwrap();
        let stretch = |offset, length| Stretch { offset, length };
        let all = [stretch(0, MIB), stretch(MIB, MIB), stretch(2 * MIB, MIB - 512)];
        assert_eq!(compare(&disk, &image, &all).unwrap(), 3 * MIB - 512);
        File::options().write(true).open(&disk).unwrap().write_at(b"x", MIB + 7).unwrap();
        let error = compare(&disk, &image, &all).unwrap_err();
        assert!(matches!(error, DiskError::Differs { first, count: 1, compared: 3, .. } if first == MIB + 7));
        compare(&disk, &image, &[stretch(0, MIB + 7), stretch(MIB + 8, 512)]).unwrap();
    }

    #[test]
    fn a_short_disk_is_not_equal() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, image) = (dir.path().join("disk"), dir.path().join("image"));
        create(&disk, MIB).unwrap();
        create(&image, 2 * MIB).unwrap();
        assert!(matches!(
            compare(&disk, &image, &[Stretch { offset: MIB, length: MIB }]),
            Err(DiskError::Short { .. })
        ));
    }

    #[test]
    fn armed_sees_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        create(&disk, MIB).unwrap();
        assert_eq!(armed(&disk).unwrap(), Armed { boot_sector: false, partition_table: false });
        let file = File::options().write(true).open(&disk).unwrap();
        file.write_at(b"EFI PART", MIB - 512).unwrap();
        assert_eq!(armed(&disk).unwrap(), Armed { boot_sector: false, partition_table: true });
        file.write_at(&[0x55, 0xaa], 510).unwrap();
        assert!(armed(&disk).unwrap().boot_sector);
    }
}
