//! Reading images through: what a disk lost without telling is found before a server needs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet::Time;
use pack::Digest;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use super::load::PAST;
use super::shelf::{Place, chunks};
use super::{Damage, ImageError, Images};
use crate::writer::now;

/// What is remembered over a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Past {
    /// When an image was last read through.
    checked: BTreeMap<Digest, Time>,
    /// Copies that were found damaged.
    pub(super) bad: Vec<Bad>,
}

/// A damaged copy of a chunk. Another copy of the same chunk may be whole.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bad {
    pub(super) digest: Digest,
    pack: u64,
    offset: u64,
    bytes: u32,
}

impl Bad {
    pub(super) fn place(&self) -> Place {
        Place { pack: self.pack, offset: self.offset, bytes: self.bytes }
    }
}

/// How much a scrub leaves to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: somebody waits for it.
    None,
    /// The disk whenever another wants it, and half of the time in any case.
    Half,
}

/// How far the scrub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbing {
    /// Whether it goes on.
    pub running: bool,
    /// The image that is being read.
    pub image: Option<Digest>,
    /// Stored bytes that were read in this round.
    pub done_bytes: u64,
    /// And are to be read in all.
    pub total_bytes: u64,
    /// The images that were read, and which windows of each are damaged.
    pub found: Vec<(Digest, Vec<u32>)>,
    /// When this round began; none when there was none since the start.
    pub begun: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
}

#[derive(Debug, Default)]
pub(super) struct Round {
    checked: BTreeMap<Digest, Time>,
    queue: VecDeque<Digest>,
    image: Option<Digest>,
    done: u64,
    total: u64,
    hurried: bool,
    running: bool,
    found: Vec<(Digest, Vec<u32>)>,
    begun: Option<Time>,
    ended: Option<Time>,
}

impl Round {
    pub(super) fn new(past: Past) -> Self {
        Self { checked: past.checked, ..Self::default() }
    }
}

impl Images {
    /// Reads every chunk of an image and compares it with the manifest: the windows that are damaged. `read` hears how many
    /// bytes were read, and says how much rest the disk gets.
    ///
    /// # Errors
    /// [`ImageError`] when the image is not there at all.
    pub fn scrub(&self, digest: &Digest, read: &mut dyn FnMut(u64) -> Rest) -> Result<Vec<u32>, ImageError> {
        let stored = self.stored(digest)?;
        let mut places = {
            let shelf = self.shelf();
            let wanted = chunks(&stored.manifest).collect::<BTreeSet<_>>();
            wanted.into_iter().filter_map(|d| Some((shelf.any_place(&d)?, d))).collect::<Vec<_>>()
        };
        // In the order of the disk.
        places.sort_by_key(|(place, _)| *place);
        for (place, digest) in places {
            let begun = Instant::now();
            let whole = self.is_whole(place, &digest);
            self.shelf().note(digest, place, whole);
            if read(u64::from(place.bytes)) == Rest::Half {
                std::thread::sleep(begun.elapsed().min(Duration::from_secs(1)));
            }
        }
        self.round().checked.insert(*digest, now());
        self.save_past();
        match self.damaged(digest) {
            Damage::Windows(windows) => Ok(windows),
            Damage::Absent => Err(ImageError::Absent(*digest)),
        }
    }

    /// Whether the disk still has what was written there; the page cache is not asked.
    fn is_whole(&self, place: Place, digest: &Digest) -> bool {
        let Some((file, offset)) = self.shelf().file(place) else { return false };
        // Before, so that the disk is read; and after, so that nothing else has to leave the cache for it.
        let forget = || {
            let _ = fadvise(&*file, offset, NonZeroU64::new(place.bytes.into()), Advice::DontNeed);
        };
        forget();
        let mut bytes = vec![0; usize::try_from(place.bytes).unwrap_or_default()];
        let read = file.read_exact_at(&mut bytes, offset);
        forget();
        read.is_ok() && Digest::of(&bytes) == *digest
    }

