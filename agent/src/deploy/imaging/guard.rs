//! Which disk is written, decided without touching one: exactly the planned one, or none.

use protocol::{
    CaPin, Carried, Clash, Disk, DiskBus, DiskId, Expectation, Holding, ImageJob, Mark, NodeId,
    OWN_PARTITION, Seed, Target, clashes, unnamed,
};

use crate::inventory::probe::Partition;

/// Why no disk is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// The planned disk is not there.
    #[error("the planned disk {id} is not in this server; it has {there}")]
    Missing {
        /// The planned one.
        id: DiskId,
        /// Those that are here.
        there: String,
    },
    /// A disk with the planned name is here, but it is another.
    #[error("the disk {id} is not the planned one: planned {planned}, found {found}")]
    Changed {
        /// Its name.
        id: DiskId,
        /// Model and size in the plan.
        planned: String,
        /// Model and size here.
        found: String,
    },
    /// More than one disk has the planned name.
    #[error("{count} disks call themselves {id}: none is written")]
    Ambiguous {
        /// The name.
        id: DiskId,
        /// How many.
        count: usize,
    },
    /// Something has been written since the plan, or the disk was swapped.
    #[error("what is on {id} has changed since the plan")]
    Content {
        /// The disk.
        id: DiskId,
    },
    /// A rebuild was planned, and this is not a node's disk.
    #[error("{id} has no partition {OWN_PARTITION}: it is not the disk of a node, so it is not rebuilt")]
    NotOwn {
        /// The disk.
        id: DiskId,
    },
    /// A rebuild was planned, and this is another node's disk.
    #[error("{id} carries the key of another node, so it is not rebuilt: was a disk moved here?")]
    OfAnother {
        /// The disk.
        id: DiskId,
    },
    /// A medium that can be taken out, or a USB disk, must have been looked at in the plan.
    #[error("{id} is removable or on USB: only a plan that saw its content may write it")]
    Removable {
        /// The disk.
        id: DiskId,
    },
    /// The image is cut for another sector size.
    #[error(
        "{id} has sectors of {bytes} bytes, and the tables and file systems of the image are made for {image}: on it \
         they would be found nowhere"
    )]
    Sectors {
        /// The disk.
        id: DiskId,
        /// Its sectors.
        bytes: u32,
        /// The image's.
        image: u32,
    },
    /// Another disk has something of the same name.
    #[error("another disk carries what the image brings to {id}, and which is mounted is chance: {}", list_of(.clashes))]
    Clash {
        /// The disk.
        id: DiskId,
        /// What is there twice.
        clashes: Vec<Clash>,
    },
    /// Something is on it that nobody named.
    #[error(
        "{id} holds what the plan does not name: {}; a new plan erases it with {}",
        found.iter().map(words_of).collect::<Vec<_>>().join(", "),
        found.iter().map(|held| format!("--erase {}", Mark::short(held))).collect::<Vec<_>>().join(" ")
    )]
    Foreign {
        /// The disk.
        id: DiskId,
        /// What.
        found: Vec<Holding>,
    },
    /// It was swapped while it was opened.
    #[error("{id} is not what was opened: it was looked at as {before}, and is {after} now")]
    Swapped {
        /// The disk.
        id: DiskId,
        /// Its name at the first look.
        before: String,
        /// Its name at the second.
        after: String,
    },
}

/// What the seed on a disk says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is none, or an older one of this node.
    Nothing,
    /// By this very job of this node: what is on its disk is then our own half-written image, and nothing that the plan
    /// saw is left. Also a complete one: the tables that come after it may be missing.
    Begun,
    /// By another node, or another site.
    ByAnother,
}

impl Left {
    /// By this seed, for this job of this node.
    pub fn of(seed: &Seed, job: &ImageJob, node: NodeId, sites: &[CaPin]) -> Self {
        match seed {
            seed if seed.node != node || !sites.contains(&seed.ca) => Left::ByAnother,
            seed if seed.job == Some(job.job) => Left::Begun,
            _ => Left::Nothing,
        }
    }
}

