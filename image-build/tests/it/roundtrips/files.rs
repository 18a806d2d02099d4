//! Trees of files: one to fill a file system with, and what is in one.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use pack::Digest;

use crate::tool::noise;

/// Everything below a folder, each with its kind, its owner and so on, and its content.
pub(super) type Tree = BTreeMap<PathBuf, String>;

/// Fills a folder with files, deletes every third, and writes longer ones that do not fit into one gap. With `links`,
/// what only a Unix has: links of both kinds, holes, modes and owners.
pub(super) fn fill(root: &Path, links: bool) {
    let name = |n: u32| root.join(format!("dir{}/a file with a long name {n}", n % 5));
    (0..5).for_each(|n| std::fs::create_dir(root.join(format!("dir{n}"))).unwrap());
    (0..60).for_each(|n| std::fs::write(name(n), noise(n, 100 + n as usize * 777)).unwrap());
    (0..60).step_by(3).for_each(|n| std::fs::remove_file(name(n)).unwrap());
    (60..64).for_each(|n| std::fs::write(name(n), noise(n, 300_000)).unwrap());
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::write(root.join("zeros"), vec![0; 200_000]).unwrap();
    std::fs::write(root.join("text"), "all work and no play\n".repeat(9000)).unwrap();
    if links {
        std::fs::hard_link(root.join("text"), root.join("dir0/text")).unwrap();
        symlink("../text", root.join("dir1/link")).unwrap();
        let hole = std::fs::File::create(root.join("hole")).unwrap();
        hole.set_len(5 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&hole, b"far", 4 << 20).unwrap();
        std::fs::set_permissions(root.join("empty"), PermissionsExt::from_mode(0o4711)).unwrap();
        std::os::unix::fs::chown(root.join("empty"), Some(1234), Some(5678)).unwrap();
    }
}

/// What is below a folder; with `unix`, what only a Unix has too.
pub(super) fn tree(root: &Path, unix: bool) -> Tree {
    let mut tree = Tree::new();
    for path in image_build::files::walk(root).unwrap() {
        let look = std::fs::symlink_metadata(&path).unwrap();
        let content = if look.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else if look.is_file() {
            Digest::of(&std::fs::read(&path).unwrap()).to_string()
        } else {
            String::from("folder")
        };
        let (mode, owner, links) = (look.mode(), (look.uid(), look.gid()), look.nlink());
        let owned =
            if unix { format!("{mode:o} {owner:?} {links} {} ", look.mtime()) } else { String::new() };
        tree.insert(path.strip_prefix(root).unwrap().to_owned(), owned + &content);
    }
    tree
}
