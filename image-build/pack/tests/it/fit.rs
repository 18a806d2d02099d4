//! Images on disks of another size: every byte has its place, and only the right disk is taken for the image.

use std::collections::BTreeMap;
use std::ops::Range;

use pack::table::{self, Unfit, refit};
use pack::{
    About, Block, Builder, Capture, Chunk, Compression, Extents, Fit, Manifest, Packed, Source, WINDOW,
    survey,
};
use proptest::prelude::*;

use crate::lab::{Disk, Loop, MIB, run};
use crate::table::crc32;

const MIB_USIZE: usize = WINDOW as usize;
/// What lies on a disk before.
const DIRT: u8 = 0xa5;

/// A GPT disk as it is to be made.
#[derive(Debug, Clone)]
struct Shape {
    sector: u32,
    /// Of the disk.
    sectors: u64,
    /// Entries of the table.
    count: u32,
    /// First sector and length of each partition, ascending.
    parts: Vec<(u64, u64)>,
    salt: u64,
}

impl Shape {
    fn entries_sectors(&self) -> u64 {
        (u64::from(self.count) * 128).div_ceil(u64::from(self.sector))
    }

    fn last_usable(&self) -> u64 {
        self.sectors - 2 - self.entries_sectors()
    }

    fn make(&self) -> Vec<u8> {
        let sector = self.sector as usize;
        let mut raw = vec![0; size(self.sectors) * sector];
        let mut entries = vec![0; self.count as usize * 128];
        let mut noise = Noise(self.salt | 1);
        for ((first, length), entry) in self.parts.iter().zip(entries.chunks_exact_mut(128)) {
            entry[..16].fill(7);
            noise.fill(&mut entry[16..32]);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&(first + length - 1).to_le_bytes());
            let range = size(*first) * sector..size(first + length) * sector;
            noise.blocks(&mut raw[range]);
        }
        // Leftovers in the last MiB belong to the image too.
        let end = self.parts.iter().map(|(first, length)| size(first + length) * sector).max().unwrap();
        let edge = raw.len().saturating_sub(MIB_USIZE).max(end);
        noise.blocks(&mut raw[edge..]);
        let places = [(1, self.sectors - 1, 2), (self.sectors - 1, 1, self.last_usable() + 1)];
        for (this, other, at) in places {
            let place = size(at) * sector;
            raw[place..place + size(self.entries_sectors()) * sector].fill(0);
            raw[place..place + entries.len()].copy_from_slice(&entries);
            let header = &mut raw[size(this) * sector..][..sector];
            header.fill(0);
            self.header(header, &entries, [this, other, at]);
        }
        let size = u32::try_from(self.sectors - 1).unwrap();
        raw[446..462].copy_from_slice(
            &[[0, 0, 2, 0, 0xee, 255, 255, 255, 1, 0, 0, 0].as_slice(), &size.to_le_bytes()].concat(),
        );
        raw[510..512].copy_from_slice(&[0x55, 0xaa]);
        raw
    }

    fn header(&self, header: &mut [u8], entries: &[u8], [this, other, at]: [u64; 3]) {
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        let first_usable = 2 + self.entries_sectors();
        for (place, value) in
            [(24, this), (32, other), (40, first_usable), (48, self.last_usable()), (72, at)]
        {
            header[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].fill(9);
        for (place, value) in [(80, self.count), (84, 128), (88, crc32(entries))] {
            header[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Bytes that do not repeat (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, place: &mut [u8]) {
        place.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]));
    }

    /// Some data, some zeros.
    fn blocks(&mut self, place: &mut [u8]) {
        for block in place.chunks_mut(4096) {
            match self.next() % 3 {
                0 => block.fill(0),
                _ => self.fill(block),
            }
        }
    }
}

/// An image in memory.
struct Image {
    manifest: Manifest,
    windows: BTreeMap<u32, Packed>,
}

impl Image {
    /// Of a disk, and of what lies on it besides.
    fn of(source: &dyn Source, sector: u32, besides: Range<u64>) -> Image {
        let found = survey(source, sector).unwrap();
        let mut used = found.used.clone();
        used.add(besides);
        let capture = Capture { source, used: &used, compression: Compression::None, threads: 1 };
        let mut windows = BTreeMap::new();
        let kept = capture.run::<std::io::Error>(|packed| {
            windows.insert(packed.window, packed);
            Ok(())
        });
        kept.unwrap();
        let mut builder = Builder::new(About {
            name: "fit".to_owned(),
            arch: "amd64".to_owned(),
            roles: Vec::new(),
            disk_bytes: source.bytes(),
            seed: None,
            packages: None,
            layout: found.layout(),
        });
        for packed in windows.values() {
            builder.push(packed).unwrap();
        }
        Image { manifest: builder.finish().unwrap(), windows }
    }