/// Finds the planned disk among these. `partitions` reads a disk's partition table, `left` its seed. That alone
/// makes a job go on: what the controller remembers of it may be about another disk.
///
/// # Errors
/// [`Unsafe`]: nothing may be written then.
pub fn choose<'a>(
    disks: &'a [Disk],
    job: &ImageJob,
    image: &Carried,
    partitions: impl Fn(&Disk) -> Vec<Partition>,
    left: impl Fn(&Disk) -> Left,
) -> Result<&'a Disk, Unsafe> {
    let target = &job.target;
    let id = target.disk.clone();
    let named = disks.iter().filter(|disk| disk.id().as_ref() == Some(&target.disk)).collect::<Vec<_>>();
    let disk = match named.as_slice() {
        [one] => *one,
        [] => return Err(Unsafe::Missing { id, there: list(disks) }),
        many => return Err(Unsafe::Ambiguous { id, count: many.len() }),
    };
    if !target.is(disk) {
        return Err(Unsafe::Changed { id, planned: words(target), found: title(disk) });
    }
    if disk.sector_bytes != image.sector_bytes {
        return Err(Unsafe::Sectors { id, bytes: disk.sector_bytes, image: image.sector_bytes });
    }
    let others = disks.iter().filter(|other| other.id() != disk.id());
    let clashes = clashes(&image.holds, others);
    if !clashes.is_empty() {
        return Err(Unsafe::Clash { id, clashes });
    }
    let may_come_off = disk.removable || disk.bus == DiskBus::Usb;
    match &target.expect {
        Expectation::Own if may_come_off => return Err(Unsafe::Removable { id }),
        // What is on it is our own half-written image, whatever it looks like.
        Expectation::Own | Expectation::Content { .. } if left(disk) == Left::Begun => return Ok(disk),
        Expectation::Content { digest } if disk.content != Some(*digest) => {
            return Err(Unsafe::Content { id });
        }
        Expectation::Own if !partitions(disk).iter().any(|p| p.name == OWN_PARTITION) => {
            return Err(Unsafe::NotOwn { id });
        }
        // Serial numbers repeat. A node that hands a ticket in before its rebuild has left it on its own disk.
        Expectation::Own if left(disk) == Left::ByAnother => return Err(Unsafe::OfAnother { id }),
        Expectation::Content { .. } | Expectation::Own => {}
    }
    let found = unnamed(&disk.holds, &job.erase).into_iter().cloned().collect::<Vec<_>>();
    if found.is_empty() { Ok(disk) } else { Err(Unsafe::Foreign { id, found }) }
}

/// Something on a disk, for a person.
fn words_of(held: &Holding) -> String {
    let place = match held.partition {
        0 => "whole disk".to_owned(),
        number => format!("partition {number}"),
    };
    let name = [&held.label, &held.uuid].into_iter().find(|name| !name.is_empty());
    match name {
        Some(name) => format!("{} {name:?} ({place})", held.kind),
        None => format!("{} ({place})", held.kind),
    }
}

