//! What is in the store, in memory: which images, which packs, and where each chunk lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use pack::index::Record;
use pack::{Chunk, Digest, Manifest};

use super::Stored;
use super::packings::Packings;

/// Where a chunk's stored bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The pack's number.
    pub(super) pack: u64,
    /// In bytes from the start of its file.
    pub(super) offset: u64,
    /// How many.
    pub(super) bytes: u32,
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    packs: BTreeMap<u64, Pack>,
    /// Of every chunk that an image or an intake needs; others are as good as gone.
    places: BTreeMap<Digest, Place>,
    images: BTreeMap<Digest, Arc<Stored>>,
    /// How the images' data is packed: of every chunk of an image it was seen.
    packings: Packings,
    /// Chunks that an intake counts on, by its number.
    pins: BTreeMap<u64, BTreeSet<Digest>>,
    /// Chunks whose copy is not what it was.
    bad: BTreeSet<Digest>,
    /// Manifests that can't be read: nobody knows which chunks they need.
    pub(super) unread: BTreeMap<String, String>,
    /// Packs whose index can't be read.
    pub(super) broken: BTreeSet<String>,
    next_pack: u64,
    next_pin: u64,
}

#[derive(Debug)]
struct Pack {
    file: Arc<File>,
    /// Stored bytes in it, needed or not.
    bytes: u64,
}

/// The name of a pack.
pub(super) fn pack_name(number: u64) -> String {
    format!("{number:016x}.pack")
}

/// The name of a manifest.
pub(super) fn manifest_name(digest: &Digest) -> String {
    format!("{digest}.manifest")
}

/// The digests of an image's chunks.
pub(super) fn chunks(manifest: &Manifest) -> impl Iterator<Item = Digest> + '_ {
    manifest.chunks().iter().filter_map(|chunk| chunk.stored_digest)
}

impl Shelf {
    /// Where a chunk lies that is whole as far as is known.
    pub(super) fn place(&self, digest: &Digest) -> Option<Place> {
        self.places.get(digest).copied().filter(|_| !self.bad.contains(digest))
    }

    /// Where a chunk lies, whole or not.
    pub(super) fn any_place(&self, digest: &Digest) -> Option<Place> {
        self.places.get(digest).copied()
    }

    /// Whether a chunk's stored bytes are here, whole as far as is known, and hold what it says.
    pub(super) fn holds(&self, chunk: &Chunk) -> bool {
        chunk.stored_digest.is_none_or(|digest| self.place(&digest).is_some()) && self.packings.has(chunk)
    }

    /// The chunk, as it is or in another packing, if its data is here.
    pub(super) fn kept(&self, chunk: &Chunk) -> Option<Chunk> {
        if self.holds(chunk) {
            return Some(chunk.clone());
        }
        self.packings.of(chunk).find(|kept| kept.stored_digest.is_some_and(|d| self.place(&d).is_some()))
    }

    /// The open file of a place, and where in it.
    pub(super) fn file(&self, place: Place) -> Option<(Arc<File>, u64)> {
        self.packs.get(&place.pack).map(|pack| (Arc::clone(&pack.file), place.offset))
    }

    pub(super) fn image(&self, digest: &Digest) -> Option<Arc<Stored>> {
        self.images.get(digest).cloned()
    }

    pub(super) fn images(&self) -> impl Iterator<Item = (Digest, &Arc<Stored>)> {
        self.images.iter().map(|(digest, stored)| (*digest, stored))
    }

    pub(super) fn put_image(&mut self, digest: Digest, stored: Arc<Stored>) {
        self.unread.remove(&manifest_name(&digest));
        stored.manifest.chunks().iter().for_each(|chunk| self.packings.add(chunk));
        self.images.insert(digest, stored);
    }

    pub(super) fn drop_image(&mut self, digest: &Digest) {
        self.images.remove(digest);
        self.unread.remove(&manifest_name(digest));
    }

