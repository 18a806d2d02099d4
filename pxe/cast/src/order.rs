//! What a receiver and its shell say to each other.

use std::collections::BTreeMap;

/// A moment, in milliseconds on a clock that never goes back; where it began does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This long after.
    #[must_use]
    pub fn after(self, span: Millis) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }

    /// How long since an earlier moment; nothing when it was not earlier.
    #[must_use]
    pub fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// One piece of an image: a window of the disk and where its stored bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its name in orders: the number of the window. Ascending numbers lie at ascending places on the disk.
    pub id: u32,
    /// Where its stored bytes begin at the source.
    pub offset: u64,
    /// How many bytes are stored there. 0: all zeros, is written without a fetch.
    pub stored: u32,
    /// How many bytes of disk it stands for.
    pub bytes: u32,
}

/// How much may be under way at once, and how much patience there is. Zeros count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Reads of the disk (compare, read back) at once.
    pub compares: usize,
    /// Fetches at once.
    pub fetches: usize,
    /// Writes at once.
    pub writes: usize,
    /// Stored bytes fetched or being fetched and not yet written. One piece is always allowed. More is fetched when a quarter
    /// of it, or a whole range, is free.
    pub spool_bytes: u64,
    /// Neighbouring pieces are fetched as one range of up to so many bytes.
    pub range_bytes: u64,
    /// How often one piece may fail (spoilt, not written, read back different) before the job fails.
    pub piece_tries: u32,
    /// How often a disarm, flush or seed may fail in a row before the job fails.
    pub disk_tries: u32,
    /// How long the source may fail without a single piece arriving before the job fails.
    pub patience: Millis,
    /// What was written is made durable at the latest when it is so many bytes …
    pub flush_bytes: u64,
    /// … or so old: what a power cut can take.
    pub flush_after: Millis,
}

impl Default for Limits {
    /// For one disk and one controller: 4 reads, 4 fetches, 4 writes, 64 MiB spool, ranges of 4 MiB, 5 tries each,
    /// 15 minutes of patience (a controller may be restarted or repaired meanwhile), a flush every second or GiB.
    fn default() -> Limits {
        Limits {
            compares: 4,
            fetches: 4,
            writes: 4,
            spool_bytes: 64 << 20,
            range_bytes: 4 << 20,
            piece_tries: 5,
            disk_tries: 5,
            patience: Millis(15 * 60 * 1000),
            flush_bytes: 1 << 30,
            flush_after: Millis(1000),
        }
    }
}

/// The name of one order; never used twice in the life of a receiver. An answer that comes late or twice names an
/// order that is closed, and is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Something for the shell to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What to name in the answer.
    pub ticket: Ticket,
    /// What to do.
    pub action: Action,
}

/// What to do. Answer with the [`Outcome`]s named here, or [`Outcome::Failed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Overwrite the first MiB of the disk and then its last MiB (of the *disk*, not of the image) with zeros, then
    /// flush: nothing boots from it any more. Windows that lose bytes by it are those of [`crate::Start::lost_from`]. → `Done` when
    /// durable.
    Disarm,
    /// Tell the drive that nothing on it is needed any more, the seed and what this job has written excepted, within a time
    /// limit of the shell's: it then writes faster and wears less. → `Done`; a failure changes nothing.
    Discard,
    /// Read this window from the disk, past the page cache, and compare it with its digest. → `Same` or `Differs`.
    Compare(u32),
    /// Fetch a range, check each piece's stored bytes, keep them in the spool. → `Arrived` or `Spoilt` for each
    /// piece, as it comes, in any order. `Failed` sends back those not yet answered.
    Fetch {
        /// The pieces in the range, in its order, without gaps.
        ids: Vec<u32>,
        /// First byte at the source.
        offset: u64,
        /// Bytes to fetch.
        len: u64,
    },
    /// Unpack this piece out of the spool and write its window past the page cache. → `Done`. Whatever the outcome,
    /// the shell then forgets the piece's spooled bytes: a new try fetches it anew.
    Write(u32),
    /// Make everything written so far durable. → `Done`.
    Flush,
    /// Read this window from the disk, past the page cache, and compare it with its digest. → `Same` or `Differs`.
    ReadBack(u32),
    /// Write the node's seed into the image's seed span, and read it back. → `Done`. A flush follows; if that fails,
    /// this comes again.
    WriteSeed,
}

