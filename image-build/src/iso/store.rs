//! What the live controller has in `/var/lib/rackwright` without having fetched it: the boot store, and the image store in
//! the layout of the controller's own ([`pack::index`]), so that nothing is copied or unpacked to be used. Not compressed once
//! more: all of it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use pack::Digest;
use pack::index::{self, Record};

use super::{IsoError, Job, fresh};
use crate::container::Image;
use crate::files;

/// The daemon's user and group in every root file system (recipes/controller.toml).
const OWNER: &str = "400";

/// Writes the squashfs; `stage` is made anew for what is half done.
pub(super) fn write(job: &Job<'_>, stage: &Path, to: &Path) -> Result<(), IsoError> {
    fresh(stage)?;
    let state = stage.join("var/lib/rackwright");
    for path in files::walk(job.order.boot)?.iter().filter(|path| path.is_file()) {
        files::share(path, &state.join("boot").join(path.strip_prefix(job.order.boot).unwrap_or(path)))?;
    }
    let images = state.join("images");
    files::make_folder(&images)?;
    let mut known = BTreeSet::new();
    for image in job.images {
        job.workshop.progress.still(|| format!("writing the store: {}", image.manifest.name()));
        put_image(&images, image, &mut known)?;
    }
    // The daemon's folders are its own, and nobody else's.
    for folder in [&state, &images] {
        files::set_mode(folder, 0o700)?;
    }
    let time = job.workshop.release.epoch.to_string();
    files::make_folder(files::folder_of(to))?;
    job.workshop
        .toolbox
        .call("mksquashfs")
        .arg(stage)
        .arg(to)
        .args(["-quiet", "-no-progress", "-reproducible", "-mkfs-time", &time, "-all-time", &time])
        .args(["-noI", "-noD", "-noF", "-noX", "-no-xattrs", "-force-uid", OWNER, "-force-gid", OWNER])
        .run()?;
    Ok(())
}

/// The number of an image's pack. The packs of an installed controller and those of the media that it gets later are in one folder: no
/// other image's pack has this number, and the controller counts on from the highest.
fn number(image: &Digest) -> u64 {
    let (first, _) = image.0.split_at(8);
    // Half of all numbers are left to count on in.
    first.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 1
}

/// One image: its head as it is in the image file, and a pack of the stored bytes that no image before it has.
fn put_image(folder: &Path, image: &Image, known: &mut BTreeSet<Digest>) -> Result<(), IsoError> {
    files::write(&folder.join(format!("{}.manifest", image.digest)), &image.head()?)?;
    let path = folder.join(format!("{:016x}.pack", number(&image.digest)));
    let mut pack = Pack { file: files::create(&path)?, at: 0, records: Vec::new() };
    for chunk in image.manifest.chunks() {
        if let Some(digest) = chunk.stored_digest
            && known.insert(digest)
        {
            pack.put(digest, &image.stored(chunk)?, &path)?;
        }
    }
    let tail = index::encode(&pack.records);
    Ok(pack.file.write_all(&tail).map_err(files::named("writing", &path))?)
}

struct Pack {
    file: File,
    at: u64,
    records: Vec<Record>,
}

impl Pack {
    fn put(&mut self, digest: Digest, stored: &[u8], path: &Path) -> Result<(), IsoError> {
        self.file.write_all(stored).map_err(files::named("writing", path))?;
        let bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        self.records.push(Record { digest, offset: self.at, bytes });
        self.at += u64::from(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container;
    use crate::progress::Progress;
    use pack::disk::{Access, Disk};
    use pack::{About, Compression, Extents, Header, Layout, Parsed, SigningKey};

    const MIB: usize = 1 << 20;

    /// An image of a disk whose windows are full of these bytes.
    fn image(work: &Path, name: &str, windows: &[u8]) -> Image {
        let (raw, to) = (work.join(format!("{name}.raw")), work.join(name));
        let disk: Vec<u8> = windows.iter().flat_map(|byte| vec![*byte; MIB]).collect();
        files::write(&raw, &disk).unwrap();
        let disk_bytes = disk.len() as u64;
        let (name, arch, layout) = (name.to_owned(), "amd64".to_owned(), Layout::default());
        let about = About { name, arch, roles: vec![], disk_bytes, seed: None, packages: None, layout };
        let (disk, used) = (Disk::open(&raw, Access::Read).unwrap(), Extents::all(disk_bytes));
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        container::write(&disk, &used, about, Compression::Zstd(1), &key, &to, &Progress::start(true))
            .unwrap();
        Image::open(&to, None).unwrap()
    }

    /// As the controller reads it: the manifest by its name, each chunk where a pack's index says.
    #[test]
    fn the_controller_finds_every_chunk_of_every_image_and_none_twice() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let images = [image(work.path(), "a", &[1, 2, 3]), image(work.path(), "b", &[3, 4, 1, 1])];
        let (folder, mut known) = (work.path().join("images"), BTreeSet::new());
        let mut found = std::collections::BTreeMap::new();
        for image in &images {
            put_image(&folder, image, &mut known).unwrap();
            let pack = files::read(&folder.join(format!("{:016x}.pack", number(&image.digest)))).unwrap();
            let footer = pack.last_chunk::<{ index::FOOTER_BYTES }>().unwrap();
            let tail = index::tail_bytes(footer, pack.len() as u64).unwrap();
            for record in index::decode(&pack[pack.len() - tail..], pack.len() as u64).unwrap() {
                let begin = usize::try_from(record.offset).unwrap();
                let stored = pack[begin..begin + record.bytes as usize].to_vec();
                assert_eq!(Digest::of(&stored), record.digest);
                assert_eq!(found.insert(record.digest, stored), None, "a chunk is there twice");
            }
            let head = files::read(&folder.join(format!("{}.manifest", image.digest))).unwrap();
            let Parsed::Whole(header) = Header::parse(&head).unwrap() else { panic!("cut off") };
            let (digest, manifest) = header.signed.verify(&[image.key]).unwrap();
            assert_eq!(digest, image.digest);
            for chunk in manifest.chunks() {
                let stored = &found[&chunk.stored_digest.unwrap()];
                chunk.unpack(stored, &mut vec![0; chunk.bytes as usize]).unwrap();
            }
        }
        assert_eq!(found.len(), 4);
    }
}
