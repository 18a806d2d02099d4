//! Captures as their agents tell and send them, on stores of their own.

use std::sync::Arc;

use pack::{Chunk, Digest, Packed, merkle};
use protocol::JobId;

use super::{about, data, open, packed, scrubbed};
use crate::images::{CaptureError, Captures, Images};

const DISK: u64 = 10 << 20;

struct Lab {
    folder: tempfile::TempDir,
    images: Arc<Images>,
    captures: Captures,
}

fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let images = Arc::new(open(folder.path()));
    let captures = Captures::new(Arc::clone(&images));
    Lab { folder, images, captures }
}

impl Lab {
    /// The windows that are missing.
    fn tell(&self, job: u8, before: u64, chunks: &[Chunk]) -> Result<Vec<u32>, CaptureError> {
        self.captures.windows(JobId([job; 8]), before, &Chunk::encode_all(chunks), DISK)
    }

    fn send(&self, job: u8, packed: &Packed) -> Result<(), CaptureError> {
        self.captures.stored(JobId([job; 8]), packed.window, &packed.stored)
    }

    fn seal(&self, job: u8, name: &str, chunks: &[Chunk]) -> Result<Digest, CaptureError> {
        let (windows, root) = (u64::try_from(chunks.len()).unwrap(), merkle::root(chunks));
        let signed = self.captures.sign(JobId([job; 8]), about(name, DISK), windows, root)?;
        Ok(self.captures.seal(JobId([job; 8]), signed)?.digest)
    }

    /// Tells and sends all of it.
    fn take(&self, job: u8, name: &str, disk: &[Packed]) -> Digest {
        let missing = self.tell(job, 0, &chunks(disk)).unwrap();
        let wanted = disk.iter().filter(|packed| missing.contains(&packed.window));
        wanted.for_each(|packed| self.send(job, packed).unwrap());
        self.seal(job, name, &chunks(disk)).unwrap()
    }

    /// The image is what was on the disk, also for who starts with the folder as it is.
    fn holds(&self, digest: &Digest, disk: &[Packed]) {
        assert_eq!(scrubbed(&self.images, digest), [0; 0]);
        for images in [&*self.images, &open(self.folder.path())] {
            let manifest = &images.stored(digest).unwrap().manifest;
            assert_eq!(manifest.chunks().len(), disk.len());
            for (chunk, packed) in manifest.chunks().iter().zip(disk) {
                let range = chunk.offset..chunk.offset + u64::from(chunk.stored);
                let mut raw = vec![0; chunk.bytes as usize];
                chunk.unpack(&data(images, digest, range).unwrap(), &mut raw).unwrap();
                assert_eq!((chunk.window, chunk.digest), (packed.window, packed.digest));
            }
        }
    }
}

fn chunks(disk: &[Packed]) -> Vec<Chunk> {
    disk.iter().map(|packed| packed.chunk().unwrap()).collect()
}

#[test]
fn a_write_that_fails_midway_moves_no_chunk() {
    for written in [0, 1, 9_000, 20_000] {
        for torn in 0..3 {
            let lab = lab();
            let disk = [packed(0, 1), packed(3, 2), packed(9, 4)];
            assert_eq!(lab.tell(1, 0, &chunks(&disk)).unwrap(), [0, 3, 9]);
            lab.images.folder.power.tear(torn, written);
            let failed = disk.iter().filter(|packed| match lab.send(1, packed) {
                Ok(()) => false,
                Err(error) => {
                    assert!(error.may_pass(), "{error}");
                    true
                }
            });
            let failed = failed.collect::<Vec<_>>();
            assert_eq!(failed.len(), 1);
            lab.send(1, failed[0]).unwrap();
            let digest = lab.seal(1, "node", &chunks(&disk)).unwrap();
            lab.holds(&digest, &disk);
        }
    }
}
