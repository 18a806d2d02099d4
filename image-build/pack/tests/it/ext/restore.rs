//! The proof of a map: what it leaves out is noise in another file, and nobody misses it.

use std::collections::BTreeMap;

use super::Filled;
use super::image::debugfs;
use crate::lab::{Disk, run, tree};

/// Keeps the bytes in use only, and looks at all that is in it before and after.
pub(crate) fn comes_back(image: &Disk, filled: Filled, context: &str) {
    let before = content(image, filled, "before");
    assert!(before.len() > 6, "{context}");
    let used = image.volume().used;
    let restored = image.only(&used);
    run("e2fsck", &["-f", "-n", restored.name()]);
    assert_eq!(content(&restored, filled, "after"), before, "{context}");
    assert_eq!(restored.volume().used, used, "{context}");
}

fn content(image: &Disk, filled: Filled, when: &str) -> BTreeMap<String, String> {
    match filled {
        Filled::Mounted => tree(image.mount("ro").path()),
        Filled::Made => {
            let dir = image.dir(when);
            debugfs(image, &format!("rdump / {}", dir.to_str().unwrap()));
            tree(&dir)
        }
    }
}
