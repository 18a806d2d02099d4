//! A signed image in, a disk file that other programs read out: raw or qcow2.

use std::path::Path;

use pack::foreign::DiskFormat;
use pack::foreign::qcow2::Writer;
use pack::{Source, WINDOW};

use crate::container::{ContainerError, Image};
use crate::diskfile::DiskFile;
use crate::files::{self, FileError, WorkFolder};
use crate::progress::Progress;

/// Writes the disk that an image is of. `out` is there when it is whole, and not before. What the image says nothing of reads
/// as zeros.
///
/// # Errors
/// When the image is damaged or a file can't be handled; `out` is then as it was.
pub fn export(
    image: &Image,
    format: DiskFormat,
    out: &Path,
    progress: &Progress,
) -> Result<(), ContainerError> {
    let part = WorkFolder::make(files::folder_of(out))?;
    let raw = part.path().join("raw");
    image.unpack(&raw, progress)?;
    let whole = match format {
        DiskFormat::Raw => raw,
        DiskFormat::Qcow2 => {
            let qcow2 = part.path().join("qcow2");
            convert(&raw, &qcow2, progress)?;
            qcow2
        }
    };
    Ok(files::rename(&whole, out)?)
}

/// Writes the disk in a raw file as qcow2.
fn convert(raw: &Path, to: &Path, progress: &Progress) -> Result<(), FileError> {
    let disk = DiskFile::open(raw)?;
    let (writing, reading) = (|| files::named("writing", to), || files::named("reading", raw));
    let mut writer = Writer::new(files::create(to)?, disk.bytes()).map_err(writing())?;
    for begin in (0..disk.bytes()).step_by(WINDOW as usize) {
        progress.still(|| format!("writing: {} of {} MiB", begin >> 20, disk.bytes() >> 20));
        let bytes = u64::from(WINDOW).min(disk.bytes() - begin);
        let window = pack::source::read(&disk, begin, usize::try_from(bytes).unwrap_or_default());
        writer.put(begin, &window.map_err(reading())?).map_err(writing())?;
    }
    writer.finish().and_then(|file| file.sync_all()).map_err(writing())
}
