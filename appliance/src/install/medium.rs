//! The medium: an ISO 9660 file system on a drive, in a slot or in a file, and how it is copied and proven.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use console::install::Told;
use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};
use setup::install::Place;

use super::loops::Mounted;
use super::origin::{Origin, of_kernel_line};
use super::program;

/// So much is read at a time.
const PIECE: usize = 4 << 20;
/// Where the volume's descriptor is (ECMA-119 §6.7.1: the 17th logical sector), in bytes.
const DESCRIPTOR: u64 = 16 * 2048;
/// Of the list of sums.
const MOST_SUMS: u64 = 1 << 20;

/// A medium.
#[derive(Debug)]
pub(super) struct Medium {
    path: PathBuf,
    /// Its size: of the file system, without what comes after it on a stick.
    pub(super) bytes: u64,
}

impl Medium {
    /// The one that this live system came from.
    ///
    /// # Errors
    /// This is no live system, it is installed already, or the medium is not there any more.
    pub(super) fn of_live() -> Result<Medium, String> {
        match Origin::own()? {
            Origin::Medium(path) => Medium::at(&path),
            Origin::Disk(_) => Err(
                "this controller is on a disk already: rackwright update apply FILE brings a newer one; to \
                install anew, start from the ISO"
                    .to_owned(),
            ),
            Origin::Memory => Medium::of_drives(),
        }
    }

    /// Of all drives, the one that this kernel was started from.
    fn of_drives() -> Result<Medium, String> {
        let gone = "the medium is not in a drive any more: put it in again, it is copied to the disk";
        let id = of_kernel_line("rackwright.medium").ok_or("the kernel line does not name the medium")?;
        let found =
            program::run("lsblk", ["--noheadings", "--list", "--paths", "--output", "NAME,PARTLABEL"])?;
        let is_it = |path: &Path| {
            let mounted = Mounted::at("look", path, "ro,nosuid,nodev,noexec");
            mounted.is_ok_and(|mounted| mounted.path(&format!("rackwright/{id}")).exists())
        };
        // The slot of an installed controller is as a medium, and what is on that disk is about to go.
        let is_slot = |line: &str| ["rackwright-a-", "rackwright-b-"].iter().any(|name| line.contains(name));
        let media = found.lines().filter(|line| !is_slot(line));
        let media = media.filter_map(|line| Some(PathBuf::from(line.split_whitespace().next()?)));
        let media = media.filter_map(|path| Medium::at(&path).ok());
        media.into_iter().find(|medium| is_it(&medium.path)).ok_or_else(|| gone.to_owned())
    }

