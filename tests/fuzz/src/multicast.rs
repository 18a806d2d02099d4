//! An image that is sent to all at once: packets of anybody, and a receiver that hears them.

use std::collections::{BTreeMap, BTreeSet};

use cast::code::repairs;
use cast::gather::{Gather, Heard, Limits};
use cast::groups::Groups;
use cast::wire::door::{ANSWER_BYTES, ASK_BYTES, Answer, Ask, RANGE_BYTES_MAX};
use cast::wire::{
    self, Beat, CODE_BYTES, DATA_BYTES, Data, RUNS_MAX, Report, Run, SYMBOL_BYTES, SYMBOLS_MAX,
};
use cast::{Micros, Piece};

use crate::Reached;
use crate::input::Input;

const KEY: [u8; 32] = [7; 32];
const SESSION: u64 = 77;
/// Longer transmissions find nothing that shorter ones do not.
const STEPS: usize = 2000;

/// What is heard or read is written back as the same bytes. Of a report the input is what is authenticated: nobody guesses a code.
pub(crate) fn packet(data: &[u8]) -> Reached {
    let is_heard = match wire::hear(data) {
        Ok(wire::Heard::Data(head, symbol)) => {
            assert!((1..=SYMBOLS_MAX).contains(&head.symbols));
            assert_eq!([&head.header()[..], symbol].concat(), data);
            true
        }
        Ok(wire::Heard::Beat(beat)) => {
            assert_eq!(beat.packet(), data);
            true
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            false
        }
    };
    let shorter = data.split_last().map_or(data, |(_, rest)| rest);
    assert!(!is_heard || wire::hear(shorter).is_err(), "a packet that is cut");
    Reached::when(report(data) || is_heard)
}

fn report(data: &[u8]) -> bool {
    assert!(Report::read(data, |_, _| Some([8; 32])).is_err(), "nobody has this key");
    let read = |packet: &[u8]| Report::read(packet, |_, slot| (slot != 0).then_some(KEY));
    let hash = blake3::keyed_hash(&KEY, data);
    let code = hash.as_bytes().get(..CODE_BYTES).unwrap_or_default();
    let packet = [data, code].concat();
    let report = match read(&packet) {
        Ok(report) => report,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return false;
        }
    };
    let groups: u32 = report.runs.iter().map(|run| u32::from(run.groups)).sum();
    assert!(report.runs.len() <= RUNS_MAX && report.first.checked_add(groups).is_some());
    assert!(report.runs.iter().all(|run| run.groups > 0 && run.deficit <= SYMBOLS_MAX));
    assert_eq!(report.packet(&KEY), packet);
    true
}

/// Data, a beat, reports with and without runs; some that are nearly so.
pub(crate) fn packet_seeds() -> Vec<Vec<u8>> {
    let head = Data { session: 1, group: 2, symbols: 1000, symbol: 3, sequence: 4, asks: true }.header();
    let runs = vec![Run { groups: 300, deficit: 0 }, Run { groups: 1, deficit: 17 }];
    let report = Report { session: 1, slot: 3, number: 5, next: 70, received: 69, first: 2, runs };
    let body = |report: &Report| {
        let mut packet = report.packet(&KEY);
        packet.truncate(packet.len() - CODE_BYTES);
        packet
    };
    vec![
        [&head[..], &[9; SYMBOL_BYTES]].concat(),
        head.to_vec(),
        Beat { session: 1, next: 7, asks: false }.packet().to_vec(),
        body(&report),
        body(&Report { runs: vec![], ..report.clone() }),
        body(&Report {
            runs: vec![Run { groups: u16::MAX, deficit: SYMBOLS_MAX }; RUNS_MAX],
            ..report.clone()
        }),
        report.packet(&KEY),
    ]
}

/// A question to a door and its answer: what is read is written back as the same bytes. Of a question the input is what is
/// authenticated.
pub(crate) fn door(data: &[u8]) -> Reached {
    let is_answer = match data.first_chunk::<ANSWER_BYTES>().map(Answer::read) {
        Some(Ok(answer)) => {
            assert_eq!(Some(&answer.packet()), data.first_chunk());
            assert!(!matches!(answer, Answer::Follows(bytes) if bytes == 0 || bytes > RANGE_BYTES_MAX));
            true
        }
        Some(Err(why)) => {
            assert!(!why.to_string().is_empty());
            false
        }
        None => false,
    };
    Reached::when(ask(data) || is_answer)
}

