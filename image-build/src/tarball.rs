//! How much room the files of a tar archive take on a file system. Reads only headers (POSIX.1-2017, "ustar
//! Interchange Format", and GNU's large sizes); what it cannot read ends the count with an error.

use std::io::{self, Read, Seek, SeekFrom};

/// What is in an archive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Files, folders, links, devices.
    pub entries: u64,
    /// Blocks of 4096 bytes that their contents fill.
    pub blocks: u64,
}

/// Bytes of one block of the file system.
pub const BLOCK: u64 = 4096;

/// Counts what is in the archive.
pub fn measure(mut archive: impl Read + Seek) -> io::Result<Content> {
    let mut content = Content::default();
    let mut header = [0; 512];
    loop {
        archive.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(content);
        }
        let size = size_of(&header).ok_or_else(|| io::Error::other("a header without a size"))?;
        match header.get(156) {
            // Extended headers and long names: not files, but their size counts for skipping.
            Some(b'x' | b'g' | b'L' | b'K') => {}
            Some(b'5') => {
                content.entries += 1;
                content.blocks += 1;
            }
            _ => {
                content.entries += 1;
                content.blocks += size.div_ceil(BLOCK);
            }
        }
        let skip = i64::try_from(size.div_ceil(512).saturating_mul(512));
        archive.seek(SeekFrom::Current(skip.map_err(io::Error::other)?))?;
    }
}

/// Octal digits, or with the first bit set a big-endian number.
fn size_of(header: &[u8; 512]) -> Option<u64> {
    let field: &[u8; 12] = header.get(124..136)?.try_into().ok()?;
    if field.first()? & 0x80 != 0 {
        let number = field.get(4..12)?.try_into().ok()?;
        return Some(u64::from_be_bytes(number)).filter(|size| *size < 1 << 50);
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn entry(kind: u8, size: &[u8], content: usize) -> Vec<u8> {
        let mut bytes = vec![0; 512 + content.div_ceil(512) * 512];
        bytes[0] = b'n';
        bytes[124..124 + size.len()].copy_from_slice(size);
        bytes[156] = kind;
        bytes
    }

    #[test]
    fn files_folders_and_long_names_are_counted() {
        let mut archive = entry(b'5', b"00000000000\0", 0);
        archive.extend(entry(b'L', b"00000000200\0", 128));
        archive.extend(entry(b'0', b"00000010001\0", 4097));
        archive.extend(entry(b'2', b"00000000000 ", 0));
        archive.extend([0; 1024]);
        assert_eq!(measure(Cursor::new(archive)).unwrap(), Content { entries: 3, blocks: 3 });
    }

    #[test]
    fn broken_archives_are_errors() {
        for (name, bytes) in [
            ("empty", vec![]),
            ("cut", vec![1; 100]),
            ("no end", entry(b'0', b"00000000000\0", 0)),
            ("no size", entry(b'0', b"xyz", 0)),
            ("size is negative", entry(b'0', &[0xff; 12], 0)),
            ("size is nearly 2^64", entry(b'0', &[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], 0)),
        ] {
            assert!(measure(Cursor::new(bytes)).is_err(), "{name}");
        }
    }
}
