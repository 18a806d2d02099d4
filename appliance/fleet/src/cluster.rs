//! The whole of what the controller knows, and how a change is put into it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use pack::Digest;
use protocol::{CaPin, Ek, Epoch, HardwareAddress, JobId, NodeId};
use serde::{Deserialize, Serialize};

use crate::adopt::Invitations;
use crate::attendance::Attendance;
use crate::burn_in::{BurnIn, Wish};
use crate::capture::Capture;
use crate::certificate::Certificate;
use crate::clock::Doubt;
use crate::cloud::Cloud;
use crate::cloud::objects::Objects;
use crate::cloud::passwords::Passwords;
use crate::image::Image;
use crate::job::{Job, Work};
use crate::limits::Limits;
use crate::network::Network;
use crate::plan::{Plan, PlanId};
use crate::power::Power;
use crate::preflight::Preflight;
use crate::retire::Retirement;
use crate::rollout::{Rollout, RolloutId};
use crate::trust::Trust;
use crate::{Denied, Name, Node, Nodes, State};

/// Everything that lifecycle decisions are made of.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The controller's reign.
    pub epoch: Epoch,
    /// By id.
    pub nodes: Nodes,
    /// By digest.
    pub images: BTreeMap<Digest, Image>,
    /// By id.
    pub plans: BTreeMap<PlanId, Plan>,
    /// By id.
    pub jobs: BTreeMap<JobId, Job>,
    /// By id; no job has the same.
    pub captures: BTreeMap<JobId, Capture>,
    /// By id; no job or capture has the same.
    pub retirements: BTreeMap<JobId, Retirement>,
    /// By id; no job, capture or retirement has the same.
    pub burn_ins: BTreeMap<JobId, BurnIn>,
    /// By id.
    pub rollouts: BTreeMap<RolloutId, Rollout>,
    /// The last check of the network between nodes.
    pub preflight: Option<Arc<Preflight>>,
    /// By fingerprint.
    pub certificates: BTreeMap<String, Certificate>,
    /// By node.
    pub powers: BTreeMap<NodeId, Power>,
    /// Which site CA is trusted; none where it was never changed.
    pub trust: Option<Trust>,
    /// The cloud's passwords; none: they were never rotated.
    pub passwords: Option<Passwords>,
    /// Who keeps the cloud's objects; none: nobody ever did.
    pub objects: Option<Objects>,
    /// When the controller was there.
    pub attendance: Attendance,
    /// Who is invited to keep its disks and join.
    pub invitations: Invitations,
    /// Why its clock is not believed; none: it is.
    pub clock: Option<Doubt>,
    /// By interface. Not kept over a restart.
    pub networks: BTreeMap<String, Network>,
    /// What may be destroyed in an hour. Not kept over a restart.
    pub limits: Limits,
    /// The test that every server has once, before it is ready; none: it is ready when it was looked at. Not kept over a restart.
    pub first_test: Option<Wish>,
    /// TPMs whose servers are let in without a person. Not kept over a restart.
    pub expected_tpms: BTreeSet<Ek>,
}

/// Facts about the site that decisions need and `step` never changes.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// The provisioning subnets; at least one. The first stands for what cannot be told apart.
    pub subnets: Vec<Subnet>,
    /// The site CA.
    pub ca: CaPin,
    /// The address of every NIC that ever had one from us: the one it has, not one that it has yet to take.
    pub addresses: BTreeMap<HardwareAddress, Ipv4Addr>,
    /// What the services of the cloud must agree on; none: the rack is no cloud.
    pub cloud: Option<Cloud>,
}

/// A subnet that servers are provisioned in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its network address and prefix length.
    pub net: Ipv4Net,
    /// Where a server in it reaches the controller.
    pub controller: Ipv4Addr,
    /// The way out of it that a server in it must be told, if there is one.
    pub gateway: Option<Ipv4Addr>,
}

impl Site {
    /// The subnet of an address; the first one for an address of none.
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&address)).or(self.subnets.first())
    }
}

