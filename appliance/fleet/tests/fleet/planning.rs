//! What may destroy data, and what is refused.

use fleet::image::Image;
use fleet::plan::{PlanKind, Unplannable};
use fleet::{Denied, Event};
use pack::{Digest, Layout, PartitionId, TableId};
use protocol::{Disk, DiskBus, DiskId, Expectation, Holding, Key, NodeId, Phase};

use crate::rack::{MAC, Rack, disk, progress};

fn with_disks(disks: Vec<Disk>) -> (Rack, NodeId) {
    let (mut rack, node) = Rack::ready("control");
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = disks;
    (rack, node)
}

fn refusal(rack: &mut Rack, node: NodeId) -> Unplannable {
    match rack.plan(node).unwrap_err() {
        Denied::Unplannable(why) => why,
        other => panic!("{other}"),
    }
}

fn holds(mut on: Disk, label: &str) -> Disk {
    on.holds.push(Holding {
        kind: "ext4".to_owned(),
        partition: 1,
        label: label.to_owned(),
        bytes: None,
        ..Holding::default()
    });
    on
}

#[test]
fn a_plan_names_the_disk_and_what_is_on_it() {
    let (mut rack, node) = with_disks(vec![holds(disk("SYS", 8), "precious")]);
    let plan = rack.plan(node).unwrap();
    assert_eq!(plan.target.disk.as_str(), "serial:SYS");
    assert_eq!(plan.kind, PlanKind::Install);
    assert_eq!(plan.erases[0].label, "precious");
    assert_eq!(plan.target.expect, Expectation::Content { digest: Digest::of(b"SYS") });
    assert_eq!(rack.state(), "planned");
}

#[test]
fn disks_that_are_never_chosen_unasked() {
    let nameless = Disk { serial: String::new(), ..disk("", 8) };
    let cases: [(&str, Disk); 5] = [
        ("too small", disk("A", 1)),
        ("without a name", nameless),
        ("removable", Disk { removable: true, ..disk("A", 8) }),
        ("on USB", Disk { bus: DiskBus::Usb, ..disk("A", 8) }),
        ("read-only", Disk { read_only: true, ..disk("A", 8) }),
    ];
    for (what, only) in cases {
        let (mut rack, node) = with_disks(vec![only]);
        assert!(matches!(refusal(&mut rack, node), Unplannable::NoDisk { .. }), "{what}");
        assert_eq!(rack.state(), "ready", "{what}: a refusal changes nothing");
    }
}

