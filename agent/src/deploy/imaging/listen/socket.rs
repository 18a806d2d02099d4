//! The socket of a listener: what one sender sends to one group.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use cast::wire::{BEAT_BYTES, DATA_BYTES};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, UdpGroSegment};
use protocol::Seat;

/// What may wait to be read: a quarter of a second at 1 Gb/s, while this thread is kept from running.
const RECEIVE_BUFFER: usize = 32 << 20;
/// The most that the kernel hands over at once: packets of one size that came one behind the other (udp(7), UDP_GRO).
const READ_BYTES: usize = 64 << 10;
/// How long a read waits.
const PATIENCE: Duration = Duration::from_millis(10);

/// A socket that hears one group from one sender.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    group: Ipv4Addr,
    local: Ipv4Addr,
    buffer: Vec<u8>,
}

impl Socket {
    /// Joins the group of a seat on the network of our address there.
    pub(super) fn open(seat: &Seat, local: Ipv4Addr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(seat.group, seat.port).into())?;
        socket.join_multicast_v4(&seat.group, &local)?;
        // Nothing from anybody else passes the kernel; and reports go there.
        socket.connect(&seat.source.into())?;
        // Only root may have that much. Less is a reason for losses, not for giving up.
        if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _smaller = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        // Kernels before 5.0 hand over packet by packet.
        let _single = setsockopt(&socket, UdpGroSegment, &true);
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket: socket.into(), group: seat.group, local, buffer: vec![0; READ_BYTES] })
    }

    /// Says again that the group is wanted here. A kernel that hears a query while it is about to say so puts that off, by up to ten seconds, and
    /// a switch with snooping sends nothing meanwhile.
    pub(super) fn join_again(&self) {
        let socket = socket2::SockRef::from(&self.socket);
        // Where there is no such network any more, nothing comes either, and that is noticed.
        let _left = socket.leave_multicast_v4(&self.group, &self.local);
        let _joined = socket.join_multicast_v4(&self.group, &self.local);
    }

    /// Waits a moment for packets. They may be none.
    pub(super) fn receive(&mut self) -> io::Result<impl Iterator<Item = &[u8]>> {
        let bytes = match self.socket.recv(&mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if is_nothing(&error) => 0,
            Err(error) => return Err(error),
        };
        let whole = self.buffer.get(..bytes).unwrap_or_default();
        // Beats that came one behind the other are together too, and one may close what came of data. What has no size of ours is one
        // packet, and is refused once.
        let size = match bytes {
            DATA_BYTES.. => DATA_BYTES,
            _ if bytes > 0 && bytes.is_multiple_of(BEAT_BYTES) => BEAT_BYTES,
            _ => bytes.max(1),
        };
        Ok(whole.chunks(size))
    }

    /// Sends a report. One that is lost is followed by another.
    pub(super) fn send(&self, report: &[u8]) {
        let _lost = self.socket.send(report);
    }
}

/// Nothing came; or the sender's port is closed, as it is while the controller restarts.
fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionRefused)
}
