//! What an upgrade of the cloud would be: which node with which image, in which order, and what it would cost.

use std::collections::BTreeMap;

use fleet::view::{UpgradeRow, UpgradeView, upgrade_view};
use fleet::{Change, Event, Node};
use pack::Digest;
use protocol::{Domain, Facts, Hypervisor, NodeId, Report, ServiceHealth, ServiceReport};

use crate::cloud::{cloud, document};
use crate::rack::{Rack, unit};

/// A cloud with everything up, its control node's name, and an image that its compute node could be written with.
fn up() -> (Rack, NodeId, NodeId) {
    let (mut rack, control, compute) = cloud();
    for node in [control, compute] {
        tells(&mut rack, node, &[]);
    }
    (rack, control, compute)
}

fn tells(rack: &mut Rack, node: NodeId, domains: &[&str]) {
    let document = document(rack, node);
    let well = |name: String| ServiceReport { name, health: ServiceHealth::Well, since_ms: 1 };
    let domain =
        |name: &&str| Domain { name: (*name).to_owned(), uuid: String::new(), vcpus: 1, memory_bytes: 1 };
    let hypervisor = Hypervisor { domains: domains.iter().map(domain).collect(), ..Hypervisor::default() };
    let report = Report {
        generation: document.generation,
        units: document.units.iter().map(|wanted| unit(&wanted.name, "active")).collect(),
        services: document.services.into_iter().map(|service| well(service.name)).collect(),
        facts: Facts { hypervisor: Some(hypervisor), ..Facts::default() },
        ..Report::default()
    };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
}

fn seen(rack: &Rack, packages: &[(Digest, u8)]) -> UpgradeView {
    let packages = packages.iter().map(|(image, list)| (*image, Digest::of(&[*list])));
    upgrade_view(&rack.fleet, &rack.catalog, &packages.collect::<BTreeMap<_, _>>())
}

fn of<'a>(view: &'a UpgradeView, node: &str) -> &'a UpgradeRow {
    view.nodes.iter().find(|row| row.node == node).unwrap()
}

#[test]
fn a_node_with_what_a_rebuild_would_take_stays_and_one_without_an_image_says_why() {
    let (rack, control, _) = up();
    let name = rack.fleet.nodes[&control].name.to_string();
    let view = seen(&rack, &[]);
    assert_eq!((view.rebuilds, view.commands.len(), view.nodes.len()), (0, 0, 2));
    let row = of(&view, &name);
    assert_eq!(row.why.as_deref(), Some("it has the image that a rebuild would take"));
    assert_eq!((row.order, &row.loses, row.services.len()), (None, &None, 0), "nothing goes down");
    let why = of(&view, "c1").why.clone().unwrap();
    assert!(why.contains("no image carries cloud, compute") && why.contains("image import"), "{why}");
}

#[test]
fn what_others_need_goes_first_and_what_lies_on_the_disk_is_said_to_be_lost() {
    let (mut rack, control, compute) = up();
    let old = rack.fleet.nodes[&control].installed.as_ref().unwrap().image;
    let compute_image = rack.import("compute-2", &["cloud", "compute"]);
    let control_image = rack.import("control-2", &["cloud", "control"]);
    tells(&mut rack, compute, &["web", "mail"]);
    let name = rack.fleet.nodes[&control].name.to_string();
    let view = seen(&rack, &[(old, 1), (control_image, 2)]);
    let rows = view.nodes.iter().map(|row| (row.order, row.node.as_str())).collect::<Vec<_>>();
    assert_eq!(rows, [(Some(1), name.as_str()), (Some(2), "c1")]);
    assert_eq!(view.rebuilds, 2);
    assert_eq!(
        view.commands,
        [format!("rackwright node rebuild {name}"), "rackwright node rebuild c1".to_owned()]
    );
    let row = of(&view, &name);
    assert_eq!(row.becomes.as_ref().unwrap().digest, control_image.to_string());
    assert_eq!(row.becomes.as_ref().unwrap().name.as_deref(), Some("control-2"));
    assert_eq!(row.services, ["db", "token", "shop"]);
    assert_eq!(row.database_tasks, ["token-db"]);
    assert!(row.loses.as_ref().unwrap().contains("begins empty"));
    assert_eq!((row.same_packages, row.instances.len()), (Some(false), 0));
    let row = of(&view, "c1");
    assert_eq!(row.becomes.as_ref().unwrap().digest, compute_image.to_string());
    assert_eq!(
        (row.services.clone(), row.instances.clone()),
        (vec!["worker".to_owned()], vec!["web".to_owned(), "mail".to_owned()])
    );
    assert_eq!((&row.loses, row.same_packages), (&None, None), "of one list nothing is known");
    let same = seen(&rack, &[(old, 1), (control_image, 1)]);
    assert_eq!(of(&same, &name).same_packages, Some(true));
}

#[test]
fn an_image_that_is_newer_than_the_one_of_a_rebuild_or_of_other_making_is_told_apart() {
    let (mut rack, control, compute) = up();
    let name = rack.fleet.nodes[&control].name.to_string();
    // It was written with an image that carries more than it needs.
    let large = rack.import("all", &["cloud", "compute", "control"]);
    let mut node = rack.fleet.nodes[&control].clone();
    node.installed.as_mut().unwrap().image = large;
    rack.fleet.put(Change::Node(Box::new(node)));
    let view = seen(&rack, &[]);
    let why = of(&view, &name).why.clone().unwrap();
    assert!(why.contains("newer image than a rebuild would take that names none"), "{why}");
    // An image that is gone can't be compared, and is no reason to leave the node as it is.
    rack.fleet.put(Change::ForgetImage(large));
    let view = seen(&rack, &[]);
    assert_eq!(of(&view, &name).image.as_ref().unwrap().name, None);
    assert_eq!(of(&view, &name).order, Some(1));
    let several =
        Node { id: NodeId([8; 16]), name: "c10".parse().unwrap(), ..rack.fleet.nodes[&compute].clone() };
    rack.fleet.put(Change::Node(Box::new(several)));
    let third =
        Node { id: NodeId([7; 16]), name: "c2".parse().unwrap(), ..rack.fleet.nodes[&compute].clone() };
    rack.fleet.put(Change::Node(Box::new(third)));
    rack.import("compute-2", &["cloud", "compute"]);
    let view = seen(&rack, &[]);
    assert_eq!(view.commands[1], "rackwright rebuild c1 c2 c10");
    assert_eq!(view.nodes.iter().map(|row| row.order.unwrap()).collect::<Vec<_>>(), [1, 2, 2, 2]);
}

#[test]
fn a_rack_that_is_no_cloud_has_nothing_to_upgrade() {
    let (rack, _, _) = Rack::active("control");
    assert_eq!(seen(&rack, &[]), UpgradeView::default());
}
