//! A node: identity, and where it is in its life.
//!
//! ```text
//! Discovered ─approve→ Inspecting ─asks→ (Testing →) Ready ─plan→ Planned ─apply→ Imaging ─receipt→ Booting
//!     │                                                                 ↑                  │ enrols
//!     └─reject→ Rejected              Draining ─asks─────────────────────┘              Enrolling
//!                                        ↑ apply (rebuild)                                 │ units up
//!                                        └───────────────────────── Active ←───────────────┘
//!                     Active or Ready ─capture→ (Draining →) Capturing ─→ Booting, or Ready
//!                     Ready ─test→ Testing ─over→ Ready, or Attention
//!            Active or Ready ─apply (retire)→ (Draining →) Retiring ─proofs→ Retired ─delete→ forgotten
//! Active, Ready, Booting, Enrolling or Attention ─rescue, service→ Rescue, Servicing ─end→ Returning ─→ Active, or the ramdisk
//! ```
//! A server that runs a system of its own is adopted: Discovered ─approve→ Enrolling ([`crate::adopt`]).
//! A new server may take over who a node is ([`Event::Replace`](crate::Event::Replace)): it goes on from where it is, as that node.
//! A node that rests may be held: then no plan is made of it, and none applied ([`crate::hold`]).
//! Any working state goes to `Attention` when its deadline passes or its work fails; the fact it waited for, or a verb
//! of the operator, takes it out again. *Verifying* is the read-back at the end of imaging, before the receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pack::Digest;
use protocol::{CaPin, DiskId, HardwareAddress, Inventory, JobId, Key, NodeId, Nonce, Order, Report};
use serde::{Deserialize, Serialize};

use crate::adopt::Adopted;
use crate::data_disk::DataDisk;
use crate::hold::Hold;
use crate::plan::PlanId;
use crate::rescue::Rescue;
use crate::tpm::{ClaimedTpm, KnownTpm, Question};
use crate::{Name, Time};

/// A server: identity and lifecycle. Hardware facts are attributes; the id is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Random, for life.
    pub id: NodeId,
    /// Host name, for life unless renamed.
    pub name: Name,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// When its agent was last heard.
    pub heard: Time,
    /// When it was first seen.
    pub discovered: Time,
    /// Set: nothing is done with it.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// What it is for.
    pub roles: BTreeSet<String>,
    /// What it is made of, as last read.
    pub inventory: Inventory,
    /// How it last booted.
    pub boot: Boot,
    /// A key that waits for a person to compare the code.
    pub claim: Option<Claim>,
    /// The ramdisk key that was approved.
    pub deploy: Option<Approved>,
    /// The NIC from which the approved key came when a person let it in against the other hardware facts.
    #[serde(default)]
    pub moved_to: Option<HardwareAddress>,
    /// Its TPM.
    #[serde(default)]
    pub tpm: KnownTpm,
    /// The installed system's key.
    pub run: Option<Key>,
    /// Certificates of earlier generations are revoked.
    pub generation: u64,
    /// How many certificates its installed systems were given.
    #[serde(default)]
    pub certificates: u64,
    /// The site CA that its installed system trusts, as it has proven; none: nothing was changed since.
    #[serde(default)]
    pub pin: Option<CaPin>,
    /// Set: its installed system is back, with a certificate that ended too long ago for a new one.
    #[serde(default)]
    pub lapsed: Option<Lapsed>,
    /// What is installed.
    pub installed: Option<Installed>,
    /// Set: it runs a system that was there before it was a node.
    #[serde(default)]
    pub adopted: Option<Adopted>,
    /// What the operator wants of its units, beside what its roles say.
    pub wishes: Wishes,
    /// The state document it should have.
    pub document: Document,
    /// Orders that were not carried out yet.
    pub orders: Vec<Order>,
    /// The last order's id.
    pub last_order: u64,
    /// The last order to restart into the ramdisk: its answer counts even when the order itself was ticked off.
    #[serde(default)]
    pub redeploy: Option<u64>,
    /// Whether that order was to be carried out whatever runs on the node.
    #[serde(default)]
    pub redeploy_forced: bool,
    /// The installed agent's last report.
    pub report: Option<Report>,
    /// When it arrived.
    pub reported: Option<Time>,
    /// The boot that it was last heard in, by its own agent with a key that was let in.
    #[serde(default)]
    pub booted: Option<Booted>,
}

/// An installed system that came back too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapsed {
    /// Since when it is refused.
    pub since: Time,
    /// An operator has said that it may be renewed all the same.
    pub pardoned: bool,
}

