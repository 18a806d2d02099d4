//! The files that make the node who it is to others: SSH host keys, kept by the controller across rebuilds.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use protocol::IdentityFile;

use super::folder::{remove_with_draft, replace};
use crate::tool::{self, ToolError};

/// Larger than any SSH key; a larger file is none.
const LARGEST: u64 = 16 << 10;

/// Why the identity could not be put back or made.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostKeyError {
    /// A path that is not an identity file's.
    #[error("{0:?} is not an identity file")]
    Foreign(String),
    /// Its content is not base64.
    #[error("the content of {0} is not base64")]
    Content(String),
    /// The file system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// Reading or writing.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// ssh-keygen failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Writes the files where they differ from what is there. `true` when any did.
pub(super) fn put_back(root: &Path, files: &[IdentityFile]) -> Result<bool, HostKeyError> {
    let mut changed = false;
    for file in files {
        if !IdentityFile::PATHS.contains(&file.path.as_str()) {
            return Err(HostKeyError::Foreign(file.path.chars().take(80).collect()));
        }
        let content = BASE64.decode(file.content.as_bytes());
        let content = content.map_err(|_| HostKeyError::Content(file.path.clone()))?;
        let path = root.join(file.path.trim_start_matches('/'));
        if fs::read(&path).is_ok_and(|there| there == content) {
            continue;
        }
        let mode = fs::Permissions::from_mode(file.mode & 0o644);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            replace(&path, &content, |file| file.set_permissions(mode))
        };
        write().map_err(|source| HostKeyError::Io { doing: "writing", path: path.clone(), source })?;
        changed = true;
    }
    Ok(changed)
}

/// Makes the keys that are missing. `false` where there is no SSH to make them for.
pub(super) fn make(root: &Path) -> Result<bool, HostKeyError> {
    let made = if root == Path::new("/") {
        tool::run("ssh-keygen", &["-A"])
    } else {
        // A test's tree: the tool puts its own `etc/ssh` below the prefix.
        tool::run("ssh-keygen", &["-A", "-f", &root.to_string_lossy()])
    };
    match made {
        Ok(_) => Ok(true),
        Err(ToolError::Spawn { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files: they are another's. Gone for good when this returns.
pub(super) fn remove(root: &Path) -> Result<(), HostKeyError> {
    for name in IdentityFile::PATHS {
        let path = root.join(name.trim_start_matches('/'));
        let failed = |source| HostKeyError::Io { doing: "removing", path: path.clone(), source };
        if !remove_with_draft(&path).map_err(failed)? {
            continue;
        }
        let folder = path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all());
        folder.map_err(failed)?;
    }
    Ok(())
}

/// The identity files that are here.
pub(super) fn collect(root: &Path) -> Result<Vec<IdentityFile>, HostKeyError> {
    let mut found = Vec::new();
    for name in IdentityFile::PATHS {
        let path = root.join(name.trim_start_matches('/'));
        let failed = |source| HostKeyError::Io { doing: "reading", path: path.clone(), source };
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() <= LARGEST => meta,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let content = fs::read(&path).map_err(failed)?;
        found.push(IdentityFile {
            path: name.to_owned(),
            mode: meta.permissions().mode() & 0o777,
            content: BASE64.encode(&content),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use protocol::IdentityFile;

    use super::{HostKeyError, collect, put_back, remove};

    fn file(path: &str, mode: u32, content: &str) -> IdentityFile {
        IdentityFile { path: path.into(), mode, content: BASE64.encode(content.as_bytes()) }
    }

    #[test]
    fn files_come_back_as_they_were_and_only_once() {
        let root = tempfile::tempdir().unwrap();
        let files =
            [file(IdentityFile::PATHS[2], 0o600, "secret"), file(IdentityFile::PATHS[3], 0o644, "public")];
        assert!(put_back(root.path(), &files).unwrap());
        assert!(!put_back(root.path(), &files).unwrap(), "nothing left to do");
        assert_eq!(collect(root.path()).unwrap(), files);
        // A power cut before a new one was whole.
        let draft = root.path().join("etc/ssh/.ssh_host_rsa_key.rackwright-new");
        std::fs::write(&draft, "secret").unwrap();
        remove(root.path()).unwrap();
        assert!(collect(root.path()).unwrap().is_empty());
        assert!(!draft.exists());
        remove(root.path()).unwrap();
    }

    #[test]
    fn nothing_but_identity_files_is_written() {
        let root = tempfile::tempdir().unwrap();
        for path in ["/etc/shadow", "etc/ssh/ssh_host_rsa_key", "/etc/ssh/../ssh/ssh_host_rsa_key", ""] {
            let refused = put_back(root.path(), &[file(path, 0o600, "x")]);
            assert!(matches!(refused, Err(HostKeyError::Foreign(_))), "{path:?}");
        }
        let garbled = IdentityFile { path: IdentityFile::PATHS[0].into(), mode: 0o600, content: "ä".into() };
        assert!(matches!(put_back(root.path(), &[garbled]), Err(HostKeyError::Content(_))));
        assert!(collect(root.path()).unwrap().is_empty());
    }
}
