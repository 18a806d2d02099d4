//! What is in a backup: parts with a name, a length, bytes and their SHA-256, and an end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

use super::seal::{Opener, PIECE, Sealer};
use super::{BackupError, Kit, Manifest};
use crate::journal::chain::sha256;

/// The names that stand for themselves.
pub const MANIFEST: &str = "manifest.json";
/// The data base.
pub const DATABASE: &str = "state.db";
/// The signed heads.
pub const HEADS: &str = "heads";
/// The configuration.
pub const CONFIG: &str = "rackwright.toml";
/// What the names of parts in these folders begin with: the CA's, and the trusted keys.
pub const FOLDERS: [&str; 2] = ["ca/", "image-keys/"];

/// More parts than these are no backup.
const MOST: usize = 1000;

/// Everything that was in a backup.
#[derive(Clone, Debug)]
pub struct Content {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its parts by name, the manifest apart.
    pub parts: BTreeMap<String, Vec<u8>>,
}

/// Writes one part.
pub(super) fn put<W: Write>(out: &mut Sealer<W>, name: &str, content: &[u8]) -> io::Result<()> {
    let length = u8::try_from(name.len()).map_err(|_| io::Error::other("a part's name is too long"))?;
    out.write_all(&[length])?;
    out.write_all(name.as_bytes())?;
    out.write_all(&u64::try_from(content.len()).unwrap_or(u64::MAX).to_be_bytes())?;
    out.write_all(content)?;
    out.write_all(&sha256(content))
}

/// Writes one part of a file that nobody changes meanwhile, without having all of it in memory.
pub(super) fn put_file<W: Write>(out: &mut Sealer<W>, name: &str, from: &mut File) -> io::Result<()> {
    let bytes = from.metadata()?.len();
    let length = u8::try_from(name.len()).map_err(|_| io::Error::other("a part's name is too long"))?;
    out.write_all(&[length])?;
    out.write_all(name.as_bytes())?;
    out.write_all(&bytes.to_be_bytes())?;
    let mut digest = Context::new(&SHA256);
    let (mut piece, mut left) = (vec![0; PIECE], bytes);
    while left > 0 {
        let read = from.read(&mut piece)?;
        let got = piece.get(..read).filter(|got| !got.is_empty());
        let got = got.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        digest.update(got);
        out.write_all(got)?;
        left = left.saturating_sub(u64::try_from(got.len()).unwrap_or(u64::MAX));
    }
    out.write_all(digest.finish().as_ref())
}

/// Writes the end.
pub(super) fn end<W: Write>(mut out: Sealer<W>) -> io::Result<W> {
    out.write_all(&[0])?;
    out.end()
}

impl Content {
    /// Opens a file of so many bytes. No more memory is taken than it has.
    ///
    /// # Errors
    /// [`BackupError::Seal`], [`BackupError::Content`].
    pub fn open(from: impl Read, bytes: u64, kit: &Kit) -> Result<Content, BackupError> {
        let mut opener = Opener::begin(from, kit)?;
        let wrong = |why: String| BackupError::Content(why);
        let mut parts = BTreeMap::new();
        let mut manifest = None;
        while let Some(length @ 1..) = opener.take(1)?.first().copied() {
            let name = String::from_utf8(opener.take(usize::from(length))?);
            let name =
                name.ok().filter(|name| is_name(name)).ok_or_else(|| wrong("a part has no name".into()))?;
            let length = opener.take(8)?.try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
            let length = usize::try_from(length).ok().filter(|_| length <= bytes);
            let length = length.ok_or_else(|| wrong(format!("{name} is longer than the whole file")))?;
            let content = opener.take(length)?;
            if opener.take(32)? != sha256(&content) {
                return Err(wrong(format!("{name} is not what it was")));
            }
            if name == MANIFEST {
                let read = serde_json::from_slice::<Manifest>(&content);
                manifest = Some(read.map_err(|why| wrong(format!("its manifest can't be read ({why})")))?);
            } else if parts.insert(name.clone(), content).is_some() {
                return Err(wrong(format!("{name} is in it twice")));
            }
            if parts.len() > MOST {
                return Err(wrong(format!("it has more than {MOST} parts")));
            }
        }
        if !opener.is_at_end()? {
            return Err(wrong("something follows its end".into()));
        }
        let manifest = manifest.ok_or_else(|| wrong("it has no manifest".into()))?;
        Ok(Content { manifest, parts })
    }
}

/// Whether a name is one that may become a file's: no path leads out of where it belongs.
pub fn is_name(name: &str) -> bool {
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    [MANIFEST, DATABASE, HEADS, CONFIG].contains(&name)
        || FOLDERS.iter().any(|folder| name.strip_prefix(folder).is_some_and(plain))
}
