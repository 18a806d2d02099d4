use super::*;
use crate::Piece;
use crate::wire::Run;

const FAST: u64 = 1_000_000_000;

/// Groups of so many symbols each: every piece fills its own.
fn groups(count: u32) -> Groups {
    let stored = 1_000_000;
    let piece = |id| Piece { id, offset: u64::from(id) * u64::from(stored), stored, bytes: 1 << 20 };
    Groups::of(&(0..count).map(piece).collect::<Vec<_>>())
}

fn symbols() -> u16 {
    groups(1).get(0).unwrap().symbols
}

/// Reports of one receiver, numbered.
struct Voice {
    slot: u32,
    number: u32,
}

impl Voice {
    fn say(&mut self, next: u32, first: u32, deficits: &[u16]) -> Report {
        self.number += 1;
        let runs = deficits.iter().map(|deficit| Run { groups: 1, deficit: *deficit }).collect();
        Report { session: 1, slot: self.slot, number: self.number, next, received: next, first, runs }
    }
}

/// A sender that is never held back, and one who listens.
fn pair(count: u32) -> (Sender, Voice) {
    let mut sender = Sender::new(&groups(count), 1, Limits { rate_max: FAST, rate_start: FAST, burst: 44 });
    sender.join(0, Micros(0));
    (sender, Voice { slot: 0, number: 0 })
}

/// What is sent from a moment on until there is nothing: group, first and last symbol of each stretch; and when.
fn drain(sender: &mut Sender, from: Micros) -> (Vec<(u32, u16, u16)>, Micros) {
    let (mut sent, mut now) = (Vec::<(u32, u16, u16)>::new(), from);
    loop {
        match sender.poll(now) {
            Step::Send(Burst { group, symbols, .. }) => match sent.last_mut() {
                Some(last) if last.0 == group && last.2 == symbols.start => last.2 = symbols.end,
                Some(_) | None => sent.push((group, symbols.start, symbols.end)),
            },
            Step::Wait(Some(until)) if until.since(now) < BEAT_FIRST => now = until,
            Step::Wait(_) | Step::Beat(_) => return (sent, now),
        }
    }
}

#[test]
fn only_what_somebody_lacks_is_sent() {
    let (mut sender, mut voice) = pair(5);
    assert_eq!(sender.poll(Micros(0)), Step::Wait(None), "nobody has said a word");
    let all = symbols();
    sender.report(&voice.say(0, 0, &[0, all, 0, 0, all]), Micros(0)).unwrap();
    assert_eq!(drain(&mut sender, Micros(0)).0, [(1, 0, all), (4, 0, all)]);
}

#[test]
fn what_may_be_on_its_way_is_not_lacking_yet() {
    let (mut sender, mut voice) = pair(1);
    let all = symbols();
    sender.report(&voice.say(0, 0, &[all]), Micros(0)).unwrap();
    let (_, now) = drain(&mut sender, Micros(0));
    sender.report(&voice.say(u32::from(all) - 1, 0, &[3]), now).unwrap();
    assert_eq!(drain(&mut sender, now).0, [], "the last symbol was not heard of");
    sender.report(&voice.say(u32::from(all), 0, &[3]), now).unwrap();
    let (sent, _) = drain(&mut sender, now);
    assert_eq!((sent.len(), sent[0].1), (1, all), "repair symbols, and no more of the data");
    assert!((3..=5).contains(&(sent[0].2 - all)), "{sent:?}");
}

#[test]
fn the_most_that_anybody_lacks_mends_all_and_goes_before_what_is_fresh() {
    let (mut sender, mut one) = pair(3);
    let mut other = Voice { slot: 9, number: 0 };
    sender.join(9, Micros(0));
    let all = symbols();
    sender.report(&one.say(0, 0, &[all, 0, 0]), Micros(0)).unwrap();
    let (_, now) = drain(&mut sender, Micros(0));
    let next = u32::from(all);
    sender.report(&one.say(next, 0, &[4, all, all]), now).unwrap();
    sender.report(&other.say(next, 0, &[9, 0, 0]), now).unwrap();
    let (sent, _) = drain(&mut sender, now);
    assert_eq!(sent.iter().map(|one| one.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!((9..=11).contains(&(sent[0].2 - all)), "{sent:?}");
}

#[test]
fn when_all_repair_symbols_were_sent_the_data_is_sent_again() {
    let (mut sender, mut voice) = pair(1);
    let (all, repairs) = (symbols(), crate::code::repairs(symbols()));
    sender.report(&voice.say(0, 0, &[all]), Micros(0)).unwrap();
    let (_, mut now) = drain(&mut sender, Micros(0));
    let (mut sent, mut seen) = (u32::from(all), Vec::new());
    while seen.last() != Some(&(all - 1)) {
        sender.report(&voice.say(sent, 0, &[100]), now).unwrap();
        let (stretches, then) = drain(&mut sender, now);
        now = then;
        for (_, from, to) in stretches {
            sent += u32::from(to - from);
            seen.extend(from..to);
        }
        assert!(seen.len() < 2000, "the data does not come");
    }
    let (mended, data) = seen.split_at(seen.len() - usize::from(all));
    assert!(data.iter().copied().eq(0..all));
    let mut once = mended.to_vec();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), mended.len(), "one came twice");
    assert!(mended.len() + 100 > usize::from(repairs), "all that could help: {}", mended.len());
}

