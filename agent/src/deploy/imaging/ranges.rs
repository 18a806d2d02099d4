//! Memory for ranges of an image, used again and again.
//!
//! Fresh memory of this size comes from the kernel each time: it is cleared, mapped page by page, and given back. That costs
//! more than reading into it. And an allocator with an arena for every thread keeps some of it for each of them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller ranges are not worth keeping, and would come to hold the memory of large ones.
const KEPT_MIN: usize = 2 << 20;

/// Where ranges go to when nobody needs them any more. There are as many as were ever in use
/// at once: what is kept is at most twice what was used.
#[derive(Debug, Clone)]
pub(super) struct Ranges {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    kept_min: usize,
}

impl Default for Ranges {
    fn default() -> Self {
        Self::keeping(KEPT_MIN)
    }
}

/// The memory of one range. It goes back when it is dropped, with all that is cut from it.
#[derive(Debug)]
pub(super) struct Range {
    memory: Vec<u8>,
    bytes: usize,
    home: Ranges,
}

impl Ranges {
    /// Such that keep memory of so many bytes and more.
    pub(super) fn keeping(kept_min: usize) -> Self {
        Self { idle: Arc::default(), kept_min }
    }

    /// So many bytes, with whatever their last user left in them.
    pub(super) fn take(&self, bytes: usize) -> Range {
        let kept = if bytes < self.kept_min { None } else { self.idle(|idle| idle.pop()) };
        let mut memory = kept.unwrap_or_default();
        // All that it ever had stays valid: only what it grows by is cleared.
        if memory.len() < bytes {
            memory.reserve_exact(bytes - memory.len());
            memory.resize(bytes, 0);
        }
        Range { memory, bytes, home: self.clone() }
    }

    fn idle<T>(&self, work: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        // What is behind the lock is a list that is whole whenever the lock is free.
        work(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.len() >= self.home.kept_min {
            self.home.idle(|idle| idle.push(memory));
        }
    }
}

impl Deref for Range {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(..self.bytes).unwrap_or_default()
    }
}

impl DerefMut for Range {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.bytes).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Range {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{KEPT_MIN, Ranges};

    #[test]
    fn memory_goes_back_with_the_last_piece_that_is_cut_from_it() {
        let ranges = Ranges::default();
        let mut range = ranges.take(KEPT_MIN + 8);
        range[..6].copy_from_slice(b"onetwo");
        let place = range.as_ptr();
        let whole = Bytes::from_owner(range);
        let piece = whole.slice(3..6);
        drop(whole);
        assert_eq!(ranges.idle(|idle| idle.len()), 0);
        assert_eq!(piece, "two");
        drop(piece);
        // The same memory, and no more of it than is asked for.
        let again = ranges.take(KEPT_MIN);
        assert_eq!((again.as_ptr(), again.len()), (place, KEPT_MIN));
    }

    #[test]
    fn a_small_range_is_not_kept() {
        let ranges = Ranges::default();
        drop(ranges.take(KEPT_MIN));
        let small = ranges.take(5);
        assert_eq!((small.len(), ranges.idle(|idle| idle.len())), (5, 1));
        drop(small);
        assert_eq!(ranges.idle(|idle| idle.len()), 1);
    }
}