/// A boot of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// The kernel's boot id: another one means that it has booted since.
    pub id: String,
    /// When it was last heard in it.
    pub heard: Time,
}

/// How a node last booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The NIC.
    pub mac: HardwareAddress,
    /// Its address.
    pub address: Ipv4Addr,
    /// By which way its firmware booted: `bios-pxe`, `uefi-pxe`, `uefi-http`.
    pub path: String,
}

/// A key that says it belongs to this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The key.
    pub key: Key,
    /// Its challenge.
    pub nonce: Nonce,
    /// Since when it waits.
    pub since: Time,
    /// Why it can't simply be approved, when another node is in the way.
    pub clash: Option<String>,
    /// How the server that brought it has booted.
    #[serde(default)]
    pub boot: Option<Boot>,
    /// The site CA that it was told of when it booted, as it has proven: the code is made of that.
    #[serde(default)]
    pub pin: Option<CaPin>,
    /// What the TPM of its server says.
    #[serde(default)]
    pub tpm: ClaimedTpm,
    /// Set: a system that was not installed from here asks to be adopted; what it is.
    #[serde(default)]
    pub adoption: Option<String>,
}

/// A ramdisk key that was approved, by a person or by the node's own ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The key.
    pub key: Key,
    /// Its challenge.
    pub nonce: Nonce,
    /// Handed in by the installed node before it restarted; its first hello starts a new generation.
    pub ticket: bool,
    /// The site CA that the ramdisk trusts, as it has proven.
    #[serde(default)]
    pub pin: Option<CaPin>,
    /// What its TPM is being asked.
    #[serde(default)]
    pub question: Option<Question>,
}

/// What is installed on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The image.
    pub image: Digest,
    /// The system disk.
    pub disk: DiskId,
    /// When it was verified.
    pub at: Time,
    /// By which job.
    pub job: JobId,
    /// The data disk that the job's plan named.
    #[serde(default)]
    pub data: Option<DataDisk>,
}

/// What the operator wants of single units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Units to be kept stopped.
    pub stopped: BTreeSet<String>,
    /// How often a unit was asked to restart.
    pub restarts: BTreeMap<String, u64>,
}

/// Which state document a node should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Grows with every change of content; 0: none yet.
    pub generation: u64,
    /// The content, without the generation.
    pub digest: Option<Digest>,
    /// Units of it that shall not run: nobody waits for them to be up.
    #[serde(default)]
    pub resting: BTreeSet<String>,
    /// Services of the cloud in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<String>,
    /// One of these gives its work to other nodes before the machine goes down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// Which of the cloud's passwords are in it, by the number of rotations; 0: the first ones.
    #[serde(default)]
    pub passwords: u64,
    /// The last of them that the node has gone through a document with.
    #[serde(default)]
    pub taken: u64,
}

/// Where a node is in its life; data lives in the state it is true in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Seen, not approved.
    Discovered,
    /// Not wanted here: boots its own disk.
    Rejected {
        /// The operator's reason.
        why: String,
    },
    /// Approved; its agent has not asked for work yet.
    Inspecting,
    /// In the ramdisk, with its hardware under load.
    Testing {
        /// By which job.
        job: JobId,
    },
    /// In the ramdisk, waiting for a plan.
    Ready,
    /// A plan names it.
    Planned {
        /// Which.
        plan: PlanId,
    },
    /// An image is being written.
    Imaging {
        /// By which job.
        job: JobId,
    },
    /// What was written is being read back.
    Verifying {
        /// By which job.
        job: JobId,
    },
    /// The disk holds the image, and the first boot has not enrolled yet; or it was read, and its system is not up again.
    Booting {
        /// The job that wrote or read it.
        job: JobId,
    },
    /// Enrolled; its units are not all up yet.
    Enrolling {
        /// The job that wrote it; none: it was adopted.
        job: Option<JobId>,
    },
    /// Does what it is for.
    Active,
    /// Restarting into the ramdisk for a rebuild, for an image to be taken of it, or for its disks to be erased.
    Draining {
        /// The job to come.
        job: JobId,
    },
    /// An image is taken of its disk.
    Capturing {
        /// By which job.
        job: JobId,
    },
    /// Its disks are erased.
    Retiring {
        /// By which job.
        job: JobId,
    },
    /// Its operator mends it by hand in the ramdisk, or it is on its way there.
    Rescue {
        /// How far that is.
        rescue: Box<Rescue>,
    },
    /// Somebody works at it.
    Servicing {
        /// The operator's reason.
        why: String,
        /// What it was.
        back: Box<State>,
    },
    /// Its own system is to come up again, after a rescue or a service.
    Returning {
        /// The job whose first boot this is, if it is one.
        job: Option<JobId>,
    },
    /// Nothing of it is left but its record: all that was planned is erased, and its certificates are void.
    Retired,
    /// A person should look.
    Attention {
        /// The state it was in.
        phase: String,
        /// What happened.
        cause: String,
        /// Verbs that are safe now.
        verbs: Vec<String>,
        /// The job it had.
        job: Option<JobId>,
    },
}

