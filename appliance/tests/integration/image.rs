//! Small images, really packed and really signed.

use pack::{About, Builder, Header, Manifest, Packed, Signed, SigningKey};

/// The key that the controllers here trust.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32]).unwrap()
}

pub(crate) fn about(name: &str, roles: &[&str], disk_bytes: u64) -> About {
    About {
        name: name.to_owned(),
        arch: "amd64".to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        disk_bytes,
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    }
}

/// A window of bytes that do not compress.
pub(crate) fn window(number: u32) -> Packed {
    let mut raw = vec![0; 1 << 20];
    let mut stream = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
    stream.fill(&mut raw);
    pack::chunk(number, &raw, 1).unwrap()
}

/// An image file of these windows; its manifest, and its bytes.
pub(crate) fn with(about: About, windows: &[u32], key: &SigningKey) -> (Manifest, Vec<u8>) {
    let mut builder = Builder::new(about);
    let mut data = Vec::new();
    for &number in windows {
        let packed = window(number);
        builder.push(&packed).unwrap();
        data.extend(packed.stored);
    }
    let manifest = builder.finish().unwrap();
    let mut bytes = head(&manifest, key);
    bytes.extend(data);
    (manifest, bytes)
}

/// Everything before the data.
pub(crate) fn head(manifest: &Manifest, key: &SigningKey) -> Vec<u8> {
    Header { signed: Signed::new(manifest, key) }.encode()
}

/// An image of 3 MiB with these roles.
pub(crate) fn small(name: &str, roles: &[&str]) -> (Manifest, Vec<u8>) {
    with(about(name, roles, 3 << 20), &[0, 1, 2], &key())
}

/// What every image of [`small`] adds up to.
pub(crate) fn root() -> pack::Digest {
    small("any", &[]).0.root()
}

/// A signed and valid manifest whose file would have so many windows, each stored as it is.
pub(crate) fn claiming(windows: u32) -> Manifest {
    let mut builder = Builder::new(about("vast", &["control"], u64::from(windows) << 20));
    let mut packed = window(0);
    for number in 0..windows {
        packed.window = number;
        builder.push(&packed).unwrap();
    }
    builder.finish().unwrap()
}
