//! An image on a disk of another size: where its bytes lie there, and the few that are others there.
//!
//! ```text
//! image:  table ─ partitions ──────────── last partition ─ … ─┤ tail
//! disk:   table'─ partitions ──────────── last partition ─ … (longer or shorter) … ─┤ tail'
//! ```
//! The tail is what an image has behind its last partition in its last MiB: the backup GPT. It lies at the disk's end. Of a GPT,
//! two sectors at the beginning and the backup tell sizes and places, and are made anew ([`crate::table::refit`]).
//!
//! Both directions are known byte by byte before anything is written: whoever reads a disk through a [`Fit`] sees the image, and
//! only on a disk that holds exactly what a [`Fit`] writes. So digests, the comparison and the Merkle root are the image's.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::table::{Unfit, refit};
use crate::{Block, Chunk, Manifest, WINDOW, layout};

const MIB: u64 = WINDOW as u64;

/// How an image lies on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    image_bytes: u64,
    disk_bytes: u64,
    /// From here on the image lies elsewhere on the disk …
    tail: u64,
    /// … namely here.
    to: u64,
    patches: Vec<Patch>,
}

/// Bytes of a window that are others on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Patch {
    window: u32,
    /// Where in the window.
    at: Range<usize>,
    image: Vec<u8>,
    disk: Vec<u8>,
}

/// A stretch of a window and where it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// What is to be written: bytes, or zeros.
    pub kind: Block,
    /// First byte on the disk.
    pub disk: u64,
    /// The bytes in the window.
    pub buffer: Range<usize>,
}

impl Fit {
    /// The windows whose bytes [`Fit::new`] must be given, ascending: none when the image lies on the disk as it is.
    #[must_use]
    pub fn needs(manifest: &Manifest, disk_bytes: u64) -> Vec<u32> {
        if is_plain(manifest, disk_bytes) {
            return Vec::new();
        }
        let tail = manifest.disk_bytes().saturating_sub(MIB) / MIB;
        let chunks = manifest.chunks().iter().map(|chunk| chunk.window);
        chunks.filter(|window| *window == 0 || u64::from(*window) >= tail).collect()
    }

    /// Fits an image to a disk. `known` has the unpacked windows of [`Fit::needs`].
    ///
    /// Without a GPT, an image lies on a larger disk as it is. What it has beyond the end of a smaller disk must be free, but for
    /// the last MiB.
    ///
    /// # Errors
    /// [`Unfit`]: a partition or data would be cut off; a GPT that is not whole.
    pub fn new(manifest: &Manifest, disk_bytes: u64, known: &BTreeMap<u32, Vec<u8>>) -> Result<Fit, Unfit> {
        let (image_bytes, layout) = (manifest.disk_bytes(), manifest.layout());
        let plain = Fit { image_bytes, disk_bytes, tail: image_bytes, to: image_bytes, patches: Vec::new() };
        if is_plain(manifest, disk_bytes) {
            return Ok(plain);
        }
        let (whole, need) = (whole_sectors(manifest, disk_bytes), layout.least_bytes(image_bytes));
        let small = |need| Unfit::Small { need, have: disk_bytes };
        if whole < need {
            return Err(small(need));
        }
        let first = known.get(&0).map(Vec::as_slice).unwrap_or_default();
        let table = refit(first, image_bytes, whole, layout.sector_bytes)?;
        let seed = manifest.seed().map_or(0, |seed| seed.offset.saturating_add(seed.bytes));
        // What the table and the manifest say should be the same.
        let content_end = table.content_end.max(seed);
        let tail = layout::edge(image_bytes).max(content_end);
        let to = tail.saturating_add(whole).saturating_sub(image_bytes);
        if to < content_end {
            return Err(small(whole + (content_end - to)));
        }
        let backup = image_bytes.checked_sub(table.last.len() as u64).filter(|backup| *backup >= tail);
        let backup =
            backup.ok_or_else(|| Unfit::Table("a partition lies where the backup belongs".to_owned()))?;
        let mut fit = Fit { tail, to, ..plain };
        fit.stray(manifest)?;
        if !table.last.is_empty() {
            fit.patch(known, 0, table.first.get(..2 * layout.sector_bytes as usize).unwrap_or_default())?;
            fit.patch(known, backup, &table.last)?;
        }
        Ok(fit)
    }