/// The partitions count, not the disk that the image was made of.
#[test]
fn an_image_goes_onto_a_disk_that_its_partitions_fit() {
    let (mut rack, node) = with_disks(vec![disk("A", 1)]);
    let image = rack.fleet.images.values().next().unwrap().clone();
    let part = |bytes| PartitionId {
        number: 1,
        kind: String::new(),
        uuid: String::new(),
        name: String::new(),
        offset: 1 << 20,
        bytes,
    };
    let with = |rack: &mut Rack, bytes: u64| {
        let table = Some(TableId { kind: "gpt".to_owned(), id: String::new() });
        let layout = Layout { table, partitions: vec![part(bytes)], ..Layout::default() };
        rack.bring(Event::Imported(Image { layout, ..image.clone() })).unwrap();
    };
    with(&mut rack, (1022 << 20) + 512);
    let least = (1_u64 << 30) + 4096;
    assert!(matches!(refusal(&mut rack, node), Unplannable::NoDisk { need, .. } if need == least));
    let named = |node| Event::Plan {
        node,
        image: None,
        disk: DiskId::of("", "A"),
        data: None,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    let why = rack.bring(named(node)).unwrap_err().to_string();
    assert!(why.contains("it has 1073741824 bytes, the image needs at least 1073745920"), "{why}");
    with(&mut rack, 1022 << 20);
    assert_eq!(rack.plan(node).unwrap().target.disk.as_str(), "serial:A");
}

#[test]
fn two_disks_that_fit_are_a_refusal_and_naming_one_is_the_way_out() {
    let (mut rack, node) = with_disks(vec![disk("A", 8), disk("B", 8)]);
    assert!(matches!(refusal(&mut rack, node), Unplannable::Ambiguous { disks, .. } if disks.len() == 2));
    let named = Event::Plan {
        node,
        image: None,
        disk: DiskId::of("", "B"),
        data: None,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    rack.bring(named).unwrap();
    let plan = rack.fleet.plans.values().next().unwrap();
    assert_eq!(plan.target.disk.as_str(), "serial:B");
    assert_eq!(plan.keeps.len(), 1);
}

#[test]
fn two_disks_of_one_name_are_never_written() {
    let (mut rack, node) = with_disks(vec![disk("A", 8), disk("A", 8)]);
    let named = Event::Plan {
        node,
        image: None,
        disk: DiskId::of("", "A"),
        data: None,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    let why = rack.bring(named).unwrap_err();
    assert!(matches!(why, Denied::Unplannable(Unplannable::WrongDisk { .. })), "{why}");
}

/// A job names a disk by what is printed on it: the agent could not tell these two apart.
#[test]
fn a_disk_whose_name_an_unfit_one_has_too_is_not_chosen() {
    let unfit =
        [disk("A", 1), Disk { removable: true, ..disk("A", 8) }, Disk { read_only: true, ..disk("A", 8) }];
    for other in unfit {
        let (mut rack, node) = with_disks(vec![disk("A", 8), other]);
        let why = refusal(&mut rack, node);
        assert!(matches!(&why, Unplannable::NoDisk { why, .. } if why.len() == 2), "{why}");
        assert!(why.to_string().contains("two disks call themselves so"), "{why}");
    }
}

#[test]
fn another_disk_with_our_system_on_it_is_refused() {
    let (mut rack, node) = with_disks(vec![disk("A", 8), holds(disk("B", 1), "rackwright-root")]);
    assert!(matches!(refusal(&mut rack, node), Unplannable::Twin { .. }));
}

#[test]
fn roles_and_images_must_fit() {
    let (mut rack, node) = Rack::ready("control");
    rack.bring(Event::SetRoles { node, roles: ["storage".to_owned()].into() }).unwrap();
    assert!(matches!(refusal(&mut rack, node), Unplannable::NoImage { .. }));
    let control = Digest::of(b"control");
    let wrong = rack
        .bring(Event::Plan {
            node,
            image: Some(control),
            disk: None,
            data: None,
            roles: None,
            erase: Vec::new(),
            verify: protocol::Verify::Readback,
        })
        .unwrap_err();
    assert!(matches!(wrong, Denied::Unplannable(Unplannable::WrongImage { .. })), "{wrong}");
    rack.bring(Event::SetRoles { node, roles: [].into() }).unwrap();
    assert!(matches!(refusal(&mut rack, node), Unplannable::NoRole { .. }));
    let unknown = rack.bring(Event::SetRoles { node, roles: ["kitchen".to_owned()].into() }).unwrap_err();
    assert!(matches!(unknown, Denied::Missing { kind: "role", .. }), "{unknown}");
}

#[test]
fn a_plan_dies_with_what_it_was_made_of() {
    type Change = fn(&mut Rack, NodeId);
    let cases: [(&str, Change); 5] = [
        ("the disk was swapped", |rack, node| {
            rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = vec![disk("OTHER", 8)];
        }),
        ("its content changed", |rack, node| {
            rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks[0].content = Some(Digest::of(b"new"));
        }),
        ("another size under the same serial", |rack, node| {
            rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = vec![disk("SYS", 9)];
        }),
        ("the roles changed", |rack, node| {
            rack.bring(Event::SetRoles { node, roles: ["control".to_owned()].into() }).unwrap();
        }),
        ("the image is gone", |rack, _| rack.fleet.images.clear()),
    ];
    for (what, change) in cases {
        let (mut rack, node) = Rack::ready("control");
        let plan = rack.plan(node).unwrap();
        change(&mut rack, node);
        let why = rack.apply(&plan.id).unwrap_err();
        assert!(matches!(why, Denied::Unplannable(Unplannable::Stale { .. })), "{what}: {why}");
        assert!(rack.fleet.jobs.is_empty(), "{what}");
    }
}

#[test]
fn a_plan_is_applied_once() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    let why = rack.apply(&plan.id).unwrap_err();
    assert!(why.to_string().contains("already"), "{why}");
    assert_eq!(rack.fleet.jobs.len(), 1);
}

/// After a rebuild that failed half-way there is no system of ours left to be recognised.
#[test]
fn a_half_written_disk_is_planned_by_its_content() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    assert_eq!(plan.target.expect, Expectation::Own);
    let job = rack.apply(&plan.id).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    rack.asks(node).unwrap();
    let mut failed = progress(job, Phase::Write, 5);
    failed.failed = Some("No space left on device".to_owned());
    rack.bring(Event::Progressed { node, progress: failed }).unwrap();
    let disarmed = Disk { content: Some(Digest::of(b"zeros")), ..disk("SYS", 8) };
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = vec![disarmed];
    rack.asks(node).unwrap();
    let plan = rack.plan(node).unwrap();
    assert_eq!(plan.target.expect, Expectation::Content { digest: Digest::of(b"zeros") });
    assert_eq!((plan.kind, plan.erases), (PlanKind::Rebuild, vec![]));
    rack.apply(&plan.id).unwrap();
    assert_eq!(rack.state(), "imaging");
}

#[test]
fn the_disk_that_a_node_runs_on_is_a_twin_whatever_was_seen_on_it_before() {
    let (mut rack, node, _) = Rack::active("control");
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks.push(disk("DATA", 8));
    let named = Event::Plan {
        node,
        image: None,
        disk: DiskId::of("", "DATA"),
        data: None,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    let why = rack.bring(named).unwrap_err();
    assert!(matches!(why, Denied::Unplannable(Unplannable::Twin { .. })), "{why}");
}

#[test]
fn a_plan_says_what_is_printed_on_its_disks() {
    let named = |serial: &str, wwn: &str| Disk { wwn: wwn.to_owned(), ..disk(serial, 8) };
    let (mut rack, node) =
        with_disks(vec![named("S1", "naa.5001"), Disk { bytes: 1, ..named("S2", "naa.5002") }]);
    let plan = rack.plan(node).unwrap();
    let view = fleet::view::plan_view(&rack.fleet, &plan);
    assert_eq!((view.disk.as_str(), view.disk_serial.as_str()), ("wwn:naa.5001", "S1"));
    assert_eq!((view.keeps[0].disk.as_str(), view.keeps[0].serial.as_str()), ("wwn:naa.5002", "S2"));
    // Plans that were made before it was written down can still be read.
    let mut old = serde_json::to_value(&plan).unwrap();
    for gone in ["serial", "data"] {
        old.as_object_mut().unwrap().remove(gone);
    }
    old["keeps"][0].as_object_mut().unwrap().remove("serial");
    serde_json::from_value::<fleet::plan::Plan>(old).unwrap();
}

#[test]
fn a_plan_that_is_refused_leaves_the_roles_as_they_were() {
    let (mut rack, node) = Rack::ready("control");
    let before = rack.only().clone();
    let wish = |role: &str| Event::Plan {
        node,
        image: None,
        disk: None,
        data: None,
        roles: Some([role.to_owned()].into()),
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    let refused = rack.bring(wish("storage")).unwrap_err();
    assert!(matches!(refused, Denied::Unplannable(Unplannable::NoImage { .. })), "{refused}");
    let unknown = rack.bring(wish("kitchen")).unwrap_err();
    assert!(matches!(unknown, Denied::Missing { kind: "role", .. }), "{unknown}");
    assert_eq!(rack.only(), &before);
    assert!(rack.fleet.plans.is_empty());
}

#[test]
fn the_roles_of_a_plan_are_the_nodes_when_it_is_applied_and_not_before() {
    let (mut rack, node, _) = Rack::active("control");
    rack.import("storage", &["storage"]);
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks.push(disk("DATA", 4));
    let (roles, document) = (rack.only().roles.clone(), rack.only().document.clone());
    let storage = std::collections::BTreeSet::from(["storage".to_owned()]);
    rack.bring(Event::Plan {
        node,
        image: None,
        disk: None,
        data: None,
        roles: Some(storage.clone()),
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    })
    .unwrap();
    let plan = rack.fleet.plans.values().find(|plan| plan.roles.is_some()).unwrap().clone();
    assert_eq!(plan.image_name, "storage", "the image carries the roles to come, not those of today");
    assert_eq!(fleet::view::plan_view(&rack.fleet, &plan).roles, ["storage"]);
    assert_eq!((&rack.only().roles, &rack.only().document), (&roles, &document));
    rack.apply(&plan.id).unwrap();
    assert_eq!(rack.state(), "draining");
    assert_eq!(rack.only().roles, storage);
    assert_eq!(rack.only().document, document, "the system that still runs is not told to be another one");
}
