//! Pieces that came and are right, for others to fetch: kept as long as memory allows, whether they are on the disk or not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The bytes of an image that may be in memory, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// What may wait for the disk.
    pub(crate) spool: u64,
    /// What is kept for others. A piece that waits for the disk is the same memory.
    pub(crate) shelf: u64,
}

impl Budget {
    /// Of so many bytes, for an image with so many stored bytes. Where all of it has room, nothing has to be let go; else half
    /// is for the disk.
    pub(crate) fn of(bytes: u64, image: u64) -> Self {
        if bytes >= image {
            return Self { spool: bytes, shelf: image };
        }
        Self { spool: bytes - bytes / 2, shelf: bytes / 2 }
    }
}

/// The pieces, by where they lie in the data area.
#[derive(Debug)]
pub(crate) struct Shelf {
    most: u64,
    stock: Mutex<Stock>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Stock {
    places: BTreeMap<u64, Place>,
    /// Those that are here, the oldest first. Pieces that were fetched in one range share its memory; they also go together.
    ages: VecDeque<u64>,
    bytes: u64,
    had: u64,
}

#[derive(Debug)]
enum Place {
    Here(Bytes),
    /// It was here, or will not be, and so long it is.
    Gone(u64),
}

/// What is there of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// All of it.
    Whole,
    /// Not all of it yet.
    NotYet,
    /// A part of it is not here any more.
    Gone,
}

impl Shelf {
    /// An empty one, for so many bytes.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, stock: Mutex::default(), came: Notify::new() }
    }

    /// Keeps a piece that was found right. What was here longest makes room for it.
    pub(crate) fn put(&self, offset: u64, piece: &Bytes) {
        let length = piece.len() as u64;
        if length == 0 || length > self.most {
            return;
        }
        let mut stock = self.lock();
        match stock.places.get(&offset) {
            // The older one stays where its neighbours are.
            Some(Place::Here(_)) => return,
            Some(Place::Gone(_)) => {}
            None => stock.had = stock.had.saturating_add(length),
        }
        stock.places.insert(offset, Place::Here(piece.clone()));
        stock.ages.push_back(offset);
        stock.bytes = stock.bytes.saturating_add(length);
        stock.make_room(self.most);
        drop(stock);
        self.came.notify_waiters();
    }

    /// A piece of this length will not come: the disk has it already. Nobody waits for it here.
    pub(crate) fn pass(&self, offset: u64, length: u64) {
        if length > 0 {
            self.lock().places.entry(offset).or_insert(Place::Gone(length));
            self.came.notify_waiters();
        }
    }

    /// Stored bytes that came so far, each counted once.
    pub(crate) fn had_bytes(&self) -> u64 {
        self.lock().had
    }

    /// Whether a range is here. Waits for so long for it to come.
    pub(super) async fn await_range(&self, offset: u64, bytes: u32, patience: Duration) -> There {
        let deadline = Instant::now() + patience;
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            // What comes from here on is not missed.
            came.as_mut().enable();
            let there = self.lock().there(offset, offset.saturating_add(u64::from(bytes)));
            if there != There::NotYet || timeout_at(deadline, came).await.is_err() {
                return there;
            }
        }
    }

    /// What lies from `offset` on, up to `end` and no further than one piece; none when it is not here.
    pub(super) fn part(&self, offset: u64, end: u64) -> Option<Bytes> {
        let stock = self.lock();
        let (begin, place) = stock.places.range(..=offset).next_back()?;
        let Place::Here(piece) = place else { return None };
        let from = usize::try_from(offset.checked_sub(*begin)?).ok()?;
        let to = usize::try_from(end.checked_sub(*begin)?).unwrap_or(usize::MAX).min(piece.len());
        (from < to).then(|| piece.slice(from..to))
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        // A map that was left half changed serves bytes that whoever fetches them checks.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn make_room(&mut self, most: u64) {
        while self.bytes > most {
            let Some(oldest) = self.ages.pop_front() else { return };
            let Some(place) = self.places.get_mut(&oldest) else { continue };
            let length = place.length();
            *place = Place::Gone(length);
            self.bytes = self.bytes.saturating_sub(length);
        }
    }

    fn there(&self, offset: u64, end: u64) -> There {
        let first = self.places.range(..=offset).next_back().map_or(offset, |(begin, _)| *begin);
        let (mut at, mut found) = (offset, There::Whole);
        for (begin, place) in self.places.range(first..end) {
            let until = begin.saturating_add(place.length());
            if until <= offset {
                continue;
            }
            if matches!(place, Place::Gone(_)) {
                return There::Gone;
            }
            if *begin > at {
                found = There::NotYet;
            }
            at = at.max(until);
        }
        if at < end { There::NotYet } else { found }
    }
}

