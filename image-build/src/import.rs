//! A disk of somebody else's making in, a signed image out: raw or qcow2, plain or in a gzip, xz or zstd stream.
//!
//! The file is a stranger's. No other program sees it, no file that it names is opened, and the work is bounded by its
//! length and by what was declared of it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pack::foreign::qcow2::{Qcow2, Qcow2Error};
use pack::foreign::{DiskFormat, FormatError, HEAD_BYTES, format_of, inflated_max};
use pack::{About, DISK_BYTES_MAX, Layout, SigningKey, Source};

use crate::capture::{self, CaptureError};
use crate::container::{Image, Plain};
use crate::files::{self, FileError, WorkFolder};
use crate::progress::Progress;
use crate::stream::{self, Compression, SpoolError, Spooled};

/// Endings of a file's name that say what it is, and not what it is called.
const ENDINGS: &[&str] = &["gz", "xz", "zst", "zstd", "raw", "img", "qcow2", "disk", "bin"];

/// Why a file did not become an image.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ImportError {
    #[error("{}", path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error("{}", path.display())]
    Qcow2 { path: PathBuf, source: Qcow2Error },
    #[error("{}: the disk in it is not plain either", path.display())]
    Nested { path: PathBuf, source: FormatError },
    #[error("{}: the {compression} stream is broken, cut off, or needs more memory than it may", path.display())]
    Stream { path: PathBuf, compression: Compression, source: io::Error },
    #[error("{}: more than the {most} bytes that were declared come out of it", path.display())]
    LongerThanDeclared { path: PathBuf, most: u64 },
    #[error(
        "{}: more than {most} bytes come out of it, which is out of proportion to its length; if it is a disk that is nearly \
         empty, declare its size: --disk-bytes", path.display()
    )]
    Bomb { path: PathBuf, most: u64 },
    #[error("{}: a disk of {bytes} bytes, declared were {declared}", path.display())]
    DiskBytes { path: PathBuf, bytes: u64, declared: u64 },
    #[error("{}: a disk of {bytes} bytes; it must be whole sectors of 512, and at most {DISK_BYTES_MAX}", path.display())]
    Sectors { path: PathBuf, bytes: u64 },
    #[error("{} is not a regular file", .0.display())]
    NoFile(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("this can't be said of an image")]
    About(#[source] pack::ManifestError),
}

/// What is asked for.
#[derive(Debug)]
pub struct Order<'a> {
    /// The file.
    pub file: &'a Path,
    /// What it is declared to hold; without it the content says so.
    pub format: Option<DiskFormat>,
    /// What the disk's size is declared to be, in bytes.
    pub disk_bytes: Option<u64>,
    /// What the image is called; the file's name without it.
    pub name: Option<&'a str>,
    /// Debian's name of the machine type.
    pub arch: &'a str,
    /// The roles it is for.
    pub roles: &'a [String],
    /// zstd level.
    pub level: i32,
    /// The key that signs.
    pub key: &'a SigningKey,
    /// The image file to write.
    pub out: &'a Path,
    /// Folder for what is half done.
    pub work: &'a Path,
}

/// Makes an image file of a disk in a file. `out` is there when it is whole, and not before.
///
/// # Errors
/// When the file is not what was declared, or not a disk that can be taken; why. `out` is then as it was.
pub fn import(order: &Order<'_>, progress: &Progress) -> Result<Image, ImportError> {
    about(order, 512).check().map_err(ImportError::About)?;
    let work = WorkFolder::make(order.work)?;
    let file = plain(order, work.path(), progress)?;
    let path = || order.file.to_owned();
    match format_of(&file, order.format).map_err(|source| ImportError::Format { path: path(), source })? {
        DiskFormat::Raw => {
            let about = checked(order, file.bytes())?;
            pack_disk(order, &file, about, progress)
        }
        DiskFormat::Qcow2 => {
            let disk = Qcow2::open(&file).map_err(|source| ImportError::Qcow2 { path: path(), source })?;
            let about = checked(order, disk.bytes())?;
            // Whoever gets this disk as a file must not take it for another image.
            format_of(&disk, Some(DiskFormat::Raw))
                .map_err(|source| ImportError::Nested { path: path(), source })?;
            pack_disk(order, &disk, about, progress)
        }
    }
}

