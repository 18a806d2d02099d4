//! The seed partition, from the installed side: read, wiped, and written again as a ticket.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use protocol::{SEED_BYTES, Seed, SeedError};

use super::options::Options;
use super::root_disk::{self, RootDiskError};
use crate::leave::leave;

/// Why the seed could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartitionError {
    /// Nobody can say where the partition is.
    #[error("finding the seed partition")]
    Find(#[from] RootDiskError),
    /// The partition is not there, or its disk fails.
    #[error("reading the seed partition")]
    Read(#[source] io::Error),
    /// The disk does not take it.
    #[error("writing the seed partition")]
    Write(#[source] io::Error),
    /// There is no seed of ours in it.
    #[error(transparent)]
    Seed(#[from] SeedError),
}

/// The partition: the named one, or the one of the disk that we run from.
pub(super) fn find(options: &Options) -> Result<PathBuf, PartitionError> {
    match &options.seed {
        Some(named) => Ok(named.clone()),
        None => Ok(root_disk::seed_partition(&options.root)?),
    }
}

/// The newest seed in the partition.
pub(super) fn read(path: &Path) -> Result<Seed, PartitionError> {
    let file = File::open(path).map_err(PartitionError::Read)?;
    let mut room = vec![0; place()];
    read_back(&file, &mut room)?;
    Ok(Seed::decode(&room)?)
}

/// Leaves a seed behind, on the disk and read back when this returns.
pub(super) fn write(path: &Path, seed: &Seed) -> Result<(), PartitionError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(PartitionError::Write)?;
    let mut room = vec![0; place()];
    leave(seed, &mut room, |room| read_back(&file, room), |offset, bytes| put(&file, offset, bytes))
}

/// Overwrites the whole partition: the deploy key in it is used up.
pub(super) fn wipe(path: &Path) -> Result<(), PartitionError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(PartitionError::Write)?;
    let mut room = vec![0; place()];
    // What can't be read is wiped all the more, in any order.
    let _unreadable = read_back(&file, &mut room);
    let zeros = vec![0; place() / 2];
    Seed::wipe_order(&room).into_iter().try_for_each(|offset| put(&file, offset, &zeros))
}

fn place() -> usize {
    usize::try_from(SEED_BYTES).unwrap_or(0)
}

/// Bytes at their place, on the disk when this returns.
fn put(file: &File, offset: u64, bytes: &[u8]) -> Result<(), PartitionError> {
    file.write_all_at(bytes, offset).and_then(|()| file.sync_all()).map_err(PartitionError::Write)
}

/// What the disk has, not what the kernel remembers; zeros where it ends early.
fn read_back(file: &File, room: &mut [u8]) -> Result<(), PartitionError> {
    // A file system that can't forget keeps no disk behind it.
    let _kept = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    room.fill(0);
    let mut done = 0;
    while let Some(rest) = room.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, done as u64) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PartitionError::Read(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::{CaPin, NodeId, Seed, SeedError};

    use super::{PartitionError, read, wipe, write};

    #[test]
    fn what_is_left_is_found_and_what_is_wiped_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        assert!(matches!(read(&path), Err(PartitionError::Read(_))));
        assert!(matches!(wipe(&path), Err(PartitionError::Write(_))), "a partition is never made");
        std::fs::write(&path, b"").unwrap();
        let seed = Seed {
            controller: "10.77.0.1:8443".parse().unwrap(),
            ca: CaPin([7; 32]),
            node: NodeId([1; 16]),
            name: "n1".into(),
            job: None,
            key: "a2V5".into(),
            certificate: String::new(),
            complete: false,
        };
        write(&path, &seed).unwrap();
        assert_eq!(read(&path).unwrap(), seed);
        let later = Seed { complete: true, ..seed };
        write(&path, &later).unwrap();
        assert_eq!(read(&path).unwrap(), later, "the newest counts");
        wipe(&path).unwrap();
        assert!(matches!(read(&path), Err(PartitionError::Seed(SeedError::Absent))));
        assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 0));
    }
}
