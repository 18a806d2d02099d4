//! The kernel's calls that have no safe form: block device and network card ioctls (linux/fs.h, linux/ethtool.h).
//! The only file of the agent with `unsafe`; every function is safe to call with any open file.
#![expect(unsafe_code, reason = "ioctls have no safe form; each block says why it is sound")]

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use protocol::HardwareAddress;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, Updater, ioctl};

const BLKROSET: Opcode = 0x125d;
const BLKROGET: Opcode = 0x125e;
const BLKRRPART: Opcode = 0x125f;
const BLKDISCARD: Opcode = 0x1277;
const BLKZEROOUT: Opcode = 0x127f;
/// `_IOR(0x12, 114, size_t)`: the argument is a `u64` whatever the name says.
const BLKGETSIZE64: Opcode = 0x8008_1272;
const SIOCETHTOOL: Opcode = 0x8946;
const ETHTOOL_GPERMADDR: u32 = 0x20;

/// Makes the kernel refuse (or accept again) writes to a whole disk and its partitions.
///
/// # Errors
/// What the kernel says.
pub fn set_read_only(disk: &File, read_only: bool) -> io::Result<()> {
    // SAFETY: BLKROSET reads one int from the pointer it is given; `Setter` points at one that it owns.
    let done = unsafe { ioctl(disk.as_fd(), Setter::<BLKROSET, i32>::new(i32::from(read_only))) };
    Ok(done?)
}

/// Whether the kernel refuses writes to a disk.
///
/// # Errors
/// What the kernel says.
pub fn is_read_only(disk: &File) -> io::Result<bool> {
    // SAFETY: BLKROGET writes one int to the pointer it is given; `Getter` points at room for one.
    let flag = unsafe { ioctl(disk.as_fd(), Getter::<BLKROGET, i32>::new()) }?;
    Ok(flag != 0)
}

/// The size of a block device in bytes.
///
/// # Errors
/// What the kernel says; `ENOTTY` for anything but a block device.
pub fn disk_bytes(disk: &File) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 writes one u64 to the pointer it is given; `Getter` points at room for one.
    let bytes = unsafe { ioctl(disk.as_fd(), Getter::<BLKGETSIZE64, u64>::new()) }?;
    Ok(bytes)
}

/// Makes a stretch of a disk read as zeros, by the drive itself where it can. Offset and length in bytes, both
/// multiples of the sector size.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` or `EINVAL` where zeros must be written by hand.
pub fn zero_out(disk: &File, offset: u64, bytes: u64) -> io::Result<()> {
    // SAFETY: BLKZEROOUT reads two u64 (start, length) from the pointer it is given; `Setter` owns the array.
    let done = unsafe { ioctl(disk.as_fd(), Setter::<BLKZEROOUT, [u64; 2]>::new([offset, bytes])) };
    Ok(done?)
}

/// Tells a drive that a stretch of it is not needed any more. Offset and length in bytes, multiples of the sector size.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` where the drive can't.
pub fn discard(disk: &File, offset: u64, bytes: u64) -> io::Result<()> {
    // SAFETY: BLKDISCARD reads two u64 (start, length) from the pointer it is given; `Setter` owns the array.
    let done = unsafe { ioctl(disk.as_fd(), Setter::<BLKDISCARD, [u64; 2]>::new([offset, bytes])) };
    Ok(done?)
}

/// Asks the kernel to read the partition table again.
///
/// # Errors
/// What the kernel says; `EBUSY` when a partition is in use, `EINVAL` for a device that has no partitions.
pub fn reread_partitions(disk: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    let done = unsafe { ioctl(disk.as_fd(), NoArg::<BLKRRPART>::new()) };
    Ok(done?)
}

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
