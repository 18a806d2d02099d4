//! Buffers that O_DIRECT accepts, used again and again.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

/// More than any drive's sector; also the page, so that a buffer never shares one with anything else.
const ALIGNMENT: usize = 4096;
const WINDOW: usize = pack::WINDOW as usize;

/// One window's worth of bytes that begin at a multiple of 4 KiB. Goes back to its pool when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Never grown after it was made, so that `begins` stays true.
    store: Vec<u8>,
    begins: usize,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Where buffers come from. It keeps as many as were ever in use at once: the receiver's limits bound that.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// A buffer with unknown content.
    pub(super) fn take(&self) -> Buffer {
        let kept = self.free.lock().ok().and_then(|mut free| free.pop());
        let store = kept.unwrap_or_else(|| vec![0; WINDOW + ALIGNMENT]);
        let begins = store.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Buffer { store, begins, home: Arc::clone(&self.free) }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.store.get(self.begins..self.begins + WINDOW).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.store.get_mut(self.begins..self.begins + WINDOW).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut free) = self.home.lock() {
            free.push(std::mem::take(&mut self.store));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT, Buffers, WINDOW};

    #[test]
    fn aligned_whole_and_used_again() {
        let buffers = Buffers::default();
        let mut many = (0..9).map(|_| buffers.take()).collect::<Vec<_>>();
        for buffer in &mut many {
            assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(buffer.len(), WINDOW);
            buffer.fill(7);
        }
        let first = many.pop().unwrap();
        let at = first.as_ptr();
        drop(first);
        assert_eq!(buffers.take().as_ptr(), at);
    }
}
