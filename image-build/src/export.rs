//! A signed image in, a disk file that other programs read out: raw or qcow2.

use std::path::Path;

use pack::foreign::DiskFormat;
use pack::foreign::qcow2::Writer;

use crate::container::{ContainerError, Image};
use crate::files::{self, WorkFolder};
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
    // In a folder next to it: moving it to its place is one step, and what a failure leaves is removed.
    let part = WorkFolder::make(files::folder_of(out))?;
    let disk = part.path().join("disk");
    match format {
        DiskFormat::Raw => image.unpack(&disk, progress)?,
        DiskFormat::Qcow2 => write_qcow2(image, &disk, progress)?,
    }
    Ok(files::rename(&disk, out)?)
}

fn write_qcow2(image: &Image, to: &Path, progress: &Progress) -> Result<(), ContainerError> {
    let writing = || files::named("writing", to);
    let mut writer = Writer::new(files::create(to)?, image.manifest.disk_bytes()).map_err(writing())?;
    image.each(progress, |chunk, raw| Ok(writer.put(chunk.disk_offset(), raw).map_err(writing())?))?;
    Ok(writer.finish().and_then(|file| file.sync_all()).map_err(writing())?)
}