/// How an order went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The window holds what it should.
    Same,
    /// It does not.
    Differs,
    /// This piece of the range is in the spool, and its stored bytes are right.
    Arrived(u32),
    /// This piece of the range came, but not as it should be; or the source refused it for good. Counts against
    /// the piece, where `Failed` counts against the source's patience.
    Spoilt {
        /// Which.
        id: u32,
        /// What was wrong, for people.
        cause: String,
    },
    /// The order was not carried out, or only in part; why, for people. Of a fetch: the source gave no (whole)
    /// answer, and may be asked again for as long as [`Limits::patience`] says.
    Failed(String),
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It changed something.
    Taken,
    /// It did not; why.
    Ignored(&'static str),
}

/// How pieces come. Those that have failed once are always fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Feed {
    /// They are fetched, in the order of the disk.
    #[default]
    Pulled,
    /// They are offered as they come, in any order.
    Pushed,
}

/// What became of a piece that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It is in the spool now, and will be written.
    Taken,
    /// Whether it is needed is not known yet: offer it again.
    Early,
    /// It holds a partition table: it is fetched when its time has come, and may come from where it is kept until then.
    Table,
    /// There is no room for it now.
    Full,
    /// It is not needed, or comes already.
    Useless,
}

/// An order that was given and not yet answered in full.
#[derive(Debug)]
pub(crate) enum Open {
    Disarm,
    Discard,
    Compare(Piece),
    Fetch(BTreeMap<u32, Piece>),
    Write(Piece),
    Flush,
    ReadBack(Piece),
    WriteSeed,
}

/// The orders that are open, and the tickets already used.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    used: u64,
    open: BTreeMap<Ticket, Open>,
}

impl Orders {
    pub(crate) fn give(&mut self, open: Open) -> Order {
        self.used += 1;
        let ticket = Ticket(self.used);
        let action = match &open {
            Open::Disarm => Action::Disarm,
            Open::Discard => Action::Discard,
            Open::Compare(piece) => Action::Compare(piece.id),
            Open::Fetch(pieces) => Action::Fetch {
                ids: pieces.keys().copied().collect(),
                offset: pieces.values().next().map_or(0, |piece| piece.offset),
                len: pieces.values().map(|piece| u64::from(piece.stored)).sum(),
            },
            Open::Write(piece) => Action::Write(piece.id),
            Open::Flush => Action::Flush,
            Open::ReadBack(piece) => Action::ReadBack(piece.id),
            Open::WriteSeed => Action::WriteSeed,
        };
        self.open.insert(ticket, open);
        Order { ticket, action }
    }

    /// The pieces that are being compared or read back.
    pub(crate) fn reading(&self) -> impl Iterator<Item = Piece> + '_ {
        self.open.values().filter_map(|open| match open {
            Open::Compare(piece) | Open::ReadBack(piece) => Some(*piece),
            Open::Disarm
            | Open::Discard
            | Open::Fetch(_)
            | Open::Write(_)
            | Open::Flush
            | Open::WriteSeed => None,
        })
    }

    /// Takes an open order out, to be closed or put back.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Open> {
        self.open.remove(&ticket)
    }

    pub(crate) fn put_back(&mut self, ticket: Ticket, open: Open) {
        self.open.insert(ticket, open);
    }

    pub(crate) fn count(&self, which: fn(&Open) -> bool) -> usize {
        self.open.values().filter(|open| which(open)).count()
    }

    pub(crate) fn any(&self, which: impl Fn(&Open) -> bool) -> bool {
        self.open.values().any(which)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets every open order: their answers will be ignored.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
    }
}
