//! One window of an image: inflated within its bounds, and believed only by its digest.

use pack::{
    BLOCK, Block, BlockMap, Chunk, Codec, Compression, Digest, Extents, Packed, WINDOW, is_zero, pack_window,
};

use crate::Reached;
use crate::input::Input;

/// What is unpacked has the length and the digest of the manifest, or is refused; what is packed unpacks to itself.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let codec = input.one_of(&[Codec::Zstd, Codec::Raw, Codec::Zero, Codec::Lz4], Codec::Zstd);
    let bytes = (input.u32() >> (input.byte() % 32)).min(2 * WINDOW);
    let map = map(input.byte(), bytes);
    let stored = input.rest();
    pack_and_unpack(stored);
    let Ok(length) = usize::try_from(bytes) else { return Reached::Refusal };
    let mut out = vec![0xee; length];
    let expected = usize::try_from(map.data_bytes(bytes)).unwrap_or(usize::MAX);
    let told = Chunk {
        window: 1,
        bytes,
        map,
        digest: Digest([0; 32]),
        codec,
        offset: 0,
        stored: u32::try_from(stored.len()).unwrap_or(u32::MAX),
        stored_digest: Some(Digest::of(stored)),
    };
    assert!(told.unpack(stored, &mut out).is_err(), "nothing has this digest");
    let Some(raw) = inflated(codec, stored, expected) else { return Reached::Refusal };
    let told = Chunk { digest: Digest::of(&raw), ..told };
    let mut wrong = vec![0; length + 1];
    assert!(told.unpack(stored, &mut wrong).is_err(), "into a buffer of another length");
    let other = Chunk { stored_digest: Some(Digest([0; 32])), ..told.clone() };
    assert!(other.unpack(stored, &mut out).is_err(), "stored bytes are checked first");
    let taken = told.unpack(stored, &mut out).is_ok();
    let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
    let is_data = raw.len() == expected && !raw.chunks(block).any(is_zero);
    assert_eq!(taken, bytes <= WINDOW && is_data, "{} bytes of {expected}", raw.len());
    assert!(!taken || (told.map.gather(&out) == raw && told.matches(&out)));
    Reached::when(taken)
}

/// All data, or a pattern that repeats every four blocks.
fn map(pattern: u8, bytes: u32) -> BlockMap {
    let kind = |block: u32| match pattern.rotate_right(block % 4 * 2) & 3 {
        0 | 3 => Block::Data,
        1 => Block::Zero,
        _ => Block::Free,
    };
    BlockMap::new((0..bytes.div_ceil(BLOCK)).map(kind))
}

/// What the stored bytes are, by another way into the codec; None when nothing, or more than `most` bytes.
fn inflated(codec: Codec, stored: &[u8], most: usize) -> Option<Vec<u8>> {
    match codec {
        Codec::Zero => Some(Vec::new()),
        Codec::Raw => Some(stored.to_vec()),
        Codec::Zstd => zstd::bulk::decompress(stored, most).ok(),
        Codec::Lz4 => lz4_flex::block::decompress(stored, most).ok(),
    }
}

fn pack_and_unpack(raw: &[u8]) {
    let third = raw.len() as u64 / 3;
    let used = [0..third, 2 * third..raw.len() as u64].into_iter().collect::<Extents>();
    for compression in [Compression::Zstd(1), Compression::Lz4, Compression::None] {
        let map = BlockMap::scan(raw, 0, &used);
        let Ok(packed) = pack_window(0, raw, map.clone(), compression) else {
            assert!(raw.is_empty() || raw.len() > WINDOW as usize, "a window could not be packed");
            return;
        };
        assert!(packed.stored.len() <= raw.len(), "stored longer than it is");
        let told = told(&packed);
        let mut out = vec![0xee; raw.len()];
        told.unpack(&packed.stored, &mut out).expect("what was packed can be unpacked");
        assert_eq!(map.gather(&out), map.gather(raw));
        assert!(told.matches(&out) && told.matches(raw), "only free blocks differ");
    }
}

fn told(packed: &Packed) -> Chunk {
    Chunk {
        window: 0,
        bytes: packed.bytes,
        map: packed.map.clone(),
        digest: packed.digest,
        codec: packed.codec,
        offset: 0,
        stored: u32::try_from(packed.stored.len()).unwrap_or(u32::MAX),
        stored_digest: (packed.codec != Codec::Zero).then(|| Digest::of(&packed.stored)),
    }
}

/// A frame, a bomb (a window of zeros in some 50 bytes), two frames, one that is cut, raw bytes.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = |raw: &[u8]| zstd::bulk::compress(raw, 19).unwrap_or_default();
    let seed =
        |codec: u8, bytes: u32, stored: &[u8]| [&[codec][..], &bytes.to_le_bytes(), &[0, 0], stored].concat();
    let text = frame(b"a window that is a little longer than its digest, a window that is a little longer");
    let bomb = frame(&vec![0; 8 << 20]);
    vec![
        seed(0, 83, &text),
        seed(0, 512, &bomb),
        seed(0, 83, text.get(..20).unwrap_or_default()),
        seed(0, 166, &[text.clone(), text].concat()),
        seed(1, 4, b"four"),
        seed(2, 4096, b""),
        seed(3, 4096, &lz4_flex::block::compress(&[7; 4096])),
        seed(0, u32::MAX, &bomb),
    ]
}
