//! Which disk is written, decided without touching one: exactly the planned one, or none.

use protocol::{CaPin, Disk, DiskBus, DiskId, Expectation, ImageJob, NodeId, Seed, Target};

use crate::inventory::probe::Partition;

/// What a node of ours is told by.
pub const OWN_PARTITION: &str = "rackwright-root";

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
    /// A medium that can be taken out, or a USB disk, must have been looked at in the plan.
    #[error("{id} is removable or on USB: only a plan that saw its content may write it")]
    Removable {
        /// The disk.
        id: DiskId,
    },
    /// The image is cut for another sector size.
    #[error("{id} has sectors of {bytes} bytes, images are made for 512")]
    Sectors {
        /// The disk.
        id: DiskId,
        /// Its sectors.
        bytes: u32,
    },
}

/// Whether a seed was left by this very job of this node: what is on its disk is then our own half-written image, and
/// nothing that the plan saw is left. Also a complete one: the tables that come after it may be missing.
pub fn is_of(seed: &Seed, job: &ImageJob, node: NodeId, ca: CaPin) -> bool {
    seed.job == Some(job.job) && seed.node == node && seed.ca == ca
}

/// Finds the planned disk among these. `partitions` reads a disk's partition table, `begun` says whether a seed on it
/// [`is_of`] this job. That alone makes a job go on: what the controller remembers of it may be about another disk.
///
/// # Errors
/// [`Unsafe`]: nothing may be written then.
pub fn choose<'a>(
    disks: &'a [Disk],
    job: &ImageJob,
    partitions: impl Fn(&Disk) -> Vec<Partition>,
    begun: impl Fn(&Disk) -> bool,
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
    if disk.sector_bytes != 512 {
        return Err(Unsafe::Sectors { id, bytes: disk.sector_bytes });
    }
    let may_come_off = disk.removable || disk.bus == DiskBus::Usb;
    match &target.expect {
        Expectation::Own if may_come_off => Err(Unsafe::Removable { id }),
        Expectation::Own | Expectation::Content { .. } if begun(disk) => Ok(disk),
        Expectation::Content { digest } if disk.content != Some(*digest) => Err(Unsafe::Content { id }),
        Expectation::Own if !partitions(disk).iter().any(|p| p.name == OWN_PARTITION) => {
            Err(Unsafe::NotOwn { id })
        }
        Expectation::Content { .. } | Expectation::Own => Ok(disk),
    }
}

fn words(target: &Target) -> String {
    format!("{:?} of {} bytes", target.model, target.bytes)
}

fn title(disk: &Disk) -> String {
    format!("{:?} of {} bytes", disk.model, disk.bytes)
}

fn list(disks: &[Disk]) -> String {
    let names =
        disks.iter().map(|d| d.id().map_or_else(|| title(d), |id| id.to_string())).collect::<Vec<_>>();
    if names.is_empty() { "no disk at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use pack::{Digest, PublicKey};
    use protocol::{CaPin, Disk, DiskBus, DiskId, Expectation, ImageJob, JobId, NodeId, Seed, Target};

    use super::{OWN_PARTITION, Unsafe, choose, is_of};
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
                bytes: 1 << 30,
                expect,
            },
        }
    }

    fn content() -> Expectation {
        Expectation::Content { digest: Digest::of(b"A") }
    }

    fn none(_: &Disk) -> Vec<Partition> {
        Vec::new()
    }

    fn never(_: &Disk) -> bool {
        false
    }

    fn own(_: &Disk) -> Vec<Partition> {
        vec![Partition { number: 4, name: OWN_PARTITION.to_owned(), ..Partition::default() }]
    }

    #[test]
    fn the_planned_disk_whatever_its_name_and_place() {
        let mut a = disk("A");
        a.name = "vdz".to_owned();
        let disks = [disk("B"), disk("C"), a];
        assert_eq!(choose(&disks, &job(content()), none, never).unwrap().serial, "A");
    }

    #[test]
    fn every_doubt_is_a_refusal() {
        let with = |change: fn(&mut Disk)| {
            let mut disk = disk("A");
            change(&mut disk);
            vec![disk, self::disk("B")]
        };
        let check = |disks: &[Disk], expect| choose(disks, &job(expect), none, never).unwrap_err();
        assert!(matches!(check(&[], content()), Unsafe::Missing { .. }));
        assert!(matches!(check(&[disk("B")], content()), Unsafe::Missing { .. }));
        assert!(matches!(check(&[disk("A"), disk("A")], content()), Unsafe::Ambiguous { count: 2, .. }));
        assert!(matches!(check(&with(|d| d.bytes += 512), content()), Unsafe::Changed { .. }));
        assert!(matches!(check(&with(|d| d.model = "N".to_owned()), content()), Unsafe::Changed { .. }));
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
    }

    #[test]
    fn a_rebuild_needs_a_disk_of_ours_and_a_job_that_has_begun_its_own_seed() {
        let disks = [disk("A")];
        choose(&disks, &job(Expectation::Own), own, never).unwrap();
        let mut begun = job(Expectation::Content { digest: Digest::of(b"long gone") });
        let told = choose(&disks, &begun, none, never).unwrap_err();
        assert!(matches!(told, Unsafe::Content { .. }), "{told}");
        choose(&disks, &begun, none, |_| true).unwrap();
        choose(&disks, &job(Expectation::Own), none, |_| true).unwrap();
        begun.target.bytes += 1;
        choose(&disks, &begun, none, |_| true).unwrap_err();
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
            is_of(&seed, &job(content()), NodeId([2; 16]), CaPin([1; 32]))
        };
        assert!(counts(|_| ()) && counts(|s| s.complete = true));
        assert!(!counts(|s| s.job = None), "a ticket for a rebuild");
        assert!(!counts(|s| s.job = Some(JobId([9; 8]))));
        assert!(!counts(|s| s.node = NodeId([9; 16])));
        assert!(!counts(|s| s.ca = CaPin([9; 32])));
    }
}
