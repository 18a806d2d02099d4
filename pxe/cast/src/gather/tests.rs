use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::Piece;
use crate::wire::{REPORT_BYTES_MAX, SYMBOLS_MAX};

const SESSION: u64 = 77;
const SLOT: u32 = 3;
const KEY: [u8; 32] = [7; 32];
const SYMBOL: u32 = 1408;

/// Groups of so many symbols each: there is a gap behind each at the source.
fn groups(symbols: &[u16]) -> Groups {
    let piece = |(id, symbols): (u32, &u16)| Piece {
        id,
        offset: u64::from(id) << 24,
        stored: u32::from(*symbols) * SYMBOL,
        bytes: 1 << 20,
    };
    Groups::of(&(0..).zip(symbols).map(piece).collect::<Vec<_>>())
}

fn gather(symbols: &[u16], open_bytes: u64) -> Gather {
    Gather::new(&groups(symbols), SESSION, SLOT, Limits { open_bytes })
}

fn data(group: u32, symbols: u16, symbol: u16, sequence: u32) -> Data {
    Data { session: SESSION, group, symbols, symbol, sequence, asks: false }
}

/// All that is said now: the deficit of each group, and the reports it came in.
fn said(gather: &mut Gather, now: Micros) -> Option<(Vec<u16>, Vec<Report>)> {
    let (mut deficits, mut reports) = (Vec::new(), Vec::new());
    while let Some(report) = gather.report(now) {
        assert_eq!(usize::try_from(report.first).unwrap(), deficits.len(), "no gap, nothing twice");
        assert!(report.packet(&KEY).len() <= REPORT_BYTES_MAX);
        let read = Report::read(&report.packet(&KEY), |_, _| Some(KEY));
        assert_eq!(read.as_ref(), Ok(&report), "it fits one packet, and is read as it was written");
        for run in &report.runs {
            deficits.extend(std::iter::repeat_n(run.deficit, usize::from(run.groups)));
        }
        reports.push(report);
    }
    (!reports.is_empty()).then_some((deficits, reports))
}

/// What happens to a receiver.
#[derive(Debug, Clone)]
enum Step {
    /// The sender sends a symbol of a group; what the network makes of it.
    Send(usize, u16, Fate, bool),
    /// Packets held back arrive.
    Release,
    /// The sender says where it is.
    Beat(bool),
    /// A stranger's packet.
    Stranger(Data),
    Need(usize),
    Drop(usize),
    Spoilt(usize),
    /// So many milliseconds pass, and what is to be said is said.
    Look(u64),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    HeldBack,
}

/// The sizes that groups have here: one symbol, fewer than repair symbols, more, next to a step of the code, all.
const SIZES: [u16; 7] = [1, 2, 15, 17, 40, 3, SYMBOLS_MAX];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = || 0..SIZES.len();
    // Symbols of a small range: groups are complete now and then, and symbols come again.
    let symbol = prop_oneof![8 => 0_u16..20, 1 => 0_u16..1400];
    let fate = prop_oneof![
        6 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Twice), 1 => Just(Fate::HeldBack)
    ];
    let near = (0..9_u32, 0..1100_u16, 0..60_u16, any::<u32>(), any::<bool>());
    let stranger = near.prop_map(|(group, symbols, symbol, sequence, asks)| {
        // Those with the right number of symbols may be taken for the sender's.
        let of = SIZES.get(usize::try_from(group).unwrap()).copied().filter(|_| symbols % 2 == 0);
        Data {
            session: SESSION + u64::from(group == 8),
            group,
            symbols: of.unwrap_or(symbols),
            symbol,
            sequence,
            asks,
        }
    });
    let step = prop_oneof![
        60 => (group(), symbol, fate, prop::bool::weighted(0.1)).prop_map(|(g, s, f, asks)| Step::Send(g, s, f, asks)),
        4 => Just(Step::Release),
        2 => any::<bool>().prop_map(Step::Beat),
        4 => stranger.prop_map(Step::Stranger),
        2 => group().prop_map(Step::Need),
        1 => group().prop_map(Step::Drop),
        1 => group().prop_map(Step::Spoilt),
        6 => (0..120_u64).prop_map(Step::Look),
    ];
    prop::collection::vec(step, 1..500)
}

/// What a receiver must know, written down the simplest way.
struct Model {
    gather: Gather,
    open_bytes: u64,
    needed: [bool; SIZES.len()],
    here: [BTreeSet<u16>; SIZES.len()],
    /// Packets on the way.
    held: Vec<Data>,
    /// The next sequence number, and those that have arrived.
    next: u32,
    arrived: BTreeSet<u32>,
    /// How far the receiver can know that the sender is.
    known: u32,
    /// A stranger's sequence number was heard: what the receiver says of the sender's is not judged from there on.
    misled: bool,
    asked: bool,
    said: Option<Micros>,
    number: u32,
    now: Micros,
}

