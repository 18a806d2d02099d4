//! A receiver and a disk that may fail, lie, tear and lose power, driven by generated choices.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test changes one answer and leaves the rest as they are"
)]

mod model;

use cast::{
    Action, Feed, JobError, Left, Limits, Millis, Offer, Order, Outcome, Phase, Piece, Receiver, Start,
    Verdict,
};
use model::{Content, Fate, Story, live};
use proptest::prelude::*;

fn check_end(story: &Story) {
    let first = story.disk.durable[&story.disk.first];
    match &story.verdict {
        Verdict::Done(receipt) => {
            assert_eq!(receipt.bytes_skipped + receipt.bytes_written, story.total, "every window once");
            assert_eq!(first, Content::Image);
            assert!(story.disk.cache.is_empty(), "something is not durable");
        }
        Verdict::Failed(failure) => match failure.left {
            Left::Unbootable => assert_eq!(first, Content::Zero, "{failure}"),
            Left::Whole => assert_eq!(first, Content::Image, "{failure}"),
            Left::Unknown => {}
        },
        Verdict::Working => panic!("the story has no end"),
    }
}

/// Pieces in the order of an image file: some zeros, some free windows between, stored one behind the other.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    prop::collection::vec((0_u32..3, prop_oneof![1 => Just(0), 4 => 1_u32..1000]), 1..24).prop_map(
        |windows| {
            let (mut next, mut offset) = (0, 0);
            let mut pieces = Vec::new();
            for (gap, stored) in windows {
                pieces.push(Piece { id: next, offset, stored, bytes: 1000 });
                next += 1 + gap;
                offset += u64::from(stored);
            }
            pieces
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    (0_usize..4, 0_usize..4, 0_usize..4, 0_u64..4000, 0_u64..3000).prop_map(
        |(compares, fetches, writes, spool_bytes, range_bytes)| Limits {
            compares,
            fetches,
            writes,
            spool_bytes,
            range_bytes,
            ..Limits::default()
        },
    )
}

/// Mostly no window but the last.
fn lost_from() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(u32::MAX), 1 => 1_u32..60]
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn whatever_happens_a_half_written_disk_never_boots(
        pieces in pieces(),
        right in prop::collection::btree_set(0_u32..60, 0..40),
        seed in any::<bool>(),
        lost_from in lost_from(),
        read_back in any::<bool>(),
        limits in limits(),
        choices in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let mut fate = Fate { choices, at: 0 };
        let story = live(&pieces, &right, (seed, lost_from, read_back), limits, &mut fate);
        check_end(&story);
    }

    #[test]
    fn when_nothing_fails_only_what_differs_is_fetched(
        pieces in pieces(),
        right in prop::collection::btree_set(0_u32..60, 0..40),
        lost_from in lost_from(),
        read_back in any::<bool>(),
        limits in limits(),
    ) {
        let mut fate = Fate { choices: Vec::new(), at: 0 };
        let story = live(&pieces, &right, (true, lost_from, read_back), limits, &mut fate);
        check_end(&story);
        prop_assert_eq!(story.lives, 1);
        let Verdict::Done(receipt) = story.verdict else { panic!("{:?}", story.verdict) };
        let table = |id: u32| id == story.disk.first || id == story.disk.last;
        let is_whole = pieces.iter().all(|piece| right.contains(&piece.id));
        let due = pieces.iter().filter(|piece| {
            !is_whole && (story.discarded || table(piece.id) || piece.id >= lost_from || !right.contains(&piece.id))
        });
        let due: u64 = due.map(|piece| u64::from(piece.stored)).sum();
        prop_assert_eq!(receipt.bytes_fetched, due);
        prop_assert!(!is_whole || (receipt.bytes_written == 0 && story.writes == 0), "a disk that is right was written");
        prop_assert_eq!(receipt.retries + receipt.source_failures, 0);
    }
}

fn piece(id: u32, stored: u32) -> Piece {
    Piece { id, offset: u64::from(id) * 100, stored, bytes: 1000 }
}