    fn window(&self, chunk: &Chunk) -> Vec<u8> {
        let mut raw = vec![0; chunk.bytes as usize];
        chunk.unpack(&self.windows[&chunk.window].stored, &mut raw).unwrap();
        raw
    }

    fn fit(&self, disk_bytes: u64) -> Result<Fit, Unfit> {
        let needs = Fit::needs(&self.manifest, disk_bytes);
        let known =
            needs.into_iter().map(|window| (window, self.window(self.manifest.chunk(window).unwrap())));
        Fit::new(&self.manifest, disk_bytes, &known.collect())
    }

    /// As the agent does it.
    fn write(&self, fit: &Fit, disk: &mut [u8], (gap, zeros): (u32, u32)) {
        for chunk in self.manifest.chunks() {
            let mut raw = self.window(chunk);
            fit.exchange(chunk.window, &mut raw);
            for stretch in fit.writes(chunk, gap, zeros) {
                let to = range(stretch.disk, stretch.buffer.len());
                match stretch.kind {
                    Block::Zero => disk[to].fill(0),
                    Block::Data | Block::Free => disk[to].copy_from_slice(&raw[stretch.buffer]),
                }
            }
        }
    }

    /// The windows that are not on the disk.
    fn missing(&self, fit: &Fit, disk: &[u8], gap: u32) -> Vec<u32> {
        let is_missing = |chunk: &&Chunk| {
            let mut raw = vec![DIRT; chunk.bytes as usize];
            for stretch in fit.writes(chunk, gap, u32::MAX) {
                raw[stretch.buffer.clone()].copy_from_slice(&disk[range(stretch.disk, stretch.buffer.len())]);
            }
            fit.exchange(chunk.window, &mut raw);
            !chunk.matches(&raw)
        };
        self.manifest.chunks().iter().filter(is_missing).map(|chunk| chunk.window).collect()
    }

