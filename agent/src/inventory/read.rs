//! Small files of `/sys` and `/proc`, read with a limit.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

const FILE_MAX: u64 = 4 << 20;

/// A file's bytes below `root`; empty when it is not there or can't be read (`/sys` answers EINVAL for "not known").
pub(crate) fn bytes(root: &Path, path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let read = File::open(root.join(path)).and_then(|f| f.take(FILE_MAX).read_to_end(&mut out));
    if read.is_err() {
        out.clear();
    }
    out
}

/// A file's text, ends trimmed.
pub(crate) fn text(root: &Path, path: &str) -> String {
    String::from_utf8_lossy(&bytes(root, path)).trim_matches(['\n', ' ', '\t', '\0']).to_owned()
}

/// A file's text as a name: one clean line.
pub(crate) fn name(root: &Path, path: &str) -> String {
    crate::text::name_of_bytes(&bytes(root, path))
}

/// A file's text as a number.
pub(crate) fn number<T: std::str::FromStr>(root: &Path, path: &str) -> Option<T> {
    text(root, path).parse().ok()
}

/// The names in a directory, sorted; none when it is not there.
pub(crate) fn names(root: &Path, path: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(path)) else { return Vec::new() };
    let mut names =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>();
    names.sort();
    names
}

/// The last part of what a symbolic link points at: how `/sys` names drivers and subsystems.
pub(crate) fn link_name(root: &Path, path: &str) -> String {
    let target = std::fs::read_link(root.join(path)).unwrap_or_default();
    target.file_name().map(|n| crate::text::name(&n.to_string_lossy())).unwrap_or_default()
}
