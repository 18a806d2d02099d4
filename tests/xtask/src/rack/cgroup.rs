//! A control group for each container. Without one all of a rack's containers are in the same, where the systemd of each takes
//! the processes of the others for those of its own units of that name: it waits for their end, and ends them.
//!
//! Source: cgroups(7), version 2; systemd-nspawn(1), `--keep-unit`.

use std::fs;
use std::path::{Path, PathBuf};

/// For a shell: its first argument is the name of a group below the one it is in, which it enters, to go on as the command of the others.
/// Without cgroups of version 2 it only goes on.
pub(super) const ENTER: &str = r#"
root=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
group="$root${own%/}/$1"
shift
if [ -n "$root" ] && mkdir -p "$group"; then
    echo 0 >"$group/cgroup.procs"
fi
exec "$@"
"#;

/// The group of this name; dropping it removes it when nothing runs in it any more.
#[derive(Debug)]
pub(super) struct Group(Option<PathBuf>);

impl Group {
    pub(super) fn of(name: &str) -> Self {
        Self(own().map(|own| own.join(name)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that was left to run keeps its groups, also those that are empty now.
        let is_empty = |group: &&PathBuf| {
            fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.contains("populated 0"))
        };
        self.0.iter().filter(is_empty).for_each(|group| remove(group));
    }
}

/// Removes what containers of the rack `id` have left.
pub(super) fn sweep(id: &str) {
    let entries = own().and_then(|own| fs::read_dir(own).ok()).into_iter().flatten().flatten();
    let of_rack = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    of_rack.for_each(|entry| remove(&entry.path()));
}

/// The group that this process is in.
fn own() -> Option<PathBuf> {
    let (mounts, groups) =
        (fs::read_to_string("/proc/mounts").ok()?, fs::read_to_string("/proc/self/cgroup").ok()?);
    below(&mounts, &groups)
}

fn below(mounts: &str, groups: &str) -> Option<PathBuf> {
    let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = rows.find_map(|row| match row.as_slice() {
        [_, place, "cgroup2", ..] => Some(PathBuf::from(place)),
        _ => None,
    })?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(root.join(own.trim_start_matches('/')))
}

/// Innermost first; the kernel keeps what still has a process.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_where_version_2_is_alone_and_where_it_is_not() {
        let alone = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(
            below(alone, "0::/user.slice/a.scope\n"),
            Some(PathBuf::from("/sys/fs/cgroup/user.slice/a.scope"))
        );
        let hybrid =
            "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(below(hybrid, "3:cpu:/\n0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        for (mounts, groups) in [("", "0::/\n"), (hybrid, "3:cpu:/\n"), ("cgroup2\n", "0::/\n")] {
            assert_eq!(below(mounts, groups), None, "{mounts:?} {groups:?}");
        }
    }
}
