//! The seed partition, from the installed side: read, wiped, and written again as a ticket.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use protocol::{SEED_BYTES, Seed, SeedError};

/// Why the seed could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartitionError {
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

/// What lies in the partition.
pub(super) fn read(path: &Path) -> Result<Seed, PartitionError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(PartitionError::Read)?;
    file.take(SEED_BYTES).read_to_end(&mut bytes).map_err(PartitionError::Read)?;
    Ok(Seed::decode(&bytes)?)
}

/// Leaves a seed behind, on the disk when this returns.
pub(super) fn write(path: &Path, seed: &Seed) -> Result<(), PartitionError> {
    overwrite(path, &seed.encode()?)
}

/// Overwrites the whole partition: the deploy key in it is used up.
pub(super) fn wipe(path: &Path) -> Result<(), PartitionError> {
    overwrite(path, &vec![0; usize::try_from(SEED_BYTES).unwrap_or(0)])
}

fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), PartitionError> {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(PartitionError::Write)
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
        wipe(&path).unwrap();
        assert!(matches!(read(&path), Err(PartitionError::Seed(SeedError::Absent))));
        assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 0));
    }
}