fn ask(data: &[u8]) -> bool {
    let Some(body) = data.first_chunk::<{ ASK_BYTES - CODE_BYTES }>() else { return false };
    let hash = blake3::keyed_hash(&KEY, body);
    let mut packet = [0; ASK_BYTES];
    let signed = body.iter().chain(hash.as_bytes());
    packet.iter_mut().zip(signed).for_each(|(to, from)| *to = *from);
    assert!(Ask::read(&packet, &[8; 32]).is_err(), "this door has another key");
    match Ask::read(&packet, &KEY) {
        Ok(ask) => {
            assert!((1..=RANGE_BYTES_MAX).contains(&ask.bytes));
            assert!(ask.offset.checked_add(u64::from(ask.bytes)).is_some());
            assert_eq!(ask.packet(&KEY), packet);
            true
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            false
        }
    }
}

/// Questions and answers of each kind; some that are nearly so.
pub(crate) fn door_seeds() -> Vec<Vec<u8>> {
    let ask = Ask { offset: 1 << 20, bytes: 4 << 20, image: [5; 32] };
    let asks = [ask, Ask { bytes: 0, ..ask }, Ask { offset: u64::MAX, ..ask }];
    let answers = [Answer::Follows(RANGE_BYTES_MAX), Answer::NotHere, Answer::OtherImage];
    let cut =
        [ask.packet(&KEY).get(..ASK_BYTES - CODE_BYTES - 1).unwrap_or_default().to_vec(), vec![1, 5, 0]];
    let asks = asks.iter().map(|ask| ask.packet(&KEY).to_vec());
    asks.chain(answers.map(|answer| answer.packet().to_vec())).chain(cut).collect()
}

/// A receiver, and what it must know after what it has said.
struct Ear {
    gather: Gather,
    sizes: Vec<u16>,
    room: u64,
    needed: BTreeSet<u32>,
    here: BTreeMap<u32, BTreeSet<u16>>,
    sequence: u32,
    now: u64,
    complete: u32,
}

/// Complete with as many symbols as there are of data, never with more bytes than allowed; what it lacks is what it says.
pub(crate) fn gather(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let sizes: Vec<u16> = (0..input.byte() % 6).map(|_| 1 + u16::from(input.byte()) * 4).collect();
    let piece = |(id, size): (u32, &u16)| {
        let stored = u32::try_from(usize::from(*size) * SYMBOL_BYTES).unwrap_or(0);
        Piece { id, offset: u64::from(id) << 32, stored, bytes: 1 << 20 }
    };
    let groups = Groups::of(&(0..).zip(&sizes).map(piece).collect::<Vec<_>>());
    assert_eq!(groups.len(), sizes.len());
    let room = u64::from(input.byte()) << 14;
    let gather = Gather::new(&groups, SESSION, 3, Limits { open_bytes: room });
    let (needed, here) = (BTreeSet::new(), BTreeMap::new());
    let mut ear = Ear { gather, sizes, room, needed, here, sequence: 0, now: 0, complete: 0 };
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        ear.step(&mut input);
        ear.holds();
    }
    ear.now += 1_000_000;
    ear.say();
    Reached::when(ear.complete > 0)
}