impl State {
    /// One word, as in `node list`.
    pub fn word(&self) -> &'static str {
        match self {
            State::Discovered => "discovered",
            State::Rejected { .. } => "rejected",
            State::Inspecting => "inspecting",
            State::Testing { .. } => "testing",
            State::Ready => "ready",
            State::Planned { .. } => "planned",
            State::Imaging { .. } => "imaging",
            State::Verifying { .. } => "verifying",
            State::Booting { .. } => "booting",
            State::Enrolling { .. } => "enrolling",
            State::Active => "active",
            State::Draining { .. } => "draining",
            State::Capturing { .. } => "capturing",
            State::Retiring { .. } => "retiring",
            State::Rescue { .. } => "rescue",
            State::Servicing { .. } => "servicing",
            State::Returning { .. } => "returning",
            State::Retired => "retired",
            State::Attention { .. } => "attention",
        }
    }

    /// Every word of [`State::word`].
    pub const WORDS: [&str; 19] = [
        "discovered",
        "rejected",
        "inspecting",
        "testing",
        "ready",
        "planned",
        "imaging",
        "verifying",
        "booting",
        "enrolling",
        "active",
        "draining",
        "capturing",
        "retiring",
        "rescue",
        "servicing",
        "returning",
        "retired",
        "attention",
    ];

    /// It waits in the ramdisk for what an operator wants of it: a plan may name it, nothing is under way.
    pub fn is_ready(&self) -> bool {
        matches!(self, State::Ready | State::Planned { .. })
    }

    /// Nothing is under way with it that would have to end first: ready, active, or a person is waited for.
    pub fn is_settled(&self) -> bool {
        self.is_ready() || matches!(self, State::Active | State::Attention { .. })
    }

    /// The state it is in, or was in before it needed attention.
    pub fn phase(&self) -> &str {
        if let State::Attention { phase, .. } = self { phase } else { self.word() }
    }

    /// The job in flight.
    pub fn job(&self) -> Option<JobId> {
        match self {
            State::Testing { job }
            | State::Imaging { job }
            | State::Verifying { job }
            | State::Booting { job }
            | State::Draining { job }
            | State::Capturing { job }
            | State::Retiring { job } => Some(*job),
            State::Attention { job, .. } | State::Returning { job } | State::Enrolling { job } => *job,
            State::Discovered
            | State::Rejected { .. }
            | State::Inspecting
            | State::Ready
            | State::Planned { .. }
            | State::Active
            | State::Rescue { .. }
            | State::Servicing { .. }
            | State::Retired => None,
        }
    }
}

impl Node {
    /// Its agent speaks, with a certificate or a proof of its own, in this boot; `None` or empty: it did not say in which.
    pub(crate) fn speaks(&mut self, boot_id: Option<&str>, now: Time) {
        self.heard = now;
        match boot_id.filter(|id| !id.is_empty()) {
            Some(id) => self.booted = Some(Booted { id: id.to_owned(), heard: now }),
            None => self.booted.iter_mut().for_each(|booted| booted.heard = now),
        }
    }

    /// Whether this unit shall run, by the document and by what the operator has wished since.
    pub fn should_run(&self, unit: &str) -> bool {
        !self.wishes.stopped.contains(unit) && !self.document.resting.contains(unit)
    }

    /// Whether there is a system on its disks that it was to run last: ours, or its own.
    pub fn has_system(&self) -> bool {
        self.installed.is_some() || self.adopted.is_some()
    }

    /// Whether an operator has let it in, and not sent it away since.
    pub fn is_let_in(&self) -> bool {
        !matches!(self.state, State::Discovered | State::Rejected { .. } | State::Retired)
    }

    /// All hardware addresses it is known by.
    pub fn macs(&self) -> impl Iterator<Item = &HardwareAddress> {
        std::iter::once(&self.boot.mac).chain(self.inventory.nics.iter().map(|nic| &nic.mac))
    }
}
