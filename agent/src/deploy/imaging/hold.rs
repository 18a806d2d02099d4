//! Keeping hands off: a disk in use is not written, and while one is written all others refuse writes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::inventory;
use crate::sys;

/// Why the disks can't be made safe.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Somebody uses the disk.
    #[error("the disk {disk} is in use: {by}")]
    InUse {
        /// Its name now.
        disk: String,
        /// Who.
        by: String,
    },
    /// Another disk can't be protected.
    #[error("setting the other disk {disk} read-only")]
    Protect {
        /// Its name now.
        disk: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Refuses a disk that is mounted, swapped on, or part of an array or a volume that is running.
///
/// # Errors
/// [`HoldError::InUse`].
pub fn unused(root: &Path, disk: &str) -> Result<(), HoldError> {
    let sys = root.join("sys/block").join(disk);
    let parts = names(&sys).into_iter().filter(|name| sys.join(name).join("partition").exists());
    let places = std::iter::once(sys.clone()).chain(parts.map(|part| sys.join(part))).collect::<Vec<_>>();
    let in_use = |by: String| HoldError::InUse { disk: disk.to_owned(), by };
    if let Some(holder) = places.iter().flat_map(|place| names(&place.join("holders"))).next() {
        return Err(in_use(format!("{holder} is made of it")));
    }
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let numbers = places.iter().map(|place| read(place.join("dev")).trim().to_owned()).collect::<Vec<_>>();
    if let Some(place) = mounted(&read(root.join("proc/self/mountinfo")), &numbers) {
        return Err(in_use(format!("it is mounted on {place}")));
    }
    let devices = places.iter().filter_map(|p| Some(format!("/dev/{}", p.file_name()?.to_str()?)));
    let devices = devices.collect::<Vec<_>>();
    match swapped(&read(root.join("proc/swaps")), &devices) {
        Some(device) => Err(in_use(format!("{device} is swap"))),
        None => Ok(()),
    }
}

/// Where one of these devices (`major:minor`) is mounted, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mounted(mountinfo: &str, numbers: &[String]) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ');
        let number = words.nth(2)?;
        let place = words.nth(1)?;
        numbers.iter().any(|n| n == number).then(|| crate::text::name(place))
    })
}

/// Which of these devices is swap, from `/proc/swaps`.
fn swapped(swaps: &str, devices: &[String]) -> Option<String> {
    let used = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    used.map(str::to_owned).find(|used| devices.contains(used))
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect::<Vec<_>>();
    names.sort();
    names
}

/// The disks that refuse writes as long as this lives. Those that were read-only before stay so.
#[derive(Debug, Default)]
pub struct Protected {
    disks: Vec<File>,
}

impl Protected {
    /// Every disk but `target` refuses writes from here on.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected, unless there is no medium in it. Those that were done
    /// are undone.
    pub fn all_but(root: &Path, target: &str) -> Result<Self, HoldError> {
        let mut protected = Self::default();
        for disk in inventory::disk_names(root).into_iter().filter(|disk| disk != target) {
            match protected.add(root, &disk) {
                Err(source) if !is_gone(&source) => return Err(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(protected)
    }

    /// So do the disks that have appeared since, and those whose protection somebody took off. One that is on its way
    /// in or out has no device to write to, and is looked at again the next time.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected. All others are.
    pub fn also(&mut self, root: &Path, target: &str) -> Result<(), HoldError> {
        let mut wrong = None;
        for disk in inventory::disk_names(root).into_iter().filter(|disk| disk != target) {
            match self.add(root, &disk) {
                Err(source) if !is_gone(&source) => wrong = Some(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn add(&mut self, root: &Path, disk: &str) -> io::Result<()> {
        let file = File::open(inventory::device(root, disk))?;
        if !sys::is_read_only(&file)? {
            sys::set_read_only(&file, true)?;
            self.disks.push(file);
        }
        Ok(())
    }
}

/// There is no such device, or none any more, or no medium in it: nothing that could be written to.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NXIO, Errno::NODEV, Errno::NOMEDIUM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

impl Drop for Protected {
    fn drop(&mut self) {
        for disk in &self.disks {
            // A disk that was pulled out meanwhile needs no protection any more.
            let _gone = sys::set_read_only(disk, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{mounted, swapped};

    #[test]
    fn mounts_are_found_by_number() {
        let text = "22 28 0:21 / /sys rw - sysfs sysfs rw\n\
                    28 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
                    29 28 259:3 /sub /mnt/a\\040b rw - ext4 /dev/nvme0n1p3 rw\n\nnonsense\n1 2\n";
        let on = |n: &str| mounted(text, &[n.to_owned()]);
        assert_eq!(on("254:1").as_deref(), Some("/"));
        assert_eq!(on("259:3").as_deref(), Some("/mnt/a\\040b"));
        assert_eq!(on("254:0"), None);
        assert_eq!(on("2"), None);
    }

    #[test]
    fn swaps_are_found_by_name() {
        let text = "Filename\t\t\t\tType\t\tSize\n/dev/vda2   partition\t1000\n\n";
        assert_eq!(
            swapped(text, &["/dev/vda".to_owned(), "/dev/vda2".to_owned()]).as_deref(),
            Some("/dev/vda2")
        );
        assert_eq!(swapped(text, &["/dev/vda".to_owned()]), None);
        assert_eq!(swapped("", &["Filename".to_owned()]), None);
    }
}
