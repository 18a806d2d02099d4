//! Files to find again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use pack::Digest;

/// Numbers that look like chance and are the same in every run (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let bytes = self.below(u64::MAX).to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(count).unwrap()];
        self.fill(&mut bytes);
        bytes
    }
}

/// Bytes that differ from file to file and compress badly.
pub(crate) fn content(seed: u64, length: u64) -> Vec<u8> {
    Dice(seed << 32).bytes(length)
}

/// Fills a directory with files, deletes every third, writes larger ones into the gaps, and makes new gaps.
pub(crate) fn fill(root: &Path) {
    let file = |n: u64| root.join(format!("dir{}", n % 5)).join(format!("a_file_with_a_long_name_{n}"));
    (0..5).for_each(|n| fs::create_dir(root.join(format!("dir{n}"))).unwrap());
    (0..60).for_each(|n| fs::write(file(n), content(n, 100 + n * 777)).unwrap());
    (0..60).step_by(3).for_each(|n| fs::remove_file(file(n)).unwrap());
    (60..64).for_each(|n| fs::write(file(n), content(n, 300_000)).unwrap());
    [22, 44, 58].into_iter().for_each(|n| fs::remove_file(file(n)).unwrap());
}

/// Everything below a directory, by path: mode, owner, links, length, and what is in it.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, String> {
    listing(root, |about| format!("{:o} {} {}", about.mode(), about.uid(), about.nlink()))
}

/// Everything below a directory, by path, where a file system has neither modes nor owners.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, String> {
    listing(root, |about| if about.is_dir() { "directory" } else { "file" }.to_owned())
}

fn listing(root: &Path, of: impl Fn(&fs::Metadata) -> String) -> BTreeMap<String, String> {
    let (mut found, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let holds = if about.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if about.is_dir() {
                left.push(path);
                String::new()
            } else {
                format!("{} {}", about.len(), Digest::of(&fs::read(&path).unwrap()))
            };
            found.insert(name, format!("{} {holds}", of(&about)));
        }
    }
    found
}
