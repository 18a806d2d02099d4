//! What a file is, by the marks that formats have at fixed places.

use std::io;

use crate::{MAGIC, Source, source};

/// How much of a file's beginning [`recognise`] looks at, in bytes. Its end is looked at too.
pub const HEAD_BYTES: usize = 4096;

/// Bytes at the end of a file where two formats have their mark.
const TAIL_BYTES: u64 = 512;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A qcow2 file, version 2 or later.
    Qcow2,
    /// Something else that is not a plain disk; what, for people.
    Foreign(&'static str),
    /// A disk with an MBR or a GPT.
    Partitioned,
    /// None of these: a disk without partitions, or anything at all.
    Unknown,
}

const QCOW: [u8; 4] = *b"QFI\xfb";

/// (place, mark, what it is).
const HEADS: &[(usize, &[u8], &str)] = &[
    (0, b"KDMV", "a VMDK file"),
    (0, b"COWD", "a VMDK file of ESX"),
    (0, b"SE\x01\x00\x00\x00", "a VMDK file of ESX"),
    (64, b"\x7f\x10\xda\xbe", "a VDI file"),
    (0, b"vhdxfile", "a VHDX file"),
    (0, b"conectix", "a VHD file"),
    (0, b"QED\0", "a QED file"),
    (0, b"LUKS\xba\xbe", "an encrypted (LUKS) container"),
    (0, b"SKUL\xba\xbe", "an encrypted (LUKS) container"),
    (0, b"WithoutFreeSpace", "a Parallels disk"),
    (0, b"WithouFreSpacExt", "a Parallels disk"),
    (0, b"Bochs Virtual HD Image", "a Bochs disk"),
    (0, b"OOOM", "a User Mode Linux disk"),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image"),
    (0, b"partclone-image", "a partclone image"),
    (0, b"MSWIM\0\0\0", "a WIM archive"),
    (0, b"EVF\x09\x0d\x0a\xff\0", "an EnCase image"),
    (257, b"ustar", "a tar archive; take the disk out of it first"),
    (0, b"PK\x03\x04", "a ZIP archive; take the disk out of it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; take the disk out of it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive; take the disk out of it first"),
    (0, b"\x1f\x8b", "a gzip stream"),
    (0, b"\xfd7zXZ\0", "an xz stream"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (0, b"BZh", "a bzip2 stream"),
    (0, b"\x04\x22\x4d\x18", "an lz4 stream"),
    (0, b"LZIP", "an lzip stream"),
    (0, b"\x89LZO\0\r\n\x1a\n", "an lzop stream"),
    (0, &MAGIC, "an image of Rackwright already"),
];

/// The same at the beginning of the last 512 bytes.
const TAILS: &[(&[u8], &str)] = &[(b"conectix", "a VHD file"), (b"koly", "a DMG file")];

/// The text that a VMDK descriptor begins with, in any case.
const DESCRIPTOR: &[u8] = b"# disk descriptorfile";

/// Looks at the marks of formats at the beginning and the end of a file.
///
/// # Errors
/// When it can't be read.
pub fn recognise(file: &dyn Source) -> io::Result<Content> {
    let length = usize::try_from(file.bytes()).unwrap_or(usize::MAX).min(HEAD_BYTES);
    let head = source::read(file, 0, length)?;
    let has = |(at, mark): (usize, &[u8])| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if has((0, &QCOW)) {
        return Ok(if has((4, &[0, 0, 0, 1])) {
            Content::Foreign("a qcow file of version 1")
        } else {
            Content::Qcow2
        });
    }
    if let Some((_, _, what)) = HEADS.iter().find(|(at, mark, _)| has((*at, mark))) {
        return Ok(Content::Foreign(what));
    }
    if is_descriptor(&head) {
        return Ok(Content::Foreign("a VMDK descriptor"));
    }
    if let Some(begin) = file.bytes().checked_sub(TAIL_BYTES) {
        let tail = source::read(file, begin, 8)?;
        if let Some((_, what)) = TAILS.iter().find(|(mark, _)| tail.starts_with(mark)) {
            return Ok(Content::Foreign(what));
        }
    }
    let is_partitioned = has((510, &[0x55, 0xaa])) || has((512, b"EFI PART"));
    Ok(if is_partitioned { Content::Partitioned } else { Content::Unknown })
}

/// Whether a line at the beginning, before anything but comments and blanks, is a VMDK descriptor's first. Programs that
/// read them skip such lines.
fn is_descriptor(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .take_while(|line| line.is_empty() || line.starts_with(b"#"))
        .any(|line| line.get(..DESCRIPTOR.len()).is_some_and(|text| text.eq_ignore_ascii_case(DESCRIPTOR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_known_where_it_stands_and_nowhere_else() {
        for (at, mark, what) in HEADS {
            let mut file = vec![0; 4096];
            file[*at..*at + mark.len()].copy_from_slice(mark);
            assert_eq!(recognise(&file).unwrap(), Content::Foreign(what));
            file[*at..*at + mark.len()].fill(0);
            file[1024..1024 + mark.len()].copy_from_slice(mark);
            assert_eq!(recognise(&file).unwrap(), Content::Unknown, "{what}");
            assert_eq!(recognise(&file[..100].to_vec()).unwrap(), Content::Unknown, "{what}");
        }
        for (mark, what) in TAILS {
            let mut file = vec![0; 8192];
            file[510..512].copy_from_slice(&[0x55, 0xaa]);
            file[7680..7680 + mark.len()].copy_from_slice(mark);
            assert_eq!(recognise(&file).unwrap(), Content::Foreign(what));
        }
    }

    #[test]
    fn disks_qcow2_files_descriptors_and_nothing_at_all() {
        let mut disk = vec![0; 2048];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(recognise(&disk).unwrap(), Content::Partitioned);
        assert_eq!(recognise(&b"QFI\xfb\0\0\0\x03".to_vec()).unwrap(), Content::Qcow2);
        assert_eq!(
            recognise(&b"QFI\xfb\0\0\0\x01".to_vec()).unwrap(),
            Content::Foreign("a qcow file of version 1")
        );
        for text in [
            "# Disk DescriptorFile\nversion=1\n",
            "#\n\n  # DISK descriptorFILE\r\nRW 1 FLAT \"/etc/passwd\" 0\n",
        ] {
            assert_eq!(recognise(&text.as_bytes().to_vec()).unwrap(), Content::Foreign("a VMDK descriptor"));
        }
        for nothing in [&b""[..], b"Q", b"QFI", b"x\n# Disk DescriptorFile"] {
            assert_eq!(recognise(&nothing.to_vec()).unwrap(), Content::Unknown);
        }
    }
}
