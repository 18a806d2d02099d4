//! Bytes of an image from end to end: coded, sent as packets over a network that loses, repeats and exchanges them, heard,
//! gathered, decoded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;

use cast::code::{Decoder, Encoder, repairs};
use cast::gather::{Gather, Heard, Limits};
use cast::groups::{Group, Groups};
use cast::wire::{self, Data, Report, SYMBOL_BYTES};
use cast::{Micros, Piece};
use proptest::prelude::*;

const SESSION: u64 = 77;
const KEY: [u8; 32] = [7; 32];

/// The sending end: the bytes of each group, and its next symbol.
struct Source {
    groups: Vec<(Vec<u8>, u16, u16)>,
    sequence: u32,
}

impl Source {
    fn new(groups: &Groups, image: &[u8]) -> Source {
        let mut encoder = Encoder::new();
        let symbols = |group: &Group| {
            let from = usize::try_from(group.offset).unwrap();
            let mut bytes = image[from..from + usize::try_from(group.bytes).unwrap()].to_vec();
            bytes.resize(usize::from(group.symbols) * SYMBOL_BYTES, 0);
            let mut repair = Vec::new();
            encoder.encode(&bytes, &mut repair).unwrap();
            bytes.append(&mut repair);
            (bytes, group.symbols, 0)
        };
        Source { groups: groups.iter().map(|(_, group)| group).map(symbols).collect(), sequence: 0 }
    }

    fn packet(&mut self, number: usize) -> Vec<u8> {
        let (bytes, symbols, next) = &mut self.groups[number];
        let (group, symbols, symbol) = (u32::try_from(number).unwrap(), *symbols, *next);
        *next = (symbol + 1) % (symbols + repairs(symbols));
        let head = Data { session: SESSION, group, symbols, symbol, sequence: self.sequence, asks: false };
        self.sequence += 1;
        let at = usize::from(symbol) * SYMBOL_BYTES;
        [&head.header()[..], &bytes[at..at + SYMBOL_BYTES]].concat()
    }
}

/// A group that is not complete: the place of its data, and repair symbols by their number among those.
#[derive(Default)]
struct Open {
    data: Vec<u8>,
    repair: BTreeMap<u16, Vec<u8>>,
}

/// The receiving end.
struct Sink {
    gather: Gather,
    open: BTreeMap<u32, Open>,
    decoder: Decoder,
    whole: BTreeMap<u32, Vec<u8>>,
}

impl Sink {
    fn hear(&mut self, packet: &[u8]) {
        let Ok(wire::Heard::Data(data, symbol)) = wire::hear(packet) else { panic!("a packet of ours") };
        let heard = self.gather.data(&data);
        if let Heard::Foreign | Heard::Useless = heard {
            return;
        }
        let open = self.open.entry(data.group).or_default();
        open.data.resize(usize::from(data.symbols) * SYMBOL_BYTES, 0xee);
        match data.symbol.checked_sub(data.symbols) {
            Some(number) => drop(open.repair.insert(number, symbol.to_vec())),
            None => {
                let at = usize::from(data.symbol) * SYMBOL_BYTES;
                open.data[at..at + SYMBOL_BYTES].copy_from_slice(symbol);
            }
        }
        if let Heard::Complete(missing) = heard {
            let Open { data: mut bytes, repair } = self.open.remove(&data.group).unwrap();
            assert_eq!(missing.len(), repair.len(), "one came for each that did not");
            let came = repair.iter().map(|(number, symbol)| (*number, &symbol[..]));
            self.decoder.decode(&mut bytes, &missing, came).unwrap();
            assert!(self.whole.insert(data.group, bytes).is_none(), "complete once");
        }
    }

    /// What is lacking of each group, as it comes out at the controller.
    fn lacks(&mut self, now: Micros) -> Vec<u16> {
        let mut lacks = Vec::new();
        while let Some(report) = self.gather.report(now) {
            let read = Report::read(&report.packet(&KEY), |_, _| Some(KEY)).unwrap();
            let runs = read.runs.iter();
            lacks.extend(runs.flat_map(|run| vec![run.deficit; usize::from(run.groups)]));
        }
        lacks
    }
}

/// Pieces one behind the other; some of zeros.
fn image(stored: &[u32]) -> (Groups, Vec<u8>) {
    let mut offset = 0;
    let pieces: Vec<Piece> = (0..)
        .zip(stored)
        .map(|(id, stored)| {
            let piece = Piece { id, offset, stored: *stored, bytes: 1 << 20 };
            offset += u64::from(*stored);
            piece
        })
        .collect();
    let mut bytes = vec![0; usize::try_from(offset).unwrap()];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    (Groups::of(&pieces), bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_image_arrives_as_it_was_sent(
        stored in prop::collection::vec(prop_oneof![1 => Just(0), 4 => 1..700_000_u32], 1..8),
        open_bytes in 0..3_000_000_u64,
        (lost, twice, late) in (0..400_u32, 0..100_u32, 0..100_u32),
        mut dice in 1..u64::MAX,
    ) {
        let mut chance = |of_thousand: u32| {
            // xorshift64
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 32) % 1000 < u64::from(of_thousand)
        };
        let (groups, image) = image(&stored);
        let mut source = Source::new(&groups, &image);
        let gather = Gather::new(&groups, SESSION, 3, Limits { open_bytes });
        let mut sink = Sink { gather, open: BTreeMap::new(), decoder: Decoder::new(), whole: BTreeMap::new() };
        groups.iter().for_each(|(number, _)| sink.gather.need(number));
        let (mut held, mut now) = (Vec::new(), Micros(0));
        while sink.gather.lacks() > 0 {
            prop_assert!(now.0 < 1_000_000_000, "it does not end");
            for (number, deficit) in sink.lacks(now).into_iter().enumerate() {
                for _ in 0..deficit {
                    let packet = source.packet(number);
                    if chance(lost) {
                        continue;
                    }
                    if chance(late) {
                        held.push(packet);
                        continue;
                    }
                    sink.hear(&packet);
                    if chance(twice) {
                        sink.hear(&packet);
                    }
                }
            }
            held.drain(..).for_each(|packet: Vec<u8>| sink.hear(&packet));
            now = now.after(Micros(250_000));
        }
        prop_assert_eq!(sink.whole.len(), groups.len());
        for (number, group) in groups.iter() {
            let (from, bytes) = (usize::try_from(group.offset).unwrap(), usize::try_from(group.bytes).unwrap());
            prop_assert!(sink.whole[&number][..bytes] == image[from..from + bytes], "group {}", number);
        }
    }
}
