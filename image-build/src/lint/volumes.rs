//! The volumes of a disk or a disk file, and the system that they make.

use std::io;
use std::path::{Path, PathBuf};

use pack::Survey;
use pack::table::Partition;

use super::LintError;
use super::folder::Folder;
use super::lvm;
use super::mount::{Access, Loop, is_known, mount};
use super::subvolumes;
use super::system::{Entry, System, fstab};
use super::text::escaped;
use super::tree::{Tree, resolve};

/// Types of partitions whose place nobody needs to write down: <https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>
const BY_TYPE: &[(&str, &str)] = &[
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "boot/efi"),
    ("0xef", "boot/efi"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "boot"),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "var"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "srv"),
];
/// Where installers put the root of a system in a btrfs file system.
const SUBVOLUMES: &[&str] = &["@", "@rootfs", "root", "@/.snapshots/1/snapshot"];
/// How large an fstab may be, in bytes.
const FSTAB_MAX: usize = 64 << 10;

/// A volume that a file system may be on.
#[derive(Debug)]
pub struct Candidate {
    /// Its name for people: `partition 3`, `volume vg/root`.
    pub name: String,
    /// blkid's name of what is on it.
    pub kind: String,
    /// The block device that it is read through.
    pub device: Loop,
    /// The names that an fstab may call it by.
    names: Vec<String>,
    /// Its partition, if it is one.
    partition: Option<Partition>,
    /// The file system as it is mounted without further options.
    folder: Option<Folder>,
}

/// A system, and everything that it is made of.
#[derive(Debug)]
pub struct Installed {
    /// Its file systems; empty when there is none.
    pub system: System,
    /// Its volumes with the place of each, relative to the root; none when it is not a part of the system.
    pub volumes: Vec<(Candidate, Option<PathBuf>)>,
    /// What could not be looked into, and why, for people.
    pub unseen: Vec<String>,
    /// Which subvolumes of its file systems are none of those, for people: nobody looks into them.
    pub subvolumes: Vec<String>,
}

/// Opens the system on a disk. `path` is what loop devices are made of.
///
/// # Errors
/// When the disk can't be read, or loop devices can't be made. What is on it is never an error: see
/// [`Installed::unseen`].
pub fn open(path: &Path, survey: &Survey, access: Access) -> Result<Installed, LintError> {
    let mut unseen: Vec<_> = survey.damage.iter().map(|why| format!("the partition table: {why}")).collect();
    let mut candidates = Vec::new();
    for volume in &survey.volumes {
        let partition = survey.table.iter().flat_map(|table| &table.partitions);
        let partition =
            partition.clone().find(|one| one.number == volume.partition && one.offset == volume.offset);
        let name = partition.map_or_else(|| "the disk".to_owned(), |one| format!("partition {}", one.number));
        let kind = volume.volume.kind;
        if kind == lvm::KIND {
            candidates.extend(logical(path, volume.offset, volume.bytes, access, &name, &mut unseen)?);
        } else if is_known(kind) || kind == "ext" {
            let device = Loop::attach(path, volume.offset, volume.bytes, access)?;
            candidates.push(Candidate::new(name, device, partition.cloned()));
        } else if kind != "swap" && volume.bytes > 4 << 20 {
            let why = volume.volume.why_whole.as_deref().unwrap_or("nothing that is known is on it");
            unseen.push(format!("{name} ({kind}): {}", escaped(why)));
        }
    }
    for candidate in &mut candidates {
        match mount(&candidate.kind, candidate.device.path(), access, None) {
            Ok(folder) => candidate.folder = Some(folder),
            Err(error) => unseen.push(format!("{} ({}): {error}", candidate.name, escaped(&candidate.kind))),
        }
    }
    Ok(assemble(candidates, access, unseen))
}

