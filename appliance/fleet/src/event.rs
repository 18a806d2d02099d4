//! What arrives, what is answered, what is refused, what is remembered.

mod denied;
mod reply;

use std::collections::BTreeSet;

use pack::Digest;
use protocol::{
    CaPin, DiskId, Erasure, Found, HardwareAddress, Hello, Inventory, JobId, Key, Mark, NodeId, Progress,
    Receipt, Report, TestReport, TpmSecret, Verify,
};
use serde::{Deserialize, Serialize};

use crate::burn_in;
use crate::capture;
use crate::certificate::{Certificate, Grant};
use crate::clock;
use crate::image::Image;
use crate::network::Sighting;
use crate::plan::PlanId;
use crate::power::PowerEvent;
use crate::preflight;
use crate::rescue;
use crate::rollout::{self, RolloutId};
use crate::trust::{self, Holder};
use crate::{Change, Name, Time};

pub use denied::Denied;
pub use reply::{Reply, Standing};

/// A fact that arrived.
#[derive(Clone, Debug)]
pub enum Event {
    /// The ramdisk said hello; `proven` when its proof was checked against the nonce it was given.
    Hello {
        /// As received.
        hello: Box<Hello>,
        /// The proof was checked.
        proven: bool,
        /// The secret of the question that its TPM's answer was checked with, and found to answer.
        answered: Option<TpmSecret>,
    },
    /// A granted certificate was signed.
    Issued(Certificate),
    /// The ramdisk asks for work.
    Asked {
        /// Who.
        node: NodeId,
        /// The fingerprint of the certificate it asked with.
        certificate: String,
        /// Its hardware now.
        inventory: Box<Inventory>,
    },
    /// An image job goes on, or can't.
    Progressed {
        /// Who.
        node: NodeId,
        /// How far.
        progress: Progress,
    },
    /// The disk was read back.
    Verified {
        /// Who.
        node: NodeId,
        /// What was compared.
        receipt: Receipt,
    },
    /// The installed system wants its certificate; the proof was checked.
    Enrolled {
        /// Who, by its deploy or run certificate.
        node: NodeId,
        /// That certificate's fingerprint.
        certificate: String,
        /// Its own key.
        key: Key,
        /// Seconds since its kernel started.
        uptime_seconds: u32,
    },
    /// Somebody has proven under which site CA it is.
    Pinned {
        /// Which node it is, or says that it is.
        node: NodeId,
        /// Whose word it is.
        holder: Holder,
        /// The CA.
        pin: CaPin,
    },
    /// An operator wants the site CA changed.
    Trust(trust::Verb),
    /// An operator wants other passwords for the cloud.
    Rotate,
    /// What is thought of the controller's clock.
    Clock(clock::Verb),
    /// The installed system was refused: its certificate ended too long ago for a new one.
    Lapsed {
        /// Who.
        node: NodeId,
    },
    /// The installed system hands in the key of the ramdisk to come.
    Ticketed {
        /// Who.
        node: NodeId,
        /// The key.
        key: Key,
    },
    /// The installed system handed in its identity files.
    Escrowed {
        /// Who.
        node: NodeId,
        /// How many.
        files: usize,
    },
    /// The installed system reports.
    Reported {
        /// Who.
        node: NodeId,
        /// What.
        report: Box<Report>,
    },
    /// The network boot served something to a NIC.
    Served {
        /// The NIC.
        mac: HardwareAddress,
        /// What: `address`, `loader`, `script`, `kernel`, `local-disk`, ….
        what: String,
        /// For a person.
        text: String,
    },
    /// Another DHCP server was noticed.
    Foreign {
        /// The interface of the provisioning network.
        interface: String,
        /// What was heard.
        sighting: Sighting,
    },
    /// A cable was put into a provisioning network: what was known of it may be of another one.
    Plugged {
        /// The interface of the provisioning network.
        interface: String,
    },
    /// Somebody wants to know now whether there is another DHCP server.
    Look {
        /// The interface of the provisioning network.
        interface: String,
    },
    /// A look for other DHCP servers ended; those that answered were told before.
    Looked {
        /// The interface of the provisioning network.
        interface: String,
    },
    /// An operator wants a server that runs already to become a node.
    Invite {
        /// What it shall be called.
        name: Option<Name>,
        /// For how long somebody may come.
        seconds: u64,
    },
    /// Not any more.
    Revoke {
        /// The invitation's id, or the start of it.
        invitation: String,
    },
    /// The operator compared the code.
    Approve {
        /// Who.
        node: NodeId,
        /// A name, when it shall have another.
        name: Option<Name>,
        /// Roles, when given.
        roles: Option<BTreeSet<String>>,
        /// The operator has moved a part of it: its key is let in although other hardware facts clash.
        moved: bool,
    },
    /// The operator does not want it.
    Reject {
        /// Who.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Another host name.
    Rename {
        /// Who.
        node: NodeId,
        /// The name.
        name: Name,
    },
    /// What it is for.
    SetRoles {
        /// Who.
        node: NodeId,
        /// All of them.
        roles: BTreeSet<String>,
    },
    /// Make a plan.
    Plan {
        /// For whom.
        node: NodeId,
        /// With which image; the only one that fits otherwise.
        image: Option<Digest>,
        /// To which disk; the only one that fits otherwise.
        disk: Option<DiskId>,
        /// With the data of its roles on which disk; the only one that fits otherwise.
        data: Option<DiskId>,
        /// With these roles, which the node gets when the plan is applied; its own otherwise.
        roles: Option<BTreeSet<String>>,
        /// Erasing this too, though it is part of something bigger.
        erase: Vec<Mark>,
        /// What is to prove that the disk holds the image.
        verify: Verify,
    },
    /// Make a plan to erase a node's disks and retire it.
    Retire {
        /// Who.
        node: NodeId,
        /// Disks to be left alone.
        keep: Vec<DiskId>,
    },
    /// A disk is erased; the signature was checked.
    Erased {
        /// Whose.
        node: NodeId,
        /// What proves it.
        erasure: Box<Erasure>,
    },
    /// Into the ramdisk, to be mended by hand.
    Rescue {
        /// Who.
        node: NodeId,
        /// Who may get in, and whether what runs on it may end.
        wish: Box<rescue::Wish>,
    },
    /// The ramdisk tells how a rescue goes.
    Rescued {
        /// Who.
        node: NodeId,
        /// What.
        told: protocol::Rescue,
    },
    /// It is mended, or given up.
    EndRescue {
        /// Who.
        node: NodeId,
    },
    /// Somebody works at it.
    Service {
        /// Who.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Nobody does any more.
    EndService {
        /// Who.
        node: NodeId,
    },
    /// Test a node's hardware.
    Test {
        /// Whose.
        node: NodeId,
        /// What of it, and how long.
        wish: burn_in::Wish,
    },
    /// The agent tells what its test has found so far.
    Tested {
        /// Who.
        node: NodeId,
        /// All of it.
        report: Box<TestReport>,
    },
    /// Forget a node that is retired or rejected.
    Delete {
        /// Who.
        node: NodeId,
    },
    /// Do what a plan says.
    Apply {
        /// Which.
        plan: PlanId,
        /// Also when virtual machines run on the node, which are then ended.
        force: bool,
    },
    /// Make plans to rebuild many nodes, a few at a time.
    Roll(Box<rollout::Wish>),
    /// The network between nodes is checked.
    Preflight(preflight::Verb),
    /// Begin, stop or go on with that.
    Rollout {
        /// Which.
        rollout: RolloutId,
        /// What.
        verb: rollout::Verb,
    },
    /// Take an image of a disk.
    Capture {
        /// Of which node.
        node: NodeId,
        /// What image, of which disk.
        wish: Box<capture::Wish>,
    },
    /// The agent has told and sent all of an image; this is what will be in the store.
    Sealing {
        /// Who.
        node: NodeId,
        /// The job.
        job: JobId,
        /// The image.
        image: Digest,
    },
    /// The image of a disk is in the store.
    Captured {
        /// Who.
        node: NodeId,
        /// The job.
        job: JobId,
        /// The image.
        image: Box<Image>,
        /// What of the node was found, and what became of it.
        found: Vec<Found>,
    },
    /// Do not go on with a job.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Out of `Attention`: try again what failed.
    Retry {
        /// Who.
        node: NodeId,
    },
    /// A new server takes over who a node is.
    Replace {
        /// Whose identity.
        old: NodeId,
        /// The new server, as the node that it is now.
        new: NodeId,
        /// Also when the old one is alive.
        force: bool,
    },
    /// Do nothing with a node.
    Hold {
        /// Who.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Let a held node go on.
    Release {
        /// Who.
        node: NodeId,
    },
    /// A wish about one unit.
    Unit {
        /// Where.
        node: NodeId,
        /// Which.
        unit: String,
        /// What.
        verb: UnitVerb,
    },
    /// Fetch journal lines.
    Logs {
        /// Where.
        node: NodeId,
        /// Which unit.
        unit: String,
        /// How many lines.
        lines: u32,
    },
    /// Something about a node's power.
    Power {
        /// Whose.
        node: NodeId,
        /// What.
        what: Box<PowerEvent>,
    },
    /// An image was verified and stored.
    Imported(Image),
    /// The operator does not want an image any more.
    ForgetImage(Digest),
    /// Time passed: look at every deadline.
    Tick,
}

/// What the operator wants of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitVerb {
    /// Run, as the roles say.
    Start,
    /// Stay stopped.
    Stop,
    /// Once more.
    Restart,
}

/// What a shell must do after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sign a certificate, record it ([`Event::Issued`]), then hand it out.
    Issue(Grant),
}

/// A line of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The node it is about.
    pub node: Option<NodeId>,
    /// The hardware address it is about, while there is no node yet.
    pub mac: Option<HardwareAddress>,
    /// A stable word: `discovered`, `approved`, `imaging`, `verified`, `active`, `drift`, ….
    pub kind: String,
    /// For a person.
    pub text: String,
}

