//! The host name: what other machines, RabbitMQ and nova know this node by.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use protocol::TaskReport;

use super::conductor::failure;
use super::folder::replace;
use super::node::Node;

/// What is reported when it fails.
const STEP: &str = "host-name";

/// What this machine calls itself: the first label of its name.
pub(super) fn own(root: &Path) -> String {
    let name = fs::read_to_string(root.join("etc/hostname")).unwrap_or_default();
    crate::text::name(name.trim().split('.').next().unwrap_or_default())
}

/// Sets it, now and for the next boot; tells when that failed. One that an adopted system has in full is left so.
pub(super) fn set(node: &Node, name: &str) -> Option<TaskReport> {
    if !is_name(name) {
        let shown = name.chars().take(80).collect::<String>();
        return Some(failure(STEP, format!("{shown:?} is not a host name")));
    }
    if node.identity.adopted && own(node.root()) == name {
        return None;
    }
    let kept = keep(node.root(), name);
    let done = kept.and_then(|()| if node.options.is_machine() { tell_kernel(name) } else { Ok(()) });
    done.err().map(|error| failure(STEP, error.to_string()))
}

/// RFC 1123, one label.
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn keep(root: &Path, name: &str) -> io::Result<()> {
    let path = root.join("etc/hostname");
    let line = format!("{name}\n");
    if fs::read(&path).is_ok_and(|there| there == line.as_bytes()) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    replace(&path, line.as_bytes(), |file| file.set_permissions(fs::Permissions::from_mode(0o644)))
}

fn tell_kernel(name: &str) -> io::Result<()> {
    if rustix::system::uname().nodename().to_bytes() != name.as_bytes() {
        rustix::system::sethostname(name.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_name, keep};

    #[test]
    fn host_names_are_one_label() {
        for name in ["n1", "a", "compute-01", &"x".repeat(63)] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", "-", "-a", "a-", "a.b", "a b", "a\n", "a/b", "ä", "..", &"x".repeat(64)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn it_is_kept_for_the_next_boot() {
        let root = tempfile::tempdir().unwrap();
        for name in ["n1", "n1", "n2"] {
            keep(root.path(), name).unwrap();
            assert_eq!(
                std::fs::read_to_string(root.path().join("etc/hostname")).unwrap(),
                format!("{name}\n")
            );
        }
    }
}