/// Answers every order as `answer` says, until the job ends; returns what was ordered.
fn run(receiver: &mut Receiver, mut answer: impl FnMut(&Action) -> Vec<Outcome>) -> Vec<Action> {
    let mut now = Millis(0);
    let mut ordered = Vec::new();
    while receiver.verdict() == Verdict::Working {
        assert!(ordered.len() < 10_000, "it does not end: {:?}", receiver.progress());
        let orders = receiver.poll(now);
        if orders.is_empty() {
            now = receiver.wake().unwrap();
        }
        for order in orders {
            for outcome in answer(&order.action) {
                receiver.on(order.ticket, outcome, now);
            }
            ordered.push(order.action);
        }
    }
    ordered
}

/// All is well, and the disk held nothing of the image.
fn well(action: &Action) -> Vec<Outcome> {
    match action {
        Action::Compare(_) => vec![Outcome::Differs],
        Action::ReadBack(_) => vec![Outcome::Same],
        Action::Fetch { ids, .. } => ids.iter().rev().map(|id| Outcome::Arrived(*id)).collect(),
        Action::Disarm | Action::Discard | Action::Write(_) | Action::Flush | Action::WriteSeed => {
            vec![Outcome::Done]
        }
    }
}

const BEGUN: Start = Start { seed: true, begun: true, lost_from: u32::MAX, read_back: true };
const UNSEEDED: Start = Start { seed: false, begun: true, lost_from: u32::MAX, read_back: true };
const NEW: Start = Start { seed: true, begun: false, lost_from: u32::MAX, read_back: true };

fn one_at_a_time() -> Limits {
    Limits { compares: 1, fetches: 1, writes: 1, ..Limits::default() }
}

fn range(ids: &[u32]) -> Action {
    let (offset, len) = (u64::from(ids[0]) * 100, ids.len() as u64 * 100);
    Action::Fetch { ids: ids.to_vec(), offset, len }
}

#[test]
fn a_job_goes_through_its_phases_in_order() {
    let pieces = vec![piece(0, 100), piece(1, 100), piece(2, 0), piece(9, 100)];
    let mut receiver = Receiver::new(pieces, BEGUN, one_at_a_time()).unwrap();
    assert_eq!(receiver.progress().phase, Phase::Disarm);
    let ordered = run(&mut receiver, well);
    let tables = |id: u32| [range(&[id]), Action::Write(id), Action::Flush, Action::ReadBack(id)];
    let mut expected = vec![
        Action::Disarm,
        Action::Compare(1),
        range(&[1]),
        Action::Compare(2),
        Action::Write(1),
        Action::Write(2),
        Action::Flush,
        Action::ReadBack(1),
        Action::ReadBack(2),
        Action::WriteSeed,
        Action::Flush,
    ];
    expected.extend(tables(9));
    expected.extend(tables(0));
    assert_eq!(ordered, expected);
    let progress = receiver.progress();
    assert_eq!(progress.phase, Phase::Done);
    assert_eq!((progress.bytes_total, progress.bytes_done, progress.bytes_verified), (4000, 4000, 4000));
    assert_eq!((progress.receipt.bytes_fetched, progress.receipt.bytes_written), (300, 4000));
    assert_eq!(receiver.poll(Millis(u64::MAX)), []);
    assert_eq!(receiver.wake(), None);
}

