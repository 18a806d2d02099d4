//! Files to find again.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::lab::Dice;

/// A few files of every sort.
pub(crate) fn few(at: &Path) {
    let mut chance = Dice(1);
    fs::create_dir(at.join("sub")).unwrap();
    for (name, bytes) in [("empty", 0), ("tiny", 20), ("sub/page", 4096), ("sub/large", 1 << 20)] {
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
    let mut chance = Dice(seed + 2);
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