fn about(order: &Order<'_>, disk_bytes: u64) -> About {
    let mut roles = order.roles.to_vec();
    roles.sort();
    roles.dedup();
    let name = order.name.map_or_else(|| name_of(order.file), str::to_owned);
    About {
        name,
        arch: order.arch.to_owned(),
        roles,
        disk_bytes,
        seed: None,
        packages: None,
        layout: Layout::default(),
    }
}

/// A file's name without the endings that say how a disk lies in it, in the letters that an image's name may have.
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut stem = name.as_str();
    while let Some((before, ending)) = stem.rsplit_once('.')
        && ENDINGS.contains(&ending)
    {
        stem = before;
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    stem.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

/// Refuses a size that no image may have.
fn checked(order: &Order<'_>, bytes: u64) -> Result<About, ImportError> {
    let path = || order.file.to_owned();
    if let Some(declared) = order.disk_bytes.filter(|declared| *declared != bytes) {
        return Err(ImportError::DiskBytes { path: path(), bytes, declared });
    }
    if bytes == 0 || !bytes.is_multiple_of(512) || bytes > DISK_BYTES_MAX {
        return Err(ImportError::Sectors { path: path(), bytes });
    }
    Ok(about(order, bytes))
}

/// The file itself, or what comes out of it when it is compressed.
fn plain(order: &Order<'_>, work: &Path, progress: &Progress) -> Result<Plain, ImportError> {
    let path = order.file;
    let look = std::fs::metadata(path).map_err(files::named("looking at", path))?;
    if !look.is_file() {
        return Err(ImportError::NoFile(path.to_owned()));
    }
    let file = Plain::open(path, look.len())?;
    let mut compressed = files::open(path)?;
    let head = stream::head(&mut compressed, 6).map_err(files::named("reading", path))?;
    let Some(compression) = Compression::of(&head) else { return Ok(file) };
    progress.step(format_args!("unpacking the {compression} stream"));
    let broken = |source| ImportError::Stream { path: path.to_owned(), compression, source };
    let compressed = files::open(path)?;
    let mut stream = compression.open(compressed).map_err(broken)?;
    let head = stream::head(&mut stream, HEAD_BYTES).map_err(broken)?;
    // What is refused by its beginning need not come out whole.
    let format = format_of(&head, order.format)
        .map_err(|source| ImportError::Format { path: path.to_owned(), source })?;
    let most = match order.disk_bytes {
        // Tables of clusters come on top of the disk, and what snapshots keep.
        Some(declared) if format == DiskFormat::Qcow2 => declared.saturating_add(declared / 8) + (64 << 20),
        Some(declared) => declared,
        None => inflated_max(file.bytes()),
    };
    let to = work.join("disk");
    let out = files::create(&to)?;
    let still = |bytes| progress.still(|| format!("unpacking: {} MiB", bytes >> 20));
    match stream::spool(&mut head.chain(stream), &out, most, still) {
        Ok(Spooled::Whole(bytes)) => Ok(Plain::open(&to, bytes)?),
        Ok(Spooled::TooLong) if order.disk_bytes.is_some() => {
            Err(ImportError::LongerThanDeclared { path: path.to_owned(), most })
        }
        Ok(Spooled::TooLong) => Err(ImportError::Bomb { path: path.to_owned(), most }),
        Err(SpoolError::Stream(source)) => Err(broken(source)),
        Err(SpoolError::File(source)) => Err(files::named("writing", &to)(source).into()),
    }
}

/// Packs what is used of a disk.
fn pack_disk(
    order: &Order<'_>,
    disk: &dyn Source,
    about: About,
    progress: &Progress,
) -> Result<Image, ImportError> {
    // In a folder next to the image: moving it there is one step, and what a failure leaves is removed.
    let part = WorkFolder::make(files::folder_of(order.out))?;
    let image = part.path().join("image");
    let compression = pack::Compression::Zstd(order.level);
    capture::pack_disk(disk, order.file, about, compression, order.key, &image, progress)?;
    files::rename(&image, order.out)?;
    Image::open(order.out, Some(&[order.key.public()])).map_err(|error| ImportError::Capture(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_like_its_file() {
        for (file, name) in [
            ("/x/Debian-13-genericcloud-amd64.qcow2", "debian-13-genericcloud-amd64"),
            ("ubuntu-24.04.img.xz", "ubuntu-24.04"),
            ("a b.raw.gz", "a-b"),
            ("disk", "disk"),
        ] {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }
}
