use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// Bytes that no symbol has in common with another.
fn noise(symbols: u16, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(symbols) * SYMBOL_BYTES];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn encoded(encoder: &mut Encoder, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(data, &mut out).unwrap();
    out
}

/// The repair symbols of these numbers, as they came.
fn picked<'a>(repair: &'a [u8], numbers: &'a [u16]) -> impl Iterator<Item = (u16, &'a [u8])> {
    numbers.iter().map(|number| {
        let at = usize::from(*number) * SYMBOL_BYTES;
        (*number, &repair[at..at + SYMBOL_BYTES])
    })
}

/// Data without some symbols, with something else in their places.
fn without(data: &[u8], missing: &[u16]) -> Vec<u8> {
    let mut holed = data.to_vec();
    for number in missing {
        let at = usize::from(*number) * SYMBOL_BYTES;
        holed[at..at + SYMBOL_BYTES].fill(0xee);
    }
    holed
}

#[test]
fn there_are_a_quarter_as_many_repair_symbols() {
    let expected = [(1, 16), (64, 16), (67, 16), (68, 32), (131, 32), (132, 64), (259, 64), (260, 128)];
    let more = [(515, 128), (516, 256), (720, 256), (1024, 256), (u16::MAX, 256)];
    for (symbols, made) in expected.into_iter().chain(more) {
        assert_eq!(repairs(symbols), made, "{symbols} symbols");
    }
}

/// A group and a loss: data symbols, which of them are missing, which repair symbols came instead, in the order of arrival.
fn losses() -> impl Strategy<Value = (u16, Vec<u16>, Vec<u16>)> {
    let symbols = prop_oneof![1_u16..=80, 500_u16..=530, Just(SYMBOLS_MAX)];
    let lost = symbols.prop_flat_map(|symbols| {
        let most = usize::from(symbols.min(repairs(symbols)));
        (Just(symbols), prop_oneof![Just(1), 1..=most, Just(most)])
    });
    lost.prop_flat_map(|(symbols, lost)| {
        let missing = proptest::sample::subsequence((0..symbols).collect::<Vec<_>>(), lost);
        let repair = Just((0..repairs(symbols)).collect::<Vec<_>>()).prop_shuffle();
        let repair = repair.prop_map(move |mut all| {
            all.truncate(lost);
            all
        });
        (Just(symbols), missing, repair)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One encoder and one decoder for two groups of different sizes: nothing of the first is left in the second.
    #[test]
    fn any_symbols_give_the_bytes_back((one, other) in (losses(), losses()), seed: u64) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for ((symbols, missing, repair), seed) in [(one, seed), (other, !seed)] {
            let data = noise(symbols, seed);
            let made = encoded(&mut encoder, &data);
            prop_assert_eq!(made.len(), usize::from(repairs(symbols)) * SYMBOL_BYTES);
            let mut holed = without(&data, &missing);
            decoder.decode(&mut holed, &missing, picked(&made, &repair)).unwrap();
            prop_assert!(holed == data, "{} symbols, without {:?}, by {:?}", symbols, missing, repair);
        }
    }

    #[test]
    fn too_few_symbols_are_refused_and_change_nothing((symbols, missing, repair) in losses(), seed: u64) {
        let data = noise(symbols, seed);
        let made = encoded(&mut Encoder::new(), &data);
        let mut decoder = Decoder::new();
        let holed = without(&data, &missing);
        let mut tried = holed.clone();
        let few = &repair[1..];
        prop_assert!(decoder.decode(&mut tried, &missing, picked(&made, few)).is_err());
        prop_assert!(tried == holed);
        decoder.decode(&mut tried, &missing, picked(&made, &repair)).unwrap();
        prop_assert!(tried == data, "what failed before is not in the way");
    }
}

#[test]
fn what_is_no_group_is_refused() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let symbol = SYMBOL_BYTES;
    for bytes in [0, 1, symbol - 1, symbol + 1, (usize::from(SYMBOLS_MAX) + 1) * symbol, 70_000 * symbol] {
        let mut data = vec![0; bytes];
        assert!(encoder.encode(&data, &mut Vec::new()).is_err(), "{bytes} bytes");
        let one = [(0, &[0_u8; SYMBOL_BYTES][..])];
        assert!(decoder.decode(&mut data, &[0], one).is_err(), "{bytes} bytes");
    }
}

#[test]
fn hostile_repair_symbols_are_refused() {
    let data = noise(20, 1);
    let made = encoded(&mut Encoder::new(), &data);
    let good = &made[..SYMBOL_BYTES];
    let cases = [
        ("twice the same", vec![(3, good), (3, good)]),
        ("beyond the last", vec![(0, good), (16, good)]),
        ("far beyond the last", vec![(0, good), (u16::MAX, good)]),
        ("too short", vec![(0, good), (1, &good[1..])]),
        ("none", vec![]),
    ];
    let mut decoder = Decoder::new();
    for (what, repair) in cases {
        let mut holed = without(&data, &[4, 9]);
        assert!(decoder.decode(&mut holed, &[4, 9], repair).is_err(), "{what}");
        assert!(holed == without(&data, &[4, 9]), "{what}");
    }
}

#[test]
fn nothing_missing_needs_nothing() {
    let data = noise(7, 1);
    let mut whole = data.clone();
    Decoder::new().decode(&mut whole, &[], []).unwrap();
    assert!(whole == data);
}

/// Symbols are on the wire: what one version made must be understood by every other.
#[test]
fn the_code_is_pinned() {
    let document = include_str!("../../../../appliance/docs/cast.md");
    let mut encoder = Encoder::new();
    let mut sizes = BTreeSet::new();
    for symbols in [1, 16, 17, 20, 720, 1024] {
        let digests = (0..u32::from(symbols) * 44).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes());
        let data: Vec<u8> = digests.collect();
        let made = encoded(&mut encoder, &data);
        sizes.insert(made.len());
        let row = format!("| {symbols} | {} | `{}` |", repairs(symbols), blake3::hash(&made));
        assert!(document.contains(&row), "not in the document: {row}");
    }
    assert_eq!(sizes.len(), 2);
}

/// Megabytes a second of the quickest of some rounds: the others had company on the machine.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn speed(bytes: usize, mut round: impl FnMut()) -> f64 {
    let took = |_| {
        let begun = Instant::now();
        round();
        begun.elapsed().as_secs_f64()
    };
    bytes as f64 / (0..300).map(took).fold(f64::MAX, f64::min) / 1e6
}

#[test]
#[ignore = "measures: cargo test --release -p cast how_fast -- --ignored --nocapture"]
fn how_fast() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for symbols in [128, 720, SYMBOLS_MAX] {
        let data = noise(symbols, 1);
        let mut made = Vec::new();
        let encode = speed(data.len(), || encoder.encode(&data, &mut made).unwrap());
        println!("{symbols} symbols, {} repair symbols: encode {encode:.0} MB/s", repairs(symbols));
        for lost in [1, 8, repairs(symbols)] {
            let step = usize::from(symbols / lost);
            let missing: Vec<u16> = (0..symbols).step_by(step).take(usize::from(lost)).collect();
            let numbers: Vec<u16> = (0..lost).collect();
            let mut holed = without(&data, &missing);
            let decode = speed(data.len(), || {
                decoder.decode(&mut holed, &missing, picked(&made, &numbers)).unwrap();
            });
            println!("    {lost} lost: decode {decode:.0} MB/s");
            assert!(holed == data);
        }
    }
}
