//! What is found on a disk: signatures and partition tables, on disks that a stranger has written.

use agent::inventory::probe::holds;
use protocol::{Holding, Mark, foreign};

use crate::Reached;
use crate::input::{Input, block};

/// The most that is told of one disk.
const HOLDINGS_MAX: usize = protocol::HOLDINGS_MAX;
const SECTOR: usize = 512;
/// The entries' bytes that are made right; larger tables only take longer.
const TABLE: usize = 8 << 10;

/// A disk that is zeros but for a few bytes.
struct Sparse {
    bytes: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    fn read(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        assert!(length <= 1 << 20, "{length} bytes wanted at once");
        let end = at.checked_add(u64::try_from(length).ok()?).filter(|&end| end <= self.bytes)?;
        let mut out = vec![0; length];
        for (from, bytes) in &self.pieces {
            for (place, byte) in (0..).zip(bytes).filter_map(|(n, byte)| Some((from.checked_add(n)?, byte))) {
                let inside = (at..end).contains(&place).then(|| usize::try_from(place - at).ok()).flatten();
                if let Some(to) = inside.and_then(|at| out.get_mut(at)) {
                    *to = *byte;
                }
            }
        }
        Some(out)
    }

    /// Looks at the disk; everything that is told lies on it and can be printed.
    fn look(&self, sector: u32) -> Vec<Holding> {
        let found = holds(&|at, length| self.read(at, length), self.bytes, sector);
        assert!(found.len() <= HOLDINGS_MAX && foreign(&found).len() <= found.len());
        for held in &found {
            assert!(held.bytes.is_none_or(|bytes| bytes <= self.bytes), "{held:?}");
            assert!(held.kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            let clean = !held.label.chars().any(char::is_control);
            assert!(held.label.chars().count() <= 128 && clean, "{held:?}");
            assert!(held.uuid.chars().count() <= 128 && !held.uuid.chars().any(char::is_control), "{held:?}");
            let mark = Mark::exact(held);
            assert!(mark.covers(held) && mark.to_string().parse() == Ok(mark), "{held:?}");
        }
        found
    }
}

/// A disk of any size, with bytes at any places; offsets are shifted so that they meet what formats look at.
pub(crate) fn signatures(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let bytes = input.u64() >> (input.byte() % 64);
    let mut pieces = Vec::new();
    while !input.is_empty() && pieces.len() < 16 {
        let (place, from_end) = (u64::from(input.u32()), input.byte() & 1 == 1);
        let at = if from_end { bytes.saturating_sub(place) } else { place };
        pieces.push((at, input.block().to_vec()));
    }
    Reached::when(!Sparse { bytes, pieces }.look(512).is_empty())
}

/// One disk for each format.
pub(crate) fn signatures_seeds() -> Vec<Vec<u8>> {
    let disk = |pieces: &[(u32, &[u8])]| {
        let mut out = [&(64_u64 << 20).to_le_bytes()[..], &[0]].concat();
        for (at, bytes) in pieces {
            out.extend(at.to_le_bytes());
            out.push(0);
            out.extend(block(bytes));
        }
        out
    };
    let at_end =
        |back: u32, bytes: &[u8]| [disk(&[]), back.to_le_bytes().to_vec(), vec![1], block(bytes)].concat();
    const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0];
    const UBERBLOCK: &[u8] = &[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0];
    let lvm_head = [&b"LABELONE"[..], &[0; 12], &[32, 0, 0, 0], b"LVM2 001"].concat();
    vec![
        disk(&[(1080, &[0x53, 0xef]), (1120, &[0x40]), (1144, b"root\x1b[2J")]),
        disk(&[(0, b"XFSB"), (108, b"data")]),
        disk(&[(65600, b"_BHRfS_M"), (65835, b"pool")]),
        disk(&[(510, &[0x55, 0xaa]), (82, b"FAT32   "), (71, b"EFI        ")]),
        disk(&[(4086, b"SWAPSPACE2"), (1052, b"sw"), (1024, &[0x10, 0x20, 0xf5, 0xf2])]),
        disk(&[(32769, b"CD001"), (32808, b"DEBIAN"), (1 << 20, &[0x0d, 0xd0, 0x01, 0xc0])]),
        disk(&[(0, b"LUKS\xba\xbe\0\x02"), (24, b"secret")]),
        disk(&[(4096, MD), (4128, b"any:1")]),
        at_end(8192, MD),
        at_end(1024, b"Intel Raid ISM Cfg Sig. "),
        disk(&[(0x20000, UBERBLOCK), (0x4200, b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01\0\0\0\x04tank\0\0\0\0")]),
        disk(&[(0, b"bluestore block device\n0d5a")]),
        disk(&[
            (512, &lvm_head),
            (584, &[0, 0, 0x10]),
            (616, &[0, 0x10]),
            (4100, b" LVM2 x[5A%r0N*>"),
            (4136, &[0, 2]),
            (4608, b"vg_data-1 {\nid = \"x\""),
        ]),
    ]
}

/// A GPT whose checksums are right, so that what they cover is read: header fields and entries are the input's.
pub(crate) fn gpt(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let (choice, sectors) = (input.byte(), u64::from(u16::from_le_bytes(input.array())));
    let sector: usize = if choice & 1 == 0 { SECTOR } else { 8 * SECTOR };
    let (first, count, size) = (input.u64(), input.u32(), input.u32());
    let (header_bytes, entries) = (input.u32(), input.rest());
    let bytes = sectors * u64::try_from(sector).unwrap_or(0);
    let length = usize::try_from(u64::from(count) * u64::from(size)).unwrap_or(usize::MAX);
    let mut table = entries.to_vec();
    table.resize(length.min(TABLE), 0);
    let mut header = [b"EFI PART".as_slice(), &[0, 0, 1, 0], &header_bytes.to_le_bytes()].concat();
    header.resize(72, 0);
    header.extend(first.to_le_bytes());
    header.extend(count.to_le_bytes());
    header.extend(size.to_le_bytes());
    header.extend(crc32(&table).to_le_bytes());
    header.resize(SECTOR, 0);
    let summed = usize::try_from(header_bytes).unwrap_or(SECTOR).min(SECTOR);
    let sum = crc32(header.get(..summed).unwrap_or_default()).to_le_bytes();
    header.splice(16..20, sum);
    let sector_bytes = u64::try_from(sector).unwrap_or(0);
    let second = choice & 2 == 2;
    let at = if second { bytes.saturating_sub(sector_bytes) } else { sector_bytes };
    let pieces = vec![(at, header), (first.saturating_mul(sector_bytes), table)];
    let told = if choice & 4 == 0 { 512 } else { 4096 };
    let found = Sparse { bytes, pieces }.look(told);
    Reached::when(found.iter().any(|held| held.kind == "gpt"))
}

/// CRC-32 (ISO 3309), by a table that is not the agent's loop.
fn crc32(bytes: &[u8]) -> u32 {
    let entry = |n: u32| (0..8).fold(n, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
    !bytes.iter().fold(u32::MAX, |crc, byte| entry((crc ^ u32::from(*byte)) & 0xff) ^ (crc >> 8))
}

/// One partition; one per entry size; the table at the end; partitions beyond all numbers.
pub(crate) fn gpt_seeds() -> Vec<Vec<u8>> {
    let entry = |first: u64, last: u64| {
        let mut out = vec![7; 32];
        out.extend(first.to_le_bytes());
        out.extend(last.to_le_bytes());
        out.extend([0; 8]);
        out.extend("rackwright-root".encode_utf16().flat_map(u16::to_le_bytes));
        out.resize(128, 0);
        out
    };
    let disk = |choice: u8, at: u64, count: u32, size: u32, entries: &[u8]| {
        let mut out = vec![choice];
        out.extend(4096_u16.to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(92_u32.to_le_bytes());
        out.extend_from_slice(entries);
        out
    };
    let two = [entry(64, 127), entry(2048, 4095)].concat();
    let wild =
        [entry(u64::MAX, u64::MAX), entry(0, u64::MAX), entry(9, 8), entry(u64::MAX >> 9, u64::MAX >> 8)];
    vec![
        disk(0, 2, 4, 128, &two),
        disk(1, 2, 4, 128, &two),
        disk(2, 2, 8, 128, &two),
        disk(4, 2, 4, 256, &two),
        disk(0, 2, 8, 128, &wild.concat()),
        disk(0, u64::MAX, u32::MAX, 4096, &two),
    ]
}

/// An old table and its chain of logical ones: entries of up to eight sectors are the input's.
pub(crate) fn mbr(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let bytes = u64::from(input.u32()) * 512;
    let mut pieces = Vec::new();
    while !input.is_empty() && pieces.len() < 8 {
        let place = if pieces.is_empty() { 0 } else { u64::from(input.u32()) };
        let mut table = input.take(64).to_vec();
        table.resize(64, 0);
        table.extend([0x55, 0xaa]);
        pieces.push((place * 512 + 446, table));
    }
    let found = Sparse { bytes, pieces }.look(512);
    Reached::when(found.iter().any(|held| held.kind == "mbr"))
}

/// Primary and logical partitions; a chain that bites its tail; entries at the end of all numbers; a protective one.
pub(crate) fn mbr_seeds() -> Vec<Vec<u8>> {
    let entry = |kind: u8, first: u32, count: u32| {
        [&[0, 0, 0, 0, kind, 0, 0, 0][..], &first.to_le_bytes(), &count.to_le_bytes()].concat()
    };
    let table = |entries: &[Vec<u8>]| {
        let mut out = entries.concat();
        out.resize(64, 0);
        out
    };
    let sector = |at: u32, entries: &[Vec<u8>]| [at.to_le_bytes().to_vec(), table(entries)].concat();
    let size = 4096_u32.to_le_bytes().to_vec();
    let main = table(&[entry(0x83, 64, 100), entry(0x05, 200, 800)]);
    let chain = sector(200, &[entry(0x83, 2, 50), entry(0x05, 100, 100)]);
    let last = sector(300, &[entry(0x82, 2, 50)]);
    let tail = sector(200, &[entry(0x83, 2, 50), entry(0x0f, 0, 100)]);
    let wild = sector(200, &[entry(0x83, u32::MAX, u32::MAX), entry(0x85, u32::MAX, u32::MAX)]);
    vec![
        [size.clone(), main.clone(), chain, last].concat(),
        [size.clone(), main.clone(), tail].concat(),
        [size.clone(), main, wild].concat(),
        [size, table(&[entry(0xee, 1, u32::MAX)])].concat(),
    ]
}
