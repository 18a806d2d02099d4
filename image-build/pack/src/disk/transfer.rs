//! One run of bytes on its way to or from a disk, in as many calls of the kernel as it takes.

use std::io;

use super::error::Action;

/// How often the kernel may say "again" to one call before that is an error.
const TRIES: u8 = 100;

/// What nearly every driver takes as one request: 128 pages, wherever they lie in memory. Longer ones the kernel has to split,
/// and what has to be split it does not begin in `io_uring_enter(2)`: it wakes a thread for it.
const PART: usize = 512 << 10;

/// A run that is under way. The kernel is asked for [`Transfer::rest`] until [`Transfer::advance`] says otherwise.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) action: Action,
    /// Where it begins on the disk and in the buffer.
    disk: u64,
    buffer: usize,
    /// Bytes to ask for, a multiple of `align`.
    ask: usize,
    /// Bytes that must arrive: less than `ask` at the end of a file that is no whole number of sectors.
    need: usize,
    /// Bytes of the run that come after these, when this is a part of it.
    after: usize,
    done: usize,
    align: usize,
    tries: u8,
}

/// What is left of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) disk: u64,
    pub(super) buffer: std::ops::Range<usize>,
}

/// What comes after a call of the kernel.
#[derive(Debug)]
pub(super) enum Next {
    /// Another call, for the rest.
    Call,
    /// Nothing: all bytes are where they belong.
    Finished,
    /// Nothing: the transfer stopped for this reason.
    Failed(io::Error),
}

impl Transfer {
    pub(super) fn new(action: Action, disk: u64, buffer: usize, bytes: usize, align: u32) -> Transfer {
        let align = align as usize;
        let ask = bytes.next_multiple_of(align);
        Transfer { action, disk, buffer, ask, need: bytes, after: 0, done: 0, align, tries: 0 }
    }

    /// The same transfer as several, none of which is longer than what a driver takes at once. Each still knows what is
    /// missing of the whole when it fails.
    pub(super) fn parts(self) -> impl Iterator<Item = Transfer> {
        let Transfer { action, disk, buffer, need, align, .. } = self;
        (0..need).step_by(PART).map(move |from| {
            let bytes = (need - from).min(PART);
            let ask = bytes.next_multiple_of(align);
            let (disk, buffer) = (disk + from as u64, buffer + from);
            Transfer {
                action,
                disk,
                buffer,
                ask,
                need: bytes,
                after: need - from - bytes,
                done: 0,
                align,
                tries: 0,
            }
        })
    }

    pub(super) fn rest(&self) -> Rest {
        let buffer = self.buffer + self.done..self.buffer + self.ask;
        Rest { disk: self.disk + self.done as u64, buffer }
    }

    /// Bytes of the run, from here to its end, that have not arrived.
    pub(super) fn missing(&self) -> u64 {
        (self.need.saturating_sub(self.done) + self.after) as u64
    }

    /// Whether the last call was one that the kernel wants to hear again.
    pub(super) fn is_again(&self) -> bool {
        self.tries > 0
    }

    /// Takes in what the kernel said to a call for the rest. A short transfer is continued where it stopped, at the
    /// last multiple of the alignment: direct I/O takes nothing else.
    pub(super) fn advance(&mut self, said: io::Result<usize>) -> Next {
        let count = match said {
            Ok(count) => count,
            Err(error) if is_again(&error) && self.tries < TRIES => {
                self.tries += 1;
                return Next::Call;
            }
            Err(error) => return Next::Failed(error),
        };
        self.tries = 0;
        let total = self.done.saturating_add(count);
        if total >= self.need {
            self.done = self.need;
            return Next::Finished;
        }
        let whole = total - total % self.align;
        if whole == self.done {
            return Next::Failed(self.stuck());
        }
        self.done = whole;
        Next::Call
    }

    fn stuck(&self) -> io::Error {
        match self.action {
            Action::Read => io::Error::new(io::ErrorKind::UnexpectedEof, "the device ends here"),
            Action::Write | Action::Zero => io::Error::new(io::ErrorKind::WriteZero, "nothing was written"),
        }
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: u64, bytes: usize) -> Transfer {
        Transfer::new(Action::Read, disk, 8192, bytes, 512)
    }

    #[test]
    fn a_short_transfer_goes_on_at_the_last_whole_sector() {
        let mut transfer = read(4096, 4096);
        assert_eq!(transfer.rest(), Rest { disk: 4096, buffer: 8192..12288 });
        assert!(matches!(transfer.advance(Ok(1000)), Next::Call));
        assert_eq!(transfer.rest(), Rest { disk: 4608, buffer: 8704..12288 });
        assert_eq!(transfer.missing(), 3584);
        assert!(matches!(transfer.advance(Err(io::ErrorKind::Interrupted.into())), Next::Call));
        assert!(transfer.is_again());
        assert!(matches!(transfer.advance(Ok(3584)), Next::Finished));
    }

    #[test]
    fn a_long_transfer_is_several_that_follow_each_other() {
        let long = Transfer::new(Action::Write, 1 << 30, 4096, (1 << 20) + 700, 512);
        let parts: Vec<Rest> = long.parts().map(|part| part.rest()).collect();
        let part = |from: usize, ask: usize| Rest {
            disk: (1 << 30) + from as u64,
            buffer: 4096 + from..4096 + from + ask,
        };
        assert_eq!(parts, [part(0, PART), part(PART, PART), part(2 * PART, 1024)]);
        let parts = Transfer::new(Action::Write, 0, 0, (1 << 20) + 700, 512).parts();
        let missing = parts.map(|part| part.missing());
        assert_eq!(missing.collect::<Vec<_>>(), [(1 << 20) + 700, (1 << 19) + 700, 700]);
        assert_eq!(read(0, 700).parts().map(|part| part.missing()).collect::<Vec<_>>(), [700]);
    }

    #[test]
    fn the_end_of_a_file_may_lie_within_a_sector() {
        let mut transfer = read(0, 700);
        assert_eq!(transfer.rest().buffer, 8192..9216);
        assert!(matches!(transfer.advance(Ok(700)), Next::Finished));
        let mut transfer = read(0, 700);
        assert!(matches!(transfer.advance(Ok(699)), Next::Call));
        let Next::Failed(error) = transfer.advance(Ok(100)) else { panic!("went on") };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        let mut transfer = read(0, 512);
        for _ in 0..TRIES {
            assert!(matches!(transfer.advance(Err(io::ErrorKind::WouldBlock.into())), Next::Call));
        }
        assert!(matches!(transfer.advance(Err(io::ErrorKind::WouldBlock.into())), Next::Failed(_)));
        let mut write = Transfer::new(Action::Write, 0, 0, 512, 512);
        let Next::Failed(error) = write.advance(Ok(0)) else { panic!("went on") };
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        assert!(matches!(
            write.advance(Err(io::Error::from_raw_os_error(5))),
            Next::Failed(error) if error.raw_os_error() == Some(5)
        ));
    }
}
