//! DHCP for a provisioning network: who gets which address, and what firmware is told to boot.
//!
//! ```text
//! bytes --Request::parse--> Request --decide(network, leases, machine, request, arrival, now)--> Decision
//!                                                                                       | Reply  commit lease, send
//!                                                                                       | Record commit lease
//!                                                                                       | Ignore print why
//! ```
//!
//! Addresses hang on the MAC (chaddr), never on the client identifier: the ROM sends none, iPXE sends one, the
//! installed system another. The first address a MAC is given is its for good; see [`Leases`].
//! RFC 2131 and 2132, 3011 and 3527 (which subnet is meant), 3046 (option 82 echoed), 3396 (long options), 4578 (PXE),
//! 5107 (a relay that stands for the server), 6842 (option 61 echoed); PXE 2.1, 2.2.3 (beside another server, which gives
//! the addresses). No BOOTP, no rapid commit, no option overload in replies, no PXE menus.

mod allocate;
mod client;
mod decide;
mod given;
mod lease;
mod loader;
mod options;
mod policy;
pub mod probe;
mod reply;
mod request;
mod standing;
mod taken;
mod why;

pub use allocate::Room;
pub use client::{Arch, Hostname, Ipxe, Uuid, VendorClass};
pub use decide::{Arrival, Decision, Door, Reply, ReplyKind, decide};
pub use lease::{AddressError, BadLeases, Lease, LeaseChange, LeaseState, Leases, QUARANTINE_SECONDS};
pub use loader::BootFile;
pub use policy::{BadPolicy, Machine, Mode, Network, Policy, Pool, Stance};
pub use request::{Kind, Malformed, Request};
pub use standing::standing;
pub use why::Why;
