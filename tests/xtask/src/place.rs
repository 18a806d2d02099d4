//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here)
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

/// Disks and logs of racks.
#[must_use]
pub fn racks() -> PathBuf {
    target().join("rack")
}