    /// Whether every byte lies on the disk where it does in the image, and is the same.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.tail == self.to
    }

    /// What of a window is transferred, and where on the disk: as [`Chunk::writes`]. Nothing that the disk does not have.
    #[must_use]
    pub fn writes(&self, chunk: &Chunk, gap: u32, zeros: u32) -> Vec<Stretch> {
        let at = chunk.disk_offset();
        let is_patched = self.patches.iter().any(|patch| patch.window == chunk.window);
        if !is_patched && at.saturating_add(u64::from(chunk.bytes)) <= self.body() {
            let writes = chunk.writes(gap, zeros).into_iter();
            return writes
                .map(|(kind, buffer)| Stretch { kind, disk: at + buffer.start as u64, buffer })
                .collect();
        }
        let mut stretches = Vec::new();
        for (kind, range) in if is_patched { self.with_patches(chunk, gap) } else { chunk.writes(gap, zeros) }
        {
            let cut = |limit: u64| usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
            let body = range.start..range.end.min(cut(self.body()));
            let tail = range.start.max(cut(self.tail))..range.end;
            for (buffer, begin) in [(body, at), (tail, (at + self.to).saturating_sub(self.tail))] {
                if !buffer.is_empty() {
                    stretches.push(Stretch { kind, disk: begin.saturating_add(buffer.start as u64), buffer });
                }
            }
        }
        stretches
    }

    /// Makes a window of the disk one of the image, and one of the image one of the disk: it is its own reverse, and leaves bytes
    /// alone that belong to neither. Only a disk that is right in its tables becomes the image's window.
    pub fn exchange(&self, window: u32, raw: &mut [u8]) {
        for patch in self.patches.iter().filter(|patch| patch.window == window) {
            let Some(place) = raw.get_mut(patch.at.clone()) else { continue };
            if *place == *patch.image {
                place.copy_from_slice(&patch.disk);
            } else if *place == *patch.disk {
                place.copy_from_slice(&patch.image);
            }
        }
    }

    /// Windows from this number on lie in part where zeros are when the disk's last MiB is zeroed, those of the last
    /// partition perhaps too. `u32::MAX`: none.
    #[must_use]
    pub fn lost_from(&self) -> u32 {
        let zeroed = self.disk_bytes.saturating_sub(MIB);
        let body = (zeroed < self.body()).then_some(zeroed);
        let tail = (self.tail < self.image_bytes).then_some(self.tail);
        let lost = body.into_iter().chain(tail).min();
        lost.and_then(|at| u32::try_from(at / MIB).ok()).unwrap_or(u32::MAX)
    }

    /// Where the image's backup GPT would lie and nothing of it does: an older one there must not outlive the disk's own. Empty
    /// on a disk that is not larger.
    #[must_use]
    pub fn vacated(&self) -> Range<u64> {
        self.tail..self.image_bytes.min(self.to).max(self.tail)
    }

    /// Where the part of the image ends that lies where it did.
    fn body(&self) -> u64 {
        self.tail.min(self.to)
    }

    /// What the disk has no place for must be free.
    fn stray(&self, manifest: &Manifest) -> Result<(), Unfit> {
        let cut = self.body()..self.tail;
        if cut.is_empty() {
            return Ok(());
        }
        let chunks = manifest.chunks().iter();
        let chunks = chunks.skip_while(|chunk| chunk.disk_offset() + u64::from(chunk.bytes) <= cut.start);
        for chunk in chunks.take_while(|chunk| chunk.disk_offset() < cut.end) {
            let used = chunk.map.runs(chunk.bytes).filter(|(kind, _)| *kind != Block::Free);
            for (_, range) in used {
                let (begin, end) =
                    (chunk.disk_offset() + range.start as u64, chunk.disk_offset() + range.end as u64);
                if begin < cut.end && end > cut.start {
                    return Err(Unfit::Stray { at: begin.max(cut.start) });
                }
            }
        }
        Ok(())
    }

    /// These bytes are on the disk where the image has others, from `at` on in the image.
    fn patch(&mut self, known: &BTreeMap<u32, Vec<u8>>, mut at: u64, mut disk: &[u8]) -> Result<(), Unfit> {
        let unfit = || Unfit::Table("its backup does not lie in what the image holds".to_owned());
        while !disk.is_empty() {
            let window = u32::try_from(at / MIB).map_err(|_| unfit())?;
            let begin = usize::try_from(at % MIB).map_err(|_| unfit())?;
            let (here, rest) = disk.split_at(disk.len().min(WINDOW as usize - begin));
            let image = known.get(&window).and_then(|raw| raw.get(begin..begin + here.len()));
            let image = image.ok_or_else(unfit)?;
            if image != here {
                let (image, disk) = (image.to_vec(), here.to_vec());
                self.patches.push(Patch { window, at: begin..begin + here.len(), image, disk });
            }
            at += here.len() as u64;
            disk = rest;
        }
        Ok(())
    }

    /// What is used or patched, all of it as bytes.
    fn with_patches(&self, chunk: &Chunk, gap: u32) -> Vec<(Block, Range<usize>)> {
        let patches = self.patches.iter().filter(|patch| patch.window == chunk.window);
        let mut ranges = chunk.writes(gap, u32::MAX).into_iter().map(|(_, range)| range).collect::<Vec<_>>();
        ranges.extend(patches.map(|patch| patch.at.clone()));
        ranges.sort_by_key(|range| range.start);
        let mut merged: Vec<(Block, Range<usize>)> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some((_, last)) if range.start <= last.end => last.end = last.end.max(range.end),
                Some(_) | None => merged.push((Block::Data, range)),
            }
        }
        merged
    }
}

/// Whether every byte of the image has its place on such a disk.
fn is_plain(manifest: &Manifest, disk_bytes: u64) -> bool {
    let (whole, image_bytes) = (whole_sectors(manifest, disk_bytes), manifest.disk_bytes());
    let has_backup = manifest.layout().table.as_ref().is_some_and(|table| table.kind == "gpt");
    whole == image_bytes || (whole > image_bytes && !has_backup)
}

/// Bytes of the disk that are whole sectors.
fn whole_sectors(manifest: &Manifest, disk_bytes: u64) -> u64 {
    disk_bytes - disk_bytes % u64::from(manifest.layout().sector_bytes)
}
