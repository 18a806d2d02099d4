//! What a step was, and how far it shows a boot to be.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::dhcp::{Answer, Dhcp, Message, Silence};
use super::fetch::{End, Fetch, Role, Task};
use super::plain::Plain;

/// What arrived and what was answered; or what was seen on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A DHCP message.
    Dhcp(Box<Dhcp>),
    /// A file asked for, by TFTP or HTTP.
    Fetch(Box<Fetch>),
    /// A router solicitation (IPv6), answered with "there is none".
    Router,
    /// The agent on its way in could not agree on TLS with us.
    Tls {
        /// What the TLS library says.
        why: Plain,
    },
    /// The agent in the ramdisk said hello.
    Hello {
        /// Why it was turned away; none: it was heard.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<Plain>,
    },
    /// The link of our own interface.
    Link {
        /// The interface.
        interface: Plain,
        /// Whether it is there now.
        up: bool,
    },
    /// Another DHCP server on the network.
    Foreign {
        /// Where.
        interface: Plain,
        /// Its address.
        server: Ipv4Addr,
        /// It is a Rackwright controller.
        rackwright: bool,
    },
}

/// How far a boot is. In order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The firmware asked for an address.
    Asked,
    /// It has one.
    Address,
    /// It has a boot loader, or the loader asked for something.
    Loader,
    /// The loader was told what to do.
    Script,
    /// It was told to start its own disk.
    Disk,
    /// It has the kernel.
    Kernel,
    /// It has the ramdisk.
    Ramdisk,
    /// The agent was heard.
    Agent,
    /// An installed system asked for its address.
    System,
}

impl Stage {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Stage::Asked => "asked",
            Stage::Address => "address",
            Stage::Loader => "loader",
            Stage::Script => "script",
            Stage::Disk => "disk",
            Stage::Kernel => "kernel",
            Stage::Ramdisk => "ramdisk",
            Stage::Agent => "agent",
            Stage::System => "system",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl What {
    /// The DHCP message, if it is one.
    #[must_use]
    pub fn dhcp(&self) -> Option<&Dhcp> {
        if let What::Dhcp(dhcp) = self { Some(dhcp) } else { None }
    }

    /// The file asked for, if one was.
    #[must_use]
    pub fn fetch(&self) -> Option<&Fetch> {
        if let What::Fetch(fetch) = self { Some(fetch) } else { None }
    }

    /// The stage that it belongs to; none of what happens beside a boot.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        match self {
            What::Dhcp(dhcp) if !dhcp.boots() => Some(Stage::System),
            What::Dhcp(dhcp) if dhcp.ipxe.is_some() => Some(Stage::Loader),
            What::Dhcp(dhcp) if dhcp.message == Message::Discover => Some(Stage::Asked),
            What::Dhcp(_) => Some(Stage::Address),
            What::Fetch(fetch) => Some(match (fetch.role(), fetch.told) {
                (Role::Kernel, _) => Stage::Kernel,
                (Role::Ramdisk, _) => Stage::Ramdisk,
                (Role::Script, Some(Task::LocalDisk)) | (Role::Local, _) => Stage::Disk,
                (Role::Script, _) => Stage::Script,
                (Role::Shim | Role::Grub | Role::Ipxe | Role::Config | Role::Other, _) => Stage::Loader,
            }),
            What::Tls { .. } | What::Hello { .. } => Some(Stage::Agent),
            What::Router | What::Link { .. } | What::Foreign { .. } => None,
        }
    }

    /// The stage that is behind the machine with this.
    #[must_use]
    pub fn passed(&self) -> Option<Stage> {
        let passed = match self {
            What::Dhcp(dhcp) => match (&dhcp.answer, dhcp.boots(), &dhcp.ipxe) {
                (Answer::Ack { .. }, true, None) => return Some(Stage::Address),
                // A ROM that is iPXE has fetched nothing yet.
                (Answer::Ack { .. }, true, Some(_)) => return Some(Stage::Address),
                (Answer::Ack { .. }, false, _) => true,
                (Answer::Offer { .. } | Answer::Nak | Answer::Noted | Answer::Silence { .. }, ..) => false,
            },
            What::Fetch(fetch) => fetch.is_whole() || fetch.is_local(),
            What::Hello { refused } => refused.is_none(),
            What::Tls { .. } | What::Router | What::Link { .. } | What::Foreign { .. } => false,
        };
        if passed { self.stage() } else { None }
    }

    /// The end of what this began, when `later` is that.
    pub(super) fn completed_by(&self, later: &What) -> Option<Fetch> {
        let (What::Fetch(begun), What::Fetch(done)) = (self, later) else { return None };
        let same = begun.end == End::Begun
            && done.end != End::Begun
            && begun.way == done.way
            && begun.head == done.head
            && begun.name == done.name;
        same.then(|| (**done).clone())
    }

    /// Whether `later` says nothing that this does not say.
    pub(super) fn is_repeated_by(&self, later: &What) -> bool {
        match (self, later) {
            (What::Dhcp(this), What::Dhcp(later)) => {
                let alike = (this.message, this.port, &this.interface, this.boots(), this.ipxe.is_some())
                    == (later.message, later.port, &later.interface, later.boots(), later.ipxe.is_some());
                alike && this.arch == later.arch && this.uuid == later.uuid && {
                    match (&this.answer, &later.answer) {
                        (Answer::Silence { cause: a, .. }, Answer::Silence { cause: b, .. }) => {
                            a == b && this.server == later.server && *a != Silence::Other
                        }
                        // An installed system renews its lease for years.
                        (this_answer, answer) => !this.boots() && this_answer == answer,
                    }
                }
            }
            (What::Fetch(this), What::Fetch(later)) => {
                let both_optional = this.end == End::Optional && later.end == End::Optional;
                let asks_again = this.role() == Role::Script && this == later;
                this.way == later.way && (both_optional || asks_again)
            }
            (What::Router, What::Router) => true,
            (What::Hello { refused: this }, What::Hello { refused: later }) => this == later,
            (What::Tls { why: this }, What::Tls { why: later }) => this == later,
            (
                What::Dhcp(_)
                | What::Fetch(_)
                | What::Router
                | What::Hello { .. }
                | What::Tls { .. }
                | What::Link { .. }
                | What::Foreign { .. },
                _,
            ) => false,
        }
    }
}

impl Fetch {
    /// As the step that the beginning of the transfer becomes.
    pub(super) fn after(mut self, begun: crate::Time, ended: crate::Time) -> What {
        self.took_ms = Some(ended.0.saturating_sub(begun.0));
        What::Fetch(Box::new(self))
    }
}