fn logical(
    path: &Path,
    offset: u64,
    bytes: u64,
    access: Access,
    name: &str,
    unseen: &mut Vec<String>,
) -> Result<Vec<Candidate>, LintError> {
    let whole = Loop::attach(path, offset, bytes, Access::Read)?;
    let volumes = match lvm::volumes(whole.path()) {
        Ok(volumes) => volumes,
        Err(error) => {
            unseen.push(format!("{name} (LVM): {error}"));
            return Ok(Vec::new());
        }
    };
    let mut found = Vec::new();
    for volume in volumes {
        let name = format!("volume {}", escaped(format!("{}/{}", volume.group, volume.name)));
        let place = volume.place.filter(|place| place.end <= bytes);
        let Some(place) = place else {
            unseen.push(format!("{name}: it does not lie in one piece on this disk"));
            continue;
        };
        let device = Loop::attach(path, offset + place.start, place.end - place.start, access)?;
        let mut candidate = Candidate::new(name, device, None);
        let doubled = |name: &str| name.replace('-', "--");
        candidate.names.push(format!("/dev/mapper/{}-{}", doubled(&volume.group), doubled(&volume.name)));
        candidate.names.push(format!("/dev/{}/{}", volume.group, volume.name));
        if is_known(&candidate.kind) {
            found.push(candidate);
        } else if candidate.kind != "swap" {
            unseen.push(format!(
                "{} ({}): nothing that is known is on it",
                candidate.name,
                escaped(&candidate.kind)
            ));
        }
    }
    Ok(found)
}

impl Candidate {
    fn new(name: String, device: Loop, partition: Option<Partition>) -> Candidate {
        let (kind, uuid, label) = (device.tag("TYPE"), device.tag("UUID"), device.tag("LABEL"));
        let mut names = Vec::new();
        let mut call = |tag: &str, folder: &str, value: &str| {
            if !value.is_empty() {
                names.push(format!("{tag}={value}"));
                names.push(format!("/dev/disk/by-{folder}/{value}"));
            }
        };
        call("UUID", "uuid", &uuid);
        call("LABEL", "label", &label);
        if let Some(partition) = &partition {
            call("PARTUUID", "partuuid", &partition.uuid);
            call("PARTLABEL", "partlabel", &partition.name);
        }
        Candidate { name, kind, device, names, partition, folder: None }
    }

    fn is(&self, source: &str) -> bool {
        let named = self.names.iter().any(|name| name.eq_ignore_ascii_case(source));
        named || self.partition.as_ref().is_some_and(|partition| is_kernel_name(source, partition.number))
    }
}

/// Whether it is the kernel's name for a partition of this number, on whatever disk: there is only this one.
fn is_kernel_name(source: &str, number: u32) -> bool {
    let disk = source.strip_prefix("/dev/").and_then(|name| name.strip_suffix(&number.to_string()));
    disk.is_some_and(|disk| {
        let letters = ["sd", "vd", "xvd", "hd"].iter().any(|kind| {
            let rest = disk.strip_prefix(kind).unwrap_or_default();
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase())
        });
        letters || (disk.ends_with('p') && (disk.starts_with("nvme") || disk.starts_with("mmcblk")))
    })
}

fn assemble(mut candidates: Vec<Candidate>, access: Access, mut unseen: Vec<String>) -> Installed {
    let mut system = System::default();
    let mut places: Vec<Option<PathBuf>> = candidates.iter().map(|_| None).collect();
    for (candidate, place) in candidates.iter_mut().zip(&mut places) {
        let Some(root) = root(candidate, access) else { continue };
        if system.has(Path::new("")) {
            unseen.push(format!("{}: another system", candidate.name));
        } else {
            system.add(PathBuf::new(), root);
            *place = Some(PathBuf::new());
        }
    }
    if !system.has(Path::new("")) {
        unseen.push("no volume has a system on it: there is no etc/os-release".to_owned());
        let volumes = candidates.into_iter().zip(places).collect();
        return Installed { system, volumes, unseen, subvolumes: Vec::new() };
    }
    for entry in entries(&system) {
        let found = candidates.iter_mut().zip(&mut places).find(|(candidate, _)| candidate.is(&entry.source));
        let Some((candidate, place)) = found else { continue };
        if system.has(&entry.place) {
            continue;
        }
        match part(candidate, &entry, access) {
            Ok(folder) => {
                system.add(entry.place.clone(), folder);
                place.get_or_insert(entry.place);
            }
            Err(error) => unseen.push(format!("{} at /{}: {error}", candidate.name, escaped(&entry.place))),
        }
    }
    for (candidate, place) in candidates.iter_mut().zip(&mut places).filter(|(_, place)| place.is_none()) {
        let kind = candidate.partition.as_ref().map(|partition| partition.kind.as_str());
        let by_type = BY_TYPE.iter().find(|(name, _)| Some(*name) == kind).map(|(_, at)| PathBuf::from(at));
        match (by_type.filter(|at| !system.has(at)), candidate.folder.take()) {
            (Some(at), Some(folder)) => {
                system.add(at.clone(), folder);
                *place = Some(at);
            }
            (None, Some(_)) => {
                unseen.push(format!("{}: the system does not say where it belongs", candidate.name))
            }
            (Some(_) | None, None) => {}
        }
    }
    let subvolumes = others(&candidates, &places, &system, access, &mut unseen);
    let volumes = candidates.into_iter().zip(places).collect();
    Installed { system, volumes, unseen, subvolumes }
}