    /// Has these images read through by a thread of their own, after those that wait already. `Rest::None` hurries them all.
    pub fn begin_scrub(self: &Arc<Self>, images: &[Digest], rest: Rest) {
        let sizes = images.iter().map(|digest| self.stored(digest).map_or(0, |s| s.manifest.data_bytes()));
        let sizes = sizes.collect::<Vec<_>>();
        let mut round = self.round();
        if !round.running {
            let checked = std::mem::take(&mut round.checked);
            *round = Round { checked, begun: Some(now()), ..Round::default() };
        }
        round.hurried |= rest == Rest::None;
        for (digest, bytes) in images.iter().zip(sizes) {
            if round.image != Some(*digest) && !round.queue.contains(digest) {
                round.queue.push_back(*digest);
                round.total = round.total.saturating_add(bytes);
            }
        }
        if !std::mem::replace(&mut round.running, true) {
            let images = Arc::clone(self);
            let spawned = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || {
                // Of this thread, and of its I/O where a scheduler looks at it (ioprio_set(2)). Best effort.
                let _as_it_was = rustix::process::nice(19);
                images.read_all();
            });
            round.running = spawned.is_ok();
        }
    }

    fn read_all(&self) {
        loop {
            let digest = {
                let mut round = self.round();
                round.image = round.queue.pop_front();
                let Some(digest) = round.image else {
                    (round.running, round.ended) = (false, Some(now()));
                    return;
                };
                digest
            };
            let before = self.round().done;
            let found = self.scrub(&digest, &mut |bytes| {
                let mut round = self.round();
                round.done = round.done.saturating_add(bytes).min(round.total);
                let hurried = round.hurried;
                drop(round);
                if hurried { Rest::None } else { Rest::Half }
            });
            self.tell(digest, before, found);
        }
    }

    /// Chunks that an image has twice are read once, but its size counts them twice.
    fn tell(&self, digest: Digest, before: u64, found: Result<Vec<u32>, ImageError>) {
        let stored = self.stored(&digest).ok();
        let (name, bytes) = stored.map_or((String::new(), 0), |stored| {
            (stored.manifest.name().to_owned(), stored.manifest.data_bytes())
        });
        let bad = match found {
            Ok(windows) => windows,
            Err(error) => {
                tracing::warn!(image = %digest.short(), why = crate::chain(&error), "an image was not read through");
                return;
            }
        };
        if !bad.is_empty() {
            tracing::error!(image = name, digest = %digest.short(), bad = bad.len(), "chunks of an image are damaged: import it again");
        } else {
            tracing::info!(image = name, digest = %digest.short(), bytes, "an image was read through: it is whole");
        }
        let mut round = self.round();
        round.done = before.saturating_add(bytes).min(round.total);
        round.found.push((digest, bad));
    }

    /// How far it is.
    pub fn scrubbing(&self) -> Scrubbing {
        let round = self.round();
        Scrubbing {
            running: round.running,
            image: round.image,
            done_bytes: round.done,
            total_bytes: round.total,
            found: round.found.clone(),
            begun: round.begun,
            ended: round.ended,
        }
    }

    /// When an image was last read through.
    pub fn checked(&self, digest: &Digest) -> Option<Time> {
        self.round().checked.get(digest).copied()
    }

    /// The image that is longest overdue, when each shall be read every so many seconds. Those that came on one day are read
    /// for the first time on different ones.
    pub fn overdue(&self, images: &[(Digest, Time)], seconds: u64, now: Time) -> Option<Digest> {
        let round = self.round();
        let late = |(digest, imported): &(Digest, Time)| {
            let wait = match round.checked.get(digest) {
                Some(checked) => (*checked, seconds),
                None => {
                    let [byte, ..] = digest.0;
                    (*imported, seconds / 256 * (u64::from(byte) + 1))
                }
            };
            let (since, wait) = wait;
            now.seconds_since(since).checked_sub(wait).map(|late| (late, *digest))
        };
        images.iter().filter_map(late).max().map(|(_, digest)| digest)
    }

    /// A copy that was damaged has been replaced, perhaps: then that is remembered.
    pub(super) fn healed(&self) {
        if self.folder.join(PAST).exists() {
            self.save_past();
        }
    }

    /// The image is gone.
    pub(super) fn forget_past(&self, digest: &Digest) {
        if self.round().checked.remove(digest).is_some() {
            self.save_past();
        }
    }

    /// Best effort: what is not remembered is found again.
    fn save_past(&self) {
        let bad = |(digest, Place { pack, offset, bytes })| Bad { digest, pack, offset, bytes };
        let bad = self.shelf().bad().into_iter().map(bad).collect();
        let past = Past { bad, checked: self.round().checked.clone() };
        let saved = serde_json::to_vec(&past).map(|text| self.folder.replace(PAST, &text));
        if let Ok(Err(error)) = saved {
            tracing::warn!(why = crate::chain(&error), "what the scrub found is not remembered");
        }
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.scrubbing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