impl Model {
    fn new(open_bytes: u64, all: bool) -> Model {
        let mut gather = gather(&SIZES, open_bytes);
        if all {
            (0..).zip(SIZES).for_each(|(group, _)| gather.need(group));
        }
        Model {
            gather,
            open_bytes,
            needed: [all; SIZES.len()],
            here: Default::default(),
            held: Vec::new(),
            next: 0,
            arrived: BTreeSet::new(),
            known: 0,
            misled: false,
            asked: false,
            said: None,
            number: 0,
            now: Micros(0),
        }
    }

    fn open(&self) -> u64 {
        let bytes =
            |(here, size): (&BTreeSet<u16>, u16)| if here.is_empty() { 0 } else { u64::from(size) * 1408 };
        self.here.iter().zip(SIZES).map(bytes).sum()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send(group, symbol, fate, asks) => {
                let size = SIZES[group];
                let symbol = symbol % (size + repairs(size));
                let data = Data { asks, ..data(u32::try_from(group).unwrap(), size, symbol, self.next) };
                self.next += 1;
                match fate {
                    Fate::Arrives => self.hear(&data),
                    Fate::Lost => {}
                    Fate::Twice => (0..2).for_each(|_| self.hear(&data)),
                    Fate::HeldBack => self.held.push(data),
                }
            }
            Step::Release => std::mem::take(&mut self.held).iter().for_each(|data| self.hear(data)),
            Step::Beat(asks) => {
                assert!(self.gather.beat(&Beat { session: SESSION, next: self.next, asks }));
                assert!(!self.gather.beat(&Beat { session: SESSION - 1, next: 9, asks: true }));
                self.known = self.next;
                self.asked |= asks;
            }
            Step::Stranger(data) => self.stranger(&data),
            Step::Need(group) => {
                self.gather.need(u32::try_from(group).unwrap());
                self.asked |= !std::mem::replace(&mut self.needed[group], true);
            }
            Step::Drop(group) => {
                self.gather.drop_need(u32::try_from(group).unwrap());
                self.needed[group] = false;
                self.here[group].clear();
            }
            Step::Spoilt(group) => {
                self.gather.spoilt(u32::try_from(group).unwrap());
                self.here[group].clear();
                self.asked |= !std::mem::replace(&mut self.needed[group], true);
            }
            Step::Look(millis) => self.look(millis),
        }
    }

    fn hear(&mut self, data: &Data) {
        self.arrived.insert(data.sequence);
        self.known = self.known.max(data.sequence + 1);
        self.asked |= data.asks;
        self.symbol(data);
    }

    fn stranger(&mut self, data: &Data) {
        let size = usize::try_from(data.group).ok().and_then(|group| SIZES.get(group)).copied();
        let is_possible = |size: u16| data.symbols == size && data.symbol < size + repairs(size);
        if data.session == SESSION && size.is_some_and(is_possible) {
            self.misled = true;
            self.asked |= data.asks;
            self.symbol(data);
        } else {
            assert_eq!(self.gather.data(data), Heard::Foreign);
        }
    }

    /// A symbol of a group that there is.
    fn symbol(&mut self, data: &Data) {
        let group = usize::try_from(data.group).unwrap();
        let room = self.open() + u64::from(SIZES[group]) * 1408 <= self.open_bytes || self.open() == 0;
        let takes = self.needed[group] && (room || !self.here[group].is_empty());
        let heard = self.gather.data(data);
        if !takes || !self.here[group].insert(data.symbol) {
            assert_eq!(heard, Heard::Useless);
        } else if self.here[group].len() < usize::from(SIZES[group]) {
            assert_eq!(heard, Heard::Kept);
        } else {
            let missing = (0..SIZES[group]).filter(|symbol| !self.here[group].contains(symbol)).collect();
            assert_eq!(
                heard,
                Heard::Complete(missing),
                "as many symbols as there are of data, and not one fewer"
            );
            self.needed[group] = false;
            self.here[group].clear();
        }
    }

    fn look(&mut self, millis: u64) {
        self.now = self.now.after(Micros(millis * 1000));
        let since = self.said.map(|at| self.now.since(at).0 / 1000);
        let is_due = since.is_none_or(|since| since >= 250 || self.asked && since >= 10);
        let Some((deficits, reports)) = said(&mut self.gather, self.now) else {
            assert!(!is_due, "nothing said after {since:?} ms");
            return;
        };
        assert!(is_due, "said after {since:?} ms");
        (self.said, self.asked) = (Some(self.now), false);
        let all = SIZES.into_iter().zip(&self.here).zip(self.needed);
        let expected: Vec<u16> = all
            .map(|((size, here), needed)| if needed { size - u16::try_from(here.len()).unwrap() } else { 0 })
            .collect();
        assert_eq!(deficits, expected);
        assert_eq!(self.gather.lacks(), expected.iter().map(|deficit| u64::from(*deficit)).sum::<u64>());
        for report in reports {
            self.number += 1;
            assert_eq!((report.session, report.slot, report.number), (SESSION, SLOT, self.number));
            if !self.misled {
                assert_eq!(
                    (report.next, report.received),
                    (self.known, u32::try_from(self.arrived.len()).unwrap())
                );
            }
        }
    }

    /// Whatever came: no more is held than was allowed, or one group.
    fn holds(&self) {
        assert!(self.gather.open_bytes == self.open());
        assert!(self.open() <= self.open_bytes || self.gather.open.len() == 1);
        assert!(self.gather.open.values().all(|open| open.count > 0 && open.here.len() <= 20));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_says_what_it_has(steps in steps(), room in 0..1200_u64, all: bool) {
        let mut model = Model::new(room * 1408, all);
        for step in steps {
            model.take(step);
            model.holds();
        }
        model.take(Step::Look(250));
    }

    /// Whatever is lost on the way, one says in the end that one lacks nothing, and then has lacked nothing.
    #[test]
    fn what_is_sent_as_it_is_lacked_is_complete(seed in 1..u64::MAX, lossy in 0..60_u64, room in 0..1200_u64) {
        let mut gather = gather(&SIZES, room * 1408);
        (0..).zip(SIZES).for_each(|(group, _)| gather.need(group));
        let mut next: [u16; SIZES.len()] = [0; SIZES.len()];
        let mut dice = seed;
        let mut is_lost = || {
            // xorshift64
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 32) % 100 < lossy
        };
        let (mut sequence, mut complete, mut now) = (0, BTreeSet::new(), Micros(0));
        for _round in 0..2000 {
            let Some((deficits, _)) = said(&mut gather, now) else { panic!("it says what it lacks") };
            now = now.after(EVERY);
            for (group, deficit) in (0_usize..).zip(deficits) {
                for _ in 0..deficit {
                    let size = SIZES[group];
                    let symbol = next[group];
                    next[group] = (symbol + 1) % (size + repairs(size));
                    sequence += 1;
                    if is_lost() {
                        continue;
                    }
                    let number = u32::try_from(group).unwrap();
                    if let Heard::Complete(missing) = gather.data(&data(number, size, symbol, sequence)) {
                        prop_assert!(missing.len() <= usize::from(repairs(size)));
                        prop_assert!(complete.insert(group), "complete once");
                    }
                }
            }
            if gather.lacks() == 0 {
                break;
            }
        }
        prop_assert_eq!(complete.len(), SIZES.len());
        prop_assert_eq!((gather.lacks(), gather.open_bytes, gather.open.len()), (0, 0, 0));
    }
}

