//! Who uses a disk: what is made of it, through any depth, and what is mounted or swapped on any of that.

use std::collections::BTreeSet;
use std::path::Path;

use crate::deploy::imaging::hold::HoldError;

/// Devices that are followed; a tree of volumes has a few dozen.
const DEVICES_MAX: usize = 4096;

/// Refuses a disk that is mounted, swapped on, attached to a loop, or part of an array or a volume that is running.
///
/// Claims that the kernel does not show here (ZFS, an iSCSI target) are met by the exclusive open that follows.
///
/// # Errors
/// [`HoldError::InUse`].
pub fn unused(root: &Path, disk: &str) -> Result<(), HoldError> {
    match user(root, disk) {
        None => Ok(()),
        Some(by) => Err(HoldError::InUse { disk: disk.to_owned(), by }),
    }
}

/// A device, and why it is looked at.
#[derive(Debug)]
struct Link {
    name: String,
    /// How it comes from the disk, in words; empty for the disk itself and its partitions.
    how: String,
}

fn user(root: &Path, disk: &str) -> Option<String> {
    let links = links(root, disk);
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (mountinfo, swaps) = (text("proc/self/mountinfo"), text("proc/swaps"));
    let used = |link: &Link| {
        let device = device(&link.name);
        let number = number(root, &link.name);
        let place = mounted(&mountinfo, &number, &device).map(|place| format!("it is mounted on {place}"));
        let pool = || btrfs(root, &link.name).map(|id| format!("it is part of the mounted btrfs {id}"));
        let swap = || swapped(&swaps, &device).then(|| format!("{device} is swap"));
        place.or_else(pool).or_else(swap)
    };
    let end = links.iter().find_map(|link| used(link).map(|by| (link, by)));
    match (end, links.iter().find(|link| !link.how.is_empty())) {
        (Some((link, by)), _) if link.how.is_empty() => Some(by),
        (Some((link, by)), _) => Some(format!("{}, and {by}", link.how)),
        (None, made) => made.map(|link| link.how.clone()),
    }
}

/// The disk, its partitions, and everything that is made of any of them. A ring, or a tree without end, ends.
fn links(root: &Path, disk: &str) -> Vec<Link> {
    let mut links = parts(root, disk).map(|name| Link { name, how: String::new() }).collect::<Vec<_>>();
    let mut seen = links.iter().map(|link| link.name.clone()).collect::<BTreeSet<_>>();
    let mut next = 0;
    while let Some(Link { name, how }) = links.get(next) {
        next += 1;
        let of = if how.is_empty() { "it".to_owned() } else { title(root, name) };
        let before = if how.is_empty() { String::new() } else { format!("{how}, ") };
        let mut found = Vec::new();
        for holder in holders(root, name) {
            let how = format!("{before}{} is made of {of}", title(root, &holder));
            let new = parts(root, &holder).filter(|name| seen.insert(name.clone()));
            found.extend(new.map(|name| Link { name, how: how.clone() }));
        }
        links.extend(found);
        if links.len() > DEVICES_MAX {
            break;
        }
    }
    links
}

/// A whole device and its partitions; the name alone for a partition.
fn parts(root: &Path, device: &str) -> impl Iterator<Item = String> {
    let sys = root.join("sys/block").join(device);
    let is_part = |name: &String| sys.join(name).join("partition").exists();
    let parts = names(&sys).into_iter().filter(is_part).collect::<Vec<_>>();
    std::iter::once(device.to_owned()).chain(parts)
}

/// What is made of a device: what it says itself, what says it of itself, and loops.
fn holders(root: &Path, name: &str) -> BTreeSet<String> {
    let mut out = names(&place(root, name).join("holders")).into_iter().collect::<BTreeSet<_>>();
    let block = root.join("sys/block");
    for other in names(&block) {
        let other_place = block.join(&other);
        let backing = std::fs::read_to_string(other_place.join("loop/backing_file")).unwrap_or_default();
        if other_place.join("slaves").join(name).exists() || backing.trim_end() == device(name) {
            out.insert(other);
        }
    }
    out
}

/// Where `/sys` tells of a device: a partition is below its disk.
fn place(root: &Path, name: &str) -> std::path::PathBuf {
    let block = root.join("sys/block");
    let whole = block.join(name);
    if whole.exists() {
        return whole;
    }
    let mut below = names(&block).into_iter().map(|disk| block.join(disk).join(name));
    below.find(|place| place.join("partition").exists()).unwrap_or(whole)
}

fn number(root: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(place(root, name).join("dev")).unwrap_or_default();
    text.trim().to_owned()
}

