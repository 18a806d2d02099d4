//! Room on the disk that holds the state: how much there is, and since when nothing could be saved.
//!
//! Knows what a full disk means for an operator. Refuses to make room: what may go is for a person to say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet::Time;
use fleet::view::StorageRow;

/// Bytes that images leave free for the data base and the log.
pub const RESERVE: u64 = 64 << 20;
/// How long the same trouble is not logged again, in seconds.
const REPEAT_SECONDS: u64 = 60;

/// What a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that a process which is not root may still write.
    pub free: u64,
}

impl Room {
    /// The file system of this directory.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }
}

/// The time in which nothing can be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Time,
    /// Why, as the last attempt said.
    pub why: String,
    /// How many requests were refused for it.
    pub refused: u64,
    logged: Time,
}

/// The state's disk, as the writer finds it and `status` tells it.
#[derive(Clone, Debug)]
pub struct Space {
    folder: PathBuf,
    trouble: Arc<Mutex<Option<Trouble>>>,
    commits: Arc<Commits>,
}

/// How often something was saved since the start, and how long that took.
#[derive(Debug, Default)]
struct Commits {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Space {
    /// The disk of this directory, without trouble so far.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), trouble: Arc::default(), commits: Arc::default() }
    }

    /// The trouble, while there is some.
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().clone()
    }

    /// A batch could not be saved; true when that is worth a line in the log.
    pub(crate) fn unsaved(&self, why: &str, now: Time) -> bool {
        let mut trouble = self.lock();
        let before = trouble.take();
        let news =
            before.as_ref().is_none_or(|t| t.why != why || now.seconds_since(t.logged) >= REPEAT_SECONDS);
        *trouble = Some(Trouble {
            since: before.as_ref().map_or(now, |trouble| trouble.since),
            why: why.to_owned(),
            refused: before.as_ref().map_or(0, |trouble| trouble.refused),
            logged: if news { now } else { before.map_or(now, |trouble| trouble.logged) },
        });
        news
    }

    /// So many of a batch's requests were refused for it.
    pub(crate) fn refused(&self, requests: u64) {
        if let Some(trouble) = self.lock().as_mut() {
            trouble.refused = trouble.refused.saturating_add(requests);
        }
    }

    /// A batch was saved: the trouble is over.
    pub(crate) fn saved(&self) {
        *self.lock() = None;
    }

    /// A transaction was made durable.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Transactions since the start, and the time that they took together.
    pub fn commits(&self) -> (u64, Duration) {
        let Commits { count, micros } = &*self.commits;
        (count.load(Ordering::Relaxed), Duration::from_micros(micros.load(Ordering::Relaxed)))
    }

    /// For `status`: the room there is, and what is wrong with it.
    pub fn row(&self) -> StorageRow {
        let path = self.folder.display().to_string();
        let room = Room::of(&self.folder);
        let free = room.as_ref().map_or(0, |room| room.free);
        let problem = match (self.trouble(), &room) {
            (Some(Trouble { since, why, refused, .. }), _) => Some(format!(
                "nothing can be saved since {since}, {refused} requests were refused: {why}; {free} bytes are free"
            )),
            (None, Err(error)) => Some(format!("its disk can't be looked at: {error}")),
            (None, Ok(room)) if room.free < RESERVE => Some(format!(
                "only {free} bytes are free: no image is taken in, and soon nothing can be saved"
            )),
            (None, Ok(_)) => None,
        };
        StorageRow { path, total_bytes: room.map_or(0, |room| room.total), free_bytes: free, problem }
    }

    /// What an operator does about a problem of it.
    pub fn next_step(&self) -> String {
        format!("free space, and all goes on by itself: du -xh {}", self.folder.display())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Space, Time};

    #[test]
    fn trouble_is_counted_logged_now_and_then_and_over_with_the_first_save() {
        let space = Space::new(std::path::Path::new("/"));
        space.refused(7);
        assert_eq!(space.trouble(), None, "nothing is refused without trouble");
        assert!(space.unsaved("full", Time(1000)), "the first time");
        space.refused(3);
        assert!(!space.unsaved("full", Time(2000)), "the same again");
        space.refused(2);
        assert!(space.unsaved("broken", Time(3000)), "another reason");
        assert!(space.unsaved("broken", Time(63_000)), "a minute later");
        let trouble = space.trouble().unwrap();
        assert_eq!((trouble.since, trouble.refused, trouble.why.as_str()), (Time(1000), 5, "broken"));
        let told = space.row().problem.unwrap();
        assert!(told.contains("5 requests were refused: broken"), "{told}");
        space.saved();
        assert_eq!(space.trouble(), None);
    }
}
