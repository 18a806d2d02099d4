//! Files that are the old one or the new one, whenever the power goes.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Writes a file that only its owner reads, durably and as a whole: beside it, synced, renamed, the folder synced.
///
/// # Errors
/// What the kernel said; then the old file is there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, None, None)
}

/// As [`replace`], with the mode of another file and, for root, its owner.
///
/// # Errors
/// What the kernel said; then the old file is there.
pub fn replace_like(path: &Path, content: &[u8], like: &Metadata) -> io::Result<()> {
    write(path, content, Some(like), None)
}

/// As [`replace`], for a file that everybody may read.
///
/// # Errors
/// What the kernel said; then the old file is there.
pub(crate) fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, None, Some(0o644))
}

fn write(path: &Path, content: &[u8], like: Option<&Metadata>, mode: Option<u32>) -> io::Result<()> {
    let temporary = beside(path);
    drop(fs::remove_file(&temporary));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    if let Some(like) = like {
        if rustix::process::geteuid().is_root() {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(like.permissions())?;
    }
    // Whatever the umask says.
    if let Some(mode) = mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// The name under which a file is written first.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

/// Makes what was done to the names in a file's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
