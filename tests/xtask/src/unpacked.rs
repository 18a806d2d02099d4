//! Programs of Debian packages that are run from a folder of ours and never installed.
//!
//! Knows apt and dpkg. Refuses to run what a package does at its installation: a DHCP client or relay that is installed
//! starts a service, or becomes what configures the cards of this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::place;
use crate::say;
use crate::tool::{Tool, ToolError};

/// Why a package is not there.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The folder for it.
    #[error("preparing {}", path.display())]
    Place {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// apt or dpkg said no.
    #[error("unpacking {package}")]
    Apt {
        /// Its name.
        package: String,
        /// What they said.
        source: ToolError,
    },
}

/// The folder with the files of `package`, fetched from the machine's own mirror unless it is there already.
///
/// # Errors
/// No such package, no mirror, no room.
pub fn package(package: &str) -> Result<PathBuf, UnpackError> {
    let dir = place::target().join("unpacked").join(package);
    if !dir.exists() {
        say::step(&format!("unpacking {package}, which is not installed"), || fetch(package, &dir))?;
    }
    Ok(dir)
}

/// Whole or not at all: the folder gets its name last.
fn fetch(package: &str, dir: &Path) -> Result<(), UnpackError> {
    let new = dir.with_extension("new");
    let place = |source| UnpackError::Place { path: new.clone(), source };
    if new.exists() {
        fs::remove_dir_all(&new).map_err(place)?;
    }
    fs::create_dir_all(&new).map_err(place)?;
    let apt = |source| UnpackError::Apt { package: package.to_owned(), source };
    let download = || Tool::new("apt-get").args(["-q", "download", package]).dir(&new).read();
    // Its lists may be missing, or older than the mirror.
    if download().is_err() {
        Tool::new("apt-get").args(["-q", "update"]).read().map_err(apt)?;
        download().map_err(apt)?;
    }
    let entries = fs::read_dir(&new).map_err(place)?;
    for archive in entries.flatten().map(|entry| entry.path()) {
        Tool::new("dpkg-deb").arg("--extract").arg(&archive).arg(&new).read().map_err(apt)?;
        fs::remove_file(&archive).map_err(place)?;
    }
    fs::rename(&new, dir).map_err(place)
}
