//! Chunks on their way in, and the image that they make: nothing is believed before it is checked, nothing is there before
//! it is whole. Only what nobody has is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fleet::image::Image;
use pack::{Chunk, ChunkError, Digest, Header, Signed};

use super::index::{self, CHUNKS_MAX, Record};
use super::shelf::{Place, chunks, manifest_name, pack_name};
use super::{ImageError, Images, Stored, describe};
use crate::space::{RESERVE, Room};

/// So many bytes of a growing pack are left to the kernel at most: what is at the end must not wait for all of it.
const WRITE_OUT: u64 = if cfg!(test) { 64 << 10 } else { 256 << 20 };

/// Chunks on their way in; dropped before [`Intake::seal`], it leaves nothing.
#[derive(Debug)]
pub struct Intake<I: Deref<Target = Images>> {
    images: I,
    pin: u64,
    /// The pack that is being written; none while the store has everything.
    part: Option<(String, File)>,
    at: u64,
    /// How much of it was written out.
    written_out: u64,
    records: Vec<Record>,
    /// Digests of stored bytes that were put, and of what they unpack to.
    brought: BTreeMap<Digest, Digest>,
}

impl<I: Deref<Target = Images>> Intake<I> {
    pub(super) fn begin(images: I) -> Self {
        let pin = images.shelf().pin();
        Self { images, pin, part: None, at: 0, written_out: 0, records: Vec::new(), brought: BTreeMap::new() }
    }

    /// Which of these chunks, named by the digests of their stored bytes, must be put. The others are in the store and stay
    /// there as long as this intake is.
    pub fn missing(&self, digests: &[Digest]) -> Vec<Digest> {
        let mut shelf = self.images.shelf();
        shelf.keep(self.pin, digests.iter().copied());
        let has = |digest: &Digest| shelf.place(digest).is_some() || self.brought.contains_key(digest);
        digests.iter().copied().filter(|digest| !has(digest)).collect()
    }

    /// Refuses chunks for which there is no room.
    ///
    /// # Errors
    /// [`ImageError::NoRoom`]; [`ImageError::File`] when the disk can't be looked at.
    pub fn reserve(&self, need: u64) -> Result<(), ImageError> {
        let folder = &self.images.folder;
        let room = Room::of(folder.path());
        let room = room.map_err(|source| folder.failed("measuring the space for", "", source))?;
        match need > room.free.saturating_sub(RESERVE) {
            true => Err(ImageError::NoRoom { need, free: room.free, reserve: RESERVE }),
            false => Ok(()),
        }
    }

    /// Takes a chunk's stored bytes, checked down to the bytes of the disk. One that the store has is compared with its
    /// copy: a copy that is damaged is replaced.
    ///
    /// # Errors
    /// [`ImageError::Chunk`]; [`ImageError::File`] when there is no room, for one.
    pub fn put(&mut self, chunk: &Chunk, stored: &[u8]) -> Result<(), ImageError> {
        check(chunk, stored).map_err(|source| ImageError::Chunk { window: chunk.window, source })?;
        let Some(digest) = chunk.stored_digest else { return Ok(()) };
        if self.brought.contains_key(&digest) {
            return Ok(());
        }
        if !self.images.has_copy(self.pin, digest, stored) {
            self.write(digest, stored)?;
        }
        self.brought.insert(digest, chunk.digest);
        Ok(())
    }

    fn write(&mut self, digest: Digest, stored: &[u8]) -> Result<(), ImageError> {
        let folder = &self.images.folder;
        if self.part.is_none() {
            self.part = Some(folder.part()?);
        }
        if let Some((name, file)) = &self.part {
            folder.append(name, file, stored)?;
        }
        let bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        self.records.push(Record { digest, offset: self.at, bytes });
        self.at = self.at.saturating_add(u64::from(bytes));
        if self.at.saturating_sub(self.written_out) >= WRITE_OUT {
            self.write_out()?;
        }
        if self.records.len() >= CHUNKS_MAX { self.close() } else { Ok(()) }
    }

    /// Has what was written go to the disk. When that fails, all of it is given up: a disk does not say a second time what it
    /// has lost.
    fn write_out(&mut self) -> Result<(), ImageError> {
        let Some((name, file)) = &self.part else { return Ok(()) };
        let folder = &self.images.folder;
        let done = folder.write_out(name, file);
        self.written_out = self.at;
        if done.is_err() {
            // Best effort: what is left is removed at the next start.
            drop(folder.remove(name));
            self.part = None;
            self.records.clear();
            self.brought.clear();
            (self.at, self.written_out) = (0, 0);
        }
        done
    }

