//! Buffers: none is lost and none is given to two.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use pack::WINDOW;
use pack::disk::Pool;

#[test]
fn a_buffer_is_never_given_to_two() {
    let pool = Pool::new(5);
    let out = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for mark in 1..=8_u8 {
            let (pool, out) = (pool.clone(), &out);
            scope.spawn(move || {
                for _ in 0..200 {
                    let mut buffer = pool.take();
                    let address = buffer.as_ptr() as usize;
                    assert!(address.is_multiple_of(4096));
                    assert_eq!(buffer.len(), WINDOW as usize);
                    assert!(out.lock().unwrap().insert(address), "given out twice");
                    buffer[..64].fill(mark);
                    std::thread::yield_now();
                    assert!(buffer[..64].iter().all(|byte| *byte == mark));
                    out.lock().unwrap().remove(&address);
                }
            });
        }
    });
    assert_eq!((pool.free(), pool.buffers()), (5, 5));
}

#[test]
fn taking_waits_for_a_buffer() {
    let pool = Pool::new(1);
    let only = pool.take();
    assert!(pool.try_take().is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.take().len());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(only);
        assert_eq!(waiting.join().unwrap(), WINDOW as usize);
    });
}

#[test]
fn a_buffer_outlives_its_pool() {
    let buffer = Pool::default().take();
    assert_eq!(buffer.len(), WINDOW as usize);
}
