//! A small image for the crowd, and the CA that it trusts.

use std::error::Error;
use std::fs;

use agent::keys::KeyPair;
use pack::{About, BlockMap, Builder, Compression, Extents, Header, Manifest, Signed, SigningKey, WINDOW};
use protocol::CaPin;

use crate::option;

/// How big the disk of the image is; nothing is written to a disk.
pub(crate) const BYTES: u64 = 4 << 20;

/// The image without a signature, and the bytes of its windows.
fn made() -> Result<(Manifest, Vec<u8>), Box<dyn Error>> {
    let about = About {
        name: "crowd".into(),
        arch: "amd64".into(),
        roles: ["compute".to_owned()].into(),
        disk_bytes: BYTES,
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let (mut builder, mut data) = (Builder::new(about), Vec::new());
    for window in 0..u32::try_from(BYTES / u64::from(WINDOW))? {
        let raw = vec![u8::try_from(window % 251)?; WINDOW as usize];
        let offset = u64::from(window) * u64::from(WINDOW);
        let used = std::iter::once(offset..offset + u64::from(WINDOW)).collect::<Extents>();
        let map = BlockMap::scan(&raw, offset, &used);
        let packed = pack::pack_window(window, &raw, map, Compression::Zstd(1))?;
        builder.push(&packed)?;
        data.extend_from_slice(&packed.stored);
    }
    Ok((builder.finish()?, data))
}

/// What a disk with that image on it adds up to.
pub(crate) fn root() -> Result<pack::Digest, Box<dyn Error>> {
    Ok(made()?.0.root())
}

/// Makes the image file `--out`, and writes the key that signed it to `--key`.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    // Anew in every run: nobody else's controller shall trust it.
    let key = SigningKey::from_seed(&KeyPair::generate()?.public().0)?;
    let (manifest, data) = made()?;
    let mut file = Header { signed: Signed::new(&manifest, &key) }.encode();
    file.extend(data);
    fs::write(option(words, "--out")?, file)?;
    fs::write(option(words, "--key")?, key.public().to_string())?;
    Ok(())
}

/// The CA in this PEM, as a node is told it.
pub(crate) fn pin(pem: &str) -> Result<CaPin, Box<dyn Error>> {
    Ok(appliance::ca::pin_of(pem)?.parse()?)
}
