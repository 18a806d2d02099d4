//! Looking out for disks that appear while one is written: a USB stick, a path of a SAN that comes back late.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::deploy::imaging::hold::{HoldError, Protected};

const EVERY: Duration = Duration::from_secs(1);

/// Protects what appears until it is dropped, and what was protected with it.
#[derive(Debug)]
pub(super) struct Lookout {
    alarm: watch::Receiver<Option<Arc<HoldError>>>,
    protected: Arc<Mutex<Protected>>,
    task: JoinHandle<()>,
}

impl Lookout {
    /// Begins: every disk but `target` is in `protected` already.
    pub(super) fn begin(root: &Path, target: &str, protected: Protected) -> Self {
        let (raise, alarm) = watch::channel(None);
        let (root, target) = (root.to_owned(), target.to_owned());
        let protected = Arc::new(Mutex::new(protected));
        let shared = Arc::clone(&protected);
        let task = tokio::spawn(async move {
            // A device on its way in or out may be in nobody's reach for a moment: twice in a row is no moment.
            let mut failed_before = false;
            loop {
                tokio::time::sleep(EVERY).await;
                let (root, target, shared) = (root.clone(), target.clone(), Arc::clone(&shared));
                let looked = spawn_blocking(move || lock(&shared).also(&root, &target));
                let Ok(looked) = looked.await else { continue };
                let failed = looked.err().map(Arc::new);
                let is_failing = failed.is_some();
                raise.send_replace(failed.filter(|_| failed_before));
                failed_before = is_failing;
            }
        });
        Self { alarm, protected, task }
    }

    /// Why not every other disk is protected, when one can't be.
    pub(super) fn alarm(&self) -> Option<Arc<HoldError>> {
        self.alarm.borrow().clone()
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.task.abort();
        // A look that is under way keeps the rest, and drops it at its end.
        drop(std::mem::take(&mut *lock(&self.protected)));
    }
}

/// A poisoned lock guards open disks, whose protection the kernel knows.
fn lock(protected: &Mutex<Protected>) -> MutexGuard<'_, Protected> {
    protected.lock().unwrap_or_else(PoisonError::into_inner)
}
