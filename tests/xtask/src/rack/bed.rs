//! Servers of a cloud: imaged from the network as QEMU machines, then booted natively from the disks that were written, because OpenStack
//! on an emulated processor takes a quarter of an hour to start. Those that keep volumes stay emulated: [`Member::is_emulated`].
//!
//! Knows which of its two machines a server is at the moment. Refuses to know what a cloud is.

mod member;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub use member::Member;

use super::container::Container;
use super::controller::{Controller, IMAGES};
use super::host::{Host, HostError};
use super::machine::Reboot;
use super::server::{Server, ServerError};
use super::{Rack, ServerBuildError};
use crate::artifacts::{ArtifactError, Artifacts, CLOUD};
use crate::journey::{self, JourneyError, Sight, Wanted};
use crate::operator::{Event, Node, Operator, OperatorError};
use crate::say;
use crate::watch::Watch;

/// What makes a rack a cloud. Containers have the kernel of this machine, which may have no module for Open vSwitch.
pub const OF_CLOUD: &str = "\n[cloud]\ndatapath = \"userspace\"\n";
/// Right behind that: a quarter of each disk for volumes is for objects.
pub const OBJECTS: &str = "optional = [\"swift\"]\nobjects = \"2GiB\"\n";
/// Userspace switches send tunnels through cards of their own. The router outside is the controller, with its second card
/// ([`Bed::opens_outside`]); the card named is the one of `n1`.
pub const OUTSIDE: &str = r#"
[cloud.external]
subnet = "10.88.0.0/24"
gateway = "10.88.0.1"
pool = "10.88.0.100-10.88.0.199"
ports = ["52:54:00:77:02:01"]

[cloud.tunnel]
subnet = "10.20.20.0/24"
"#;
/// How long all servers may take to any state; they share emulated processors with each other.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// Why the servers are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum BedError {
    /// Their image.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The CLI.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// They did not get where they should.
    #[error(transparent)]
    Journey(#[from] JourneyError),
    /// One could not be put into the rack.
    #[error(transparent)]
    Build(#[from] ServerBuildError),
    /// One as an emulated machine.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// One as a native machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A wrong number.
    #[error("there is no server at {at}: count them from 0, in the order in which they were given")]
    NoServer {
        /// The number.
        at: usize,
    },
    /// It was told to go down.
    #[error("{name} does not go down: rackwright node why {name}")]
    Stays {
        /// Its name.
        name: String,
    },
    /// Commands run in native ones.
    #[error("{name} is no container now: boot it first; one with the role storage is emulated all the time")]
    NotNative {
        /// Its name.
        name: String,
    },
}

/// What servers are put into.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The rack.
    pub rack: &'a Rack,
    /// Its controller, which answers.
    pub controller: &'a Controller,
    /// Where their image comes from.
    pub artifacts: &'a Artifacts,
}

/// One server, as one of two machines that have its disk and its cards.
#[derive(Debug)]
struct Twin {
    wanted: Wanted,
    server: Server,
    disk: PathBuf,
    /// Where its disk is booted natively; none: it is emulated all the time.
    host: Option<Host>,
    /// While it runs natively.
    node: Option<Container>,
}

impl Twin {
    /// Switches the emulated one on. A native one is to be off when its disk is written, before anything starts from that.
    fn start(&mut self) -> Result<(), ServerError> {
        self.server.start(if self.host.is_some() { Reboot::Off } else { Reboot::Again })
    }

    /// Whether its disk is proven; an emulated one may be up already.
    fn is_written(&self, node: &Node) -> bool {
        let beyond = self.host.is_none() && ["enrolling", "active"].contains(&node.state.as_str());
        node.state == "booting" || beyond
    }

    fn boot(&mut self) -> Result<(), BedError> {
        match &self.host {
            Some(host) => self.node = Some(host.boot_disk(&self.disk)?),
            None => self.start()?,
        }
        Ok(())
    }
}

/// The servers of a cloud. Dropping it cuts their power.
#[derive(Debug)]
pub struct Bed<'a> {
    ground: Ground<'a>,
    image: String,
    twins: Vec<Twin>,
    by_multicast: BTreeMap<String, u64>,
}

impl<'a> Bed<'a> {
    /// Takes in the image and puts the servers into the rack; they are off.
    ///
    /// # Errors
    /// The image can't be made or taken in, or a server can't be built.
    pub fn make(ground: Ground<'a>, members: &[Member]) -> Result<Self, BedError> {
        ground.artifacts.cloud()?;
        let operator = Operator::on(ground.controller);
        operator.import(&format!("{IMAGES}/{}.rwimage", CLOUD.name))?;
        // The marker is of the image, no role of a node.
        let carried = CLOUD.roles.iter().filter(|role| **role != "cloud").map(|&role| role.to_owned());
        let image = operator.image_for(&carried.collect::<Vec<_>>())?;
        let mut twins = Vec::new();
        for member in members {
            let spec = member.spec();
            let wanted = Wanted {
                name: spec.name.clone(),
                mac: spec.mac().to_owned(),
                roles: member.roles.iter().map(|&role| role.to_owned()).collect(),
                image: image.clone(),
                disk: spec.system_disk(),
            };
            let server = ground.rack.server(spec)?;
            let disk = server.files().disks.first().cloned().unwrap_or_default();
            let host = if member.is_emulated() { None } else { Some(member.host(ground.rack)?) };
            twins.push(Twin { wanted, server, disk, host, node: None });
        }
        Ok(Self { ground, image, twins, by_multicast: BTreeMap::new() })
    }

    /// Makes the controller the router outside that [`OUTSIDE`] tells of.
    ///
    /// # Errors
    /// It can't have that address.
    pub fn opens_outside(&self) -> Result<(), BedError> {
        let world = ["ip", "address", "add", "10.88.0.1/24", "dev", "prov1"];
        self.ground.controller.run(&world).map_err(OperatorError::from)?;
        Ok(())
    }

