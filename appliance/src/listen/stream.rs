//! What an answer carries: bytes at hand, or parts of files, block by block. A block is read off the async threads, or,
//! on a connection that can, sent from the page cache.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::io::ReadWriteFlags;
use tokio::task::{JoinHandle, spawn_blocking};

use super::range::{Part, describe, part};
use super::straight::{LONGEST, Parts};
use super::turns::Turn;

/// How much is read at a time when only the page cache shall have it.
const SCRATCH: usize = 64 << 10;

/// The body of an answer. Its length is known from the start.
pub struct Stream {
    source: Source,
    left: u64,
    sent: Option<Box<dyn FnOnce() + Send>>,
}

enum Source {
    Bytes(Bytes),
    Files {
        /// What is left, in order; none is empty.
        pieces: VecDeque<Piece>,
        block: usize,
        reading: Option<JoinHandle<io::Result<Bytes>>>,
        /// Where the blocks go that need not be read; none when all must.
        straight: Option<Arc<Parts>>,
        /// Where there may be a cap: what is waited for before each block.
        turn: Option<Turn>,
        /// How long the block is whose turn it is.
        due: Option<usize>,
    },
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The file.
    pub file: Arc<File>,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

impl Piece {
    /// How much of it comes in one block.
    fn most(&self, block: usize) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).min(block)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Stream {
    /// Nothing.
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// Bytes at hand.
    pub fn bytes(bytes: Bytes) -> Self {
        let left = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { source: Source::Bytes(bytes), left, sent: None }
    }

    /// `length` bytes of a file from `offset` on, read `block` bytes at a time by threads that may block. A file that
    /// ends early ends the connection, so that the client knows.
    pub fn file(file: Arc<File>, offset: u64, length: u64, block: usize) -> Self {
        Self::pieces(vec![Piece { file, offset, bytes: length }], block)
    }

    /// The same of parts of several files, one after another. A block is of one of them.
    pub fn pieces(pieces: Vec<Piece>, block: usize) -> Self {
        let pieces = pieces.into_iter().filter(|piece| piece.bytes > 0).collect::<VecDeque<_>>();
        let left = pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
        let source = Source::Files {
            pieces,
            block: block.max(1),
            reading: None,
            straight: None,
            turn: None,
            due: None,
        };
        Self { source, left, sent: None }
    }

    /// Has what is of a file sent by the kernel. These are the parts of the connection that carries the answer.
    pub(super) fn straight(mut self, parts: &Arc<Parts>) -> Self {
        if let Source::Files { block, straight, .. } = &mut self.source {
            *block = LONGEST.min(*block);
            *straight = Some(Arc::clone(parts));
        }
        self
    }

    /// Has each block of a file wait for its turn.
    pub fn in_turn(mut self, mine: Turn) -> Self {
        if let Source::Files { turn, .. } = &mut self.source {
            *turn = Some(mine);
        }
        self
    }

    /// Calls this when the last byte was handed to the connection.
    pub(super) fn and_then(mut self, sent: impl FnOnce() + Send + 'static) -> Self {
        self.sent = Some(Box::new(sent));
        self
    }
}

/// An answer without a body but this text.
pub fn text(status: StatusCode, text: &str) -> Response<Stream> {
    let stream = Stream::bytes(Bytes::from(format!("{text}\n")));
    let length = stream.left;
    let mut response = Response::new(stream);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    if !status.is_success() {
        // GRUB 2.12 hangs after a refusal on a connection that stays open, whatever the length says.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a request for the `length` bytes of a file that begin at `base`: all of them, or the range that these
/// headers ask for. Read `block` bytes at a time.
pub fn ranged(
    file: Arc<File>,
    base: u64,
    length: u64,
    headers: &HeaderMap,
    block: usize,
) -> Response<Stream> {
    let piece = |range: Range<u64>| {
        let (offset, bytes) = (base.saturating_add(range.start), range.end.saturating_sub(range.start));
        Ok::<_, Infallible>(vec![Piece { file, offset, bytes }])
    };
    match ranged_pieces(length, headers, block, piece) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The same of `length` bytes that lie in several files: `pieces` says where a range of them does.
///
/// # Errors
/// What `pieces` says.
pub fn ranged_pieces<E>(
    length: u64,
    headers: &HeaderMap,
    block: usize,
    pieces: impl FnOnce(Range<u64>) -> Result<Vec<Piece>, E>,
) -> Result<Response<Stream>, E> {
    let part = part(headers, length);
    let (status, stream) = match part {
        Part::Whole => (StatusCode::OK, Stream::pieces(pieces(0..length)?, block)),
        Part::Some { offset, length } => {
            let pieces = pieces(offset..offset.saturating_add(length))?;
            (StatusCode::PARTIAL_CONTENT, Stream::pieces(pieces, block))
        }
        Part::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, Stream::empty()),
    };
    let mut response = Response::new(stream);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    describe(headers, part, length);
    Ok(response)
}

/// An answer of JSON.
pub fn json(status: StatusCode, json: Vec<u8>) -> Response<Stream> {
    let stream = Stream::bytes(json.into());
    let length = stream.left;
    let mut response = Response::new(stream);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// An answer of bytes that are here already.
pub fn whole(bytes: Bytes) -> Response<Stream> {
    let stream = Stream::bytes(bytes);
    let length = stream.left;
    let mut response = Response::new(stream);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// The reading that goes on, or the one that begins now.
fn poll_read(
    reading: &mut Option<JoinHandle<io::Result<Bytes>>>,
    context: &mut Context<'_>,
    begin: impl FnOnce() -> JoinHandle<io::Result<Bytes>>,
) -> Poll<io::Result<Bytes>> {
    let task = reading.get_or_insert_with(begin);
    let read = ready!(Pin::new(task).poll(context)).unwrap_or_else(|e| Err(io::Error::other(e)));
    *reading = None;
    Poll::Ready(read)
}

/// Puts a block among the parts of the connection; what the page cache does not have is brought there first, so that
/// sending it never waits for a disk.
fn poll_put(
    reading: &mut Option<JoinHandle<io::Result<Bytes>>>,
    context: &mut Context<'_>,
    parts: &Parts,
    file: &Arc<File>,
    offset: u64,
    length: usize,
) -> Poll<io::Result<Bytes>> {
    if reading.is_some() || !at_hand(file, offset, length) {
        ready!(poll_read(reading, context, || warm(Arc::clone(file), offset, length)))?;
    }
    Poll::Ready(Ok(parts.put(Arc::clone(file), offset, length)))
}

/// One block, or less at the end of what is wanted.
fn fetch(file: Arc<File>, offset: u64, length: usize) -> JoinHandle<io::Result<Bytes>> {
    spawn_blocking(move || {
        let mut block = vec![0; length];
        file.read_exact_at(&mut block, offset)?;
        Ok(block.into())
    })
}

/// Brings a block into the page cache, and hands nothing on.
fn warm(file: Arc<File>, offset: u64, length: usize) -> JoinHandle<io::Result<Bytes>> {
    spawn_blocking(move || {
        let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let (mut at, mut scratch) = (offset, vec![0; SCRATCH]);
        while at < end {
            match file.read_at(&mut scratch, at)? {
                0 => break,
                read => at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX)),
            }
        }
        Ok(Bytes::new())
    })
}

/// Whether a block is in the page cache, as far as its two ends tell: reading ahead fills what is between them. Where
/// nobody can tell, it is not.
fn at_hand(file: &File, offset: u64, length: usize) -> bool {
    let last = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX)).saturating_sub(1);
    [offset, last].into_iter().all(|at| {
        let mut octet = [0_u8];
        let mut into = [io::IoSliceMut::new(&mut octet)];
        rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) == Ok(1)
    })
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let left = self.left;
        let bytes = match &mut self.source {
            Source::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Source::Files { pieces, block, reading, straight, turn, due } => {
                let Some(piece) = pieces.front_mut() else { return Poll::Ready(None) };
                let length = match (*due, turn) {
                    (Some(length), _) => length,
                    (None, Some(turn)) => ready!(turn.poll(piece.most(*block), context)),
                    (None, None) => piece.most(*block),
                };
                *due = Some(length);
                let (file, offset) = (&piece.file, piece.offset);
                let block = match straight {
                    Some(parts) => ready!(poll_put(reading, context, parts, file, offset, length)),
                    None => ready!(poll_read(reading, context, || fetch(Arc::clone(file), offset, length))),
                };
                *due = None;
                if let Ok(bytes) = &block {
                    let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    piece.offset = piece.offset.saturating_add(bytes);
                    piece.bytes = piece.bytes.saturating_sub(bytes);
                    if piece.bytes == 0 {
                        pieces.pop_front();
                    }
                }
                block
            }
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                self.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.left == 0
            && let Some(sent) = self.sent.take()
        {
            sent();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::Stream;

    #[tokio::test]
    async fn a_part_of_a_file_comes_in_blocks_and_is_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        file.write_all(&bytes).unwrap();
        let mut stream = Stream::file(Arc::new(file), 7, 300_000, 65_536);
        let mut got = Vec::new();
        while let Some(frame) = stream.frame().await {
            let block = frame.unwrap().into_data().unwrap();
            assert!(!block.is_empty() && block.len() <= 65_536);
            got.extend_from_slice(&block);
        }
        assert!(got == bytes[7..300_007]);
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error_and_not_a_short_answer() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 1000]).unwrap();
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let stream = Stream::file(Arc::new(file), 0, 1001, 600)
            .and_then(move || told.store(true, std::sync::atomic::Ordering::Relaxed));
        assert!(stream.collect().await.is_err());
        assert!(!ended.load(std::sync::atomic::Ordering::Relaxed), "it was not sent");
    }
}
