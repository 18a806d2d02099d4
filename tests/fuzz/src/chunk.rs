//! One window of an image: inflated within its bounds, and believed only by its digest.

use pack::{Chunk, Codec, Digest, WINDOW, chunk};

use crate::Reached;
use crate::input::Input;

/// What is unpacked has the length and the digest of the manifest, or is refused; what is packed unpacks to itself.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let codec = input.one_of(&[Codec::Zstd, Codec::Raw, Codec::Zero], Codec::Zstd);
    let bytes = input.u32() >> (input.byte() % 32);
    let stored = input.rest();
    pack_and_unpack(stored);
    let Ok(length) = usize::try_from(bytes.min(2 * WINDOW)) else { return Reached::Refusal };
    let mut out = vec![0xee; length];
    let told = Chunk {
        window: 1,
        bytes: bytes.min(2 * WINDOW),
        digest: Digest([0; 32]),
        codec,
        offset: 0,
        stored: u32::try_from(stored.len()).unwrap_or(u32::MAX),
        stored_digest: Some(Digest::of(stored)),
    };
    assert!(told.unpack(stored, &mut out).is_err(), "nothing has this digest");
    let Some(raw) = inflated(codec, stored, length) else { return Reached::Refusal };
    let told = Chunk { digest: Digest::of(&raw), ..told };
    let mut wrong = vec![0; length + 1];
    assert!(told.unpack(stored, &mut wrong).is_err(), "into a buffer of another length");
    let other = Chunk { stored_digest: Some(Digest([0; 32])), ..told.clone() };
    assert!(other.unpack(stored, &mut out).is_err(), "stored bytes are checked first");
    let taken = told.unpack(stored, &mut out).is_ok();
    assert_eq!(taken, told.bytes <= WINDOW && raw.len() == length, "{} bytes of {length}", raw.len());
    assert!(!taken || (out == raw && told.matches(&out)));
    Reached::when(taken)
}

/// What the stored bytes are, by another way into zstd; None when nothing, or more than `most` bytes.
fn inflated(codec: Codec, stored: &[u8], most: usize) -> Option<Vec<u8>> {
    match codec {
        Codec::Zero => Some(vec![0; most]),
        Codec::Raw => Some(stored.to_vec()),
        Codec::Zstd => zstd::bulk::decompress(stored, most).ok(),
    }
}

fn pack_and_unpack(raw: &[u8]) {
    let Ok(packed) = chunk(0, raw, 1) else {
        assert!(raw.is_empty() || raw.len() > WINDOW as usize, "a window could not be packed");
        return;
    };
    assert!(packed.stored.len() <= raw.len(), "stored longer than it is");
    let stored_digest = (packed.codec != Codec::Zero).then(|| Digest::of(&packed.stored));
    let told = Chunk {
        window: 0,
        bytes: packed.bytes,
        digest: packed.digest,
        codec: packed.codec,
        offset: 0,
        stored: u32::try_from(packed.stored.len()).unwrap_or(u32::MAX),
        stored_digest,
    };
    let mut out = vec![0; raw.len()];
    told.unpack(&packed.stored, &mut out).expect("what was packed can be unpacked");
    assert_eq!(out, raw);
}

/// A frame, a bomb (a window of zeros in some 50 bytes), two frames, one that is cut, raw bytes.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = |raw: &[u8]| zstd::bulk::compress(raw, 19).unwrap_or_default();
    let seed =
        |codec: u8, bytes: u32, stored: &[u8]| [&[codec][..], &bytes.to_le_bytes(), &[0], stored].concat();
    let text = frame(b"a window that is a little longer than its digest, a window that is a little longer");
    let bomb = frame(&vec![0; 8 << 20]);
    vec![
        seed(0, 83, &text),
        seed(0, 512, &bomb),
        seed(0, 83, text.get(..20).unwrap_or_default()),
        seed(0, 166, &[text.clone(), text].concat()),
        seed(1, 4, b"four"),
        seed(2, 4096, b""),
        seed(0, u32::MAX, &bomb),
    ]
}
