//! Members of storage pools: ZFS and Ceph. Both keep their labels in several places, so that a wiped beginning does not
//! make a disk an empty one.

use crate::inventory::probe::field::{array, be32, is, label};
use crate::inventory::probe::{Found, Reader};

/// ZFS: four labels, two at each end; in each, name-value pairs at 16 KiB and a ring of uberblocks at 128 KiB (ZFS
/// On-Disk Specification, chapter 1).
pub(super) fn zfs(read: &Reader<'_>, bytes: u64) -> Option<Found> {
    const LABEL: u64 = 256 << 10;
    let aligned = bytes & !(LABEL - 1);
    let places = [Some(0), Some(LABEL), aligned.checked_sub(2 * LABEL), aligned.checked_sub(LABEL)];
    places.into_iter().flatten().find_map(|at| {
        let ring = read(at.checked_add(128 << 10)?, 128 << 10)?;
        let (blocks, _) = ring.as_chunks::<1024>();
        let is_uberblock = |block: &[u8; 1024]| {
            let magic = array::<8>(block, 0);
            magic == Some(0x00ba_b10c_u64.to_le_bytes()) || magic == Some(0x00ba_b10c_u64.to_be_bytes())
        };
        blocks.iter().any(is_uberblock).then(|| {
            let pairs = read(at + (16 << 10), 16 << 10).unwrap_or_default();
            Found::new("zfs", pool_name(&pairs).unwrap_or_default(), pool_number(&pairs).unwrap_or_default())
        })
    })
}

/// The value of the pair `name`, which is XDR: the key's length and text, type 9 (string), one of them, its length
/// and text.
fn pool_name(pairs: &[u8]) -> Option<String> {
    let at = behind(pairs, b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01")?;
    let length = usize::try_from(be32(pairs, at)?).ok().filter(|&n| n <= 256)?;
    Some(label(pairs, at.checked_add(4)?, length))
}

/// The pool's number, of type 8 (64 bits), as `zpool` prints it.
fn pool_number(pairs: &[u8]) -> Option<String> {
    let at = behind(pairs, b"\0\0\0\x09pool_guid\0\0\0\0\0\0\x08\0\0\0\x01")?;
    array::<8>(pairs, at).map(|number| u64::from_be_bytes(number).to_string())
}

fn behind(pairs: &[u8], key: &[u8]) -> Option<usize> {
    pairs.windows(key.len()).position(|window| window == key)?.checked_add(key.len())
}

/// Ceph BlueStore: a line, and the OSD's UUID as the next one.
pub(super) fn ceph(head: &[u8]) -> Option<Found> {
    is(head, 0, b"bluestore block device\n").then(|| {
        let osd = label(head, 23, 36);
        Found::new("ceph", osd.clone(), osd)
    })
}

/// The same label again, further on: OSDs made since Ceph 19 (Squid) repeat it at 1, 10, 100 and 1000 GiB.
pub(super) fn ceph_again(read: &Reader<'_>) -> Option<Found> {
    [1, 10, 100, 1000].into_iter().filter_map(|gib: u64| read(gib << 30, 512)).find_map(|block| ceph(&block))
}
