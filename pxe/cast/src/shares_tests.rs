//! Fetchers that never have enough, slow ones, newcomers, and whoever asks with both hands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{BLOCK_LEAST, Micros, Shares};

const SECOND: u64 = 1_000_000;

/// Somebody who fetches.
#[derive(Clone, Copy)]
struct Fetcher {
    who: u32,
    requests: u64,
    /// How long it takes for a block before it wants the next; greedy ones take none.
    takes: u64,
    from: u64,
}

fn greedy(who: u32) -> Fetcher {
    Fetcher { who, requests: 1, takes: 0, from: 0 }
}

/// Runs a network for so long; what each has had, at which times.
fn run(rate: u64, fetchers: &[Fetcher], until: u64) -> Vec<(u64, u32, u64)> {
    let mut shares = Shares::new();
    shares.limit(Some(rate), Micros(0));
    let mut asks = BTreeMap::<u64, Vec<(u32, u64)>>::new();
    let mut takes = BTreeMap::new();
    for fetcher in fetchers {
        takes.insert(fetcher.who, fetcher.takes);
        let requests = (0..fetcher.requests).map(|number| (fetcher.who, number));
        asks.entry(fetcher.from).or_default().extend(requests);
    }
    let (mut now, mut given) = (0, Vec::new());
    while now < until {
        let block = shares.most().unwrap();
        while let Some((at, _)) = asks.first_key_value().filter(|(at, _)| **at <= now) {
            let at = *at;
            for (who, number) in asks.remove(&at).unwrap() {
                shares.ask(who, number, block, Micros(now));
            }
        }
        while let Some((who, number)) = shares.poll(Micros(now)) {
            given.push((now, who, block));
            match takes[&who] {
                0 => shares.ask(who, number, block, Micros(now)),
                takes => asks.entry(now + takes).or_default().push((who, number)),
            }
        }
        let wake = shares.wake(Micros(now)).map(|at| at.0);
        let next = wake.into_iter().chain(asks.keys().next().copied()).min().unwrap_or(until);
        now = next.max(now + 1);
    }
    given
}

fn had(given: &[(u64, u32, u64)], who: u32, from: u64, to: u64) -> u64 {
    given
        .iter()
        .filter(|(at, one, _)| *one == who && (from..to).contains(at))
        .map(|(_, _, bytes)| bytes)
        .sum()
}

fn all(given: &[(u64, u32, u64)], from: u64, to: u64) -> u64 {
    given.iter().filter(|(at, _, _)| (from..to).contains(at)).map(|(_, _, bytes)| bytes).sum()
}

#[test]
fn sixty_four_share_evenly_and_one_alone_has_all() {
    let rate = 100_000_000 / 8;
    let many = run(rate, &(0..64).map(greedy).collect::<Vec<_>>(), 2 * SECOND);
    let each = (0..64).map(|who| had(&many, who, 0, 2 * SECOND)).collect::<Vec<_>>();
    let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
    let block = rate / 100;
    assert!(most - least <= block, "{least} to {most}");
    let alone = run(rate, &[greedy(7)], 2 * SECOND);
    let share = had(&alone, 7, 0, 2 * SECOND);
    assert!(share.abs_diff(2 * rate) <= rate / 50, "{share} of {}", 2 * rate);
}

#[test]
fn who_reads_slowly_has_less_and_the_others_the_rest() {
    let rate = 10_000_000;
    // A block of 100 kB every 100 ms: 1 MB of its 5 MB a second.
    let slow = Fetcher { takes: 100_000, ..greedy(1) };
    let given = run(rate, &[slow, greedy(2)], 4 * SECOND);
    let (slow, quick) = (had(&given, 1, 0, 4 * SECOND), had(&given, 2, 0, 4 * SECOND));
    assert!((3_500_000..4_100_000).contains(&slow), "{slow}");
    assert!(quick > 35_000_000, "{quick}");
}

