//! What is bent: volumes, disks and disk files that real tools made, kept in `volumes/`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use super::bent::Bent;
use super::seal;

const BLOCK: usize = 4096;

/// One of them. Only the blocks that are not zeros are kept.
pub(crate) struct Base {
    /// As in `volumes/`.
    pub(crate) name: &'static str,
    pub(crate) bytes: u64,
    pub(crate) blocks: BTreeMap<u64, Vec<u8>>,
    /// Where the reader begins to read it, and how much of that it must count as used.
    pub(crate) head: std::ops::Range<u64>,
    /// Makes the checksums right that stand over what was changed.
    pub(crate) seal: fn(&mut Bent<'_>),
}

/// Where interesting bytes are, in the first blocks that are not zeros: this far apart.
const PLACES_APART: u64 = 512;
const PLACES_MAX: usize = 24;

impl Base {
    fn new(name: &'static str, packed: &[u8], head: std::ops::Range<u64>, seal: fn(&mut Bent<'_>)) -> Base {
        let mut disk = zstd::stream::read::Decoder::new(packed).expect("a volume of ours is zstd");
        let (mut blocks, mut bytes) = (BTreeMap::new(), 0);
        loop {
            let mut block = Vec::new();
            disk.by_ref().take(BLOCK as u64).read_to_end(&mut block).expect("a volume of ours is whole");
            let (at, length) = (bytes, block.len());
            bytes += length as u64;
            if block.iter().any(|byte| *byte != 0) {
                block.resize(BLOCK, 0);
                blocks.insert(at, block);
            }
            if length < BLOCK {
                return Base { name, bytes, blocks, head, seal };
            }
        }
    }

    /// Fills `out` from this place; zeros where there is nothing.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        out.fill(0);
        let end = offset.saturating_add(out.len() as u64);
        let first = offset.saturating_sub(offset % BLOCK as u64);
        for (at, block) in self.blocks.range(first..end) {
            let skip = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX);
            let to = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let (from, to) = (block.get(skip..).unwrap_or_default(), out.get_mut(to..).unwrap_or_default());
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// Places where something is.
    pub(crate) fn places(&self) -> Vec<u64> {
        let starts = self.blocks.keys().flat_map(|at| (*at..*at + BLOCK as u64).step_by(512));
        let mut last = None;
        let far = |at: &u64| {
            let is_far = last.is_none_or(|last| *at >= last + PLACES_APART);
            let mut probe = [0; 32];
            self.read(*at, &mut probe);
            let is_place = is_far && probe != [0; 32];
            last = if is_place { Some(*at) } else { last };
            is_place
        };
        starts.filter(far).take(PLACES_MAX).collect()
    }
}

macro_rules! bases {
    ($($list:ident: $($name:literal, $head:expr, $seal:path;)*)*) => {
        $(pub(crate) static $list: LazyLock<Vec<Base>> = LazyLock::new(|| vec![$(
            Base::new($name, include_bytes!(concat!("../../volumes/", $name, ".zst")), $head, $seal)
        ),*]);)*
    };
}

bases! {
    EXT:
        "ext4", 1024..2048, seal::ext4;
        "ext2", 1024..2048, seal::nothing;
    XFS:
        "xfs", 0..512, seal::xfs;
    BTRFS:
        "btrfs", 65536..69632, seal::btrfs;
    FAT:
        "fat16", 0..512, seal::nothing;
        "fat12", 0..512, seal::nothing;
        "fat32", 0..512, seal::nothing;
    EXFAT:
        "exfat", 0..512, seal::exfat;
    NTFS:
        "ntfs", 0..512, seal::nothing;
    SWAP:
        "swap", 0..4096, seal::nothing;
    LVM:
        "lvm", 0..2048, seal::lvm;
    MD:
        "md", 4096..4608, seal::md;
    TABLE:
        "gpt", 0..1024, seal::gpt;
        "mbr", 0..512, seal::nothing;
    QCOW2:
        "qcow2", 0..0, seal::nothing;
        "qcow2-compressed", 0..0, seal::nothing;
}
