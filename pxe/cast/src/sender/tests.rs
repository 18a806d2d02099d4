use proptest::prelude::*;

use super::*;
use crate::Piece;
use crate::code::repairs;
use crate::wire::Run;

const SESSION: u64 = 7;
const MILLI: Micros = Micros(1_000);

/// Groups of so many symbols each.
fn groups(count: u32, symbols: u32) -> Groups {
    let piece = |id: u32| {
        // A gap between two pieces: each is a group.
        let offset = u64::from(id) << 24;
        Piece { id, offset, stored: symbols * 1408, bytes: symbols * 1408 }
    };
    Groups::of(&(0..count).map(piece).collect::<Vec<_>>())
}

fn runs(deficits: &[u16]) -> Vec<Run> {
    deficits.iter().map(|deficit| Run { groups: 1, deficit: *deficit }).collect()
}

/// A sender, and what its receivers would say.
struct Talk {
    sender: Sender,
    now: Micros,
    number: u32,
    bursts: Vec<Burst>,
    beats: Vec<Beat>,
}

impl Talk {
    fn new(groups: &Groups) -> Talk {
        let limits = Limits { rate_start: 12_500_000, ..Limits::of(12_500_000) };
        let sender = Sender::new(groups, SESSION, limits);
        Talk { sender, now: Micros(0), number: 0, bursts: Vec::new(), beats: Vec::new() }
    }

    fn join(&mut self, slot: u32) {
        self.sender.join(slot, self.now);
    }

    /// Of a receiver to which everything arrives.
    fn report(&mut self, slot: u32, deficits: &[u16]) -> Result<(), Ignored> {
        self.report_at(slot, self.sender.sequence(), self.sender.sequence(), deficits)
    }

    fn report_at(&mut self, slot: u32, next: u32, received: u32, deficits: &[u16]) -> Result<(), Ignored> {
        self.number += 1;
        let (number, runs) = (self.number, runs(deficits));
        let report = Report { session: SESSION, slot, number, next, received, first: 0, runs };
        self.sender.report(&report, self.now)
    }

    /// Lets time pass; what was sent.
    fn run(&mut self, span: Micros) -> Vec<(u32, Range<u16>)> {
        let (end, from) = (self.now.after(span), self.bursts.len());
        while self.now < end {
            match self.sender.poll(self.now) {
                Step::Send(burst) => self.bursts.push(burst),
                Step::Beat(beat) => self.beats.push(beat),
                Step::Wait(until) => self.now = until.unwrap_or(end).min(end),
            }
        }
        let mut sent: Vec<(u32, Range<u16>)> = Vec::new();
        for burst in &self.bursts[from..] {
            match sent.last_mut() {
                Some((group, symbols)) if *group == burst.group && symbols.end == burst.symbols.start => {
                    symbols.end = burst.symbols.end;
                }
                _ => sent.push((burst.group, burst.symbols.clone())),
            }
        }
        sent
    }

    fn verdict(&self, slot: u32) -> Verdict {
        self.sender.receivers().find(|(known, _)| *known == slot).unwrap().1.verdict
    }
}

#[test]
fn what_nobody_lacks_is_not_sent() {
    let mut talk = Talk::new(&groups(4, 100));
    assert_eq!(talk.sender.poll(talk.now), Step::Wait(None));
    talk.join(1);
    assert!(!talk.sender.done(), "it may still say that it lacks something");
    assert_eq!(talk.run(MILLI), []);
    talk.report(1, &[0, 100, 0, 100]).unwrap();
    assert_eq!(talk.run(Micros(60_000)), [(1, 0..100), (3, 0..100)]);
    let last = talk.bursts.last().unwrap();
    assert!(last.asks, "a wait follows");
    assert!(talk.beats.iter().all(|beat| beat.asks && beat.next == 200), "{:?}", talk.beats);
    talk.report(1, &[0; 4]).unwrap();
    assert!(talk.sender.done());
    assert_eq!(talk.run(Micros(1_000_000)), []);
    assert!(!talk.beats.last().unwrap().asks);
}

