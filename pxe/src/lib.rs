//! Network boot as pure functions: a packet in, a decision out.
//!
//! Knows: the DHCP, PXE and TFTP wire formats, who gets which address, which file a client may have, and the text
//! of every boot script. Refuses to know: sockets, files, clocks, databases. The shell gives it bytes, a snapshot
//! of the leases and the time, commits the [`dhcp::LeaseChange`] it gets back, and only then sends.
//!
//! One boot, in the order the calls come: [`dhcp::Request::parse`] and [`dhcp::decide`] (DISCOVER, REQUEST),
//! [`tftp::decide`] (the loader), [`files::resolve`] (every name asked for, by TFTP or HTTP), [`script::grub`] or
//! [`script::ipxe`] (what the machine does next); beside them [`ndp::answer`], so that iPXE does not wait for IPv6.
//! Every silence and refusal carries a printable reason.

#![forbid(unsafe_code)]

pub mod boot;
pub mod dhcp;
pub mod diagnose;
pub mod files;
pub mod mac;
pub mod ndp;
pub mod script;
pub mod tftp;
pub mod time;
pub mod trace;

pub use boot::{BootPath, HttpBase};
pub use mac::Mac;
pub use time::Time;
