//! Whether the controller's own clock is believed. While it is not, no certificate is issued: one that was made in a wrong year is good for
//! years, or for no moment at all. Everything else goes on, and what there is does not end meanwhile ([`judged`]).
//!
//! ```text
//! believed ─ before this version was made ─────────────────→ doubted ─ it is later ───────────────→ believed
//!          ─ behind a moment that it has shown before ─────→ doubted ─ it has come there ─────────→ believed
//!          ─ it jumps by more than five minutes ───────────→ doubted ─ the jump is undone ────────→ believed
//!                                                            any but the first ─ operator's word ─→ believed
//! ```
//! A jump is told from time that passes by the kernel's other clock, which nobody sets. One in the first ten minutes after a boot is how
//! network time puts a clock right, and a clock that was behind may jump to any later moment: nobody can say more of it than of a clock that
//! was right from the start. Later on, who has set it wrong and who has set it right look alike, and a person has to say it. A jump while
//! nobody looked is none, unless the clock is behind: between two starts only what is kept can be compared.

mod look;
mod step;
mod waiting;

use serde::{Deserialize, Serialize};

use crate::{Denied, Fleet, Time};

pub use look::look;
pub(crate) use step::step;
pub(crate) use waiting::keeps_waiting;

/// 2026-11-01: the clock of no controller that runs this version can be right and earlier.
pub const BUILT: Time = Time(1_793_491_200_000);
/// A clock that is off by no more is right, in seconds.
pub const LIMIT_SECONDS: u64 = 300;

/// One look at both clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The one on the wall.
    pub wall: Time,
    /// Milliseconds since the kernel started, those asleep included.
    pub up_ms: u64,
    /// The kernel's boot id.
    pub boot: String,
}

/// Why it is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is before this version was made.
    BeforeBuild,
    /// It is behind a moment that it has shown before.
    Behind,
    /// It has jumped.
    Jumped,
}

/// A clock that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Why not.
    pub why: Why,
    /// What it should have shown at that look: nothing is judged by a later time.
    pub believed: Time,
    /// The look that brought the doubt.
    pub at: Look,
}

/// What is brought to [`crate::step()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A look has changed what is thought of the clock.
    Seen(Verdict),
    /// An operator says that it is right.
    Accept,
}

/// What a look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From now on it is not believed.
    Doubted(Doubt),
    /// It is believed again.
    Right,
    /// It was set soon after a boot, by so many seconds, and is believed.
    Settled(u64),
}

/// The time by which it is judged whether something has ended: while the clock is not believed, that of before.
pub fn judged(fleet: &Fleet, now: Time) -> Time {
    fleet.clock.as_ref().map_or(now, |doubt| now.min(doubt.believed))
}

/// Seconds since somebody was heard, by a clock that was not doubted then, or is doubted since: a jump of the clock is no silence.
pub(crate) fn seconds_since(fleet: &Fleet, heard: Time, now: Time) -> u64 {
    let Some(Doubt { believed, at, .. }) = &fleet.clock else { return now.seconds_since(heard) };
    let across = believed.seconds_since(heard).saturating_add(now.seconds_since(at.wall));
    // Of one that was heard after a clock was turned back it is not told from when: the shorter time calls nobody in vain.
    if heard > now { across } else { across.min(now.seconds_since(heard)) }
}

/// What is wrong with the clock, and what to do, if it is not believed.
pub fn problem(fleet: &Fleet) -> Option<String> {
    let Doubt { why, believed, at } = fleet.clock.as_ref()?;
    let shown = at.wall;
    Some(match why {
        Why::BeforeBuild => format!(
            "the controller's clock ({shown}) is before this version was made ({BUILT}): set it; no certificates are issued until then"
        ),
        Why::Behind => format!(
            "the controller's clock ({shown}) is behind {believed}, which it has shown before: no certificates are issued until it is \
             set; if it is right now: rackwright clock accept"
        ),
        Why::Jumped => format!(
            "the controller's clock has jumped from {believed} to {shown}: no certificates are issued until it is set back; if it is \
             right now: rackwright clock accept"
        ),
    })
}

/// Refuses what needs a certificate.
///
/// # Errors
/// [`Denied::Clock`].
pub(crate) fn refuse(fleet: &Fleet) -> Result<(), Denied> {
    problem(fleet).map_or(Ok(()), |problem| Err(Denied::Clock(problem)))
}
