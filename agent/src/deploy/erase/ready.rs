//! The disks of a plan in hand: exactly those, used by nobody, and every other disk of the server closed to writes.

use std::path::Path;

use protocol::{Disk, Doomed, Holding, Mark};

use crate::deploy::capture::Unfit;
use crate::deploy::capture::subject::choose;
use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::deploy::imaging::target::{DiskError, Drive};
use crate::deploy::imaging::user;
use crate::inventory::{self, probe};

/// Why a disk is not touched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untouched {
    /// Which disk it would be.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Somebody uses it.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It can't be opened, or was swapped.
    #[error(transparent)]
    Open(#[from] DiskError),
    /// Something is on it that the plan did not show.
    #[error("it holds what the plan did not show: {}; make a new plan", list(.0))]
    Unseen(Vec<Holding>),
}

fn list(found: &[Holding]) -> String {
    found.iter().map(|held| Mark::short(held).to_string()).collect::<Vec<_>>().join(", ")
}

/// A disk to be erased, open for this alone.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) disk: Disk,
    pub(super) drive: Drive,
    /// Where something begins that is recognised on it.
    pub(super) marks: Vec<u64>,
}

/// All of a plan's disks, each open or not to be touched; as long as this lives, everything else refuses writes.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) held: Protected,
    pub(super) disks: Vec<(Doomed, Result<Open, Untouched>)>,
    /// The kernel's names of those that are open.
    pub(super) names: Vec<String>,
}

/// Has the disks open and everything else protected. One that is in doubt is left alone, and does not keep the others.
///
/// # Errors
/// [`HoldError`]: another disk can't be protected; then none is touched.
pub(super) fn ready(root: &Path, doomed: &[Doomed]) -> Result<Ready, HoldError> {
    let looked = inventory::disks(root);
    let chosen = doomed.iter().map(|doomed| (doomed, fit(root, &looked, doomed))).collect::<Vec<_>>();
    let names = chosen.iter().filter_map(|(_, disk)| disk.as_ref().ok()).map(|disk| disk.name.clone());
    let names = names.collect::<Vec<_>>();
    let held = Protected::all_but_these(root, &names)?;
    let disks = chosen.into_iter().map(|(doomed, disk)| {
        let open = disk.and_then(|disk| open(root, doomed, disk));
        (doomed.clone(), open)
    });
    let disks = disks.collect();
    Ok(Ready { held, disks, names })
}

fn fit(root: &Path, looked: &[Disk], doomed: &Doomed) -> Result<Disk, Untouched> {
    let disk = choose(looked, &doomed.disk)?;
    let unseen = doomed.unseen(&disk.holds);
    if !unseen.is_empty() {
        return Err(Untouched::Unseen(unseen.into_iter().cloned().collect()));
    }
    user::unused(root, &disk.name)?;
    Ok(disk)
}

/// Between the look and the open a disk can be pulled and another put in, which gets its name: it is looked at once more.
fn open(root: &Path, doomed: &Doomed, before: Disk) -> Result<Open, Untouched> {
    let partitions = probe::partitions_of(&inventory::device(root, &before.name), &before);
    let drive = Drive::open(root, &before, doomed.disk.disk.clone())?;
    let disk = fit(root, &inventory::disks(root), doomed)?;
    if disk.name != before.name {
        let (id, before, after) = (doomed.disk.disk.clone(), before.name, disk.name);
        return Err(Unfit::Swapped { id, before, after }.into());
    }
    let marks = partitions.iter().map(|partition| partition.offset).collect();
    Ok(Open { disk, drive, marks })
}
