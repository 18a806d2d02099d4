//! Where a node's roles keep their data: on the disk of the plan, and on no other.

use fleet::data_disk::{self, VOLUME_GROUP};
use fleet::plan::{Plan, Unplannable};
use fleet::{Denied, Event, Reply, State, converge};
use pack::Digest;
use protocol::{Disk, DiskBus, DiskId, Holding, NodeId, StateDocument, Task};

use crate::rack::{Rack, disk};

/// Too small for an image, so that the system disk is never in doubt.
fn small(serial: &str) -> Disk {
    disk(serial, 1)
}

fn holding(mut on: Disk, kind: &str, label: &str) -> Disk {
    on.holds.push(Holding {
        kind: kind.to_owned(),
        partition: 0,
        label: label.to_owned(),
        bytes: None,
        ..Holding::default()
    });
    on
}

fn grouped(serial: &str) -> Disk {
    let mut disk = holding(small(serial), "lvm", VOLUME_GROUP);
    disk.content = Some(Digest::of(b"what LVM wrote"));
    disk
}

fn storage(others: Vec<Disk>) -> (Rack, NodeId) {
    let (mut rack, node) = Rack::ready("storage");
    look(&mut rack, node, others);
    (rack, node)
}

/// The next look at the server finds these disks beside the system disk.
fn look(rack: &mut Rack, node: NodeId, others: Vec<Disk>) {
    let disks = std::iter::once(disk("SYS", 8)).chain(others).collect();
    rack.fleet.nodes.get_mut(&node).unwrap().inventory.disks = disks;
}

fn plan(rack: &mut Rack, node: NodeId, named: Option<&str>) -> Result<Plan, Denied> {
    let data = named.and_then(|serial| DiskId::of("", serial));
    match rack
        .bring(Event::Plan {
            node,
            image: None,
            disk: None,
            data,
            roles: None,
            erase: Vec::new(),
            verify: protocol::Verify::Readback,
        })?
        .reply
    {
        Reply::Plan(plan) => Ok(*plan),
        other => panic!("{other:?}"),
    }
}

fn document(rack: &Rack) -> Result<StateDocument, String> {
    converge(&rack.fleet, &rack.site(), &rack.catalog, rack.only()).map_err(|why| why.to_string())
}

#[test]
fn the_plan_names_it_or_says_why_not() {
    let named = |others: Vec<Disk>, by_hand: Option<&str>| {
        let (mut rack, node) = storage(others);
        match plan(&mut rack, node, by_hand) {
            Ok(plan) => plan.data.map_or("none".to_owned(), |data| data.disk.to_string()),
            Err(Denied::Unplannable(Unplannable::NoDataDisk { why, .. })) => why.join("; "),
            Err(Denied::Unplannable(Unplannable::AmbiguousData { disks, .. })) => disks.join(" or "),
            Err(why) => why.to_string(),
        }
    };
    let (unread, full) = (Disk { content: None, ..small("A") }, holding(small("A"), "ext4", "precious"));
    let usb = Disk { bus: DiskBus::Usb, wwn: "naa.5000".to_owned(), ..small("A") };
    let scsi = Disk { bus: DiskBus::Scsi, ..small("A") };
    let table: [(Vec<Disk>, Option<&str>, &str); 16] = [
        (vec![small("A")], None, "serial:A"),
        (vec![], None, ""),
        (vec![small("A"), small("B")], None, "serial:A or serial:B"),
        (vec![small("A"), small("B")], Some("B"), "serial:B"),
        (vec![small("B"), full.clone()], None, "serial:B"),
        (vec![full.clone()], None, "serial:A: it holds ext4 \"precious\""),
        (vec![full], Some("A"), "it holds ext4 \"precious\""),
        (vec![unread.clone()], None, "serial:A: its content could not be read"),
        (vec![unread], Some("A"), "its content could not be read"),
        (vec![holding(small("A"), "lvm", "others")], None, "it holds lvm \"others\""),
        (vec![usb.clone()], None, "only by name, with --data-disk"),
        (vec![scsi], None, "no name under /dev/disk/by-id"),
        (vec![small("B"), grouped("A")], None, "serial:A"),
        (vec![small("B"), grouped("A")], Some("B"), "serial:A carries the volume group"),
        (vec![small("A"), small("A")], Some("A"), "two disks call themselves so"),
        (vec![small("A")], Some("SYS"), "the image is written to it"),
    ];
    for (others, by_hand, want) in table {
        let got = named(others.clone(), by_hand);
        assert!(got.contains(want) && got.is_empty() == want.is_empty(), "{others:?} {by_hand:?}: {got:?}");
    }
    let (mut rack, node) = storage(vec![usb]);
    let wwn = DiskId::of("naa.5000", "");
    rack.bring(Event::Plan {
        node,
        image: None,
        disk: None,
        data: wwn,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    })
    .unwrap();
}

#[test]
fn a_role_without_data_takes_no_disk() {
    let (mut rack, node) = Rack::ready("control");
    look(&mut rack, node, vec![small("A")]);
    assert_eq!(plan(&mut rack, node, None).unwrap().data, None);
    let why = plan(&mut rack, node, Some("A")).unwrap_err();
    assert!(matches!(why, Denied::Unplannable(Unplannable::NoData { .. })), "{why}");
}

