//! The first file system: finds the medium and starts the live system. It has the sums of what it starts, so that those are
//! not read from the medium that they are about.

use std::path::Path;

use super::{IsoError, Job};
use crate::cpio::Entry;
use crate::ramdisk::{Build, RamdiskError};

/// It is small, and read by firmware that may read slowly.
const LEVEL: i32 = 19;

/// The archive, compressed and with a checksum that the kernel verifies.
pub(super) fn pack(job: &Job<'_>, work: &Path, sums: &str) -> Result<Vec<u8>, IsoError> {
    let (workshop, init) = (job.workshop, job.workshop.recipe("iso/init"));
    workshop.progress.step("collecting the drivers that find the medium");
    let build = Build { programs: &[], modules: &job.recipe.modules, toolbox: &workshop.toolbox, work, init };
    let mut tree = build.system()?;
    let sums = Entry::File { mode: 0o644, content: sums.as_bytes().to_vec() };
    tree.put("etc/sums", sums).map_err(RamdiskError::from)?;
    let archive = tree.encode(workshop.release.epoch).map_err(RamdiskError::from)?;
    Ok(compress(&archive).map_err(RamdiskError::Compress)?)
}

fn compress(archive: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_in_it_is_noticed() {
        let archive: Vec<u8> = (0..100_000_u32).flat_map(|number| (number % 977).to_le_bytes()).collect();
        let packed = compress(&archive).unwrap();
        assert_eq!(zstd::bulk::decompress(&packed, archive.len()).unwrap(), archive);
        for at in [packed.len() / 3, packed.len() / 2, packed.len() - 1] {
            let mut bad = packed.clone();
            bad[at] ^= 4;
            assert!(zstd::bulk::decompress(&bad, archive.len()).is_err(), "byte {at}");
        }
    }
}
