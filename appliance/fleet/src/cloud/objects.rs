//! Which nodes keep the objects of the cloud, and the files that tell everybody.
//!
//! A node is among them from the moment at which its file system for objects is mounted, and stays while it is rebuilt, off or ill: what
//! it has is still there when it is back, and Swift writes beside it meanwhile. It is not any more when it loses the role, or goes for good.
//! So who has come is kept, in a row of the database, and who is there now follows from the fleet.

use std::net::Ipv4Addr;
use std::sync::OnceLock;

use data_encoding::BASE64;
use protocol::NodeId;
use serde::{Deserialize, Serialize};

use super::release::{Condition, condition};
use super::ring::{self, Device, Kind};
use crate::catalog::Service;
use crate::{Catalog, Fleet, Node};

/// The service of the catalog that mounts a node's file system for objects.
pub const KEEPER: &str = "swift-disk";
/// Swift's own programs take this number for "no device" (`NONE_DEV`).
const NUMBERS: usize = 0xffff;
/// Phases of a node whose disks are erased, or were.
const GONE: [&str; 2] = ["retiring", "retired"];

/// Every node that ever kept objects, in the order in which they came: a node's place is the number of its device in the rings. Only
/// added to, so that a number never becomes another node's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// The nodes.
    pub nodes: Vec<NodeId>,
}

/// Who has come since; none: nobody.
pub(crate) fn joined(fleet: &Fleet, catalog: &Catalog) -> Option<Objects> {
    let known = fleet.objects.as_ref().map(|objects| objects.nodes.as_slice()).unwrap_or_default();
    // Few nodes of a large rack are told to mount anything, and what a node's roles have is not looked up for nothing.
    let is_told = |node: &&Node| node.document.released.contains(KEEPER) && !known.contains(&node.id);
    let is_new = |node: &&Node| is_told(node) && keeps(catalog, node) && is_mounted(catalog, node);
    // By id: nodes that come at once, come in the same order wherever this is asked.
    let new = fleet.nodes.values().filter(is_new).map(|node| node.id);
    let mut nodes = known.to_vec();
    nodes.extend(new.take(NUMBERS.saturating_sub(known.len())));
    (nodes.len() > known.len()).then_some(Objects { nodes })
}

/// Whether it has the service, and is not on its way out.
fn keeps(catalog: &Catalog, node: &Node) -> bool {
    node.is_let_in() && !GONE.contains(&node.state.phase()) && keeper(catalog, node).is_some()
}

fn keeper<'a>(catalog: &'a Catalog, node: &Node) -> Option<&'a Service> {
    // What a rack that is no cloud runs has nothing of this.
    let services = catalog.services_of(&node.roles);
    services.into_iter().find(|service| service.name == KEEPER && catalog.is_of_cloud(KEEPER))
}

fn is_mounted(catalog: &Catalog, node: &Node) -> bool {
    keeper(catalog, node).is_some_and(|service| condition(node, service) == Condition::Well)
}

/// The rings of this moment. The files are made when somebody wants one, once.
#[derive(Debug)]
pub(crate) struct Rings {
    devices: Vec<Device>,
    /// There was a device once.
    began: bool,
    files: OnceLock<Vec<(Kind, String)>>,
}

impl Rings {
    pub(crate) fn of(fleet: &Fleet, catalog: &Catalog, address: impl Fn(&Node) -> Ipv4Addr) -> Self {
        let all = fleet.objects.as_ref().map(|objects| objects.nodes.as_slice()).unwrap_or_default();
        let devices = all.iter().enumerate().filter_map(|(number, id)| {
            let node = fleet.nodes.get(id).filter(|node| keeps(catalog, node))?;
            Some(Device { number: u16::try_from(number).ok()?, node: *id, address: address(node) })
        });
        Self { devices: devices.collect(), began: !all.is_empty(), files: OnceLock::new() }
    }

    /// What `${ring.NAME}` stands for: the file, in base 64, since documents carry text. Empty when all nodes have gone that there were: a
    /// ring of nobody would be of no use to anybody. None: there is no such name.
    ///
    /// # Errors
    /// No node has come so far.
    pub(crate) fn value(&self, name: &str) -> Option<Result<String, &'static str>> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == name)?;
        if !self.began {
            return Some(Err("no storage node has its disk for objects mounted so far"));
        }
        if self.devices.is_empty() {
            return Some(Ok(String::new()));
        }
        let made = self.files.get_or_init(|| {
            let rows = ring::assign(&self.devices);
            let of = |kind| (kind, BASE64.encode(&ring::file(kind, &self.devices, &rows)));
            Kind::ALL.map(of).into()
        });
        let text = made.iter().find(|(of, _)| *of == kind).map(|(_, text)| text.clone());
        Some(Ok(text.unwrap_or_default()))
    }
}
