//! Where things are in the checkout.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The workspace: the one cargo runs us for. What was compiled in may be another checkout that shares the target
/// directory.
#[must_use]
pub fn workspace() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let compiled = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or(compiled, PathBuf::from);
        let root = package.ancestors().find(|dir| dir.join("Cargo.lock").exists());
        root.unwrap_or(&package).to_path_buf()
    })
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Boot store, node images and the controller's root file system, with image-build's cache.
#[must_use]
pub fn images() -> PathBuf {
    target().join("images")
}

/// The ISO, unless it is wanted elsewhere.
#[must_use]
pub fn iso() -> PathBuf {
    target().join("rackwright.iso")
}

/// Disks and logs of racks.
#[must_use]
pub fn racks() -> PathBuf {
    target().join("rack")
}
