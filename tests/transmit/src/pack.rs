//! Makes an image of a file, as of a disk without a table.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use pack::{About, BlockMap, Builder, Compression, Extents, Header, Signed, SigningKey, WINDOW};

use crate::option;

/// A sector: a disk has whole ones.
const SECTOR: u64 = 512;

/// The key of all images that are made here.
pub(crate) fn key() -> Result<SigningKey, Box<dyn Error>> {
    Ok(SigningKey::from_seed(&[7; 32])?)
}

/// Makes the image file `--out` of the file `--file`; what does not fill a sector is left out.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut content = std::fs::read(option(words, "--file")?)?;
    let disk_bytes = (content.len() as u64).next_multiple_of(SECTOR).max(SECTOR);
    content.resize(usize::try_from(disk_bytes)?, 0);
    let about = About {
        name: "bench".into(),
        arch: "amd64".into(),
        roles: Vec::new(),
        disk_bytes,
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let (mut builder, mut data) = (Builder::new(about), Vec::new());
    for (window, raw) in (0_u32..).zip(content.chunks(WINDOW as usize)) {
        let offset = u64::from(window) * u64::from(WINDOW);
        let used = std::iter::once(offset..offset + raw.len() as u64).collect::<Extents>();
        let packed =
            pack::pack_window(window, raw, BlockMap::scan(raw, offset, &used), Compression::Zstd(1))?;
        builder.push(&packed)?;
        data.extend_from_slice(&packed.stored);
    }
    let head = Header { signed: Signed::new(&builder.finish()?, &key()?) }.encode();
    let mut out = std::fs::File::create(Path::new(option(words, "--out")?))?;
    out.write_all(&head)?;
    Ok(out.write_all(&data)?)
}
