//! Taking images out of the store, and making room of what only they needed.

use std::collections::BTreeSet;

use pack::Digest;
use pack::index::Record;

use super::shelf::{chunks, manifest_name, pack_name};
use super::{Damage, ImageError, Images};

/// What was made of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes of packs that are free now.
    pub bytes: u64,
    /// Packs of which the rest was moved into another.
    pub rewritten: usize,
}

impl Images {
    /// Removes an image, and packs that nobody else needs. That it is not there is as good.
    ///
    /// # Errors
    /// [`ImageError::File`]; then the image is still there.
    pub fn remove(&self, digest: &Digest) -> Result<Freed, ImageError> {
        let before = self.shelf().bytes();
        self.folder.remove(&manifest_name(digest))?;
        self.folder.remove(&format!("{digest}.rwimage"))?;
        self.folder.sync()?;
        self.shelf().drop_image(digest);
        self.forget_past(digest);
        self.sweep();
        Ok(Freed { bytes: before.saturating_sub(self.shelf().bytes()), rewritten: 0 })
    }

    /// Packs of which less than half is needed are replaced by what is needed of them. Every chunk is checked on the way; one
    /// that is damaged is missing from then on.
    ///
    /// # Errors
    /// [`ImageError::Unread`]; [`ImageError::File`]. What was done before stays done; no image loses a chunk.
    pub fn compact(&self) -> Result<Freed, ImageError> {
        let _moving = self.moving.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.shelf().bytes();
        if let Some((name, why)) = self.shelf().unread.first_key_value() {
            return Err(ImageError::Unread { name: name.clone(), why: why.clone() });
        }
        self.sweep();
        let loose = self.shelf().packs().into_iter().filter(|(_, (all, live))| live.saturating_mul(2) < *all);
        let mut rewritten = 0;
        for (number, (_, live)) in loose {
            match self.intake().reserve(live) {
                // Without room for both, it stays as it is.
                Err(ImageError::NoRoom { .. }) => continue,
                done => done?,
            }
            self.rewrite(number)?;
            self.sweep();
            rewritten += 1;
        }
        self.drop_broken()?;
        Ok(Freed { bytes: before.saturating_sub(self.shelf().bytes()), rewritten })
    }

    fn rewrite(&self, number: u64) -> Result<(), ImageError> {
        let (part, file) = self.folder.part()?;
        let copied = self.copy(number, &part, &file);
        let done = copied.and_then(|(records, end)| match records.is_empty() {
            true => self.folder.remove(&part),
            false => self.install(&part, file, end, &records),
        });
        if done.is_err() {
            // Best effort: what is left is removed at the next start.
            drop(self.folder.remove(&part));
        }
        done
    }

    /// What was copied, and where it ends.
    fn copy(&self, number: u64, part: &str, file: &std::fs::File) -> Result<(Vec<Record>, u64), ImageError> {
        let inside = self.shelf().in_pack(number);
        let (mut records, mut offset) = (Vec::new(), 0);
        for (digest, place) in inside {
            match self.read_place(place).filter(|bytes| Digest::of(bytes) == digest) {
                Some(bytes) => {
                    self.folder.write(part, file, offset, &bytes)?;
                    records.push(Record { digest, offset, bytes: place.bytes });
                    offset += u64::from(place.bytes);
                }
                None => self.shelf().forget(&digest),
            }
        }
        Ok((records, offset))
    }

    /// Packs whose index can't be read are of no use when nobody misses a chunk.
    fn drop_broken(&self) -> Result<(), ImageError> {
        let images = self.shelf().images().map(|(digest, _)| digest).collect::<Vec<_>>();
        let is_whole = |digest: &Digest| self.damaged(digest) == Damage::Windows(Vec::new());
        let broken = self.shelf().broken.clone();
        if broken.is_empty() || !images.iter().all(is_whole) {
            return Ok(());
        }
        for name in &broken {
            self.folder.remove(name)?;
        }
        self.shelf().broken.clear();
        self.folder.sync()
    }

    /// Removes packs of which nothing is needed. Best effort: what is left is found again.
    pub(super) fn sweep(&self) {
        let dead = {
            let mut shelf = self.shelf();
            shelf.forget_unneeded();
            shelf.packs().into_iter().filter(|(_, (_, live))| *live == 0).map(|(number, _)| number)
        };
        let mut removed = false;
        for number in dead {
            match self.folder.remove(&pack_name(number)) {
                Ok(()) => {
                    self.shelf().drop_pack(number);
                    removed = true;
                }
                Err(error) => {
                    tracing::warn!(why = crate::chain(&error), "a pack that nobody needs is still there")
                }
            }
        }
        if removed && let Err(error) = self.folder.sync() {
            tracing::warn!(why = crate::chain(&error), "a pack that nobody needs may come back");
        }
    }

    /// Removes images that are in nobody's list and can't be read: an import that never ended, on a disk that lost some of
    /// it.
    pub fn remove_unread(&self, known: &BTreeSet<Digest>) {
        let unread = self.shelf().unread.keys().cloned().collect::<Vec<_>>();
        for name in unread {
            let digest = name.strip_suffix(".manifest").and_then(|stem| stem.parse::<Digest>().ok());
            let Some(digest) = digest.filter(|digest| !known.contains(digest)) else { continue };
            if let Err(error) = self.remove(&digest) {
                tracing::warn!(
                    why = crate::chain(&error),
                    "a damaged image that is in no list is still there"
                );
            }
        }
    }

    /// Stored bytes that would be free without these images: theirs alone, each chunk once.
    pub fn bytes_of(&self, images: &BTreeSet<Digest>) -> u64 {
        let shelf = self.shelf();
        let of = |inside: bool| {
            let some = shelf.images().filter(move |(digest, _)| images.contains(digest) == inside);
            some.flat_map(|(_, stored)| chunks(&stored.manifest)).collect::<BTreeSet<_>>()
        };
        let others = of(false);
        let alone = of(true).into_iter().filter(|digest| !others.contains(digest));
        alone.filter_map(|digest| shelf.any_place(&digest)).map(|place| u64::from(place.bytes)).sum()
    }

    /// Stored bytes of all images together, each chunk once, and bytes that the packs take.
    pub fn sizes(&self) -> (u64, u64) {
        let shelf = self.shelf();
        let live = shelf.packs().values().map(|(_, live)| live).sum();
        (live, shelf.bytes())
    }
}
