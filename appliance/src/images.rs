//! The image store: an image is a manifest, and chunks that it shares with every other image that has them.
//!
//! ```text
//! images/DIGEST.manifest   head of an image file: signature and manifest; there only while its chunks are durable
//! images/NUMBER.pack       stored bytes that an import brought and nobody had, then an index of them (see `index`)
//! images/scrub.json        when which image was read through, and which chunks were found damaged
//! images/N.part            being written: removed at the next start
//! ```
//! Where a chunk lies is kept in memory and read from the packs at the start; of two copies the one in the younger pack
//! counts. Nothing is written in place: a file is written under a name of no account, synced, named, and the folder synced,
//! the pack before the manifest. So whatever moment the power goes, an image is there as a whole or not at all.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet::image::Image;
use pack::{Digest, Manifest, PublicKey, Signed, SigningKey};

mod captures;
mod diff;
mod folder;
mod import;
mod intake;
mod load;
mod ownerless;
mod packings;
mod portrait;
mod prune;
mod scrub;
mod shelf;
#[cfg(test)]
mod tests;

pub use captures::{CaptureError, Captures};
use folder::Folder;
pub use import::Import;
pub use intake::Intake;
pub use prune::Freed;
pub use scrub::{Rest, Scrubbing};
use shelf::Shelf;

use crate::listen::stream::Piece;

/// Why an image is not taken, or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file operation failed.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No room.
    #[error(
        "the image needs {need} bytes; the controller's disk has {free} free, of which {reserve} are kept for the data \
         base: free some space (rackwright image prune; rackwright status says where), then try again"
    )]
    NoRoom {
        /// Bytes that the store does not have yet.
        need: u64,
        /// Bytes.
        free: u64,
        /// Bytes.
        reserve: u64,
    },
    /// Not an image file.
    #[error("this is not an image: {0}")]
    Header(#[from] pack::HeaderError),
    /// Not signed by a key this site trusts, or not what was signed.
    #[error("this image is refused: {0}")]
    Verify(#[from] pack::VerifyError),
    /// A chunk is not what the manifest says.
    #[error("chunk {window} of the image is damaged: {source}; fetch or build the image again")]
    Chunk {
        /// Which MiB of the disk.
        window: u32,
        /// What is wrong.
        source: pack::ChunkError,
    },
    /// The upload ended early.
    #[error("the image ended after {got} of {want} bytes: send it again")]
    Short {
        /// Bytes.
        got: u64,
        /// Bytes.
        want: u64,
    },
    /// A trusted key's file is not one.
    #[error("{} does not hold a public key (64 hexadecimal digits)", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The manifest names chunks that nobody brought.
    #[error("{missing} chunks of the image are neither in the store nor were they sent: send them again")]
    Incomplete {
        /// How many.
        missing: usize,
    },
    /// The list of images has it, the folder does not.
    #[error("the files of image {} are not in the store: import it again (rackwright image import FILE)", .0.short())]
    Absent(Digest),
    /// Chunks that were asked for are not what they were.
    #[error(
        "{chunks} chunks of image {image} are damaged in the store: import it again (rackwright image import FILE)"
    )]
    Damaged {
        /// Its name.
        image: String,
        /// How many of those that were asked for.
        chunks: usize,
    },
    /// The store can't tell what may go.
    #[error("{name} in the store can't be read, so nobody knows which chunks it needs: {why}")]
    Unread {
        /// A manifest.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ImageError {
    /// Whether the disk has not a byte left.
    fn is_full(&self) -> bool {
        let is_full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, ImageError::File { source, .. } if is_full(source.kind()))
    }
}

/// An image in the store.
#[derive(Debug)]
pub struct Stored {
    /// The signed manifest, as the agent verifies it again.
    pub signed: Signed,
    /// The manifest.
    pub manifest: Manifest,
    /// Whether its key is trusted here; it was when it came.
    trusted: bool,
}

/// The store. Everything but [`Images::pieces`], [`Images::stored`] and [`Images::has`] waits for the disk.
#[derive(Debug)]
pub struct Images {
    folder: Folder,
    trusted: Vec<PublicKey>,
    /// Signs the images that nodes take of their disks.
    key: SigningKey,
    shelf: Mutex<Shelf>,
    scrubbing: Mutex<scrub::Round>,
    /// Held by whoever moves chunks from pack to pack.
    moving: Mutex<()>,
}

impl Images {
    /// The store in this folder, trusting the keys in `keys` (`*.pub`, one hexadecimal key each) and its own. What an earlier life left
    /// half-done is removed; files of the old layout (`DIGEST.rwimage`) become packs.
    ///
    /// # Errors
    /// [`ImageError::File`], [`ImageError::Key`]. A damaged file in it is no error: its chunks are missing then.
    pub fn open(folder: &Path, keys: &Path, own: SigningKey) -> Result<Self, ImageError> {
        Self::open_in(Folder::new(folder), trusted(keys)?, own)
    }

    fn open_in(folder: Folder, mut trusted: Vec<PublicKey>, key: SigningKey) -> Result<Self, ImageError> {
        trusted.push(key.public());
        std::fs::create_dir_all(folder.path()).map_err(|source| folder.failed("making", "", source))?;
        let (shelf, past) = load::load(&folder, &trusted)?;
        let scrubbing = Mutex::new(scrub::Round::new(past));
        let (shelf, moving) = (Mutex::new(shelf), Mutex::default());
        let images = Self { folder, trusted, key, shelf, scrubbing, moving };
        images.sweep();
        Ok(images)
    }

