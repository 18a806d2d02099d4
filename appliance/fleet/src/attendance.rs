//! When the controller was there, by its own clock. Nobody can renew a certificate with a controller that is switched off, was
//! restored from a backup of last month, or believes in another year: what is counted since the end of a certificate leaves such
//! times out.

use serde::{Deserialize, Serialize};

use crate::{Change, Fact, Fleet, Outcome, Time};

/// The clock is looked at every few seconds; with this much between two looks, in seconds, the controller was away, or its clock was
/// turned.
const GAP_SECONDS: u64 = 15 * 60;
/// What is kept of a look is not older than this, in seconds.
const KEPT_SECONDS: u64 = 5 * 60;
/// So many absences are kept, the longest.
const ABSENCES: usize = 32;

/// When the controller was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendance {
    /// The last look at the clock that was kept; none before the first.
    pub seen: Option<Time>,
    /// From when to when it was away, or its clock stepped over.
    pub absences: Vec<(Time, Time)>,
}

impl Attendance {
    /// Seconds from one moment to a later one in which the controller was there; 0 when it is not later.
    pub fn seconds_between(&self, from: Time, to: Time) -> u64 {
        let mut away = self.absences.iter().map(|(begin, end)| (*begin.max(&from), *end.min(&to)));
        // Absences may overlap when the clock was turned back between them: counted together they are no longer than the whole.
        let mut spans = away.by_ref().filter(|(begin, end)| begin < end).collect::<Vec<_>>();
        spans.sort();
        let (mut left_out, mut counted) = (0, from);
        for (begin, end) in spans {
            let begin = begin.max(counted);
            left_out += end.seconds_since(begin);
            counted = counted.max(end);
        }
        to.seconds_since(from).saturating_sub(left_out)
    }

    /// What is known after a look at the clock, if that is to be kept.
    fn looked(&self, seen: Option<Time>, now: Time) -> Option<Self> {
        let mut next = Self { seen: Some(now), ..self.clone() };
        let Some(seen) = seen else { return Some(next) };
        if now.seconds_since(seen) > GAP_SECONDS {
            next.absences.push((seen, now));
            while next.absences.len() > ABSENCES {
                let length = |(begin, end): &(Time, Time)| end.seconds_since(*begin);
                let shortest = next.absences.iter().enumerate().min_by_key(|(_, absence)| length(absence));
                let Some((at, _)) = shortest else { break };
                next.absences.remove(at);
            }
            return Some(next);
        }
        let turned_back = seen.seconds_since(now) > GAP_SECONDS;
        let is_news = self.seen.is_none() || turned_back || now.seconds_since(seen) >= KEPT_SECONDS;
        is_news.then_some(next)
    }
}

/// When the controller was last there, as far as that is kept: before it was, whoever was heard was heard by it.
fn last_seen(fleet: &Fleet) -> Option<Time> {
    fleet.attendance.seen.or_else(|| fleet.nodes.values().map(|node| node.heard).max())
}

/// Seconds from one moment until now in which the controller was there. Somebody may ask before the clock was looked at after a start.
pub(crate) fn seconds_since(fleet: &Fleet, from: Time, now: Time) -> u64 {
    let looked = fleet.attendance.looked(last_seen(fleet), now);
    looked.as_ref().unwrap_or(&fleet.attendance).seconds_between(from, now)
}

/// A look at the clock.
pub(crate) fn look(fleet: &Fleet, now: Time, outcome: &mut Outcome) {
    let seen = last_seen(fleet);
    let Some(next) = fleet.attendance.looked(seen, now) else { return };
    if let Some(seen) = seen {
        let text = if now.seconds_since(seen) > GAP_SECONDS {
            Some(format!("the controller was away, or its clock was set, from {seen} to {now}"))
        } else {
            let turned_back = seen.seconds_since(now) > GAP_SECONDS;
            turned_back.then(|| format!("the controller's clock was set back, from {seen} to {now}"))
        };
        let fact = |text| Fact { node: None, mac: None, kind: "clock".to_owned(), text };
        outcome.facts.extend(text.map(fact));
    }
    outcome.changes.push(Change::Attendance(Box::new(next)));
}