#[test]
fn who_is_to_come_is_waited_for_but_not_for_long() {
    let mut talk = Talk::new(&groups(2, 100));
    talk.sender.expect(3);
    assert_eq!(talk.run(Micros(5_000_000)), [], "nobody is there");
    for slot in [1, 2] {
        talk.join(slot);
        talk.report(slot, &[100, 100]).unwrap();
        assert_eq!(talk.run(Micros(300_000)), []);
    }
    assert!(talk.beats.iter().any(|beat| beat.next == 0), "they hear that somebody is there");
    talk.join(3);
    talk.report(3, &[0, 100]).unwrap();
    assert_eq!(talk.run(Micros(30_000)), [(0, 0..100), (1, 0..100)]);

    let mut talk = Talk::new(&groups(1, 100));
    talk.sender.expect(3);
    talk.join(1);
    talk.report(1, &[100]).unwrap();
    assert_eq!(talk.run(Micros(990_000)), []);
    talk.report(1, &[100]).unwrap();
    assert_eq!(talk.run(Micros(30_000)), [(0, 0..100)], "the others do not come");
}

#[test]
fn who_waits_for_others_is_not_slowed_down_by_their_silence() {
    for yields in [false, true] {
        let limits = Limits { yields, ..Limits::of(12_500_000) };
        let mut talk = Talk::new(&groups(1, 400));
        talk.sender = Sender::new(&groups(1, 400), SESSION, limits);
        talk.sender.expect(2);
        talk.join(1);
        talk.report(1, &[400]).unwrap();
        let rate = talk.sender.rate();
        talk.run(Micros(990_000));
        assert_eq!(talk.sender.rate(), rate, "yields: {yields}");
    }
}

#[test]
fn who_hears_nothing_for_the_moment_is_not_asked_about_the_rate() {
    let mut talk = Talk::new(&groups(40, 1000));
    talk.sender = Sender::new(&groups(40, 1000), SESSION, Limits::of(125_000_000));
    for slot in 1..=4 {
        talk.join(slot);
        talk.report(slot, &[1000; 40]).unwrap();
    }
    let before = talk.sender.rate();
    for _ in 0..10 {
        talk.run(Micros(20_000));
        talk.report(1, &[1000; 40]).unwrap();
        (2..=4).for_each(|slot| talk.report_at(slot, 0, 0, &[1000; 40]).unwrap());
    }
    assert!(talk.sender.rate() > before, "one hears, three do not");
}

#[test]
fn sequence_numbers_have_no_gaps_and_bursts_are_of_one_kind() {
    let mut talk = Talk::new(&groups(3, 300));
    talk.join(1);
    talk.report(1, &[300, 300, 300]).unwrap();
    talk.run(Micros(300_000));
    talk.report(1, &[9, 3, 40]).unwrap();
    talk.run(Micros(300_000));
    let mut next = 0;
    for burst in &talk.bursts {
        assert_eq!(burst.sequence, next);
        assert!(burst.symbols.end <= 300 || burst.symbols.start >= 300, "{burst:?}");
        next += u32::from(burst.symbols.end - burst.symbols.start);
    }
    let counters = talk.sender.counters();
    assert_eq!(counters.sent_bytes, u64::from(next) * 1432);
    assert_eq!(counters.repair_bytes, 52 * 1432);
}