/// A row to be saved: the whole row, so that saving it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", content = "row", rename_all = "snake_case")]
pub enum Change {
    /// A node.
    Node(Box<Node>),
    /// A node that is gone.
    ForgetNode(NodeId),
    /// An image.
    Image(Box<Image>),
    /// An image that is gone.
    ForgetImage(Digest),
    /// A plan.
    Plan(Box<Plan>),
    /// A job.
    Job(Box<Job>),
    /// An image that is being taken.
    Capture(Box<Capture>),
    /// Disks that are to be erased, or were.
    Retirement(Box<Retirement>),
    /// A test of a server's hardware.
    BurnIn(Box<BurnIn>),
    /// Many nodes to be rebuilt, a few at a time.
    Rollout(Box<Rollout>),
    /// The last check of the network between nodes; there is one.
    Preflight(Box<Preflight>),
    /// A certificate.
    Certificate(Certificate),
    /// A certificate whose time is over.
    ForgetCertificate(String),
    /// A node's power.
    Power(Box<Power>),
    /// What was known of a node's power, its password with it.
    ForgetPower(NodeId),
    /// Which site CA is trusted.
    Trust(Box<Trust>),
    /// The cloud's passwords.
    Passwords(Box<Passwords>),
    /// Who keeps the cloud's objects.
    Objects(Box<Objects>),
    /// When the controller was there.
    Attendance(Box<Attendance>),
    /// All invitations.
    Invitations(Box<Invitations>),
    /// Whether the controller's clock is believed.
    Clock(Option<Box<Doubt>>),
    /// What is known of a provisioning network; not saved.
    Network(Box<Network>),
}

impl Fleet {
    /// Puts a change in.
    pub fn put(&mut self, change: Change) {
        match change {
            Change::Node(node) => self.nodes.insert(node.id, *node),
            Change::ForgetNode(id) => {
                self.powers.remove(&id);
                self.nodes.remove(&id);
            }
            Change::Image(image) => drop(self.images.insert(image.digest, *image)),
            Change::ForgetImage(digest) => drop(self.images.remove(&digest)),
            Change::Plan(plan) => drop(self.plans.insert(plan.id.clone(), *plan)),
            Change::Job(job) => drop(self.jobs.insert(job.id, *job)),
            Change::Capture(capture) => drop(self.captures.insert(capture.id, *capture)),
            Change::Retirement(row) => drop(self.retirements.insert(row.id, *row)),
            Change::BurnIn(row) => drop(self.burn_ins.insert(row.id, *row)),
            Change::Rollout(row) => drop(self.rollouts.insert(row.id.clone(), *row)),
            Change::Preflight(check) => self.preflight = Some(Arc::from(check)),
            Change::Certificate(row) => drop(self.certificates.insert(row.fingerprint.clone(), row)),
            Change::ForgetCertificate(fingerprint) => drop(self.certificates.remove(&fingerprint)),
            Change::Power(power) => drop(self.powers.insert(power.node, *power)),
            Change::ForgetPower(node) => drop(self.powers.remove(&node)),
            Change::Trust(trust) => self.trust = Some(*trust),
            Change::Passwords(passwords) => self.passwords = Some(*passwords),
            Change::Objects(objects) => self.objects = Some(*objects),
            Change::Attendance(attendance) => self.attendance = *attendance,
            Change::Invitations(invitations) => self.invitations = *invitations,
            Change::Clock(doubt) => self.clock = doubt.map(|doubt| *doubt),
            Change::Network(network) => drop(self.networks.insert(network.interface.clone(), *network)),
        }
    }

    /// The node with this id.
    ///
    /// # Errors
    /// [`Denied::Missing`].
    pub fn node(&self, id: NodeId) -> Result<&Node, Denied> {
        self.nodes.get(&id).ok_or_else(|| Denied::Missing { kind: "node", name: id.short() })
    }

