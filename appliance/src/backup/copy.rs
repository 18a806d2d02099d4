//! The continuous copy: a backup in a folder elsewhere (another disk, a mounted share), made anew soon after every change.
//!
//! It has a thread of its own, which nobody waits for: a share that hangs stops the copies and nothing else. How often one is
//! made follows from how long it takes: at most a twentieth of the time goes into copies, and there is one a second at most.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet::Time;
use fleet::view::CopyRow;

use super::durable::{beside, sync_folder_of};
use super::{BackupError, Kit, Sources, make};
use crate::writer::{Core, now};

/// What the newest copy is called.
pub const NAME: &str = "rackwright.rwbackup";
/// What the one before it is called.
pub const BEFORE: &str = "rackwright.rwbackup.before";
/// Between two copies.
const PAUSE: Duration = Duration::from_secs(1);
/// A copy's time is this part of the time between two.
const SHARE: u32 = 20;
/// After a failure.
const AGAIN: Duration = Duration::from_secs(10);
/// A copy that takes longer hangs, in seconds.
const HANGS: u64 = 60;

/// The copies of one controller, as `status` tells them.
#[derive(Debug)]
pub struct Copies {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Time>,
    begun: Option<Time>,
    since: Option<Time>,
    why: String,
}

impl Copies {
    /// Begins to copy into this folder, and goes on for as long as the writer runs.
    pub fn start(folder: &Path, sources: Sources, core: &Core) -> Arc<Self> {
        let copies = Arc::new(Self { folder: folder.to_owned(), state: Mutex::default() });
        let (news, wait) = sync_channel(1);
        let copying = Arc::clone(&copies);
        let thread = std::thread::Builder::new().name("copy".to_owned());
        if let Err(error) = thread.spawn(move || copying.run(&sources, &wait)) {
            copies.failed(&format!("its thread could not be started: {error}"));
        }
        let mut watch = core.watch();
        tokio::spawn(async move {
            tell(&news);
            while watch.changed().await.is_ok() {
                tell(&news);
            }
        });
        copies
    }

    fn run(&self, sources: &Sources, wait: &Receiver<()>) {
        let mut due = wait.recv().is_ok();
        let mut copied_then = None;
        while due {
            let found = stamp(&sources.database);
            if copied_then == Some(found) && self.lock().since.is_none() {
                due = wait.recv().is_ok();
                continue;
            }
            let begun = Instant::now();
            self.lock().begun = Some(now());
            let copied = self.copy(sources);
            self.lock().begun = None;
            let pause = match copied {
                Ok(()) => {
                    let mut state = self.lock();
                    (state.last, state.since) = (Some(now()), None);
                    copied_then = Some(found);
                    PAUSE.max(begun.elapsed().saturating_mul(SHARE))
                }
                Err(error) => {
                    self.failed(&crate::chain(&error));
                    AGAIN
                }
            };
            std::thread::sleep(pause);
            let failed = self.lock().since.is_some();
            due = match wait.recv_timeout(if failed { Duration::ZERO } else { Duration::from_secs(1 << 30) })
            {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => failed,
                Err(RecvTimeoutError::Disconnected) => false,
            };
        }
    }

    /// Makes one: the old one stays until the new one is whole.
    fn copy(&self, sources: &Sources) -> Result<(), BackupError> {
        let kit = Kit::stored(&sources.kit())?.ok_or(BackupError::NoKit)?;
        let path = self.folder.join(NAME);
        let part = beside(&path);
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::file("removing", &part)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let mut out =
            io::BufWriter::with_capacity(1 << 20, opened.map_err(BackupError::file("making", &part))?);
        make(sources, &kit, &mut out, now())?;
        out.flush().map_err(BackupError::file("writing", &part))?;
        out.get_ref().sync_all().map_err(BackupError::file("writing", &part))?;
        if path.exists() {
            fs::rename(&path, self.folder.join(BEFORE)).map_err(BackupError::file("renaming", &path))?;
        }
        fs::rename(&part, &path).map_err(BackupError::file("renaming", &part))?;
        sync_folder_of(&path).map_err(BackupError::file("syncing the folder of", &path))
    }

    fn failed(&self, why: &str) {
        let mut state = self.lock();
        if state.why != why || state.since.is_none() {
            tracing::warn!(why, folder = %self.folder.display(), "the state is not copied");
        }
        state.since.get_or_insert(now());
        why.clone_into(&mut state.why);
    }

    /// For `status`.
    pub fn row(&self) -> CopyRow {
        let state = self.lock();
        let hangs = state.begun.filter(|begun| now().seconds_since(*begun) > HANGS);
        let problem = match (state.since, hangs) {
            (Some(since), _) => Some(format!(
                "the state was not copied since {since}: {}; it is tried again by itself",
                state.why
            )),
            (None, Some(begun)) => Some(format!(
                "the copy that began at {begun} has not ended: does the disk or the share answer? (ls {})",
                self.folder.display()
            )),
            (None, None) => None,
        };
        CopyRow {
            path: self.folder.display().to_string(),
            copied: state.last.map(|at| at.to_string()),
            problem,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes whenever the data base does.
fn stamp(database: &Path) -> [Option<(std::time::SystemTime, u64)>; 2] {
    let log = database.with_extension("db-wal");
    [database, &log].map(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
}

/// Full: it is about to look.
fn tell(news: &SyncSender<()>) {
    let _ = news.try_send(());
}
