//! Firmware that loads one file by TFTP, as many at once as wished, in one thread: the same for every server.
//!
//! Knows RFC 1350, 2347, 2348 and 7440 from the client's side, and compares every byte with what it should be. Refuses
//! to know who serves.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::bench::wire::{SERVER, Wire};

/// After so much silence a client says again what it said last.
const AGAIN: Duration = Duration::from_secs(1);
/// How often clients are looked at that hear nothing.
const TICK: Duration = Duration::from_millis(100);
/// Nothing new for so long: it will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// The file's name.
    pub(super) name: &'a str,
    /// What is in it.
    pub(super) content: &'a [u8],
    /// `blksize`.
    pub(super) block: u16,
    /// `windowsize`; 1 is not asked for.
    pub(super) window: u16,
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    /// From the first request to the last block of the last client.
    pub(super) time: Duration,
    /// How often a client had to ask again.
    pub(super) again: u32,
    /// The window that the server agreed to.
    pub(super) window: u16,
}

/// `clients` clients at once, each with an address of its own, load the file `times` times, one after the other.
///
/// # Errors
/// The network; a refusal; bytes that are not those of the file; a transfer that stands still.
pub(super) fn load(wish: Wish<'_>, clients: u8, times: u32) -> io::Result<Took> {
    let start = Instant::now();
    let mut all = (0..clients).map(|number| Client::new(wish, number)).collect::<io::Result<Vec<_>>>()?;
    let mut left: Vec<u32> = vec![times; all.len()];
    let mut again = 0;
    let mut looked = start;
    while left.iter().any(|left| *left > 0) {
        let ready = wait(&all)?;
        let now = Instant::now();
        let look = now.duration_since(looked) > TICK;
        if look {
            looked = now;
        }
        for ((client, left), ready) in
            all.iter_mut().zip(&mut left).zip(ready).filter(|((_, left), _)| **left > 0)
        {
            if ready && client.take(now)? {
                *left -= 1;
                again += client.again;
                if *left > 0 {
                    client.begin()?;
                }
            } else if look {
                client.late(now)?;
            }
        }
    }
    let window = all.first().map_or(1, |client| client.window);
    Ok(Took { time: start.elapsed(), again, window })
}

/// Which of them have something to take; none after a tick.
fn wait(all: &[Client<'_>]) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        all.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)).collect();
    match poll(&mut polled, Timespec::try_from(TICK).ok().as_ref()) {
        Ok(_) => Ok(polled.iter().map(|polled| !polled.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; all.len()]),
        Err(error) => Err(error.into()),
    }
}

struct Client<'a> {
    wish: Wish<'a>,
    address: SocketAddrV4,
    socket: UdpSocket,
    server: Option<SocketAddr>,
    block: u16,
    window: u16,
    /// Octets that came, in order.
    got: usize,
    /// The last block that came in order.
    last: u16,
    /// Blocks since the last acknowledgement.
    unsaid: u16,
    heard: Instant,
    said: Instant,
    again: u32,
}

impl<'a> Client<'a> {
    fn new(wish: Wish<'a>, number: u8) -> io::Result<Client<'a>> {
        let address = SocketAddrV4::new(Wire::client(number), 0);
        let socket = UdpSocket::bind(address)?;
        let now = Instant::now();
        let mut client = Client {
            wish,
            address,
            socket,
            server: None,
            block: 512,
            window: 1,
            got: 0,
            last: 0,
            unsaid: 0,
            heard: now,
            said: now,
            again: 0,
        };
        client.begin()?;
        Ok(client)
    }

    /// A request, from a new port as firmware does.
    fn begin(&mut self) -> io::Result<()> {
        self.socket = UdpSocket::bind(self.address)?;
        self.socket.set_nonblocking(true)?;
        (self.server, self.block, self.window) = (None, 512, 1);
        (self.got, self.last, self.unsaid, self.again) = (0, 0, 0, 0);
        self.heard = Instant::now();
        self.ask()
    }

    fn ask(&mut self) -> io::Result<()> {
        let Wish { name, block, window, .. } = self.wish;
        let mut packet = format!("\0\u{1}{name}\0octet\0blksize\0{block}\0");
        if window > 1 {
            packet.push_str(&format!("windowsize\0{window}\0"));
        }
        self.said = Instant::now();
        self.socket.send_to(packet.as_bytes(), (SERVER, 69)).map(drop)
    }

    fn acknowledge(&mut self, now: Instant) -> io::Result<()> {
        let Some(server) = self.server else { return self.ask() };
        let [high, low] = self.last.to_be_bytes();
        (self.unsaid, self.said) = (0, now);
        self.socket.send_to(&[0, 4, high, low], server).map(drop)
    }

    /// Takes what has come: a window at most, so that others have their turn. True when the file is whole.
    fn take(&mut self, now: Instant) -> io::Result<bool> {
        let mut buffer = [0; 2048];
        for _ in 0..self.window {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    if *self.server.get_or_insert(from) == from
                        && self.packet(buffer.get(..length).unwrap_or_default(), now)?
                    {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Nothing has come for a while.
    fn late(&mut self, now: Instant) -> io::Result<()> {
        if now.duration_since(self.heard) > PATIENCE {
            return Err(io::Error::other(format!("stands still after {} octets", self.got)));
        }
        if now.duration_since(self.said) > AGAIN && now.duration_since(self.heard) > AGAIN {
            self.again += 1;
            self.acknowledge(now)?;
        }
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], now: Instant) -> io::Result<bool> {
        match packet {
            [0, 3, high, low, data @ ..] => self.data(u16::from_be_bytes([*high, *low]), data, now),
            [0, 6, options @ ..] if self.got == 0 => {
                self.agree(options);
                self.heard = now;
                self.acknowledge(now)?;
                Ok(false)
            }
            [0, 5, text @ ..] => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
            _ => Ok(false),
        }
    }

    fn agree(&mut self, options: &[u8]) {
        let texts: Vec<String> = options
            .split(|octet| *octet == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        for pair in texts.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let Ok(value) = value.parse() else { continue };
            match name.to_ascii_lowercase().as_str() {
                "blksize" => self.block = value,
                "windowsize" => self.window = value,
                _ => {}
            }
        }
    }

    fn data(&mut self, block: u16, data: &[u8], now: Instant) -> io::Result<bool> {
        if block != self.last.wrapping_add(1) {
            // A gap: the server shall go on after what came in order (RFC 7440 §4). A repetition says nothing.
            let ahead = block.wrapping_sub(self.last);
            if (2..=self.window).contains(&ahead) && self.unsaid > 0 {
                self.acknowledge(now)?;
            }
            return Ok(false);
        }
        let wanted = self.wish.content.get(self.got..).unwrap_or_default();
        if !wanted.starts_with(data) {
            return Err(io::Error::other(format!("block {block} is not what the file has there")));
        }
        self.got += data.len();
        (self.last, self.heard) = (block, now);
        self.unsaid += 1;
        let end = data.len() < usize::from(self.block);
        if end && self.got != self.wish.content.len() {
            return Err(io::Error::other(format!("ended after {} octets", self.got)));
        }
        if end || self.unsaid >= self.window {
            self.acknowledge(now)?;
        }
        Ok(end)
    }
}