    /// The number of the next pack.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next_pack;
        self.next_pack += 1;
        number
    }

    /// That this number is taken.
    pub(super) fn know_number(&mut self, number: u64) {
        self.next_pack = self.next_pack.max(number.saturating_add(1));
    }

    /// A pack that is in the folder; of two copies of a chunk this one counts.
    pub(super) fn put_pack(&mut self, number: u64, file: File, records: &[Record]) {
        self.know_number(number);
        let bytes = records.iter().map(|record| u64::from(record.bytes)).sum();
        self.packs.insert(number, Pack { file: Arc::new(file), bytes });
        for Record { digest, offset, bytes } in records {
            self.places.insert(*digest, Place { pack: number, offset: *offset, bytes: *bytes });
            self.bad.remove(digest);
        }
    }

    /// A pack whose file is gone.
    pub(super) fn drop_pack(&mut self, number: u64) {
        self.packs.remove(&number);
    }

    /// Stored bytes of each pack: all, and those that are needed.
    pub(super) fn packs(&self) -> BTreeMap<u64, (u64, u64)> {
        let mut packs =
            self.packs.iter().map(|(number, pack)| (*number, (pack.bytes, 0))).collect::<BTreeMap<_, _>>();
        for place in self.places.values() {
            if let Some((_, live)) = packs.get_mut(&place.pack) {
                *live += u64::from(place.bytes);
            }
        }
        packs
    }

    /// The chunks that lie in a pack, in its order.
    pub(super) fn in_pack(&self, number: u64) -> Vec<(Digest, Place)> {
        let inside = self.places.iter().filter(|(_, place)| place.pack == number);
        let mut inside = inside.map(|(digest, place)| (*digest, *place)).collect::<Vec<_>>();
        inside.sort_by_key(|(_, place)| place.offset);
        inside
    }

    /// Stored bytes of all packs, needed or not.
    pub(super) fn bytes(&self) -> u64 {
        self.packs.values().map(|pack| pack.bytes).sum()
    }

    /// Forgets chunks that nobody needs. Whoever wants them later brings them again, so their packs may go. Nothing is
    /// forgotten while there are manifests that can't be read.
    pub(super) fn forget_unneeded(&mut self) {
        if !self.unread.is_empty() {
            return;
        }
        let mut needed = self.pins.values().flatten().copied().collect::<BTreeSet<_>>();
        needed.extend(self.images.values().flat_map(|stored| chunks(&stored.manifest)));
        self.places.retain(|digest, _| needed.contains(digest));
        self.bad.retain(|digest| needed.contains(digest));
        self.packings.keep(&needed);
    }

    /// A chunk has no copy any more, or one that can't be read.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.places.remove(digest);
        self.bad.remove(digest);
    }

    /// Notes whether a copy was found whole; not, when the chunk lies elsewhere by now.
    pub(super) fn note(&mut self, digest: Digest, place: Place, whole: bool) -> bool {
        if self.places.get(&digest) != Some(&place) {
            return false;
        }
        if whole { self.bad.remove(&digest) } else { self.bad.insert(digest) }
    }

    /// The chunks whose copy is damaged, and where that lies.
    pub(super) fn bad(&self) -> Vec<(Digest, Place)> {
        self.bad.iter().filter_map(|digest| Some((*digest, *self.places.get(digest)?))).collect()
    }

    /// A new holder of chunks.
    pub(super) fn pin(&mut self) -> u64 {
        self.next_pin += 1;
        self.pins.insert(self.next_pin, BTreeSet::new());
        self.next_pin
    }

    /// These chunks stay as long as the holder is there.
    pub(super) fn keep(&mut self, pin: u64, digests: impl IntoIterator<Item = Digest>) {
        self.pins.entry(pin).or_default().extend(digests);
    }

    /// The holder is gone.
    pub(super) fn unpin(&mut self, pin: u64) {
        self.pins.remove(&pin);
    }
}
