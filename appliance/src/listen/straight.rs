//! Parts of files on their way from the page cache to a connection, without passing through this process (sendfile(2)).
//!
//! hyper only knows buffers. So what it is given for a part of a file is a stand-in: a slice of memory that nobody reads,
//! as long as the part. It hands that on to the connection, and the [`Straight`] under it knows the stand-in by its
//! address and has the kernel send the part instead. Parts are sent in the order in which they were put.
//!
//! What is written into a file while it is being sent, is sent: whoever changes a boot store puts another file in the place
//! of the old one.
//!
//! Why: one copy instead of three. The figures are in `appliance/docs/measured.md`, under HTTP.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The longest part, in bytes: what one call may keep a thread busy with.
pub(super) const LONGEST: usize = 1 << 20;

/// Its octets mean nothing, only where it lies. Never read, it takes no memory.
static STAND_IN: [u8; LONGEST] = [0; LONGEST];

/// The parts that a connection has still to send, in their order.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<VecDeque<Part>>);

#[derive(Debug)]
struct Part {
    file: Arc<File>,
    offset: u64,
    left: usize,
}

impl Parts {
    /// Appends `length` octets of a file, at most [`LONGEST`]; what stands for them, and is as long.
    pub(super) fn put(&self, file: Arc<File>, offset: u64, length: usize) -> Bytes {
        let stand_in = STAND_IN.get(..length).unwrap_or(&STAND_IN);
        let part = Part { file, offset, left: stand_in.len() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(part);
        Bytes::from_static(stand_in)
    }
}

fn stands_in(octets: &[u8]) -> bool {
    let start = STAND_IN.as_ptr().addr();
    (start..start + LONGEST).contains(&octets.as_ptr().addr())
}

/// A connection that knows stand-ins.
#[derive(Debug)]
pub(super) struct Straight {
    stream: TcpStream,
    parts: Arc<Parts>,
}

impl Straight {
    pub(super) fn new(stream: TcpStream, parts: Arc<Parts>) -> Self {
        Self { stream, parts }
    }

    /// Sends of the next part what the connection takes.
    fn send_part(&self, wanted: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut parts = self.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.front_mut().filter(|part| part.left == wanted);
        let Some(part) = part else {
            return Poll::Ready(Err(io::Error::other("a stand-in for another part of a file than the next")));
        };
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let (file, offset) = (&part.file, &mut part.offset);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(&self.stream, file, Some(offset), wanted)?)
            });
            match sent {
                Ok(0) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file became shorter",
                    )));
                }
                Ok(sent) => {
                    part.left = part.left.saturating_sub(sent);
                    if part.left == 0 {
                        parts.pop_front();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncRead for Straight {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Straight {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let from = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(slices.len());
        let slices = slices.get(from..).unwrap_or_default();
        let plain = slices.iter().take_while(|slice| !stands_in(slice)).count();
        match slices.first() {
            Some(first) if plain == 0 => self.send_part(first.len(), context),
            _ => {
                let plain = slices.get(..plain).unwrap_or_default();
                Pin::new(&mut self.stream).poll_write_vectored(context, plain)
            }
        }
    }

    // hyper copies short buffers together for a connection that takes one at a time; a stand-in must not be copied.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