fn device(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// A device as a person knows it: LVM and multipath have names of their own.
fn title(root: &Path, name: &str) -> String {
    let own = std::fs::read_to_string(place(root, name).join("dm/name")).unwrap_or_default();
    let own = crate::text::name(&own);
    if own.is_empty() { name.to_owned() } else { format!("{name} ({own})") }
}

/// Where a device is mounted, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)): by its number, or by its path,
/// since btrfs and others have a number of their own.
fn mounted(mountinfo: &str, number: &str, device: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ');
        let mounted_number = words.nth(2)?;
        let place = words.nth(1)?;
        let source = words.skip_while(|word| *word != "-").nth(2).unwrap_or_default();
        let is_it = (!number.is_empty() && mounted_number == number) || source == device;
        is_it.then(|| crate::text::name(place))
    })
}

/// The mounted btrfs that a device is one of: `/sys/fs/btrfs/UUID/devices` has them all, a mount only one.
fn btrfs(root: &Path, name: &str) -> Option<String> {
    let all = root.join("sys/fs/btrfs");
    names(&all).into_iter().find(|id| all.join(id).join("devices").join(name).exists())
}

/// Whether a device is swap, from `/proc/swaps`. A swap file lies on something that is mounted.
fn swapped(swaps: &str, device: &str) -> bool {
    swaps.lines().skip(1).any(|line| line.split_ascii_whitespace().next() == Some(device))
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect::<Vec<_>>();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::{mounted, swapped, unused};

    #[test]
    fn mounts_are_found_by_number_and_by_path() {
        let text = "22 28 0:21 / /sys rw - sysfs sysfs rw\n\
                    28 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
                    29 28 259:3 /sub /mnt/a\\040b rw shared:1 - ext4 /dev/nvme0n1p3 rw\n\
                    30 28 0:44 / /pool rw - btrfs /dev/vdc rw\n\nnonsense\n1 2\n";
        let on = |number: &str, device: &str| mounted(text, number, device);
        assert_eq!(on("254:1", "").as_deref(), Some("/"));
        assert_eq!(on("259:3", "/dev/x").as_deref(), Some("/mnt/a\\040b"));
        assert_eq!(on("254:32", "/dev/vdc").as_deref(), Some("/pool"));
        assert_eq!(on("254:0", "/dev/vda"), None);
        assert_eq!(on("2", "rw"), None);
        assert_eq!(on("", ""), None);
    }

    #[test]
    fn swaps_are_found_by_name() {
        let text = "Filename\t\t\t\tType\t\tSize\n/dev/vda2   partition\t1000\n\n";
        assert!(swapped(text, "/dev/vda2"));
        assert!(!swapped(text, "/dev/vda"));
        assert!(!swapped("", "Filename"));
    }

    /// A tree in which these files are.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn by(files: &[(&str, &str)]) -> String {
        let root = tree(files);
        unused(root.path(), "sda").map_or_else(|error| error.to_string(), |()| String::new())
    }

    const DISK: [(&str, &str); 4] = [
        ("sys/block/sda/dev", "8:0\n"),
        ("sys/block/sda/sda2/partition", "2\n"),
        ("sys/block/sda/sda2/dev", "8:2\n"),
        ("proc/swaps", "Filename Type\n/swapfile file\n"),
    ];

    #[test]
    fn whoever_uses_it_is_named_through_any_depth() {
        let table: [(&[(&str, &str)], &str); 8] = [
            (&[], ""),
            (&[("sys/block/sda/holders/dm-0", "")], "dm-0 is made of it"),
            (
                &[
                    ("sys/block/sda/sda2/holders/md0", ""),
                    ("sys/block/md0/md0p1/partition", "1"),
                    ("sys/block/md0/md0p1/holders/dm-3", ""),
                    ("sys/block/dm-3/dm/name", "vg0-root\n"),
                    ("sys/block/dm-3/dev", "253:3\n"),
                    ("proc/self/mountinfo", "28 1 253:3 / /srv rw - ext4 /dev/mapper/vg0-root rw\n"),
                ],
                "md0 is made of it, dm-3 (vg0-root) is made of md0p1, and it is mounted on /srv",
            ),
            (&[("sys/block/dm-1/slaves/sda2/dev", "8:2")], "dm-1 is made of it"),
            (&[("sys/block/loop4/loop/backing_file", "/dev/sda2\n")], "loop4 is made of it"),
            (&[("sys/fs/btrfs/0d5a/devices/sda2/size", "1")], "it is part of the mounted btrfs 0d5a"),
            (
                &[
                    ("sys/block/sda/holders/bcache0", ""),
                    ("sys/block/bcache0/holders/dm-0", ""),
                    ("sys/block/dm-0/holders/bcache0", ""),
                    ("sys/block/dm-0/holders/sda", ""),
                ],
                "bcache0 is made of it",
            ),
            (&[("sys/block/sdb/holders/dm-0", ""), ("sys/block/loop0/loop/backing_file", "/disk.img\n")], ""),
        ];
        for (more, words) in table {
            let told = by(&[&DISK, more].concat());
            let want =
                if words.is_empty() { String::new() } else { format!("the disk sda is in use: {words}") };
            assert_eq!(told, want);
        }
        assert!(unused(Path::new("/nowhere"), "sda").is_ok());
    }
}
