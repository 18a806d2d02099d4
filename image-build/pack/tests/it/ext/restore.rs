//! The proof of a map: what it leaves out is noise in another file, and nobody misses it.

use std::collections::BTreeMap;

use super::image::{Image, run};
use super::{Filled, tree};

/// Keeps the bytes in use only, and looks at all that is in it before and after.
pub(crate) fn comes_back(image: &mut Image, filled: Filled, context: &str) {
    let before = content(image, filled, "before");
    assert!(before.len() > 6, "{context}");
    let used = image.read().used;
    image.keep_only(&used);
    run("e2fsprogs", "e2fsck", &["-f", "-n", image.path()]);
    assert_eq!(content(image, filled, "after"), before, "{context}");
    assert_eq!(image.read().used, used, "{context}");
}

fn content(image: &Image, filled: Filled, when: &str) -> BTreeMap<String, String> {
    match filled {
        Filled::Mounted => tree(image.mount("ro").path()),
        Filled::Made => {
            let dir = image.dir(when);
            image.debugfs(&format!("rdump / {}", dir.to_str().unwrap()));
            tree(&dir)
        }
    }
}
