//! Whatever is done in whatever order, and wherever the power goes: every image that is there is there byte for byte.

use std::collections::BTreeMap;

use pack::Digest;

use super::power::Names;
use super::{Damage, data, files, image, import, open, scrubbed, sound, whole};
use crate::images::{ImageError, Images};

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What there must be; of those in doubt the power went while they came or went.
#[derive(Default)]
struct Model {
    here: BTreeMap<Digest, Vec<u8>>,
    doubtful: BTreeMap<Digest, Vec<u8>>,
}

impl Model {
    fn agree(&mut self, images: &Images) {
        for (digest, file) in std::mem::take(&mut self.doubtful) {
            match whole(images, &digest) {
                Ok(bytes) => {
                    assert!(bytes == file);
                    self.here.insert(digest, file);
                }
                Err(ImageError::Absent(_)) => drop(self.here.remove(&digest)),
                Err(other) => panic!("neither whole nor nothing: {other}"),
            }
        }
        for (digest, file) in &self.here {
            assert!(whole(images, digest).expect("it is there") == *file);
            assert_eq!(images.damaged(digest), sound());
        }
        assert_eq!(images.all().len(), self.here.len(), "and no other");
    }

    fn act(&mut self, images: &Images, all: &[(Digest, Vec<u8>)], dice: &mut Dice) -> Result<(), ImageError> {
        let (digest, file) = &all[usize::try_from(dice.throw(all.len() as u64)).unwrap()];
        match dice.throw(6) {
            0..3 => {
                self.doubtful.insert(*digest, file.clone());
                import(images, file)?;
                self.doubtful.remove(digest);
                self.here.insert(*digest, file.clone());
            }
            3 => {
                self.doubtful.insert(*digest, file.clone());
                images.remove(digest)?;
                self.doubtful.remove(digest);
                self.here.remove(digest);
            }
            4 => drop(images.compact()?),
            _ if self.here.contains_key(digest) => assert_eq!(scrubbed(images, digest), [0; 0]),
            _ => assert_eq!(images.damaged(digest), Damage::Absent),
        }
        Ok(())
    }
}

#[test]
fn any_sequence_of_import_delete_prune_scrub_and_power_cut_keeps_every_image() {
    let all = (0..6_u32).map(|version| {
        let contents = (1..12).map(|at| if at % 4 == version % 4 { at + 100 * version } else { at });
        image("node", &contents.collect::<Vec<_>>())
    });
    let all = all.collect::<Vec<_>>();
    for seed in 0..16 {
        let (mut dice, mut model) = (Dice(seed), Model::default());
        let folder = tempfile::tempdir().unwrap();
        let mut images = open(folder.path());
        for _ in 0..30 {
            let cut = dice.throw(3) == 0;
            if cut {
                images.folder.power.cut_after(usize::try_from(dice.throw(25)).unwrap());
            }
            if let Err(error) = model.act(&images, &all, &mut dice) {
                assert!(cut, "seed {seed}: {error}");
            }
            if cut {
                let names = if dice.throw(2) == 0 { Names::Kept } else { Names::Lost };
                images.folder.power.aftermath(names);
                images = open(folder.path());
            }
            model.agree(&images);
        }
        for (digest, file) in &model.here {
            let length = images.stored(digest).unwrap().manifest.data_bytes();
            let (a, b) = (dice.throw(length + 1), dice.throw(length + 1));
            let area = &file[file.len() - usize::try_from(length).unwrap()..];
            let want = &area[usize::try_from(a.min(b)).unwrap()..usize::try_from(a.max(b)).unwrap()];
            assert!(data(&images, digest, a.min(b)..a.max(b)).unwrap() == want);
        }
        let digests = model.here.keys().copied().collect::<Vec<_>>();
        for digest in &digests {
            images.remove(digest).unwrap();
        }
        images.compact().unwrap();
        let left = files(folder.path()).into_keys().filter(|name| name != "scrub.json").collect::<Vec<_>>();
        assert_eq!(left, [] as [String; 0], "seed {seed}");
    }
}
