//! The image store: files named by digest, verified before they are there, read by range.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fleet::image::Image;
use pack::{Digest, Header, Manifest, Parsed, PublicKey, Signed};

mod import;
#[cfg(test)]
mod tests;

pub use import::Import;

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
         base: free some space (rackwright status says where), then import it again"
    )]
    NoRoom {
        /// Bytes.
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
}

/// An image that is open for reading.
#[derive(Debug)]
pub struct Stored {
    /// The file.
    pub file: Arc<File>,
    /// Where the data area begins.
    pub data_begin: u64,
    /// The signed manifest, as the agent verifies it again.
    pub signed: Signed,
    /// The manifest.
    pub manifest: Manifest,
}

/// The store.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    trusted: Vec<PublicKey>,
    open: Mutex<BTreeMap<Digest, Arc<Stored>>>,
}

impl Images {
    /// The store in this folder, trusting the keys in `keys` (`*.pub`, one hexadecimal key each). Half-received images
    /// of an earlier life are removed.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(folder: &Path, keys: &Path) -> Result<Self, ImageError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| ImageError::File { what, path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed("making", folder))?;
        for entry in std::fs::read_dir(folder).map_err(failed("listing", folder))?.flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "part") {
                std::fs::remove_file(entry.path()).map_err(failed("removing", &entry.path()))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), trusted: trusted(keys)?, open: Mutex::default() })
    }

    /// Begins to take an image in, of so many bytes in all.
    ///
    /// # Errors
    /// [`ImageError::NoRoom`] before a byte is written; [`ImageError::File`].
    pub fn import(&self, bytes: u64) -> Result<Import<'_>, ImageError> {
        Import::begin(self, bytes)
    }

    /// Opens an image; opened ones are kept.
    ///
    /// # Errors
    /// [`ImageError`], also when the file is not what was imported.
    pub fn stored(&self, digest: &Digest) -> Result<Arc<Stored>, ImageError> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(stored) = open.get(digest) {
            return Ok(Arc::clone(stored));
        }
        let stored = Arc::new(self.read(&self.path(digest))?);
        open.insert(*digest, Arc::clone(&stored));
        Ok(stored)
    }

    /// Closes an image for those who come later; who reads it now goes on with the file that it has open.
    fn forget(&self, digest: &Digest) {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(digest);
    }

    /// Reads every chunk of an image and compares it with the manifest: the windows that are damaged.
    ///
    /// # Errors
    /// [`ImageError`] when the file can't be read at all.
    pub fn scrub(&self, digest: &Digest) -> Result<Vec<u32>, ImageError> {
        let path = self.path(digest);
        let stored = self.read(&path)?;
        let mut bad = Vec::new();
        for chunk in stored.manifest.chunks() {
            let mut bytes = vec![0; usize::try_from(chunk.stored).unwrap_or_default()];
            let at = stored.data_begin.saturating_add(chunk.offset);
            let read = stored.file.read_exact_at(&mut bytes, at);
            if read.is_err() || import::check(chunk, &bytes).is_err() {
                bad.push(chunk.window);
            }
        }
        Ok(bad)
    }

    /// Removes an image that was taken in and then could not be recorded.
    ///
    /// # Errors
    /// [`ImageError::File`].
    pub fn discard(&self, digest: &Digest) -> Result<(), ImageError> {
        self.forget(digest);
        let path = self.path(digest);
        match std::fs::remove_file(&path) {
            // Somebody else's import of the same image was refused too.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|source| ImageError::File { what: "removing", path, source }),
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.rwimage"))
    }

    fn read(&self, path: &Path) -> Result<Stored, ImageError> {
        let failed = |what| move |source| ImageError::File { what, path: path.to_owned(), source };
        let file = File::open(path).map_err(failed("opening"))?;
        let mut head = Vec::new();
        let header = loop {
            match Header::parse(&head)? {
                Parsed::Whole(header) => break header,
                Parsed::Needs(bytes) => {
                    head.resize(bytes, 0);
                    file.read_exact_at(&mut head, 0).map_err(failed("reading"))?;
                }
            }
        };
        let (_, manifest) = header.signed.verify(&self.trusted)?;
        let bytes = file.metadata().map_err(failed("reading the length of"))?.len();
        header.check_file_bytes(&manifest, bytes)?;
        Ok(Stored { file: Arc::new(file), data_begin: header.data_begin(), signed: header.signed, manifest })
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

fn trusted(folder: &Path) -> Result<Vec<PublicKey>, ImageError> {
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
