//! Taking an image in as it streams: nothing is believed before it is checked, nothing is there before it is whole.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet::image::Image;
use pack::{Chunk, ChunkError, Digest, Header, Manifest, Parsed};

use super::{ImageError, Images, describe};
use crate::space::{RESERVE, Room};

/// An image on its way in; dropped before [`Import::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Import<'a> {
    images: &'a Images,
    path: PathBuf,
    file: File,
    want: u64,
    got: u64,
    pending: Vec<u8>,
    head: Option<Head>,
    next: usize,
    finished: bool,
}

#[derive(Debug)]
struct Head {
    digest: Digest,
    manifest: Manifest,
    header: Header,
}

/// Two uploads at once must not share a file.
static UPLOADS: AtomicU64 = AtomicU64::new(0);

impl<'a> Import<'a> {
    pub(super) fn begin(images: &'a Images, want: u64) -> Result<Self, ImageError> {
        let path = images.folder.join(format!("{}.part", UPLOADS.fetch_add(1, Ordering::Relaxed)));
        let failed = |what| {
            let path = path.clone();
            move |source| ImageError::File { what, path, source }
        };
        let room = Room::of(&images.folder).map_err(failed("measuring the space for"))?;
        if want > room.free.saturating_sub(RESERVE) {
            return Err(ImageError::NoRoom { need: want, free: room.free, reserve: RESERVE });
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(failed("making"))?;
        let (pending, head) = (Vec::new(), None);
        Ok(Self { images, path, file, want, got: 0, pending, head, next: 0, finished: false })
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`ImageError`] as soon as they show that the image is not to be taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.got = self.got.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.pending.extend_from_slice(bytes);
        if self.head.is_none() {
            self.take_head()?;
        }
        self.take_chunks()
    }

    fn take_head(&mut self) -> Result<(), ImageError> {
        let header = match Header::parse(&self.pending)? {
            Parsed::Needs(_) => return Ok(()),
            Parsed::Whole(header) => header,
        };
        let (digest, manifest) = header.signed.verify(&self.images.trusted)?;
        header.check_file_bytes(&manifest, self.want)?;
        let begin = usize::try_from(header.data_begin()).unwrap_or(usize::MAX).min(self.pending.len());
        self.write(begin)?;
        self.head = Some(Head { digest, manifest, header });
        Ok(())
    }

    fn take_chunks(&mut self) -> Result<(), ImageError> {
        while let Some(chunk) = self.head.as_ref().and_then(|head| head.manifest.chunks().get(self.next)) {
            let Some(stored) = usize::try_from(chunk.stored).ok().and_then(|bytes| self.pending.get(..bytes))
            else {
                break;
            };
            let bytes = stored.len();
            check(chunk, stored).map_err(|source| ImageError::Chunk { window: chunk.window, source })?;
            self.write(bytes)?;
            self.next += 1;
        }
        Ok(())
    }

    fn write(&mut self, bytes: usize) -> Result<(), ImageError> {
        let out = self.pending.get(..bytes).unwrap_or_default();
        let failed = |source| ImageError::File { what: "writing", path: self.path.clone(), source };
        self.file.write_all(out).map_err(failed)?;
        self.pending.drain(..bytes);
        Ok(())
    }

    /// The image is whole: durable, then visible under its digest.
    ///
    /// # Errors
    /// [`ImageError`]; then nothing is left of it.
    pub fn finish(mut self) -> Result<Image, ImageError> {
        let short = ImageError::Short { got: self.got, want: self.want };
        let Some(head) = self.head.take().filter(|head| self.next == head.manifest.chunks().len()) else {
            return Err(short);
        };
        let failed = |what| {
            let path = self.path.clone();
            move |source| ImageError::File { what, path, source }
        };
        self.file.sync_all().map_err(failed("syncing"))?;
        std::fs::rename(&self.path, self.images.path(&head.digest)).map_err(failed("naming"))?;
        self.finished = true;
        // Whoever asks from now on reads this file: the one before it under the same name may have been damaged.
        self.images.forget(&head.digest);
        let folder = File::open(&self.images.folder).and_then(|folder| folder.sync_all());
        folder.map_err(failed("syncing the folder of"))?;
        Ok(describe(head.digest, &head.manifest, head.header.signed.key))
    }
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what is left is removed at the next start.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Whether stored bytes are what the manifest says, down to the bytes of the disk.
pub(super) fn check(chunk: &Chunk, stored: &[u8]) -> Result<(), ChunkError> {
    let mut raw = vec![0; usize::try_from(chunk.bytes).unwrap_or_default()];
    chunk.unpack(stored, &mut raw)
}
