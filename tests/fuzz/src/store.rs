//! The index at the end of a pack of the image store.

use pack::index::{CHUNKS_MAX, FOOTER_BYTES, Record, decode, encode, tail_bytes};
use pack::{Digest, WINDOW};

use crate::Reached;

/// Bytes of data before the index, as a file of this length has them.
const DATA_BYTES: u64 = 4 << 20;

/// What is read lies in the data, in order; and is written back as it was read.
pub(crate) fn pack_index(tail: &[u8]) -> Reached {
    let file = DATA_BYTES + u64::try_from(tail.len()).unwrap_or(u64::MAX);
    if let Some(footer) = tail.last_chunk::<FOOTER_BYTES>()
        && let Ok(bytes) = tail_bytes(footer, file)
    {
        assert!((FOOTER_BYTES..=CHUNKS_MAX * 44 + FOOTER_BYTES).contains(&bytes));
        assert!(u64::try_from(bytes).is_ok_and(|bytes| bytes <= file), "more than the file has");
    }
    let records = match decode(tail, file) {
        Ok(records) => records,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    let mut end = 0;
    for Record { offset, bytes, .. } in &records {
        assert!(*offset >= end && (1..=WINDOW).contains(bytes));
        end = offset + u64::from(*bytes);
    }
    assert!(end <= DATA_BYTES);
    assert_eq!(encode(&records), tail);
    Reached::Inside
}

/// Packs with no chunk, some, and one that lies outside.
pub(crate) fn pack_index_seeds() -> Vec<Vec<u8>> {
    let record = |number: u8, offset, bytes| Record { digest: Digest::of(&[number]), offset, bytes };
    let some = [record(0, 0, 4096), record(1, 4096, 17), record(2, 1 << 20, WINDOW)];
    let wild = [record(0, u64::MAX - 3, 4)];
    vec![encode(&[]), encode(&some), encode(&wild)]
}
