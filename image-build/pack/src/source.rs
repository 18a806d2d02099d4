//! Bytes that can be read at any place: a disk, a file, a volume within one.

use std::io;

/// Something of a fixed length that is read at offsets. Readers of file systems see nothing else of a disk.
pub trait Source: Sync {
    /// Length in bytes.
    fn bytes(&self) -> u64;

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// What the device says; [`io::ErrorKind::UnexpectedEof`] when the range does not lie within [`Source::bytes`].
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// A stretch of a source, as a source of its own: a partition of a disk.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    of: &'a dyn Source,
    offset: u64,
    bytes: u64,
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} bytes at {})", self.bytes, self.offset)
    }
}

impl<'a> Part<'a> {
    /// The bytes from `offset` on; `None` when they do not lie within `of`.
    #[must_use]
    pub fn new(of: &'a dyn Source, offset: u64, bytes: u64) -> Option<Part<'a>> {
        let end = offset.checked_add(bytes)?;
        (end <= of.bytes()).then_some(Part { of, offset, bytes })
    }
}

impl Source for Part<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, out.len())?;
        self.of.read_at(self.offset + offset, out)
    }
}

impl Source for [u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes(), offset, out.len())?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = begin.checked_add(out.len()).and_then(|end| self.get(begin..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.as_slice().bytes()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, out)
    }
}

/// Refuses a range that does not lie within so many bytes.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`].
pub fn within(bytes: u64, offset: u64, length: usize) -> io::Result<()> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= bytes => Ok(()),
        Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// So many bytes at an offset. `length` is bounded by the caller.
///
/// # Errors
/// As [`Source::read_at`]; nothing is allocated for a range that is not there.
pub fn read(source: &dyn Source, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    within(source.bytes(), offset, length)?;
    let mut out = vec![0; length];
    source.read_at(offset, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_its_own_bytes_and_none_beside() {
        let disk: Vec<u8> = (0..100).collect();
        let part = Part::new(&disk, 10, 20).unwrap();
        assert_eq!(read(&part, 0, 3).unwrap(), [10, 11, 12]);
        assert_eq!(read(&part, 17, 3).unwrap(), [27, 28, 29]);
        for (offset, length) in [(18, 3), (20, 1), (u64::MAX, 2), (0, 21)] {
            assert_eq!(read(&part, offset, length).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(Part::new(&disk, 90, 11).is_none());
        assert!(Part::new(&disk, u64::MAX, 2).is_none());
        assert_eq!(read(&Part::new(&part, 19, 1).unwrap(), 0, 1).unwrap(), [29]);
    }
}
