//! What is erased only when it was named, and what must not be there twice.

use fleet::plan::{Plan, Unplannable};
use fleet::{Denied, Event, Reply};
use protocol::{Disk, Holding, Mark, NodeId, OWN_PARTITION, SystemPart, Task};

use crate::rack::{Rack, disk};

fn held(kind: &str, partition: u32, label: &str, uuid: &str) -> Holding {
    let (kind, label, uuid) = (kind.to_owned(), label.to_owned(), uuid.to_owned());
    Holding { kind, partition, label, uuid, ..Holding::default() }
}

fn with(holds: Vec<Holding>) -> (Rack, NodeId) {
    let (mut rack, node) = Rack::ready("control");
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = vec![Disk { holds, ..disk("SYS", 8) }];
    (rack, node)
}

fn plan(rack: &mut Rack, node: NodeId, marks: &[&str]) -> Result<Plan, Unplannable> {
    let erase = marks.iter().map(|mark| mark.parse::<Mark>().unwrap()).collect();
    match rack.bring(Event::Plan {
        node,
        image: None,
        disk: None,
        data: None,
        roles: None,
        erase,
        verify: protocol::Verify::Readback,
    }) {
        Ok(outcome) => match outcome.reply {
            Reply::Plan(plan) => Ok(*plan),
            other => panic!("{other:?}"),
        },
        Err(Denied::Unplannable(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn members_of_something_bigger_are_erased_by_name_only() {
    let (mut rack, node) = with(vec![
        held("gpt", 0, "", "aaaa"),
        held("ext4", 1, "old", "bbbb"),
        held("lvm", 2, "vg0", "PV-1"),
        held("luks", 3, "", "cccc"),
    ]);
    let told = plan(&mut rack, node, &[]).unwrap_err().to_string();
    let words = "holds more than one old system: luks \"cccc\" (partition 3), lvm \"vg0\" (partition 2); if nobody needs \
                 that, name it: --erase luks:cccc --erase lvm:vg0";
    assert!(told.ends_with(words), "{told}");
    assert!(rack.fleet.plans.is_empty());
    let told = plan(&mut rack, node, &["lvm:vg1", "luks:cccc"]).unwrap_err();
    assert!(matches!(&told, Unplannable::NoSuchHolding { mark, .. } if mark == "lvm:vg1"), "{told}");
    assert!(told.to_string().contains("lvm:vg0"), "{told}");
    let told = plan(&mut rack, node, &["lvm:vg0"]).unwrap_err();
    assert!(matches!(&told, Unplannable::Foreign { found, .. } if found.len() == 1), "{told}");
    let made = plan(&mut rack, node, &["lvm:vg0", "luks@3"]).unwrap();
    let names = made.erase.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names, ["luks@3:cccc", "lvm@2:PV-1"], "each by its partition and its own id");
    assert_eq!(fleet::view::plan_view(&rack.fleet, &made).erase, names);
    // The agent is given them, and compares again.
    rack.apply(&made.id).unwrap();
    let Reply::Task(Task::Image(job)) = rack.asks(node).unwrap().reply else { panic!("no job") };
    assert_eq!(job.erase, made.erase);
}

#[test]
fn a_used_server_is_planned_as_ever() {
    let old_linux = vec![
        held("gpt", 0, "", "a"),
        Holding { system: Some(SystemPart::Esp), ..held("partition", 1, "EFI", "b") },
        held("vfat", 1, "", "1234-ABCD"),
        held("ext4", 2, "boot", "c"),
        Holding { system: Some(SystemPart::Root), ..held("ext4", 3, "", "d") },
        held("swap", 4, "", "e"),
        held("xfs", 5, "home", "f"),
    ];
    let windows = vec![held("mbr", 0, "", "a"), held("ntfs", 1, "", "b"), held("ntfs", 2, "", "c")];
    for holds in [vec![], vec![held("unknown", 0, "", "")], old_linux, windows] {
        let (mut rack, node) = with(holds.clone());
        let made = plan(&mut rack, node, &[]).unwrap();
        assert_eq!((made.erases, made.erase), (holds, vec![]));
    }
}

#[test]
fn a_second_system_must_be_named() {
    let root = |number| Holding {
        system: Some(SystemPart::Root),
        ..held("ext4", number, "", &format!("r{number}"))
    };
    let esp = |number| Holding {
        system: Some(SystemPart::Esp),
        ..held("partition", number, "EFI system partition", &format!("p{number}"))
    };
    let cases = [
        (vec![held("ntfs", 3, "", "AB"), held("ext4", 5, "", "cd")], vec!["ext4@5:cd", "ntfs@3:AB"]),
        (vec![root(2), root(3), held("ext4", 4, "home", "h")], vec!["ext4@2:r2", "ext4@3:r3"]),
        (vec![esp(1), esp(4), held("ext4", 5, "", "x")], vec!["partition@1:p1", "partition@4:p4"]),
    ];
    for (holds, want) in cases {
        let (mut rack, node) = with(holds.clone());
        let told = plan(&mut rack, node, &[]).unwrap_err();
        assert!(matches!(told, Unplannable::Foreign { .. }), "{told}");
        let made = plan(&mut rack, node, &want).unwrap();
        assert_eq!(made.erase.iter().map(ToString::to_string).collect::<Vec<_>>(), want);
    }
}

#[test]
fn what_was_added_to_a_disk_of_ours_must_be_named() {
    let ours = |number, name: &str| held("partition", number, name, &format!("p{number}"));
    let mut holds = vec![
        ours(2, "rackwright-esp"),
        held("vfat", 2, "RW-ESP", "1"),
        ours(4, OWN_PARTITION),
        held("ext4", 4, OWN_PARTITION, "2"),
    ];
    let (mut rack, node) = with(holds.clone());
    plan(&mut rack, node, &[]).unwrap();
    holds.extend([ours(5, "somebody's"), held("xfs", 5, "data", "3")]);
    let (mut rack, node) = with(holds);
    let told = plan(&mut rack, node, &[]).unwrap_err();
    assert!(told.to_string().ends_with("--erase xfs:data"), "{told}");
    assert_eq!(plan(&mut rack, node, &["xfs:data"]).unwrap().erase.len(), 1);
}

#[test]
fn of_a_running_node_the_agent_compares_what_was_named() {
    let (mut rack, node, _) = Rack::active("control");
    // The newest look at the disk is older than the system on it.
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks[0].holds = vec![held("lvm", 0, "gone", "g")];
    assert_eq!(plan(&mut rack, node, &[]).unwrap().erase, []);
    let made = plan(&mut rack, node, &["xfs:data"]).unwrap();
    assert_eq!(made.erase, ["xfs:data".parse().unwrap()]);
}

#[test]
fn what_appears_between_the_ends_of_the_disk_makes_a_plan_stale() {
    let (mut rack, node) = with(vec![held("ext4", 1, "old", "b")]);
    let made = plan(&mut rack, node, &[]).unwrap();
    let disks = &mut rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks;
    disks[0].holds.push(held("ceph", 2, "osd", "osd"));
    let why = rack.apply(&made.id).unwrap_err();
    assert!(why.to_string().contains("holds ceph:osd now"), "{why}");
}

#[test]
fn hostile_names_are_kept_out_of_what_is_written_down() {
    let (mut rack, node) = with(vec![held("lvm", 1, "a\u{1b}[2J", "")]);
    let made = plan(&mut rack, node, &["lvm@1"]).unwrap();
    let text = serde_json::to_string(&made).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), made);
}

#[test]
fn another_disk_with_a_name_that_the_image_brings_is_refused() {
    let (mut rack, node) = with(vec![]);
    let other = Disk { holds: vec![held("ext4", 1, OWN_PARTITION, "x")], ..disk("OTHER", 1) };
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks.push(other);
    let told = plan(&mut rack, node, &[]).unwrap_err();
    assert!(matches!(told, Unplannable::Twin { .. }), "{told}");
    let xfs = Disk { holds: vec![held("swap", 1, OWN_PARTITION, "x")], ..disk("OTHER", 1) };
    assert_eq!(protocol::clashes(&[held("ext4", 4, OWN_PARTITION, "")], [&xfs]).len(), 1);
}
