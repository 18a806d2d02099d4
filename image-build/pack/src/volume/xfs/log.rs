//! The log: whether it is empty, so that the structures on the disk are the truth.
//!
//! The log is a ring of basic blocks of 512 bytes. The first word of each is the number of the round in which it was
//! written, but for the first block of a record: that has a magic there and the round in the second word. So the head,
//! where the next record goes, is where the number drops by one. An unmount leaves a record of one operation right before
//! the head that says so; with any other last record there is, or may be, something to replay.
//!
//! xfs_repair and xfs_admin begin a log anew with an unmount's record at its start, then a stretch of zeros, then records of
//! the round before.

use super::superblock::Superblock;
use super::{Fields, REPLAY, Unread, doubtful};
use crate::{Source, source};

const BASIC: u64 = 512;
const MAGIC: u32 = 0xfeed_babe;
/// A header block has the first words of so many bytes; a record for more has more header blocks.
const HEADED_BYTES: u32 = 32 << 10;
/// How far before the head an unmount's record begins at most: a record has up to 256 KiB and eight header blocks, and is
/// padded to the stripe unit of the log, 256 KiB at most.
const REACH: u64 = 2 * (8 + 512);
/// `XLOG_UNMOUNT_TRANS` in the flags of an operation.
const UNMOUNT: u8 = 0x20;

/// Accepts a file system that was unmounted, or whose log was never used.
pub(super) fn check(source: &dyn Source, superblock: &Superblock) -> Result<(), Unread> {
    let Some(range) = superblock.log.clone() else {
        return Err(doubtful("its log is on another device: nothing here says whether it must be replayed"));
    };
    let log = Log { source, offset: range.start, blocks: (range.end - range.start) / BASIC };
    let Some(head) = log.head()? else { return Ok(()) };
    // Back from the head over blocks that were never written: a log that xfsprogs began anew has some.
    let mut is_empty_so_far = true;
    let mut behind = head;
    for back in 1..=REACH.min(log.blocks) {
        let place = (head + log.blocks - back) % log.blocks;
        let block = log.block(place)?;
        match Fields(&block).be32(0)? {
            MAGIC => return log.expect_unmount(Fields(&block), place, behind, superblock),
            0 => {}
            _ => is_empty_so_far = false,
        }
        if is_empty_so_far {
            behind = place;
        }
    }
    Err(doubtful(REPLAY))
}

struct Log<'a> {
    source: &'a dyn Source,
    offset: u64,
    blocks: u64,
}

impl Log<'_> {
    fn block(&self, place: u64) -> Result<Vec<u8>, Unread> {
        Ok(source::read(self.source, self.offset + (place % self.blocks) * BASIC, 512)?)
    }

    /// The round in which a block was written; 0 for never.
    fn round(&self, place: u64) -> Result<u32, Unread> {
        let block = self.block(place)?;
        let fields = Fields(&block);
        match fields.be32(0)? {
            MAGIC => fields.be32(4),
            round => Ok(round),
        }
    }

    /// Where the next record goes; `None` when there never was one: Linux replays nothing either. Where a power cut has
    /// torn writes there is more than one such place. Whichever is found: what is behind a gap was never committed, and what
    /// is before another head is not an unmount.
    fn head(&self) -> Result<Option<u64>, Unread> {
        let (first, last) = (self.round(0)?, self.round(self.blocks - 1)?);
        if first == last {
            return Ok((first != 0).then_some(0));
        }
        if Some(first) != last.checked_add(1) {
            return Err(doubtful("its log is damaged"));
        }
        // Blocks up to `this` are of the first one's round, blocks from `other` on of the last one's.
        let (mut this, mut other) = (0, self.blocks - 1);
        while other - this > 1 {
            let middle = this.midpoint(other);
            match self.round(middle)? {
                round if round == last => other = middle,
                round if round == first || round == 0 => this = middle,
                _ => return Err(doubtful("its log is damaged")),
            }
        }
        Ok(Some(other))
    }

    /// Accepts the record at `place` if it ends at `end` and is an unmount's.
    fn expect_unmount(
        &self,
        header: Fields<'_>,
        place: u64,
        end: u64,
        superblock: &Superblock,
    ) -> Result<(), Unread> {
        let (version, length, operations) = (header.be32(8)?, header.be32(12)?, header.be32(40)?);
        let uuid = header.array(304)?;
        if uuid != superblock.uuid && uuid != [0; 16] {
            return Err(doubtful("its log is another file system's"));
        }
        // Version 2 of the log has records longer than one header block can stand for.
        let headers = if version & 2 == 0 { 1 } else { header.be32(320)?.div_ceil(HEADED_BYTES).max(1) };
        let ends = place + u64::from(headers) + u64::from(length).div_ceil(BASIC);
        if operations != 1 || ends % self.blocks != end % self.blocks {
            return Err(doubtful(REPLAY));
        }
        // An operation begins with its transaction (4 bytes), length (4), client, flags.
        let flags = Fields(&self.block(place + u64::from(headers))?).byte(9)?;
        if flags & UNMOUNT == 0 { Err(doubtful(REPLAY)) } else { Ok(()) }
    }
}
