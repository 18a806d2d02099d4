//! Certificates of a day: when they are renewed, how late they may be, and what is remembered of them.

use fleet::certificate::{
    Certificate, LATE_SECONDS, Stage, Unauthorised, authorise, authorise_enrolment, authorise_unlisted,
};
use fleet::event::Effect;
use fleet::{Change, Denied, Event, Node, Time, notice, patience};
use proptest::prelude::*;
use protocol::{Key, NodeId};

use crate::rack::Rack;

const DAY: u64 = 86_400;

/// The fingerprints of its run certificates, oldest first.
fn held(rack: &Rack, node: NodeId) -> Vec<Certificate> {
    let own = rack.fleet.certificates.values().filter(|row| (row.node, row.stage) == (node, Stage::Run));
    let mut own = own.cloned().collect::<Vec<_>>();
    own.sort_by_key(|row| row.number);
    own
}

/// Asks with this certificate for the next; the daemon looks first whether it may.
fn renews(rack: &mut Rack, print: &str) -> Result<u64, Unauthorised> {
    let who = authorise_enrolment(&rack.fleet, Some(print), rack.now)?;
    let key = who.certificate.key;
    let certificate = print.to_owned();
    let outcome =
        rack.bring(Event::Enrolled { node: who.node, certificate, key, uptime_seconds: 9 }).unwrap();
    let Some(Effect::Issue(grant)) = outcome.effects.first() else { panic!("nothing was granted") };
    assert_eq!(grant.until, rack.now.plus_seconds(DAY));
    Ok(grant.renew_seconds)
}

/// Time passes, and the controller looks at the clock all the while.
fn passes(rack: &mut Rack, seconds: u64) {
    for _ in 0..seconds / 600 {
        rack.now = rack.now.plus_seconds(599);
        rack.bring(Event::Tick).unwrap();
    }
}

#[test]
fn a_day_s_certificate_is_renewed_between_half_and_two_thirds_of_its_life_and_not_by_all_at_once() {
    let (mut rack, node, _) = Rack::active("control");
    let print = held(&rack, node)[0].fingerprint.clone();
    let asked = (0..200).map(|_| renews(&mut rack, &print).unwrap()).collect::<Vec<_>>();
    assert!(asked.iter().all(|seconds| (DAY / 2..=DAY * 66 / 100).contains(seconds)), "{asked:?}");
    let early = asked.iter().filter(|seconds| **seconds < DAY * 58 / 100).count();
    assert!((60..140).contains(&early), "{early} of 200 in the first half of the window");
}

#[test]
fn a_node_that_was_off_comes_back_by_itself_for_thirty_days_and_then_an_operator_says_so() {
    let (mut rack, node, _) = Rack::active("control");
    passes(&mut rack, 600);
    let mine = held(&rack, node)[0].clone();
    let generation = rack.only().generation;
    passes(&mut rack, DAY + LATE_SECONDS - 2 * 3600);
    let stage = authorise(&rack.fleet, Some(&mine.fingerprint), Stage::Run, rack.now);
    assert_eq!(stage.unwrap_err(), Unauthorised::Expired, "it opens nothing but the enrolment");
    renews(&mut rack, &mine.fingerprint).expect("within thirty days");
    assert_eq!((rack.only().generation, rack.only().run), (generation, Some(mine.key)), "who it was");

    passes(&mut rack, DAY + LATE_SECONDS + 2 * 3600);
    let newest = held(&rack, node).pop().unwrap();
    let refused = renews(&mut rack, &newest.fingerprint).unwrap_err();
    assert!(matches!(&refused, Unauthorised::TooLate { days: 30, .. }), "{refused}");
    assert!(refused.to_string().contains("rackwright node retry n1"), "{refused}");
    rack.bring(Event::Lapsed { node }).unwrap();
    rack.bring(Event::Lapsed { node }).unwrap();
    assert_eq!(rack.log.iter().filter(|kind| *kind == "lapsed").count(), 1, "told once");
    let why = patience::wait(&rack.fleet, rack.only()).unwrap().reason;
    assert!(why.contains("rackwright node retry n1"), "{why}");
    let told = notice::notices(&rack.fleet, rack.now);
    assert!(told.iter().any(|one| one.kind == "certificate" && one.next == "rackwright node retry n1"));
    rack.bring(Event::Retry { node }).unwrap();
    renews(&mut rack, &newest.fingerprint).expect("an operator has said so");
    assert_eq!(rack.only().lapsed, None);
    assert!(matches!(rack.bring(Event::Retry { node }).unwrap_err(), Denied::State { .. }), "as before");
    assert!(patience::wait(&rack.fleet, rack.only()).is_none_or(|wait| !wait.reason.contains("retry n1")));
}

#[test]
fn another_key_and_an_older_generation_are_refused_however_early() {
    let (mut rack, node, _) = Rack::active("control");
    let mine = held(&rack, node)[0].clone();
    passes(&mut rack, 2 * DAY);
    let certificate = mine.fingerprint.clone();
    let other = Event::Enrolled { node, certificate, key: Key([77; 32]), uptime_seconds: 9 };
    assert!(matches!(rack.bring(other).unwrap_err(), Denied::Conflict(why) if why.contains("another key")));
    let mut later = rack.only().clone();
    later.generation += 1;
    rack.fleet.put(Change::Node(Box::new(later)));
    assert_eq!(renews(&mut rack, &mine.fingerprint).unwrap_err(), Unauthorised::Revoked);
}