    /// The node that this NIC is of. A part may have been moved: whose NIC boots comes before who has one like it, and all others
    /// before those that are retired.
    pub fn owner(&self, mac: &HardwareAddress) -> Option<&Node> {
        let of = |is_retired: bool| {
            let nodes =
                move || self.nodes.values().filter(move |node| (node.state == State::Retired) == is_retired);
            let boots = nodes().find(|node| node.boot.mac == *mac);
            boots.or_else(|| nodes().find(|node| node.macs().any(|own| own == mac)))
        };
        of(false).or_else(|| of(true))
    }

    /// The node that a person means: by name, id, MAC or enrolment code.
    ///
    /// # Errors
    /// [`Denied::Missing`]; [`Denied::Conflict`] when an abbreviated id means several.
    pub fn find(&self, text: &str, pin: &CaPin) -> Result<&Node, Denied> {
        let wanted = text.trim();
        let code = |node: &Node| {
            node.claim.as_ref().is_some_and(|claim| {
                protocol::Code::of(&claim.pin.unwrap_or(*pin), &claim.key, &claim.nonce).as_str()
                    == wanted.to_ascii_uppercase()
            })
        };
        let exact = self.nodes.values().find(|node| {
            node.name.as_str() == wanted
                || node.id.to_string() == wanted
                || node.macs().any(|mac| mac.as_str() == wanted.to_ascii_lowercase())
                || code(node)
        });
        if let Some(node) = exact {
            return Ok(node);
        }
        by_start("node", wanted, self.nodes.values(), |node| (node.id.to_string(), node.name.to_string()))
    }

    /// The image that a person means: by name, digest or the start of it.
    ///
    /// # Errors
    /// [`Denied::Missing`]; [`Denied::Conflict`] when several are meant.
    pub fn find_image(&self, text: &str) -> Result<&Image, Denied> {
        let fits = |image: &&Image| {
            image.name == text || (text.len() >= 4 && image.digest.to_string().starts_with(text))
        };
        let mut found = self.images.values().filter(fits).collect::<Vec<_>>();
        found.sort_by_key(|image| image.imported);
        match found.as_slice() {
            [] => Err(Denied::Missing { kind: "image", name: text.to_owned() }),
            [one] => Ok(one),
            several => Err(Denied::Conflict(format!(
                "{text:?} means {} images: name one by its digest (rackwright image list)",
                several.len()
            ))),
        }
    }

    /// The work that a person means: by its id, or by the start of it.
    ///
    /// # Errors
    /// [`Denied::Missing`]; [`Denied::Conflict`] when several are meant.
    pub fn find_job(&self, text: &str) -> Result<Work<'_>, Denied> {
        if let Some(work) = text.parse().ok().and_then(|id| Work::of(self, id)) {
            return Ok(work);
        }
        by_start("job", text, Work::all(self), |work| (work.id().to_string(), work.id().to_string()))
    }

    /// The rollout that a person means: by its id, or by the start of it.
    ///
    /// # Errors
    /// [`Denied::Missing`]; [`Denied::Conflict`] when several are meant.
    pub fn find_rollout(&self, text: &str) -> Result<&Rollout, Denied> {
        let id = |rollout: &&Rollout| (rollout.id.to_string(), rollout.id.to_string());
        by_start("rollout", text, self.rollouts.values(), id)
    }

    /// Whether a name is taken by another node.
    pub fn name_taken(&self, name: &Name, by_other_than: NodeId) -> bool {
        self.nodes.values().any(|node| node.name == *name && node.id != by_other_than)
    }
}

/// The only one whose id begins so. `named` gives its id, and what a person calls it. Less than four characters are a slip.
fn by_start<T>(
    kind: &'static str,
    text: &str,
    all: impl Iterator<Item = T>,
    named: impl Fn(&T) -> (String, String),
) -> Result<T, Denied> {
    let mut short = all.filter(|one| text.len() >= 4 && named(one).0.starts_with(text));
    match (short.next(), short.next()) {
        (Some(one), None) => Ok(one),
        (Some(a), Some(b)) => {
            let [a, b] = [a, b].map(|one| named(&one).1);
            Err(Denied::Conflict(format!("{text:?} means the {kind}s {a} and {b}: write more of the id")))
        }
        (None, _) => Err(Denied::Missing { kind, name: text.to_owned() }),
    }
}
