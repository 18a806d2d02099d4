//! Where a document may write: below `/etc` and `/var/lib`, never into our own folder, never sideways.

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not below one of the two trees.
    #[error("it is not below /etc/ or /var/lib/")]
    Place,
    /// `.`, `..`, nothing between two slashes, or a slash at the end.
    #[error("it has an empty part, `.` or `..`")]
    Part,
    /// Control characters, or not ASCII.
    #[error("it has characters that no configuration file's name has")]
    Character,
    /// Longer than the kernel takes (PATH_MAX, NAME_MAX).
    #[error("it is too long")]
    Length,
    /// Our own folder.
    #[error("it belongs to the agent itself")]
    Own,
}

/// The path below the root, without the leading slash.
pub fn below_root(path: &str) -> Result<&str, PathError> {
    if path.len() > 1024 {
        return Err(PathError::Length);
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains(['\\', '*', '?']) {
        return Err(PathError::Character);
    }
    let below = path.strip_prefix('/').ok_or(PathError::Place)?;
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(PathError::Part);
    }
    // The temporary name beside it is a little longer.
    if below.split('/').any(|part| part.len() > 200) {
        return Err(PathError::Length);
    }
    if !(below.starts_with("etc/") || below.starts_with("var/lib/")) {
        return Err(PathError::Place);
    }
    if below == super::folder::PLACE || below.starts_with("var/lib/rackwright-agent/") {
        return Err(PathError::Own);
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::{PathError, below_root};

    #[test]
    fn configuration_files_have_paths() {
        for path in ["/etc/hosts", "/etc/chrony/chrony.conf", "/var/lib/nova/compute_id", "/etc/x@y:z/a+b,c"]
        {
            assert_eq!(below_root(path), Ok(&path[1..]));
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = format!("/etc/{}", "a/".repeat(600));
        let name = format!("/etc/{}", "a".repeat(201));
        let table = [
            ("", PathError::Place),
            ("/", PathError::Part),
            ("etc/passwd", PathError::Place),
            ("/etc", PathError::Place),
            ("/etc/", PathError::Part),
            ("/etc/a/", PathError::Part),
            ("/etc//a", PathError::Part),
            ("/etc/./a", PathError::Part),
            ("/etc/../bin/sh", PathError::Part),
            ("/etc/..", PathError::Part),
            ("/etcetera/x", PathError::Place),
            ("/usr/bin/sh", PathError::Place),
            ("/var/library/x", PathError::Place),
            ("/root/.ssh/authorized_keys", PathError::Place),
            ("/etc/a\nb", PathError::Character),
            ("/etc/a\0b", PathError::Character),
            ("/etc/ä", PathError::Character),
            ("/etc/a b", PathError::Character),
            ("/etc/*", PathError::Character),
            ("/var/lib/rackwright-agent", PathError::Own),
            ("/var/lib/rackwright-agent/key", PathError::Own),
            (&long, PathError::Length),
            (&name, PathError::Length),
        ];
        for (path, why) in table {
            assert_eq!(below_root(path), Err(why), "{path:?}");
        }
    }
}
