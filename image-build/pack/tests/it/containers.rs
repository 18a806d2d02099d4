//! Image files as a stranger would hand them over: whole, torn, bent and lying.

use pack::{
    About, Block, BlockMap, Builder, Chunk, ChunkError, Codec, Compression, Digest, Extents, Header,
    HeaderError, Layout, Manifest, ManifestError, Parsed, PublicKey, Signed, SigningKey, Span, VerifyError,
    WINDOW, chunk, pack_window,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

fn about(disk_bytes: u64) -> About {
    About {
        name: "node-1.0".into(),
        arch: "amd64".into(),
        roles: vec!["compute".into(), "network".into()],
        disk_bytes,
        seed: None,
        packages: Some(Digest::of(b"packages")),
        layout: Layout::default(),
    }
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let blocks = (0_u32..).flat_map(|block| Digest::of(&block.to_le_bytes()).0);
    blocks.take(bytes).collect()
}

/// Packs windows of a disk; `None` is a free window.
fn build(about: About, windows: &[Option<Vec<u8>>]) -> (Manifest, Vec<u8>) {
    let mut builder = Builder::new(about);
    let mut data = Vec::new();
    for (window, raw) in windows.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let packed = chunk(u32::try_from(window).unwrap(), raw, 3).unwrap();
        assert_eq!(builder.push(&packed).unwrap(), data.len() as u64);
        data.extend_from_slice(&packed.stored);
    }
    (builder.finish().unwrap(), data)
}

/// A disk of four windows: text, seed (free), zeros, and one sector of noise.
fn small_disk() -> Vec<Option<Vec<u8>>> {
    let text = b"the quick brown fox ".iter().copied().cycle().take(WINDOW as usize).collect();
    vec![Some(text), None, Some(vec![0; WINDOW as usize]), Some(noise(512))]
}

fn small() -> (Manifest, Vec<u8>) {
    let seed = Some(Span { offset: MIB, bytes: MIB });
    build(About { seed, ..about(3 * MIB + 512) }, &small_disk())
}

fn file(manifest: &Manifest, data: &[u8]) -> Vec<u8> {
    let mut file = Header { signed: Signed::new(manifest, &key()) }.encode();
    file.extend_from_slice(data);
    file
}

/// Everything a careful reader does; the text of the first refusal.
fn read(file: &[u8], trusted: &[PublicKey]) -> Result<Vec<Vec<u8>>, String> {
    let header = match Header::parse(file).map_err(|refused| refused.to_string())? {
        Parsed::Whole(header) => header,
        Parsed::Needs(bytes) => return Err(format!("{bytes} bytes are needed")),
    };
    let (digest, manifest) = header.signed.verify(trusted).map_err(|refused| refused.to_string())?;
    assert_eq!(digest, manifest.digest());
    header.check_file_bytes(&manifest, file.len() as u64).map_err(|refused| refused.to_string())?;
    let data = &file[usize::try_from(header.data_begin()).unwrap()..];
    let stored = |chunk: &Chunk| {
        let begin = usize::try_from(chunk.offset).unwrap();
        &data[begin..begin + chunk.stored as usize]
    };
    for chunk in manifest.chunks() {
        chunk.check_stored(stored(chunk)).map_err(|refused| refused.to_string())?;
    }
    let mut windows = Vec::new();
    for chunk in manifest.chunks() {
        let mut window = vec![0xee; chunk.bytes as usize];
        chunk.unpack(stored(chunk), &mut window).map_err(|refused| refused.to_string())?;
        assert!(chunk.matches(&window));
        windows.push(window);
    }
    Ok(windows)
}

