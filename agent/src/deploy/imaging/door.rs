//! Where other nodes fetch what this one has of its image: ranges from the shelf, over TCP, to whoever has the key.
//!
//! What is on the wire is specified in `appliance/docs/cast.md`, "Doors". Whatever is sent here costs a bounded amount of memory and
//! time: connections are counted, each question has a fixed length, and each answer goes out piece by piece.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cast::wire::door::{ASK_BYTES, Answer, Ask};
use pack::Digest;
use protocol::ReportKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::shelf::{Shelf, There};
use crate::keys;

/// Connections at once.
const CONNECTIONS: usize = 16;
/// How long a range is waited for that is on its way here. Whoever asks takes us for dead after a second.
const PATIENCE: Duration = Duration::from_millis(600);
/// How long a new connection may say nothing.
const FIRST: Duration = Duration::from_secs(5);
/// How long one may that has been answered.
const IDLE: Duration = Duration::from_secs(30);
/// How long one may take nothing of its answer.
const STALLED: Duration = Duration::from_secs(5);
/// After an error of the kernel's, which has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// An open door; it is shut when this is dropped, with all connections.
#[derive(Debug)]
pub(crate) struct Door {
    told: protocol::Door,
    task: JoinHandle<()>,
}

/// What connections are served from.
#[derive(Debug)]
struct Room {
    image: [u8; 32],
    key: [u8; 32],
    shelf: Arc<Shelf>,
}

impl Door {
    /// Opens one on our address, on a port of the kernel's choice, with a new key.
    ///
    /// # Errors
    /// The kernel's: no such address, no port, no random numbers.
    pub(crate) async fn open(local: Ipv4Addr, image: &Digest, shelf: Arc<Shelf>) -> io::Result<Self> {
        let key = keys::random().map_err(io::Error::other)?;
        let listener = TcpListener::bind((local, 0)).await?;
        let told = protocol::Door { port: listener.local_addr()?.port(), key: ReportKey(key) };
        let room = Arc::new(Room { image: image.0, key, shelf });
        Ok(Self { told, task: tokio::spawn(serve(listener, room)) })
    }

    /// Its port and its key, for those who may fetch here.
    pub(crate) fn told(&self) -> protocol::Door {
        self.told.clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The connections are in a set that goes with the task.
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, room: Arc<Room>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                // Where there is no place left it is closed: whoever it is fetches elsewhere.
                let Ok(place) = Arc::clone(&free).try_acquire_owned() else { continue };
                let room = Arc::clone(&room);
                open.spawn(async move {
                    // Why it ended is of interest to the other side only.
                    let _ended = room.answer_all(stream).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl Room {
    /// Answers one question after the other, until one is none.
    async fn answer_all(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut packet, mut patience) = ([0; ASK_BYTES], FIRST);
        loop {
            timeout(patience, stream.read_exact(&mut packet)).await??;
            let ask = Ask::read(&packet, &self.key).map_err(io::Error::other)?;
            self.answer(&ask, &mut stream).await?;
            patience = IDLE;
        }
    }

    async fn answer(&self, ask: &Ask, stream: &mut TcpStream) -> io::Result<()> {
        let Ask { offset, bytes, image } = *ask;
        let there = if image == self.image {
            Some(self.shelf.await_range(offset, bytes, PATIENCE).await)
        } else {
            None
        };
        let answer = match there {
            Some(There::Whole) => Answer::Follows(bytes),
            Some(There::NotYet | There::Gone) => Answer::NotHere,
            None => Answer::OtherImage,
        };
        give(stream, Bytes::copy_from_slice(&answer.packet())).await?;
        if there != Some(There::Whole) {
            return Ok(());
        }
        let (mut at, end) = (offset, offset.saturating_add(u64::from(bytes)));
        while at < end {
            // Looked for only when its turn comes: an answer that nobody takes holds one piece.
            let part = self.shelf.part(at, end).ok_or(io::ErrorKind::NotFound)?;
            at = at.saturating_add(part.len() as u64);
            give(stream, part).await?;
        }
        Ok(())
    }
}

/// Sends all of it to somebody who takes some of it every now and then.
async fn give(stream: &mut TcpStream, mut part: Bytes) -> io::Result<()> {
    while !part.is_empty() {
        if timeout(STALLED, stream.write_buf(&mut part)).await?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