#[test]
fn who_is_silent_lacks_nothing() {
    let (mut sender, mut voice) = pair(2);
    let all = symbols();
    sender.report(&voice.say(0, 0, &[all, all]), Micros(0)).unwrap();
    assert_eq!(drain(&mut sender, Micros(5_000_000)).0, [], "it has died meanwhile");
}

#[test]
fn reports_that_can_not_be_change_nothing() {
    let (mut sender, mut voice) = pair(2);
    let all = symbols();
    let good = voice.say(0, 0, &[all, all]);
    sender.report(&good, Micros(0)).unwrap();
    let newer = |report: Report| Report { number: 50, ..report };
    let table = [
        (Report { session: 2, ..newer(good.clone()) }, Ignored::Session),
        (Report { slot: 3, ..newer(good.clone()) }, Ignored::Stranger),
        (good.clone(), Ignored::Replay),
        (Report { number: 0, ..good.clone() }, Ignored::Replay),
        (Report { first: 1, ..newer(good.clone()) }, Ignored::Impossible),
        (Report { first: u32::MAX, ..newer(good.clone()) }, Ignored::Impossible),
        (Report { next: 1, ..newer(good.clone()) }, Ignored::Impossible),
    ];
    for (report, why) in table {
        assert_eq!(sender.report(&report, Micros(0)), Err(why));
    }
    assert_eq!((sender.counters().reports, sender.counters().ignored), (1, 7));
}

#[test]
fn at_the_end_it_asks_less_and_less_often() {
    let (mut sender, mut voice) = pair(1);
    sender.report(&voice.say(0, 0, &[symbols()]), Micros(0)).unwrap();
    let (_, mut now) = drain(&mut sender, Micros(0));
    let mut beats = Vec::new();
    while beats.len() < 6 {
        match sender.poll(now) {
            Step::Beat(beat) => {
                assert!(beat.asks && beat.next == u32::from(symbols()));
                beats.push(now);
            }
            Step::Wait(Some(until)) => now = until,
            other @ (Step::Send(_) | Step::Wait(None)) => panic!("{other:?}"),
        }
    }
    let pauses: Vec<u64> = beats.windows(2).map(|two| two[1].since(two[0]).0 / 1000).collect();
    assert_eq!(pauses, [40, 80, 160, 250, 250]);
}

#[test]
fn one_who_hears_nothing_is_sent_away() {
    let (mut sender, mut voice) = pair(1);
    let all = symbols();
    sender.report(&voice.say(0, 0, &[all]), Micros(0)).unwrap();
    let _sent = drain(&mut sender, Micros(0));
    assert_eq!(sender.report(&voice.say(0, 0, &[all]), Micros(1_000_000)), Ok(()), "not so soon");
    assert_eq!(sender.report(&voice.say(0, 0, &[all]), Micros(2_000_000)), Err(Ignored::Pulls));
    assert_eq!(sender.receivers().next().unwrap().1.verdict, Verdict::Pull(Why::Deaf));
}

/// Lets a pace run over a wire that takes so much and loses a part of it, for forty rounds; the rate at the end of it.
fn run(pace: &mut Pace, takes: f64, loss: f64) -> f64 {
    for _ in 0..40 {
        let rate = pace.rate() as f64;
        let lost = 1.0 - rate.min(takes) * (1.0 - loss) / rate;
        #[expect(clippy::cast_possible_truncation, reason = "a part of a million")]
        pace.judge((lost * 1e6) as u32);
    }
    pace.rate() as f64
}

#[test]
fn a_cable_that_loses_is_sent_as_much_as_a_good_one() {
    for loss in [0.0, 0.01, 0.05, 0.10, 0.14] {
        let mut pace = Pace::new(FAST, FAST / 10);
        assert!(run(&mut pace, 2e9, loss) > 0.99e9, "{loss}");
    }
}

#[test]
fn a_wire_that_takes_less_is_sent_less() {
    for takes in [5e8, 5e7, 1e7] {
        let mut pace = Pace::new(FAST, FAST / 10);
        let rate = run(&mut pace, takes, 0.0);
        assert!(rate > 0.85 * takes && rate < 1.1 * takes, "{rate} of {takes}");
    }
}

#[test]
fn where_nobody_says_how_it_goes_it_goes_slower() {
    let mut sender = Sender::new(&groups(200), 1, Limits::of(FAST));
    sender.join(0, Micros(0));
    let mut voice = Voice { slot: 0, number: 0 };
    sender.report(&voice.say(0, 0, &[symbols(); 200]), Micros(0)).unwrap();
    let mut now = Micros(0);
    let before = sender.rate();
    while now < Micros(1_900_000) {
        match sender.poll(now) {
            Step::Wait(until) => now = until.unwrap(),
            Step::Send(_) | Step::Beat(_) => {}
        }
    }
    assert_eq!(sender.rate(), before / 8);
}
