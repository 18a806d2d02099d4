//! One daemon for one state: held from before the state is read until the process ends, however it ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// The file in the state directory. It stays; what counts is who holds it.
const NAME: &str = "lock";
/// A process id is not longer, in bytes.
const MAX_PID: u64 = 20;

/// The state directory, ours alone until this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Closing it gives the lock back (flock(2)); the kernel does so when we are killed.
    _file: File,
}

/// Why the state is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "{} is in use by another rackwright serve (process {holder}): stop that one first (systemctl stop rackwright), or \
         give this one another --root",
        path.display()
    )]
    Held {
        /// The state directory.
        path: PathBuf,
        /// Its process id, as it wrote it down.
        holder: String,
    },
    /// The file can't be made or locked.
    #[error("locking {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the state directory, making it if there is none.
    ///
    /// # Errors
    /// [`LockError`]; nothing was changed.
    pub fn take(state: &Path) -> Result<Self, LockError> {
        let path = state.join(NAME);
        let failed = |source: io::Error| LockError::File { path: path.clone(), source };
        std::fs::create_dir_all(state).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| failed(error.into()))?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { path: state.to_owned(), holder: holder(file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who wrote itself into the file; it may be just about to.
fn holder(file: File) -> String {
    let mut text = String::new();
    let read = file.take(MAX_PID).read_to_string(&mut text);
    let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Lock, LockError};

    #[test]
    fn a_state_has_one_daemon_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/rackwright");
        let first = Lock::take(&state).unwrap();
        let refused = Lock::take(&state).unwrap_err();
        assert!(matches!(refused, LockError::Held { .. }), "{refused}");
        let own = format!("process {}", std::process::id());
        assert!(refused.to_string().contains(&own), "{refused}");
        // The one that was refused did not rub the holder out.
        assert!(Lock::take(&state).unwrap_err().to_string().contains(&own));
        drop(first);
        Lock::take(&state).unwrap();
    }

    #[test]
    fn what_a_killed_daemon_left_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("lock"), "4194304 and more than that\n").unwrap();
        let lock = Lock::take(root.path()).unwrap();
        let text = std::fs::read_to_string(root.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(lock);
    }

    #[test]
    fn a_second_daemon_ends_before_it_touches_anything() {
        let root = tempfile::tempdir().unwrap();
        let paths = crate::config::Paths::under(Some(root.path()));
        std::fs::create_dir_all(paths.config.parent().unwrap()).unwrap();
        let provision = "interface = \"rw0\"\naddress = \"10.77.0.1/24\"\ndhcp = \"off\"\n";
        std::fs::write(&paths.config, format!("site = \"lab\"\n[[provision]]\n{provision}")).unwrap();
        let _first = Lock::take(&paths.state).unwrap();
        let refused = crate::daemon::serve(Some(root.path())).unwrap_err().to_string();
        assert!(refused.contains("in use by another"), "{refused}");
    }
}