#[test]
fn a_body_that_is_not_read_back_is_trusted_when_it_is_durable() {
    let pieces: Vec<_> = (0..4).map(|id| piece(id, 100)).collect();
    let start = Start { read_back: false, ..NEW };
    let mut receiver = Receiver::new(pieces.clone(), start, one_at_a_time()).unwrap();
    let read = |ordered: &[Action]| {
        let read = |action: &Action| if let Action::ReadBack(id) = action { Some(*id) } else { None };
        ordered.iter().filter_map(read).collect::<Vec<_>>()
    };
    assert_eq!(read(&run(&mut receiver, well)), [3, 0], "the tables alone");
    assert_eq!(receiver.progress().bytes_verified, 2000);
    // A flush that fails once leaves everything in doubt that no other has covered.
    let limits = Limits { flush_bytes: 1, ..one_at_a_time() };
    let mut receiver = Receiver::new(pieces, start, limits).unwrap();
    let mut flushes = 0;
    let ordered = run(&mut receiver, |action| {
        flushes += u32::from(*action == Action::Flush);
        if *action == Action::Flush && flushes == 2 {
            vec![Outcome::Failed("lost".into())]
        } else {
            well(action)
        }
    });
    assert_eq!(read(&ordered), [2, 3, 0]);
    assert!(matches!(receiver.verdict(), Verdict::Done(_)));
}

#[test]
fn neighbours_are_fetched_as_one_range_within_limits() {
    let pieces: Vec<Piece> = (0..8).map(|id| piece(id, if id == 4 { 50 } else { 100 })).collect();
    let limits = Limits { compares: 8, fetches: 8, range_bytes: 200, spool_bytes: 480, ..Limits::default() };
    let mut receiver = Receiver::new(pieces, UNSEEDED, limits).unwrap();
    let mut fetches = run(&mut receiver, well);
    fetches.retain(|action| matches!(action, Action::Fetch { .. }));
    let short = Action::Fetch { ids: vec![3, 4], offset: 300, len: 150 };
    // 1 and 2 fill a range; 4 ends before 5 begins; beside them the spool has room for 5 alone.
    assert_eq!(fetches[..3], [range(&[1, 2]), short, range(&[5])]);
    assert_eq!(fetches.last(), Some(&range(&[0])));
}

#[test]
fn a_full_spool_is_not_filled_piece_by_piece() {
    let pieces: Vec<Piece> = (0..12).map(|id| piece(id, 100)).collect();
    let limits = Limits { range_bytes: 200, spool_bytes: 800, ..one_at_a_time() };
    let mut receiver = Receiver::new(pieces, NEW, Limits { fetches: 4, ..limits }).unwrap();
    let mut fetches = run(&mut receiver, well);
    fetches.retain(|action| matches!(action, Action::Fetch { .. }));
    let pairs = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]].map(|pair| range(&pair));
    assert_eq!(fetches[..5], pairs);
}

#[test]
fn a_job_may_be_left_until_the_first_window_is_written() {
    let mut receiver =
        Receiver::new((0..3).map(|id| piece(id, 100)).collect(), BEGUN, one_at_a_time()).unwrap();
    let mut ordered = Vec::new();
    while receiver.verdict() == Verdict::Working {
        for order in receiver.poll(Millis(0)) {
            ordered.push(order.action.clone());
            // Once for all: what was ordered is not taken back.
            assert_eq!(receiver.may_stop(), !ordered.contains(&Action::Write(0)), "{:?}", order.action);
            for outcome in well(&order.action) {
                receiver.on(order.ticket, outcome, Millis(0));
            }
        }
    }
    assert!(ordered.contains(&Action::Write(0)));
    let mut undone = Receiver::new(vec![piece(0, 100)], UNSEEDED, one_at_a_time()).unwrap();
    let mut now = Millis(0);
    while undone.progress().phase != Phase::Undo {
        now = undone.wake().unwrap_or(now);
        for order in undone.poll(now) {
            let spoils = matches!(order.action, Action::ReadBack(0));
            let outcomes = if spoils { vec![Outcome::Differs] } else { well(&order.action) };
            for outcome in outcomes {
                undone.on(order.ticket, outcome, now);
            }
        }
    }
    assert!(!undone.may_stop(), "part of it may boot");
}