/// What one event brings about.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be saved in one transaction.
    pub changes: Vec<Change>,
    /// To be done after it.
    pub effects: Vec<Effect>,
    /// To be logged in it.
    pub facts: Vec<Fact>,
    /// For whoever brought the event.
    pub reply: Reply,
}

impl Outcome {
    /// Logs a fact about a node.
    pub fn fact(&mut self, node: NodeId, kind: &str, text: impl Into<String>) {
        self.facts.push(Fact { node: Some(node), mac: None, kind: kind.to_owned(), text: text.into() });
    }
}

/// How an event is called in a refusal.
impl Event {
    /// A few words.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Hello { .. } => "hello",
            Event::Issued(_) => "recording a certificate",
            Event::Asked { .. } => "asking for work",
            Event::Progressed { .. } => "progress",
            Event::Verified { .. } => "a receipt",
            Event::Enrolled { .. } => "enrolling",
            Event::Pinned { .. } => "saying under which CA it is",
            Event::Trust(_) => "changing the site CA",
            Event::Rotate => "rotating the cloud's passwords",
            Event::Clock(_) => "believing the clock",
            Event::Lapsed { .. } => "refusing a certificate",
            Event::Ticketed { .. } => "handing in a ticket",
            Event::Escrowed { .. } => "handing in identity files",
            Event::Reported { .. } => "a report",
            Event::Served { .. } => "a boot file",
            Event::Foreign { .. } => "another DHCP server",
            Event::Plugged { .. } => "a cable",
            Event::Look { .. } => "looking for other DHCP servers",
            Event::Looked { .. } => "a look for other DHCP servers",
            Event::Invite { .. } => "inviting a server",
            Event::Revoke { .. } => "taking an invitation back",
            Event::Approve { .. } => "approving",
            Event::Reject { .. } => "rejecting",
            Event::Rename { .. } => "renaming",
            Event::SetRoles { .. } => "setting roles",
            Event::Plan { .. } => "planning",
            Event::Retire { .. } => "retiring",
            Event::Erased { .. } => "an erasure",
            Event::Rescue { .. } => "rescuing",
            Event::Rescued { .. } => "telling of a rescue",
            Event::EndRescue { .. } => "ending a rescue",
            Event::Service { .. } => "servicing",
            Event::EndService { .. } => "ending a service",
            Event::Test { .. } => "testing",
            Event::Tested { .. } => "the report of a test",
            Event::Delete { .. } => "deleting",
            Event::Apply { .. } => "applying a plan",
            Event::Roll(_) => "planning a rollout",
            Event::Rollout { .. } => "changing a rollout",
            Event::Preflight(_) => "checking the network",
            Event::Capture { .. } => "capturing",
            Event::Sealing { .. } | Event::Captured { .. } => "an image",
            Event::Cancel { .. } => "cancelling a job",
            Event::Retry { .. } => "retrying",
            Event::Replace { .. } => "replacing",
            Event::Hold { .. } => "holding",
            Event::Release { .. } => "releasing",
            Event::Unit { .. } => "changing a unit",
            Event::Logs { .. } => "reading a journal",
            Event::Power { .. } => "something about power",
            Event::Imported(_) => "importing an image",
            Event::ForgetImage(_) => "deleting an image",
            Event::Tick => "the clock",
        }
    }
}

/// A logged fact with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Ascending; lines that were dropped for their age leave gaps.
    pub seq: u64,
    /// When.
    pub time: Time,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}