#[test]
fn a_disk_comes_back_as_it_was() {
    let (manifest, data) = small();
    let codecs: Vec<Codec> = manifest.chunks().iter().map(|chunk| chunk.codec).collect();
    assert_eq!(codecs, [Codec::Zstd, Codec::Zero, Codec::Raw]);
    assert_eq!(manifest.chunk(1), None);
    assert_eq!(manifest.chunk(2).map(Chunk::disk_offset), Some(2 * MIB));
    let windows = read(&file(&manifest, &data), &[key().public()]).unwrap();
    assert_eq!(windows, small_disk().into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn the_same_disk_has_the_same_name_and_signature() {
    let ((one, _), (two, _)) = (small(), small());
    assert_eq!(one.digest(), two.digest());
    assert_eq!(Signed::new(&one, &key()), Signed::new(&two, &key()));
}

/// The test vector of `appliance/docs/image-format.md`. A name is for good: it changes only with the format.
#[test]
fn the_encoding_is_pinned() {
    let (manifest, data) = build(About { name: "vector".into(), ..about(16384) }, &[Some(vector())]);
    let head = format!(
        r#"{{"name":"vector","arch":"amd64","roles":["compute","network"],"disk_bytes":16384,"data_bytes":4096,"chunks":1,"root":"{}","packages":"{}","layout":{{"sector_bytes":512}}}}"#,
        manifest.root(),
        Digest::of(b"packages"),
    );
    let noise = Digest::of(&noise(4096));
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    let record = [&[0, 0, 0, 0, 1, 3, 0, 1, 0, 0, 0, 1, 1, 0, 16, 0, 0], noise.0.as_slice()].concat();
    let spelt = [b"RWMANIF2".as_slice(), &length, head.as_bytes(), &record].concat();
    assert_eq!(manifest.encode(), spelt);
    let document = include_str!("../../../../appliance/docs/image-format.md");
    let file = Digest::of(&file(&manifest, &data));
    for digest in [noise, manifest.root(), manifest.digest(), file, Digest(key().public().0)] {
        assert!(document.contains(&digest.to_string()), "{digest} is not in the document");
    }
}

/// Four blocks: zeros, noise, and two of zeros.
fn vector() -> Vec<u8> {
    [vec![0; 4096], noise(4096), vec![0; 8192]].concat()
}

#[test]
fn what_is_free_stays_as_it_is_and_what_is_zero_becomes_so() {
    let mut raw = noise(WINDOW as usize);
    raw[8192..16384].fill(0);
    let used = [4096..20480, 40960..45056, 300_000..400_000].into_iter().collect::<Extents>();
    for compression in [Compression::None, Compression::Zstd(3), Compression::Lz4] {
        let map = BlockMap::scan(&raw, 0, &used);
        let packed = pack_window(0, &raw, map, compression).unwrap();
        let mut builder = Builder::new(about(MIB));
        builder.push(&packed).unwrap();
        let manifest = builder.finish().unwrap();
        let [chunk] = manifest.chunks() else { panic!("one chunk") };
        let mut window = vec![0xee; WINDOW as usize];
        chunk.unpack(&packed.stored, &mut window).unwrap();
        // A dirty disk: what is written makes it the image, and only that is written.
        let mut disk = vec![0xaa; WINDOW as usize];
        for (kind, range) in chunk.writes(8192, 8192) {
            let from = if kind == Block::Zero { &vec![0; range.len()] } else { &window[range.clone()] };
            disk[range].copy_from_slice(from);
        }
        assert!(chunk.matches(&disk));
        assert_eq!(disk[4096..8192], raw[4096..8192]);
        assert_eq!(disk[40960..45056], raw[40960..45056]);
        assert_eq!(disk[8192..16384], [0; 8192]);
        assert_eq!((disk[0], disk[500_000]), (0xaa, 0xaa), "nobody's blocks are left alone");
        disk[9000] = 1;
        assert!(!chunk.matches(&disk), "a zero block must be zero");
        disk[9000] = 0;
        disk[4096] ^= 1;
        assert!(!chunk.matches(&disk));
    }
}

#[test]
fn small_gaps_are_written_through_and_large_ones_are_not() {
    let blocks = |kinds: &str| {
        BlockMap::new(kinds.chars().map(|kind| match kind {
            'd' => Block::Data,
            'z' => Block::Zero,
            _ => Block::Free,
        }))
    };
    let writes = |kinds: &str| {
        let map = blocks(kinds);
        let bytes = u32::try_from(kinds.len()).unwrap() * 4096;
        let chunk = Chunk { map, bytes, ..unchecked(&[], 0) };
        let writes = chunk.writes(8192, 12288).into_iter();
        writes.map(|(kind, range)| (kind, range.start / 4096..range.end / 4096)).collect::<Vec<_>>()
    };
    use Block::{Data, Zero};
    assert_eq!(writes("..dd..dd."), [(Data, 2..8)]);
    assert_eq!(writes("dd...dd"), [(Data, 0..2), (Data, 5..7)]);
    assert_eq!(writes("dzzd"), [(Data, 0..4)]);
    assert_eq!(writes("dzzzd"), [(Data, 0..1), (Zero, 1..4), (Data, 4..5)]);
    assert_eq!(writes(".zzz.d"), [(Zero, 1..4), (Data, 5..6)]);
}

#[test]
fn every_flipped_byte_is_refused() {
    let (manifest, data) = small();
    let good = file(&manifest, &data);
    assert!(read(&good, &[key().public()]).is_ok());
    for at in 0..good.len() {
        for bits in [0x01, 0x80] {
            let mut bent = good.clone();
            bent[at] ^= bits;
            assert!(read(&bent, &[key().public()]).is_err(), "byte {at} flipped by {bits:#x} went through");
        }
    }
}

#[test]
fn every_truncation_asks_for_more_or_is_refused() {
    let (manifest, data) = small();
    let good = file(&manifest, &data);
    let begin = good.len() - data.len();
    for length in 0..begin {
        match Header::parse(&good[..length]).unwrap() {
            Parsed::Needs(bytes) => assert!(bytes > length && bytes <= begin, "{length}: {bytes}"),
            Parsed::Whole(_) => panic!("{length} bytes passed for a whole head"),
        }
    }
    let Parsed::Whole(head) = Header::parse(&good[..begin]).unwrap() else { panic!("not a whole head") };
    for length in (begin..good.len() + 2).filter(|length| *length != good.len()) {
        assert!(head.check_file_bytes(&manifest, length as u64).is_err(), "{length}");
    }
    assert!(read(&good[..good.len() - 1], &[key().public()]).unwrap_err().contains("its manifest says"));
}

#[test]
fn hostile_heads_are_refused_before_anything_is_believed() {
    let length = |bytes: u64| [b"RWIMAGE2".as_slice(), &bytes.to_le_bytes(), &[0; 96]].concat();
    let cases: [(&str, Vec<u8>, HeaderError); 7] = [
        ("an empty manifest", length(0), HeaderError::ManifestBytes { bytes: 0 }),
        ("65 MiB", length(65 << 20), HeaderError::ManifestBytes { bytes: 65 << 20 }),
        ("100 GB", length(100 << 30), HeaderError::ManifestBytes { bytes: 100 << 30 }),
        ("all ones", length(u64::MAX), HeaderError::ManifestBytes { bytes: u64::MAX }),
        ("another file", b"\x7fELF".to_vec(), HeaderError::Magic),
        ("an earlier layout", b"RWIMAGE1".to_vec(), HeaderError::Magic),
        ("a long other file", vec![0; 4096], HeaderError::Magic),
    ];
    for (what, bytes, refusal) in cases {
        assert_eq!(Header::parse(&bytes), Err(refusal), "{what}");
    }
    assert_eq!(Header::parse(b""), Ok(Parsed::Needs(112)));
    assert_eq!(Header::parse(&length(64 << 20)), Ok(Parsed::Needs((64 << 20) + 4096)));
}

#[test]
fn belief_needs_a_trusted_key_then_its_signature_then_a_valid_manifest() {
    let (manifest, _) = small();
    let signed = Signed::new(&manifest, &key());
    let other = SigningKey::from_seed(&[8; 32]).unwrap();
    let ours = [key().public()];
    assert!(matches!(signed.verify(&[]), Err(VerifyError::Untrusted { .. })));
    assert!(matches!(signed.verify(&[other.public()]), Err(VerifyError::Untrusted { .. })));
    assert_eq!(signed.verify(&[other.public(), key().public()]).unwrap().0, manifest.digest());

    let claimed = Signed { key: key().public(), ..Signed::new(&manifest, &other) };
    assert!(matches!(claimed.verify(&ours), Err(VerifyError::Signature)));
    // The signature is looked at before the manifest is read.
    let rubbish = Signed { manifest: b"{".to_vec(), ..signed.clone() };
    assert!(matches!(rubbish.verify(&ours), Err(VerifyError::Signature)));
    let huge = Signed { manifest: vec![b' '; pack::MANIFEST_BYTES_MAX + 1], ..signed.clone() };
    assert!(matches!(huge.verify(&ours), Err(VerifyError::TooLong { .. })));
    assert!(!format!("{:?}", key()).contains(&"07".repeat(4)), "the seed stays out of messages");
}

#[test]
fn a_signed_manifest_travels_as_json() {
    let signed = Signed::new(&small().0, &key());
    let text = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<Signed>(&text).unwrap(), signed);
    let whole: Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [
        ("manifest", json!("not base64!")),
        ("manifest", json!([1, 2, 3])),
        ("manifest", json!("A".repeat(90 << 20))),
        ("key", json!("00")),
        ("signature", json!("zz".repeat(64))),
        ("more", json!(1)),
    ] {
        let mut bent = whole.clone();
        bent[field] = value;
        assert!(serde_json::from_value::<Signed>(bent).is_err(), "{field}");
    }
}

/// A manifest's head as JSON, and its records.
fn split(manifest: &[u8]) -> (Value, Vec<u8>) {
    let length = u32::from_le_bytes(manifest[8..12].try_into().unwrap()) as usize;
    (serde_json::from_slice(&manifest[12..12 + length]).unwrap(), manifest[12 + length..].to_vec())
}

fn join(head: &str, records: &[u8]) -> Vec<u8> {
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    [b"RWMANIF2".as_slice(), &length, head.as_bytes(), records].concat()
}

/// One change to the head of the small image's manifest, as JSON pointer and value, and a word of the refusal.
fn hostile_heads() -> Vec<(&'static str, Value, &'static str)> {
    let names = [("/name", ""), ("/name", ".."), ("/name", "a/b"), ("/name", "Node"), ("/name", "-x")];
    let mut cases: Vec<_> = names.iter().map(|(at, name)| (*at, json!(name), "image name")).collect();
    let long = "x".repeat(256);
    let partition = json!({"number": 1, "type": "83", "uuid": "u", "offset": 0, "bytes": 1});
    let volume = json!({"kind": "ext4", "label": long, "offset": 0, "bytes": 1, "used_bytes": 1});
    cases.extend([
        ("/name", json!("n".repeat(65)), "image name"),
        ("/name", json!("nöde"), "image name"),
        ("/name", json!("a\nb"), "image name"),
        ("/arch", json!("AMD64"), "machine type"),
        ("/arch", json!("amd64/../.."), "machine type"),
        ("/roles", json!(["network", "compute"]), "out of order"),
        ("/roles", json!(["compute", "compute"]), "out of order"),
        ("/roles", json!(["Compute"]), "role"),
        ("/roles", json!([""]), "role"),
        ("/roles", json!((0..17).map(|n| format!("r{n:02}")).collect::<Vec<_>>()), "17 roles"),
        ("/disk_bytes", json!(0), "record 0"),
        ("/disk_bytes", json!(3 * MIB + 511), "a disk of"),
        ("/disk_bytes", json!(65_u64 << 40), "record 2"),
        ("/disk_bytes", json!(u64::MAX), "record 2"),
        ("/disk_bytes", json!(-1), "not the JSON"),
        ("/disk_bytes", json!(1e9), "not the JSON"),
        ("/disk_bytes", json!(3 * MIB), "record 2"),
        ("/disk_bytes", json!(3 * MIB + 8192), "record 2"),
        ("/data_bytes", json!(100_u64 << 30), "the data area claims"),
        ("/data_bytes", json!(0), "the data area claims"),
        ("/chunks", json!(2), "bytes follow"),
        ("/chunks", json!(4), "record 3"),
        ("/chunks", json!(u32::MAX), "record 3"),
        ("/root", json!(Digest::of(b"lie").to_string()), "Merkle root"),
        ("/seed/bytes", json!(0), "the seed"),
        ("/seed/bytes", json!(511), "the seed"),
        ("/seed/bytes", json!(MIB + 512), "overlaps"),
        ("/seed/bytes", json!(u64::MAX), "the seed"),
        ("/seed/bytes", json!(u64::MAX - 511), "the seed"),
        ("/seed/offset", json!(MIB - 512), "overlaps"),
        ("/seed/offset", json!(100 * MIB), "the seed"),
        ("/packages", json!("00"), "not the JSON"),
        ("/layout/sector_bytes", json!(0), "sectors of 0"),
        ("/layout/sector_bytes", json!(520), "sectors of 520"),
        ("/layout", json!({"sector_bytes": 4096}), "a disk of"),
        ("/layout", json!({"sector_bytes": 512, "table": {"kind": "gpt", "id": long}}), "partition tables"),
        ("/layout", json!({"sector_bytes": 512, "partitions": vec![partition; 257]}), "partitions"),
        ("/layout", json!({"sector_bytes": 512, "volumes": [volume]}), "volumes"),
    ]);
    cases
}

/// The same for its records: bytes that are put over others at a place.
fn hostile_records() -> Vec<(usize, Vec<u8>, &'static str)> {
    // Of the small image: 4+1+2+2+4+32+32 bytes of zstd, 9 of zeros, then raw.
    let (zero, raw) = (77, 86);
    vec![
        (0, vec![1], "window 0"),
        (zero, vec![0], "comes after"),
        (zero, vec![3], "record 1"),
        (raw, vec![4], "record 2"),
        (raw, vec![0xff; 4], "record 2"),
        (4, vec![4], "record 0"),
        (4, vec![0], "record 1"),
        (4, vec![1], "record 1"),
        (5, vec![0, 0], "record 0"),
        (5, vec![2, 0], "record 0"),
        (5, vec![0xff, 0xff], "record 0"),
        (7, vec![3], "record 0"),
        (7, vec![1], "stored bytes"),
        (7, vec![2], "nothing of it is used"),
        (8, vec![0xfe], "record 0"),
        (9, vec![0; 4], "stored bytes"),
        (9, vec![0, 0, 16, 0], "stored bytes"),
        (9, vec![0xff; 4], "stored bytes"),
        (13, vec![0; 32], "Merkle"),
        (zero + 7, vec![0], "stored bytes"),
        (zero + 7, vec![2], "nothing of it is used"),
        (raw + 9, vec![0xff, 1, 0, 0], "stored bytes"),
        (raw + 13, vec![0; 32], "Merkle"),
    ]
}

#[test]
fn hostile_manifests_are_refused_with_the_rule_they_break() {
    let (head, records) = split(small().0.as_bytes());
    let refused = |what: &str, bytes: &[u8], word: &str| {
        let refused = Manifest::decode(bytes).unwrap_err().to_string();
        assert!(refused.contains(word), "{what}: {refused}");
        assert!(refused.len() < 300, "{what}: the message repeats a long claim");
    };
    for (at, value, word) in hostile_heads() {
        let mut bent = head.clone();
        if at == "/layout" {
            bent["layout"] = value.clone();
        } else {
            *bent.pointer_mut(at).unwrap() = value.clone();
        }
        refused(&format!("{at} = {value:.60}"), &join(&bent.to_string(), &records), word);
    }
    for (at, bytes, word) in hostile_records() {
        let mut bent = records.clone();
        bent.splice(at..at + bytes.len(), bytes.iter().copied());
        refused(&format!("{at} = {bytes:?}"), &join(&head.to_string(), &bent), word);
    }
}

#[test]
fn other_spellings_of_a_valid_manifest_are_refused() {
    let (manifest, _) = small();
    let bytes = manifest.encode();
    let (sorted, records) = split(&bytes);
    let text = String::from_utf8(bytes[12..bytes.len() - records.len()].to_vec()).unwrap();
    assert_eq!(join(&text, &records), bytes);
    let other = [
        format!("{text}\n"),
        format!(" {text}"),
        text.replacen(':', ": ", 1),
        text.replacen("node", "n\\u006fde", 1),
        sorted.to_string(),
    ];
    for bent in &other {
        let refused = Manifest::decode(&join(bent, &records));
        assert!(matches!(refused, Err(ManifestError::NotCanonical)), "{bent}");
    }
    let not_json = [
        String::new(),
        text[..text.len() - 1].to_owned(),
        format!("{text}{text}"),
        text.replacen("{\"name\"", "{\"extra\":1,\"name\"", 1),
        text.replacen("{\"sector_bytes\"", "{\"extra\":1,\"sector_bytes\"", 1),
        "[".repeat(1 << 20),
    ];
    for bent in &not_json {
        let refused = Manifest::decode(&join(bent, &records));
        assert!(matches!(refused, Err(ManifestError::Json(_))), "{:.80}", bent);
    }
    let version = |bytes: &[u8]| Manifest::decode(bytes).unwrap_err();
    assert!(matches!(version(b"RWMANIF1...."), ManifestError::Format { format: '1' }));
    assert!(matches!(version(b"{\"format\":1}"), ManifestError::Magic));
    assert!(matches!(version(b"RWMA"), ManifestError::Cut));
    let long = vec![b' '; pack::MANIFEST_BYTES_MAX + 1];
    assert!(matches!(Manifest::decode(&long), Err(ManifestError::TooLong { .. })));
}

#[test]
fn a_builder_takes_windows_in_order_and_closes_valid_images_only() {
    let packed = |window| chunk(window, &noise(4096), 3).unwrap();
    let mut builder = Builder::new(about(2 * MIB));
    builder.push(&packed(1)).unwrap();
    assert!(builder.push(&packed(1)).is_err());
    assert!(builder.push(&packed(0)).is_err());
    assert!(builder.finish().is_err());

    let mut only_first = Builder::new(about(2 * MIB));
    only_first.push(&chunk(0, &noise(WINDOW as usize), 3).unwrap()).unwrap();
    assert!(matches!(only_first.finish(), Err(ManifestError::Missing { window: 1 })));
    assert!(matches!(chunk(0, &[], 3), Err(ChunkError::WindowSize { .. })));
    assert!(matches!(chunk(0, &noise(WINDOW as usize + 1), 3), Err(ChunkError::WindowSize { .. })));
}

/// A chunk that claims to be `bytes` of zstd, with nothing to check the stored bytes by.
fn unchecked(stored: &[u8], bytes: u32) -> Chunk {
    let blocks = usize::try_from(bytes.div_ceil(pack::BLOCK)).unwrap();
    Chunk {
        window: 5,
        bytes,
        map: BlockMap::new(vec![Block::Data; blocks]),
        digest: Digest::of(b"whatever"),
        codec: Codec::Zstd,
        offset: 0,
        stored: u32::try_from(stored.len()).unwrap(),
        stored_digest: None,
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).unwrap();
    assert!(bomb.len() < 64 << 10);
    let twice = [bomb.as_slice(), &bomb].concat();
    let one_over = zstd::bulk::compress(&vec![1; WINDOW as usize + 1], 3).unwrap();
    for stored in [bomb, twice, one_over] {
        let mut window = vec![0; WINDOW as usize];
        let refused = unchecked(&stored, WINDOW).unpack(&stored, &mut window).unwrap_err();
        assert!(matches!(refused, ChunkError::Inflate { .. }), "{refused}");
    }
    let mut huge = vec![0; 2 * WINDOW as usize];
    let refused = unchecked(&[], 2 * WINDOW).unpack(&[], &mut huge).unwrap_err();
    assert!(matches!(refused, ChunkError::BufferSize { .. }), "{refused}");
}

#[test]
fn bent_chunks_are_refused_by_name() {
    let raw = noise(4096);
    let (manifest, data) = build(about(4096), &[Some(raw.clone())]);
    let good = manifest.chunks()[0].clone();
    let mut out = vec![0; 4096];
    good.unpack(&data, &mut out).unwrap();
    assert_eq!(out, raw);
    assert!(!good.matches(&raw[1..]) && !good.matches(&vec![0; 4096]));

    let refused =
        |chunk: &Chunk, stored: &[u8], out: usize| chunk.unpack(stored, &mut vec![0; out]).unwrap_err();
    assert!(matches!(refused(&good, &data[1..], 4096), ChunkError::StoredSize { .. }));
    assert!(matches!(refused(&good, &data, 4095), ChunkError::BufferSize { .. }));
    let other = [&[data[0] ^ 1], &data[1..]].concat();
    assert!(matches!(refused(&good, &other, 4096), ChunkError::StoredDigest { .. }));
    assert!(matches!(good.check_stored(&other), Err(ChunkError::StoredDigest { .. })));
    // Who says that they were checked is believed, and the content is hashed all the same.
    good.unpack_checked(&data, &mut out).unwrap();
    assert_eq!(out, raw);
    let believed = |stored: &[u8], out: usize| good.unpack_checked(stored, &mut vec![0; out]).unwrap_err();
    assert!(matches!(believed(&other, 4096), ChunkError::RawDigest { .. }));
    assert!(matches!(believed(&data[1..], 4096), ChunkError::StoredSize { .. }));
    assert!(matches!(believed(&data, 4095), ChunkError::BufferSize { .. }));
    let unchecked_raw = Chunk { stored_digest: None, ..good.clone() };
    assert!(matches!(refused(&unchecked_raw, &other, 4096), ChunkError::RawDigest { .. }));
    let longer = Chunk { bytes: 8192, map: BlockMap::new([Block::Data; 2]), ..good.clone() };
    assert!(matches!(refused(&longer, &data, 8192), ChunkError::RawSize { .. }));
    let zero = Chunk { codec: Codec::Zero, stored: 0, stored_digest: None, ..good };
    assert!(matches!(refused(&zero, &[], 4096), ChunkError::RawSize { .. }));
    let short = zstd::bulk::compress(&[1; 100], 3).unwrap();
    assert!(matches!(refused(&unchecked(&short, 4096), &short, 4096), ChunkError::RawSize { .. }));
}

/// What a window may hold: nothing to see, compressible, or noise with a bit of text.
fn window(bytes: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    let text = any::<u8>().prop_map(move |byte| Some(vec![byte; bytes]));
    let mixed = any::<u16>().prop_map(move |cut| {
        let mut raw = noise(bytes);
        raw.truncate(usize::from(cut) * 16);
        raw.resize(bytes, b'.');
        Some(raw)
    });
    prop_oneof![1 => Just(None), 1 => Just(Some(vec![0; bytes])), 2 => text, 2 => mixed]
}

fn disks() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let full = WINDOW as usize;
    let tail = (1_usize..=2048).prop_map(|sectors| sectors * 512);
    (prop::collection::vec(window(full), 0..3), tail).prop_flat_map(move |(middle, tail)| {
        let (first, last) = (window(full), window(tail));
        (first, Just(middle), last, Just(tail)).prop_map(move |(first, middle, last, tail)| {
            let mut disk = vec![first.or_else(|| Some(vec![1; full]))];
            disk.extend(middle);
            disk.push(last.or_else(|| Some(vec![1; tail])));
            disk
        })
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_disk_comes_back(disk in disks()) {
        let tail = disk.last().unwrap().as_ref().unwrap().len() as u64;
        let disk_bytes = (disk.len() as u64 - 1) * MIB + tail;
        let (manifest, data) = build(about(disk_bytes), &disk);
        prop_assert_eq!(&Manifest::decode(manifest.as_bytes()).unwrap(), &manifest);
        let windows = read(&file(&manifest, &data), &[key().public()]).unwrap();
        prop_assert_eq!(windows, disk.into_iter().flatten().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Header::parse(&bytes);
        let _ = Header::parse(&[b"RWIMAGE2".as_slice(), &bytes].concat());
        prop_assert!(Manifest::decode(&bytes).is_err());
        prop_assert!(unchecked(&bytes, 4096).unpack(&bytes, &mut vec![0; 4096]).is_err());
        let framed = [&[0x28, 0xb5, 0x2f, 0xfd], bytes.as_slice()].concat();
        prop_assert!(unchecked(&framed, 4096).unpack(&framed, &mut vec![0; 4096]).is_err());
    }

    #[test]
    fn a_bent_manifest_is_refused_or_is_its_own_spelling(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = small_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(manifest.encode(), bytes);
        }
    }
}

fn small_bytes() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| small().0.encode())
}