#[test]
fn more_than_one_report_holds_is_said_in_several() {
    let sizes: Vec<u16> = (0..2000).map(|group| 1 + group % 700).collect();
    let mut gather = gather(&sizes, 0);
    (0..2000).for_each(|group| gather.need(group));
    let (deficits, reports) = said(&mut gather, Micros(0)).unwrap();
    assert_eq!(deficits, sizes);
    assert_eq!(reports.len(), 2000_usize.div_ceil(RUNS_MAX));
    let numbers: Vec<u32> = reports.iter().map(|report| report.number).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>(), "each has its own number");
    assert_eq!(said(&mut gather, Micros(249_999)), None);
    assert_eq!(said(&mut gather, Micros(250_000)).map(|(deficits, _)| deficits), Some(sizes));
}

#[test]
fn a_stretch_that_is_cut_off_goes_on_where_it_was() {
    let sizes: Vec<u16> = (0..1000).map(|group| 1 + group % 700).collect();
    let mut gather = gather(&sizes, 0);
    (0..1000).for_each(|group| gather.need(group));
    let one = gather.report(Micros(0)).unwrap();
    let behind = u32::try_from(RUNS_MAX).unwrap();
    assert_eq!(one.first, 0);
    assert_eq!(gather.report(Micros(1)).unwrap().first, behind, "nothing has to be waited for");
    assert!(gather.beat(&Beat { session: SESSION, next: 0, asks: true }));
    assert_eq!(
        gather.report(Micros(11_000)).unwrap().first,
        2 * behind,
        "to the end, before it is said anew"
    );
    assert_eq!(gather.report(Micros(11_000)).unwrap().first, 0);
}

