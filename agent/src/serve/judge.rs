//! What shall be against what is: the decisions, without any doing.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::UnitWanted;
use units::UnitState;

use super::hands::Left;

/// What is to be done about whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It is as it shall be.
    Leave,
    /// It shall run.
    Start,
    /// It runs on old files, or the operator wants it restarted.
    Restart,
    /// It shall not run.
    Stop,
}

/// What is to be done about a unit while a document is made true. `again` when its files or its restart counter
/// changed; `left` as the agent left it in this life.
pub(super) fn act(wanted: &UnitWanted, state: &UnitState, left: Left, again: bool) -> Act {
    let down = state.active.is_down();
    match (wanted.running, down) {
        (true, false) if again => Act::Restart,
        // Already on its way up counts as down here: a start waits for its job.
        (true, false) if state.active.is_up() => Act::Leave,
        // What we had left up is the guard's matter: somebody stops it, and that is told.
        (true, _) if left == Left::Up && !again => Act::Leave,
        (true, true) if left == Left::Ended && !again => Act::Leave,
        (true, _) => Act::Start,
        (false, true) => Act::Leave,
        (false, false) if left == Left::Down => Act::Leave,
        (false, false) => Act::Stop,
    }
}

/// What a unit is left as by [`Act::Leave`].
pub(super) fn left_alone(wanted: &UnitWanted, state: &UnitState, left: Left) -> Left {
    match (wanted.running, state.active.is_up()) {
        (true, true) => Left::Up,
        (true, false) if left == Left::Up => Left::Up,
        (true, false) => Left::Ended,
        (false, _) => Left::Down,
    }
}

/// What is to be done about whether the next boot starts a unit; `None` when it is so already, or can't be changed
/// (static, generated, masked, …).
pub(super) fn enablement(wanted: &UnitWanted, state: &UnitState) -> Option<bool> {
    match (wanted.enabled, state.file_state.as_str()) {
        (true, "disabled" | "linked" | "linked-runtime" | "enabled-runtime") => Some(true),
        (false, "enabled" | "enabled-runtime") => Some(false),
        (true | false, _) => None,
    }
}

/// What a change of a unit that nobody of us has in hand calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it shall be, on its way there, or not settled yet: the conductor's matter.
    Fine,
    /// It was up and is down: start it again.
    BringBack,
    /// It was down and is up: stop it again.
    PutDown,
    /// It is no longer (`true`: shall be) started by the next boot: put that right.
    Enable(bool),
}

/// Judges a unit: `left` is what we left it as.
pub(super) fn verdict(wanted: &UnitWanted, state: &UnitState, left: Left) -> Verdict {
    match left {
        Left::Up if wanted.running && state.active.is_down() => return Verdict::BringBack,
        Left::Down if !wanted.running && state.active.is_up() => return Verdict::PutDown,
        Left::Open | Left::Alone(_) => return Verdict::Fine,
        Left::Up | Left::Down | Left::Ended => {}
    }
    enablement(wanted, state).map_or(Verdict::Fine, Verdict::Enable)
}

/// How often a unit is put right before it is left to a person.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When, counted from any fixed moment.
    spent: VecDeque<Duration>,
}

/// This many …
pub(super) const TIMES: usize = 5;
/// … within this time.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

impl Budget {
    /// Whether the unit may be put right once more at `now`; counts it when it may.
    pub(super) fn spend(&mut self, now: Duration) -> bool {
        self.expire(now);
        let allowed = self.spent.len() < TIMES;
        if allowed {
            self.spent.push_back(now);
        }
        allowed
    }

    /// When the next one is allowed, from `now`.
    pub(super) fn next(&mut self, now: Duration) -> Duration {
        self.expire(now);
        match self.spent.front() {
            Some(&first) if self.spent.len() >= TIMES => (first + WINDOW).saturating_sub(now),
            Some(_) | None => Duration::ZERO,
        }
    }

    fn expire(&mut self, now: Duration) {
        while self.spent.front().is_some_and(|&at| now.saturating_sub(at) >= WINDOW) {
            self.spent.pop_front();
        }
    }
}

