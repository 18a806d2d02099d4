//! The kernel's calls that have no safe form: network card ioctls (linux/ethtool.h), options of packet sockets (packet(7)), commands to
//! NVMe drives (linux/nvme_ioctl.h) and to those behind SCSI (scsi/sg.h). Other calls of disks are in `pack::disk`. The only file of the agent with `unsafe`; every function is safe to call.
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

/// Has a packet socket send by one network card, and take only what comes by it with this EtherType.
///
/// # Errors
/// The kernel's: no packet socket, no such interface.
pub fn bind_packet(socket: &impl AsFd, ethertype: u16, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        // In network byte order, as all of packet(7).
        sll_protocol: ethertype.to_be(),
        sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the address is a whole `struct sockaddr_ll`, of which the kernel reads `length` bytes before the call is over.
    let done = unsafe { libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has an IPv4 socket send whole packets with "don't fragment" set, of up to the link's own size, whatever was heard of the way (ip(7)).
///
/// # Errors
/// The kernel's: no IPv4 socket.
pub fn never_fragment(socket: &impl AsFd) -> io::Result<()> {
    let value = libc::IP_PMTUDISC_PROBE;
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    let (fd, option) = (socket.as_fd().as_raw_fd(), libc::IP_MTU_DISCOVER);
    // SAFETY: the option takes an `int`, of which the kernel reads `length` bytes before the call is over.
    let done = unsafe { libc::setsockopt(fd, libc::IPPROTO_IP, option, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `_IO('N', 0x40)`, linux/nvme_ioctl.h.
const NVME_IOCTL_ID: libc::Ioctl = 0x4e40;
/// `_IOWR('N', 0x41, struct nvme_passthru_cmd)`.
const NVME_IOCTL_ADMIN_CMD: libc::Ioctl = 0xc048_4e41_u32 as libc::Ioctl;

/// `struct nvme_passthru_cmd`: 72 bytes.
#[repr(C)]
#[derive(Default)]
struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dword_2: u32,
    dword_3: u32,
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    dwords_10: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<NvmeCommand>() == 72);

/// Which namespace of its controller an NVMe disk is.
///
/// # Errors
/// The kernel's; `ENOTTY` for anything but an NVMe disk.
pub fn nvme_namespace(disk: &impl AsFd) -> io::Result<u32> {
    // SAFETY: the call takes no argument, and answers with a number.
    let id = unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), NVME_IOCTL_ID) };
    u32::try_from(id).map_err(|_| io::Error::last_os_error())
}

/// Gives a command (opcode and namespace, dwords 10 and 11) to the controller of an NVMe disk, with a buffer that it reads or
/// fills. Gives the drive's status, 0 for success.
///
/// # Errors
/// The kernel's: it was not given to the drive, or the drive did not answer in time.
pub fn nvme_admin(
    disk: &impl AsFd,
    (opcode, namespace): (u8, u32),
    [ten, eleven]: [u32; 2],
    data: &mut [u8],
    timeout_ms: u32,
) -> io::Result<u16> {
    let mut command = NvmeCommand {
        opcode,
        namespace,
        address: if data.is_empty() { 0 } else { data.as_mut_ptr().expose_provenance() as u64 },
        data_bytes: u32::try_from(data.len()).map_err(io::Error::other)?,
        dwords_10: [ten, eleven, 0, 0, 0, 0],
        timeout_ms,
        ..NvmeCommand::default()
    };
    // SAFETY: the call takes a `struct nvme_passthru_cmd`, whose address and length are those of `data`; both are borrowed for as
    // long as the call lasts, and the kernel touches nothing else.
    let status = unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), NVME_IOCTL_ADMIN_CMD, &raw mut command) };
    u16::try_from(status).map_err(|_| io::Error::last_os_error())
}

/// scsi/sg.h.
const SG_IO: libc::Ioctl = 0x2285;
const SG_FROM_DEVICE: i32 = -3;
const SG_NO_DATA: i32 = -1;

/// `struct sg_io_hdr`: 88 bytes on 64-bit Linux.
#[repr(C)]
struct ScsiRequest {
    interface: i32,
    direction: i32,
    command_bytes: u8,
    sense_room: u8,
    vectors: u16,
    data_bytes: u32,
    data: *mut u8,
    command: *const u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack: i32,
    user: u64,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_bytes: u8,
    host_status: u16,
    driver_status: u16,
    missing: i32,
    duration_ms: u32,
    info: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<ScsiRequest>() == 88);

/// What a device behind SCSI answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScsiAnswer {
    /// Its status byte (SAM): 0 is good, 2 has something to say in `sense`.
    pub status: u8,
    /// Whether it was reached.
    pub reached: bool,
    /// What it says beside that.
    pub sense: Vec<u8>,
}

/// Gives a command to a device behind SCSI that sends so much data, or none. A command that would send data to it can't be given.
///
/// # Errors
/// The kernel's: it was not given to the device; `ENOTTY` for what is not behind SCSI.
pub fn scsi_read(
    disk: &impl AsFd,
    command: &[u8; 16],
    data: &mut [u8],
    timeout_ms: u32,
) -> io::Result<ScsiAnswer> {
    let mut sense = [0_u8; 64];
    let mut request = ScsiRequest {
        interface: i32::from(b'S'),
        direction: if data.is_empty() { SG_NO_DATA } else { SG_FROM_DEVICE },
        command_bytes: 16,
        sense_room: 64,
        vectors: 0,
        data_bytes: u32::try_from(data.len()).map_err(io::Error::other)?,
        data: data.as_mut_ptr(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_ms,
        flags: 0,
        pack: 0,
        user: 0,
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_bytes: 0,
        host_status: 0,
        driver_status: 0,
        missing: 0,
        duration_ms: 0,
        info: 0,
    };
    // SAFETY: the call takes a `struct sg_io_hdr`, whose pointers are of `data`, `command` and `sense` with their true lengths; all
    // live until the call is over. The direction says that the kernel writes `data` at most, and reads `command` only.
    let done = unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), SG_IO, &raw mut request) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let said = sense.get(..usize::from(request.sense_bytes)).unwrap_or_default().to_vec();
    Ok(ScsiAnswer { status: request.status, reached: request.host_status == 0, sense: said })
}