#[test]
fn a_controller_that_was_off_or_in_another_year_locks_nobody_out() {
    // RTCs of 1970, 1999, 2011, 2040 and 2099, and one that is right.
    for seconds in [0, 915_148_800, 1_300_000_000, 2_208_988_800, 4_070_908_800, 1_800_000_000] {
        let (mut rack, node, _) = Rack::active("control");
        passes(&mut rack, 600);
        let right = rack.now;
        // Off for a hundred days.
        rack.now = rack.now.plus_seconds(100 * DAY);
        rack.bring(Event::Tick).unwrap();
        let mine = held(&rack, node).pop().unwrap();
        renews(&mut rack, &mine.fingerprint).expect("nobody could renew meanwhile");
        // Then it believes in another year, and renews what comes.
        rack.now = Time(seconds * 1000);
        rack.bring(Event::Tick).unwrap();
        let mine = held(&rack, node).pop().unwrap();
        renews(&mut rack, &mine.fingerprint).expect("in the wrong year");
        passes(&mut rack, 2 * DAY);
        // And is put right, before and after the node has renewed again.
        rack.now = right.plus_seconds(101 * DAY);
        rack.bring(Event::Tick).unwrap();
        // The answer to the last renewal may have been lost.
        let two = held(&rack, node).into_iter().rev().take(2).collect::<Vec<_>>();
        for certificate in two.into_iter().rev() {
            renews(&mut rack, &certificate.fingerprint).expect("back in the right year");
        }
        assert!(rack.log.iter().any(|kind| kind == "clock"), "{seconds}: it is said");
    }
}

#[test]
fn after_a_restore_whoever_has_the_key_of_an_installed_system_goes_on() {
    let (mut rack, node, _) = Rack::active("control");
    let mine = held(&rack, node)[0].clone();
    rack.fleet.certificates.clear();
    let now = Time(1_800_000_000_000);
    rack.fleet.attendance.seen = Some(now);
    assert_eq!(authorise_enrolment(&rack.fleet, Some("renewed"), now).unwrap_err(), Unauthorised::Unknown);
    let ended = |days: u64| Time(now.0 - days * DAY * 1000);
    let by = |rack: &Rack, key, until| authorise_unlisted(&rack.fleet, "renewed", key, until, now);
    assert_eq!(by(&rack, mine.key, ended(1)).unwrap().node, node);
    assert_eq!(by(&rack, Key([66; 32]), ended(0)).unwrap_err(), Unauthorised::Unknown);
    assert!(matches!(by(&rack, mine.key, ended(31)), Err(Unauthorised::TooLate { .. })));
    let mut retired = rack.only().clone();
    retired.state = fleet::State::Retired;
    rack.fleet.put(Change::Node(Box::new(retired.clone())));
    assert_eq!(by(&rack, mine.key, ended(0)).unwrap_err(), Unauthorised::Unknown, "retired");
    let mut gone = Node { state: fleet::State::Active, ..retired };
    gone.run = None;
    rack.fleet.put(Change::Node(Box::new(gone)));
    assert_eq!(by(&rack, mine.key, ended(0)).unwrap_err(), Unauthorised::Unknown, "written again since");
}

#[test]
fn a_certificate_that_is_not_renewed_is_told_before_it_ends_and_one_of_a_silent_node_is_not() {
    let (mut rack, node, _) = Rack::active("control");
    let told =
        |rack: &Rack| notice::notices(&rack.fleet, rack.now).iter().any(|one| one.kind == "certificate");
    passes(&mut rack, 15 * 3600);
    rack.reports(node, "active").unwrap();
    assert!(!told(&rack), "it is due, and has time");
    passes(&mut rack, 4 * 3600);
    rack.reports(node, "active").unwrap();
    assert!(told(&rack), "hours after it was due");
    let check = fleet::view::certificates_check(&rack.fleet, rack.now);
    assert_eq!(check.result, "warn", "{check:?}");
    passes(&mut rack, 600);
    assert!(!told(&rack), "now it is silent, which is told instead");
}

proptest! {
    /// Answers are lost, the agent restarts, clocks jump: the certificate that it holds is never one that nobody knows, and few are
    /// remembered.
    #[test]
    fn whatever_is_lost_it_can_renew(steps in proptest::collection::vec((0u8..6, 0u64..40 * 365 * 86_400), 1..80)) {
        let (mut rack, node, _) = Rack::active("control");
        // On its disk, and in its memory.
        let first = held(&rack, node)[0].fingerprint.clone();
        let (mut kept, mut used) = (first.clone(), first);
        for (what, number) in steps {
            match what {
                0 => rack.now = Time(number * 1000),
                1 => passes(&mut rack, number % (3 * DAY)),
                2 => used = kept.clone(),
                _ => {
                    prop_assert!(renews(&mut rack, &used).is_ok(), "{used} is refused");
                    let newest = held(&rack, node).pop().unwrap().fingerprint;
                    // The answer is lost; it is kept and the agent is killed; all goes well.
                    if what > 3 { kept.clone_from(&newest); }
                    if what > 4 { used = newest; }
                }
            }
            rack.bring(Event::Tick).unwrap();
            prop_assert!(held(&rack, node).len() <= 9, "{} are remembered", held(&rack, node).len());
        }
        used = kept;
        prop_assert!(renews(&mut rack, &used).is_ok(), "{used} on its disk is refused");
    }
}
