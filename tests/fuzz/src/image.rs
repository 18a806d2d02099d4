//! The head of an image file, the manifest in it, and the signature.

use pack::{
    About, Builder, Chunk, DATA_ALIGN, DISK_BYTES_MAX, Digest, Header, MANIFEST_BYTES_MAX, Manifest, Parsed,
    Signed, SigningKey, Span, VerifyError, WINDOW, chunk,
};

use crate::Reached;

/// More than any head has: the longest manifest, what stands before it, the padding.
const HEAD_MAX: usize = MANIFEST_BYTES_MAX + 2 * DATA_ALIGN;

/// Nothing is asked for that the format does not allow, and a head is written back as it was read.
pub(crate) fn header(data: &[u8]) -> Reached {
    let parsed = match Header::parse(data) {
        Ok(parsed) => parsed,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    for shorter in [0, 1, 8, 111, 112, 113, data.len() / 2] {
        let prefix = data.get(..shorter.min(data.len())).unwrap_or_default();
        assert!(Header::parse(prefix).is_ok(), "right as a whole and wrong at {shorter}");
    }
    let header = match parsed {
        Parsed::Needs(bytes) => {
            assert!(bytes > data.len() && bytes <= HEAD_MAX, "{bytes} bytes wanted");
            return Reached::Refusal;
        }
        Parsed::Whole(header) => header,
    };
    let begin = usize::try_from(header.data_begin()).expect("a head fits memory");
    assert_eq!(data.get(..begin), Some(header.encode().as_slice()));
    assert!(matches!(header.signed.verify(&[]), Err(VerifyError::Untrusted { .. })), "nobody is trusted");
    if let Ok((digest, manifest)) = header.signed.verify(&[header.signed.key]) {
        assert_eq!((digest, manifest.digest()), (header.signed.claimed_digest(), digest));
        let bytes = header.data_begin() + manifest.data_bytes();
        assert!(header.check_file_bytes(&manifest, bytes).is_ok());
        assert!(header.check_file_bytes(&manifest, bytes + 1).is_err());
    }
    Reached::Inside
}

/// A signed image, one without content, one cut, one that claims 2^63 bytes.
pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    let whole = Header { signed: signed_image() }.encode();
    let mut wild = whole.clone();
    wild.splice(8..16, (1_u64 << 63).to_le_bytes());
    let bare = Header { signed: Signed { manifest: b"RWMANIF2".to_vec(), ..signed_image() } }.encode();
    vec![whole.get(..600).unwrap_or_default().to_vec(), whole, bare, wild]
}

