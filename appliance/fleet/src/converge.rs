//! The state document of every node: roles and services as data in, files, units and tasks out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pack::Digest;
use protocol::{Check, CheckKind, File, Leave, ServiceWanted, StateDocument, TaskWanted, UnitWanted, When};

use crate::catalog::{CheckEntry, LeaveEntry, Service};
use crate::cloud::objects::{self, Rings};
use crate::cloud::passwords::Editions;
use crate::cloud::release::{self, Providers};
use crate::cloud::{Cloud, Salt, accounts};
use crate::data_disk;
use crate::node::Document;
use crate::{Catalog, Change, Fleet, Node, Site, Subnet};

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
    // What was let go of the cloud, and nothing else: this is what the generation stands for, whatever can be let go since.
    let held = |service: &Service| {
        catalog.is_of_cloud(&service.name) && !node.document.released.contains(&service.name)
    };
    document(&Rack::of(fleet, site, catalog), site, catalog, node, held)
}

/// What all nodes are told of each other.
#[derive(Debug)]
pub(crate) struct Rack {
    hosts: String,
    control: Option<Ipv4Addr>,
    editions: Editions,
    rings: Rings,
}

impl Rack {
    pub(crate) fn of(fleet: &Fleet, site: &Site, catalog: &Catalog) -> Self {
        Self {
            hosts: hosts(fleet, site),
            control: control(fleet, site),
            editions: Editions::of(fleet),
            rings: Rings::of(fleet, catalog, |node| address(site, node)),
        }
    }
}

fn document(
    rack: &Rack,
    site: &Site,
    catalog: &Catalog,
    node: &Node,
    held: impl Fn(&Service) -> bool,
) -> Result<StateDocument, Unconvertible> {
    let services = catalog.services_of(&node.roles);
    let services = services.into_iter().filter(|service| !held(service));
    let values = values(rack, site, catalog, node);
    let mut draft = Draft {
        catalog,
        node,
        values: &values,
        services: services.collect(),
        document: StateDocument {
            generation: node.document.generation,
            name: node.name.to_string(),
            ..StateDocument::default()
        },
    };
    for service in draft.services.clone() {
        draft.add(service)?;
    }
    Ok(draft.document)
}

/// The values of one node, to ask of service after service whether they are there.
pub(crate) struct Known<'a> {
    catalog: &'a Catalog,
    node: &'a Node,
    values: Values<'a>,
}

impl<'a> Known<'a> {
    pub(crate) fn of(rack: &'a Rack, site: &'a Site, catalog: &'a Catalog, node: &'a Node) -> Self {
        Self { catalog, node, values: values(rack, site, catalog, node) }
    }

    /// Why there is nothing that this service could be made of, for a person; none: there is.
    pub(crate) fn lack(&self, service: &Service) -> Option<String> {
        let Self { catalog, node, values } = self;
        let mut draft =
            Draft { catalog, node, values, services: Vec::new(), document: StateDocument::default() };
        match draft.add(service).err()? {
            Unconvertible::Missing { why, .. } => Some(why),
            other @ Unconvertible::Open(_) => Some(other.to_string()),
        }
    }
}

/// A document on its way.
struct Draft<'a> {
    catalog: &'a Catalog,
    node: &'a Node,
    values: &'a Values<'a>,
    /// All of the document, in its order.
    services: Vec<&'a Service>,
    document: StateDocument,
}

