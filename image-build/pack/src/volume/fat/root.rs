//! The root directory of FAT: where the label is.

use super::Unread;
use super::boot::Layout;
use crate::field::{byte, le16};
use crate::{Source, names, source};

/// The most clusters of the root directory that are looked through, as in blkid.
const CLUSTERS_MAX: usize = 100;

const DIRECTORY: u8 = 0x10;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;

/// The label that blkid shows: the entry of the root directory, not what the boot sector has. Empty when there is none.
pub(super) fn label(source: &dyn Source, layout: &Layout, root_cluster: u32) -> Result<String, Unread> {
    if !layout.root.is_empty() {
        // At most 65535 entries of 32 bytes.
        let length = usize::try_from(layout.root.end - layout.root.start).unwrap_or_default();
        let entries = source::read(source, layout.root.start, length)?;
        return Ok(find(&entries).unwrap_or_default().unwrap_or_default());
    }
    let mut cluster = u64::from(root_cluster);
    for _ in 0..CLUSTERS_MAX {
        let Some(at) = layout.cluster_at(cluster) else { break };
        let length = usize::try_from(layout.cluster_bytes).unwrap_or_default();
        if let Some(found) = find(&source::read(source, at, length)?) {
            return Ok(found.unwrap_or_default());
        }
        cluster = layout.entry(source, cluster)?;
    }
    Ok(String::new())
}

/// `Some(None)` when the directory ends here.
fn find(entries: &[u8]) -> Option<Option<String>> {
    let (entries, _) = entries.as_chunks::<32>();
    for entry in entries {
        let first = byte(entry, 0)?;
        let attributes = byte(entry, 11)? & 0x3f;
        let has_clusters = le16(entry, 20)? != 0 || le16(entry, 26)? != 0;
        if first == 0 {
            return Some(None);
        }
        if first == 0xe5 || has_clusters || attributes == LONG_NAME {
            continue;
        }
        if attributes & (LABEL | DIRECTORY) == LABEL {
            return Some(Some(spell(entry.get(..11)?)));
        }
    }
    None
}

/// A first byte 0x05 stands for 0xe5, which marks what is deleted.
fn spell(name: &[u8]) -> String {
    let mut name = name.to_vec();
    if let Some(first) = name.first_mut().filter(|first| **first == 0x05) {
        *first = 0xe5;
    }
    names::label(&name)
}
