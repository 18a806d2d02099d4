//! Files for a file system, and what is in one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use pack::Digest;

/// Numbers without a pattern, the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub(super) fn bytes(&mut self, count: u64) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).map(|_| self.below(u64::MAX).to_le_bytes());
        words.flatten().take(usize::try_from(count).unwrap()).collect()
    }
}

/// Small and large files, holes, text, links, deep directories.
pub(super) fn some(dir: &Path) {
    let mut dice = Dice::new(1);
    for n in 0..40_u64 {
        let deep = dir.join(format!("d{}/e{}", n % 4, n % 3));
        fs::create_dir_all(&deep).unwrap();
        let size = 1 + dice.below(8192 << (n % 6));
        fs::write(deep.join(format!("noise{n}")), dice.bytes(size)).unwrap();
        fs::write(
            deep.join(format!("text{n}")),
            "all work and no play ".repeat(usize::try_from(n * 400).unwrap()),
        )
        .unwrap();
        std::os::unix::fs::symlink(format!("noise{n}"), deep.join(format!("link{n}"))).unwrap();
    }
    fs::write(dir.join("large"), dice.bytes(6 << 20)).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 50 << 20).unwrap();
    fs::hard_link(dir.join("large"), dir.join("large too")).unwrap();
}

/// Many extents with gaps: writes at random places that are committed again and again, and files removed between.
pub(super) fn fragment(dir: &Path, rounds: u64) {
    let mut dice = Dice::new(2);
    let file = File::create(dir.join("scattered")).unwrap();
    for round in 0..rounds {
        for n in 0..60 {
            fs::write(dir.join(format!("f{round}-{n}")), dice.bytes(1 + n * 500)).unwrap();
            file.write_all_at(&dice.bytes(4096), dice.below(4000) * 4096).unwrap();
        }
        file.sync_all().unwrap();
        (0..60)
            .filter(|n| n % 3 > 0)
            .for_each(|n| fs::remove_file(dir.join(format!("f{round}-{n}"))).unwrap());
    }
}

/// Everything below a directory, by path: kind and mode, owner, size, links and what is in it.
pub(super) fn listing(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let holds = if about.is_file() {
                Digest::of(&fs::read(&path).unwrap()).to_string()
            } else if about.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                todo.push(path.clone());
                String::new()
            };
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let (mode, owner, links) = (about.mode(), about.uid(), about.nlink());
            all.insert(name, format!("{mode:o} {owner} {links} {} {holds}", about.len()));
        }
    }
    all
}
