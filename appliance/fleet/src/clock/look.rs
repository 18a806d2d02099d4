//! What a look at the clocks says.

use super::{BUILT, Doubt, LIMIT_SECONDS, Look, Verdict, Why};
use crate::{Fleet, Time};

/// For so long after a boot network time may set the clock, in milliseconds.
const SETTLING_MS: u64 = 600_000;

/// What a look says that is news: `last` is the one before, of the same process; none after a start.
pub fn look(fleet: &Fleet, last: Option<&Look>, now: &Look) -> Option<Verdict> {
    let doubted = |why, believed| Some(Verdict::Doubted(Doubt { why, believed, at: now.clone() }));
    let seen = fleet.attendance.seen;
    let behind = seen.filter(|seen| now.wall.plus_seconds(LIMIT_SECONDS) < *seen);
    let Some(doubt) = &fleet.clock else {
        if now.wall < BUILT {
            return doubted(Why::BeforeBuild, seen.map_or(BUILT, |seen| seen.max(BUILT)));
        }
        let Some(last) = last else { return behind.and_then(|seen| doubted(Why::Behind, seen)) };
        let expected = expected(last.wall, last.up_ms, now);
        if !differ(expected, now.wall) {
            return None;
        }
        if now.up_ms < SETTLING_MS {
            return Some(Verdict::Settled(expected.0.abs_diff(now.wall.0) / 1000));
        }
        return doubted(Why::Jumped, expected);
    };
    let right = match doubt.why {
        Why::BeforeBuild => now.wall >= BUILT,
        Why::Behind => now.wall.plus_seconds(LIMIT_SECONDS) >= doubt.believed,
        Why::Jumped => is_undone(doubt, now),
    };
    match (right, behind) {
        // Later than this version, and still behind what it has shown.
        (true, Some(seen)) if doubt.why == Why::BeforeBuild => doubted(Why::Behind, seen),
        (true, _) => Some(Verdict::Right),
        (false, _) => None,
    }
}

/// What the wall should show.
fn expected(wall: Time, up_ms: u64, now: &Look) -> Time {
    Time(wall.0.saturating_add(now.up_ms.saturating_sub(up_ms)))
}

fn differ(one: Time, other: Time) -> bool {
    one.0.abs_diff(other.0) > LIMIT_SECONDS * 1000
}

/// Whether the clock is again where it would be without the jump.
fn is_undone(doubt: &Doubt, now: &Look) -> bool {
    if now.boot == doubt.at.boot {
        return !differ(expected(doubt.believed, doubt.at.up_ms, now), now.wall);
    }
    // How long the machine was off is not known: it must have come past where it was, and be before where it jumped to.
    let came_past = now.wall.plus_seconds(LIMIT_SECONDS) >= doubt.believed;
    let is_ahead = doubt.at.wall > doubt.believed && now.wall.plus_seconds(LIMIT_SECONDS) >= doubt.at.wall;
    came_past && !is_ahead
}
