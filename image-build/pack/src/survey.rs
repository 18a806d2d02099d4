//! A whole disk: its partition table, the volumes in it, and which of its bytes an image must have.

use std::io;

use crate::table::{self, Kind, NoTable, Partition, Table};
use crate::volume::{self, Volume};
use crate::{Extents, Layout, Part, PartitionId, Source, Span, TableId, VolumeId, WINDOW};

/// The first MiB belongs to whatever boots the disk, and the last to what describes it from its end: the backup GPT,
/// metadata of firmware RAID and of md.
const EDGE: u64 = 1 << 20;
/// Boot code between the table and the first partition: GRUB's core.img of a BIOS system on an MBR disk, U-Boot of a board
/// (at 8 MiB in the largest layout known). Who begins the first partition later than this left the room free.
const EMBEDDING_MAX: u64 = 16 << 20;
/// Type of the partition where the agent writes what the installed node enrols with: a secret of one node.
const SEED: &str = "52415754-5345-4544-8000-000000000001";
/// Types whose partitions hold code or a table of their own at their start, whatever it may look like: BIOS boot, PReP
/// boot, labels of the BSDs and of Solaris.
const OPAQUE: &[&str] = &[
    "21686148-6449-6e6f-744e-656564454649",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b",
    "516e7cb4-6ecf-11d6-8ff8-00022d09712b",
    "0x41",
    "0xa5",
    "0xa6",
    "0xa9",
    "0xbf",
];

/// As many partitions and volumes as a manifest lists.
const LISTED_MAX: usize = 256;

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of the disk's sectors, as they were given.
    pub sector_bytes: u32,
    /// The partition table, if there is one that makes sense.
    pub table: Option<Table>,
    /// Why the table that is there can't be relied upon: the disk is then one raw volume, used as a whole.
    pub damage: Option<String>,
    /// The volumes in order of their place.
    pub volumes: Vec<Placed>,
    /// Every byte that an image must have: volumes, tables, boot code.
    pub used: Extents,
    /// The seed partition, which is never used: the first, should there be several.
    pub seed: Option<Span>,
}

/// A volume on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The partition's number; 0 for a disk without partitions.
    pub partition: u32,
    /// First byte, counted from the start of the disk.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is; its `used` is counted from its own start.
    pub volume: Volume,
}

impl Survey {
    /// How many windows have something used in them: as many chunks an image of this disk has.
    #[must_use]
    pub fn windows(&self) -> u64 {
        let window = u64::from(WINDOW);
        let (mut count, mut next) = (0, 0);
        for range in self.used.iter() {
            let (first, end) = ((range.start / window).max(next), range.end.div_ceil(window));
            count += end.saturating_sub(first);
            next = next.max(end);
        }
        count
    }

    /// The place that an image leaves free for the agent's seed: the seed partition, if it has its windows for itself. One
    /// that shares a window with something else can't be told to the agent.
    #[must_use]
    pub fn seed_place(&self) -> Option<Span> {
        let window = u64::from(WINDOW);
        let has_whole = |seed: &Span| seed.offset.is_multiple_of(window) && seed.bytes.is_multiple_of(window);
        self.seed.filter(has_whole)
    }

    /// What a manifest tells of the disk. A list that is longer than a manifest's is cut off.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let table = self.table.as_ref().map(|table| {
            let kind = match table.kind {
                Kind::Gpt => "gpt",
                Kind::Mbr => "mbr",
            };
            TableId { kind: kind.to_owned(), id: table.id.clone() }
        });
        let partitions = self.table.iter().flat_map(|table| &table.partitions).take(LISTED_MAX);
        let mut volumes = Vec::new();
        self.volumes.iter().for_each(|one| list(&one.volume, one.offset, one.bytes, &mut volumes));
        volumes.truncate(LISTED_MAX);
        let partitions = partitions.map(|one| PartitionId {
            number: one.number,
            kind: one.kind.clone(),
            uuid: one.uuid.clone(),
            name: one.name.clone(),
            offset: one.offset,
            bytes: one.bytes,
        });
        Layout { sector_bytes: self.sector_bytes, table, partitions: partitions.collect(), volumes }
    }
}

