//! What a start finds in the folder.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use pack::index::{self, FOOTER_BYTES, Record};
use pack::{Digest, Header, Manifest, Parsed, PublicKey, Signed};

use super::folder::{Folder, is_part};
use super::scrub::Past;
use super::shelf::{Shelf, manifest_name, pack_name};
use super::{ImageError, Stored};

/// The file of the scrub's memory.
pub(super) const PAST: &str = "scrub.json";
/// More than it ever has: every chunk of a large store.
const PAST_BYTES_MAX: u64 = 64 << 20;

/// Reads the folder. What can't be read is left out and told in the log.
pub(super) fn load(folder: &Folder, trusted: &[PublicKey]) -> Result<(Shelf, Past), ImageError> {
    let mut shelf = Shelf::default();
    let names = folder.names()?;
    for name in names.iter().filter(|name| is_part(name)) {
        folder.remove(name)?;
    }
    names.iter().filter_map(|name| number(name)).for_each(|number| shelf.know_number(number));
    for name in names.iter().filter(|name| name.ends_with(".rwimage")) {
        let number = shelf.take_number();
        if let Err(error) = take_over(folder, name, number) {
            tracing::error!(
                name,
                why = crate::chain(&error),
                "an image file of the old layout is left alone"
            );
        }
    }
    for name in folder.names()? {
        if let Some(number) = number(&name) {
            match pack(folder, &name) {
                Ok((file, records)) => shelf.put_pack(number, file, &records),
                Err(error) => {
                    tracing::error!(name, why = crate::chain(&error), "the chunks of a pack are missing");
                    shelf.broken.insert(name);
                }
            }
        } else if let Some(digest) = name.strip_suffix(".manifest").and_then(|stem| stem.parse().ok()) {
            match manifest(folder, &digest, trusted) {
                Ok(stored) => shelf.put_image(digest, Arc::new(stored)),
                Err(error) => {
                    let why = crate::chain(&error);
                    tracing::error!(name, why, "an image can't be read: import it again");
                    shelf.unread.insert(name, why);
                }
            }
        }
    }
    let past = past(folder);
    for bad in &past.bad {
        shelf.note(bad.digest, bad.place(), false);
    }
    shelf.forget_unneeded();
    Ok((shelf, past))
}

/// The number of a pack by its name.
fn number(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".pack")?, 16).ok()?;
    (pack_name(number) == name).then_some(number)
}

fn pack(folder: &Folder, name: &str) -> Result<(File, Vec<Record>), ImageError> {
    let failed = |source| folder.failed("reading", name, source);
    let file = File::open(folder.join(name)).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let damaged = |error| failed(std::io::Error::other(error));
    let mut footer = [0; FOOTER_BYTES];
    let footer_bytes = u64::try_from(FOOTER_BYTES).unwrap_or(u64::MAX);
    let at = bytes.checked_sub(footer_bytes).ok_or_else(|| damaged(index::IndexError::Magic))?;
    file.read_exact_at(&mut footer, at).map_err(failed)?;
    let mut tail = vec![0; index::tail_bytes(&footer, bytes).map_err(damaged)?];
    let at = bytes.saturating_sub(u64::try_from(tail.len()).unwrap_or(u64::MAX));
    file.read_exact_at(&mut tail, at).map_err(failed)?;
    let records = index::decode(&tail, bytes).map_err(damaged)?;
    Ok((file, records))
}

/// A manifest with its signature. One whose key is not trusted any more still needs its chunks.
fn manifest(folder: &Folder, digest: &Digest, trusted: &[PublicKey]) -> Result<Stored, ImageError> {
    let name = manifest_name(digest);
    let failed = |source| folder.failed("reading", &name, source);
    let file = File::open(folder.join(&name)).map_err(failed)?;
    let header = header(&file).map_err(failed)??;
    let is_trusted = trusted.contains(&header.signed.key);
    let key = [header.signed.key];
    let (is, manifest) = header.signed.verify(&key)?;
    if is != *digest {
        return Err(failed(std::io::Error::other(format!("it is the manifest of {is}"))));
    }
    Ok(Stored { signed: header.signed, manifest, trusted: is_trusted })
}

/// The head of a file, which may go on behind it.
fn header(file: &File) -> std::io::Result<Result<Header, pack::HeaderError>> {
    let mut head = Vec::new();
    loop {
        match Header::parse(&head) {
            Ok(Parsed::Whole(header)) => return Ok(Ok(header)),
            Ok(Parsed::Needs(bytes)) => {
                head.resize(bytes, 0);
                file.read_exact_at(&mut head, 0)?;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Makes a pack of an image file of the old layout: its chunks stay where they are, an index is appended. Whenever that
/// breaks off, it is begun again at the next start: the old name goes last.
fn take_over(folder: &Folder, name: &str, number: u64) -> Result<(), ImageError> {
    let failed = |source| folder.failed("taking over", name, source);
    let file = File::options().read(true).write(true).open(folder.join(name)).map_err(failed)?;
    let header = header(&file).map_err(failed)??;
    let manifest = manifest_of(&header.signed)?;
    let begin = header.data_begin();
    let end = begin.saturating_add(manifest.data_bytes());
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes < end {
        header.check_file_bytes(&manifest, bytes)?;
    }
    // What stands behind the data is of an attempt that broke off.
    file.set_len(end).map_err(failed)?;
    let records = manifest.chunks().iter().filter_map(|chunk| {
        let offset = begin.saturating_add(chunk.offset);
        Some(Record { digest: chunk.stored_digest?, offset, bytes: chunk.stored })
    });
    let records = records.collect::<Vec<_>>();
    folder.write(name, &file, end, &index::encode(&records))?;
    folder.sync_file(name, &file)?;
    folder.replace(&manifest_name(&manifest.digest()), &header.encode())?;
    folder.rename(name, &pack_name(number))?;
    folder.sync()
}

/// The manifest, whoever signed it.
fn manifest_of(signed: &Signed) -> Result<Manifest, ImageError> {
    let (_, manifest) = signed.verify(&[signed.key])?;
    Ok(manifest)
}

/// What was found earlier; nothing when that can't be read: the next scrub finds it again.
fn past(folder: &Folder) -> Past {
    let path: &Path = &folder.join(PAST);
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PAST_BYTES_MAX).read_to_end(&mut text));
    match read.map(|_| serde_json::from_slice(&text)) {
        Ok(Ok(past)) => past,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what earlier scrubs found is forgotten");
            Past::default()
        }
        Err(_) => Past::default(),
    }
}