    /// The bytes of the disk that the image determines. No two of the image's lie at one place.
    fn places(&self, fit: &Fit) -> Extents {
        let chunks = self.manifest.chunks().iter();
        let stretches = chunks.flat_map(|chunk| fit.writes(chunk, 0, u32::MAX)).collect::<Vec<_>>();
        let places = stretches.iter().map(|one| one.disk..one.disk + one.buffer.len() as u64);
        let places = places.collect::<Extents>();
        assert_eq!(places.bytes(), stretches.iter().map(|one| one.buffer.len() as u64).sum::<u64>());
        places
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn range(at: u64, bytes: usize) -> Range<usize> {
    let at = size(at);
    at..at + bytes
}

/// Disks of 3 to 8 MiB, with up to four partitions of any place and size.
fn shapes() -> impl Strategy<Value = Shape> {
    let lengths = prop::collection::vec((0_u64..600, 1_u64..2500), 1..5);
    let sector = prop_oneof![Just(512_u32), Just(4096)];
    (
        sector,
        0_u64..(5 * MIB / 512),
        prop_oneof![Just(128_u32), Just(4), Just(1000)],
        lengths,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(sector, more, count, lengths, to_the_end, salt)| {
            let sectors = 3 * MIB / u64::from(sector) + more / u64::from(sector / 512);
            let mut shape = Shape { sector, sectors, count, parts: Vec::new(), salt };
            let mut next = 2 + shape.entries_sectors();
            for (gap, length) in lengths {
                let (gap, length) = (gap / u64::from(sector / 512), length / u64::from(sector / 512) + 1);
                if next + gap + length > shape.last_usable() + 1 {
                    break;
                }
                shape.parts.push((next + gap, length));
                next += gap + length;
            }
            if let Some((first, length)) = shape.parts.pop() {
                let all = shape.last_usable() + 1 - first;
                shape.parts.push((first, if to_the_end { all } else { length }));
            } else {
                shape.parts.push((next, 1));
            }
            shape
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fitted_disk_is_the_image_and_no_other_is(
        shape in shapes(),
        new in (0_u64..12 * MIB),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 5),
        how in prop::sample::select(vec![(0_u32, u32::MAX), (64 << 10, 128 << 10), (4096, 4096)]),
    ) {
        let original = shape.make();
        let image = Image::of(&original, shape.sector, 0..0);
        let sector = u64::from(shape.sector);
        let (old, new) = (original.len() as u64, new - new % sector);
        let least = image.manifest.layout().least_bytes(old);
        prop_assert!(least <= old && least.is_multiple_of(sector));
        let fit = match image.fit(new) {
            Ok(fit) => fit,
            Err(error) => {
                prop_assert_eq!(error, Unfit::Small { need: least, have: new });
                prop_assert!(new < least);
                return Ok(());
            }
        };
        prop_assert!(new >= least);
        let mut disk = vec![DIRT; size(new)];
        image.write(&fit, &mut disk, how);
        prop_assert_eq!(image.missing(&fit, &disk, how.0), Vec::<u32>::new());
        // It is the disk that the table's own words describe.
        let (was, found) = (table::read(&original, shape.sector).unwrap(), table::read(&disk, shape.sector).unwrap());
        prop_assert_eq!((&found.damage, &found.partitions), (&Vec::new(), &was.partitions));
        for part in &was.partitions {
            let part = range(part.offset, size(part.bytes));
            prop_assert!(disk[part.clone()] == original[part]);
        }
        if old != new {
            let fitted = refit(&original[..MIB_USIZE], old, new, shape.sector).unwrap();
            let head = 2 * size(sector);
            prop_assert_eq!(&disk[..head], &fitted.first[..head]);
            prop_assert_eq!(&disk[range(fitted.at, fitted.last.len())], &fitted.last);
        }
        // Every place counts, and is a whole number of sectors.
        let places = image.places(&fit);
        let all = places.iter().flat_map(Iterator::collect::<Vec<u64>>).collect::<Vec<_>>();
        prop_assert!(places.iter().all(|place| place.start.is_multiple_of(sector) && place.end.is_multiple_of(sector)));
        let ends = [0, sector + 24, new - sector, new - sector + 72, new - 2 * sector];
        let chosen = flips.iter().map(|(at, bit)| (all[at.index(all.len())], *bit)).chain(ends.map(|at| (at, 3)));
        for (at, bit) in chosen {
            disk[size(at)] ^= 1 << bit;
            prop_assert_eq!(image.missing(&fit, &disk, how.0).len(), 1, "byte {}", at);
            disk[size(at)] ^= 1 << bit;
        }
        // What zeros at the end take with them is known.
        let edge = disk.len().saturating_sub(MIB_USIZE);
        disk[edge..].fill(0);
        let last = image.manifest.chunks().last().unwrap().window;
        let lost = image.missing(&fit, &disk, how.0);
        prop_assert!(lost.contains(&last));
        prop_assert!(lost.iter().all(|window| *window == 0 || *window == last || *window >= fit.lost_from()), "{:?}", lost);
        // So do they where an older image's end was.
        prop_assert!(places.within(fit.vacated()).all(|range| range.is_empty()));
    }

    /// A disk with the image as it is (as a smaller program wrote it) is not the image.
    #[test]
    fn an_unfitted_disk_is_told_apart(shape in shapes(), more in 1_u64..2000) {
        let original = shape.make();
        let image = Image::of(&original, shape.sector, 0..0);
        let new = original.len() as u64 + more * u64::from(shape.sector);
        let fit = image.fit(new).unwrap();
        let mut disk = original.clone();
        disk.resize(size(new), 0);
        let missing = image.missing(&fit, &disk, 0);
        prop_assert!(missing.contains(&0), "{:?}", missing);
        let mut raw = image.window(&image.manifest.chunks()[0]);
        let before = raw.clone();
        fit.exchange(0, &mut raw);
        prop_assert_ne!(&raw, &before);
        fit.exchange(0, &mut raw);
        prop_assert_eq!(raw, before);
    }
}

const GPT: &str = "label: gpt\nsize=4MiB\nstart=8MiB, size=6MiB\n";

fn partitioned(bytes: u64, sector: u32, script: &str) -> Disk {
    let disk = Disk::new(bytes);
    disk.partition(sector, script);
    disk.write(9 * MIB, b"some content");
    disk
}

fn written(image: &Image, disk_bytes: u64) -> (Fit, Disk) {
    let fit = image.fit(disk_bytes).unwrap();
    let mut raw = vec![DIRT; size(disk_bytes)];
    image.write(&fit, &mut raw, (0, u32::MAX));
    (fit, Disk::of(&raw))
}

#[test]
fn sgdisk_and_sfdisk_have_no_complaints() {
    for sector in [512, 4096] {
        let image = Image::of(&partitioned(32 * MIB, sector, GPT), sector, 0..0);
        for new in [15 * MIB, 20 * MIB - 4096, 32 * MIB, 32 * MIB + 4096, 33 * MIB, 40 * MIB + 12288] {
            let (_, disk) = written(&image, new);
            let device = Loop::of_sectors(disk.path(), sector);
            let told = run("sgdisk", &["-v", device.name()]);
            assert!(told.contains("No problems found"), "{new}: {told}");
            let told = run("sfdisk", &["--verify", device.name()]);
            assert!(told.contains("No errors detected"), "{new}: {told}");
        }
        assert_eq!(image.fit(15 * MIB - 4096), Err(Unfit::Small { need: 15 * MIB, have: 15 * MIB - 4096 }));
    }
}

#[test]
fn a_backup_that_the_image_lacks_is_made() {
    let disk = partitioned(32 * MIB, 512, GPT);
    disk.write(32 * MIB - 512, &[0; 512]);
    let image = Image::of(&disk, 512, 0..0);
    for new in [20 * MIB, 48 * MIB] {
        let (_, disk) = written(&image, new);
        assert_eq!(table::read(&disk, 512).unwrap().damage, Vec::<String>::new());
    }
    // Of the same size it stays as it was.
    let (fit, disk) = written(&image, 32 * MIB);
    assert!(fit.is_plain() && table::read(&disk, 512).unwrap().damage.len() == 1);
}

#[test]
fn a_primary_that_is_no_good_is_refused_in_any_other_size() {
    let disk = partitioned(32 * MIB, 512, GPT);
    disk.write(512 + 60, &[0xff]);
    let image = Image::of(&disk, 512, 0..0);
    for new in [20 * MIB, 48 * MIB] {
        assert!(matches!(image.fit(new), Err(Unfit::Table(_))));
    }
    assert!(image.fit(32 * MIB).unwrap().is_plain());
}

#[test]
fn data_beyond_the_partitions_is_not_cut_off() {
    let disk = partitioned(32 * MIB, 512, GPT);
    disk.write(20 * MIB, b"somebody's");
    let image = Image::of(&disk, 512, 20 * MIB..20 * MIB + 4096);
    assert_eq!(image.fit(20 * MIB), Err(Unfit::Stray { at: 20 * MIB }));
    assert_eq!(image.fit(21 * MIB), Err(Unfit::Stray { at: 20 * MIB }));
    let (_, smaller) = written(&image, 21 * MIB + 4096);
    assert_eq!(smaller.read(20 * MIB, 10), b"somebody's");
    let (fit, larger) = written(&image, 40 * MIB);
    assert_eq!(larger.read(20 * MIB, 10), b"somebody's");
    assert_eq!(fit.vacated(), 31 * MIB..32 * MIB);
}

#[test]
fn an_mbr_stays_as_it_is_and_is_not_cut() {
    let disk =
        partitioned(32 * MIB, 512, "label: dos\nsize=4MiB\nsize=10MiB, type=5\nsize=3MiB\nsize=4MiB\n");
    disk.write(32 * MIB - 512, b"at the end");
    let image = Image::of(&disk, 512, 0..0);
    let ends = table::read(&disk, 512).unwrap().partitions.iter().map(table::Partition::end).max().unwrap();
    let least = image.manifest.layout().least_bytes(32 * MIB);
    assert_eq!(least, ends + MIB);
    assert_eq!(image.fit(least - 512), Err(Unfit::Small { need: least, have: least - 512 }));
    let (fit, smaller) = written(&image, least);
    assert_eq!(image.missing(&fit, &smaller.load(), 0), Vec::<u32>::new());
    assert_eq!(table::read(&smaller, 512).unwrap().partitions, table::read(&disk, 512).unwrap().partitions);
    assert_eq!(smaller.read(least - 512, 10), b"at the end");
    let (fit, larger) = written(&image, 40 * MIB);
    assert!(fit.is_plain() && fit.vacated().is_empty() && fit.lost_from() == u32::MAX);
    assert_eq!(image.missing(&fit, &larger.load(), 0), Vec::<u32>::new());
    assert_eq!(
        (larger.read(0, 512), larger.read(32 * MIB - 512, 10)),
        (disk.read(0, 512), b"at the end".to_vec())
    );
}

#[test]
fn a_disk_without_a_table_needs_its_own_size() {
    let disk = Disk::made(32 * MIB, "mkfs.ext4", &["-q"]);
    let image = Image::of(&disk, 512, 0..0);
    assert_eq!(image.manifest.layout().least_bytes(32 * MIB), 32 * MIB);
    assert_eq!(image.fit(32 * MIB - 512), Err(Unfit::Small { need: 32 * MIB, have: 32 * MIB - 512 }));
    assert!(image.fit(40 * MIB).unwrap().is_plain());
    // Zeros at the end of a disk that is hardly larger lie over the image's last two windows.
    assert_eq!(image.fit(32 * MIB + 512).unwrap().lost_from(), 31);
    let odd = Image::of(&Disk::new(8 * MIB + 512), 512, 0..0);
    assert_eq!(odd.fit(8 * MIB + 512).unwrap().lost_from(), 7);
}