/// Windows as a node tells them: what was read is written and read again as the same, and stays within the disk.
pub(crate) fn records(data: &[u8]) -> Reached {
    let (disk, records) = data.split_first().unwrap_or((&0, &[]));
    let disk_bytes = (u64::from(*disk) << 20) + 4096;
    let chunks = match Chunk::decode_all(records, disk_bytes) {
        Ok(chunks) => chunks,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    assert!(chunks.len() <= records.len() / 9, "more windows than there are bytes for");
    let again = Chunk::decode_all(&Chunk::encode_all(&chunks), disk_bytes);
    assert!(again.is_ok_and(|again| again == chunks), "other windows after a journey");
    for chunk in &chunks {
        assert!(chunk.bytes <= WINDOW && chunk.disk_offset() + u64::from(chunk.bytes) <= disk_bytes);
    }
    Reached::when(!chunks.is_empty())
}

/// The windows of a small image, alone and cut.
pub(crate) fn records_seeds() -> Vec<Vec<u8>> {
    let Ok(manifest) = Manifest::decode(&signed_image().manifest) else { return Vec::new() };
    let records = Chunk::encode_all(manifest.chunks());
    let whole = [&[8][..], &records].concat();
    vec![whole.get(..whole.len() / 2).unwrap_or_default().to_vec(), whole, vec![0]]
}

/// A valid manifest is the one spelling of itself, and claims no more than there is.
pub(crate) fn manifest(data: &[u8]) -> Reached {
    let manifest = match Manifest::decode(data) {
        Ok(manifest) => manifest,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    assert_eq!((manifest.encode().as_slice(), manifest.digest()), (data, Digest::of(data)));
    let chunks = manifest.chunks();
    assert!(manifest.disk_bytes() <= DISK_BYTES_MAX && !chunks.is_empty());
    let mut end = 0;
    for chunk in chunks {
        assert!(chunk.bytes <= WINDOW && chunk.stored <= chunk.bytes && chunk.offset == end);
        assert!(chunk.disk_offset() + u64::from(chunk.bytes) <= manifest.disk_bytes());
        assert_eq!(manifest.chunk(chunk.window), Some(chunk), "windows ascend");
        end += u64::from(chunk.stored);
        if let Some(Span { offset, bytes }) = manifest.seed() {
            let begin = chunk.disk_offset();
            assert!(begin >= offset + bytes || begin + u64::from(chunk.bytes) <= offset, "over the seed");
        }
    }
    assert_eq!(manifest.data_bytes(), end);
    Reached::Inside
}

/// A small image with each codec, one of a single window, one with the seed over a chunk.
pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let good = image().encode();
    let spaced = [&[b' '][..], good.get(12..).unwrap_or_default()].concat();
    let cut = good.get(..good.len() - 40).unwrap_or_default().to_vec();
    vec![single().encode(), cut, [good.get(..12).unwrap_or_default(), &spaced].concat(), good]
}

/// What agents are sent: the same after a journey through JSON, believed only with the right key.
pub(crate) fn signed(data: &[u8]) -> Reached {
    let Ok(signed) = serde_json::from_slice::<Signed>(data) else { return Reached::Refusal };
    let text = serde_json::to_vec(&signed).expect("bytes and digits are JSON");
    assert_eq!(serde_json::from_slice::<Signed>(&text).ok().as_ref(), Some(&signed));
    let other = key(2).public();
    if signed.key != other {
        assert!(matches!(signed.verify(&[other]), Err(VerifyError::Untrusted { .. })));
    }
    if let Ok((_, manifest)) = signed.verify(&[signed.key]) {
        assert_eq!(manifest.as_bytes(), signed.manifest.as_slice());
    }
    Reached::Inside
}

/// A signed manifest, one with a wrong signature, one that is no base64.
pub(crate) fn signed_seeds() -> Vec<Vec<u8>> {
    let good = serde_json::to_string(&signed_image()).expect("bytes and digits are JSON");
    let signature = signed_image().signature.to_string();
    let wrong = good.replace(&signature, &"0".repeat(signature.len()));
    vec![good.replace("manifest\":\"", "manifest\":\"!").into_bytes(), wrong.into_bytes(), good.into_bytes()]
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).expect("any seed is a key")
}

fn signed_image() -> Signed {
    Signed::new(&image(), &key(1))
}

fn about(disk_bytes: u64, seed: Option<Span>) -> About {
    let (name, arch) = ("control-1".to_owned(), "amd64".to_owned());
    About {
        name,
        arch,
        roles: vec!["control".to_owned()],
        disk_bytes,
        seed,
        packages: Some(Digest::of(b"x")),
        layout: pack::Layout::default(),
    }
}

/// Five windows: compressed, raw, free (the seed is there), zeros.
fn image() -> Manifest {
    let window = usize::try_from(WINDOW).expect("a window fits memory");
    let seed = Span { offset: u64::from(WINDOW) * 2, bytes: u64::from(WINDOW) };
    let mut builder = Builder::new(about(u64::from(WINDOW) * 4, Some(seed)));
    let mut noise = vec![0; window];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    for (number, raw) in [(0, vec![7; window]), (1, noise), (3, vec![0; window])] {
        let packed = chunk(number, &raw, 1).expect("a window can be packed");
        builder.push(&packed).expect("windows ascend");
    }
    builder.finish().expect("a valid image")
}

/// One window of one sector.
fn single() -> Manifest {
    let mut builder = Builder::new(about(512, None));
    builder.push(&chunk(0, &[1; 512], 1).expect("a window can be packed")).expect("the first");
    builder.finish().expect("a valid image")
}
