//! Disk file in, signed image file out, and back. The format is `pack`'s; here are the files and the threads.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use pack::{
    About, BuildError, Builder, Chunk, ChunkError, Codec, Digest, Header, HeaderError, Manifest,
    ManifestError, Packed, Parsed, PublicKey, Signed, SigningKey, VerifyError, WINDOW,
};

use crate::files::{self, FileError};
use crate::progress::Progress;

/// Why an image file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// A window could not be packed, or does not match the manifest.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// Windows do not make an image.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Not an image file.
    #[error("{} is no image file", path.display())]
    Header {
        /// Which.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
    /// Not signed by a trusted key.
    #[error("{} is not to be trusted", path.display())]
    Verify {
        /// Which.
        path: PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// A thread died.
    #[error("packing {}: a thread died", .0.display())]
    Thread(PathBuf),
}

/// Packs the disk; windows in `about.seed` are nobody's. Gives the image's digest.
pub fn write(
    disk: &Path,
    about: About,
    level: i32,
    key: &SigningKey,
    to: &Path,
    progress: &Progress,
) -> Result<Digest, ContainerError> {
    let (from, bytes) = (files::open(disk)?, about.disk_bytes);
    let seed = about.seed;
    let free = |window: u64| {
        let begin = window * u64::from(WINDOW);
        seed.is_some_and(|seed| begin >= seed.offset && begin < seed.offset + seed.bytes)
    };
    let windows: Vec<u64> = (0..bytes.div_ceil(u64::from(WINDOW))).filter(|window| !free(*window)).collect();
    let mut builder = Builder::new(about);
    // The head's length is known when the last window is: data goes to a file of its own first.
    let data_path = to.with_extension("data");
    let mut data = files::create(&data_path)?;
    for (at, batch) in windows.chunks(64).enumerate() {
        progress.still(|| format!("packing: {} of {} MiB", at * 64, windows.len()));
        for packed in pack_batch(&from, disk, bytes, batch, level)? {
            builder.push(&packed)?;
            data.write_all(&packed.stored).map_err(files::named("writing", &data_path))?;
        }
    }
    let manifest = builder.finish()?;
    let header = Header { signed: Signed::new(&manifest, key) };
    let mut out = files::create(to)?;
    let writing = |path: &Path| files::named("writing", path);
    out.write_all(&header.encode()).map_err(writing(to))?;
    data.rewind().and_then(|()| io::copy(&mut data, &mut out)).map_err(writing(to))?;
    out.sync_all().map_err(writing(to))?;
    std::fs::remove_file(&data_path).map_err(files::named("removing", &data_path))?;
    Ok(manifest.digest())
}

/// Packs some windows on as many cores as there are; in order.
fn pack_batch(
    from: &File,
    disk: &Path,
    bytes: u64,
    batch: &[u64],
    level: i32,
) -> Result<Vec<Packed>, ContainerError> {
    let pack_one = |window: &u64| -> Result<Packed, ContainerError> {
        let offset = window * u64::from(WINDOW);
        let length = usize::try_from((bytes - offset).min(u64::from(WINDOW))).unwrap_or_default();
        let mut raw = vec![0; length];
        from.read_exact_at(&mut raw, offset).map_err(files::named("reading", disk))?;
        Ok(pack::chunk(u32::try_from(*window).unwrap_or(u32::MAX), &raw, level)?)
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = batch.len().div_ceil(threads).max(1);
    let results = thread::scope(|scope| {
        let workers: Vec<_> = batch
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(pack_one).collect::<Result<Vec<_>, _>>()))
            .collect();
        workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
    });
    let mut packed = Vec::new();
    for result in results {
        packed.extend(result.map_err(|_| ContainerError::Thread(disk.to_owned()))??);
    }
    Ok(packed)
}

/// An image file that was opened and believed.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
    data_begin: u64,
    /// Its name.
    pub digest: Digest,
    /// Who signed it.
    pub key: PublicKey,
    /// What is in it.
    pub manifest: Manifest,
}

impl Image {
    /// Opens an image file. Its signature must be by one of `trusted`; None takes any signer's word, which proves
    /// only that the file is whole.
    pub fn open(path: &Path, trusted: Option<&[PublicKey]>) -> Result<Image, ContainerError> {
        let file = files::open(path)?;
        let length = file.metadata().map_err(files::named("looking at", path))?.len();
        let header = read_header(&file, path, length)?;
        let own = [header.signed.key];
        let verified = header.signed.verify(trusted.unwrap_or(&own));
        let (digest, manifest) =
            verified.map_err(|source| ContainerError::Verify { path: path.to_owned(), source })?;
        let wrong = |source| ContainerError::Header { path: path.to_owned(), source };
        header.check_file_bytes(&manifest, length).map_err(wrong)?;
        let (data_begin, key) = (header.data_begin(), header.signed.key);
        Ok(Image { file, path: path.to_owned(), data_begin, digest, key, manifest })
    }

    /// Reads every window and compares it with the manifest.
    pub fn check(&self, progress: &Progress) -> Result<(), ContainerError> {
        self.each(progress, |_, _| Ok(()))
    }

    /// Writes the disk this image is of into a plain file with holes.
    pub fn unpack(&self, to: &Path, progress: &Progress) -> Result<(), ContainerError> {
        let out = files::create(to)?;
        out.set_len(self.manifest.disk_bytes()).map_err(files::named("sizing", to))?;
        self.each(progress, |chunk, raw| {
            let hole = chunk.codec == Codec::Zero;
            let write = if hole { Ok(()) } else { out.write_all_at(raw, chunk.disk_offset()) };
            Ok(write.map_err(files::named("writing", to))?)
        })
    }

    fn each(
        &self,
        progress: &Progress,
        mut then: impl FnMut(&Chunk, &[u8]) -> Result<(), ContainerError>,
    ) -> Result<(), ContainerError> {
        let chunks = self.manifest.chunks();
        for (at, chunk) in chunks.iter().enumerate() {
            progress.still(|| format!("reading: {at} of {} MiB", chunks.len()));
            let mut stored = vec![0; chunk.stored as usize];
            let offset = self.data_begin + chunk.offset;
            self.file.read_exact_at(&mut stored, offset).map_err(files::named("reading", &self.path))?;
            let mut raw = vec![0; chunk.bytes as usize];
            chunk.unpack(&stored, &mut raw)?;
            then(chunk, &raw)?;
        }
        Ok(())
    }
}

fn read_header(file: &File, path: &Path, length: u64) -> Result<Header, ContainerError> {
    let mut prefix = Vec::new();
    loop {
        let parsed = Header::parse(&prefix);
        match parsed.map_err(|source| ContainerError::Header { path: path.to_owned(), source })? {
            Parsed::Whole(header) => return Ok(header),
            Parsed::Needs(bytes) => {
                if bytes as u64 > length {
                    let source = HeaderError::FileBytes { bytes: length, expected: bytes as u64 };
                    return Err(ContainerError::Header { path: path.to_owned(), source });
                }
                prefix = vec![0; bytes];
                file.read_exact_at(&mut prefix, 0).map_err(files::named("reading", path))?;
            }
        }
    }
}
