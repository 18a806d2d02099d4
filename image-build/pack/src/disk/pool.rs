//! A fixed number of buffers for direct I/O: what a job holds in memory is bounded by the pool that it takes from.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::WINDOW;

/// Buffers begin at multiples of this: the largest sector, and the page.
pub(super) const ALIGN: u32 = 4096;

/// Memory whose part that is used begins at a multiple of [`ALIGN`].
#[derive(Debug, Default)]
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Aligned {
    /// So many zero bytes. The memory is a little larger than that and never moves.
    pub(super) fn new(bytes: usize) -> Aligned {
        let memory = vec![0; bytes + ALIGN as usize];
        let start = memory.as_ptr().addr().next_multiple_of(ALIGN as usize) - memory.as_ptr().addr();
        Aligned { memory, start, bytes }
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

/// A number of buffers of [`WINDOW`] bytes that does not change. Clones are the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    free: Mutex<Vec<(u16, Aligned)>>,
    returned: Condvar,
    /// Where each buffer begins. It never changes: a queue registers them with the kernel.
    addresses: Vec<usize>,
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Vec<(u16, Aligned)>> {
        // What is behind the lock is a list that is whole whenever the lock is free.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One buffer of a [`Pool`]: [`WINDOW`] bytes that begin at a multiple of 4096. It goes back to its pool when it is
/// dropped.
#[derive(Debug)]
pub struct Buffer {
    slot: u16,
    memory: Aligned,
    shared: Arc<Shared>,
}

impl Default for Pool {
    /// Four buffers for each core, 64 at most.
    fn default() -> Pool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Pool::new(u16::try_from(4 * cores).map_or(64, |buffers| buffers.min(64)))
    }
}

impl Pool {
    /// So many buffers, all free. There must be more than the transfers that are to be under way at once, or some
    /// of them wait.
    #[must_use]
    pub fn new(buffers: u16) -> Pool {
        let free: Vec<_> = (0..buffers).map(|slot| (slot, Aligned::new(WINDOW as usize))).collect();
        let addresses = free.iter().map(|(_, memory)| memory.as_ptr().expose_provenance()).collect();
        Pool { shared: Arc::new(Shared { free: Mutex::new(free), returned: Condvar::new(), addresses }) }
    }

    /// A free buffer, with whatever its last user left in it. Waits until there is one: for ever, when the caller
    /// itself holds them all or nobody takes completions from the queue that does.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let mut free = self.shared.free();
        loop {
            match free.pop() {
                Some(entry) => return self.buffer(entry),
                None => free = self.shared.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// A free buffer, with whatever its last user left in it; `None` when there is none now.
    #[must_use]
    pub fn try_take(&self) -> Option<Buffer> {
        let entry = self.shared.free().pop()?;
        Some(self.buffer(entry))
    }

    /// How many buffers are free now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.free().len()
    }

    /// How many buffers there are.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.shared.addresses.len()
    }

    fn buffer(&self, (slot, memory): (u16, Aligned)) -> Buffer {
        Buffer { slot, memory, shared: Arc::clone(&self.shared) }
    }

    /// Where each buffer begins, by slot.
    pub(crate) fn addresses(&self) -> &[usize] {
        &self.shared.addresses
    }
}

impl Buffer {
    /// Which buffer of `pool` this is; `None` for one of another pool.
    pub(crate) fn slot(&self, pool: &Pool) -> Option<u16> {
        Arc::ptr_eq(&self.shared, &pool.shared).then_some(self.slot)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.shared.free().push((self.slot, std::mem::take(&mut self.memory)));
        self.shared.returned.notify_one();
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}
