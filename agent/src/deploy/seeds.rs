//! The look-up before the first hello: a seed of ours on a disk means that this server was approved before, and that
//! its key is the one to say hello with.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use protocol::{CaPin, SEED_BYTES, SEED_OFFSET, Seed, SeedError};

use crate::inventory;
use crate::keys::KeyPair;
use crate::screen::Screen;

/// The key of the one seed that this site left on this server's disks; `None` for a server that is new here.
///
/// Seeds of two different nodes mean that a disk was moved here: then nobody's word is taken, and the operator
/// compares a code.
pub async fn key(root: &Path, sites: &[CaPin], screen: &Screen) -> Option<KeyPair> {
    screen.state("disks", "looking for a key that was left on a disk");
    let at = root.to_owned();
    let seeds = tokio::task::spawn_blocking(move || seeds(&at)).await.unwrap_or_default();
    let ours = seeds.into_iter().filter(|seed| sites.contains(&seed.ca)).collect::<Vec<_>>();
    let (first, rest) = ours.split_first()?;
    if rest.iter().any(|seed| seed.node != first.node) {
        screen.milestone("the disks carry keys of different nodes: none of them is used");
        return None;
    }
    // Of one node's, the youngest is unknown; a ticket that waits to be used comes before a finished one.
    let chosen = ours.iter().find(|seed| !seed.complete).unwrap_or(first);
    KeyPair::from_base64(&chosen.key).ok()
}

/// Every readable seed on the disks that are built in.
pub fn seeds(root: &Path) -> Vec<Seed> {
    let fixed = inventory::disks(root).into_iter().filter(|disk| !disk.removable);
    fixed.filter_map(|disk| read(&inventory::device(root, &disk.name)).ok()).collect()
}

/// The newest seed at its place on a disk.
///
/// # Errors
/// [`SeedError::Absent`] also for a disk that can't be read or is too small.
pub fn read(device: &Path) -> Result<Seed, SeedError> {
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).map_err(|_| SeedError::Absent)?];
    let file = File::open(device).map_err(|_| SeedError::Absent)?;
    file.read_exact_at(&mut bytes, SEED_OFFSET).map_err(|_| SeedError::Absent)?;
    Seed::decode(&bytes)
}
