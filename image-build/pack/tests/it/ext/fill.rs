//! Files to find again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use pack::Digest;

/// A row of numbers that looks like chance and is the same every time.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            bytes.extend_from_slice(&Digest::of(&self.below(u64::MAX).to_le_bytes()).0);
        }
        bytes.truncate(usize::try_from(count).unwrap());
        bytes
    }
}

/// A few files of every sort.
pub(crate) fn few(at: &Path) {
    let mut chance = Chance::new(1);
    fs::create_dir(at.join("sub")).unwrap();
    for (name, bytes) in [("empty", 0), ("tiny", 20), ("sub/page", 4096), ("sub/large", 3 << 20)] {
        fs::write(at.join(name), chance.bytes(bytes)).unwrap();
    }
    fs::set_permissions(at.join("tiny"), fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("sub/page", at.join("link")).unwrap();
    symlink("x".repeat(200), at.join("long link")).unwrap();
    fs::hard_link(at.join("tiny"), at.join("sub/hard")).unwrap();
}

/// Files that grew side by side, and holes where others were; about `bytes` of them.
pub(crate) fn fragmented(at: &Path, seed: u64, bytes: u64) {
    few(at);
    let mut chance = Chance::new(seed + 2);
    let mut left = bytes;
    let mut names: Vec<PathBuf> = Vec::new();
    for round in 0.. {
        let Some(rest) = left.checked_sub(60_000) else { break };
        let length = 1 + chance.below(60_000);
        left = rest.max(left - length);
        if round % 3 == 0 || names.len() < 8 {
            let name = at.join(format!("file {round}"));
            fs::write(&name, chance.bytes(length)).unwrap();
            names.push(name);
        } else if round % 3 == 1 {
            let index = usize::try_from(chance.below(names.len() as u64)).unwrap();
            fs::remove_file(names.swap_remove(index)).unwrap();
        } else {
            let index = usize::try_from(chance.below(names.len() as u64)).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&names[index]).unwrap();
            file.write_all_at(&chance.bytes(length), chance.below(400_000)).unwrap();
        }
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(at.join("synced")).unwrap();
    log.sync_all().unwrap();
}

/// What is below a directory: names to modes and contents.
pub(crate) fn tree(at: &Path) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![at.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(at).unwrap().to_str().unwrap().to_owned();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
            } else if meta.is_dir() {
                open.push(path);
                String::new()
            } else {
                format!("{:?}", Digest::of(&fs::read(&path).unwrap()))
            };
            found.insert(name, format!("{:o} {} {content}", meta.mode(), meta.len()));
        }
    }
    found
}
