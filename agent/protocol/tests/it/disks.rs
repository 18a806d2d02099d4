//! Names of things on disks, and names that are there twice.

use protocol::{Disk, Handle, Holding, Mark, clashes};

fn held(kind: &str, partition: u32, label: &str, uuid: &str) -> Holding {
    let (kind, label, uuid) = (kind.to_owned(), label.to_owned(), uuid.to_owned());
    Holding { kind, partition, label, uuid, ..Holding::default() }
}

#[test]
fn a_mark_names_one_thing_and_is_read_back_as_it_was() {
    let things = [
        held("lvm", 2, "vg0", "PV1"),
        held("lvm", 3, "vg1", "PV2"),
        held("luks", 3, "", "AB-CD"),
        held("mdraid", 0, "any:0", "u"),
        held("isw-raid", 0, "", ""),
    ];
    let table: [(&str, &[usize]); 14] = [
        ("lvm:vg0", &[0]),
        ("lvm:PV2", &[1]),
        ("lvm@2", &[0]),
        ("lvm@3:vg0", &[]),
        ("lvm@2:vg0", &[0]),
        ("lvm", &[]),
        ("lvm:vg", &[]),
        ("luks:ab-cd", &[2]),
        ("luks@3", &[2]),
        ("luks@0", &[]),
        ("mdraid:any:0", &[3]),
        ("isw-raid", &[4]),
        ("isw-raid@0", &[4]),
        ("ceph@0", &[]),
    ];
    for (text, want) in table {
        let mark = text.parse::<Mark>().unwrap();
        assert_eq!(mark.to_string(), text);
        let json = serde_json::to_string(&mark).unwrap();
        assert_eq!(serde_json::from_str::<Mark>(&json).unwrap(), mark);
        let covered = (0..things.len()).filter(|&n| mark.covers(&things[n])).collect::<Vec<_>>();
        assert_eq!(covered, want, "{text}");
    }
    for held in &things {
        for mark in [Mark::exact(held), Mark::short(held)] {
            assert!(mark.covers(held), "{mark}");
            assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark);
        }
    }
}

#[test]
fn what_a_stranger_wrote_is_no_command() {
    let hostile = held("lvm", 7, "a; rm -rf /", "$(reboot)");
    assert_eq!(Mark::short(&hostile).to_string(), "lvm@7");
    for text in ["", ":vg0", "LVM:vg0", "lvm@", "lvm@x", "lvm@-1", "l v m", "lvm:a\nb", &"x".repeat(33)] {
        text.parse::<Mark>().unwrap_err();
    }
}

#[test]
fn every_kind_of_name_that_is_there_twice_is_told() {
    let image = [
        held("gpt", 0, "", "GPT-1"),
        held("partition", 1, "EFI system partition", "PART-1"),
        held("vfat", 1, "ESP", "1234-ABCD"),
        held("ext4", 2, "root", "fs-1"),
        held("lvm", 3, "vg0", "PV-1"),
        held("mdraid", 4, "any:0", "md-1"),
        held("swap", 5, "", ""),
    ];
    let on = |held: Holding| Disk { serial: "B".to_owned(), holds: vec![held], ..Disk::default() };
    let table = [
        (held("gpt", 0, "", "gpt-1"), Some(Handle::Disk)),
        (held("partition", 9, "x", "part-1"), Some(Handle::Partition)),
        (held("vfat", 1, "ESP", ""), Some(Handle::Label)),
        (held("xfs", 1, "root", ""), Some(Handle::Label)),
        (held("ext4", 1, "", "FS-1"), Some(Handle::Uuid)),
        (held("lvm", 1, "vg0", "PV-9"), Some(Handle::VolumeGroup)),
        (held("mdraid", 1, "any:0", ""), Some(Handle::Array)),
        // Names that say nothing.
        (held("partition", 1, "EFI system partition", "PART-2"), None),
        (held("ext4", 1, "vg0", ""), None),
        (held("ext4", 1, "", ""), None),
        (held("unknown", 0, "root", "fs-1"), None),
    ];
    for (other, want) in table {
        let found = clashes(&image, [&on(other.clone())]);
        assert_eq!(
            found.iter().map(|clash| clash.handle).collect::<Vec<_>>(),
            Vec::from_iter(want),
            "{other:?}"
        );
    }
    let twice = clashes(&image, [&on(held("ext4", 2, "root", "fs-1"))]);
    let words = twice.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        words,
        ["UUID \"fs-1\" is on serial:B, partition 2", "label \"root\" is on serial:B, partition 2"]
    );
}
