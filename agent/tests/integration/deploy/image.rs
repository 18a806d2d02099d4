//! A small image with everything in it: tables, raw, compressed and zero windows, free ones, a seed.

use pack::{About, Builder, Chunk, Codec, Manifest, Signed, SigningKey, Span};
use protocol::{Expectation, ImageJob, JobId, SEED_BYTES, SEED_OFFSET, Target};

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
        let mut builder = Builder::new(About {
            name: "test".to_owned(),
            arch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
            roles: Vec::new(),
            disk_bytes: DISK,
            seed: Some(Span { offset: SEED_OFFSET, bytes: SEED_BYTES }),
            packages: None,
            layout: pack::Layout::default(),
        });
        let mut data = Vec::new();
        let mut raws = Vec::new();
        // Free: 2 to 9, 66 (the seed), and most of the end.
        for window in [0, 1].into_iter().chain(10..66).chain(67..80).chain([95, 96]) {
            let raw = raw(window, flavour);
            let packed = pack::chunk(window, &raw, 3).unwrap();
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
