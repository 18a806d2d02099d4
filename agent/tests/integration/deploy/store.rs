//! What a controller keeps of an image that is being taken, and how it forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use data_encoding::BASE64;
use pack::{About, Builder, Chunk, Digest, Manifest};
use protocol::{Missing, Seal, WINDOWS_MAX, Windows};

/// The store, and what goes wrong with it.
#[derive(Default)]
pub struct Store {
    pub disk_bytes: u64,
    pub chunks: Vec<Chunk>,
    /// What is here of stored bytes, by their digest.
    pub has: BTreeMap<Digest, Vec<u8>>,
    pub seal: Option<Seal>,
    /// The windows whose bytes came, each time.
    pub posts: Vec<u32>,
    /// How often nothing was told before.
    pub begun: usize,
    /// So often everything is forgotten when some was told.
    pub forgets: usize,
    pub cancel: bool,
}

impl Store {
    /// Takes windows in, or says why not.
    pub fn windows(&mut self, windows: &Windows) -> Result<Missing, String> {
        if self.cancel {
            return Ok(Missing { go_on: false, windows: Vec::new() });
        }
        if self.forgets > 0 && windows.before > 0 {
            self.forgets -= 1;
            self.chunks.clear();
        }
        if windows.before == 0 {
            self.begun += 1;
            self.chunks.clear();
        }
        let before = usize::try_from(windows.before).unwrap();
        if before != self.chunks.len() {
            return Err(format!("begin again: {before} windows are not {}", self.chunks.len()));
        }
        let records = BASE64.decode(windows.records.as_bytes()).unwrap();
        let told = Chunk::decode_all(&records, self.disk_bytes).unwrap();
        assert!((1..=WINDOWS_MAX).contains(&told.len()));
        let is_missing =
            |chunk: &&Chunk| chunk.stored_digest.is_some_and(|digest| !self.has.contains_key(&digest));
        let mut once = BTreeSet::new();
        let missing = told.iter().filter(is_missing).filter(|chunk| once.insert(chunk.stored_digest));
        let missing = missing.map(|chunk| chunk.window).collect();
        self.chunks.extend(told);
        Ok(Missing { go_on: true, windows: missing })
    }

    /// Takes stored bytes in.
    pub fn stored(&mut self, window: u32, bytes: &[u8]) -> Result<(), String> {
        let chunk = self.chunks.iter().find(|chunk| chunk.window == window);
        let chunk = chunk.ok_or_else(|| "begin again: nobody told of this window".to_owned())?;
        chunk.check_stored(bytes).unwrap();
        self.posts.push(window);
        self.has.insert(chunk.stored_digest.unwrap(), bytes.to_vec());
        Ok(())
    }

    /// The image that was sealed.
    pub fn image(&self) -> Manifest {
        let seal = self.seal.as_ref().unwrap();
        let mut builder = Builder::new(About {
            name: "taken".to_owned(),
            arch: "amd64".to_owned(),
            roles: Vec::new(),
            disk_bytes: self.disk_bytes,
            seed: seal.seed,
            packages: None,
            layout: seal.layout.clone(),
        });
        for chunk in &self.chunks {
            builder.push_chunk(chunk.clone()).unwrap();
        }
        let manifest = builder.finish().unwrap();
        assert_eq!(pack::merkle::root(manifest.chunks()), seal.root);
        assert_eq!(manifest.chunks().len() as u64, seal.windows);
        manifest
    }

    /// Writes the image out as a disk, on what was zeros.
    pub fn unpack(&self, to: &Path) {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::create(to).unwrap();
        file.set_len(self.disk_bytes).unwrap();
        for chunk in self.image().chunks() {
            let mut raw = vec![0; usize::try_from(chunk.bytes).unwrap()];
            let stored = chunk.stored_digest.map(|digest| self.has[&digest].as_slice()).unwrap_or_default();
            chunk.unpack(stored, &mut raw).unwrap();
            file.write_all_at(&raw, chunk.disk_offset()).unwrap();
        }
    }
}
