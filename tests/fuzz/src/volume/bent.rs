//! A base with other bytes in places, as a source that counts what is read of it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pack::Source;

use super::base::Base;
use crate::input::{Input, block};

/// Reads of one look at a volume: about one for each of the smallest clusters of the largest base.
const READS_MAX: u64 = 1 << 18;
/// Bytes of one read: no reader takes more than a description of LVM at a time.
const READ_MAX: usize = 4 << 20;
const PATCHES_MAX: usize = 32;

/// Makes the checksums right again.
const SEALED: u8 = 1;
/// Has another length.
const CUT: u8 = 2;

/// The bytes of one input.
pub(crate) struct Bent<'a> {
    pub(crate) base: &'a Base,
    pub(crate) bytes: u64,
    changed: BTreeMap<u64, u8>,
    reads: AtomicU64,
    read_bytes: AtomicU64,
}

impl<'a> Bent<'a> {
    /// An input: which base, flags, its length when that is another, then places and bytes for them. Places with the highest
    /// bit are counted from the end.
    pub(crate) fn new(bases: &'a [Base], data: &[u8]) -> Option<Bent<'a>> {
        let mut input = Input::new(data);
        let (choice, flags) = (usize::from(input.byte()), input.byte());
        let base = bases.get(choice.checked_rem(bases.len())?)?;
        let bytes = if flags & CUT == 0 { base.bytes } else { input.u64() % (base.bytes * 2) };
        let (changed, reads, read_bytes) = Default::default();
        let mut bent = Bent { base, bytes, changed, reads, read_bytes };
        for _ in 0..PATCHES_MAX {
            if input.is_empty() {
                break;
            }
            let place = input.u32();
            let at = u64::from(place & !(1 << 31));
            let at = if place >> 31 == 0 { at } else { bytes.saturating_sub(at) };
            bent.put(at, input.block());
        }
        if flags & SEALED != 0 {
            (base.seal)(&mut bent);
        }
        Some(bent)
    }

    /// Whether anything in this range was changed.
    pub(crate) fn is_changed(&self, range: Range<u64>) -> bool {
        self.changed.range(range).next().is_some()
    }

    /// What is there now.
    pub(crate) fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.base.read(offset, &mut out);
        for (at, byte) in self.changed.range(offset..offset.saturating_add(length as u64)) {
            let at = usize::try_from(at - offset).unwrap_or(usize::MAX);
            if let Some(to) = out.get_mut(at) {
                *to = *byte;
            }
        }
        out
    }

    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let places = (0..).zip(bytes).filter_map(|(n, byte)| Some((offset.checked_add(n)?, *byte)));
        self.changed.extend(places);
    }

    /// What one look has cost; the next one begins at nothing.
    pub(crate) fn assert_cheap(&self) {
        let (reads, bytes) =
            (self.reads.swap(0, Ordering::Relaxed), self.read_bytes.swap(0, Ordering::Relaxed));
        assert!(reads <= READS_MAX, "{reads} reads");
        assert!(bytes <= self.bytes * 8 + (16 << 20), "{bytes} bytes read of {}", self.bytes);
    }
}

impl Source for Bent<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        pack::source::within(self.bytes, offset, out.len())?;
        assert!(out.len() <= READ_MAX, "{} bytes wanted at once", out.len());
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(out.len() as u64, Ordering::Relaxed);
        out.copy_from_slice(&self.get(offset, out.len()));
        Ok(())
    }
}

/// Inputs that change nothing: each base as it is, and with its own bytes put where they are, for others to change.
pub(crate) fn seeds(bases: &[Base]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, base) in (0_u8..).zip(bases) {
        let patch = |at: &u64| {
            let mut bytes = [0; 128];
            base.read(*at, &mut bytes);
            [u32::try_from(*at).unwrap_or(0).to_le_bytes().to_vec(), block(bytes)].concat()
        };
        let patches = base.places().iter().map(patch).collect::<Vec<_>>();
        seeds.push(vec![number, 0]);
        seeds.extend(patches.chunks(4).map(|some| [&[number, SEALED][..], &some.concat()].concat()));
        let shorter = (base.bytes - 512).to_le_bytes();
        seeds.push([&[number, CUT][..], &shorter].concat());
    }
    seeds
}