    /// The chunks so far become a pack: durable, and on the shelf.
    fn close(&mut self) -> Result<(), ImageError> {
        let Some((name, file)) = self.part.take() else { return Ok(()) };
        let records = std::mem::take(&mut self.records);
        (self.at, self.written_out) = (0, 0);
        let done = self.images.add_pack(&name, file, &records);
        if done.is_err() {
            // Best effort: what is left is removed at the next start.
            drop(self.images.folder.remove(&name));
        }
        done
    }

    /// The image is whole: durable, then visible under its digest.
    ///
    /// # Errors
    /// [`ImageError`]: an untrusted key, a chunk that nobody has, a disk that does not take it; then nothing is left of it.
    pub fn seal(mut self, signed: Signed) -> Result<Image, ImageError> {
        let (digest, manifest) = signed.verify(&self.images.trusted)?;
        let wanted = chunks(&manifest).collect::<Vec<_>>();
        let missing = self.missing(&wanted).len();
        if missing > 0 {
            return Err(ImageError::Incomplete { missing });
        }
        let lies = |chunk: &&Chunk| {
            let put = chunk.stored_digest.and_then(|stored| self.brought.get(&stored));
            put.is_some_and(|content| *content != chunk.digest)
        };
        if let Some(chunk) = manifest.chunks().iter().find(lies) {
            let (window, source) = (chunk.window, ChunkError::RawDigest { window: chunk.window });
            return Err(ImageError::Chunk { window, source });
        }
        self.close()?;
        let image = describe(digest, &manifest, signed.key);
        if self.images.shelf().image(&digest).is_none() {
            let head = Header { signed: signed.clone() }.encode();
            self.images.folder.replace(&manifest_name(&digest), &head)?;
        }
        let stored = Arc::new(Stored { signed, manifest, trusted: true });
        self.images.shelf().put_image(digest, stored);
        // One that was too damaged to be taken over at the start.
        drop(self.images.folder.remove(&format!("{digest}.rwimage")));
        self.images.healed();
        Ok(image)
    }
}

impl<I: Deref<Target = Images>> Drop for Intake<I> {
    fn drop(&mut self) {
        self.images.shelf().unpin(self.pin);
        if let Some((name, _)) = self.part.take() {
            // Best effort: what is left is removed at the next start.
            drop(self.images.folder.remove(&name));
        }
        self.images.sweep();
    }
}

impl Images {
    /// Whether the store has these stored bytes and has them right. A copy that is not right is noted.
    fn has_copy(&self, pin: u64, digest: Digest, stored: &[u8]) -> bool {
        let (place, file) = {
            let mut shelf = self.shelf();
            shelf.keep(pin, [digest]);
            let place = shelf.any_place(&digest);
            (place, place.and_then(|place| shelf.file(place)))
        };
        let Some((place, (file, offset))) = place.zip(file) else { return false };
        let mut copy = vec![0; stored.len()];
        let whole = file.read_exact_at(&mut copy, offset).is_ok() && copy == stored;
        self.shelf().note(digest, place, whole);
        whole
    }

    /// Makes a pack of a part that has these chunks.
    fn add_pack(&self, part: &str, file: File, records: &[Record]) -> Result<(), ImageError> {
        // Another intake may have brought the same meanwhile.
        let is_news = {
            let shelf = self.shelf();
            records.iter().any(|record| shelf.place(&record.digest).is_none())
        };
        if is_news { self.install(part, file, records) } else { self.folder.remove(part) }
    }

    /// Index, sync, name, sync: the pack is durable before anybody is told of it.
    pub(super) fn install(&self, part: &str, file: File, records: &[Record]) -> Result<(), ImageError> {
        self.folder.append(part, &file, &index::encode(records))?;
        self.folder.sync_file(part, &file)?;
        let number = self.shelf().take_number();
        self.folder.rename(part, &pack_name(number))?;
        self.folder.sync()?;
        self.shelf().put_pack(number, file, records);
        Ok(())
    }

    /// Stored bytes at a place.
    pub(super) fn read_place(&self, place: Place) -> Option<Vec<u8>> {
        let (file, offset) = self.shelf().file(place)?;
        let mut bytes = vec![0; usize::try_from(place.bytes).ok()?];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

/// Whether stored bytes are what the manifest says, down to the bytes of the disk.
fn check(chunk: &Chunk, stored: &[u8]) -> Result<(), ChunkError> {
    let mut raw = vec![0; usize::try_from(chunk.bytes).unwrap_or_default()];
    chunk.unpack(stored, &mut raw)
}
