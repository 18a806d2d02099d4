//! What Debian has for it, as it is meant to be called.
//!
//! Knows packages and command lines. Refuses to install a daemon: its package would start it on this machine. They are
//! unpacked beside the reports and run from there.

mod bittorrent;
mod nginx;
mod udpcast;
mod uftp;

use std::error::Error;
use std::path::Path;

use super::peer::Peer;
use crate::prerequisites;

/// Programs and libraries that may be installed: none of them starts anything.
const INSTALLED: &[&str] = &[
    "aria2",
    "curl",
    "ethtool",
    "iproute2",
    "libssl3",
    "mktorrent",
    "nftables",
    "procps",
    "util-linux",
    "zlib1g",
];
/// Daemons, and what only they need.
const UNPACKED: &[&str] = &["libowfat0", "nginx", "opentracker", "udpcast", "uftp"];

/// Brings them.
///
/// # Errors
/// apt has not got one of them.
pub(super) fn fetch(programs: &Path) -> Result<(), Box<dyn Error>> {
    prerequisites::install(INSTALLED)?;
    std::fs::create_dir_all(programs)?;
    for package in UNPACKED {
        prerequisites::unpack(package, programs)?;
    }
    Ok(())
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(udpcast::Udpcast),
        Box::new(uftp::Uftp),
        Box::new(nginx::Nginx),
        Box::new(bittorrent::BitTorrent),
    ]
}
