//! The state document of every node: roles and services as data in, files, units and tasks out.

mod settle;
mod values;

use std::net::Ipv4Addr;

use pack::Digest;
use protocol::{Check, CheckKind, File, Leave, ServiceWanted, StateDocument, TaskWanted, UnitWanted, When};

use crate::catalog::{CheckEntry, LeaveEntry, Service};
use crate::cloud::objects::Rings;
use crate::cloud::passwords::Editions;
use crate::{Catalog, Fleet, Node, Site};

pub(crate) use settle::runs;
pub use settle::{renumbered, settle};
use values::{Values, fill, values};

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

fn hosts(fleet: &Fleet, site: &Site) -> String {
    let lines = fleet.nodes.values().filter(|node| node.has_system());
    let mut lines = lines.map(|node| format!("{} {}", address(site, node), node.name)).collect::<Vec<_>>();
    lines.sort();
    lines.join("\n")
}
