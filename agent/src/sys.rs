//! The kernel's calls that have no safe form: network card ioctls (linux/ethtool.h), options of packet sockets (packet(7)). Those of
//! disks are in `pack::disk`. The only file of the agent with `unsafe`; every function is safe to call.
#![expect(unsafe_code, reason = "these calls have no safe form; each block says why it is sound")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;
use protocol::HardwareAddress;
use rustix::ioctl::{Opcode, Updater, ioctl};

const SIOCETHTOOL: Opcode = 0x8946;
const ETHTOOL_GPERMADDR: u32 = 0x20;

/// `struct ethtool_perm_addr` with room for the longest address there is.
#[repr(C)]
struct PermanentAddress {
    cmd: u32,
    size: u32,
    data: [u8; 32],
}

/// `struct ifreq` with the one union member used here; the union is 24 bytes on 64-bit Linux.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    data: *mut PermanentAddress,
    rest: [u64; 2],
}

/// The address that is burnt into a network card, whatever it is set to now; `None` where the driver keeps none.
pub fn permanent_address(interface: &str) -> Option<HardwareAddress> {
    let mut name = [0_u8; 16];
    // The last byte stays NUL.
    name.get_mut(..15)?.get_mut(..interface.len())?.copy_from_slice(interface.as_bytes());
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    let mut answer = PermanentAddress { cmd: ETHTOOL_GPERMADDR, size: 32, data: [0; 32] };
    let mut request = InterfaceRequest { name, data: &raw mut answer, rest: [0; 2] };
    // SAFETY: SIOCETHTOOL takes a `struct ifreq` whose data points at an `ethtool_perm_addr` that announces room for
    // 32 bytes and has it; both live until the call is over and nothing else refers to them meanwhile.
    unsafe { ioctl(socket.as_fd(), Updater::<SIOCETHTOOL, _>::new(&mut request)) }.ok()?;
    let address = answer.data.get(..usize::try_from(answer.size).ok()?)?;
    if address.iter().all(|&byte| byte == 0) {
        return None;
    }
    let text = address.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    text.parse().ok()
}

/// Has a network card pass on packets to every group, whether somebody has joined it or not, for as long as this packet socket is
/// open.
///
/// # Errors
/// The kernel's: no packet socket, no such interface.
pub fn all_multicast(socket: &impl AsFd, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
        mr_type: u16::try_from(libc::PACKET_MR_ALLMULTI).map_err(io::Error::other)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&request)).map_err(io::Error::other)?;
    let (fd, option) = (socket.as_fd().as_raw_fd(), libc::PACKET_ADD_MEMBERSHIP);
    // SAFETY: the option takes a `struct packet_mreq`, of which the kernel reads `length` bytes before the call is over.
    let done = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const request).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
