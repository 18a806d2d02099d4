//! Who waits for what: jobs by their end, watches by their units. Knows no connection; holds what was heard until
//! somebody has the time for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::{Notify, mpsc};

use crate::{JobOutcome, UnitName};

/// A job that is over, as its removal was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobEnd {
    pub(crate) job: String,
    pub(crate) outcome: JobOutcome,
}

/// Who wants to be told what.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// Who systemd is on the bus, once that is known.
    pub(crate) owner: OnceLock<String>,
    deaf: AtomicBool,
    ears: Mutex<Ears>,
}

#[derive(Debug, Default)]
struct Ears {
    jobs: Vec<mpsc::UnboundedSender<JobEnd>>,
    watches: Vec<Weak<Inbox>>,
}

impl Hub {
    /// Whether the connection behind it is gone.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Acquire)
    }

    /// Every job that ends from now on; the stream ends when the connection does. Unbounded on purpose: whoever
    /// takes it waits for one reply and one signal, and drops it.
    pub(crate) fn jobs(&self) -> mpsc::UnboundedReceiver<JobEnd> {
        let (tell, ends) = mpsc::unbounded_channel();
        let mut ears = lock(&self.ears);
        if !self.is_deaf() {
            ears.jobs.push(tell);
        }
        ends
    }

    /// From now on `inbox` is told about its units, until it is dropped or the connection is lost.
    pub(crate) fn watch(&self, inbox: &Arc<Inbox>) {
        let mut ears = lock(&self.ears);
        if self.is_deaf() {
            inbox.connection_lost();
        } else {
            ears.watches.push(Arc::downgrade(inbox));
        }
    }

    pub(crate) fn job_ended(&self, end: &JobEnd) {
        lock(&self.ears).jobs.retain(|tell| tell.send(end.clone()).is_ok());
    }

    pub(crate) fn unit_changed(&self, path: &str, name: Option<&str>) {
        self.each_watch(|inbox| inbox.unit_changed(path, name));
    }

    pub(crate) fn files_changed(&self) {
        self.each_watch(Inbox::all_changed);
    }

    fn each_watch(&self, tell: impl Fn(&Inbox)) {
        lock(&self.ears).watches.retain(|weak| weak.upgrade().inspect(|inbox| tell(inbox)).is_some());
    }

    pub(crate) fn lost(&self) {
        let mut ears = lock(&self.ears);
        self.deaf.store(true, Ordering::Release);
        ears.jobs.clear();
        for inbox in ears.watches.drain(..).filter_map(|weak| weak.upgrade()) {
            inbox.connection_lost();
        }
    }
}

/// How thoroughly a unit has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// It changed: look, but do not make systemd load it. Loading announces the unit, and that would be heard
    /// as the next change: a circle.
    Look,
    /// Its files may have changed: load it.
    Load,
}

/// What a watch has to look at again. Holds one entry per unit however many signals come, so a watch nobody reads
/// costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    post: Mutex<Post>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Post {
    /// Watched units and the bus path each was last found at (an alias lives at its target's path).
    paths: BTreeMap<UnitName, Option<String>>,
    stale: BTreeMap<UnitName, Depth>,
    lost: bool,
}

/// What an inbox holds at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lost: bool,
    pub(crate) stale: BTreeMap<UnitName, Depth>,
}

impl Inbox {
    pub(crate) fn new(names: &BTreeSet<UnitName>) -> Arc<Inbox> {
        let paths = names.iter().map(|name| (name.clone(), None)).collect();
        Arc::new(Inbox { post: Mutex::new(Post { paths, ..Post::default() }), bell: Notify::new() })
    }

    /// Waits until there is something to look at. May be dropped and called again without losing any.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            // Made before looking: a bell rung in between is kept for it.
            let rung = self.bell.notified();
            if let Some(taken) = self.taken() {
                return taken;
            }
            rung.await;
        }
    }

    fn taken(&self) -> Option<Taken> {
        let mut post = lock(&self.post);
        let lost = std::mem::take(&mut post.lost);
        let stale = std::mem::take(&mut post.stale);
        (lost || !stale.is_empty()).then_some(Taken { lost, stale })
    }

    /// Everything is to be read again, from the ground up.
    pub(crate) fn all_changed(&self) {
        let mut post = lock(&self.post);
        post.stale = post.paths.keys().map(|name| (name.clone(), Depth::Load)).collect();
        drop(post);
        self.bell.notify_one();
    }

    /// Remembers where the unit lives, for the signals to come.
    pub(crate) fn found_at(&self, name: &UnitName, path: &str) {
        if let Some(known) = lock(&self.post).paths.get_mut(name) {
            *known = Some(path.to_owned());
        }
    }

    fn unit_changed(&self, path: &str, id: Option<&str>) {
        let mut post = lock(&self.post);
        let Post { paths, stale, .. } = &mut *post;
        let before = stale.len();
        for (name, known) in paths {
            if known.as_deref() == Some(path) || id == Some(name.as_str()) {
                stale.entry(name.clone()).or_insert(Depth::Look);
            }
        }
        let more = stale.len() > before;
        drop(post);
        if more {
            self.bell.notify_one();
        }
    }

    fn connection_lost(&self) {
        lock(&self.post).lost = true;
        self.bell.notify_one();
    }
}

/// No code of ours panics while it holds one of these locks; a poisoned one still holds whole data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