    /// All of them from power to a disk that is proven, at once. Native ones are off then.
    ///
    /// # Errors
    /// One does not get there.
    pub fn imaged(&mut self) -> Result<(), BedError> {
        let all = (0..self.twins.len()).collect::<Vec<_>>();
        self.write(&all)
    }

    /// Boots the disks that were written; all nodes are active then.
    ///
    /// # Errors
    /// One does not come up.
    pub fn booted(&mut self) -> Result<(), BedError> {
        for twin in &mut self.twins {
            say::line(&format!("    booting the disk of {}", twin.wanted.name));
            twin.boot()?;
        }
        self.until("active", |node| node.state == "active")
    }

    fn write(&mut self, which: &[usize]) -> Result<(), BedError> {
        for &at in which {
            self.twin(at)?.start()?;
        }
        let mut heard = BTreeMap::new();
        let seen = |sight: &Sight| {
            for job in &sight.jobs {
                let bytes = job.lane.as_ref().map_or(0, |lane| lane.multicast_bytes);
                let most = heard.entry(job.node.clone()).or_insert(0);
                *most = bytes.max(*most);
            }
        };
        let written = |node: &Node| {
            let mut waited = which.iter().filter_map(|&at| self.twins.get(at));
            let its = |twin: &&Twin| twin.wanted.mac.eq_ignore_ascii_case(&node.mac);
            waited.find(its).is_none_or(|twin| twin.is_written(node))
        };
        self.follow("verified", written, seen)?;
        self.by_multicast.extend(heard);
        for &at in which {
            let twin = self.twin(at)?;
            if twin.host.is_some() {
                twin.server.wait_off(Duration::from_secs(120))?;
            }
        }
        Ok(())
    }

    /// Does what an operator does until all nodes satisfy `arrived`.
    ///
    /// # Errors
    /// They do not.
    pub fn until(&self, goal: &str, arrived: impl Fn(&Node) -> bool) -> Result<(), BedError> {
        self.follow(goal, arrived, |_| ())
    }

    fn follow(
        &self,
        goal: &str,
        arrived: impl Fn(&Node) -> bool,
        mut seen: impl FnMut(&Sight),
    ) -> Result<(), BedError> {
        let wanted = self.twins.iter().map(|twin| twin.wanted.clone()).collect::<Vec<_>>();
        let (operator, mut watch) = (Operator::on(self.ground.controller), Watch::start());
        let look = |sight: &Sight| {
            watch.look(sight);
            seen(sight);
        };
        journey::until(&operator, &wanted, goal, PATIENCE, arrived, look)?;
        Ok(())
    }

    /// Switches a server on that has its image: its disk boots.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot(&mut self, at: usize) -> Result<(), BedError> {
        self.twin(at)?.boot()
    }

    /// Its power is gone.
    ///
    /// # Errors
    /// The rack's book-keeping.
    pub fn cut(&mut self, at: usize) -> Result<(), BedError> {
        let twin = self.twin(at)?;
        twin.node = None;
        Ok(twin.server.kill()?)
    }

    /// A node that an operator has had rebuilt, after the event `since`: written anew from the network, and booted.
    ///
    /// # Errors
    /// It does not get there.
    pub fn rebuilt(&mut self, at: usize, since: u64) -> Result<(), BedError> {
        self.hands_in_a_ticket(at, since)?;
        let twin = self.twin(at)?;
        if let Some(host) = &twin.host {
            // What it restarts into here is its disk once more: the network is the other machine's.
            if let Some(node) = &mut twin.node {
                node.power_off(Duration::from_secs(60));
            }
            twin.node = None;
            host.give_back_seed(&twin.disk)?;
        }
        self.write(&[at])?;
        self.boot(at)?;
        self.until("active", |node| node.state == "active")
    }

    /// Waits until a node has only to restart: what its services give away before takes its time.
    fn hands_in_a_ticket(&mut self, at: usize, since: u64) -> Result<(), BedError> {
        let (name, start) = (self.twin(at)?.wanted.name.clone(), Instant::now());
        while start.elapsed() < PATIENCE {
            // One that can't needs attention, which ends this.
            self.until("on its way", |node| node.name != name || node.state != "active")?;
            let events = Operator::on(self.ground.controller).events()?;
            let is = |event: &Event| event.node == name && event.kind == "ticket" && event.seq > since;
            if events.iter().any(is) {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(1));
        }
        Err(BedError::Stays { name })
    }

    fn twin(&mut self, at: usize) -> Result<&mut Twin, BedError> {
        self.twins.get_mut(at).ok_or(BedError::NoServer { at })
    }

    /// A server that runs natively, for commands in it.
    ///
    /// # Errors
    /// It does not.
    pub fn node(&self, at: usize) -> Result<&Container, BedError> {
        let twin = self.twins.get(at).ok_or(BedError::NoServer { at })?;
        twin.node.as_ref().ok_or_else(|| BedError::NotNative { name: twin.wanted.name.clone() })
    }

    /// The image that all of them have.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The names of the servers, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.twins.iter().map(|twin| twin.wanted.name.as_str()).collect()
    }

    /// What came to each by multicast when it was last imaged, in bytes as they travel: what was seen of it, at the least.
    #[must_use]
    pub fn by_multicast(&self) -> &BTreeMap<String, u64> {
        &self.by_multicast
    }

    /// Leaves those running that run, for [`Rack::leave_up`].
    pub fn leave(mut self) {
        for twin in &mut self.twins {
            twin.server.leave();
            if let Some(node) = &mut twin.node {
                node.leave();
            }
        }
    }
}