impl Place {
    fn length(&self) -> u64 {
        match self {
            Place::Here(piece) => piece.len() as u64,
            Place::Gone(length) => *length,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn piece(length: usize) -> Bytes {
        Bytes::from(vec![9; length])
    }

    async fn there(shelf: &Shelf, offset: u64, bytes: u32) -> There {
        shelf.await_range(offset, bytes, Duration::ZERO).await
    }

    #[test]
    fn half_of_the_budget_is_for_others_unless_the_image_fits() {
        assert_eq!(Budget::of(100, 100), Budget { spool: 100, shelf: 100 });
        assert_eq!(Budget::of(200, 100), Budget { spool: 200, shelf: 100 });
        assert_eq!(Budget::of(101, 102), Budget { spool: 51, shelf: 50 });
        assert_eq!(Budget::of(0, 0), Budget { spool: 0, shelf: 0 });
    }

    #[tokio::test]
    async fn nobody_waits_for_what_the_disk_had_already() {
        let shelf = Shelf::new(1000);
        shelf.put(10, &piece(10));
        shelf.pass(10, 10);
        shelf.pass(20, 10);
        shelf.pass(30, 0);
        assert_eq!(there(&shelf, 10, 10).await, There::Whole, "it is here all the same");
        let long = Duration::from_secs(600);
        assert_eq!(shelf.await_range(10, 20, long).await, There::Gone);
        shelf.put(20, &piece(10));
        assert_eq!(there(&shelf, 10, 20).await, There::Whole, "it came all the same");
        assert_eq!(there(&shelf, 30, 1).await, There::NotYet);
    }

    #[tokio::test]
    async fn a_range_is_there_when_all_its_pieces_are() {
        let shelf = Shelf::new(1000);
        for at in [10, 30] {
            shelf.put(at, &piece(10));
        }
        for (offset, bytes, expected) in [
            (10, 10, There::Whole),
            (12, 3, There::Whole),
            (35, 5, There::Whole),
            (9, 5, There::NotYet),
            (15, 6, There::NotYet),
            (15, 20, There::NotYet),
            (20, 1, There::NotYet),
            (35, 6, There::NotYet),
            (u64::MAX - 5, 5, There::NotYet),
        ] {
            assert_eq!(there(&shelf, offset, bytes).await, expected, "{bytes} from {offset}");
        }
        shelf.put(20, &piece(10));
        assert_eq!(there(&shelf, 10, 30).await, There::Whole);
        let lengths = [(10, 40), (15, 18), (39, 100), (40, 50)]
            .map(|(offset, end)| shelf.part(offset, end).map(|part| part.len()));
        assert_eq!(lengths, [Some(10), Some(3), Some(1), None]);
    }

    #[tokio::test]
    async fn what_was_here_longest_goes_and_is_not_waited_for() {
        let shelf = Shelf::new(25);
        for at in [0, 10, 20] {
            shelf.put(at, &piece(10));
        }
        let forever = Duration::from_secs(3600);
        assert_eq!(shelf.await_range(0, 1, forever).await, There::Gone);
        assert_eq!(shelf.await_range(5, 10, forever).await, There::Gone);
        assert_eq!(there(&shelf, 10, 20).await, There::Whole);
        assert_eq!(shelf.part(5, 10), None);
        // It comes again: it is the youngest now, and nothing more was had.
        assert_eq!(shelf.had_bytes(), 30);
        shelf.put(0, &piece(10));
        assert_eq!((there(&shelf, 0, 10).await, there(&shelf, 10, 10).await), (There::Whole, There::Gone));
        assert_eq!(shelf.had_bytes(), 30);
    }

    #[test]
    fn never_more_is_kept_than_there_is_room_for() {
        let shelf = Shelf::new(100);
        for at in 0..1000_u64 {
            let length = usize::try_from(at * 7 % 130).unwrap();
            shelf.put(at * 1000, &piece(length));
            // The same piece twice counts once.
            shelf.put(at * 1000, &piece(length));
            let stock = shelf.lock();
            let here = stock.places.values().filter(|place| matches!(place, Place::Here(_)));
            assert_eq!(here.clone().count(), stock.ages.len());
            assert_eq!(here.map(Place::length).sum::<u64>(), stock.bytes);
            assert!(stock.bytes <= 100);
        }
    }

    #[tokio::test]
    async fn what_comes_is_noticed_by_all_who_wait() {
        let shelf = Arc::new(Shelf::new(100));
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let shelf = Arc::clone(&shelf);
                tokio::spawn(async move { shelf.await_range(0, 20, Duration::from_secs(60)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        shelf.put(10, &piece(10));
        tokio::task::yield_now().await;
        shelf.put(0, &piece(10));
        for one in waiting {
            assert_eq!(one.await.unwrap(), There::Whole);
        }
    }
}
