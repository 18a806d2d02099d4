//! The socket of a transmission: bursts of packets of one size in one call, and the reports that come back.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use cast::wire::DATA_BYTES;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockAddr, SockRef};
use std::time::Duration;

/// The octet of the IPv4 header for traffic that gives way (RFC 8622).
const LOWER_EFFORT: u32 = 1 << 2;
/// What the kernel may still have to send, in bytes: some milliseconds at 10 Gb/s.
const SEND_BUFFER: usize = 4 << 20;
/// What may wait to be read: the reports of all receivers of a rack at once.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket that sends to one group by one interface.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    group: SockAddr,
    /// Whether the kernel cuts bursts itself.
    segments: bool,
}

impl Socket {
    /// Bound to the interface's address, with a port of the kernel's choice. What is sent stays on the network: its TTL is 1. What
    /// `yields` is marked as of lower effort, for switches that know what that is.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open(interface: Ipv4Addr, group: SocketAddrV4, yields: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        socket.bind(&SocketAddrV4::new(interface, 0).into())?;
        socket.set_multicast_if_v4(&interface)?;
        socket.set_multicast_ttl_v4(1)?;
        if yields {
            socket.set_tos_v4(LOWER_EFFORT)?;
        }
        // Only the receivers of the network are meant.
        socket.set_multicast_loop_v4(false)?;
        // Less than is asked for is no reason not to send.
        let _smaller = socket.set_send_buffer_size(SEND_BUFFER);
        let _smaller = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_nonblocking(true)?;
        let size = i32::try_from(DATA_BYTES).unwrap_or(i32::MAX);
        // Kernels before 4.18 don't: they are sent packet by packet.
        let segments = setsockopt(&socket, UdpGsoSegment, &size).is_ok();
        Ok(Self { socket: socket.into(), group: group.into(), segments })
    }

    /// Where reports are sent to.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn address(&self) -> io::Result<SocketAddrV4> {
        match self.socket.local_addr()? {
            std::net::SocketAddr::V4(address) => Ok(address),
            std::net::SocketAddr::V6(_) => Err(io::Error::other("the socket has an IPv6 address")),
        }
    }

    /// Sends packets of [`DATA_BYTES`] each, one behind the other, each of a header and a symbol. Waits while the kernel's buffer is
    /// full.
    ///
    /// # Errors
    /// The kernel's: the interface is gone.
    pub(super) fn send(&self, packets: &[IoSlice<'_>]) -> io::Result<()> {
        if self.segments {
            return self.send_one(packets);
        }
        packets.chunks(2).try_for_each(|packet| self.send_one(packet))
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub(super) fn send_one(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        loop {
            match socket.send_to_vectored(parts, &self.group) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _room = self.wait(PollFlags::OUT, Duration::from_millis(100))?;
                }
                // The card's queue is full: the same as a buffer that is.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a packet that has come, if one has.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let (bytes, _from) = self.socket.recv_from(buffer).ok()?;
        buffer.get(..bytes)
    }

    /// Waits for a packet, so long at most; whether one has come.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn wait_for_packet(&self, most: Duration) -> io::Result<bool> {
        self.wait(PollFlags::IN, most)
    }

    fn wait(&self, what: PollFlags, most: Duration) -> io::Result<bool> {
        let most = Timespec::try_from(most).ok();
        match poll(&mut [PollFd::new(&self.socket, what)], most.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
