//! One transfer: the handshake, then `tftpd`'s worker, watched.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pxe::tftp::Transfer;
use rustix::fs::MemfdFlags;
use tftpd::{Socket, Worker};
use tokio::net::UdpSocket;

use super::line::{Line, Progress};
use crate::listen::Stop;
use crate::listen::files::Content;

/// How often the OACK is sent: with what a request costs the client, that is no amplifier worth using.
const OACKS: u32 = 4;
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(20);
/// Without a new acknowledgement for so long, the client is gone.
const STALLED: Duration = Duration::from_secs(30);
/// No loader takes longer: a client that acknowledges one block now and then is not booting.
const LONGEST: Duration = Duration::from_secs(600);

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The last block was acknowledged.
    Whole,
    /// The client sent an ERROR.
    Refused(String),
    /// It went away, we stop, or something broke.
    Failed(String),
}

/// A transfer that can begin.
pub(super) struct Job {
    file: File,
    length: u64,
    bounds: Transfer,
    peer: SocketAddr,
    socket: StdSocket,
}

impl Job {
    /// Makes the content a file, whatever it was, and ties the socket to the client.
    pub(super) fn new(
        content: Content,
        bounds: Transfer,
        peer: SocketAddr,
        socket: StdSocket,
    ) -> io::Result<Self> {
        let length = content.length();
        let file = match content {
            Content::File(file, _) => file,
            Content::Text(text) => {
                let mut file = File::from(rustix::fs::memfd_create("tftp", MemfdFlags::CLOEXEC)?);
                file.write_all(&text)?;
                file.rewind()?;
                file
            }
        };
        socket.connect(peer)?;
        Ok(Self { file, length, bounds, peer, socket })
    }

    /// Sends it all.
    pub(super) async fn run(self, stop: Stop) -> Ended {
        let socket = match UdpSocket::from_std(self.socket) {
            Ok(socket) => socket,
            Err(e) => return Ended::Failed(format!("using a socket: {e}")),
        };
        if let Some(oack) = self.bounds.oack(self.length)
            && let Err(ended) = agree(&socket, &oack, Duration::from_secs(self.bounds.timeout.into())).await
        {
            return ended;
        }
        let progress = Arc::new(Progress::new());
        let line = match socket.into_std() {
            Ok(socket) => Line::new(socket, self.peer, self.bounds.window, Arc::clone(&progress)),
            Err(e) => return Ended::Failed(format!("using a socket: {e}")),
        };
        let worker = worker(&self.file, self.bounds, Box::new(line));
        let thread = match worker.send(false) {
            Ok(thread) => thread,
            Err(e) => return Ended::Failed(format!("starting to send: {e}")),
        };
        watch(&progress, stop, || thread.is_finished()).await;
        // The file must stay open until the worker has let go of it.
        let done = thread.join().unwrap_or(false);
        drop(self.file);
        match progress.ended() {
            Some(ended) => ended,
            None if done => Ended::Whole,
            None => Ended::Failed("the file could not be read".into()),
        }
    }
}

/// Sends the OACK until block 0 is acknowledged (RFC 2347).
async fn agree(socket: &UdpSocket, oack: &[u8], timeout: Duration) -> Result<(), Ended> {
    let mut buffer = [0u8; 128];
    for _ in 0..OACKS {
        socket.send(oack).await.map_err(|e| Ended::Failed(format!("sending the OACK: {e}")))?;
        let until = tokio::time::Instant::now() + timeout;
        while let Ok(received) = tokio::time::timeout_at(until, socket.recv(&mut buffer)).await {
            let length = received.map_err(|e| Ended::Failed(format!("waiting for the first answer: {e}")))?;
            match buffer.get(..length).unwrap_or_default() {
                [0, 4, 0, 0, ..] => return Ok(()),
                [0, 5, rest @ ..] => return Err(Ended::Refused(super::line::error_text(rest))),
                _ => {}
            }
        }
    }
    Err(Ended::Failed(format!("the OACK was not answered {OACKS} times")))
}

/// `tftpd`'s sender. Its option types are public but cannot be named (their module is private), so they are taken
/// from the signature of [`Worker::new`].
fn worker(file: &File, bounds: Transfer, line: Box<dyn Socket>) -> Worker<dyn Socket> {
    type New<L, P> = fn(Box<dyn Socket>, PathBuf, L, P, Arc<AtomicBool>) -> Worker<dyn Socket>;
    fn defaults<L: Default, P: Default>(_: New<L, P>) -> (L, P) {
        (L::default(), P::default())
    }
    let (mut local, mut common) = defaults(Worker::<dyn Socket>::new);
    // Its budget counts a whole transfer's losses, its watch is ours.
    local.max_retries = usize::MAX;
    local.repeat_count = 1;
    common.block_size = bounds.block;
    common.window_size = bounds.window;
    common.window_wait = Duration::ZERO;
    common.timeout = Duration::from_secs(bounds.timeout.into());
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Worker::new(line, path, local, common, Arc::default())
}

/// Returns when the worker has finished; ends the transfer when it stalls, takes too long, or we stop.
async fn watch(progress: &Progress, mut stop: Stop, finished: impl Fn() -> bool) {
    let start = Instant::now();
    while !finished() {
        tokio::select! {
            () = crate::listen::supervise::stopped(&mut stop), if !progress.has_ended() => {
                progress.end(Ended::Failed("the controller is stopping".into()));
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        if progress.idle() > STALLED {
            progress.end(Ended::Failed(format!("no acknowledgement for {} s", STALLED.as_secs())));
        } else if start.elapsed() > LONGEST {
            progress.end(Ended::Failed(format!("not done in {} s", LONGEST.as_secs())));
        }
    }
}