#[test]
fn a_window_counts_once_however_often_it_is_written() {
    let mut receiver =
        Receiver::new((0..4).map(|id| piece(id, 100)).collect(), UNSEEDED, one_at_a_time()).unwrap();
    let mut spoilt = vec![2, 2, 3];
    run(&mut receiver, |action| match action {
        Action::Compare(1) => vec![Outcome::Same],
        Action::ReadBack(id) if spoilt.contains(id) => {
            spoilt.remove(spoilt.iter().position(|known| known == id).unwrap());
            vec![Outcome::Differs]
        }
        other => well(other),
    });
    let Verdict::Done(receipt) = receiver.verdict() else { panic!("{:?}", receiver.verdict()) };
    assert_eq!((receipt.bytes_skipped, receipt.bytes_written, receipt.retries), (1000, 3000, 3));
}

#[test]
fn a_single_window_is_first_and_last() {
    let mut receiver = Receiver::new(vec![piece(0, 0)], BEGUN, Limits::default()).unwrap();
    let ordered = run(&mut receiver, well);
    let disarm_and_seed = [Action::Disarm, Action::Flush, Action::WriteSeed, Action::Flush];
    let window = [Action::Write(0), Action::Flush, Action::ReadBack(0)];
    assert_eq!(ordered, [disarm_and_seed.as_slice(), &window].concat());
}

