//! What others say is in use.

use pack::Extents;

use crate::lab::{Disk, run};

/// The bytes in use, by the tools.
pub(crate) struct Used {
    /// Length of the file system.
    pub(crate) bytes: u64,
    /// All but the free blocks that dumpe2fs lists.
    pub(crate) by_dumpe2fs: Extents,
    /// What partclone would copy; `None` with bigalloc.
    pub(crate) by_partclone: Option<Extents>,
}

pub(crate) fn used(image: &Disk) -> Used {
    let said = run("dumpe2fs", &[image.name()]);
    let word = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let block = word("Block size:").trim().parse::<u64>().unwrap();
    let cluster = said.lines().find_map(|line| line.strip_prefix("Cluster size:"));
    let cluster = cluster.map_or(block, |bytes| bytes.trim().parse::<u64>().unwrap());
    let bytes = word("Block count:").trim().parse::<u64>().unwrap() * block;
    let mut by_dumpe2fs = Extents::all(bytes);
    for list in said.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")) {
        for range in list.split(", ").filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let [first, last] = [first, last].map(|number| number.parse::<u64>().unwrap());
            // Each number is a cluster's first block.
            by_dumpe2fs.remove(first * block..last * block + cluster);
        }
    }
    let by_partclone = (!word("Filesystem features:").contains("bigalloc")).then(|| image.partclone("extfs"));
    Used { bytes, by_dumpe2fs, by_partclone }
}
