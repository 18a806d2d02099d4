//! Captures as their agents tell and send them, on stores of their own.

use std::io::ErrorKind;
use std::sync::Arc;

use pack::{Chunk, Codec, Digest, Packed, merkle};
use protocol::JobId;

use super::{about, data, files, open, packed, scrubbed};
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
            lab.images.folder.power.tear(torn, written, ErrorKind::Other);
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

#[test]
fn a_node_that_lies_about_bytes_of_the_store_is_found_out_and_spoils_no_other_capture() {
    let lab = lab();
    // Compressed, or the two digests are one.
    let known = [packed(0, 3), packed(9, 5)];
    lab.take(1, "known", &known);
    let golden = [packed(0, 6), packed(9, 2)];
    // The data of the golden image would be what is stored of another.
    let [honest, last] = [golden[0].chunk().unwrap(), known[1].chunk().unwrap()];
    let other = known[0].chunk().unwrap();
    let (stored, stored_digest) = (other.stored, other.stored_digest);
    let lie = Chunk { codec: other.codec, stored, stored_digest, ..honest };
    let told = [lie.clone(), last.clone()];
    assert_eq!(lab.tell(2, 0, &told).unwrap(), [0], "it is asked for");
    let refused = lab.send(2, &known[0]).unwrap_err();
    assert!(refused.to_string().contains("chunk 0 of the image is damaged"), "{refused}");
    let refused = lab.seal(2, "lie", &told).unwrap_err();
    assert!(refused.to_string().contains("1 chunks of the image are neither"), "{refused}");
    // The same stored bytes for three windows: what is shown of the first says nothing of the others.
    let told =
        [other.clone(), Chunk { window: 3, ..lie }, Chunk { window: 4, codec: Codec::Lz4, ..other }, last];
    let fresh = self::lab();
    assert_eq!(fresh.tell(2, 0, &told).unwrap(), [0, 3, 4, 9]);
    fresh.send(2, &known[0]).unwrap();
    fresh.send(2, &known[1]).unwrap();
    fresh.send(2, &Packed { window: 3, ..known[0].clone() }).unwrap_err();
    fresh.send(2, &Packed { window: 4, ..known[0].clone() }).unwrap_err();
    let refused = fresh.seal(2, "lie", &told).unwrap_err();
    assert!(refused.to_string().contains("2 chunks of the image are neither"), "{refused}");
    let digest = lab.take(3, "golden", &golden);
    lab.holds(&digest, &golden);
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_gets_back_what_a_capture_has_of_it() {
    let lab = lab();
    let disk = [packed(0, 1), packed(3, 2), packed(9, 4)];
    lab.tell(1, 0, &chunks(&disk)).unwrap();
    lab.tell(2, 0, &chunks(&disk)).unwrap();
    lab.send(1, &disk[0]).unwrap();
    lab.send(2, &disk[0]).unwrap();
    lab.images.folder.power.tear(0, 5_000, ErrorKind::StorageFull);
    assert!(lab.send(1, &disk[1]).unwrap_err().may_pass());
    assert_eq!(files(lab.folder.path()).len(), 1, "the part of the other");
    let again = lab.send(1, &disk[1]).unwrap_err();
    assert!(again.to_string().starts_with("begin again:"), "{again}");
    let digest = lab.take(1, "node", &disk);
    lab.holds(&digest, &disk);
}

#[test]
fn a_second_reading_that_differs_late_goes_on_from_there() {
    let lab = lab();
    let first = [packed(0, 1), packed(2, 2), packed(5, 3), packed(9, 4)];
    assert_eq!(lab.tell(1, 0, &chunks(&first[..2])).unwrap(), [0, 2]);
    assert_eq!(lab.tell(1, 2, &chunks(&first[2..])).unwrap(), [5, 9]);
    first[..3].iter().for_each(|packed| lab.send(1, packed).unwrap());
    // The longest is torn: what is left of it lies where the index will be.
    lab.images.folder.power.tear(0, 20_000, ErrorKind::Other);
    lab.send(1, &first[3]).unwrap_err();
    // The agent was started anew, and the disk is another than it was, from the second batch on.
    let second = [packed(0, 1), packed(2, 2), packed(3, 6), packed(5, 3), packed(9, 9)];
    assert_eq!(lab.tell(1, 0, &chunks(&second[..2])).unwrap(), [0; 0]);
    assert_eq!(lab.tell(1, 2, &chunks(&second[2..4])).unwrap(), [3], "what came is not asked for again");
    assert!(lab.tell(1, 5, &[]).unwrap_err().to_string().starts_with("begin again: 4 windows"));
    assert_eq!(lab.tell(1, 4, &chunks(&second[4..])).unwrap(), [9]);
    // The same again, in other batches, takes nothing back.
    assert_eq!(lab.tell(1, 1, &chunks(&second[1..3])).unwrap(), [3]);
    lab.send(1, &second[2]).unwrap();
    lab.send(1, &second[4]).unwrap();
    let refused = lab.seal(1, "node", &chunks(&first)).unwrap_err();
    assert!(refused.to_string().contains("the node read others"), "{refused}");
    let digest = lab.seal(1, "node", &chunks(&second)).unwrap();
    lab.holds(&digest, &second);
}

#[test]
fn what_another_capture_brings_meanwhile_in_another_packing_is_no_trouble() {
    let lab = lab();
    let quick = [packed(0, 3), packed(9, 2)];
    let mut raw = vec![0; pack::WINDOW as usize];
    quick[0].chunk().unwrap().unpack(&quick[0].stored, &mut raw).unwrap();
    let small = pack::pack_window(0, &raw, quick[0].map.clone(), pack::Compression::Lz4).unwrap();
    assert_ne!(small.stored, quick[0].stored);
    assert_eq!(lab.tell(1, 0, &chunks(&quick)).unwrap(), [0, 9]);
    lab.take(2, "other", &[small, quick[1].clone()]);
    // The agent did not hear the answer, or did, and sends what it was asked for.
    assert_eq!(lab.tell(1, 0, &chunks(&quick)).unwrap(), [0; 0]);
    quick.iter().for_each(|packed| lab.send(1, packed).unwrap());
    let digest = lab.seal(1, "node", &chunks(&quick)).unwrap();
    lab.holds(&digest, &quick);
}
