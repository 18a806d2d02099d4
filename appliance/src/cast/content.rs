//! What is sent: the bytes of groups, read from the store, and repair symbols made of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use cast::code::Encoder;
use cast::groups::{Group, Groups};
use cast::wire::{Data, HEADER_BYTES, SYMBOL_BYTES};

use crate::images::{ImageError, Images, Stored};

/// Groups whose bytes are kept: the one that is sent, and those whose repair is asked for about now.
const KEPT: usize = 16;

/// Why a group can't be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    /// The store.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// The disk.
    #[error("reading chunks of the image")]
    Read(#[source] io::Error),
    /// There is no such group, or its symbols can't be coded.
    #[error("group {0} of the image can't be sent")]
    Group(u32),
}

/// One image, group by group.
#[derive(Debug)]
pub(super) struct Content {
    images: Arc<Images>,
    stored: Arc<Stored>,
    groups: Groups,
    /// The youngest at the back.
    kept: VecDeque<Loaded>,
    encoder: Encoder,
    /// The headers of the packets that are sent now.
    heads: Vec<[u8; HEADER_BYTES]>,
}

#[derive(Debug)]
struct Loaded {
    number: u32,
    symbols: u16,
    /// Its data symbols, the last one filled up with zeros.
    data: Vec<u8>,
    /// Its repair symbols, when one was asked for.
    repair: Vec<u8>,
}

impl Content {
    /// The content of an image in the store, cut in these groups.
    pub(super) fn new(images: Arc<Images>, stored: Arc<Stored>, groups: Groups) -> Self {
        Self { images, stored, groups, kept: VecDeque::new(), encoder: Encoder::new(), heads: Vec::new() }
    }

    /// The packets of a stretch of a group's symbols, with ascending sequence numbers: of each its header, then its symbol. Nothing is
    /// copied: the kernel puts them together.
    ///
    /// # Errors
    /// [`ContentError`].
    pub(super) fn packets(
        &mut self,
        first: Data,
        symbols: Range<u16>,
    ) -> Result<Vec<IoSlice<'_>>, ContentError> {
        self.load(first.group, symbols.end > first.symbols)?;
        let last = symbols.end.saturating_sub(1);
        self.heads.clear();
        self.heads.extend(symbols.clone().zip(0_u32..).map(|(symbol, step)| {
            let asks = first.asks && symbol == last;
            Data { symbol, sequence: first.sequence.wrapping_add(step), asks, ..first }.header()
        }));
        let missing = || ContentError::Group(first.group);
        let loaded = self.kept.back().ok_or_else(missing)?;
        let mut packets = Vec::with_capacity(2 * self.heads.len());
        for (symbol, head) in symbols.zip(&self.heads) {
            packets.push(IoSlice::new(head));
            packets.push(IoSlice::new(loaded.symbol(symbol).ok_or_else(missing)?));
        }
        Ok(packets)
    }

    /// Has a group at the back of those that are kept, with its repair symbols if they are needed.
    fn load(&mut self, number: u32, needs_repair: bool) -> Result<(), ContentError> {
        let known = self.kept.iter().position(|kept| kept.number == number);
        let mut loaded = match known.and_then(|at| self.kept.remove(at)) {
            Some(loaded) => loaded,
            None => self.read(number)?,
        };
        if needs_repair && loaded.repair.is_empty() {
            let made = self.encoder.encode(&loaded.data, &mut loaded.repair);
            made.map_err(|_| ContentError::Group(number))?;
        }
        self.kept.push_back(loaded);
        Ok(())
    }

    /// Reads a group, into the memory of the one that was used longest ago: fresh memory costs as much as reading it.
    fn read(&mut self, number: u32) -> Result<Loaded, ContentError> {
        let Group { offset, bytes, symbols, .. } =
            *self.groups.get(number).ok_or(ContentError::Group(number))?;
        let oldest = if self.kept.len() < KEPT { None } else { self.kept.pop_front() };
        let (mut data, mut repair) = oldest.map(|oldest| (oldest.data, oldest.repair)).unwrap_or_default();
        repair.clear();
        data.resize(usize::from(symbols) * SYMBOL_BYTES, 0);
        let mut at = 0;
        for piece in self.images.pieces(&self.stored, offset..offset + u64::from(bytes))? {
            let end = at + usize::try_from(piece.bytes).unwrap_or(usize::MAX);
            let place = data.get_mut(at..end).ok_or(ContentError::Group(number))?;
            piece.file.read_exact_at(place, piece.offset).map_err(ContentError::Read)?;
            at = end;
        }
        if at != bytes as usize {
            return Err(ContentError::Group(number));
        }
        // What was there before.
        data.get_mut(at..).unwrap_or_default().fill(0);
        Ok(Loaded { number, symbols, data, repair })
    }
}

impl Loaded {
    fn symbol(&self, symbol: u16) -> Option<&[u8]> {
        let (from, bytes) = match symbol.checked_sub(self.symbols) {
            None => (symbol, &self.data),
            Some(repair) => (repair, &self.repair),
        };
        let at = usize::from(from) * SYMBOL_BYTES;
        bytes.get(at..at + SYMBOL_BYTES)
    }
}
