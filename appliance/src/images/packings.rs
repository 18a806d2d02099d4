//! Which stored bytes hold which data. Only what was seen here is in it: somebody brought the bytes, and they were unpacked and
//! hashed. What a node says of bytes that it does not send is no more than a claim.

use std::collections::{BTreeMap, BTreeSet};

use pack::{Chunk, Codec, Digest};

/// By the digests of the data and of the stored bytes.
#[derive(Debug, Default)]
pub(super) struct Packings(BTreeMap<(Digest, Digest), Packing>);

/// How the data becomes the stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packing {
    codec: Codec,
    /// Stored bytes.
    stored: u32,
    /// Bytes of data.
    data: u32,
}

impl Packing {
    fn of(chunk: &Chunk) -> Self {
        Self { codec: chunk.codec, stored: chunk.stored, data: chunk.map.data_bytes(chunk.bytes) }
    }
}

impl Packings {
    /// This is so. A chunk of which nothing is stored says nothing.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        if let Some(stored) = chunk.stored_digest {
            self.0.insert((chunk.digest, stored), Packing::of(chunk));
        }
    }

    /// Whether it is known that the stored bytes of this chunk hold its data, and that it says rightly how.
    pub(super) fn has(&self, chunk: &Chunk) -> bool {
        let Some(stored) = chunk.stored_digest else { return true };
        self.0.get(&(chunk.digest, stored)) == Some(&Packing::of(chunk))
    }

    /// The chunk with its data in each of the packings that are known.
    pub(super) fn of(&self, chunk: &Chunk) -> impl Iterator<Item = Chunk> {
        let data = chunk.map.data_bytes(chunk.bytes);
        let all = (chunk.digest, Digest([0; 32]))..=(chunk.digest, Digest([0xff; 32]));
        let fit = self.0.range(all).filter(move |(_, packing)| packing.data == data);
        fit.map(|((_, digest), packing)| Chunk {
            codec: packing.codec,
            stored: packing.stored,
            stored_digest: Some(*digest),
            ..chunk.clone()
        })
    }

    /// Forgets what holds for stored bytes that nobody needs.
    pub(super) fn keep(&mut self, needed: &BTreeSet<Digest>) {
        self.0.retain(|(_, stored), _| needed.contains(stored));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