/// Lists a volume and what is inside; all of them lie where the outer one does. Volumes lie at most three deep.
fn list(volume: &Volume, offset: u64, bytes: u64, to: &mut Vec<VolumeId>) {
    to.push(VolumeId {
        kind: volume.kind.to_owned(),
        uuid: volume.uuid.clone(),
        label: volume.label.clone(),
        offset,
        bytes,
        used_bytes: volume.used.bytes(),
    });
    volume.inside.iter().for_each(|inner| list(&inner.volume, offset, inner.bytes, to));
}

/// Looks at a disk with sectors of so many bytes.
///
/// # Errors
/// When the disk can't be read. What is on it is never an error.
pub fn survey(source: &dyn Source, sector_bytes: u32) -> io::Result<Survey> {
    match table::read(source, sector_bytes) {
        // The two bytes that end an MBR also end boot sectors of other things: without a partition it is none.
        Ok(table) if table.kind == Kind::Mbr && table.partitions.is_empty() => {
            Ok(bare(source, sector_bytes, volume::read(source)?, None))
        }
        Ok(table) => partitioned(source, table),
        Err(NoTable::Absent) => Ok(bare(source, sector_bytes, volume::read(source)?, None)),
        Err(NoTable::Io(error)) => Err(error),
        Err(why @ (NoTable::SectorBytes { .. } | NoTable::Senseless(_))) => {
            let why = why.to_string();
            Ok(bare(source, sector_bytes, Volume::raw(source.bytes(), Some(why.clone())), Some(why)))
        }
    }
}

/// A disk without a table that could be read: one volume.
fn bare(source: &dyn Source, sector_bytes: u32, volume: Volume, damage: Option<String>) -> Survey {
    let mut used = edges(source.bytes());
    volume.used.within(0..source.bytes()).for_each(|range| used.add(range));
    let volumes = vec![Placed { partition: 0, offset: 0, bytes: source.bytes(), volume }];
    Survey { sector_bytes, table: None, damage, volumes, used, seed: None }
}

fn partitioned(source: &dyn Source, table: Table) -> io::Result<Survey> {
    let mut volumes = Vec::new();
    let mut used = edges(source.bytes());
    let mut partitions = table.partitions.iter().filter(|one| !one.is_extended()).collect::<Vec<_>>();
    partitions.sort_by_key(|partition| partition.offset);
    let first = table.partitions.iter().map(|partition| partition.offset).min().unwrap_or(source.bytes());
    used.add(0..first.min(EMBEDDING_MAX));
    for partition in partitions.iter().filter(|partition| !is_seed(partition)) {
        let volume = look(source, partition)?;
        let inside = volume.used.within(0..partition.bytes);
        inside.for_each(|range| used.add(partition.offset + range.start..partition.offset + range.end));
        let (offset, bytes) = (partition.offset, partition.bytes);
        volumes.push(Placed { partition: partition.number, offset, bytes, volume });
    }
    // One node's secret must not travel to the others, wherever the partition lies.
    let seeds = || partitions.iter().filter(|partition| is_seed(partition));
    seeds().for_each(|seed| used.remove(seed.offset..seed.end()));
    let seed = seeds().next().map(|seed| Span { offset: seed.offset, bytes: seed.bytes });
    used.add_all(&table.metadata, 0);
    let sector_bytes = table.sector_bytes;
    Ok(Survey { sector_bytes, table: Some(table), damage: None, volumes, used, seed })
}

fn look(source: &dyn Source, partition: &Partition) -> io::Result<Volume> {
    if OPAQUE.contains(&partition.kind.as_str()) {
        return Ok(Volume::raw(partition.bytes, None));
    }
    let part = Part::new(source, partition.offset, partition.bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
    volume::read(&part)
}

fn is_seed(partition: &Partition) -> bool {
    partition.kind == SEED
}

fn edges(bytes: u64) -> Extents {
    [0..EDGE.min(bytes), bytes.saturating_sub(EDGE)..bytes].into_iter().collect()
}
