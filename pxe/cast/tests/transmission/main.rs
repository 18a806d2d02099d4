//! A sender and its receivers in virtual time, over wires that lose, delay and cut off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod wire;

use wire::{Fault, Story, Wire};

const MBIT: u64 = 125_000;

fn story(receivers: usize, loss: f64) -> Story {
    Story::new(100_000_000, 100 * MBIT, vec![Wire { loss, ..Wire::good() }; receivers])
}

/// How long, and how much was sent, as multiples of what the image takes on the wire.
fn told(ended: &wire::Ended) -> (f64, f64) {
    (ended.last() / ended.limit, ended.sent as f64 / ended.image as f64)
}

#[test]
fn without_loss_many_take_as_long_as_one() {
    let one = told(&story(1, 0.0).run(1));
    let many = told(&story(64, 0.0).run(1));
    assert!(one.0 < 1.05, "one takes {one:?}");
    assert!(many.0 / one.0 < 1.02, "{many:?} against {one:?}");
    assert!(many.1 < 1.001, "{many:?}");
}

#[test]
fn losses_cost_little_more_than_they_are() {
    for (loss, time, sent) in [(0.01, 1.05, 1.03), (0.05, 1.12, 1.10), (0.10, 1.25, 1.20)] {
        for receivers in [24, 64] {
            let ended = told(&story(receivers, loss).run(7));
            println!("{receivers} at {loss}: {ended:?}");
            assert!(ended.0 < time && ended.1 < sent, "{receivers} at {loss}: {ended:?}");
        }
    }
}

#[test]
fn who_comes_late_takes_no_longer_and_delays_nobody() {
    let alone = story(8, 0.0).run(3).last();
    for part in [0.25, 0.5, 0.9] {
        let mut late = story(9, 0.0);
        late.wires[8].joins = part * alone;
        let ended = late.run(3);
        let first = ended.done[..8].iter().copied().fold(0.0, f64::max);
        assert!(first < alone * 1.02, "at {part}: the first wave took {first}, not {alone}");
        let newcomer = ended.done[8] - part * alone;
        assert!(newcomer < alone * 1.05, "at {part}: the newcomer took {newcomer}");
    }
}

#[test]
fn the_slow_and_the_dead_delay_nobody() {
    let alone = story(24, 0.0).run(5).last();
    for fault in [Fault::Slow(0.1), Fault::Dead(0.5 * alone), Fault::Deaf, Fault::Stopped(0.5 * alone)] {
        let mut with = story(24, 0.0);
        with.wires[3].fault = Some(fault);
        let ended = with.run(5);
        let others = ended.done.iter().enumerate().filter(|(at, _)| *at != 3).map(|(_, done)| *done);
        let others = others.fold(0.0, f64::max);
        assert!(others < alone * 1.02, "{fault:?}: the others took {others}, not {alone}");
    }
}

/// As a switch does that prunes before it knows everybody.
#[test]
fn who_is_cut_off_for_a_second_slows_nobody_down() {
    let alone = story(8, 0.0).run(5).last();
    for loss in [0.0, 0.05] {
        for (count, from) in [(1, 0.05), (3, 0.2), (5, 0.05), (5, 2.0), (7, 0.05), (8, 1.0)] {
            let mut with = story(8, loss);
            let undisturbed = with.run(5).last();
            with.wires
                .iter_mut()
                .take(count)
                .for_each(|wire| wire.fault = Some(Fault::CutOff(from, from + 1.0)));
            let ended = with.run(5);
            let missed = ended.last() - undisturbed;
            println!("{count} of 8 from {from} on, loss {loss}: {missed:.2} s");
            assert!(
                missed < 1.0 + 0.02 * alone,
                "{count} of 8 from {from} on, loss {loss}: {missed} s later"
            );
        }
    }
}

#[test]
fn what_all_can_take_is_found_where_the_link_says_more() {
    for (receivers, part) in [(2, 0.5), (2, 0.05), (24, 0.2)] {
        let mut slow = Story::new(20_000_000, 100 * MBIT, vec![Wire::good(); receivers]);
        slow.wires.iter_mut().for_each(|wire| wire.fault = Some(Fault::Slow(part)));
        let ended = slow.run(11);
        let least = ended.limit / part;
        assert_eq!(ended.away, 0, "{part}");
        assert!(ended.last() < 1.4 * least, "{part}: {} instead of {least}", ended.last());
    }
}
