//! Chunks on their way in, and the image that they make: nothing is believed before it is checked, nothing is there before
//! it is whole. Only what nobody has is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fleet::image::Image;
use pack::index::{self, CHUNKS_MAX, Record};
use pack::{Chunk, ChunkError, Digest, Header, Signed};

use super::packings::Packings;
use super::shelf::{Place, manifest_name, pack_name};
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
    /// Digests of stored bytes that were put: they are in the part, or in the store and stay there.
    brought: BTreeSet<Digest>,
    /// What they were seen to hold.
    seen: Packings,
}

impl<I: Deref<Target = Images>> Intake<I> {
    pub(super) fn begin(images: I) -> Self {
        let pin = images.shelf().pin();
        let (brought, seen) = (BTreeSet::new(), Packings::default());
        Self { images, pin, part: None, at: 0, written_out: 0, records: Vec::new(), brought, seen }
    }

    /// Whether the stored bytes of this chunk must be put: nobody has them, or they were never seen to hold what it says. Else
    /// they are in the store, and stay there as long as this intake is.
    pub fn lacks(&self, chunk: &Chunk) -> bool {
        if self.seen.has(chunk) {
            return false;
        }
        let mut shelf = self.images.shelf();
        let holds = shelf.holds(chunk);
        if holds {
            shelf.keep(self.pin, chunk.stored_digest);
        }
        !holds
    }

    /// The chunk as somebody has it already: as it is, or its data in another packing. None when its stored bytes must be put.
    pub fn kept(&self, chunk: &Chunk) -> Option<Chunk> {
        if self.seen.has(chunk) {
            return Some(chunk.clone());
        }
        let mut shelf = self.images.shelf();
        let kept = shelf.kept(chunk)?;
        shelf.keep(self.pin, kept.stored_digest);
        Some(kept)
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
    /// [`ImageError::Chunk`]; [`ImageError::NoRoom`]; [`ImageError::File`].
    pub fn put(&mut self, chunk: &Chunk, stored: &[u8]) -> Result<(), ImageError> {
        check(chunk, stored).map_err(|source| ImageError::Chunk { window: chunk.window, source })?;
        let Some(digest) = chunk.stored_digest else { return Ok(()) };
        if !self.brought.contains(&digest) {
            if !self.images.has_copy(self.pin, digest, stored) {
                self.write(digest, stored)?;
            }
            self.brought.insert(digest);
        }
        self.seen.add(chunk);
        Ok(())
    }

    /// There was room when the chunk was told; others may have taken it since.
    fn write(&mut self, digest: Digest, stored: &[u8]) -> Result<(), ImageError> {
        self.reserve(u64::try_from(stored.len()).unwrap_or(u64::MAX))?;
        let folder = &self.images.folder;
        if self.part.is_none() {
            self.part = Some(folder.part()?);
        }
        if let Some((name, file)) = &self.part {
            folder.write(name, file, self.at, stored)?;
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
            self.seen.clear();
            (self.at, self.written_out) = (0, 0);
        }
        done
    }

    /// The chunks so far become a pack: durable, and on the shelf.
    fn close(&mut self) -> Result<(), ImageError> {
        let Some((name, file)) = self.part.take() else { return Ok(()) };
        let records = std::mem::take(&mut self.records);
        let end = std::mem::take(&mut self.at);
        self.written_out = 0;
        let done = self.images.add_pack(&name, file, end, &records);
        if done.is_err() {
            // Best effort: what is left is removed at the next start.
            drop(self.images.folder.remove(&name));
            self.brought.clear();
            self.seen.clear();
        }
        done
    }

    /// The image is whole: durable, then visible under its digest.
    ///
    /// # Errors
    /// [`ImageError`]: an untrusted key, a chunk that nobody has, a disk that does not take it; then nothing is left of it.
    pub fn seal(mut self, signed: Signed) -> Result<Image, ImageError> {
        let (digest, manifest) = signed.verify(&self.images.trusted)?;
        let missing = manifest.chunks().iter().filter(|chunk| self.lacks(chunk)).count();
        if missing > 0 {
            return Err(ImageError::Incomplete { missing });
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
    fn add_pack(&self, part: &str, file: File, end: u64, records: &[Record]) -> Result<(), ImageError> {
        // Another intake may have brought the same meanwhile.
        let is_news = {
            let shelf = self.shelf();
            records.iter().any(|record| shelf.place(&record.digest).is_none())
        };
        if is_news { self.install(part, file, end, records) } else { self.folder.remove(part) }
    }

    /// Index behind the data, which ends at `end`, sync, name, sync: the pack is durable before anybody is told of it.
    pub(super) fn install(
        &self,
        part: &str,
        file: File,
        end: u64,
        records: &[Record],
    ) -> Result<(), ImageError> {
        self.folder.cut(part, &file, end)?;
        self.folder.write(part, &file, end, &index::encode(records))?;
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