/// The subvolumes beside those that the system is made of.
fn others(
    candidates: &[Candidate],
    places: &[Option<PathBuf>],
    system: &System,
    access: Access,
    unseen: &mut Vec<String>,
) -> Vec<String> {
    let mut others = Vec::new();
    let placed = candidates.iter().zip(places).filter(|(_, place)| place.is_some());
    for (candidate, _) in placed.filter(|(candidate, _)| candidate.kind == "btrfs") {
        match subvolumes::unseen(candidate.device.path(), access, system) {
            Ok(found) => others.extend(found.into_iter().map(|which| format!("{}: {which}", candidate.name))),
            Err(error) => unseen.push(format!("{}: {error}", candidate.name)),
        }
    }
    others
}

fn entries(system: &System) -> Vec<Entry> {
    let path = resolve(system, Path::new("etc/fstab")).ok().flatten();
    let content = path.and_then(|path| system.read(&path, FSTAB_MAX).ok()).unwrap_or_default();
    fstab(&content)
}

/// The root of a system, if the volume has one.
fn root(candidate: &mut Candidate, access: Access) -> Option<Folder> {
    if is_root(candidate.folder.as_ref()?) {
        return candidate.folder.take();
    }
    if candidate.kind != "btrfs" {
        return None;
    }
    let top = mount(&candidate.kind, candidate.device.path(), access, Some(("subvolid", "5"))).ok()?;
    let mut below = SUBVOLUMES.iter().filter_map(|path| top.below(Path::new(path)).ok());
    let root = below.find(is_root)?;
    candidate.folder = None;
    Some(root)
}

/// Whether the root of a system is there.
pub(super) fn is_root(folder: &Folder) -> bool {
    let there = |path: &str| resolve(folder, Path::new(path)).is_ok_and(|found| found.is_some());
    there("etc/os-release") || there("usr/lib/os-release")
}

/// What an entry mounts of a volume.
fn part(candidate: &mut Candidate, entry: &Entry, access: Access) -> io::Result<Folder> {
    let subvolume = entry.subvolume.as_deref().filter(|_| candidate.kind == "btrfs");
    if subvolume.is_none()
        && let Some(folder) = candidate.folder.take()
    {
        return Ok(folder);
    }
    let option = subvolume.map(|path| ("subvol", path));
    mount(&candidate.kind, candidate.device.path(), access, option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_are_of_their_partition() {
        for (name, number, wanted) in [
            ("/dev/sda2", 2, true),
            ("/dev/sdaa2", 2, true),
            ("/dev/sda12", 2, false),
            ("/dev/nvme0n1p3", 3, true),
            ("/dev/nvme0n1", 1, false),
            ("/dev/mmcblk0p1", 1, true),
            ("sda2", 2, false),
            ("/dev/2", 2, false),
            ("/dev/sd2", 2, false),
        ] {
            assert_eq!(is_kernel_name(name, number), wanted, "{name}");
        }
    }
}
