//! What a booting machine is told to do, as an iPXE script or a GRUB configuration.
//!
//! Public by design: whoever is on the boot network can read every one of them, so a secret has no field here to be
//! in. Everything that goes in is typed; the one free text, [`Reason`], is cut down to characters that neither
//! interpreter gives a meaning to. No script ends by handing back to the firmware: on many machines that is a setup
//! screen, for ever. They try again, and then restart the machine. The one exception is [`LocalBoot::Return`].

mod grub;
mod ipxe;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

pub use grub::{grub, grub_entry};
pub use ipxe::{autoexec, ipxe};

use crate::boot::LocalBoot;
use crate::{BootPath, HttpBase, Mac};

/// SHA-256 over the site CA certificate (DER). Public. Printed `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaPin(pub [u8; 32]);

/// Why a machine does what it does, for its own screen: letters, digits, spaces and `.,:_/()-+=`, at most 160. Every
/// other character becomes a question mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// What the machine shall do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootTask {
    /// Start the ramdisk; its agent asks the controller for the rest.
    Agent {
        /// Shown while it starts.
        why: Reason,
    },
    /// Start what is on the disk.
    LocalDisk,
    /// Do nothing for a while, then ask again.
    Hold {
        /// Shown meanwhile.
        why: Reason,
    },
}

/// What a script says about one machine. Public values only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The card it boots with.
    pub mac: Mac,
    /// Its address, with the prefix length of the subnet.
    pub address: Ipv4Net,
    /// The way out of its subnet, where there is one: behind a relay the controller is beyond it.
    pub gateway: Option<Ipv4Addr>,
    /// Where its agent finds the controller, by TLS.
    pub controller: SocketAddrV4,
    /// By which the agent knows the controller.
    pub ca: CaPin,
    /// The other site CA, while one takes the place of the other.
    pub also: Option<CaPin>,
    /// Where the boot files are.
    pub http: HttpBase,
    /// What it shall do.
    pub task: BootTask,
    /// How it boots.
    pub path: BootPath,
    /// How it is sent to its own disk, when it has nothing else to do.
    pub local: LocalBoot,
}

impl Reason {
    /// The printable rest of a text.
    #[must_use]
    pub fn new(text: &str) -> Reason {
        let plain = |c: char| if c.is_ascii_alphanumeric() || " .,:_/()-+=".contains(c) { c } else { '?' };
        Reason(text.chars().take(160).map(plain).collect())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The kernel command line of the ramdisk. Its agent sets the address itself: there is no DHCP client in there. Only
/// warnings and worse reach the screen: 400 lines of the kernel's progress take three seconds on a serial line.
#[must_use]
pub fn kernel_line(view: &NodeView) -> String {
    let NodeView { mac, address, controller, ca, path, .. } = view;
    let serial = if path.is_arm64() { "ttyAMA0" } else { "ttyS0" };
    let gateway = view.gateway.map_or(String::new(), |gateway| format!("rackwright.gateway={gateway} "));
    let also = view.also.map_or(String::new(), |also| format!("rackwright.ca2={also} "));
    format!(
        "rackwright.controller={controller} rackwright.ca={ca} {also}rackwright.mac={mac} rackwright.address={address} \
         {gateway}rackwright.path={path} console=tty0 console={serial},115200n8 loglevel=4 panic=30"
    )
}
