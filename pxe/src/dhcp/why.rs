//! Why nothing is answered.

use std::net::Ipv4Addr;

use super::client::Arch;
use super::request::Kind;
use crate::{Mac, Time};

/// The reason for a silence. Printed as it is to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// [`super::Mode::Off`].
    #[error("DHCP is turned off")]
    Off,
    /// [`super::Stance::Listening`].
    #[error("not before it is known whether another DHCP server is on this network; that takes some seconds")]
    Listening,
    /// [`super::Stance::Paused`].
    #[error(
        "another DHCP server, {0}, is on this network, so nobody is answered here (rackwright network list)"
    )]
    Foreign(Ipv4Addr),
    /// [`super::Mode::KnownOnly`] and nobody has admitted the machine.
    #[error("{0} is not a known machine, and only those are answered")]
    UnknownMachine(Mac),
    /// Firmware that we have no loader for (option 93).
    #[error(
        "no boot loader for client architecture {0} ({name}; {advice})",
        name = Arch(*.0).name(),
        advice = Arch(*.0).advice()
    )]
    ArchUnsupported(u16),
    /// 64-bit ARM, and nothing for it in the boot store.
    #[error(
        "an arm64 machine, and the boot store has nothing for it (vmlinuz-arm64 and initrd-arm64.img, with \
         shimaa64.efi and grubnetaa64.efi, or with ipxe-arm64.efi)"
    )]
    NoArm64Files,
    /// Firmware that does not say what it is.
    #[error("asks for a boot loader and does not say for which architecture (no option 93)")]
    ArchMissing,
    /// Another server gives the addresses ([`super::Policy::proxy`]), and the client wants nothing else.
    #[error("another DHCP server gives the addresses here, and this is no firmware that boots")]
    NotBooting,
    /// Another server gives the addresses, and the message is about one.
    #[error("{0} is for the DHCP server that gives the addresses here; port 4011 is ours")]
    AddressesElsewhere(Kind),
    /// The client took another server's offer: there is a second DHCP server on this network.
    #[error("the client chose another DHCP server, {0}")]
    OtherServer(Ipv4Addr),
    /// Every address of the pools is somebody's.
    #[error(
        "no free address: of {size} in the pools, {held} are held and {quarantined} are in quarantine (rackwright network leases)"
    )]
    PoolExhausted {
        /// Addresses in the pools that could be a client's.
        size: u64,
        /// Of these, held by a machine.
        held: u64,
        /// Of these, found in use by somebody unknown.
        quarantined: u64,
    },
    /// A relay that the configuration does not name.
    #[error(
        "relayed by {0}, which the configuration does not name as a relay (relay = … of [[provision.relayed]])"
    )]
    RelayNotOurs(Ipv4Addr),
    /// The address asked for, or the subnet meant, is not ours to speak about.
    #[error("asks for {0}, which is not in the provisioning subnet")]
    SubnetNotOurs(Ipv4Addr),
    /// A REQUEST, DECLINE or INFORM that names no address.
    #[error("{0} names no address")]
    NoAddress(Kind),
    /// A DECLINE or RELEASE of an address that the machine does not hold.
    #[error("{kind} of {asked}, which {mac} does not hold")]
    NotItsAddress {
        /// DECLINE or RELEASE.
        kind: Kind,
        /// The address named.
        asked: Ipv4Addr,
        /// Who named it.
        mac: Mac,
    },
    /// The address fixed for the machine was found in use by somebody else.
    #[error("{address} is fixed for this machine, and another host was found using it (until {} s after 1970)", .until.0 / 1000)]
    FixedIsInUse {
        /// The address.
        address: Ipv4Addr,
        /// When it is tried again.
        until: Time,
    },
    /// The address that a person fixed for the machine is in another network than the one it asks on.
    #[error(
        "{0} is fixed for this machine, in another network than the one it asks on: is its cable in the right port? (or rackwright network unreserve)"
    )]
    FixedElsewhere(Ipv4Addr),
    /// Port 4011 is for PXE firmware.
    #[error("not PXE firmware, on the port that is for PXE firmware only")]
    NotPxe,
    /// Port 4011 answers boot requests only.
    #[error("{0} on the PXE port, where only REQUEST and INFORM mean something")]
    NotOnPxePort(Kind),
    /// An unicast from outside of the subnet.
    #[error("sent from {0}, which is not in the provisioning subnet")]
    SourceNotOurs(Ipv4Addr),
    /// Marked as a controller's question and no DISCOVER.
    #[error(
        "{0} with the vendor class of a controller that looks for other servers, which only sends DISCOVER"
    )]
    NotAProbe(Kind),
    /// What must be echoed is more than the client takes, or a frame.
    #[error("the reply would have {0} octets, more than a frame holds or the client takes")]
    ReplyTooLong(usize),
}