fn list_of(clashes: &[Clash]) -> String {
    clashes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn words(target: &Target) -> String {
    let serial = target.serial.as_ref().map(|serial| format!(" {serial:?}")).unwrap_or_default();
    format!("{:?}{serial} of {} bytes", target.model, target.bytes)
}

fn title(disk: &Disk) -> String {
    format!("{:?} {:?} of {} bytes", disk.model, disk.serial, disk.bytes)
}

fn list(disks: &[Disk]) -> String {
    let names =
        disks.iter().map(|d| d.id().map_or_else(|| title(d), |id| id.to_string())).collect::<Vec<_>>();
    if names.is_empty() { "no disk at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use pack::{Digest, PublicKey};
    use protocol::{
        CaPin, Carried, Disk, DiskBus, DiskId, Expectation, Holding, ImageJob, JobId, NodeId, OWN_PARTITION,
        Seed, Target,
    };

    use super::{Left, Unsafe, choose};
    use crate::inventory::probe::Partition;

    fn disk(serial: &str) -> Disk {
        Disk {
            name: "vda".to_owned(),
            model: "M".to_owned(),
            serial: serial.to_owned(),
            bytes: 1 << 30,
            sector_bytes: 512,
            content: Some(Digest::of(serial.as_bytes())),
            ..Disk::default()
        }
    }

    fn job(expect: Expectation) -> ImageJob {
        ImageJob {
            job: JobId([1; 8]),
            image: Digest::of(b"image"),
            signer: PublicKey([0; 32]),
            target: Target {
                disk: DiskId::of("", "A").unwrap(),
                model: "M".to_owned(),
                serial: Some("A".to_owned()),
                bytes: 1 << 30,
                expect,
            },
            erase: Vec::new(),
            verify: protocol::Verify::default(),
        }
    }

    fn image() -> Carried {
        let root = Holding { kind: "ext4".to_owned(), label: OWN_PARTITION.to_owned(), ..Holding::default() };
        Carried { sector_bytes: 512, holds: vec![root] }
    }

    fn content() -> Expectation {
        Expectation::Content { digest: Digest::of(b"A") }
    }

    fn none(_: &Disk) -> Vec<Partition> {
        Vec::new()
    }

    fn never(_: &Disk) -> Left {
        Left::Nothing
    }

    fn own(_: &Disk) -> Vec<Partition> {
        vec![Partition { number: 4, name: OWN_PARTITION.to_owned(), ..Partition::default() }]
    }

    #[test]
    fn the_planned_disk_whatever_its_name_and_place() {
        let mut a = disk("A");
        a.name = "vdz".to_owned();
        let disks = [disk("B"), disk("C"), a];
        assert_eq!(choose(&disks, &job(content()), &image(), none, never).unwrap().serial, "A");
    }

    #[test]
    fn every_doubt_is_a_refusal() {
        let with = |change: fn(&mut Disk)| {
            let mut disk = disk("A");
            change(&mut disk);
            vec![disk, self::disk("B")]
        };
        let check = |disks: &[Disk], expect| choose(disks, &job(expect), &image(), none, never).unwrap_err();
        assert!(matches!(check(&[], content()), Unsafe::Missing { .. }));
        assert!(matches!(check(&[disk("B")], content()), Unsafe::Missing { .. }));
        assert!(matches!(check(&[disk("A"), disk("A")], content()), Unsafe::Ambiguous { count: 2, .. }));
        assert!(matches!(check(&with(|d| d.bytes += 512), content()), Unsafe::Changed { .. }));
        assert!(matches!(check(&with(|d| d.model = "N".to_owned()), content()), Unsafe::Changed { .. }));
        assert!(matches!(
            check(&with(|d| d.serial = "A\u{a0}".to_owned()), content()),
            Unsafe::Changed { .. }
        ));
        // A disk with a WWN is named by it, so a serial alone is another disk's.
        assert!(matches!(check(&with(|d| d.wwn = "naa.5000".to_owned()), content()), Unsafe::Missing { .. }));
        assert!(matches!(check(&with(|d| d.sector_bytes = 4096), content()), Unsafe::Sectors { .. }));
        assert!(matches!(
            check(&with(|d| d.content = Some(Digest::of(b"x"))), content()),
            Unsafe::Content { .. }
        ));
        assert!(matches!(check(&with(|d| d.content = None), content()), Unsafe::Content { .. }));
        assert!(matches!(check(&with(|_| ()), Expectation::Own), Unsafe::NotOwn { .. }));
        assert!(matches!(check(&with(|d| d.removable = true), Expectation::Own), Unsafe::Removable { .. }));
        assert!(matches!(check(&with(|d| d.bus = DiskBus::Usb), Expectation::Own), Unsafe::Removable { .. }));
        let mut twin = [disk("A"), disk("B")];
        twin[1].holds = image().holds;
        let told = check(&twin, content());
        let words = r#"label "rackwright-root" is on serial:B"#;
        assert!(matches!(told, Unsafe::Clash { .. }) && told.to_string().contains(words), "{told}");
    }

    #[test]
    fn what_is_foreign_must_be_in_the_job_by_name() {
        let held = |kind: &str, partition, label: &str| Holding {
            kind: kind.to_owned(),
            partition,
            label: label.to_owned(),
            ..Holding::default()
        };
        let mut disk = disk("A");
        disk.holds = vec![held("ext4", 1, "old"), held("lvm", 2, "vg0"), held("luks", 3, "")];
        let with = |marks: &[&str]| {
            let mut job = job(content());
            job.erase = marks.iter().map(|mark| mark.parse().unwrap()).collect();
            choose(std::slice::from_ref(&disk), &job, &image(), none, never)
                .map(|_| ())
                .map_err(|e| e.to_string())
        };
        let told = with(&[]).unwrap_err();
        let words = r#"luks (partition 3), lvm "vg0" (partition 2); a new plan erases it with --erase luks@3 --erase lvm:vg0"#;
        assert!(told.ends_with(words), "{told}");
        for marks in [
            &["lvm:vg0"][..],
            &["luks@3"],
            &["lvm:vg1", "luks@3"],
            &["lvm@3:vg0", "luks@3"],
            &["lvm:vg0", "luks@2"],
        ] {
            with(marks).unwrap_err();
        }
        with(&["lvm:vg0", "luks@3"]).unwrap();
        with(&["lvm@2:vg0", "luks"]).unwrap();
        let rebuild = job(Expectation::Own);
        let told = choose(std::slice::from_ref(&disk), &rebuild, &image(), self::own, never).unwrap_err();
        assert!(matches!(told, Unsafe::Foreign { .. }), "also what is on a disk of ours: {told}");
        choose(std::slice::from_ref(&disk), &rebuild, &image(), self::own, |_| Left::Begun).unwrap();
    }

    #[test]
    fn a_rebuild_needs_a_disk_of_ours_and_a_job_that_has_begun_its_own_seed() {
        let disks = [disk("A")];
        choose(&disks, &job(Expectation::Own), &image(), own, never).unwrap();
        let told = choose(&disks, &job(Expectation::Own), &image(), own, |_| Left::ByAnother).unwrap_err();
        assert!(matches!(told, Unsafe::OfAnother { .. }), "{told}");
        let mut begun = job(Expectation::Content { digest: Digest::of(b"long gone") });
        let told = choose(&disks, &begun, &image(), none, never).unwrap_err();
        assert!(matches!(told, Unsafe::Content { .. }), "{told}");
        choose(&disks, &begun, &image(), none, |_| Left::Begun).unwrap();
        choose(&disks, &job(Expectation::Own), &image(), none, |_| Left::Begun).unwrap();
        begun.target.bytes += 1;
        choose(&disks, &begun, &image(), none, |_| Left::Begun).unwrap_err();
    }

    #[test]
    fn a_seed_counts_for_its_own_job_node_and_site() {
        let seed = Seed {
            controller: "10.0.0.1:8443".parse().unwrap(),
            ca: CaPin([1; 32]),
            node: NodeId([2; 16]),
            name: "n1".to_owned(),
            job: Some(JobId([1; 8])),
            key: String::new(),
            certificate: String::new(),
            complete: false,
        };
        let counts = |change: fn(&mut Seed)| {
            let mut seed = seed.clone();
            change(&mut seed);
            Left::of(&seed, &job(content()), NodeId([2; 16]), &[CaPin([1; 32]), CaPin([4; 32])])
        };
        assert_eq!((counts(|_| ()), counts(|s| s.complete = true)), (Left::Begun, Left::Begun));
        assert_eq!(counts(|s| s.job = None), Left::Nothing, "a ticket for a rebuild");
        assert_eq!(counts(|s| s.job = Some(JobId([9; 8]))), Left::Nothing);
        assert_eq!(counts(|s| s.node = NodeId([9; 16])), Left::ByAnother);
        assert_eq!(counts(|s| s.ca = CaPin([9; 32])), Left::ByAnother);
    }
}