/// The orders that matter once something goes wrong for good.
fn failure(pieces: u32, answer: impl FnMut(&Action) -> Vec<Outcome>) -> (cast::Failure, Vec<Action>) {
    let pieces = (0..pieces).map(|id| piece(id, 100)).collect();
    let mut receiver = Receiver::new(pieces, BEGUN, one_at_a_time()).unwrap();
    let ordered = run(&mut receiver, answer);
    match receiver.verdict() {
        Verdict::Failed(failure) => (failure, ordered),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_first_window_that_does_not_read_back_is_disarmed_again() {
    let (failure, ordered) = failure(3, |action| match action {
        Action::ReadBack(0) => vec![Outcome::Differs],
        other => well(other),
    });
    assert_eq!(ordered.last(), Some(&Action::Disarm));
    assert_eq!(ordered.iter().filter(|action| **action == Action::Write(0)).count(), 5);
    assert_eq!((failure.phase, failure.piece, failure.left), (Phase::Tables, Some(0), Left::Unbootable));
    assert_eq!(failure.to_string(), "writing window 0: read back, it is not what was written");
}

#[test]
fn a_disk_that_can_not_be_disarmed_again_is_reported_as_such() {
    let mut disarms = 0;
    let (failure, _) = failure(3, |action| match action {
        Action::ReadBack(0) => vec![Outcome::Differs],
        Action::Disarm if disarms > 0 => vec![Outcome::Failed("gone".into())],
        Action::Disarm => {
            disarms += 1;
            vec![Outcome::Done]
        }
        other => well(other),
    });
    assert_eq!((failure.phase, failure.piece, failure.left), (Phase::Tables, Some(0), Left::Unknown));
}

#[test]
fn every_bound_ends_the_job_with_its_cause() {
    type Fails = fn(&Action) -> bool;
    let cases: [(&str, Fails, Phase, Option<u32>, Left); 5] = [
        ("disarm", |a| *a == Action::Disarm, Phase::Disarm, None, Left::Unknown),
        ("flush", |a| *a == Action::Flush, Phase::Flush, None, Left::Unbootable),
        ("seed", |a| *a == Action::WriteSeed, Phase::Seed, None, Left::Unbootable),
        ("write", |a| *a == Action::Write(1), Phase::Body, Some(1), Left::Unbootable),
        ("last", |a| *a == Action::Write(3), Phase::Tables, Some(3), Left::Unbootable),
    ];
    let cause = || vec![Outcome::Failed("because".into())];
    for (what, fails, phase, piece, left) in cases {
        let (failure, ordered) = failure(4, |action| if fails(action) { cause() } else { well(action) });
        assert_eq!(failure, cast::Failure { phase, piece, cause: "because".into(), left }, "{what}");
        assert_eq!(ordered.iter().filter(|action| fails(action)).count(), 5, "{what}");
        assert!(!ordered.contains(&Action::Write(0)), "{what}");
    }
}

#[test]
fn a_silent_source_is_waited_for_and_then_reported() {
    let mut receiver =
        Receiver::new((0..9).map(|id| piece(id, 100)).collect(), UNSEEDED, Limits::default()).unwrap();
    let ordered = run(&mut receiver, |action| match action {
        Action::Fetch { .. } => vec![Outcome::Failed("connection refused".into())],
        other => well(other),
    });
    let fetches = ordered.iter().filter(|action| matches!(action, Action::Fetch { .. })).count();
    // Fifteen minutes at a try every ten seconds, with up to four fetches each.
    assert!((90..400).contains(&fetches), "{fetches}");
    let Verdict::Failed(failure) = receiver.verdict() else { panic!("{:?}", receiver.verdict()) };
    assert_eq!(
        (failure.cause.as_str(), failure.piece, failure.left),
        ("connection refused", None, Left::Unbootable)
    );
}

#[test]
fn a_source_that_comes_back_costs_nothing_but_time() {
    let mut outage = 40;
    let mut receiver =
        Receiver::new((0..9).map(|id| piece(id, 100)).collect(), UNSEEDED, Limits::default()).unwrap();
    run(&mut receiver, |action| match action {
        Action::Fetch { .. } if outage > 0 => {
            outage -= 1;
            vec![Outcome::Failed("restarting".into())]
        }
        other => well(other),
    });
    let Verdict::Done(receipt) = receiver.verdict() else { panic!("{:?}", receiver.verdict()) };
    assert_eq!((receipt.bytes_fetched, receipt.retries, receipt.source_failures), (900, 0, 40));
}

#[test]
fn an_answer_that_does_not_fit_its_order_is_a_failure_not_a_hang() {
    let (failure, _) = failure(3, |action| match action {
        Action::Write(_) => vec![Outcome::Same],
        other => well(other),
    });
    assert_eq!(failure.cause, "the answer does not fit the order");
    let mut receiver = Receiver::new(vec![piece(0, 100)], UNSEEDED, Limits::default()).unwrap();
    let mut foreign = 0;
    run(&mut receiver, |action| match action {
        Action::Fetch { .. } => {
            foreign += 1;
            vec![Outcome::Arrived(77), Outcome::Arrived(0), Outcome::Arrived(0)]
        }
        other => well(other),
    });
    assert_eq!(foreign, 1, "a piece nobody asked for changes nothing");
}

#[test]
fn jobs_without_sense_are_refused() {
    let new = |pieces: &[Piece]| Receiver::new(pieces.to_vec(), UNSEEDED, Limits::default()).map(drop);
    assert_eq!(new(&[]), Err(JobError::Empty));
    assert_eq!(new(&[piece(2, 1), piece(1, 1)]), Err(JobError::Order { id: 1, after: 2 }));
    assert_eq!(new(&[piece(1, 1), piece(1, 1)]), Err(JobError::Order { id: 1, after: 1 }));
    assert_eq!(new(&[Piece { bytes: 0, ..piece(1, 1) }]), Err(JobError::Range { id: 1 }));
    assert_eq!(new(&[Piece { offset: u64::MAX, ..piece(1, 1) }]), Err(JobError::Range { id: 1 }));
}

/// A job on a disk of a hundred windows, of which those that `is_right` says hold what they should.
fn scan(is_right: impl Fn(u32) -> bool, discard: impl FnMut() -> Outcome) -> (Verdict, Vec<Action>) {
    scan_of(100, is_right, discard)
}

fn scan_of(
    windows: u32,
    is_right: impl Fn(u32) -> bool,
    mut discard: impl FnMut() -> Outcome,
) -> (Verdict, Vec<Action>) {
    let pieces = (0..windows).map(|id| piece(id, 100)).collect();
    let mut receiver = Receiver::new(pieces, NEW, one_at_a_time()).unwrap();
    let ordered = run(&mut receiver, |action| match action {
        Action::Compare(id) if is_right(*id) => vec![Outcome::Same],
        Action::Discard => vec![discard()],
        other => well(other),
    });
    (receiver.verdict(), ordered)
}

fn compares(ordered: &[Action]) -> usize {
    ordered.iter().filter(|action| matches!(action, Action::Compare(_))).count()
}

#[test]
fn a_disk_that_is_the_image_already_is_read_and_left_alone() {
    let (verdict, ordered) = scan(|_| true, || panic!("discarded"));
    assert_eq!(compares(&ordered), 100);
    assert_eq!(ordered[100..], [Action::WriteSeed, Action::Flush]);
    let Verdict::Done(receipt) = verdict else { panic!("{verdict:?}") };
    assert_eq!((receipt.bytes_skipped, receipt.bytes_written, receipt.bytes_fetched), (100_000, 0, 0));
}

#[test]
fn a_disk_of_somebody_else_is_sampled_discarded_and_not_read_any_further() {
    let failed = || Outcome::Failed("not supported".into());
    // The sample is 0, 6, 12 and so on: half of it, spread, is enough when all of that is wrong.
    for (right, read, outcome) in [(50, 8, Outcome::Done), (12, 17, Outcome::Done), (50, 8, failed())] {
        let (verdict, ordered) = scan(|id| id == right, || outcome.clone());
        assert_eq!(compares(&ordered), read);
        assert_eq!(ordered[read..read + 2], [Action::Disarm, Action::Discard]);
        let Verdict::Done(receipt) = verdict else { panic!("{verdict:?}") };
        assert_eq!(receipt.bytes_written, 100_000);
    }
}

#[test]
fn a_large_disk_of_which_the_front_is_another_s_is_compared() {
    let (verdict, ordered) = scan_of(5000, |id| id >= 1500, || panic!("discarded"));
    assert!(compares(&ordered) >= 3500, "{}", compares(&ordered));
    let Verdict::Done(receipt) = verdict else { panic!("{verdict:?}") };
    assert_eq!(receipt.pieces_written, 1501, "the front, and the end that was disarmed");
}

#[test]
fn a_disk_that_differs_in_part_is_disarmed_at_the_first_difference_and_each_window_read_once() {
    let (verdict, ordered) = scan(|id| id != 40 && id != 71, || panic!("discarded"));
    let disarm = ordered.iter().position(|action| *action == Action::Disarm).unwrap();
    assert!(disarm < 60, "{disarm}");
    // The first and the last window are not compared again: they are zeros now.
    assert!((100..=102).contains(&compares(&ordered)), "{}", compares(&ordered));
    let Verdict::Done(receipt) = verdict else { panic!("{verdict:?}") };
    assert_eq!((receipt.bytes_written, receipt.pieces_written), (4000, 4), "two, and the ends");
    assert_eq!(receipt.bytes_fetched, 400);
}

#[test]
fn a_second_of_writes_is_the_most_that_a_power_cut_takes() {
    let pieces = (0..50).map(|id| piece(id, 100)).collect();
    let limits = Limits { flush_bytes: 5000, ..one_at_a_time() };
    let mut receiver = Receiver::new(pieces, BEGUN, limits).unwrap();
    let (mut now, mut unflushed, mut since, mut flushes) = (0, 0, 0, 0);
    while receiver.progress().phase != Phase::ReadBack {
        let orders = receiver.poll(Millis(now));
        assert!(receiver.progress().bytes_durable <= receiver.progress().bytes_done);
        if orders.is_empty() {
            now = receiver.wake().unwrap().0;
        }
        for order in orders {
            match order.action {
                // Slow at first, then fast: by age, then by bytes.
                Action::Write(id) => {
                    now += if id < 20 { 400 } else { 1 };
                    since = if unflushed == 0 { now } else { since };
                    unflushed += 1000;
                }
                Action::Flush => {
                    (unflushed, flushes) = (0, flushes + 1);
                }
                _ => {}
            }
            assert!(
                unflushed <= 6000 && (unflushed == 0 || now - since <= 1800),
                "{unflushed} since {since}"
            );
            for outcome in well(&order.action) {
                receiver.on(order.ticket, outcome, Millis(now));
            }
        }
    }
    assert!((8..=20).contains(&flushes), "{flushes}");
    assert_eq!(receiver.progress().bytes_durable, 48_000);
}

/// Answers orders until there are none, and returns the fetches among them.
fn settle(receiver: &mut Receiver) -> Vec<u32> {
    let mut fetched = Vec::new();
    loop {
        let orders = receiver.poll(Millis(0));
        if orders.is_empty() {
            return fetched;
        }
        for order in orders {
            if let Action::Fetch { ids, .. } = &order.action {
                fetched.extend(ids);
            }
            for outcome in well(&order.action) {
                receiver.on(order.ticket, outcome, Millis(0));
            }
        }
    }
}

#[test]
fn pieces_that_are_pushed_come_in_any_order_and_only_failures_are_fetched() {
    let pieces = vec![piece(0, 10), piece(1, 10), piece(2, 0), piece(3, 10), piece(4, 10), piece(9, 10)];
    let limits = Limits { spool_bytes: 15, writes: 1, ..Limits::default() };
    let mut receiver = Receiver::new(pieces, NEW, limits).unwrap();
    receiver.feed(Feed::Pushed);
    assert_eq!(receiver.offer(3, Millis(0)), Offer::Early, "the disk has not been looked at");
    assert_eq!(settle(&mut receiver), [0; 0]);
    assert_eq!(receiver.awaited().collect::<Vec<_>>(), [1, 3, 4, 0, 9], "zeros are not awaited");
    assert_eq!(receiver.offer(3, Millis(0)), Offer::Taken);
    assert_eq!(receiver.offer(3, Millis(0)), Offer::Useless, "a second time");
    assert_eq!(receiver.offer(1, Millis(0)), Offer::Full);
    assert_eq!(receiver.offer(9, Millis(0)), Offer::Table, "it is fetched when its time has come");
    assert_eq!(settle(&mut receiver), [0; 0]);
    assert_eq!(receiver.offer(1, Millis(0)), Offer::Taken);
    let order = receiver.poll(Millis(0)).remove(0);
    receiver.on(order.ticket, Outcome::Failed("no".into()), Millis(0));
    receiver.pull(4);
    receiver.feed(Feed::Pushed);
    assert_eq!(
        settle(&mut receiver),
        [4],
        "one that was to be pulled, and the others still come by themselves"
    );
    let again = receiver.wake().unwrap();
    let orders = receiver.poll(again);
    assert!(
        matches!(&orders[..], [Order { action: Action::Fetch { ids, .. }, .. }] if *ids == [1]),
        "{orders:?}"
    );
    receiver.on(orders[0].ticket, Outcome::Arrived(1), again);
    assert_eq!(settle(&mut receiver), [9], "the table that was laid by");
    assert_eq!(receiver.awaited().collect::<Vec<_>>(), [0], "the other one may still be offered");
    assert_eq!(receiver.offer(0, again), Offer::Taken);
    assert_eq!(settle(&mut receiver), [0; 0]);
    let Verdict::Done(receipt) = receiver.verdict() else { panic!("{:?}", receiver.verdict()) };
    assert_eq!((receipt.bytes_fetched, receipt.bytes_written, receipt.retries), (60, 6000, 1));
}

#[test]
fn what_was_awaited_is_fetched_when_nobody_pushes_any_more() {
    let pieces = (0..6).map(|id| piece(id, 10)).collect();
    let mut receiver = Receiver::new(pieces, NEW, Limits::default()).unwrap();
    receiver.feed(Feed::Pushed);
    settle(&mut receiver);
    assert_eq!(receiver.offer(3, Millis(0)), Offer::Taken);
    receiver.feed(Feed::Pulled);
    assert_eq!(receiver.awaited().count(), 0);
    assert_eq!(settle(&mut receiver), [1, 2, 4, 5, 0]);
    assert!(matches!(receiver.verdict(), Verdict::Done(_)));
}
