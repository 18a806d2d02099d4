//! What is put onto the server: the agent, whom it shall ask, and its unit. In this order, each whole or not at all: a unit that is
//! there has everything that it starts. Whatever a power cut leaves is replaced when the line is pasted again.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::serve::adoption::{self, Pending};
use crate::serve::replace;

/// Everything that adoption puts there; the last is where the agent keeps who the node is.
pub const PLACES: [&str; 4] = [
    "/usr/bin/rackwright-agent",
    "/etc/systemd/system/rackwright-agent.service",
    "/etc/systemd/system/multi-user.target.wants/rackwright-agent.service",
    "/var/lib/rackwright-agent/",
];

/// The unit of every node; in /etc here, because no package and no image brought it.
const UNIT: &str =
    include_str!("../../../image-build/recipes/node/files/usr/lib/systemd/system/rackwright-agent.service");

/// Why the agent is not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// This very program can't be read.
    #[error("reading the agent that is running")]
    Own(#[source] io::Error),
    /// The file system said no.
    #[error("writing {}; paste the line again when that is mended", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Whom to ask could not be kept.
    #[error(transparent)]
    Pending(#[from] crate::serve::FolderError),
}

/// Puts everything there.
///
/// # Errors
/// [`InstallError`]; what was there before is as it was, or new as a whole.
pub(super) fn install(root: &Path, pending: &Pending) -> Result<(), InstallError> {
    let own = fs::read("/proc/self/exe").map_err(InstallError::Own)?;
    put(root, "usr/bin/rackwright-agent", &own, 0o755)?;
    adoption::keep(root, pending)?;
    put(root, "etc/systemd/system/rackwright-agent.service", UNIT.as_bytes(), 0o644)
}

fn put(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let path = root.join(path);
    let write = || {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        replace(&path, content, |file| file.set_permissions(Permissions::from_mode(mode)))
    };
    write().map_err(|source| InstallError::Io { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use protocol::{CaPin, Token};

    use super::{Pending, install};
    use crate::serve::adoption;

    #[test]
    fn everything_is_there_whatever_half_of_it_was_there_before() {
        let root = tempfile::tempdir().unwrap();
        let pending = Pending {
            controller: "10.77.0.1:8443".parse().unwrap(),
            ca: CaPin([7; 32]),
            token: Token([5; 16]),
        };
        let halves = [
            "usr/bin/rackwright-agent",
            "usr/bin/.rackwright-agent.rackwright-new",
            "etc/systemd/system/rackwright-agent.service",
            "var/lib/rackwright-agent/adoption.json",
        ];
        for half in halves {
            let path = root.path().join(half);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "half").unwrap();
            install(root.path(), &pending).unwrap();
            let mode =
                |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode("usr/bin/rackwright-agent"), 0o755);
            assert_eq!(mode("var/lib/rackwright-agent"), 0o700);
            assert_eq!(mode("var/lib/rackwright-agent/adoption.json"), 0o600, "the token is in it");
            let own = std::fs::read("/proc/self/exe").unwrap();
            assert!(std::fs::read(root.path().join("usr/bin/rackwright-agent")).unwrap() == own, "{half}");
            assert_eq!(adoption::pending(root.path()).unwrap().unwrap(), pending, "{half}");
        }
        let unit =
            std::fs::read_to_string(root.path().join("etc/systemd/system/rackwright-agent.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/rackwright-agent serve"), "{unit}");
    }
}
