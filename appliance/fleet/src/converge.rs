//! The state document of every node: roles and services as data in, files, units and tasks out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pack::Digest;
use protocol::{File, StateDocument, TaskWanted, UnitWanted, When};

use crate::catalog::Service;
use crate::data_disk;
use crate::node::Document;
use crate::{Catalog, Change, Fleet, Node, Site};

/// Why a document can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconvertible {
    /// A template names something there is none of.
    #[error("{place} wants ${{{name}}}, and {why}")]
    Missing {
        /// Which template or task.
        place: String,
        /// What.
        name: String,
        /// Why there is none.
        why: String,
    },
    /// A template's placeholder does not end.
    #[error("{0}: a ${{ without its }}")]
    Open(String),
}

/// What a node with its roles shall be, as of now.
///
/// # Errors
/// [`Unconvertible`], when its roles need something the node or the site lacks.
pub fn converge(
    fleet: &Fleet,
    site: &Site,
    catalog: &Catalog,
    node: &Node,
) -> Result<StateDocument, Unconvertible> {
    let values = values(fleet, site, node);
    let mut document = StateDocument {
        generation: node.document.generation,
        name: node.name.to_string(),
        ..StateDocument::default()
    };
    for service in catalog.services_of(&node.roles) {
        add(&mut document, catalog, service, node, &values)?;
    }
    Ok(document)
}

fn add(
    document: &mut StateDocument,
    catalog: &Catalog,
    service: &Service,
    node: &Node,
    values: &Values,
) -> Result<(), Unconvertible> {
    let units = service.units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>();
    for entry in &service.files {
        let content = fill(&entry.template, catalog.template(&entry.template), values)?;
        let (owner, group) = entry.owner.split_once(':').unwrap_or((&entry.owner, &entry.owner));
        document.files.push(File {
            path: entry.path.clone(),
            mode: u32::from_str_radix(&entry.mode, 8).unwrap_or(0o600),
            owner: owner.to_owned(),
            group: group.to_owned(),
            digest: Digest::of(content.as_bytes()),
            content,
            restarts: units.clone(),
        });
    }
    for unit in &service.units {
        let stopped = node.wishes.stopped.contains(&unit.name);
        document.units.push(UnitWanted {
            name: unit.name.clone(),
            enabled: unit.enabled && !stopped,
            running: unit.running && !stopped,
            restarts: node.wishes.restarts.get(&unit.name).copied().unwrap_or(0),
            // An image has them; of a system of other making nobody knows.
            packages: node.adopted.as_ref().map(|_| service.packages.clone()).unwrap_or_default(),
        });
    }
    for task in &service.tasks {
        let fill_all = |argv: &[String]| argv.iter().map(|arg| fill(&task.name, arg, values)).collect();
        document.tasks.push(TaskWanted {
            name: task.name.clone(),
            guard: Result::<Vec<_>, _>::from_iter::<Vec<_>>(fill_all(&task.guard))?,
            argv: Result::<Vec<_>, _>::from_iter::<Vec<_>>(fill_all(&task.argv))?,
            timeout_seconds: task.timeout_seconds,
            when: if task.before_units { When::BeforeUnits } else { When::AfterUnits },
        });
    }
    Ok(())
}

type Values = BTreeMap<&'static str, Result<String, &'static str>>;

const NO_SUBNET: &str = "the site has no provisioning network";

fn values(fleet: &Fleet, site: &Site, node: &Node) -> Values {
    let address = |node: &Node| site.addresses.get(&node.boot.mac).copied().unwrap_or(node.boot.address);
    let control = fleet.nodes.values().filter(|other| other.roles.contains("control"));
    let control = control.min_by_key(|other| (other.discovered, other.id)).map(address);
    let text = |address: Ipv4Addr| Ok(address.to_string());
    let subnet = site.subnet_of(address(node));
    let controller = subnet.map(|subnet| subnet.controller);
    BTreeMap::from([
        ("node.name", Ok(node.name.to_string())),
        ("node.address", text(address(node))),
        ("rack.subnet", subnet.map(|subnet| subnet.net.to_string()).ok_or(NO_SUBNET)),
        ("rack.controller", controller.ok_or(NO_SUBNET).and_then(text)),
        ("rack.control", control.or(controller).ok_or(NO_SUBNET).and_then(text)),
        ("rack.hosts", Ok(hosts(fleet, &address))),
        ("disk.data", data_disk(node)),
        ("disk.group", Ok(data_disk::VOLUME_GROUP.to_owned())),
    ])
}

fn hosts(fleet: &Fleet, address: &dyn Fn(&Node) -> Ipv4Addr) -> String {
    let lines = fleet.nodes.values().filter(|node| node.has_system());
    let mut lines = lines.map(|node| format!("{} {}", address(node), node.name)).collect::<Vec<_>>();
    lines.sort();
    lines.join("\n")
}

/// The path of the disk that the applied plan names, as long as it is what the plan saw or what became of it.
fn data_disk(node: &Node) -> Result<String, &'static str> {
    let data = node.installed.as_ref().and_then(|installed| installed.data.as_ref());
    let data = data.ok_or("no plan that was applied names a data disk of this node: rebuild it")?;
    let disk =
        data.find(node).ok_or("the data disk of its plan is not there, or holds something else now")?;
    data_disk::path(disk).ok_or("its data disk has no name under /dev/disk/by-id")
}

/// Replaces every `${name}`; there is no other syntax.
fn fill(place: &str, text: &str, values: &Values) -> Result<String, Unconvertible> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| Unconvertible::Open(place.to_owned()))?;
        let missing = |why: &str| Unconvertible::Missing {
            place: place.to_owned(),
            name: name.to_owned(),
            why: why.to_owned(),
        };
        let value = values.get(name).ok_or_else(|| missing("no value has that name"))?;
        out.push_str(before);
        out.push_str(value.as_deref().map_err(|why| missing(why))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// After any change: every running node whose document is another one now gets a new generation.
///
/// A document that can't be made leaves the node with the one it has; the reason is in the second list.
pub fn settle(fleet: &Fleet, site: &Site, catalog: &Catalog) -> (Vec<Change>, Vec<(Node, Unconvertible)>) {
    let (mut changes, mut failed) = (Vec::new(), Vec::new());
    for node in fleet.nodes.values().filter(|node| runs(node)) {
        match converge(fleet, site, catalog, node) {
            Err(why) => failed.push((node.clone(), why)),
            Ok(document) => {
                let digest = Some(fingerprint(&document));
                let grows = u64::from(node.document.digest != digest);
                let generation = node.document.generation + grows;
                let mut next = node.clone();
                next.document = Document { generation, digest, resting: resting(&document) };
                if next.document != node.document {
                    changes.push(Change::Node(Box::new(next)));
                }
            }
        }
    }
    (changes, failed)
}

/// Units that the document wants stopped.
fn resting(document: &StateDocument) -> BTreeSet<String> {
    let stopped = document.units.iter().filter(|unit| !unit.running);
    stopped.map(|unit| unit.name.clone()).collect()
}

fn runs(node: &Node) -> bool {
    node.run.is_some() && ["booting", "enrolling", "active"].contains(&node.state.phase())
}

fn fingerprint(document: &StateDocument) -> Digest {
    let bare = StateDocument { generation: 0, ..document.clone() };
    Digest::of(&serde_json::to_vec(&bare).unwrap_or_default())
}
