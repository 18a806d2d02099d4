//! The disk that is captured, and where its files come from.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::tool::{Tool, ToolError};

/// Where the partition begins; it ends [`TAIL`] before the disk does.
pub(super) const FIRST: u64 = 1 << 20;
pub(super) const TAIL: u64 = 1 << 20;
/// Draws the order of the files, and what does not compress.
const SEED: u64 = 20_260_101;
/// The share of the content that does not compress, by ten: packages, logs that were compressed, pictures.
const NOISE_TENTHS: u64 = 1;
/// The files of this machine's own system: what an image of a server is made of.
const FILES: &str = "/usr";
/// Longer files are left out: a few of them would be most of the disk.
const FILE_MAX: u64 = 64 << 20;

/// A file system that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) partclone: &'static str,
    mkfs: &'static [&'static str],
    check: &'static [&'static str],
}

pub(super) const KINDS: [Kind; 2] = [
    Kind {
        name: "ext4",
        partclone: "partclone.extfs",
        mkfs: &["mkfs.ext4", "-q", "-F"],
        check: &["e2fsck", "-f", "-n"],
    },
    Kind {
        name: "xfs",
        partclone: "partclone.xfs",
        mkfs: &["mkfs.xfs", "-q", "-f"],
        check: &["xfs_repair", "-n"],
    },
];

/// A loop device with direct I/O over a file, or over the partition in it. Detached when dropped.
#[derive(Debug)]
pub(super) struct Loop(PathBuf);

impl Loop {
    pub(super) fn whole(file: &Path) -> Result<Loop, Box<dyn Error>> {
        Loop::attach(file, &[])
    }

    pub(super) fn partition(file: &Path) -> Result<Loop, Box<dyn Error>> {
        let bytes = fs::metadata(file)?.len() - FIRST - TAIL;
        Loop::attach(file, &["-o", &FIRST.to_string(), "--sizelimit", &bytes.to_string()])
    }

    fn attach(file: &Path, options: &[&str]) -> Result<Loop, Box<dyn Error>> {
        let tool = Tool::new("losetup").args(["-f", "--show", "--direct-io=on"]).args(options).arg(file);
        let device = PathBuf::from(tool.read()?.trim());
        // A device that was set read-only stays so for who comes after.
        Tool::new("blockdev").arg("--setrw").arg(&device).read()?;
        let device = Loop(device);
        // It takes after the disk below its file, and a virtual one says that it spins. The agent would give it two transfers
        // at once, and nobody else's writes are held back so.
        fs::write(device.queue("rotational")?, "0")?;
        Ok(device)
    }

    fn queue(&self, setting: &str) -> io::Result<PathBuf> {
        let name = self.0.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Path::new("/sys/block").join(name).join("queue").join(setting))
    }

    pub(super) fn device(&self) -> &Path {
        &self.0
    }

    /// What is kept of the device in memory is forgotten.
    pub(super) fn forget(&self) -> Result<(), ToolError> {
        Tool::new("blockdev").arg("--flushbufs").arg(&self.0).read().map(drop)
    }

    /// Bytes that were written to it since it was made; Documentation/block/stat.rst.
    pub(super) fn written(&self) -> Result<u64, Box<dyn Error>> {
        let name = self.0.file_name().ok_or("a device without a name")?;
        let stat = fs::read_to_string(Path::new("/sys/block").join(name).join("stat"))?;
        let sectors: u64 = stat.split_whitespace().nth(6).ok_or("a short stat")?.parse()?;
        Ok(sectors * 512)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Tool::new("losetup").arg("-d").arg(&self.0).cleaning().read();
    }
}

/// Makes the disk: a GPT, one partition with a file system in it, and files of so many bytes. Gives how many they
/// really are, to whole blocks.
pub(super) fn make(file: &Path, kind: Kind, disk_bytes: u64, used: u64) -> Result<u64, Box<dyn Error>> {
    blank(file, disk_bytes)?;
    let end = (disk_bytes - TAIL) / 512 - 1;
    let partition = format!("1:{}:{end}", FIRST / 512);
    Tool::new("sgdisk").args(["-n", &partition]).arg(file).read()?;
    let device = Loop::partition(file)?;
    let (program, options) = kind.mkfs.split_first().ok_or("no mkfs")?;
    Tool::new(program).args(options.iter()).arg(device.device()).read()?;
    let mounted = Mounted::at(&device, file.with_extension("mounted"))?;
    fill(&mounted.0, used)
}

/// A file of so many bytes with nothing in it.
pub(super) fn blank(file: &Path, bytes: u64) -> io::Result<()> {
    let file = fs::File::create(file)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// Runs the file system's own checker over the partition.
pub(super) fn check(file: &Path, kind: Kind) -> Result<(), Box<dyn Error>> {
    let device = Loop::partition(file)?;
    let (program, options) = kind.check.split_first().ok_or("no checker")?;
    Tool::new(program).args(options.iter()).arg(device.device()).read()?;
    Ok(())
}

/// Unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(device: &Loop, place: PathBuf) -> Result<Mounted, Box<dyn Error>> {
        fs::create_dir_all(&place)?;
        Tool::new("mount").arg(device.device()).arg(&place).read()?;
        Ok(Mounted(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Tool::new("umount").arg(&self.0).cleaning().read();
        let _ = fs::remove_dir(&self.0);
    }
}

/// The machine's files in an order that the seed draws, and noise between them. On a machine with fewer files than that,
/// they come again.
fn fill(to: &Path, used: u64) -> Result<u64, Box<dyn Error>> {
    let mut files = Vec::new();
    list(Path::new(FILES), &mut files)?;
    files.sort_by_key(|(path, _)| draw(path));
    if files.is_empty() {
        return Err(format!("no files in {FILES}").into());
    }
    let (mut done, mut noise) = (0, 0);
    for (number, (path, bytes)) in files.iter().cycle().enumerate() {
        if done >= used {
            break;
        }
        crate::interrupt::check()?;
        let folder = to.join(format!("{}", number / 256));
        fs::create_dir_all(&folder)?;
        fs::copy(path, folder.join(format!("{number}")))?;
        done += bytes.next_multiple_of(4096);
        if noise * 10 < done * NOISE_TENTHS {
            let length = (1 << 20) + (number as u64 * 40_507) % (1 << 20);
            fs::write(folder.join(format!("{number}.noise")), noise_of(number as u64, length))?;
            (noise, done) = (noise + length, done + length);
        }
    }
    Ok(done)
}

fn list(folder: &Path, to: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let look = entry.metadata()?;
        if look.is_dir() && look.dev() == fs::metadata(folder)?.dev() {
            list(&entry.path(), to)?;
        } else if look.is_file() && look.len() <= FILE_MAX {
            to.push((entry.path(), look.len()));
        }
    }
    Ok(())
}

/// FNV-1a of the path: where the seed puts it.
fn draw(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(SEED, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Xorshift: no compression finds anything in it.
fn noise_of(number: u64, bytes: u64) -> Vec<u8> {
    let mut state = SEED ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..bytes / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
