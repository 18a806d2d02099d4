//! Transmission groups: whole pieces, one after another at the source, cut into symbols of one size.
//!
//! Sender and receivers make them of the same list of pieces, so that nothing about them is ever sent.

use std::ops::Range;

use crate::Piece;
use crate::wire::{SYMBOL_BYTES, SYMBOLS_MAX};

/// One group. Its bytes are those of its pieces at the source; the last symbol is filled up with zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which pieces, by their place in the list that the groups were made of. Pieces of zeros are in no group: the ranges of
    /// two neighbours may have some between them.
    pub pieces: Range<usize>,
    /// Where its bytes begin at the source.
    pub offset: u64,
    /// How many bytes it has; at most [`SYMBOLS_MAX`] symbols.
    pub bytes: u32,
    /// How many symbols these are; at least one.
    pub symbols: u16,
}

/// All groups of an image, in the order of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Cuts a list of pieces. Pieces that follow each other at the source share a group while all its symbols are enough; a piece
    /// that is too large for any group, which no image has, gets none: it has to be pulled.
    #[must_use]
    pub fn of(pieces: &[Piece]) -> Groups {
        let mut groups: Vec<Group> = Vec::new();
        let most = u64::from(SYMBOLS_MAX) * SYMBOL_BYTES as u64;
        for (index, piece) in pieces.iter().enumerate() {
            if piece.stored == 0 || u64::from(piece.stored) > most {
                continue;
            }
            if let Some(last) = groups.last_mut()
                && last.offset.checked_add(u64::from(last.bytes)) == Some(piece.offset)
                && u64::from(last.bytes) + u64::from(piece.stored) <= most
            {
                last.pieces.end = index + 1;
                last.bytes += piece.stored;
                last.symbols = symbols(last.bytes);
                continue;
            }
            let (offset, bytes) = (piece.offset, piece.stored);
            groups.push(Group { pieces: index..index + 1, offset, bytes, symbols: symbols(bytes) });
        }
        Groups(groups)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: an image of zeros.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by its number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Group> {
        self.0.get(usize::try_from(number).ok()?)
    }

    /// All with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.0)
    }
}

fn symbols(bytes: u32) -> u16 {
    u16::try_from((bytes as usize).div_ceil(SYMBOL_BYTES)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(id: u32, offset: u64, stored: u32) -> Piece {
        Piece { id, offset, stored, bytes: 1 << 20 }
    }

    #[test]
    fn neighbours_share_a_group_until_it_is_full() {
        let most = u32::from(SYMBOLS_MAX) * 1408;
        let pieces = [
            piece(0, 0, 1),
            piece(1, 1, 0),
            piece(2, 1, most - 1),
            piece(3, u64::from(most), 2816),
            piece(9, 1 << 40, 1409),
            piece(10, u64::MAX - 5, 5),
        ];
        let groups = Groups::of(&pieces);
        let told: Vec<_> =
            groups.iter().map(|(n, g)| (n, g.pieces.clone(), g.offset, g.bytes, g.symbols)).collect();
        let expected = vec![
            (0, 0..3, 0, most, SYMBOLS_MAX),
            (1, 3..4, u64::from(most), 2816, 2),
            (2, 4..5, 1 << 40, 1409, 2),
            (3, 5..6, u64::MAX - 5, 5, 1),
        ];
        assert_eq!(told, expected);
        assert!(groups.get(4).is_none());
        assert!(Groups::of(&[piece(0, 0, 0)]).is_empty());
        assert!(Groups::of(&[piece(0, 0, most + 1)]).is_empty(), "it must be pulled");
    }
}