#[test]
fn a_run_is_no_longer_than_a_number_can_say() {
    let sizes = [2; 70_000];
    let mut gather = gather(&sizes, 0);
    (0..70_000).for_each(|group| gather.need(group));
    let (deficits, reports) = said(&mut gather, Micros(0)).unwrap();
    assert_eq!((deficits.len(), reports.len()), (70_000, 1));
    let runs: Vec<_> = reports[0].runs.iter().map(|run| (run.groups, run.deficit)).collect();
    assert_eq!(runs, [(u16::MAX, 2), (4465, 2)]);
}

#[test]
fn an_image_of_zeros_has_an_empty_report() {
    let mut gather = gather(&[], 0);
    let report = gather.report(Micros(0)).unwrap();
    assert_eq!((report.first, report.runs.len()), (0, 0), "a sign of life");
    assert_eq!(gather.report(Micros(0)), None);
    gather.need(0);
    gather.spoilt(7);
    gather.drop_need(u32::MAX);
    assert_eq!(gather.data(&data(0, 1, 0, 0)), Heard::Foreign);
    assert_eq!((gather.lacks(), gather.counters().spoilt), (0, 0));
}

#[test]
fn impossible_packets_are_foreign() {
    let mut gather = gather(&[20, SYMBOLS_MAX], u64::MAX);
    (0..2).for_each(|group| gather.need(group));
    let good = data(0, 20, 0, 0);
    let cases = [
        ("another transmission", Data { session: SESSION + 1, ..good }),
        ("no such group", Data { group: 2, ..good }),
        ("the last number of a group", Data { group: u32::MAX, ..good }),
        ("more symbols than the group has", Data { symbols: 21, ..good }),
        ("fewer symbols than the group has", Data { symbols: 19, ..good }),
        ("beyond the last repair symbol", Data { symbol: 36, ..good }),
        ("beyond the last of the largest", Data { group: 1, symbols: SYMBOLS_MAX, symbol: 1280, ..good }),
        ("the last number of a symbol", Data { symbol: u16::MAX, ..good }),
    ];
    for (what, case) in cases {
        assert_eq!(gather.data(&Data { asks: true, sequence: 9, ..case }), Heard::Foreign, "{what}");
    }
    let report = gather.report(Micros(0)).unwrap();
    assert_eq!((report.next, report.received), (0, 0), "they are no sign of the sender");
    assert_eq!(gather.counters().foreign, 8);
    assert_eq!(gather.data(&Data { symbol: 35, ..good }), Heard::Kept, "the last repair symbol");
}

#[test]
fn a_stranger_cannot_make_its_reports_unbelievable() {
    let mut gather = gather(&[SYMBOLS_MAX], u64::MAX);
    gather.need(0);
    for (symbol, sequence) in (0..50).zip(0..) {
        gather.data(&data(0, SYMBOLS_MAX, symbol, sequence));
    }
    gather.data(&data(0, SYMBOLS_MAX, 200, 1 << 30));
    assert!(gather.beat(&Beat { session: SESSION, next: 3 << 29, asks: false }));
    assert_eq!(gather.report(Micros(0)).unwrap().next, 50);
    gather.data(&data(0, SYMBOLS_MAX, 201, 1 << 30));
    gather.data(&data(0, SYMBOLS_MAX, 202, (1 << 30) + 1));
    gather.data(&data(0, SYMBOLS_MAX, 51, 51));
    gather.data(&data(0, SYMBOLS_MAX, 52, 52));
    assert_eq!(gather.report(EVERY).unwrap().next, 53, "the sender goes on, and is believed again");
}

#[test]
fn what_became_of_packets_is_counted() {
    let mut gather = gather(&[2, 1, 5], 2 * 1408);
    (0..2).for_each(|group| gather.need(group));
    let heard: Vec<Heard> = [
        data(0, 2, 0, 0),
        data(0, 2, 0, 1),
        data(1, 1, 0, 2),
        data(2, 5, 0, 3),
        data(0, 2, 17, 4),
        data(0, 2, 1, 5),
        data(0, 3, 1, 6),
    ]
    .iter()
    .map(|data| gather.data(data))
    .collect();
    let (kept, useless) = (Heard::Kept, Heard::Useless);
    let complete = Heard::Complete(vec![1]);
    assert_eq!(
        heard,
        [kept, useless.clone(), useless.clone(), useless.clone(), complete, useless, Heard::Foreign]
    );
    gather.spoilt(0);
    gather.report(Micros(0)).unwrap();
    let expected = Counters {
        kept: 2,
        unneeded: 2,
        repeated: 1,
        no_room: 1,
        foreign: 1,
        complete: 1,
        spoilt: 1,
        reports: 1,
    };
    assert_eq!(gather.counters(), expected);
    assert_eq!(gather.lacks(), 3, "spoilt: from the beginning");
}