    /// Begins to take an image in, of so many bytes in all.
    ///
    /// # Errors
    /// [`ImageError::NoRoom`] when there is none even if the store has much of it; [`ImageError::File`].
    pub fn import(&self, bytes: u64) -> Result<Import<'_>, ImageError> {
        Import::begin(self, bytes)
    }

    /// Begins to take in the chunks of an image whose manifest is not known yet.
    pub fn intake(&self) -> Intake<&Images> {
        Intake::begin(self)
    }

    /// Which chunks are in the store and whole as far as is known, by the digests of their stored bytes. They may be gone a
    /// moment later; [`Intake::lacks`] keeps them.
    pub fn has(&self, digests: &[Digest]) -> Vec<bool> {
        let shelf = self.shelf();
        digests.iter().map(|digest| shelf.place(digest).is_some()).collect()
    }

    /// An image.
    ///
    /// # Errors
    /// [`ImageError::Absent`]; [`ImageError::Verify`] when its key is not trusted any more.
    pub fn stored(&self, digest: &Digest) -> Result<Arc<Stored>, ImageError> {
        let stored = self.shelf().image(digest).ok_or(ImageError::Absent(*digest))?;
        if !stored.trusted {
            stored.signed.verify(&self.trusted)?;
        }
        Ok(stored)
    }

    /// Every image that is in the folder and signed by a trusted key, whoever else knows of it.
    pub fn all(&self) -> Vec<Image> {
        let shelf = self.shelf();
        let trusted = shelf.images().filter(|(_, stored)| stored.trusted);
        trusted.map(|(digest, stored)| describe(digest, &stored.manifest, stored.signed.key)).collect()
    }

    /// Where a stretch of an image's data area lies, in order. Neighbours in one file are one piece.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when a chunk in it is known to be damaged: that is never sent.
    pub fn pieces(&self, stored: &Stored, range: Range<u64>) -> Result<Vec<Piece>, ImageError> {
        let shelf = self.shelf();
        let (mut pieces, mut damaged) = (Vec::<Piece>::new(), 0);
        let chunks = stored.manifest.chunks();
        let first = chunks.partition_point(|chunk| chunk.offset + u64::from(chunk.stored) <= range.start);
        let chunks = chunks.iter().skip(first).take_while(|chunk| chunk.offset < range.end);
        for chunk in chunks {
            let Some(digest) = chunk.stored_digest else { continue };
            let Some((file, offset)) = shelf.place(&digest).and_then(|place| shelf.file(place)) else {
                damaged += 1;
                continue;
            };
            let skipped = range.start.saturating_sub(chunk.offset);
            let end = u64::from(chunk.stored).min(range.end - chunk.offset);
            let (offset, bytes) = (offset + skipped, end - skipped);
            match pieces.last_mut() {
                Some(last) if Arc::ptr_eq(&last.file, &file) && last.offset + last.bytes == offset => {
                    last.bytes += bytes;
                }
                Some(_) | None => pieces.push(Piece { file, offset, bytes }),
            }
        }
        match damaged {
            0 => Ok(pieces),
            chunks => Err(ImageError::Damaged { image: stored.manifest.name().to_owned(), chunks }),
        }
    }

    /// The windows of an image whose chunks are missing or known to be damaged; all of them when it is not there.
    pub fn damaged(&self, digest: &Digest) -> Damage {
        let shelf = self.shelf();
        shelf.image(digest).map_or(Damage::Absent, |stored| {
            let chunks = stored.manifest.chunks().iter();
            let bad = chunks.filter(|c| c.stored_digest.is_some_and(|digest| shelf.place(&digest).is_none()));
            Damage::Windows(bad.map(|chunk| chunk.window).collect())
        })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with an image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is nothing of it.
    Absent,
    /// Chunks of these windows are damaged or missing; of none when all is well.
    Windows(Vec<u32>),
}

impl Damage {
    /// How many chunks, in words; none when all is well.
    pub fn told(&self) -> Option<String> {
        match self {
            Damage::Absent => Some("its files are not in the store".to_owned()),
            Damage::Windows(windows) if windows.is_empty() => None,
            Damage::Windows(windows) => Some(format!("{} of its chunks are damaged", windows.len())),
        }
    }
}

/// What the fleet knows of an image.
fn describe(digest: Digest, manifest: &Manifest, signer: PublicKey) -> Image {
    Image {
        digest,
        name: manifest.name().to_owned(),
        roles: manifest.roles().iter().cloned().collect(),
        arch: manifest.arch().to_owned(),
        disk_bytes: manifest.disk_bytes(),
        content_bytes: manifest.used_bytes(),
        stored_bytes: manifest.data_bytes(),
        signer,
        imported: crate::writer::now(),
        layout: manifest.layout().clone(),
        root: Some(manifest.root()),
    }
}

pub(crate) fn trusted(folder: &Path) -> Result<Vec<PublicKey>, ImageError> {
    let mut keys = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(keys) };
    let mut paths = entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "pub")) {
        let text = std::fs::read_to_string(&path).map_err(|source| ImageError::File {
            what: "reading",
            path: path.clone(),
            source,
        })?;
        keys.push(text.trim().parse().map_err(|_| ImageError::Key { path })?);
    }
    Ok(keys)
}
