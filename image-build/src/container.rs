//! Disk file in, signed image file out, and back. The format is `pack`'s; here are the files and the threads.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use pack::source::within;
use pack::{
    About, Block, BuildError, Builder, Capture, CaptureError, Chunk, ChunkError, Compression, Digest,
    Extents, Header, HeaderError, Manifest, ManifestError, Parsed, PublicKey, Signed, SigningKey, Source,
    VerifyError,
};
use rustix::fs::FallocateFlags;

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
    /// The disk could not be read.
    #[error("reading the disk at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What the device said.
        source: io::Error,
    },
    /// A thread died.
    #[error("packing: a thread died")]
    Thread,
}

impl From<CaptureError<ContainerError>> for ContainerError {
    fn from(error: CaptureError<ContainerError>) -> ContainerError {
        match error {
            CaptureError::Read { offset, source } => ContainerError::Read { offset, source },
            CaptureError::Chunk(error) => ContainerError::Chunk(error),
            CaptureError::Died => ContainerError::Thread,
            CaptureError::Sink(error) => error,
        }
    }
}

/// A disk in a plain file.
#[derive(Debug)]
pub struct Plain {
    file: File,
    bytes: u64,
}

impl Plain {
    /// Opens it; what lies beyond `bytes` is no part of it.
    pub fn open(path: &Path, bytes: u64) -> Result<Plain, FileError> {
        Ok(Plain { file: files::open(path)?, bytes })
    }
}

impl Source for Plain {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, out.len())?;
        self.file.read_exact_at(out, offset)
    }
}

/// Packs what is used of a disk into an image file, signed; gives its digest. Nobody may write to the disk meanwhile.
pub fn write(
    source: &dyn Source,
    used: &Extents,
    about: About,
    compression: Compression,
    key: &SigningKey,
    to: &Path,
    progress: &Progress,
) -> Result<Digest, ContainerError> {
    let mut used = used.clone();
    if let Some(seed) = about.seed {
        used.remove(seed.offset..seed.offset.saturating_add(seed.bytes));
    }
    let total = used.bytes();
    let mut builder = Builder::new(about);
    let mut out = files::create(to)?;
    let mut done = 0;
    let threads = thread::available_parallelism().map_or(1, NonZero::get) * 2;
    let capture = Capture { source, used: &used, compression, threads };
    capture.run(|packed| -> Result<(), ContainerError> {
        builder.push(&packed)?;
        done += u64::from(packed.map.used_bytes(packed.bytes));
        progress.still(|| format!("packing: {} of {} MiB", done >> 20, total >> 20));
        Ok(out.write_all(&packed.stored).map_err(files::named("writing", to))?)
    })?;
    let manifest = builder.finish()?;
    let head = Header { signed: Signed::new(&manifest, key) }.encode();
    let out = put_in_front(out, to, &head)?;
    out.sync_all().map_err(files::named("writing", to))?;
    Ok(manifest.digest())
}

/// Puts the head in front of the data: its length is known when the last window is. Most file systems can move the data
/// up without copying it.
fn put_in_front(out: File, to: &Path, head: &[u8]) -> Result<File, ContainerError> {
    let writing = || files::named("writing", to);
    if rustix::fs::fallocate(&out, FallocateFlags::INSERT_RANGE, 0, head.len() as u64).is_ok() {
        out.write_all_at(head, 0).map_err(writing())?;
        return Ok(out);
    }
    let path = to.with_extension("data");
    std::fs::rename(to, &path).map_err(files::named("renaming", to))?;
    let (mut data, mut whole) = (out, files::create(to)?);
    whole.write_all(head).map_err(writing())?;
    data.rewind().and_then(|()| io::copy(&mut data, &mut whole)).map_err(writing())?;
    std::fs::remove_file(&path).map_err(files::named("removing", &path))?;
    Ok(whole)
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
            for (_, range) in chunk.writes(0, 0).into_iter().filter(|(kind, _)| *kind == Block::Data) {
                let at = chunk.disk_offset() + range.start as u64;
                let run = raw.get(range).unwrap_or_default();
                out.write_all_at(run, at).map_err(files::named("writing", to))?;
            }
            Ok(())
        })
    }

    /// The stored bytes of one chunk, as they are in the file and as the manifest says that they are.
    pub(crate) fn stored(&self, chunk: &Chunk) -> Result<Vec<u8>, ContainerError> {
        let mut stored = vec![0; chunk.stored as usize];
        let offset = self.data_begin + chunk.offset;
        self.file.read_exact_at(&mut stored, offset).map_err(files::named("reading", &self.path))?;
        chunk.check_stored(&stored)?;
        Ok(stored)
    }

    /// All that stands before the data: magic, signature, manifest.
    pub(crate) fn head(&self) -> Result<Vec<u8>, ContainerError> {
        let mut head = vec![0; usize::try_from(self.data_begin).unwrap_or_default()];
        self.file.read_exact_at(&mut head, 0).map_err(files::named("reading", &self.path))?;
        Ok(head)
    }

    /// Hands each window to `then` with its bytes: zeros where the image has none.
    pub(crate) fn each(
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
