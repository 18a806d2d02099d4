//! What others say is in use.

use std::ops::Range;

use pack::Extents;

use super::image::{Image, run};

/// The bytes in use, by the tools.
pub(crate) struct Used {
    /// Length of the file system.
    pub(crate) bytes: u64,
    /// All but the free blocks that dumpe2fs lists.
    pub(crate) by_dumpe2fs: Extents,
    /// What partclone would copy; `None` with bigalloc.
    pub(crate) by_partclone: Option<Extents>,
}

pub(crate) fn used(image: &Image) -> Used {
    let said = run("e2fsprogs", "dumpe2fs", &[image.path()]);
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
    let by_partclone = (!word("Filesystem features:").contains("bigalloc")).then(|| partclone(image));
    Used { bytes, by_dumpe2fs, by_partclone }
}

/// By the domain log: lines of offset, length and `+`.
fn partclone(image: &Image) -> Extents {
    let (log, own_log) = (image.beside("domain"), image.beside("log"));
    let [domain, own] = [&log, &own_log].map(|path| path.to_str().unwrap());
    let args = ["-q", "-F", "-D", "--offset_domain=0", "-s", image.path(), "-o", domain, "-L", own];
    run("partclone", "partclone.extfs", &args);
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| words.len() == 3 && words[2] == "+").map(|words| range(words[0], words[1])).collect()
}

fn range(offset: &str, bytes: &str) -> Range<u64> {
    let [offset, bytes] = [offset, bytes].map(|text| {
        let digits = text.strip_prefix("0x").unwrap();
        u64::from_str_radix(digits, 16).unwrap()
    });
    offset..offset + bytes
}
