//! The rules a manifest obeys, each checked once, where it is made. Claims are bounded before they are believed:
//! a window is at most [`WINDOW`] bytes, what is stored is never longer than what comes out, and the stored sizes
//! must add up to the data area, so a manifest can't promise 100 GB that its file does not hold.

use thiserror::Error;

use crate::manifest::{MANIFEST_BYTES_MAX, Wire};
use crate::{About, BLOCK, Chunk, Codec, Digest, Layout, Span, WINDOW, merkle};

/// The largest disk an image may claim: 64 TiB.
pub const DISK_BYTES_MAX: u64 = 64 << 40;

const NAME_MAX: usize = 64;
const ARCH_MAX: usize = 16;
const ROLE_MAX: usize = 32;
const ROLES_MAX: usize = 16;
/// Bytes of a name that was found on a disk, and entries of a list of such.
const TEXT_MAX: usize = 255;
const LIST_MAX: usize = 256;

/// The rule that a manifest breaks.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ManifestError {
    #[error("reading a manifest: {bytes} bytes, more than {MANIFEST_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("reading a manifest: it does not begin like one")]
    Magic,
    #[error("reading a manifest: it ends too early")]
    Cut,
    #[error("reading a manifest: its record {number} is cut off or senseless")]
    Record { number: u32 },
    #[error("reading a manifest: {bytes} bytes follow its last record")]
    Rest { bytes: usize },
    #[error("reading a manifest: its head is not the JSON of one")]
    Json(#[source] serde_json::Error),
    #[error("reading a manifest: valid, but not in canonical spelling")]
    NotCanonical,
    #[error(
        "reading a manifest: format {format}, this program reads 2; build or capture the image again, or use the program that made it"
    )]
    Format { format: char },
    #[error("reading a manifest: image name {name:?} is not allowed")]
    Name { name: String },
    #[error("reading a manifest: machine type {arch:?} is not allowed")]
    Arch { arch: String },
    #[error("reading a manifest: role {role:?} is not allowed")]
    Role { role: String },
    #[error("reading a manifest: {roles} roles, more than {ROLES_MAX}")]
    Roles { roles: usize },
    #[error("reading a manifest: role {role:?} is out of order or there twice")]
    RoleOrder { role: String },
    #[error(
        "reading a manifest: a disk of {disk_bytes} bytes (allowed: multiples of its sector up to {DISK_BYTES_MAX})"
    )]
    DiskBytes { disk_bytes: u64 },
    #[error("reading a manifest: sectors of {bytes} bytes (allowed: 512 and 4096)")]
    Sector { bytes: u32 },
    #[error("reading a manifest: its list of {what} is too long or holds a text that is")]
    Layout { what: &'static str },
    #[error("reading a manifest: the Merkle root does not fit the chunks")]
    Root,
    #[error("reading a manifest: window {window} is there and nothing of it is used")]
    Unused { window: u32 },
    #[error("reading a manifest: window {window} comes after {after}")]
    Order { window: u32, after: u32 },
    #[error("reading a manifest: window {window} lies beyond the end of the disk")]
    BeyondDisk { window: u32 },
    #[error("reading a manifest: window {window} claims {bytes} bytes, the disk has {expected} there")]
    WindowBytes { window: u32, bytes: u32, expected: u64 },
    #[error("reading a manifest: window {window} claims {stored} stored bytes for {bytes} as {codec:?}")]
    Stored { window: u32, codec: Codec, stored: u32, bytes: u32 },
    #[error("reading a manifest: window {window} has digests that do not fit {codec:?}")]
    Digests { window: u32, codec: Codec },
    #[error("reading a manifest: window {window} is stored at {offset}, expected {expected}")]
    Offset { window: u32, offset: u64, expected: u64 },
    #[error("reading a manifest: the data area claims {data_bytes} bytes, the chunks fill {expected}")]
    DataBytes { data_bytes: u64, expected: u64 },
    #[error("reading a manifest: window {window}, the disk's first or last, is missing")]
    Missing { window: u64 },
    #[error(
        "reading a manifest: the seed ({bytes} bytes at {offset}) is empty, unaligned or beyond the disk"
    )]
    Seed { offset: u64, bytes: u64 },
    #[error("reading a manifest: window {window} overlaps the seed")]
    SeedOverlap { window: u32 },
}

/// Checks everything that makes a manifest valid, cheapest rules first.
pub(crate) fn wire(wire: &Wire) -> Result<(), ManifestError> {
    let Wire { head, .. } = wire;
    names(&head.name, &head.arch, &head.roles)?;
    layout(&head.layout)?;
    let (disk_bytes, sector) = (head.disk_bytes, u64::from(head.layout.sector_bytes));
    if disk_bytes == 0 || disk_bytes > DISK_BYTES_MAX || !disk_bytes.is_multiple_of(sector) {
        return Err(ManifestError::DiskBytes { disk_bytes });
    }
    chunks(wire)?;
    head.seed.map_or(Ok(()), |span| seed(wire, span))?;
    if merkle::root(&wire.chunks) == head.root { Ok(()) } else { Err(ManifestError::Root) }
}

impl About {
    /// Whether name, machine type and roles are such as a manifest may have, before there is anything else of it.
    ///
    /// # Errors
    /// The first rule that is broken, as [`Manifest::decode`](crate::Manifest::decode) would say it.
    pub fn check(&self) -> Result<(), ManifestError> {
        names(&self.name, &self.arch, &self.roles)
    }
}