impl Ear {
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let group = u32::from(input.byte() % 7);
        match what % 8 {
            0 => self.hear(input.take(DATA_BYTES)),
            1 => {
                let beat = Beat { session: SESSION, next: input.u32(), asks: what & 8 != 0 };
                self.hear(&beat.packet());
            }
            2 => {
                self.now += u64::from(input.byte()) * 1000;
                self.say();
            }
            3 => self.tell(group, what >> 3),
            // As the sender sends them, with gaps.
            _ => {
                self.sequence = self.sequence.wrapping_add(1 + u32::from(what >> 6));
                let [low, high] = input.array();
                let symbols = self.size(group).unwrap_or(1);
                let symbol = u16::from_le_bytes([low, high]) % (symbols + repairs(symbols));
                let (session, sequence, asks) = (SESSION, self.sequence, what & 8 != 0);
                self.data(&Data { session, group, symbols, symbol, sequence, asks });
            }
        }
    }

    /// Any packet, filled up.
    fn hear(&mut self, packet: &[u8]) {
        let mut whole = packet.to_vec();
        if packet.get(1) == Some(&1) {
            whole.resize(DATA_BYTES, 0);
        }
        match wire::hear(&whole) {
            Ok(wire::Heard::Data(data, _)) => self.data(&data),
            Ok(wire::Heard::Beat(beat)) => assert_eq!(self.gather.beat(&beat), beat.session == SESSION),
            Err(_) => {}
        }
    }

    fn data(&mut self, data: &Data) {
        let size = self.size(data.group).unwrap_or(0);
        let is_possible =
            data.session == SESSION && data.symbols == size && data.symbol < size + repairs(size);
        self.gather.tick(Micros(self.now));
        let heard = self.gather.data(data);
        assert_eq!(heard == Heard::Foreign, !is_possible);
        if let Heard::Foreign | Heard::Useless = heard {
            return;
        }
        assert!(self.needed.contains(&data.group), "kept without need");
        let here = self.here.entry(data.group).or_default();
        assert!(here.insert(data.symbol), "kept twice");
        assert_eq!(matches!(heard, Heard::Complete(_)), here.len() == usize::from(size));
        if let Heard::Complete(missing) = heard {
            let expected: Vec<u16> = (0..size).filter(|symbol| !here.contains(symbol)).collect();
            assert_eq!(missing, expected);
            self.forget(data.group);
            self.complete += 1;
        }
    }

    fn tell(&mut self, group: u32, what: u8) {
        match what % 3 {
            0 => self.gather.need(group),
            1 => {
                self.gather.drop_need(group);
                self.forget(group);
            }
            _ => {
                self.gather.spoilt(group);
                self.forget(group);
            }
        }
        if what % 3 != 1 && self.size(group).is_some() {
            self.needed.insert(group);
        }
    }

    fn say(&mut self) {
        let mut deficits = Vec::new();
        let mut reports = 0;
        while let Some(report) = self.gather.report(Micros(self.now)) {
            assert_eq!(usize::try_from(report.first), Ok(deficits.len()));
            deficits.extend(report.runs.iter().flat_map(|run| vec![run.deficit; usize::from(run.groups)]));
            reports += 1;
            assert!(reports <= 1, "so few groups fit one report");
        }
        let lacks = |group: u32| match self.needed.contains(&group) {
            true => {
                usize::from(self.size(group).unwrap_or(0)) - self.here.get(&group).map_or(0, BTreeSet::len)
            }
            false => 0,
        };
        let expected: Vec<usize> = (0..).zip(&self.sizes).map(|(group, _)| lacks(group)).collect();
        let sum: usize = expected.iter().sum();
        assert_eq!(usize::try_from(self.gather.lacks()), Ok(sum));
        if reports > 0 {
            assert!(deficits.iter().map(|deficit| usize::from(*deficit)).eq(expected));
        }
    }

    fn holds(&self) {
        let bytes = |group: &u32| u64::from(self.size(*group).unwrap_or(0)) * SYMBOL_BYTES as u64;
        assert!(self.here.len() <= 1 || self.here.keys().map(bytes).sum::<u64>() <= self.room);
    }

    fn forget(&mut self, group: u32) {
        self.needed.remove(&group);
        self.here.remove(&group);
    }

    fn size(&self, group: u32) -> Option<u16> {
        self.sizes.get(usize::try_from(group).ok()?).copied()
    }
}

/// All symbols of a group; with losses and repairs; without room for two; strangers' packets; no groups.
pub(crate) fn gather_seeds() -> Vec<Vec<u8>> {
    let groups = [vec![3, 1, 0, 4], vec![255], vec![3, 0, 3, 1, 3, 2]].concat();
    let narrow = [vec![3, 1, 0, 4], vec![0], vec![3, 0, 3, 1, 3, 2]].concat();
    let sends = |group: u8, symbols: std::ops::Range<u8>| -> Vec<u8> {
        symbols.flat_map(|symbol| [4, group, symbol, 0]).collect()
    };
    let says = vec![2, 0, 250];
    let foreign = Data { session: SESSION, group: 0, symbols: 5, symbol: 1, sequence: 1 << 30, asks: true };
    let whole = [&[0, 0][..], &foreign.header(), &[0; SYMBOL_BYTES]].concat();
    vec![
        [groups.clone(), sends(0, 0..5), says.clone(), sends(1, 0..1)].concat(),
        [groups.clone(), sends(0, 0..3), sends(2, 1..17), says.clone(), sends(0, 5..9), vec![0x13, 0]]
            .concat(),
        [narrow, sends(0, 0..4), sends(2, 0..9), sends(0, 9..12), says.clone(), vec![1, 0, 9, 0, 0, 0]]
            .concat(),
        [groups, whole, sends(0, 0..5), vec![0x0b, 2], says.clone()].concat(),
        [vec![0, 9], says, sends(3, 0..9)].concat(),
    ]
}
