//! What is sent: the bytes of groups, read from the store, and repair symbols made of them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use cast::code::Encoder;
use cast::groups::{Group, Groups};
use cast::wire::{DATA_BYTES, Data, HEADER_BYTES, SYMBOL_BYTES};

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
        Self { images, stored, groups, kept: VecDeque::new(), encoder: Encoder::new() }
    }

    /// Writes the packets of a stretch of a group's symbols into `packets`, one behind the other, with ascending sequence numbers.
    ///
    /// # Errors
    /// [`ContentError`]; what is in `packets` then means nothing.
    pub(super) fn packets(
        &mut self,
        first: Data,
        symbols: Range<u16>,
        packets: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        packets.clear();
        let needs_repair = symbols.end > first.symbols;
        let loaded = self.load(first.group, needs_repair)?;
        let last = symbols.end.saturating_sub(1);
        for (symbol, step) in symbols.zip(0_u32..) {
            let bytes = loaded.symbol(symbol).ok_or(ContentError::Group(first.group))?;
            let asks = first.asks && symbol == last;
            let head = Data { symbol, sequence: first.sequence.wrapping_add(step), asks, ..first };
            packets.reserve(DATA_BYTES);
            packets.extend_from_slice(&head.header());
            packets.extend_from_slice(bytes);
        }
        debug_assert_eq!(packets.len() % (HEADER_BYTES + SYMBOL_BYTES), 0);
        Ok(())
    }

    fn load(&mut self, number: u32, needs_repair: bool) -> Result<&Loaded, ContentError> {
        let loaded = match self.kept.iter().position(|kept| kept.number == number) {
            Some(at) => self.kept.remove(at),
            None => None,
        };
        let mut loaded = match loaded {
            Some(loaded) => loaded,
            None => self.read(number)?,
        };
        if needs_repair && loaded.repair.is_empty() {
            let made = self.encoder.encode(&loaded.data, &mut loaded.repair);
            made.map_err(|_| ContentError::Group(number))?;
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(loaded);
        self.kept.back().ok_or(ContentError::Group(number))
    }

    fn read(&self, number: u32) -> Result<Loaded, ContentError> {
        let Group { offset, bytes, symbols, .. } =
            *self.groups.get(number).ok_or(ContentError::Group(number))?;
        let mut data = vec![0; usize::from(symbols) * SYMBOL_BYTES];
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
        Ok(Loaded { number, symbols, data, repair: Vec::new() })
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
