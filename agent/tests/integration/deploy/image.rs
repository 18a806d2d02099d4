//! A small image with everything in it: tables, raw, compressed and zero windows, free ones, a seed.

use pack::{About, Builder, Chunk, Codec, Manifest, Signed, SigningKey, Span};
use protocol::{Expectation, ImageJob, JobId, SEED_BYTES, SEED_OFFSET, Target, Verify};

pub const MIB: u64 = 1 << 20;
/// The image's disk: not a whole number of windows.
pub const DISK: u64 = 96 * MIB + 4096;

pub struct Image {
    pub manifest: Manifest,
    pub signed: Signed,
    pub data: Vec<u8>,
    pub windows: Vec<(Chunk, Vec<u8>)>,
    pub key: SigningKey,
}

impl Image {
    /// `flavour` makes another image of the same shape.
    pub fn new(flavour: u8) -> Self {
        Self::of(flavour, pack::Layout::default(), |window| {
            let raw = raw(window, flavour);
            (pack::chunk(window, &raw, 3).unwrap(), raw)
        })
    }

    /// With a GPT: partitions from 1 to 66, 66 to 67 (the seed) and 67 to 80 MiB.
    pub fn partitioned(flavour: u8) -> Self {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(DISK).unwrap();
        let name = disk.path().to_str().unwrap();
        let parts = ["--new=1:1M:+65M", "--new=2:66M:+1M", "--new=3:67M:+13M", name];
        let made = std::process::Command::new("sgdisk").args(["--clear"]).args(parts).output();
        assert!(made.expect("sgdisk, of the package gdisk").status.success());
        let all = std::fs::read(disk.path()).unwrap();
        let table = pack::table::read(&all, 512).unwrap();
        let parts = table.partitions.iter().map(|one| pack::PartitionId {
            number: one.number,
            kind: one.kind.clone(),
            uuid: one.uuid.clone(),
            name: one.name.clone(),
            offset: one.offset,
            bytes: one.bytes,
        });
        let (partitions, id) = (parts.collect(), pack::TableId { kind: "gpt".to_owned(), id: table.id });
        let layout = pack::Layout { table: Some(id), partitions, ..pack::Layout::default() };
        let used = [0..80 * MIB, DISK - MIB..DISK].into_iter().collect::<pack::Extents>();
        Self::of(flavour, layout, |window| {
            let at = u64::from(window) * MIB;
            let raw = if matches!(window, 0 | 95 | 96) {
                all[usize::try_from(at).unwrap()..].iter().copied().take(1 << 20).collect()
            } else {
                raw(window, flavour)
            };
            let map = pack::BlockMap::scan(&raw, at, &used);
            (pack::pack_window(window, &raw, map, pack::Compression::Zstd(3)).unwrap(), raw)
        })
    }

    fn of(flavour: u8, layout: pack::Layout, window: impl Fn(u32) -> (pack::Packed, Vec<u8>)) -> Self {
        let mut builder = Builder::new(About {
            name: "test".to_owned(),
            arch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
            roles: Vec::new(),
            disk_bytes: DISK,
            seed: Some(Span { offset: SEED_OFFSET, bytes: SEED_BYTES }),
            packages: None,
            layout,
        });
        let mut data = Vec::new();
        let mut raws = Vec::new();
        // Free: 2 to 9, 66 (the seed), and most of the end.
        for number in [0, 1].into_iter().chain(10..66).chain(67..80).chain([95, 96]) {
            let (packed, raw) = window(number);
            builder.push(&packed).unwrap();
            data.extend_from_slice(&packed.stored);
            raws.push(raw);
        }
        let manifest = builder.finish().unwrap();
        let codecs = manifest.chunks().iter().map(|c| c.codec).collect::<Vec<_>>();
        assert!([Codec::Raw, Codec::Zero, Codec::Zstd].iter().all(|c| codecs.contains(c)));
        let key = SigningKey::from_seed(&[flavour; 32]).unwrap();
        let signed = Signed::new(&manifest, &key);
        let windows = manifest.chunks().iter().cloned().zip(raws).collect();
        Self { manifest, signed, data, windows, key }
    }

    pub fn job(&self, disk: &protocol::Disk) -> ImageJob {
        ImageJob {
            job: JobId([5; 8]),
            image: self.manifest.digest(),
            signer: self.key.public(),
            target: Target {
                disk: disk.id().unwrap(),
                model: disk.model.clone(),
                serial: Some(disk.serial.clone()),
                bytes: disk.bytes,
                expect: Expectation::Content { digest: disk.content.unwrap() },
            },
            erase: Vec::new(),
            verify: Verify::default(),
        }
    }

    pub fn total(&self) -> u64 {
        self.windows.iter().map(|(chunk, _)| u64::from(chunk.bytes)).sum()
    }
}

fn raw(window: u32, flavour: u8) -> Vec<u8> {
    let bytes = if window == 96 { 4096 } else { 1 << 20 };
    match window % 4 {
        // Noise does not compress.
        0 => {
            let mut noise = vec![0; bytes];
            blake3::Hasher::new()
                .update(&[flavour])
                .update(&window.to_le_bytes())
                .finalize_xof()
                .fill(&mut noise);
            noise
        }
        1 | 2 => {
            format!("window {window} of {flavour} ").into_bytes().into_iter().cycle().take(bytes).collect()
        }
        _ => vec![0; bytes],
    }
}
