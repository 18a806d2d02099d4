//! Files for a file system.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::lab::Dice;

/// Small and large files, holes, text, links, deep directories.
pub(super) fn some(dir: &Path) {
    let mut dice = Dice(1);
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
    fs::write(dir.join("large"), dice.bytes(2 << 20)).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 50 << 20).unwrap();
    fs::hard_link(dir.join("large"), dir.join("large too")).unwrap();
}

/// Many extents with gaps: writes at random places that are committed again and again, and files removed between.
pub(super) fn fragment(dir: &Path, rounds: u64) {
    let mut dice = Dice(2);
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