#[test]
fn a_deficit_counts_when_it_is_settled_and_once() {
    let mut talk = Talk::new(&groups(1, 200));
    for slot in [1, 2] {
        talk.join(slot);
        talk.report(slot, &[200]).unwrap();
    }
    assert_eq!(talk.run(Micros(30_000)), [(0, 0..200)]);
    // It speaks of what it has heard, and the rest is on its way.
    talk.report_at(1, 150, 150, &[50]).unwrap();
    assert_eq!(talk.run(MILLI), []);
    talk.report_at(1, 200, 197, &[3]).unwrap();
    assert_eq!(talk.run(MILLI), [], "the other one has not answered");
    talk.report_at(2, 200, 195, &[5]).unwrap();
    let [(0, repairs)] = &talk.run(MILLI)[..] else { panic!("{:?}", talk.bursts) };
    assert!(repairs.start == 200 && (205..=207).contains(&repairs.end), "{repairs:?}");
    talk.report_at(1, 200, 197, &[3]).unwrap();
    assert_eq!(talk.run(MILLI), [], "that was said before the repairs");
    talk.report(1, &[0]).unwrap();
    talk.report(2, &[0]).unwrap();
    assert!(talk.sender.done());
}

#[test]
fn an_answer_that_is_lost_is_not_waited_for() {
    let mut talk = Talk::new(&groups(1, 200));
    for slot in [1, 2] {
        talk.join(slot);
        talk.report(slot, &[200]).unwrap();
    }
    talk.run(Micros(30_000));
    talk.report_at(1, 200, 197, &[3]).unwrap();
    let sent = talk.run(Micros(60_000));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1.start, 200, "fresh symbols");
}

#[test]
fn repair_symbols_begin_again_when_all_were_sent() {
    let mut talk = Talk::new(&groups(1, 100));
    talk.join(1);
    talk.report(1, &[100]).unwrap();
    talk.run(Micros(30_000));
    let most = 100 + repairs(100);
    for _ in 0..50 {
        talk.report(1, &[7]).unwrap();
        let sent = talk.run(Micros(30_000));
        assert!(!sent.is_empty() && sent.iter().all(|(_, symbols)| symbols.end <= most), "{sent:?}");
    }
    let again = talk.bursts.iter().skip(3).any(|burst| burst.symbols.start < 100);
    assert!(again, "data symbols are as good as any");
}

#[test]
fn who_lacks_far_more_than_the_others_waits_for_the_end() {
    let mut talk = Talk::new(&groups(3, 1000));
    for slot in 0..12 {
        talk.join(slot);
        talk.report(slot, &[1000; 3]).unwrap();
    }
    while talk.run(MILLI).is_empty() || talk.sender.sequence() < 1000 {}
    for slot in 0..12 {
        let deficit = if slot == 5 { 200 } else { 2 };
        talk.report(slot, &[deficit, 1000, 1000]).unwrap();
    }
    let sent = talk.run(Micros(230_000));
    let repaired: Vec<_> = sent.iter().filter(|(group, _)| *group == 0).collect();
    assert_eq!(repaired.len(), 1, "{sent:?}");
    assert!(repaired[0].1.len() < 10, "{sent:?}");
    for slot in 0..12 {
        talk.report(slot, &[if slot == 5 { 198 } else { 0 }, 0, 0]).unwrap();
    }
    let sent = talk.run(Micros(60_000));
    assert!(matches!(&sent[..], [(0, symbols)] if symbols.len() == 198), "{sent:?}");
}

