//! An image for tests.

use std::sync::Arc;

use bytes::Bytes;
use pack::{About, BlockMap, Builder, Compression, Extents, Layout, Manifest, WINDOW, pack_window};

/// Used bytes of a window: noise, stored as it is.
pub(super) const USED: usize = 16 << 10;

/// An image of windows that are all different.
pub(super) struct Image {
    pub(super) manifest: Arc<Manifest>,
    pub(super) data: Bytes,
}

impl Image {
    pub(super) fn new(windows: u32) -> Self {
        let about = About {
            name: "image".into(),
            arch: "amd64".into(),
            roles: Vec::new(),
            disk_bytes: u64::from(windows) * u64::from(WINDOW),
            seed: None,
            packages: None,
            layout: Layout::default(),
        };
        let (mut builder, mut data) = (Builder::new(about), Vec::new());
        for window in 0..windows {
            let mut raw = vec![0; WINDOW as usize];
            let last = window + 1 == windows;
            let at = if last { raw.len() - USED } else { 0 };
            let mut noise = blake3::Hasher::new();
            noise.update(&window.to_le_bytes()).finalize_xof().fill(&mut raw[at..at + USED]);
            let offset = u64::from(window) * u64::from(WINDOW);
            let begin = offset + at as u64;
            let used = std::iter::once(begin..begin + USED as u64).collect::<Extents>();
            let map = BlockMap::scan(&raw, offset, &used);
            let packed = pack_window(window, &raw, map, Compression::Zstd(1)).unwrap();
            builder.push(&packed).unwrap();
            data.extend_from_slice(&packed.stored);
        }
        Self { manifest: Arc::new(builder.finish().unwrap()), data: data.into() }
    }

    pub(super) fn stored(&self, id: u32) -> Bytes {
        let chunk = self.manifest.chunk(id).unwrap();
        let at = usize::try_from(chunk.offset).unwrap();
        self.data.slice(at..at + chunk.stored as usize)
    }
}
