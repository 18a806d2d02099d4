//! What is erased only when it was named, what must not be there twice, and how long a whole disk may take.

use fleet::certificate::{Stage, Unauthorised, authorise, authorise_erasing};
use fleet::limits::Limits;
use fleet::plan::{Plan, PlanId, Unplannable};
use fleet::{Change, Denied, Event, Reply, patience};
use protocol::{Disk, Holding, JobId, Mark, NodeId, OWN_PARTITION, Phase, Progress, SystemPart, Task};

use crate::rack::{Rack, disk, progress};

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

fn plan_to_retire(rack: &mut Rack, node: NodeId) -> Result<PlanId, Denied> {
    match rack.bring(Event::Retire { node, keep: Vec::new() })?.reply {
        Reply::Retirement(row) => Ok(row.plan),
        other => panic!("{other:?}"),
    }
}

/// A node whose only disk is being erased, and the certificate that the job was taken with.
fn taken() -> (Rack, NodeId, JobId, String) {
    let (mut rack, node) = Rack::ready("control");
    let plan = plan_to_retire(&mut rack, node).unwrap();
    let job = rack.apply(&plan).unwrap();
    let print = rack.deploy_certificate();
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Erase(_))));
    (rack, node, job, print)
}

fn later(rack: &mut Rack, minutes: u64) {
    rack.now = rack.now.plus_seconds(minutes * 60);
}

#[test]
fn a_disk_may_take_longer_than_its_certificate_lives() {
    let (mut rack, node, job, print) = taken();
    later(&mut rack, 5 * 60);
    let all = |rack: &Rack| authorise(&rack.fleet, Some(&print), Stage::Deploy, rack.now).err();
    let erasing = |rack: &Rack| authorise_erasing(&rack.fleet, Some(&print), rack.now).err();
    assert_eq!((all(&rack), erasing(&rack)), (Some(Unauthorised::Expired), None));
    // Of a disk that takes two days too.
    later(&mut rack, 40 * 60);
    let forgotten = patience::overdue(&rack.fleet, rack.now).changes;
    assert!(!forgotten.iter().any(|change| matches!(change, Change::ForgetCertificate(_))), "{forgotten:?}");

    let mut revoked = rack.only().clone();
    revoked.generation += 1;
    rack.fleet.nodes.insert(node, revoked.clone());
    assert_eq!(erasing(&rack), Some(Unauthorised::Revoked));
    rack.fleet.nodes.insert(node, fleet::Node { generation: revoked.generation - 1, ..revoked });
    assert_eq!(erasing(&rack), None);
    let failed = Some("serial:SYS: it says that it is erased, and is not".to_owned());
    rack.bring(Event::Progressed { node, progress: Progress { failed, ..progress(job, Phase::Erase, 5) } })
        .unwrap();
    assert_eq!(erasing(&rack), Some(Unauthorised::Expired), "nothing goes on any more");
}

#[test]
fn firmware_that_counts_nothing_has_an_hour_and_a_silent_agent_has_not() {
    let (mut rack, node, job, _) = taken();
    let told = |rack: &mut Rack| {
        rack.bring(Event::Progressed { node, progress: progress(job, Phase::Erase, 5) }).unwrap();
        rack.bring(Event::Tick).unwrap();
    };
    told(&mut rack);
    for _ in 0..7 {
        later(&mut rack, 10);
        told(&mut rack);
        assert_eq!(rack.state(), "retiring");
    }
    later(&mut rack, 10);
    told(&mut rack);
    assert_eq!(rack.state(), "attention", "80 minutes");

    let (mut rack, ..) = taken();
    later(&mut rack, 16);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
}

#[test]
fn what_ends_an_installed_system_is_counted_and_no_other() {
    let (mut rack, node, _) = Rack::active("control");
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(0) };
    let plan = plan_to_retire(&mut rack, node).unwrap();
    assert!(rack.apply(&plan).unwrap_err().to_string().contains("0 are the most"));
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(1) };
    let job = rack.apply(&plan).unwrap();
    let other = NodeId([9; 16]);
    let copy = fleet::Node { id: other, state: fleet::State::Active, ..rack.fleet.nodes[&node].clone() };
    rack.fleet.nodes.insert(other, copy);
    let second = plan_to_retire(&mut rack, other).unwrap();
    let told = rack.apply(&second).unwrap_err().to_string();
    assert!(told.contains("1 nodes were rebuilt or retired"), "{told}");
    later(&mut rack, 60);
    rack.apply(&second).unwrap();
    assert!(rack.fleet.retirements[&job].was_installed);

    let (mut rack, node) = Rack::ready("control");
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(0) };
    let plan = plan_to_retire(&mut rack, node).unwrap();
    rack.apply(&plan).unwrap();
}

#[test]
fn a_disk_that_nothing_can_name_does_not_leave_whole() {
    let (mut rack, node) = with(vec![]);
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks.push(disk("", 8));
    let told = plan_to_retire(&mut rack, node).unwrap_err().to_string();
    assert!(told.contains("neither WWN nor serial number") && told.contains("pull it out"), "{told}");
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks[1].removable = true;
    plan_to_retire(&mut rack, node).unwrap();
}
