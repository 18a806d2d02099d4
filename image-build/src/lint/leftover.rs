//! What runs of this program have left that were killed. A view goes away with the process that made it, however that ends;
//! between the calls that make one there are moments when it does not.

use std::path::{Component, Path, PathBuf};

use super::generalized::mapper;
use crate::files;
use crate::tools::Call;

/// How the kernel names a mapped device's node.
const MAPPED: &str = "/dev/dm-";

/// Devices that somebody has to remove.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    /// Loop devices, by their path.
    loops: Vec<PathBuf>,
    /// Mapped devices, by their name.
    mapped: Vec<String>,
}

/// Removes the loop devices and the mapped devices of views whose process is no more. As well as it goes: one that is in use
/// goes with its last user.
pub fn clear() {
    let left = left(Path::new("/sys/block"), &files::is_of_gone_process);
    for device in &left.loops {
        drop(Call::new("losetup").arg("--detach").arg(device).run());
    }
    for name in &left.mapped {
        drop(mapper(&["remove", name]).run());
    }
}

/// What is left, by the kernel's list of block devices. `is_gone` says it of the name of a folder for what is half done.
fn left(blocks: &Path, is_gone: &dyn Fn(&str) -> bool) -> Left {
    let devices = std::fs::read_dir(blocks).into_iter().flatten().flatten();
    let mut devices = devices.map(|device| device.path()).collect::<Vec<_>>();
    devices.sort();
    let text = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let view = |name: &str| name.strip_prefix(super::generalized::NAME).is_some_and(is_gone);
    let is_mapped = |file: &str| {
        let number = file.strip_prefix(MAPPED);
        number.is_some_and(|number| view(&text(blocks.join(format!("dm-{number}/dm/name")))))
    };
    let is_below = |file: &str| {
        Path::new(file).components().any(|step| match step {
            Component::Normal(name) => is_gone(&name.to_string_lossy()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
        })
    };
    let mut left = Left::default();
    for device in devices {
        let file = text(device.join("loop/backing_file"));
        if is_mapped(&file) || is_below(&file) {
            left.loops.push(Path::new("/dev").join(device.file_name().unwrap_or_default()));
        }
        let name = text(device.join("dm/name"));
        left.mapped.extend(view(&name).then_some(name));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::WorkFolder;

    #[test]
    fn only_devices_of_views_whose_process_is_gone_are_left() {
        let work = WorkFolder::make(&std::env::temp_dir()).unwrap();
        for (name, text) in [
            ("dm-0/dm/name", "rackwright-image-build.7.0\n"),
            ("dm-1/dm/name", "rackwright-image-build.8.0\n"),
            ("dm-2/dm/name", "vg-root\n"),
            ("loop0/loop/backing_file", "/tmp/image-build.7.0/changes (deleted)\n"),
            ("loop1/loop/backing_file", "/tmp/image-build.8.0/changes\n"),
            ("loop2/loop/backing_file", "/dev/dm-0\n"),
            ("loop3/loop/backing_file", "/dev/dm-1\n"),
            ("loop4/loop/backing_file", "/dev/dm-2\n"),
            ("loop5/loop/backing_file", "/srv/disk.img\n"),
            ("sda/size", "1\n"),
        ] {
            crate::files::write(&work.path().join(name), text.as_bytes()).unwrap();
        }
        let found = left(work.path(), &|name| name == "image-build.7.0");
        let loops = ["/dev/loop0", "/dev/loop2"].map(PathBuf::from).to_vec();
        assert_eq!(found, Left { loops, mapped: vec!["rackwright-image-build.7.0".to_owned()] });
        assert_eq!(left(Path::new("/nonexistent"), &|_| true), Left::default());
    }
}