#[test]
fn who_comes_late_gets_the_rest_with_the_others_and_then_what_it_missed() {
    let mut talk = Talk::new(&groups(10, 100));
    talk.join(1);
    talk.report(1, &[100; 10]).unwrap();
    while talk.sender.sequence() < 520 {
        talk.run(MILLI);
    }
    talk.join(2);
    talk.report(2, &[100; 10]).unwrap();
    let order: Vec<u32> = talk.run(Micros(120_000)).iter().map(|(group, _)| *group).collect();
    assert_eq!(order, [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
}

#[test]
fn reports_that_do_not_count_are_counted() {
    let mut talk = Talk::new(&groups(2, 100));
    talk.join(1);
    let report = |slot, number, next, first, groups| {
        let runs = vec![Run { groups, deficit: 1 }];
        Report { session: SESSION, slot, number, next, received: 0, first, runs }
    };
    let now = talk.now;
    let sender = &mut talk.sender;
    assert_eq!(sender.report(&Report { session: 8, ..report(1, 1, 0, 0, 2) }, now), Err(Ignored::Session));
    assert_eq!(sender.report(&report(2, 1, 0, 0, 2), now), Err(Ignored::Stranger));
    assert_eq!(sender.report(&report(1, 1, 1, 0, 2), now), Err(Ignored::Impossible), "nothing was sent yet");
    assert_eq!(sender.report(&report(1, 1, 0, 1, 2), now), Err(Ignored::Impossible), "two groups there are");
    assert_eq!(sender.report(&report(1, 1, 0, u32::MAX, u16::MAX), now), Err(Ignored::Impossible));
    assert_eq!(sender.report(&report(1, 5, 0, 0, 2), now), Ok(()));
    assert_eq!(sender.report(&report(1, 5, 0, 0, 2), now), Err(Ignored::Replay));
    assert_eq!(sender.report(&report(1, 4, 0, 0, 2), now), Err(Ignored::Replay));
    let ignored = Refusals { session: 1, stranger: 1, replay: 2, impossible: 3, pulls: 0 };
    assert_eq!(sender.counters(), Counters { reports: 1, ignored, ..Counters::default() });
    sender.leave(1);
    assert_eq!(sender.report(&report(1, 6, 0, 0, 2), now), Err(Ignored::Stranger));
    assert!(sender.done());
}

#[test]
fn nobody_waits_for_who_is_silent() {
    let mut talk = Talk::new(&groups(2, 100));
    talk.join(1);
    talk.report(1, &[100, 100]).unwrap();
    talk.run(Micros(5_000));
    talk.report_at(1, 20, 20, &[80, 100]).unwrap();
    talk.run(Micros(2_500_000));
    assert!(!talk.sender.done());
    talk.run(Micros(1_000_000));
    assert!(talk.sender.done());
    assert_eq!(talk.sender.receivers().next().unwrap().1.lacks, 0, "what it lacked does not count");
    talk.report(1, &[0, 100]).unwrap();
    assert_eq!(talk.run(Micros(40_000)), [(1, 0..100)], "it is back");
}

#[test]
fn who_hears_and_can_not_say_so_is_to_fetch() {
    let mut talk = Talk::new(&groups(2, 100));
    (1..=3).for_each(|slot| talk.join(slot));
    talk.report(1, &[100, 100]).unwrap();
    talk.report(3, &[100, 100]).unwrap();
    talk.run(Micros(500_000));
    talk.report(1, &[0, 0]).unwrap();
    talk.report(3, &[5, 0]).unwrap();
    // The second is never heard of; the third was, and lacked something.
    for _ in 0..35 {
        talk.run(Micros(1_000_000));
        talk.report(1, &[0, 0]).unwrap();
    }
    let fetches = Verdict::Pull(Why::Stuck);
    assert_eq!([talk.verdict(1), talk.verdict(2), talk.verdict(3)], [Verdict::Keep, fetches, fetches]);
}

#[test]
fn who_hears_nothing_is_to_fetch() {
    let mut talk = Talk::new(&groups(40, 1000));
    talk.join(1);
    talk.join(2);
    for _ in 0..20 {
        let sent = talk.sender.sequence();
        talk.report(1, &[1000; 40]).unwrap();
        let _is_told_to_fetch = talk.report_at(2, 0, 0, &[1000; 40]);
        talk.run(Micros(100_000));
        assert!(talk.sender.sequence() > sent);
    }
    assert_eq!((talk.verdict(1), talk.verdict(2)), (Verdict::Keep, Verdict::Pull(Why::Deaf)));
    assert_eq!(talk.report_at(2, 0, 0, &[1000; 40]), Err(Ignored::Pulls));
    talk.join(2);
    assert_eq!(talk.verdict(2), Verdict::Keep, "it begins anew");
}

#[test]
fn who_loses_far_more_than_the_others_is_to_fetch() {
    let mut talk = Talk::new(&groups(60, 1000));
    (0..4).for_each(|slot| talk.join(slot));
    for _ in 0..16 {
        for slot in 0..3 {
            talk.report(slot, &[1000; 60]).unwrap();
        }
        let next = talk.sender.sequence();
        let _is_told_to_fetch = talk.report_at(3, next, next / 10 * 7, &[1000; 60]);
        talk.run(Micros(100_000));
    }
    assert_eq!((talk.verdict(0), talk.verdict(3)), (Verdict::Keep, Verdict::Pull(Why::Lossy)));
    assert_eq!(talk.sender.rate(), 12_500_000, "and does not slow the others down");
    // When all lose as much, there is nobody better off.
    let mut talk = Talk::new(&groups(60, 1000));
    (0..4).for_each(|slot| talk.join(slot));
    for _ in 0..16 {
        for slot in 0..4 {
            let next = talk.sender.sequence();
            talk.report_at(slot, next, next / 10 * 7, &[1000; 60]).unwrap();
        }
        talk.run(Micros(100_000));
    }
    assert!((0..4).all(|slot| talk.verdict(slot) == Verdict::Keep));
}

#[test]
fn where_nobody_says_how_it_goes_it_goes_slower() {
    let mut talk = Talk::new(&groups(200, 700));
    talk.sender = Sender::new(&groups(200, 700), SESSION, Limits::of(1_000_000_000));
    talk.join(0);
    talk.report(0, &[700; 200]).unwrap();
    let before = talk.sender.rate();
    talk.run(Micros(1_400_000));
    assert_eq!(talk.sender.rate(), before / 4);
}

#[test]
fn who_yields_does_so_under_another_limit_too() {
    let mut talk = Talk::new(&groups(400, 700));
    let limits = Limits { yields: true, ..Limits::of(12_500_000) };
    talk.sender = Sender::new(&groups(400, 700), SESSION, limits);
    talk.join(0);
    talk.report(0, &[700; 400]).unwrap();
    // Nobody answers: it goes slower, and stays so whatever it is allowed.
    talk.run(Micros(1_400_000));
    let slow = talk.sender.rate();
    assert!(slow < 12_500_000 / 4, "{slow}");
    talk.sender.limit(12_500_000);
    talk.run(Micros(50_000));
    assert!(talk.sender.rate() <= slow, "{} after {slow}", talk.sender.rate());
}

/// Anything that can be done to a sender.
#[derive(Debug, Clone)]
enum Deed {
    Join(u32),
    Leave(u32),
    Report { slot: u32, ahead: u32, received: u32, first: u32, runs: Vec<(u16, u16)> },
    Pass(u64),
    Limit(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let slot = 0..6_u32;
    let run = (1..4_u16, prop_oneof![Just(0), 0..30_u16, 0..1025_u16]);
    let number = prop_oneof![8 => 0..60_u32, 1 => any::<u32>()];
    let report = (slot.clone(), number, any::<u16>(), 0..10_u32, prop::collection::vec(run, 0..9));
    prop_oneof![
        1 => slot.clone().prop_map(Deed::Join),
        1 => slot.prop_map(Deed::Leave),
        12 => report.prop_map(|(slot, ahead, received, first, runs)| {
            Deed::Report { slot, ahead, received: u32::from(received), first, runs }
        }),
        8 => prop_oneof![0..60_000_u64, 0..5_000_000_u64].prop_map(Deed::Pass),
        1 => any::<u64>().prop_map(Deed::Limit),
    ]
}

proptest! {
    /// Whatever receivers say and however long it takes: no panic, no symbol that there is not, no endless loop, and a state that
    /// agrees with itself.
    #[test]
    fn nothing_upsets_it(deeds in prop::collection::vec(deed(), 1..120)) {
        let groups = groups(9, 120);
        let mut talk = Talk::new(&groups);
        for deed in deeds {
            match deed {
                Deed::Join(slot) => talk.join(slot),
                Deed::Leave(slot) => talk.sender.leave(slot),
                Deed::Limit(rate) => talk.sender.limit(rate),
                Deed::Report { slot, ahead, received, first, runs } => {
                    talk.number += 1;
                    let (number, next) = (talk.number, talk.sender.sequence().wrapping_sub(ahead));
                    let runs = runs.into_iter().map(|(groups, deficit)| Run { groups, deficit }).collect();
                    let report = Report { session: SESSION, slot, number, next, received, first, runs };
                    let _may_be_ignored = talk.sender.report(&report, talk.now);
                }
                Deed::Pass(span) => {
                    for _ in 0..span.min(400) {
                        match talk.sender.poll(talk.now) {
                            Step::Send(burst) => {
                                prop_assert!(burst.group < 9 && burst.of == 120);
                                prop_assert!(burst.symbols.start < burst.symbols.end);
                                prop_assert!(burst.symbols.end <= 120 + repairs(120));
                            }
                            Step::Beat(beat) => prop_assert_eq!(beat.next, talk.sender.sequence()),
                            Step::Wait(until) => {
                                let until = until.unwrap_or(talk.now.after(Micros(span)));
                                prop_assert!(until > talk.now || span == 0);
                                talk.now = until;
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(talk.sender.deficits.disagreement(), None);
        }
        // When all are silent, it is done.
        talk.run(Micros(8_000_000));
        talk.sender.poll(talk.now);
        prop_assert!(talk.sender.done());
    }
}

#[test]
#[ignore = "measures: cargo test --release -p cast how_much_a_sender_costs -- --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn how_much_a_sender_costs() {
    for (receivers, count) in [(1_u32, 12_000_u32), (64, 12_000), (1_000, 3_000), (10_000, 3_000)] {
        let groups = groups(count, 1000);
        let mut talk = Talk::new(&groups);
        talk.sender.limit(3_125_000_000);
        (0..receivers).for_each(|slot| talk.join(slot));
        let whole = vec![Run { groups: u16::try_from(count).unwrap(), deficit: 1000 }];
        let say = |talk: &mut Talk, slot: u32, runs: Vec<Run>| {
            talk.number += 1;
            let next = talk.sender.sequence();
            let (number, first, received) = (talk.number, 0, next);
            let report = Report { session: SESSION, slot, number, next, received, first, runs };
            talk.sender.report(&report, talk.now).unwrap();
        };
        let begun = std::time::Instant::now();
        (0..receivers).for_each(|slot| say(&mut talk, slot, whole.clone()));
        let joined = begun.elapsed();
        let (mut polls, mut polled, mut told) = (0_u32, std::time::Duration::ZERO, std::time::Duration::ZERO);
        while polls < 20_000 {
            let begun = std::time::Instant::now();
            match talk.sender.poll(talk.now) {
                Step::Send(_) | Step::Beat(_) => polls += 1,
                Step::Wait(until) => talk.now = until.unwrap(),
            }
            polled += begun.elapsed();
            if polls % 2_000 == 1_999 {
                let done = u16::try_from(talk.sender.sequence() / 1000).unwrap();
                let rest = u16::try_from(count).unwrap() - done;
                let runs = vec![Run { groups: done, deficit: 2 }, Run { groups: rest, deficit: 1000 }];
                let begun = std::time::Instant::now();
                (0..receivers).for_each(|slot| say(&mut talk, slot, runs.clone()));
                told += begun.elapsed();
                polls += 1;
            }
        }
        println!(
            "{receivers} receivers, {count} groups: first report {:?}, later ones {:?}, a poll {:?}",
            joined / receivers,
            told / (receivers * 10),
            polled / polls
        );
    }
}
