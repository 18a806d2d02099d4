//! Partition tables of the PC's first days, with logical partitions.

use crate::inventory::probe::field::{array, is, le32};
use crate::inventory::probe::{Partition, Reader};

const SECTOR: u64 = 512;
const PROTECTIVE: u8 = 0xee;
const LOGICAL_FIRST: u32 = 5;
const LOGICAL_MAX: u32 = 60;

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u8,
    first: u32,
    count: u32,
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// The partitions of a disk with a table of this kind, and the disk's id; `None` when there is none, or only the one
/// that protects a GPT from old tools.
pub(super) fn read(read: &Reader<'_>, bytes: u64) -> Option<(String, Vec<Partition>)> {
    let block = read(0, 512)?;
    let entries = entries(&block)?;
    let is_beyond = |e: &Entry| u64::from(e.first) * SECTOR >= bytes;
    if entries.iter().all(|(_, e)| e.kind == PROTECTIVE) || entries.iter().any(|(_, e)| is_beyond(e)) {
        return None;
    }
    let mut out = Vec::new();
    for (number, entry) in entries {
        out.extend(partition(number, 0, entry, bytes));
        if entry.is_extended() {
            logical(read, bytes, u64::from(entry.first), &mut out);
        }
    }
    let id = le32(&block, 440).filter(|id| *id != 0).map(|id| format!("{id:08x}")).unwrap_or_default();
    if !id.is_empty() {
        // As the kernel and blkid(8) make a PARTUUID of it.
        out.iter_mut().for_each(|partition| partition.uuid = format!("{id}-{:02x}", partition.number));
    }
    Some((id, out))
}

/// The used entries of a table sector; `None` when it does not look like one.
fn entries(block: &[u8]) -> Option<Vec<(u32, Entry)>> {
    if !is(block, 510, &[0x55, 0xaa]) {
        return None;
    }
    let mut out = Vec::new();
    for (number, at) in (1_u32..=4).zip((446..).step_by(16)) {
        let raw = array::<16>(block, at)?;
        let [flag, _, _, _, kind, ..] = raw;
        let (first, count) = (le32(&raw, 8)?, le32(&raw, 12)?);
        // Boot code ends with the same signature: only 0 and 0x80 are flags.
        if flag & 0x7f != 0 {
            return None;
        }
        if kind != 0 && count != 0 {
            out.push((number, Entry { kind, first, count }));
        }
    }
    (!out.is_empty()).then_some(out)
}

/// The chain of tables in an extended partition: each names one partition and the next table.
fn logical(read: &Reader<'_>, bytes: u64, base: u64, out: &mut Vec<Partition>) {
    let mut at = base;
    for number in LOGICAL_FIRST..LOGICAL_FIRST + LOGICAL_MAX {
        let Some(block) = at.checked_mul(SECTOR).and_then(|at| read(at, 512)) else { return };
        let Some(found) = entries(&block) else { return };
        let used = found.iter().find(|(_, e)| !e.is_extended());
        out.extend(used.and_then(|(_, entry)| partition(number, at, *entry, bytes)));
        match found.iter().find(|(_, e)| e.is_extended()) {
            // Only ever further on: a chain that turns back would never end.
            Some((_, next)) if base + u64::from(next.first) > at => at = base + u64::from(next.first),
            Some(_) | None => return,
        }
    }
}

fn partition(number: u32, base: u64, entry: Entry, disk: u64) -> Option<Partition> {
    let offset = (base + u64::from(entry.first)).checked_mul(SECTOR)?;
    let bytes = (u64::from(entry.count) * SECTOR).min(disk.checked_sub(offset)?);
    let kind = format!("{:02x}", entry.kind);
    Some(Partition { number, kind, offset, bytes, ..Partition::default() })
}

#[cfg(test)]
mod tests {
    use super::read;

    const DISK: usize = 1 << 20;

    fn entry(disk: &mut [u8], sector: usize, slot: usize, kind: u8, first: u32, count: u32) {
        let at = sector * 512 + 446 + slot * 16;
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
    }

    fn numbers(disk: &[u8]) -> Option<Vec<(u32, u64, u64)>> {
        let reader = |at: u64, length: usize| {
            let at = usize::try_from(at).ok()?;
            disk.get(at..at.checked_add(length)?).map(<[u8]>::to_vec)
        };
        let (_, found) = read(&reader, disk.len() as u64)?;
        Some(found.into_iter().map(|p| (p.number, p.offset / 512, p.bytes / 512)).collect())
    }

    #[test]
    fn primary_and_logical_partitions() {
        let mut disk = vec![0; DISK];
        entry(&mut disk, 0, 0, 0x83, 64, 100);
        entry(&mut disk, 0, 1, 0x05, 200, 800);
        entry(&mut disk, 200, 0, 0x83, 2, 50);
        entry(&mut disk, 200, 1, 0x05, 100, 100);
        entry(&mut disk, 300, 0, 0x82, 2, 50);
        let want = [(1, 64, 100), (2, 200, 800), (5, 202, 50), (6, 302, 50)];
        assert_eq!(numbers(&disk).unwrap(), want);
    }

    #[test]
    fn what_only_looks_like_a_table() {
        let mut protective = vec![0; DISK];
        entry(&mut protective, 0, 0, 0xee, 1, u32::MAX);
        let mut code = protective.clone();
        code[446] = 0x33;
        let mut empty = vec![0; DISK];
        empty[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut beyond = vec![0; DISK];
        entry(&mut beyond, 0, 0, 0x83, u32::MAX, 1);
        for (what, disk) in [("protective", protective), ("code", code), ("empty", empty), ("beyond", beyond)]
        {
            assert_eq!(numbers(&disk), None, "{what}");
        }
        assert_eq!(numbers(&[]), None);
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends() {
        let mut disk = vec![0; DISK];
        entry(&mut disk, 0, 0, 0x05, 200, 800);
        entry(&mut disk, 200, 0, 0x83, 2, 50);
        entry(&mut disk, 200, 1, 0x05, 0, 100);
        assert_eq!(numbers(&disk).unwrap(), [(1, 200, 800), (5, 202, 50)]);
        entry(&mut disk, 200, 1, 0x05, u32::MAX, u32::MAX);
        assert_eq!(numbers(&disk).unwrap(), [(1, 200, 800), (5, 202, 50)]);
    }
}
