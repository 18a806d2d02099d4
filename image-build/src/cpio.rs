//! A cpio archive in the "newc" form the kernel unpacks as its first file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Sorted, all times and inode numbers fixed,
//! everything owned by root: the same tree always gives the same bytes.

use std::collections::BTreeMap;

/// What one path of the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file with these permission bits.
    File {
        /// Permission bits, e.g. `0o755`.
        mode: u32,
        /// What is in it.
        content: Vec<u8>,
    },
    /// A symbolic link to this.
    Link(String),
    /// A character device.
    Device {
        /// Its driver.
        major: u32,
        /// Which one of that driver's.
        minor: u32,
    },
}

/// A path or size the format has no room for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CpioError {
    /// Sizes are 32 bits in this format.
    #[error("{path} is {size} bytes; the ramdisk format stops at 4 GiB")]
    TooBig {
        /// Which file.
        path: String,
        /// Its size.
        size: usize,
    },
    /// A path that leaves the tree or means nothing.
    #[error("{path:?} is no path inside a ramdisk")]
    BadPath {
        /// Which.
        path: String,
    },
}

/// The name that ends an archive: as a path it would hide everything behind it from the kernel.
const END: &str = "TRAILER!!!";

/// A tree being put together; paths have no leading slash.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Puts `entry` at `path`, making the folders above it. A later one replaces an earlier one.
    pub fn put(&mut self, path: &str, entry: Entry) -> Result<(), CpioError> {
        let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        if path.split('/').next() == Some(END) || path.split('/').any(bad) {
            return Err(CpioError::BadPath { path: path.to_owned() });
        }
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            self.0.entry(above.to_owned()).or_insert(Entry::Folder);
        }
        self.0.insert(path.to_owned(), entry);
        Ok(())
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The archive. `time` is everybody's modification time, in seconds since 1970.
    pub fn encode(&self, time: u32) -> Result<Vec<u8>, CpioError> {
        let mut out = Vec::new();
        for (inode, (path, entry)) in (1u32..).zip(&self.0) {
            encode_entry(&mut out, inode, time, path, entry)?;
        }
        let end = Header { inode: 0, mode: 0, links: 1, time: 0, size: 0, device: (0, 0) };
        end.encode(&mut out, END);
        while !out.len().is_multiple_of(512) {
            out.push(0);
        }
        Ok(out)
    }
}

struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    time: u32,
    size: u32,
    device: (u32, u32),
}

impl Header {
    fn encode(&self, out: &mut Vec<u8>, path: &str) {
        let name = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = self.device;
        let fields =
            [self.inode, self.mode, 0, 0, self.links, self.time, self.size, 0, 0, major, minor, name, 0];
        out.extend_from_slice(b"070701");
        for field in fields {
            out.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        out.extend_from_slice(path.as_bytes());
        out.push(0);
        pad(out);
    }
}

fn encode_entry(
    out: &mut Vec<u8>,
    inode: u32,
    time: u32,
    path: &str,
    entry: &Entry,
) -> Result<(), CpioError> {
    let (mode, links, device, content): (u32, u32, _, &[u8]) = match entry {
        Entry::Folder => (0o040_755, 2, (0, 0), &[]),
        Entry::File { mode, content } => (0o100_000 | (mode & 0o7777), 1, (0, 0), content),
        Entry::Link(target) => (0o120_777, 1, (0, 0), target.as_bytes()),
        Entry::Device { major, minor } => (0o020_600, 1, (*major, *minor), &[]),
    };
    let size = u32::try_from(content.len())
        .map_err(|_| CpioError::TooBig { path: path.to_owned(), size: content.len() })?;
    Header { inode, mode, links, time, size, device }.encode(out, path);
    out.extend_from_slice(content);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Call;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.put("usr/bin/x", Entry::File { mode: 0o755, content: b"hello".to_vec() }).unwrap();
        tree.put("bin", Entry::Link("usr/bin".into())).unwrap();
        tree.put("dev/console", Entry::Device { major: 5, minor: 1 }).unwrap();
        tree
    }

    #[test]
    fn tar_reads_it_back() {
        // GNU tar does not know newc; bsdtar may be absent: the machine's cpio is the judge where it exists.
        let Ok(listing) =
            Call::new("cpio").args(["-itv", "--quiet", "-n"]).input(tree().encode(9).unwrap()).run()
        else {
            return;
        };
        let listing = String::from_utf8(listing).unwrap();
        let lines: Vec<_> = listing.lines().collect();
        assert_eq!(lines.len(), 6, "{listing}");
        assert!(lines[0].starts_with("lrwxrwxrwx") && lines[0].ends_with("bin -> usr/bin"), "{listing}");
        assert!(lines[2].starts_with("crw-------") && lines[2].contains("5,   1"), "{listing}");
        assert!(lines[5].starts_with("-rwxr-xr-x") && lines[5].ends_with("usr/bin/x"), "{listing}");
    }

    #[test]
    fn the_order_of_putting_does_not_matter() {
        let mut other = Tree::default();
        other.put("dev/console", Entry::Device { major: 5, minor: 1 }).unwrap();
        other.put("bin", Entry::Link("usr/bin".into())).unwrap();
        other.put("usr/bin/x", Entry::File { mode: 0o755, content: b"hello".to_vec() }).unwrap();
        assert_eq!(tree().encode(7), other.encode(7));
        assert_eq!(tree().len(), 6);
        let bytes = tree().encode(7).unwrap();
        assert_eq!((bytes.len() % 512, &bytes[..6]), (0, b"070701".as_slice()));
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for path in ["", "/etc/passwd", "a/../b", "a//b", "a/", ".", "a\0b", END, "TRAILER!!!/x"] {
            let refused = Tree::default().put(path, Entry::Folder);
            assert_eq!(refused, Err(CpioError::BadPath { path: path.into() }), "{path:?}");
        }
    }
}
