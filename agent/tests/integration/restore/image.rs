//! Image files of any size that take little room.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pack::{
    About, BlockMap, Builder, Capture, Compression, Digest, Extents, Header, Layout, Manifest, Packed,
    PublicKey, Signed, SigningKey, Source, pack_window,
};

pub const MIB: u64 = 1 << 20;
/// Used bytes of a window.
const SLICE: usize = 64 << 10;

/// An image of windows of which only a slice is used.
#[derive(Clone)]
pub struct Slices {
    pub windows: u32,
    /// Windows whose content is another.
    pub changed: BTreeSet<u32>,
}

/// An image in a file.
pub struct ImageFile {
    pub path: PathBuf,
    pub key: PublicKey,
    pub root: Digest,
    pub manifest: Manifest,
}

impl Slices {
    pub fn new(windows: u32) -> Self {
        Self { windows, changed: BTreeSet::new() }
    }

    pub fn bytes(&self) -> u64 {
        u64::from(self.windows) * MIB
    }

    /// Writes the image file. Every window compresses to about the same.
    pub fn file(&self, path: &Path, key: u8) -> ImageFile {
        let windows = (0..self.windows).map(|window| {
            let mut raw = vec![0; 1 << 20];
            let salt = u32::from(self.changed.contains(&window));
            // Not the same place in every window; the last one's slice ends with the disk.
            let at = if window == 0 { 0 } else { ((window as usize % 16) << 16).max(SLICE) };
            let at = if window + 1 == self.windows { raw.len() - SLICE } else { at };
            let slice = &mut raw[at..at + SLICE];
            let mut hasher = blake3::Hasher::new();
            hasher.update(&window.to_le_bytes()).update(&salt.to_le_bytes());
            hasher.finalize_xof().fill(&mut slice[..SLICE / 2]);
            slice[SLICE / 2..].fill(b'x');
            let offset = u64::from(window) * MIB;
            let used = std::iter::once(offset + at as u64..offset + (at + SLICE) as u64).collect::<Extents>();
            pack_window(window, &raw, BlockMap::scan(&raw, offset, &used), Compression::Zstd(1)).unwrap()
        });
        write(path, key, "slices", self.bytes(), Layout::default(), windows)
    }

    /// Bytes of disk and stored bytes of the windows that are changed.
    pub fn changed_bytes(&self, image: &ImageFile) -> (u64, u64) {
        let chunks = self.changed.iter().map(|window| image.manifest.chunk(*window).unwrap());
        chunks.fold((0, 0), |(bytes, stored), chunk| {
            (bytes + u64::from(chunk.used_bytes()), stored + u64::from(chunk.stored))
        })
    }
}

/// Captures a disk into an image file.
pub fn capture(source: &dyn Source, path: &Path) -> ImageFile {
    let survey = pack::survey(source, 512).unwrap();
    let mut windows = Vec::new();
    let capture = Capture { source, used: &survey.used, compression: Compression::Zstd(3), threads: 2 };
    capture
        .run::<std::io::Error>(|packed| {
            windows.push(packed);
            Ok(())
        })
        .unwrap();
    write(path, 1, "captured", source.bytes(), survey.layout(), windows)
}

fn write(
    path: &Path,
    key: u8,
    name: &str,
    disk_bytes: u64,
    layout: Layout,
    windows: impl IntoIterator<Item = Packed>,
) -> ImageFile {
    let (arch, roles) = ("amd64".to_owned(), Vec::new());
    let (seed, packages) = (None, None);
    let mut builder =
        Builder::new(About { name: name.to_owned(), arch, roles, disk_bytes, seed, packages, layout });
    let mut data = Vec::new();
    for packed in windows {
        builder.push(&packed).unwrap();
        data.extend_from_slice(&packed.stored);
    }
    let manifest = builder.finish().unwrap();
    let key = SigningKey::from_seed(&[key; 32]).unwrap();
    let header = Header { signed: Signed::new(&manifest, &key) };
    fs::write(path, [header.encode(), data].concat()).unwrap();
    ImageFile { path: path.to_owned(), key: key.public(), root: manifest.root(), manifest }
}

impl ImageFile {
    /// Every window of the image is on the disk whose file this is.
    pub fn assert_on(&self, disk: &Path) {
        let disk = File::open(disk).unwrap();
        for chunk in self.manifest.chunks() {
            let mut raw = vec![0; chunk.bytes as usize];
            disk.read_exact_at(&mut raw, chunk.disk_offset()).unwrap();
            assert!(chunk.matches(&raw), "window {} is not the image's", chunk.window);
        }
    }
}
