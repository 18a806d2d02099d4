//! When a service of the cloud may come up: when all that it needs is well, on whichever node. What was let go once is not taken back: a
//! service whose database is away for a moment waits for it by itself, and stopping it would make two failures of one.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Report, ServiceHealth};

use crate::catalog::{CLOUD, Service};
use crate::converge::{Known, Rack, control_node};
use crate::{Catalog, Fleet, Node, Site, State};

/// How a service of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was heard of it.
    Unknown,
    /// On its way.
    Coming(String),
    /// Well.
    Well,
    /// Not well.
    Ill(String),
}

/// What runs where, and how it is: looked at once for all nodes.
#[derive(Debug)]
pub struct Providers<'a> {
    fleet: &'a Fleet,
    site: &'a Site,
    /// What all nodes are told of each other.
    pub(crate) rack: Rack,
    catalog: &'a Catalog,
    control: Option<&'a Node>,
    services: BTreeMap<&'a str, Vec<(&'a Node, Condition)>>,
}

impl<'a> Providers<'a> {
    /// As the reports have it. Of a rack that is no cloud there is nothing to know.
    pub fn of(fleet: &'a Fleet, site: &'a Site, catalog: &'a Catalog) -> Self {
        let mut all = BTreeMap::<&str, Vec<_>>::new();
        let nodes = fleet.nodes.values().filter(|node| catalog.is_cloud() && node.has_system());
        // Nodes of a rack have few sets of roles between them.
        let mut by_roles = BTreeMap::new();
        for node in nodes {
            for service in
                by_roles.entry(&node.roles).or_insert_with(|| catalog.services_of(&node.roles)).iter()
            {
                all.entry(&service.name).or_default().push((node, condition(node, service)));
            }
        }
        Self {
            fleet,
            site,
            rack: Rack::of(fleet, site, catalog),
            catalog,
            control: control_node(fleet),
            services: all,
        }
    }

    /// Why nobody can go on who needs this service; none: somebody has it, and well.
    fn lack(&self, service: &str) -> Option<String> {
        let all = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        if all.iter().any(|(_, condition)| *condition == Condition::Well) {
            return None;
        }
        let Some((node, condition)) = all.first() else {
            return Some(format!("{service}, which no node runs"));
        };
        let name = &node.name;
        Some(match condition {
            Condition::Coming(what) => format!("{service} on {name}, which waits for {what}"),
            Condition::Ill(why) => format!("{service} on {name}, which is not well: {why}"),
            Condition::Unknown | Condition::Well => format!("{service} on {name}, which has not come up yet"),
        })
    }
}

/// How a service of this node is, as its last report has it.
pub fn condition(node: &Node, service: &Service) -> Condition {
    let Some(report) = &node.report else { return Condition::Unknown };
    let told = report.services.iter().find(|told| told.name == service.name);
    match told.map(|told| &told.health) {
        Some(ServiceHealth::Well) => Condition::Well,
        Some(ServiceHealth::Coming { what }) => Condition::Coming(what.clone()),
        Some(ServiceHealth::Ill { why }) => Condition::Ill(why.clone()),
        None => of_units(node, report, service),
    }
}

/// Of a service that has no check: it is as its units are.
fn of_units(node: &Node, report: &Report, service: &Service) -> Condition {
    let units = service.units.iter().filter(|unit| unit.running && node.should_run(&unit.name));
    for wanted in units {
        match report.units.iter().find(|unit| unit.name == wanted.name) {
            None => return Condition::Unknown,
            Some(unit) if unit.active == "active" => {}
            Some(unit) => return Condition::Ill(format!("{} is {} ({})", unit.name, unit.active, unit.sub)),
        }
    }
    // Of one that has no units, the node itself must say that it is done.
    let says_nothing = report.generation == 0 || service.units.is_empty();
    if says_nothing { Condition::Unknown } else { Condition::Well }
}

/// The services of the cloud that this node has yet to wait with, and what for.
pub fn held<'a>(providers: &Providers<'a>, node: &Node) -> BTreeMap<&'a str, String> {
    let (catalog, mut held) = (providers.catalog, BTreeMap::new());
    if !catalog.is_cloud() {
        return held;
    }
    let own = catalog.services_of(&node.roles);
    let known = Known::of(&providers.rack, providers.site, catalog, node);
    let names = own.iter().map(|service| service.name.as_str()).collect::<BTreeSet<_>>();
    let second = providers.control.filter(|first| node.roles.contains("control") && first.id != node.id);
    let without_control = node.roles.iter().filter(|role| *role != "control").cloned().collect();
    let elsewhere = catalog.services_of(&without_control);
    for service in own.iter().filter(|service| catalog.is_of_cloud(&service.name)) {
        let is_controls = !elsewhere.iter().any(|other| other.name == service.name);
        let why = match second.filter(|_| is_controls) {
            // Two would each make the databases of one cloud.
            Some(first) => Some(format!("{} to be the control node no more: a cloud has one", first.name)),
            None => waits(node, service, (providers, &known), &names, &held),
        };
        if let Some(why) = why {
            held.insert(service.name.as_str(), why);
        }
    }
    held
}

/// What a service waits for. What it needs of its own node, its agent waits for: that must not be held, and no more.
fn waits(
    node: &Node,
    service: &Service,
    (providers, known): (&Providers<'_>, &Known<'_>),
    own: &BTreeSet<&str>,
    held: &BTreeMap<&str, String>,
) -> Option<String> {
    if node.document.released.contains(&service.name) {
        return None;
    }
    let optional = providers.catalog.choice(service);
    if let Some(part) = [CLOUD].into_iter().chain(optional).find(|part| !carries(providers.fleet, node, part))
    {
        let what = if part == CLOUD { "the cloud" } else { part };
        return Some(format!("an image that carries {what}: rackwright node rebuild {}", node.name));
    }
    if node.state != State::Active {
        return Some("the node to be active".to_owned());
    }
    if let Some(why) = known.lack(service) {
        return Some(why);
    }
    let needs =
        service.needs.iter().find_map(|need| match (own.contains(need.as_str()), held.get(need.as_str())) {
            (true, None) => None,
            (true, Some(why)) => Some(format!("{need}, which waits for {why}")),
            (false, _) => providers.lack(need),
        });
    // What comes first on this node, where it is to have it at all.
    let first = || service.after.iter().find_map(|name| Some((name, held.get(name.as_str())?)));
    needs.or_else(|| first().map(|(name, why)| format!("{name}, which waits for {why}")))
}

/// Whether the node's system came with what the cloud, or an optional service of it, needs. On one of other making there may be another
/// cloud: nothing of ours is put beside that. An image that is not here any more is believed.
fn carries(fleet: &Fleet, node: &Node, part: &str) -> bool {
    let image = node.installed.as_ref().map(|installed| fleet.images.get(&installed.image));
    image.is_some_and(|image| image.is_none_or(|image| image.roles.contains(part)))
}

/// Whether this report may let go of something: its node became active, or a service of it well.
pub fn lets_go(before: &Node, after: &Node) -> bool {
    let well = |node: &Node| {
        let services = node.report.iter().flat_map(|report| &report.services);
        let well = services.filter(|told| told.health == ServiceHealth::Well);
        well.map(|told| told.name.clone()).collect::<BTreeSet<_>>()
    };
    (after.state == State::Active && before.state != State::Active) || !well(after).is_subset(&well(before))
}
