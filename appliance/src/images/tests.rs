//! Stores in folders of their own: real files, and images that are really packed and signed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pack::{
    About, BLOCK, BlockMap, Builder, Compression, Digest, Extents, Header, Packed, Signed, SigningKey, WINDOW,
};

use super::folder::Folder;
use super::{Damage, ImageError, Images, Rest};

mod capture;
mod cuts;
mod dedup;
mod old;
pub(super) mod power;
mod property;
mod scrub;
mod serve;
mod writing;

/// Bytes of the disks here: small windows' worth of data in windows of full length.
const DATA: usize = 5 * BLOCK as usize;

pub(super) fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// What signs the images that are taken here.
fn own() -> SigningKey {
    SigningKey::from_seed(&[8; 32]).unwrap()
}

/// An image file whose windows hold what these numbers stand for; 0 stands for zeros. Some compress, some do not.
pub(super) fn image(name: &str, contents: &[u32]) -> (Digest, Vec<u8>) {
    let disk_bytes = contents.len() as u64 * u64::from(WINDOW);
    let (mut builder, mut data) = (Builder::new(about(name, disk_bytes)), Vec::new());
    for (window, content) in (0..).zip(contents) {
        let packed = packed(window, *content);
        builder.push(&packed).unwrap();
        data.extend_from_slice(&packed.stored);
    }
    let manifest = builder.finish().unwrap();
    let mut file = Header { signed: Signed::new(&manifest, &key()) }.encode();
    file.extend_from_slice(&data);
    (manifest.digest(), file)
}

fn about(name: &str, disk_bytes: u64) -> About {
    About {
        name: name.into(),
        arch: "amd64".into(),
        roles: vec!["control".into()],
        disk_bytes,
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    }
}

/// A window that holds what this number stands for.
fn packed(window: u32, content: u32) -> Packed {
    let mut raw = vec![0; WINDOW as usize];
    let mut noise = blake3::Hasher::new().update(&content.to_le_bytes()).finalize_xof();
    match content {
        0 => {}
        content if content % 3 == 0 => raw[..DATA].fill(u8::try_from(content % 250).unwrap() + 1),
        _ => noise.fill(&mut raw[..DATA]),
    }
    let offset = u64::from(window) * u64::from(WINDOW);
    let used = std::iter::once(offset..offset + DATA as u64).collect::<Extents>();
    let map = BlockMap::scan(&raw, offset, &used);
    pack::pack_window(window, &raw, map, Compression::Zstd(1)).unwrap()
}

/// The store in this folder.
pub(super) fn open(folder: &Path) -> Images {
    Images::open_in(Folder::new(folder), vec![key().public()], own()).unwrap()
}

pub(super) fn import(images: &Images, file: &[u8]) -> Result<Digest, ImageError> {
    let mut import = images.import(file.len() as u64)?;
    for piece in file.chunks(10_000) {
        import.push(piece)?;
    }
    Ok(import.finish()?.digest)
}

/// A stretch of an image's data area, as an agent is sent it.
pub(super) fn data(
    images: &Images,
    digest: &Digest,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, ImageError> {
    let stored = images.stored(digest)?;
    let pieces = images.pieces(&stored, range)?;
    Ok(pieces.iter().flat_map(read).collect())
}

fn read(piece: &crate::listen::stream::Piece) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(piece.bytes).unwrap()];
    piece.file.read_exact_at(&mut bytes, piece.offset).unwrap();
    bytes
}

/// The image file, put together again from what is in the store.
pub(super) fn whole(images: &Images, digest: &Digest) -> Result<Vec<u8>, ImageError> {
    let stored = images.stored(digest)?;
    let mut file = Header { signed: stored.signed.clone() }.encode();
    file.extend(data(images, digest, 0..stored.manifest.data_bytes())?);
    Ok(file)
}

/// Files in the folder and their lengths.
pub(super) fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

/// Packs in the folder, in their order.
pub(super) fn packs(folder: &Path) -> Vec<String> {
    files(folder).into_keys().filter(|name| name.ends_with(".pack")).collect()
}

/// Nothing is wrong with it.
pub(super) fn sound() -> Damage {
    Damage::Windows(Vec::new())
}

