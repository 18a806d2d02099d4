//! Readers of volumes, partition tables and disk files, on real ones of which some bytes are others.
//!
//! What holds of any bytes: a reader ends, soon, with little read at a time; it says the same again; what it says is in use lies on
//! the volume, and has in it what the reader itself began with; what it doubts is used as a whole.

mod base;
mod bent;
mod seal;

use pack::volume::{self, Volume};
use pack::{Extents, Source, survey, table};

use self::base::Base;
use self::bent::{Bent, seeds};
use crate::Reached;

/// As deep as volumes lie in volumes.
const DEPTH_MAX: u32 = 3;
/// Ranges of one set.
const RANGES_MAX: usize = 4 << 20;

macro_rules! targets {
    ($($run:ident, $seeds:ident: $bases:ident, $kinds:expr;)*) => {
        $(
            pub(crate) fn $run(data: &[u8]) -> Reached {
                read(&base::$bases, data, $kinds)
            }

            pub(crate) fn $seeds() -> Vec<Vec<u8>> {
                seeds(&base::$bases)
            }
        )*
    };
}

targets! {
    ext, ext_seeds: EXT, &["ext2", "ext3", "ext4", "jbd"];
    xfs, xfs_seeds: XFS, &["xfs"];
    btrfs, btrfs_seeds: BTRFS, &["btrfs"];
    fat, fat_seeds: FAT, &["vfat"];
    exfat, exfat_seeds: EXFAT, &["exfat"];
    ntfs, ntfs_seeds: NTFS, &["ntfs"];
    swap, swap_seeds: SWAP, &["swap", "swsuspend"];
    lvm, lvm_seeds: LVM, &["LVM2_member"];
    md, md_seeds: MD, &["linux_raid_member"];
}

fn read(bases: &[Base], data: &[u8], kinds: &[&str]) -> Reached {
    let Some(bent) = Bent::new(bases, data) else { return Reached::Refusal };
    let look = || {
        let volume = volume::read(&bent).expect("nothing fails here");
        bent.assert_cheap();
        volume
    };
    let volume = look();
    assert_eq!(volume, look(), "the same bytes are the same volume");
    check(&volume, bent.bytes, 0);
    let is_known = kinds.contains(&volume.kind);
    let is_mapped = is_known && volume.why_whole.is_none();
    let head = bent.base.head.start.min(bent.bytes)..bent.base.head.end.min(bent.bytes);
    assert!(!is_mapped || volume.used.contains(head), "{} does not use its own head", bent.base.name);
    Reached::when(is_mapped)
}

/// What holds of a volume of so many bytes, and of those in it.
fn check(volume: &Volume, bytes: u64, depth: u32) {
    assert!(depth <= DEPTH_MAX);
    assert!(volume.used.end() <= bytes && volume.used.iter().len() <= RANGES_MAX);
    let is_whole = volume.why_whole.is_some() || volume.kind == "raw";
    assert!(!is_whole || volume.used == Extents::all(bytes), "{volume:?}");
    assert!(volume.label.len() <= 255 && volume.uuid.len() <= 64, "{volume:?}");
    volume.inside.iter().for_each(|inner| check(&inner.volume, inner.bytes, depth + 1));
}

/// A partition table alone, and the whole disk that it describes.
pub(crate) fn partitions(data: &[u8]) -> Reached {
    const SECTOR: u32 = 512;
    let Some(bent) = Bent::new(&base::TABLE, data) else { return Reached::Refusal };
    let read = table::read(&bent, SECTOR);
    bent.assert_cheap();
    let look = || {
        let found = survey(&bent, SECTOR).expect("nothing fails here");
        bent.assert_cheap();
        found
    };
    let found = look();
    assert_eq!(found, look(), "the same bytes are the same disk");
    assert!(found.used.end() <= bent.bytes);
    for placed in &found.volumes {
        assert!(placed.offset.checked_add(placed.bytes).is_some_and(|end| end <= bent.bytes));
        check(&placed.volume, placed.bytes, 0);
    }
    let layout = found.layout();
    assert!(layout.partitions.len() <= 256 && layout.volumes.len() <= 256);
    let Ok(table) = read else { return Reached::Refusal };
    assert!(table.partitions.len() <= table::PARTITIONS_MAX);
    let within = |one: &table::Partition| one.bytes > 0 && one.end() <= bent.bytes;
    assert!(table.partitions.iter().all(within), "{table:?}");
    assert!(table.metadata.end() <= bent.bytes);
    Reached::when(found.table == Some(table))
}

pub(crate) fn partitions_seeds() -> Vec<Vec<u8>> {
    seeds(&base::TABLE)
}

/// The disk in a qcow2 file: what is allocated lies on it, and every read of it ends.
pub(crate) fn qcow2(data: &[u8]) -> Reached {
    const PIECE: usize = 64 << 10;
    let Some(bent) = Bent::new(&base::QCOW2, data) else { return Reached::Refusal };
    let disk = pack::foreign::qcow2::Qcow2::open(&bent);
    bent.assert_cheap();
    let Ok(disk) = disk else { return Reached::Refusal };
    assert!(disk.allocated().end() <= disk.bytes() && disk.allocated().iter().len() <= RANGES_MAX);
    let length = usize::try_from(disk.bytes()).unwrap_or(usize::MAX).min(PIECE);
    let (mut one, mut again) = (vec![0; length], vec![0; length]);
    let places = [0, disk.bytes() / 2, disk.allocated().end()];
    for place in places.map(|place| place.min(disk.bytes() - length as u64)) {
        let is_read = disk.read_at(place, &mut one).is_ok();
        assert_eq!(is_read, disk.read_at(place, &mut again).is_ok());
        assert!(!is_read || one == again, "the same place has the same bytes");
        bent.assert_cheap();
    }
    Reached::Inside
}

pub(crate) fn qcow2_seeds() -> Vec<Vec<u8>> {
    seeds(&base::QCOW2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A base that is refused as it is would hide whatever lies behind.
    #[test]
    fn every_base_is_read_and_keeps_its_checksums() {
        type Run = fn(&[u8]) -> Reached;
        let all: [(&[Base], Run); 11] = [
            (&base::EXT, ext),
            (&base::XFS, xfs),
            (&base::BTRFS, btrfs),
            (&base::FAT, fat),
            (&base::EXFAT, exfat),
            (&base::NTFS, ntfs),
            (&base::SWAP, swap),
            (&base::LVM, lvm),
            (&base::MD, md),
            (&base::TABLE, partitions),
            (&base::QCOW2, qcow2),
        ];
        for (bases, run) in all {
            for seed in seeds(bases).iter().filter(|seed| seed.get(1) != Some(&2)) {
                let base = usize::from(seed[0]);
                assert_eq!(run(seed), Reached::Inside, "{}: {:02x?}", bases[base].name, seed.get(..8));
            }
        }
    }
}