impl Draft<'_> {
    fn add(&mut self, service: &Service) -> Result<(), Unconvertible> {
        self.add_files(service)?;
        self.add_units(service);
        for task in &service.tasks {
            self.document.tasks.push(TaskWanted {
                name: task.name.clone(),
                guard: self.fill_all(&task.name, &task.guard)?,
                argv: self.fill_all(&task.name, &task.argv)?,
                timeout_seconds: task.timeout_seconds,
                when: if task.before_units { When::BeforeUnits } else { When::AfterUnits },
            });
        }
        // The others come up together, as they did before there was an order.
        if self.catalog.is_of_cloud(&service.name) {
            let check = service.check.as_ref().map(|check| self.check(service, check)).transpose()?;
            let leave = service.leave.as_ref().map(|leave| self.leave(service, leave)).transpose()?;
            let is_staged = |need: &&String| self.document.services.iter().any(|one| one.name == **need);
            let needs = service.needs.iter().chain(&service.after);
            self.document.services.push(ServiceWanted {
                name: service.name.clone(),
                units: unit_names(service),
                tasks: service.tasks.iter().map(|task| task.name.clone()).collect(),
                needs: needs.filter(is_staged).cloned().collect(),
                check,
                leave,
            });
        }
        Ok(())
    }

    fn add_files(&mut self, service: &Service) -> Result<(), Unconvertible> {
        for entry in &service.files {
            let text = self.catalog.template(service, &entry.template);
            let content = fill(&entry.template, text, self.values)?;
            let (owner, group) = entry.owner.split_once(':').unwrap_or((&entry.owner, &entry.owner));
            let others = self.services.iter().filter(|other| entry.restarts.contains(&other.name));
            let restarts = unit_names(service).into_iter().chain(others.flat_map(|other| unit_names(other)));
            self.document.files.push(File {
                path: entry.path.clone(),
                mode: u32::from_str_radix(&entry.mode, 8).unwrap_or(0o600),
                owner: owner.to_owned(),
                group: group.to_owned(),
                digest: Digest::of(content.as_bytes()),
                restarts: restarts.collect(),
                content,
            });
        }
        Ok(())
    }

    fn add_units(&mut self, service: &Service) {
        let wishes = &self.node.wishes;
        for unit in &service.units {
            let stopped = wishes.stopped.contains(&unit.name);
            self.document.units.push(UnitWanted {
                name: unit.name.clone(),
                enabled: unit.enabled && !stopped,
                running: unit.running && !stopped,
                restarts: wishes.restarts.get(&unit.name).copied().unwrap_or(0),
                // An image has them; of a system of other making nobody knows.
                packages: self.node.adopted.as_ref().map(|_| service.packages.clone()).unwrap_or_default(),
            });
        }
    }

    fn check(&self, service: &Service, entry: &CheckEntry) -> Result<Check, Unconvertible> {
        let one = |text: &String| fill(&service.name, text, self.values);
        let kind = match (&entry.http, &entry.tcp, &entry.command) {
            (Some(url), _, _) => CheckKind::Http { url: one(url)? },
            (None, Some(address), _) => CheckKind::Tcp { address: one(address)? },
            (None, None, argv) => CheckKind::Command {
                argv: self.fill_all(&service.name, argv.as_deref().unwrap_or_default())?,
            },
        };
        Ok(Check { kind, within_seconds: entry.within_seconds })
    }

    fn leave(&self, service: &Service, entry: &LeaveEntry) -> Result<Leave, Unconvertible> {
        Ok(Leave {
            argv: self.fill_all(&service.name, &entry.argv)?,
            back: self.fill_all(&service.name, &entry.back)?,
            timeout_seconds: entry.timeout_seconds,
        })
    }

    fn fill_all(&self, place: &str, argv: &[String]) -> Result<Vec<String>, Unconvertible> {
        argv.iter().map(|arg| fill(place, arg, self.values)).collect()
    }
}

fn unit_names(service: &Service) -> Vec<String> {
    service.units.iter().map(|unit| unit.name.clone()).collect()
}

/// What placeholders stand for.
struct Values<'a> {
    plain: BTreeMap<&'static str, Result<String, &'static str>>,
    cloud: Option<&'a Cloud>,
    /// What passwords are made of, beside the cloud's key.
    salt: Option<Salt>,
    catalog: &'a Catalog,
    rings: &'a Rings,
    node: &'a Node,
    /// Its address, and the network of it.
    place: (Ipv4Addr, Option<&'a Subnet>),
}

const NO_SUBNET: &str = "the site has no provisioning network";
const NO_CLOUD: &str = "the rack is no cloud ([cloud] in rackwright.toml)";
const NO_VALUE: &str = "no value has that name";

