//! A disk of a test: a sparse file in a folder of its own.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pack::volume::{self, Volume};
use pack::{Extents, Source};
use tempfile::TempDir;

use super::{Loop, MIB, Mount, attempt, fed, run};

/// What is put where a map says that nothing is.
const DIRT: u8 = 0xaa;

/// A file that is read like a disk. The folder goes with it.
pub(crate) struct Disk {
    folder: TempDir,
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Disk {
    /// Zeros.
    pub(crate) fn new(bytes: u64) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(bytes).unwrap();
        Disk { folder, path, file, bytes }
    }

    /// These bytes.
    pub(crate) fn of(bytes: &[u8]) -> Disk {
        let disk = Disk::new(bytes.len() as u64);
        disk.write(0, bytes);
        disk
    }

    /// As a tool leaves it: the last word stands before the disk's name.
    pub(crate) fn made(bytes: u64, tool: &str, arguments: &[&str]) -> Disk {
        let disk = Disk::new(bytes);
        run(tool, &[arguments, &[disk.name()]].concat());
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// A name for something beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new directory beside it.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.beside(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        pack::source::read(self, offset, length).unwrap()
    }

    /// All of its bytes.
    pub(crate) fn load(&self) -> Vec<u8> {
        self.read(0, usize::try_from(self.bytes).unwrap())
    }

    pub(crate) fn resize(&mut self, bytes: u64) {
        self.file.set_len(bytes).unwrap();
        self.bytes = bytes;
    }

    /// A copy with the same content.
    pub(crate) fn copy(&self) -> Disk {
        let copy = Disk::new(self.bytes);
        // Into the file that is there: this process has it open.
        run("cp", &["--sparse=always", self.name(), copy.name()]);
        copy
    }

    /// What the readers say of it.
    pub(crate) fn volume(&self) -> Volume {
        volume::read(self).unwrap()
    }

    /// The same, of a kind that has to have been made sense of.
    #[track_caller]
    pub(crate) fn map(&self, kind: &str) -> Volume {
        let volume = self.volume();
        assert_eq!((volume.kind, &volume.why_whole), (kind, &None));
        volume
    }

    /// What blkid says; empty when it does not.
    pub(crate) fn blkid(&self, tag: &str) -> String {
        let output = attempt("blkid", &["-p", "-o", "value", "-s", tag, self.name()], "");
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// That a volume has the kind and the names that blkid has for this disk.
    #[track_caller]
    pub(crate) fn assert_named(&self, volume: &Volume) {
        let told = ["TYPE", "UUID", "LABEL"].map(|tag| self.blkid(tag));
        assert_eq!([volume.kind, &volume.uuid, &volume.label], told.each_ref().map(String::as_str));
    }

    /// What partclone would save of it: it maps a device into a domain log of ddrescue, lines of offset, length, `+` or `?`.
    pub(crate) fn partclone(&self, kind: &str) -> Extents {
        let (map, log) = (self.beside("domain"), self.beside("partclone.log"));
        // It leaves a file alone that is there.
        let _ = std::fs::remove_file(&map);
        let [to, log] = [&map, &log].map(|path| path.to_str().unwrap());
        let arguments = ["-q", "-F", "-D", "--offset_domain=0", "-L", log, "-s", self.name(), "-o", to];
        run(&format!("partclone.{kind}"), &arguments);
        let text = std::fs::read_to_string(&map).unwrap();
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let saved = lines.filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [start, bytes, "+"] => Some(number(start)..number(start) + number(bytes)),
            _ => None,
        });
        let saved = saved.collect::<Extents>();
        assert!(saved.bytes() > 0, "{text}");
        saved
    }

    /// Another disk with these ranges of this one, full of something else but for them.
    pub(crate) fn only(&self, used: &Extents) -> Disk {
        let to = Disk::new(self.bytes);
        let dirt = vec![DIRT; usize::try_from(MIB).unwrap()];
        let mut free = Extents::all(self.bytes);
        used.iter().for_each(|range| free.remove(range));
        for piece in pieces(&free) {
            to.write(piece.start, &dirt[..length(&piece)]);
        }
        for piece in pieces(used) {
            let data = self.read(piece.start, length(&piece));
            // What nobody wrote reads as zeros: the file stays sparse.
            if !pack::is_zero(&data) {
                to.write(piece.start, &data);
            }
        }
        to
    }

    pub(crate) fn mount(&self, options: &str) -> Mount {
        Mount::new(&[&self.path], options)
    }

    /// Runs sfdisk with this script, on a device with sectors of so many bytes.
    pub(crate) fn partition(&self, sector_bytes: u32, script: &str) {
        let device = Loop::of_sectors(&self.path, sector_bytes);
        fed("sfdisk", &["-q", "--no-reread", "--no-tell-kernel", device.name()], script);
    }
}

impl Source for Disk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        pack::source::within(self.bytes, offset, out.len())?;
        self.file.read_exact_at(out, offset)
    }
}

/// The ranges in pieces of at most a MiB.
fn pieces(of: &Extents) -> impl Iterator<Item = Range<u64>> + '_ {
    let cut = |range: Range<u64>| {
        let starts = range.clone().step_by(usize::try_from(MIB).unwrap());
        starts.map(move |start| start..(start + MIB).min(range.end))
    };
    of.iter().flat_map(cut)
}

fn length(piece: &Range<u64>) -> usize {
    usize::try_from(piece.end - piece.start).unwrap()
}

/// The parts of `one` that are not in `other`.
pub(crate) fn beyond(one: &Extents, other: &Extents) -> Extents {
    let mut rest = one.clone();
    other.iter().for_each(|range| rest.remove(range));
    rest
}