    /// The one on this drive, or in this file.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub(super) fn at(path: &Path) -> Result<Medium, String> {
        let failed = |why: &dyn std::fmt::Display| format!("reading {}: {why}", path.display());
        let file = File::open(path).map_err(|why| failed(&why))?;
        let mut descriptor = [0; 2048];
        file.read_exact_at(&mut descriptor, DESCRIPTOR).map_err(|why| failed(&why))?;
        let bytes = size(&descriptor).ok_or_else(|| failed(&"it is no ISO 9660 file system"))?;
        Ok(Medium { path: path.to_owned(), bytes })
    }

    /// Copies it to a place of a disk, and waits until it is there.
    ///
    /// # Errors
    /// What could not be read or written.
    pub(super) fn copy(&self, disk: &File, place: Place, told: Told<'_>) -> Result<(), String> {
        copy(&self.path, self.bytes, disk, place, told)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The size in bytes that a primary volume descriptor says (ECMA-119 §8.4.8, §8.4.12): blocks, and bytes of one.
fn size(descriptor: &[u8]) -> Option<u64> {
    let is_ours = descriptor.get(..6)? == b"\x01CD001";
    let blocks = u32::from_le_bytes(descriptor.get(80..84)?.try_into().ok()?);
    let block = u16::from_le_bytes(descriptor.get(128..130)?.try_into().ok()?);
    (is_ours && block == 2048 && blocks > 0).then(|| u64::from(blocks) * u64::from(block))
}

/// Copies the first `bytes` of a file, and waits until they are on the disk.
pub(super) fn copy(
    from: &Path,
    bytes: u64,
    target: &File,
    place: Place,
    told: Told<'_>,
) -> Result<(), String> {
    let reading = |why| format!("reading {}: {why}", from.display());
    let writing = |why| format!("writing the disk: {why}");
    if bytes > place.bytes() {
        return Err(format!(
            "{} has {} MiB, and the slot {}",
            from.display(),
            bytes >> 20,
            place.bytes() >> 20
        ));
    }
    let mut source = File::open(from).map_err(reading)?;
    let (mut piece, mut done) = (vec![0; PIECE], 0);
    while done < bytes {
        let count = usize::try_from(bytes - done).unwrap_or(PIECE).min(PIECE);
        let part = piece.get_mut(..count).unwrap_or_default();
        source.read_exact(part).map_err(reading)?;
        target.write_all_at(part, place.offset() + done).map_err(writing)?;
        done += count as u64;
        told("writing the system", done, bytes);
        // Else the end would seem to take for ever, with all of it still to be written.
        if done % (64 << 20) == 0 {
            target.sync_data().map_err(writing)?;
        }
    }
    target.sync_all().map_err(writing)
}

/// Reads every file of a mounted medium that its list of sums names, and compares.
///
/// # Errors
/// Which file is not what was built, or could not be read.
pub(super) fn prove(mounted: &Mounted, what: &str, told: Told<'_>) -> Result<(), String> {
    let mut text = String::new();
    let list = mounted.path("rackwright/SHA256SUMS");
    let read = File::open(&list).and_then(|file| file.take(MOST_SUMS).read_to_string(&mut text));
    read.map_err(|why| format!("reading the medium's list of sums: {why}"))?;
    let sums = sums(&text).ok_or("the medium's list of sums is none: it is damaged, write it anew")?;
    let size = |name: &str| fs::metadata(mounted.path(name)).map_or(0, |file| file.len());
    let total = sums.iter().map(|(_, name)| size(name)).sum();
    let mut before = 0;
    for (sum, name) in &sums {
        let mut tell = |done: u64| told(what, before + done, total);
        let file = File::open(mounted.path(name)).map_err(|why| format!("reading {name}: {why}"))?;
        let is = hash(file, u64::MAX, &mut tell).map_err(|why| format!("reading {name}: {why}"))?;
        if is != *sum {
            return Err(format!(
                "{name} is not what was built: the medium is damaged (\"Check the medium\" in its menu says), or the disk is"
            ));
        }
        before += size(name);
    }
    Ok(())
}

/// A list as `sha256sum` writes it; none when it is no such list. Names lead nowhere else.
fn sums(text: &str) -> Option<Vec<(String, String)>> {
    let line = |line: &str| {
        let (sum, name) = line.split_once("  ")?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut parts = Path::new(name).components();
        let is_inside =
            parts.clone().next().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
        (is_sum && is_inside).then(|| (sum.to_owned(), name.to_owned()))
    };
    let sums = text.lines().map(line).collect::<Option<Vec<_>>>()?;
    (!sums.is_empty()).then_some(sums)
}

/// The SHA-256 of the first `most` bytes, in hexadecimal digits.
pub(super) fn hash(mut file: File, most: u64, tell: &mut dyn FnMut(u64)) -> std::io::Result<String> {
    let (mut context, mut piece, mut done) = (Context::new(&SHA256), vec![0; PIECE], 0);
    file.seek(SeekFrom::Start(0))?;
    let mut file = file.take(most);
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            None | Some([]) => return Ok(HEXLOWER.encode(context.finish().as_ref())),
            Some(part) => context.update(part),
        }
        done += count as u64;
        tell(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_says_how_large_the_medium_is() {
        let mut descriptor = [0; 2048];
        descriptor[..6].copy_from_slice(b"\x01CD001");
        descriptor[80..84].copy_from_slice(&430_000_u32.to_le_bytes());
        descriptor[128..130].copy_from_slice(&2048_u16.to_le_bytes());
        assert_eq!(size(&descriptor), Some(430_000 * 2048));
        let with = |at: usize, byte: u8| {
            let mut other = descriptor;
            other[at] = byte;
            size(&other)
        };
        assert_eq!((with(0, 2), with(5, b'2'), with(129, 9)), (None, None, None));
        assert_eq!((size(&[]), size(&descriptor[..129]), size(&[0; 2048])), (None, None, None));
    }

    #[test]
    fn sums_are_of_files_on_the_medium_alone() {
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let list = format!("{sum}  boot/vmlinuz\n{sum}  a b\n");
        assert_eq!(sums(&list).unwrap()[1], (sum.to_owned(), "a b".to_owned()));
        for text in [
            "",
            "\n",
            "abc  boot/vmlinuz",
            &format!("{sum} boot"),
            &format!("{sum}  /etc/shadow"),
            &format!("{sum}  ../a"),
            &format!("{sum}  "),
            &format!("{list}x"),
        ] {
            assert_eq!(sums(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_copied_is_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"abcd").unwrap();
        // FIPS 180-2, appendix B.1: of "abc".
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut heard = 0;
        assert_eq!(hash(File::open(&path).unwrap(), 3, &mut |done| heard = done).unwrap(), sum);
        assert_eq!(heard, 3);
    }
}