impl Values<'_> {
    /// The value of this name.
    fn get(&self, place: &str, name: &str) -> Result<String, Unconvertible> {
        let missing = |why: &str| Unconvertible::Missing {
            place: place.to_owned(),
            name: name.to_owned(),
            why: why.to_owned(),
        };
        if let Some(value) = self.plain.get(name) {
            return value.clone().map_err(missing);
        }
        let (family, rest) = name.split_once('.').ok_or_else(|| missing(NO_VALUE))?;
        let cloud = || self.cloud.ok_or_else(|| missing(NO_CLOUD));
        let services = || self.catalog.services().collect::<Vec<_>>();
        match (family, rest) {
            ("secret", name) => Ok(cloud()?.key.password(self.salt, name)),
            ("lasting", name) => Ok(cloud()?.key.lasting(name)),
            ("fernet", name) => Ok(cloud()?.key.fernet(name)),
            ("cloud", "databases") => Ok(accounts::databases((cloud()?, self.salt), &services())),
            // No URL of the catalog has what this is made of in it: a test reads them all.
            ("cloud", "identity") => {
                accounts::identity((cloud()?, self.salt), &services(), |service, url| {
                    if url.contains("${cloud.identity}") {
                        Err(missing(NO_VALUE))
                    } else {
                        fill(&service.name, url, self)
                    }
                })
            }
            ("ring", name) => match self.rings.value(name) {
                Some(value) => value.map_err(missing),
                None => Err(missing(NO_VALUE)),
            },
            ("cloud", name) => cloud()?.value(name).ok_or_else(|| missing(NO_VALUE)),
            ("node", name) => match cloud()?.value_of_node(name, self.node, self.place) {
                Some(value) => value.map_err(|why| missing(&why)),
                None => Err(missing(NO_VALUE)),
            },
            _ => Err(missing(NO_VALUE)),
        }
    }
}

/// The node's address: the one it has, not one that it has yet to take.
fn address(site: &Site, node: &Node) -> Ipv4Addr {
    site.addresses.get(&node.boot.mac).copied().unwrap_or(node.boot.address)
}

/// The control node: of several the one that was there first, and before all that have no system yet.
pub(crate) fn control_node(fleet: &Fleet) -> Option<&Node> {
    let all = fleet.nodes.values().filter(|node| node.roles.contains("control") && node.is_let_in());
    all.min_by_key(|node| (!node.has_system(), node.discovered, node.id))
}

/// The address of the control node.
pub(crate) fn control(fleet: &Fleet, site: &Site) -> Option<Ipv4Addr> {
    control_node(fleet).map(|node| address(site, node))
}

fn values<'a>(rack: &'a Rack, site: &'a Site, catalog: &'a Catalog, node: &'a Node) -> Values<'a> {
    let address = |node: &Node| address(site, node);
    let text = |address: Ipv4Addr| Ok(address.to_string());
    let subnet = site.subnet_of(address(node));
    let controller = subnet.map(|subnet| subnet.controller);
    let virt_type = if node.inventory.cpu.virtualisation { "kvm" } else { "qemu" };
    let plain = BTreeMap::from([
        ("node.name", Ok(node.name.to_string())),
        ("node.address", text(address(node))),
        ("node.uuid", Ok(uuid(node))),
        ("node.virt_type", Ok(virt_type.to_owned())),
        ("rack.subnet", subnet.map(|subnet| subnet.net.to_string()).ok_or(NO_SUBNET)),
        ("rack.controller", controller.ok_or(NO_SUBNET).and_then(text)),
        ("rack.control", rack.control.or(controller).ok_or(NO_SUBNET).and_then(text)),
        ("rack.hosts", Ok(rack.hosts.clone())),
        ("disk.data", data_disk(node)),
        ("disk.group", Ok(data_disk::VOLUME_GROUP.to_owned())),
    ]);
    let salt = rack.editions.of_node(node.id).salt;
    let (cloud, rings) = (site.cloud.as_ref(), &rack.rings);
    Values { plain, cloud, salt, catalog, rings, node, place: (address(node), subnet) }
}

