//! What would change if the nodes of the cloud were written anew, each with the image that its rebuild would take now.
//!
//! Which packages an image has, its manifest says by a digest of their list alone: whether they are the same is known, their versions are not.

use std::collections::{BTreeMap, BTreeSet};

use pack::Digest;
use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::{Catalog, Fleet, Node, State, drain, plan, rollout};

/// What an upgrade would be, as `rackwright cloud upgrade --plan` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeView {
    /// How many nodes have a newer image to be written with.
    pub rebuilds: u64,
    /// Every node of the cloud with a system: those to be written anew first, in the order in which they go.
    pub nodes: Vec<UpgradeRow>,
    /// What to run for it, in this order.
    pub commands: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeRow {
    /// Its place, from 1; nodes with the same number may go in any order. None: there is nothing to do.
    pub order: Option<u64>,
    /// The node.
    pub node: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The image that its system was written with; none: its system is of other making.
    pub image: Option<UpgradeImage>,
    /// The image that a rebuild would take.
    pub becomes: Option<UpgradeImage>,
    /// Whether both images have the same packages in the same versions; none: that is not known of one of them.
    pub same_packages: Option<bool>,
    /// Services of the node that go down with it and come up again.
    pub services: Vec<String>,
    /// Tasks that set up databases on the disk that is written: they run again, and find nothing to go on with.
    pub database_tasks: Vec<String>,
    /// Virtual machines that would have to go before.
    pub instances: Vec<String>,
    /// What would be lost, for a person.
    pub loses: Option<String>,
    /// Why there is nothing to do, or nothing can be done.
    pub why: Option<String>,
}

/// An image, by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeImage {
    /// Its name; none: it is not in the store any more.
    pub name: Option<String>,
    /// Its digest.
    pub digest: String,
    /// When it was imported.
    pub imported: Option<String>,
}

/// What would change. `packages` has the digest of each image's list of packages, as far as that is known.
#[must_use]
pub fn upgrade_view(fleet: &Fleet, catalog: &Catalog, packages: &BTreeMap<Digest, Digest>) -> UpgradeView {
    let nodes =
        fleet.nodes.values().filter(|node| catalog.is_cloud() && node.has_system() && node.is_let_in());
    let mut nodes = nodes.collect::<Vec<_>>();
    let ranks = ranks(catalog, &nodes);
    // Those that are down already are missed by nobody.
    nodes.sort_by_key(|node| (node.state == State::Active, rollout::natural(node.name.as_str())));
    let mut rows = nodes.into_iter().map(|node| row(fleet, catalog, node, packages)).collect::<Vec<_>>();
    for row in rows.iter_mut().filter(|row| row.why.is_none()) {
        let roles = row.roles.iter().cloned().collect();
        row.order = ranks.get(&roles).copied();
    }
    rows.sort_by_key(|row| row.order.unwrap_or(u64::MAX));
    let due = rows.iter().filter(|row| row.order.is_some());
    UpgradeView { rebuilds: due.clone().count() as u64, commands: commands(due), nodes: rows }
}

/// The place of each set of roles: after all that run something which one of its services needs, and which it has not itself.
fn ranks(catalog: &Catalog, nodes: &[&Node]) -> BTreeMap<BTreeSet<String>, u64> {
    let sets = nodes.iter().map(|node| node.roles.clone()).collect::<BTreeSet<_>>();
    let names = |roles: &BTreeSet<String>| {
        catalog.services_of(roles).into_iter().map(|service| service.name.clone()).collect::<BTreeSet<_>>()
    };
    let needs = |roles: &BTreeSet<String>| {
        let own = names(roles);
        let all = catalog.services_of(roles).into_iter().flat_map(|service| service.needs.clone());
        all.filter(|need| !own.contains(need)).collect::<BTreeSet<_>>()
    };
    let mut ranks = sets.iter().map(|roles| (roles.clone(), 1)).collect::<BTreeMap<_, u64>>();
    // A chain is no longer than there are sets; a circle of them ends here too.
    for _ in 0..sets.len() {
        for roles in &sets {
            let wanted = needs(roles);
            let before = sets.iter().filter(|other| *other != roles && !names(other).is_disjoint(&wanted));
            let last = before.filter_map(|other| ranks.get(other)).max().copied().unwrap_or(0);
            let most = sets.len() as u64;
            ranks.insert(roles.clone(), (last + 1).min(most));
        }
    }
    ranks
}

fn row(fleet: &Fleet, catalog: &Catalog, node: &Node, packages: &BTreeMap<Digest, Digest>) -> UpgradeRow {
    let now = node.installed.as_ref().map(|installed| installed.image);
    let then = plan::image_for(fleet, catalog, node);
    let why = match (&then, now.and_then(|digest| fleet.images.get(&digest))) {
        (Err(why), _) => Some(why.to_string()),
        (Ok(then), _) if Some(then.digest) == now => {
            Some("it has the image that a rebuild would take".to_owned())
        }
        (Ok(then), Some(now)) if then.imported < now.imported => {
            Some("it has a newer image than a rebuild would take that names none".to_owned())
        }
        (Ok(_), _) => None,
    };
    let known = |digest: Digest| packages.get(&digest);
    let then = then.ok();
    let both = now.and_then(known).zip(then.and_then(|image| known(image.digest)));
    let services = catalog.services_of(&node.roles);
    let services = services.into_iter().filter(|service| why.is_none() && !service.units.is_empty());
    let databases = databases(catalog, node);
    let databases = if why.is_none() { databases } else { Vec::new() };
    let loses = (!databases.is_empty())
        .then(|| "the cloud's databases are on the disk that is written: it begins empty".to_owned());
    UpgradeRow {
        order: None,
        node: node.name.to_string(),
        roles: node.roles.iter().cloned().collect(),
        image: now.map(|digest| image(fleet.images.get(&digest), digest)),
        becomes: then.map(|then| image(Some(then), then.digest)),
        same_packages: both.map(|(now, then)| now == then),
        services: services.map(|service| service.name.clone()).collect(),
        database_tasks: databases,
        instances: if why.is_none() { drain::guests(node) } else { Vec::new() },
        loses,
        why,
    }
}

fn image(image: Option<&Image>, digest: Digest) -> UpgradeImage {
    UpgradeImage {
        name: image.map(|image| image.name.clone()),
        digest: digest.to_string(),
        imported: image.map(|image| image.imported.to_string()),
    }
}

/// Tasks of a node's services that have databases, in order, where the databases are on the node itself.
fn databases(catalog: &Catalog, node: &Node) -> Vec<String> {
    let services = catalog.services_of(&node.roles);
    let begun = |name: &str| node.document.released.contains(name);
    if !services.iter().any(|service| catalog.keeps_accounts(service) && begun(&service.name)) {
        return Vec::new();
    }
    let with = services.into_iter().filter(|service| !service.databases.is_empty() && begun(&service.name));
    let tasks = with.flat_map(|service| service.tasks.iter().filter(|task| task.before_units));
    tasks.map(|task| task.name.clone()).collect()
}

/// A command for every place and set of roles.
fn commands<'a>(due: impl Iterator<Item = &'a UpgradeRow>) -> Vec<String> {
    let mut groups = BTreeMap::<(Option<u64>, &[String]), Vec<&str>>::new();
    for row in due {
        groups.entry((row.order, &row.roles)).or_default().push(&row.node);
    }
    let command = |nodes: Vec<&str>| match nodes.as_slice() {
        [one] => format!("rackwright node rebuild {one}"),
        several => format!("rackwright rebuild {}", several.join(" ")),
    };
    groups.into_values().map(command).collect()
}
