//! Taking an image of a disk: what is on it is surveyed, and what is used is packed.

use std::path::{Path, PathBuf};

use pack::disk::{Access, Disk, DiskError};
use pack::table::{self, NoTable};
use pack::{About, Compression, SigningKey, Source, Survey, WINDOWS_MAX, survey};

use crate::container::{self, ContainerError, Image};
use crate::files::{self, FileError, WorkFolder};
use crate::progress::Progress;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The disk can't be had; in use, for instance.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A loop device is made of the file.
    #[error("{} is in use: /dev/{device} is made of it; detach it first (losetup -d /dev/{device})", file.display())]
    Attached {
        /// The file.
        file: PathBuf,
        /// The loop device.
        device: String,
    },
    /// The disk could not be read.
    #[error("surveying {}", path.display())]
    Survey {
        /// The disk.
        path: PathBuf,
        /// What the device said.
        source: std::io::Error,
    },
    /// More than a manifest has room for.
    #[error("{} GiB of {} are in use; an image has room for {} GiB", windows >> 10, path.display(), WINDOWS_MAX >> 10)]
    TooLarge {
        /// The disk.
        path: PathBuf,
        /// How many windows of it are used.
        windows: u64,
    },
    /// Packing failed.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is asked for.
#[derive(Debug)]
pub struct Order<'a> {
    /// A block device or a file with a disk in it. Nobody may use it meanwhile.
    pub source: &'a Path,
    /// Bytes of its sectors; without it, a device's own, and for a file what its partition table was made for.
    pub sector_bytes: Option<u32>,
    /// What the image is called.
    pub name: &'a str,
    /// Debian's name of the machine type.
    pub arch: &'a str,
    /// The roles it is for.
    pub roles: &'a [String],
    /// What to compress with.
    pub compression: Compression,
    /// The key that signs.
    pub key: &'a SigningKey,
    /// The image file to write.
    pub out: &'a Path,
}

/// Takes an image of a disk that nobody uses. `out` is there when it is whole, and not before.
///
/// # Errors
/// When the disk is in use, can't be read, or makes no image; `out` is then as it was.
pub fn capture(order: &Order<'_>, progress: &Progress) -> Result<(Image, Survey), CaptureError> {
    if let Some(device) = attached(order.source) {
        return Err(CaptureError::Attached { file: order.source.to_owned(), device });
    }
    let disk = Disk::open(order.source, Access::ReadExclusive)?;
    let sector_bytes = order.sector_bytes.unwrap_or_else(|| sectors_of(&disk));
    let mut roles = order.roles.to_vec();
    roles.sort();
    roles.dedup();
    let about = About {
        name: order.name.to_owned(),
        arch: order.arch.to_owned(),
        roles,
        disk_bytes: disk.bytes(),
        seed: None,
        packages: None,
        layout: pack::Layout { sector_bytes, ..pack::Layout::default() },
    };
    about.check().map_err(ContainerError::from)?;
    progress.step(format_args!("surveying {}", order.source.display()));
    let Order { compression, key, out, .. } = *order;
    // In a folder next to the image: moving it there is one step, and what a failure leaves is removed.
    let part = WorkFolder::make(files::folder_of(out))?;
    let image = part.path().join("image");
    let found = pack_disk(&disk, order.source, about, compression, key, &image, progress)?;
    files::rename(&image, out)?;
    Ok((Image::open(out, Some(&[key.public()]))?, found))
}

/// Surveys a disk and packs what is used of it; what the survey found goes into the manifest. `about` says how long the
/// sectors are.
pub fn pack_disk(
    disk: &dyn Source,
    path: &Path,
    about: About,
    compression: Compression,
    key: &SigningKey,
    to: &Path,
    progress: &Progress,
) -> Result<Survey, CaptureError> {
    let failed = |source| CaptureError::Survey { path: path.to_owned(), source };
    let found = survey(disk, about.layout.sector_bytes).map_err(failed)?;
    for placed in &found.volumes {
        if let Some(why) = &placed.volume.why_whole {
            let (kind, number) = (placed.volume.kind, placed.partition);
            progress.step(format_args!("partition {number} ({kind}) is taken as a whole: {why}"));
        }
    }
    let windows = found.windows();
    if windows > WINDOWS_MAX {
        return Err(CaptureError::TooLarge { path: path.to_owned(), windows });
    }
    let seed = found.seed_place();
    let about = About { layout: found.layout(), seed, ..about };
    progress.step(format_args!("packing {} MiB", found.used.bytes() >> 20));
    container::write(disk, &found.used, about, compression, key, to, progress)?;
    Ok(found)
}

/// The sectors that a disk has, or that the table in a file was made for.
pub(crate) fn sectors_of(disk: &Disk) -> u32 {
    match table::read(disk, disk.sector_bytes()) {
        Err(NoTable::SectorBytes { made_for, .. }) if !disk.is_device() => made_for,
        Ok(_) | Err(_) => disk.sector_bytes(),
    }
}

/// The loop device that is made of this file, if there is one: what is mounted there changes the file.
fn attached(file: &Path) -> Option<String> {
    let file = std::fs::canonicalize(file).ok()?;
    let devices = std::fs::read_dir("/sys/block").ok()?.flatten();
    devices.map(|device| device.path()).find_map(|device| {
        let backing = std::fs::read_to_string(device.join("loop/backing_file")).ok()?;
        let name = device.file_name()?.to_string_lossy().into_owned();
        (Path::new(backing.trim_end_matches('\n')) == file).then_some(name)
    })
}