/// The node's id as a UUID of version 8 (RFC 9562 §5.8): the same after every rebuild, and no other node's.
fn uuid(node: &Node) -> String {
    let digest = Digest::of(node.id.to_string().as_bytes()).to_string();
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn hosts(fleet: &Fleet, site: &Site) -> String {
    let lines = fleet.nodes.values().filter(|node| node.has_system());
    let mut lines = lines.map(|node| format!("{} {}", address(site, node), node.name)).collect::<Vec<_>>();
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
fn fill(place: &str, text: &str, values: &Values<'_>) -> Result<String, Unconvertible> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| Unconvertible::Open(place.to_owned()))?;
        out.push_str(before);
        out.push_str(&values.get(place, name)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// After any change: every running node whose document is another one now gets a new generation.
///
/// A document that can't be made leaves the node with the one it has; the reason is in the second list.
pub fn settle(fleet: &Fleet, site: &Site, catalog: &Catalog) -> (Vec<Change>, Vec<(Node, Unconvertible)>) {
    let Some(objects) = objects::joined(fleet, catalog) else { return documents(fleet, site, catalog) };
    // The documents name who has come: that is kept together with them.
    let joined = Change::Objects(Box::new(objects));
    let mut fleet = fleet.clone();
    fleet.put(joined.clone());
    let (mut changes, failed) = documents(&fleet, site, catalog);
    changes.insert(0, joined);
    (changes, failed)
}

fn documents(fleet: &Fleet, site: &Site, catalog: &Catalog) -> (Vec<Change>, Vec<(Node, Unconvertible)>) {
    let (mut changes, mut failed) = (Vec::new(), Vec::new());
    let (rack, providers) = (Rack::of(fleet, site, catalog), Providers::of(fleet, site, catalog));
    for node in fleet.nodes.values().filter(|node| runs(node)) {
        let held = release::held(catalog, &providers, node);
        let is_held = |service: &Service| held.contains_key(service.name.as_str());
        match document(&rack, site, catalog, node, is_held) {
            Err(why) => failed.push((node.clone(), why)),
            Ok(document) => {
                let digest = Some(fingerprint(&document));
                let grows = u64::from(node.document.digest != digest);
                let generation = node.document.generation + grows;
                let mut next = node.clone();
                let released = document.services.iter().map(|service| service.name.clone()).collect();
                let leaves = document.services.iter().any(|service| service.leave.is_some());
                next.document = Document {
                    generation,
                    digest,
                    resting: resting(&document),
                    released,
                    leaves,
                    passwords: rack.editions.of_node(node.id).number,
                    taken: node.document.taken,
                };
                if next.document != node.document {
                    changes.push(Change::Node(Box::new(next)));
                }
            }
        }
    }
    (changes, failed)
}

/// After a restore: every document under a number that no controller of an earlier reign has given. What that has told nodes since the
/// backup was made may have the number that this one would give next, and another content: passwords of a rotation that is forgotten here.
pub fn renumbered(fleet: &Fleet, epoch: u64) -> Vec<Change> {
    let told = fleet.nodes.values().filter(|node| node.document.generation > 0);
    let next = told.map(|node| {
        let mut next = node.clone();
        next.document.generation = epoch.max(node.document.generation + 1);
        // Nobody knows which of a rotation that is forgotten here it has.
        next.document.taken = u64::MAX;
        Change::Node(Box::new(next))
    });
    next.collect()
}

/// Units that the document wants stopped.
fn resting(document: &StateDocument) -> BTreeSet<String> {
    let stopped = document.units.iter().filter(|unit| !unit.running);
    stopped.map(|unit| unit.name.clone()).collect()
}

/// Whether it has a document, or should.
pub(crate) fn runs(node: &Node) -> bool {
    node.run.is_some() && ["booting", "enrolling", "active"].contains(&node.state.phase())
}

fn fingerprint(document: &StateDocument) -> Digest {
    let bare = StateDocument { generation: 0, ..document.clone() };
    Digest::of(&serde_json::to_vec(&bare).unwrap_or_default())
}
