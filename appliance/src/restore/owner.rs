//! Whose the files of a restore are: root restores, and the daemon, which is not root, has to read them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use super::RestoreError;
use crate::config::Paths;

/// Whom the unit of the daemon runs as.
const USER: &str = "rackwright";

/// Whose the state is to be.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// None: the caller's, who is not root, or there is nobody else.
fn of(paths: &Paths) -> Result<Option<Owner>, RestoreError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = fs::metadata(&paths.state).map_err(RestoreError::file("reading", &paths.state))?;
    if meta.uid() != 0 {
        return Ok(Some(Owner { uid: meta.uid(), gid: meta.gid() }));
    }
    // Below another root nobody knows who the daemon will be.
    let user = (paths.root == Path::new("/")).then(|| nix::unistd::User::from_name(USER).ok().flatten());
    Ok(user.flatten().map(|user| Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// Who may end what was decided: who decided it. Root follows no list that another user could have written.
pub(super) fn check(decided: &Path) -> Result<(), RestoreError> {
    let meta = fs::symlink_metadata(decided).map_err(RestoreError::file("reading", decided))?;
    if meta.uid() == rustix::process::geteuid().as_raw() && meta.is_dir() {
        return Ok(());
    }
    Err(RestoreError::Unfinished { path: decided.to_owned(), uid: meta.uid() })
}

/// Gives each file the mode and the owner that it has in its place; the folder and its list stay the caller's.
pub(super) fn mark(paths: &Paths, part: &Path, places: &[(PathBuf, PathBuf)]) -> Result<(), RestoreError> {
    let owner = of(paths)?;
    for (from, to) in places {
        let path = part.join(from);
        let (uid, gid) = (owner.map(|owner| owner.uid), owner.map(|owner| owner.gid));
        let (mode, uid, gid) = if to.starts_with(&paths.state) {
            (0o600, uid, gid)
        } else if *to == paths.config {
            // The daemon reads it, and does not change it.
            (0o640, None, gid)
        } else {
            // Public keys.
            (0o644, None, None)
        };
        if uid.is_some() || gid.is_some() {
            lchown(&path, uid, gid).map_err(RestoreError::file("giving away", &path))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .and_then(|()| File::open(&path)?.sync_all())
            .map_err(RestoreError::file("giving away", &path))?;
    }
    Ok(())
}

/// Makes a folder and those above it, where they are missing: in the state for its owner alone, elsewhere for all to read.
pub(super) fn settle(paths: &Paths, folder: &Path) -> Result<(), RestoreError> {
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing = missing.collect::<Vec<_>>();
    for folder in missing.into_iter().rev() {
        let inside = folder.starts_with(&paths.state);
        let mode = if inside { 0o700 } else { 0o755 };
        DirBuilder::new().mode(mode).create(folder).map_err(RestoreError::file("making", folder))?;
        // Whatever the umask of the caller is.
        fs::set_permissions(folder, Permissions::from_mode(mode))
            .map_err(RestoreError::file("making", folder))?;
        if let Some(owner) = of(paths)?.filter(|_| inside) {
            give(folder, owner)?;
        }
    }
    Ok(())
}

/// Gives the state directory to the daemon's user. One that is this user's already has nobody else's files but the lock.
pub(super) fn hand_over(paths: &Paths) -> Result<(), RestoreError> {
    let Some(owner) = of(paths)? else { return Ok(()) };
    let meta = fs::metadata(&paths.state).map_err(RestoreError::file("reading", &paths.state))?;
    if meta.uid() == owner.uid {
        let lock = paths.state.join("lock");
        return if lock.exists() { give(&lock, owner) } else { Ok(()) };
    }
    give_all(paths, owner)
}

/// The directory itself comes last: until then nobody else can change a name in it, and after a power cut it is done again.
fn give_all(paths: &Paths, owner: Owner) -> Result<(), RestoreError> {
    let decided = paths.state.join(super::DECIDED);
    let mut open = vec![paths.state.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(RestoreError::file("reading", &folder))?.flatten() {
            let path = entry.path();
            if path == decided {
                continue;
            }
            give(&path, owner)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    give(&paths.state, owner)
}

/// Never what a link names.
fn give(path: &Path, owner: Owner) -> Result<(), RestoreError> {
    lchown(path, Some(owner.uid), Some(owner.gid)).map_err(RestoreError::file("giving away", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::{Owner, give_all};
    use crate::config::Paths;

    #[test]
    fn everything_in_the_state_is_given_away_but_what_is_not_ended() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(Some(root.path()));
        let decided = paths.state.join(super::super::DECIDED);
        for folder in [&paths.ca, &paths.boot, &decided] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let (linked, link) = (root.path().join("elsewhere"), paths.state.join("link"));
        std::fs::write(&linked, "").unwrap();
        std::os::unix::fs::symlink(&linked, &link).unwrap();
        std::fs::write(paths.ca.join("x.key"), "").unwrap();
        give_all(&paths, Owner { uid: 12345, gid: 12346 }).unwrap();
        let owner = |path: &std::path::Path| {
            let meta = std::fs::symlink_metadata(path).unwrap();
            (meta.uid(), meta.gid())
        };
        for path in [&paths.state, &paths.ca, &paths.boot, &link, &paths.ca.join("x.key")] {
            assert_eq!(owner(path), (12345, 12346), "{}", path.display());
        }
        assert_eq!((owner(&linked), owner(&decided)), ((0, 0), (0, 0)));
    }
}
