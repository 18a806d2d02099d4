//! A file as the body of a request, with progress.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::client::Answer;
use crate::failure::Failure;
use crate::follow::Bar;
use crate::progress::{self, Meter, Pace, percent};
use crate::session::Session;

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// Sends a regular file; its size goes ahead, so that the daemon can refuse what it has no room for.
pub(crate) async fn upload(session: &mut Session, path: &str, file: &Path) -> Result<Answer, Failure> {
    let reading = |source| Failure::Reading { path: file.to_owned(), source };
    let metadata = std::fs::metadata(file).map_err(reading)?;
    if !metadata.is_file() {
        return Err(Failure::NotAFile { path: file.to_owned() });
    }
    let total = metadata.len();
    let sent = Arc::new(AtomicU64::new(0));
    let body = FileBody { file: File::open(file).map_err(reading)?, left: total, sent: Arc::clone(&sent) };
    let bar = Bar::new(session.terminal.err_tty);
    let (mut meter, mut pace) = (Meter::default(), Pace::default());
    let client = crate::client::Client::clone(&session.client);
    let sending = client.upload(path, body);
    tokio::pin!(sending);
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut sending => break answer,
            () = tokio::time::sleep(session.pause / 4) => {}
        }
        let (done, now) = (sent.load(Ordering::Relaxed), session.elapsed_ms());
        meter.note(now, done);
        let line = match done {
            _ if done == total => format!("all {} sent; the daemon checks them", crate::text::bytes(total)),
            done => progress::line(done, total, &meter),
        };
        if !bar.redraws() && pace.is_due(now, percent(done, total)) {
            bar.line(session, &line);
        }
        bar.show(&line);
    };
    bar.clear();
    answer
}

/// Reads where it is asked for the next piece. That blocks this thread for as long as a disk needs for a quarter of a
/// MiB, and there is nothing else on it that could not wait so long.
struct FileBody {
    file: File,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        let length = match self.file.read(&mut piece) {
            Ok(0) => {
                return Poll::Ready(Some(Err(io::Error::other("the file became shorter while it was sent"))));
            }
            Ok(length) => length,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        piece.truncate(length);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(length);
        self.sent.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