/// The wait before a failed document is tried again: 5 s, doubled up to 2 min.
pub(super) fn retry(failures: u32) -> Duration {
    Duration::from_secs(5 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(120))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::UnitWanted;
    use units::{Active, UnitName, UnitState};

    use super::{Act, Budget, Left, Verdict, act, enablement, retry, verdict};

    fn wanted(enabled: bool, running: bool) -> UnitWanted {
        UnitWanted { name: "x.service".into(), enabled, running, restarts: 0, packages: Vec::new() }
    }

    fn state(active: &str, file_state: &str) -> UnitState {
        UnitState {
            name: UnitName::parse("x.service").unwrap(),
            load: "loaded".into(),
            active: Active::from(active.to_owned()),
            sub: String::new(),
            result: String::new(),
            file_state: file_state.into(),
            main_pid: 0,
            invocation: None,
            since_usec: 0,
        }
    }

    #[test]
    fn documents_meet_reality() {
        for (running, active, left, again, want) in [
            (true, "active", Left::Open, false, Act::Leave),
            (true, "active", Left::Up, true, Act::Restart),
            (true, "reloading", Left::Up, false, Act::Leave),
            (true, "inactive", Left::Open, false, Act::Start),
            (true, "inactive", Left::Up, false, Act::Leave),
            (true, "failed", Left::Up, false, Act::Leave),
            (true, "deactivating", Left::Up, false, Act::Leave),
            (true, "activating", Left::Up, false, Act::Leave),
            (true, "deactivating", Left::Up, true, Act::Restart),
            (false, "active", Left::Down, false, Act::Leave),
            (true, "inactive", Left::Up, true, Act::Start),
            (true, "inactive", Left::Ended, false, Act::Leave),
            (true, "inactive", Left::Ended, true, Act::Start),
            (true, "failed", Left::Open, false, Act::Start),
            (true, "failed", Left::Ended, false, Act::Leave),
            (true, "activating", Left::Open, false, Act::Start),
            (true, "activating", Left::Open, true, Act::Restart),
            (true, "deactivating", Left::Open, false, Act::Start),
            (false, "active", Left::Open, false, Act::Stop),
            (false, "active", Left::Open, true, Act::Stop),
            (false, "activating", Left::Open, false, Act::Stop),
            (false, "inactive", Left::Open, true, Act::Leave),
            (false, "failed", Left::Open, false, Act::Leave),
        ] {
            let got = act(&wanted(true, running), &state(active, "enabled"), left, again);
            assert_eq!(got, want, "{running} {active} {left:?} {again}");
        }
    }

    #[test]
    fn only_links_that_exist_or_can_are_changed() {
        for (enabled, file_state, want) in [
            (true, "enabled", None),
            (true, "disabled", Some(true)),
            (true, "enabled-runtime", Some(true)),
            (true, "static", None),
            (true, "generated", None),
            (true, "masked", None),
            (true, "", None),
            (false, "enabled", Some(false)),
            (false, "disabled", None),
            (false, "static", None),
            (false, "masked", None),
        ] {
            assert_eq!(
                enablement(&wanted(enabled, true), &state("active", file_state)),
                want,
                "{enabled} {file_state}"
            );
        }
    }

    #[test]
    fn others_are_blamed_only_for_what_we_had_settled() {
        for (running, active, file_state, left, want) in [
            (true, "inactive", "enabled", Left::Up, Verdict::BringBack),
            (true, "failed", "enabled", Left::Up, Verdict::BringBack),
            (true, "deactivating", "enabled", Left::Up, Verdict::Fine),
            (true, "activating", "enabled", Left::Up, Verdict::Fine),
            (true, "inactive", "enabled", Left::Open, Verdict::Fine),
            (true, "inactive", "enabled", Left::Ended, Verdict::Fine),
            (true, "inactive", "enabled", Left::Down, Verdict::Fine),
            (true, "active", "disabled", Left::Up, Verdict::Enable(true)),
            (true, "active", "disabled", Left::Open, Verdict::Fine),
            (true, "inactive", "disabled", Left::Up, Verdict::BringBack),
            (true, "active", "masked", Left::Up, Verdict::Fine),
            (false, "active", "enabled", Left::Down, Verdict::PutDown),
            (false, "activating", "enabled", Left::Down, Verdict::Fine),
            (false, "active", "enabled", Left::Up, Verdict::Fine),
        ] {
            let mut wanted = wanted(true, running);
            wanted.enabled = true;
            let got = verdict(&wanted, &state(active, file_state), left);
            assert_eq!(got, want, "{running} {active} {file_state} {left:?}");
        }
        assert_eq!(
            verdict(&wanted(false, true), &state("active", "enabled"), Left::Up),
            Verdict::Enable(false)
        );
    }

    #[test]
    fn a_flapping_unit_is_left_alone_after_five_times_in_ten_minutes() {
        let at = Duration::from_secs;
        let mut budget = Budget::default();
        for second in [0, 100, 101, 102, 103] {
            assert!(budget.spend(at(second)));
        }
        assert!(!budget.spend(at(104)) && !budget.spend(at(599)));
        assert_eq!(budget.next(at(104)), at(496));
        assert_eq!(budget.next(at(600)), Duration::ZERO);
        assert!(budget.spend(at(600)) && !budget.spend(at(601)), "one left the window, one came in");
        assert!(budget.spend(at(5000)), "a clock that jumps ahead only forgives");
        assert!(budget.spend(at(1)), "and back only counts");
    }

    #[test]
    fn retries_slow_down_to_two_minutes() {
        let waits = (1..=8).map(|n| retry(n).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits, [5, 10, 20, 40, 80, 120, 120, 120]);
        assert_eq!(retry(0).as_secs(), 5);
        assert_eq!(retry(u32::MAX).as_secs(), 120);
    }
}