#[test]
fn what_the_node_writes_is_not_among_what_is_kept() {
    let (mut rack, node) = storage(vec![small("A"), holding(small("B"), "ext4", "precious")]);
    let plan = plan(&mut rack, node, None).unwrap();
    assert_eq!(plan.keeps.iter().map(|kept| kept.disk.clone()).collect::<Vec<_>>(), [DiskId::of("", "B")]);
    let view = fleet::view::plan_view(&rack.fleet, &plan).data.unwrap();
    assert_eq!((view.disk.as_str(), view.group.as_str(), view.kept), ("serial:A", VOLUME_GROUP, false));
}

#[test]
fn a_plan_dies_with_what_was_on_the_data_disk() {
    let written = Disk { content: Some(Digest::of(b"new")), ..small("A") };
    for others in [vec![], vec![written.clone()], vec![Disk { bytes: 3 << 30, ..small("A") }]] {
        let (mut rack, node) = storage(vec![small("A")]);
        let plan = plan(&mut rack, node, None).unwrap();
        look(&mut rack, node, others);
        let why = rack.apply(&plan.id).unwrap_err();
        assert!(matches!(why, Denied::Unplannable(Unplannable::Stale { .. })), "{why}");
    }
    // Between the apply and the moment in which the agent takes the job.
    let (mut rack, node) = storage(vec![small("A")]);
    let plan = plan(&mut rack, node, None).unwrap();
    let job = rack.apply(&plan.id).unwrap();
    look(&mut rack, node, vec![written]);
    let reply = rack.asks(node).unwrap().reply;
    assert!(matches!(&reply, Reply::Task(Task::Wait { reason }) if reason.contains("serial:A")), "{reply:?}");
    assert!(rack.fleet.jobs[&job].state.ended());
    assert!(matches!(rack.only().state, State::Attention { .. }));
}

#[test]
fn the_document_has_the_disk_of_the_plan_and_a_rebuild_keeps_it() {
    let (mut rack, node) = storage(vec![small("A"), small("B")]);
    let first = plan(&mut rack, node, Some("B")).unwrap();
    assert!(
        document(&rack).unwrap_err().contains("no plan that was applied"),
        "nothing before it is applied"
    );
    let job = rack.apply(&first.id).unwrap();
    rack.asks(node).unwrap();
    rack.verified(node, job).unwrap();
    let argv = |rack: &Rack| document(rack).map(|document| document.tasks[0].argv.join(" "));
    assert_eq!(argv(&rack).unwrap(), "/bin/vg /dev/disk/by-id/virtio-B");
    look(&mut rack, node, vec![small("A"), Disk { content: Some(Digest::of(b"new")), ..small("B") }]);
    assert!(argv(&rack).unwrap_err().contains("holds something else now"));
    look(&mut rack, node, vec![small("A"), grouped("B")]);
    assert_eq!(argv(&rack).unwrap(), "/bin/vg /dev/disk/by-id/virtio-B");
    rack.fleet.nodes.get_mut(&node).unwrap().state = State::Active;
    let again = plan(&mut rack, node, None).unwrap().data.unwrap();
    assert_eq!((again.disk.as_str(), again.kept), ("serial:B", true));
    look(&mut rack, node, vec![small("A")]);
    let why = plan(&mut rack, node, None).unwrap_err().to_string();
    assert!(why.contains("serial:B") && why.contains("--data-disk"), "another is never taken unasked: {why}");
    plan(&mut rack, node, Some("A")).unwrap();
}

#[test]
fn paths_are_udevs_or_none() {
    let disk = |bus, model: &str, serial: &str, wwn: &str| Disk {
        bus,
        model: model.to_owned(),
        serial: serial.to_owned(),
        wwn: wwn.to_owned(),
        ..Disk::default()
    };
    let table = [
        (disk(DiskBus::Virtio, "", "DATA", ""), Some("virtio-DATA")),
        (disk(DiskBus::Virtio, "", "", ""), None),
        (disk(DiskBus::Nvme, "INTEL SSD", "P1", "eui.0025"), Some("nvme-INTEL_SSD_P1")),
        (disk(DiskBus::Nvme, "INTEL SSD", "", "eui.0025"), Some("nvme-eui.0025")),
        (disk(DiskBus::Sata, "QEMU HARDDISK", "QM1", ""), Some("ata-QEMU_HARDDISK_QM1")),
        (disk(DiskBus::Sata, "QEMU HARDDISK", "QM1", "naa.5000c5"), Some("wwn-0x5000c5")),
        (disk(DiskBus::Scsi, "MG04", "S1", "naa.5000c5"), Some("wwn-0x5000c5")),
        (disk(DiskBus::Scsi, "QEMU HARDDISK", "S1", ""), None),
        (disk(DiskBus::Usb, "Stick", "S1", ""), None),
        (disk(DiskBus::Mmc, "SC16G", "0x0c5d", ""), Some("mmc-SC16G_0x0c5d")),
    ];
    for (disk, want) in table {
        let want = want.map(|name| format!("/dev/disk/by-id/{name}"));
        assert_eq!(data_disk::path(&disk), want, "{disk:?}");
    }
}