/// Reads it through at once.
pub(super) fn scrubbed(images: &Images, digest: &Digest) -> Vec<u32> {
    images.scrub(digest, &mut |_| Rest::None).unwrap()
}

/// Turns one bit over.
pub(super) fn damage(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn an_image_goes_in_and_comes_out_and_leaves_nothing_when_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let (digest, file) = image("node", &[1, 2, 0, 3, 3, 4]);
    assert!(matches!(images.stored(&digest), Err(ImageError::Absent(_))));
    assert_eq!(import(&images, &file).unwrap(), digest);
    assert_eq!(images.damaged(&digest), sound());
    assert!(whole(&images, &digest).unwrap() == file);
    assert_eq!(files(folder.path()).len(), 2, "{:?}", files(folder.path()));
    let images = open(folder.path());
    assert!(whole(&images, &digest).unwrap() == file, "after a start");
    assert!(images.remove(&digest).unwrap().bytes > 0);
    assert_eq!(files(folder.path()).len(), 0);
    assert_eq!(images.damaged(&digest), Damage::Absent);
    images.remove(&digest).expect("twice is as good");
}

#[test]
fn two_uploads_of_one_image_at_once_and_one_that_is_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let images = Arc::new(open(folder.path()));
    let (digest, file) = image("node", &[1, 2, 4]);
    let mut one = images.import(file.len() as u64).unwrap();
    let mut other = images.import(file.len() as u64).unwrap();
    let mut third = images.import(file.len() as u64).unwrap();
    third.push(&file[..file.len() - 1]).unwrap();
    for piece in file.chunks(9_000) {
        one.push(piece).unwrap();
        other.push(piece).unwrap();
    }
    assert_eq!(one.finish().unwrap().digest, digest);
    drop(third);
    assert_eq!(other.finish().unwrap().digest, digest);
    assert_eq!(packs(folder.path()).len(), 1, "the second is not kept twice");
    assert!(whole(&images, &digest).unwrap() == file);
    assert!(files(folder.path()).keys().all(|name| !name.ends_with(".part")));
}

#[test]
fn an_image_of_an_untrusted_key_is_neither_taken_nor_served_but_keeps_its_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, file) = image("node", &[1, 2]);
    import(&open(folder.path()), &file).unwrap();
    let images = Images::open_in(Folder::new(folder.path()), Vec::new(), own()).unwrap();
    assert!(matches!(images.stored(&digest), Err(ImageError::Verify(_))));
    assert!(matches!(import(&images, &file), Err(ImageError::Verify(_))));
    assert!(images.all().is_empty());
    images.compact().unwrap();
    assert!(whole(&open(folder.path()), &digest).unwrap() == file, "once the key is trusted again");
}

#[test]
fn a_capture_sends_only_the_chunks_that_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let (_, first) = image("node", &[1, 2, 4]);
    let first = import(&images, &first).unwrap();
    let (digest, file) = image("node", &[1, 5, 4]);
    let header = match Header::parse(&file).unwrap() {
        pack::Parsed::Whole(header) => header,
        pack::Parsed::Needs(_) => panic!("it is whole"),
    };
    let (_, manifest) = header.signed.verify(&[key().public()]).unwrap();
    let digests = manifest.chunks().iter().filter_map(|chunk| chunk.stored_digest).collect::<Vec<_>>();
    assert_eq!(images.has(&digests), [true, false, true]);
    let mut intake = images.intake();
    let lacking = manifest.chunks().iter().map(|chunk| intake.lacks(chunk));
    assert_eq!(lacking.collect::<Vec<_>>(), [false, true, false]);
    let refused = images.intake().seal(header.signed.clone());
    assert!(matches!(refused, Err(ImageError::Incomplete { missing: 1 })));
    images.remove(&first).unwrap();
    images.compact().unwrap();
    let chunk = &manifest.chunks()[1];
    let begin = usize::try_from(header.data_begin() + chunk.offset).unwrap();
    intake.put(chunk, &file[begin..begin + chunk.stored as usize]).unwrap();
    assert_eq!(intake.seal(header.signed.clone()).unwrap().digest, digest, "what it counted on has stayed");
    assert!(whole(&images, &digest).unwrap() == file);
}