fn layout(layout: &Layout) -> Result<(), ManifestError> {
    let Layout { sector_bytes, table, partitions, volumes } = layout;
    if !matches!(sector_bytes, 512 | 4096) {
        return Err(ManifestError::Sector { bytes: *sector_bytes });
    }
    let fits = |texts: &[&str]| texts.iter().all(|text| text.len() <= TEXT_MAX);
    let refused = |what| Err(ManifestError::Layout { what });
    if table.as_ref().is_some_and(|table| !fits(&[&table.kind, &table.id])) {
        return refused("partition tables");
    }
    if partitions.len() > LIST_MAX || !partitions.iter().all(|p| fits(&[&p.kind, &p.uuid, &p.name])) {
        return refused("partitions");
    }
    if volumes.len() > LIST_MAX || !volumes.iter().all(|v| fits(&[&v.kind, &v.uuid, &v.label])) {
        return refused("volumes");
    }
    Ok(())
}

fn names(name: &str, arch: &str, roles: &[String]) -> Result<(), ManifestError> {
    if !grammar(name, NAME_MAX, |c| c.is_ascii_digit(), |c| matches!(c, b'.' | b'_' | b'-')) {
        return Err(ManifestError::Name { name: clipped(name) });
    }
    if !grammar(arch, ARCH_MAX, |_| false, |c| matches!(c, b'_')) {
        return Err(ManifestError::Arch { arch: clipped(arch) });
    }
    if roles.len() > ROLES_MAX {
        return Err(ManifestError::Roles { roles: roles.len() });
    }
    if let Some(role) = roles.iter().find(|role| !grammar(role, ROLE_MAX, |_| false, |c| c == b'-')) {
        return Err(ManifestError::Role { role: clipped(role) });
    }
    for pair in roles.windows(2) {
        if let [left, right] = pair
            && left >= right
        {
            return Err(ManifestError::RoleOrder { role: right.clone() });
        }
    }
    Ok(())
}

/// `a-z` (or what `first` allows) and then `a-z 0-9` (or what `rest` allows), at most `most` of them.
fn grammar(text: &str, most: usize, first: fn(&u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let Some(head) = text.as_bytes().first() else { return false };
    (head.is_ascii_lowercase() || first(head))
        && text.len() <= most
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || rest(c))
}

/// As much of a refused text as belongs into a message.
fn clipped(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

fn chunks(Wire { head, chunks }: &Wire) -> Result<(), ManifestError> {
    let window_bytes = u64::from(WINDOW);
    let last = (head.disk_bytes - 1) / window_bytes;
    let mut before: Option<u32> = None;
    let mut filled = 0_u64;
    for chunk in chunks {
        if let Some(after) = before
            && chunk.window <= after
        {
            return Err(ManifestError::Order { window: chunk.window, after });
        }
        if u64::from(chunk.window) > last {
            return Err(ManifestError::BeyondDisk { window: chunk.window });
        }
        let expected = window_bytes.min(head.disk_bytes - chunk.disk_offset());
        if u64::from(chunk.bytes) != expected {
            return Err(ManifestError::WindowBytes { window: chunk.window, bytes: chunk.bytes, expected });
        }
        stored(chunk)?;
        // No gaps: a byte that no chunk accounts for would be a byte that no digest covers.
        if chunk.offset != filled {
            let (window, offset) = (chunk.window, chunk.offset);
            return Err(ManifestError::Offset { window, offset, expected: filled });
        }
        filled = filled.saturating_add(u64::from(chunk.stored));
        before = Some(chunk.window);
    }
    if chunks.first().map(|chunk| chunk.window) != Some(0) {
        return Err(ManifestError::Missing { window: 0 });
    }
    if before.map(u64::from) != Some(last) {
        return Err(ManifestError::Missing { window: last });
    }
    if head.data_bytes != filled {
        return Err(ManifestError::DataBytes { data_bytes: head.data_bytes, expected: filled });
    }
    Ok(())
}

fn stored(chunk: &Chunk) -> Result<(), ManifestError> {
    let Chunk { window, codec, stored, bytes, .. } = *chunk;
    if chunk.map.blocks() != bytes.div_ceil(BLOCK) || chunk.map.is_free() {
        return Err(ManifestError::Unused { window });
    }
    let data = chunk.map.data_bytes(bytes);
    let (size_fits, digests_fit) = match codec {
        Codec::Zero => {
            (stored == 0 && data == 0, chunk.stored_digest.is_none() && chunk.digest == Digest::of(&[]))
        }
        Codec::Raw => (stored == data && data > 0, chunk.stored_digest == Some(chunk.digest)),
        Codec::Zstd | Codec::Lz4 => (stored > 0 && stored < data, chunk.stored_digest.is_some()),
    };
    if !size_fits {
        return Err(ManifestError::Stored { window, codec, stored, bytes: data });
    }
    if !digests_fit {
        return Err(ManifestError::Digests { window, codec });
    }
    Ok(())
}

fn seed(wire: &Wire, Span { offset, bytes }: Span) -> Result<(), ManifestError> {
    let sector = u64::from(wire.head.layout.sector_bytes);
    let aligned = offset.is_multiple_of(sector) && bytes.is_multiple_of(sector);
    let end = offset.checked_add(bytes).filter(|end| bytes > 0 && aligned && *end <= wire.head.disk_bytes);
    let end = end.ok_or(ManifestError::Seed { offset, bytes })?;
    // Free blocks of a window may be written through, so the seed's windows must be nobody's as a whole.
    let overlaps = |chunk: &&Chunk| {
        let begins = chunk.disk_offset();
        begins < end && offset < begins + u64::from(chunk.bytes)
    };
    match wire.chunks.iter().find(overlaps) {
        Some(chunk) => Err(ManifestError::SeedOverlap { window: chunk.window }),
        None => Ok(()),
    }
}