#[test]
fn ten_requests_get_no_more_than_one_and_the_oldest_goes_first() {
    let rate = 10_000_000;
    let wide = Fetcher { requests: 10, ..greedy(1) };
    let given = run(rate, &[wide, greedy(2)], SECOND);
    let (wide, narrow) = (had(&given, 1, 0, SECOND), had(&given, 2, 0, SECOND));
    assert!(wide.abs_diff(narrow) <= rate / 100, "{wide} and {narrow}");
    let mut shares = Shares::new();
    shares.limit(Some(1000), Micros(0));
    [5, 3, 9].into_iter().for_each(|number| shares.ask(1, number, 512, Micros(0)));
    let order = (0..100).filter_map(|second| shares.poll(Micros(second * SECOND))).collect::<Vec<_>>();
    assert_eq!(order, [(1, 3), (1, 5), (1, 9)]);
}

#[test]
fn a_newcomer_has_its_share_at_once_and_no_more_than_that() {
    let rate = 10_000_000;
    let late = Fetcher { from: 3 * SECOND, ..greedy(9) };
    let given = run(rate, &[greedy(1), greedy(2), greedy(3), late], 5 * SECOND);
    let first = given.iter().find(|(_, who, _)| *who == 9).unwrap().0;
    assert!(first - 3 * SECOND <= 20_000, "after {} us", first - 3 * SECOND);
    for who in [1, 2, 3, 9] {
        let share = had(&given, who, 3 * SECOND, 5 * SECOND);
        assert!(share.abs_diff(2 * rate / 4) <= rate / 50, "{who} has {share}");
    }
}

#[test]
fn without_a_cap_nobody_waits_and_a_cap_that_is_lifted_lets_all_through() {
    let mut shares = Shares::new();
    assert_eq!(shares.most(), None);
    (0..100).for_each(|who| shares.ask(who, 0, 1 << 20, Micros(5)));
    assert_eq!(std::iter::from_fn(|| shares.poll(Micros(5))).count(), 100);
    assert_eq!((shares.wake(Micros(5)), shares.given()), (None, 100 << 20));
    shares.limit(Some(1000), Micros(5));
    (0..100).for_each(|who| shares.ask(who, 0, 512, Micros(5)));
    assert_eq!(shares.poll(Micros(5)), None);
    shares.limit(None, Micros(6));
    assert_eq!(std::iter::from_fn(|| shares.poll(Micros(6))).count(), 100);
}

#[test]
fn nothing_is_remembered_of_those_who_have_gone() {
    let mut shares = Shares::new();
    shares.limit(Some(1_000_000), Micros(0));
    for who in 0..10_000u64 {
        let now = Micros(who * 20_000);
        shares.ask(who, 0, 10_000, now);
        assert_eq!(shares.poll(Micros(now.0 + 1)), Some((who, 0)));
        assert!(shares.each.len() <= 2, "{}", shares.each.len());
    }
    shares.ask(1, 1, 100, Micros(u64::MAX - 9));
    shares.forget(1, 1);
    shares.forget(2, 7);
    assert_eq!((shares.poll(Micros(u64::MAX)), shares.wake(Micros(u64::MAX))), (None, None));
}

proptest! {
    /// Whoever asks for what and when: no second gives more than the cap and 2 %, and nothing is left lying.
    #[test]
    fn the_cap_holds_in_every_second(
        rate in 100_000u64..2_000_000_000,
        fetchers in proptest::collection::vec((1u64..5, 0u64..50_000, 0u64..2 * SECOND), 1..20),
    ) {
        let fetchers = (0..).zip(&fetchers).map(|(who, (requests, takes, from))| {
            Fetcher { who, requests: *requests, takes: *takes, from: *from }
        }).collect::<Vec<_>>();
        let given = run(rate, &fetchers, 3 * SECOND);
        let most = rate + rate / 50 + BLOCK_LEAST;
        for step in 0..20u64 {
            let sent = all(&given, step * 100_000, step * 100_000 + SECOND);
            prop_assert!(sent <= most, "{sent} of {rate} from {step}");
        }
    }

    /// As long as somebody never has enough, all of it is used.
    #[test]
    fn no_part_of_the_cap_is_wasted(rate in 100_000u64..1_000_000_000, slow in 0u64..200_000) {
        let given = run(rate, &[greedy(1), Fetcher { takes: slow, ..greedy(2) }], 2 * SECOND);
        let sent = all(&given, 0, 2 * SECOND);
        prop_assert!(sent + rate / 50 + BLOCK_LEAST >= 2 * rate, "{sent} of {}", 2 * rate);
    }
}
