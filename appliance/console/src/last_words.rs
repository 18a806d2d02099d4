//! A stream on which a peer that hung up is still heard.
//!
//! A daemon that refuses a large body answers and closes, while the rest is still being sent. The failed write would end
//! the exchange before the answer was read, and the person would see a broken pipe instead of the reason.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// Once the peer takes nothing more, everything sent to it is dropped; reading goes on until its end.
#[derive(Debug)]
pub(crate) struct LastWords(pub(crate) UnixStream);

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

impl AsyncRead for LastWords {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for LastWords {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_write(context, bytes)) {
            Err(error) if is_hang_up(&error) => Ok(bytes.len()),
            written => written,
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_flush(context)) {
            Err(error) if is_hang_up(&error) => Ok(()),
            flushed => flushed,
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_shutdown(context)) {
            Err(error) if is_hang_up(&error) => Ok(()),
            shut => shut,
        })
    }
}
