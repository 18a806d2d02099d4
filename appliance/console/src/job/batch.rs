//! Several jobs over time: what each look at them adds up to. Rows in, standings out.

use std::collections::BTreeMap;

use fleet::view::{JobRow, Slow, Standing, median_left, slow};

use crate::follow::{End, Stage, end, stage};
use crate::progress::{Meter, percent};

/// The jobs that are watched.
#[derive(Debug, Default)]
pub(super) struct Batch {
    members: BTreeMap<String, Member>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    /// As it was at the last look.
    pub(super) row: JobRow,
    pub(super) stage: Stage,
    /// When that began, in milliseconds.
    pub(super) since: u64,
    /// When it was seen first.
    pub(super) seen: u64,
    /// How it ended, and when.
    pub(super) end: Option<(End, u64)>,
    /// Why it keeps the others waiting.
    pub(super) slow: Option<Slow>,
    meter: Meter,
}

/// All of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) jobs: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) slow: usize,
    pub(super) percent: u64,
    /// Bytes a second of those that write.
    pub(super) rate: u64,
    /// Seconds until the last one has written, of those whose time is known.
    pub(super) left: Option<u64>,
}

impl Member {
    fn new(row: JobRow, now_ms: u64) -> Member {
        let stage = stage(&row);
        Member { row, stage, since: now_ms, seen: now_ms, end: None, slow: None, meter: Meter::default() }
    }

    fn look(&mut self, row: &JobRow, now_ms: u64) {
        let stage = stage(row);
        if self.stage != stage {
            (self.stage, self.since, self.meter) = (stage, now_ms, Meter::default());
        }
        self.row = row.clone();
        if let Some((done, _)) = stage.bytes(row) {
            self.meter.note(now_ms, done);
        }
        // A node gets out of `attention` by itself, when its agent is heard of again.
        let ended = end(row);
        if ended.as_ref() != self.end.as_ref().map(|(end, _)| end) {
            self.end = ended.map(|end| (end, now_ms));
        }
    }

    /// Percent of this stage, or of the job in a stage that has no bytes.
    pub(super) fn percent(&self) -> u64 {
        self.stage.bytes(&self.row).map_or(self.row.percent.into(), |(done, total)| percent(done, total))
    }

    pub(super) fn rate(&self) -> Option<u64> {
        self.stage.bytes(&self.row).and_then(|_| self.meter.rate())
    }

    pub(super) fn left(&self) -> Option<u64> {
        self.stage.bytes(&self.row).and_then(|(_, total)| self.meter.left(total))
    }

    /// How its image comes, while it does.
    pub(super) fn lane(&self) -> Option<&fleet::view::LaneRow> {
        self.row.lane.as_ref().filter(|_| self.stage == Stage::Imaging)
    }

    fn standing(&self) -> Standing<'_> {
        Standing { row: &self.row, rate: self.rate(), left: self.left() }
    }

    fn writes(&self) -> bool {
        self.end.is_none() && self.stage == Stage::Imaging
    }
}

impl Batch {
    /// Takes a look at all jobs, of which those count that are watched. One that is not there any more is not waited for.
    pub(super) fn look(&mut self, rows: &[JobRow], is_watched: impl Fn(&JobRow) -> bool, now_ms: u64) {
        self.members.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let known = self.members.contains_key(&row.id);
            if known || is_watched(row) {
                let new = || Member::new(row.clone(), now_ms);
                self.members.entry(row.id.clone()).or_insert_with(new).look(row, now_ms);
            }
        }
        let reasons = self.reasons();
        for (member, slow) in self.members.values_mut().zip(reasons) {
            member.slow = slow;
        }
    }

    /// Only while images are written does one wait for another's packets, disk or place in a chain.
    fn reasons(&self) -> Vec<Option<Slow>> {
        let writing = self.members.values().filter(|member| member.writes());
        let standings = writing.map(Member::standing).collect::<Vec<_>>();
        let median = median_left(&standings);
        let reason = |member: &Member| {
            let median = median.filter(|_| member.writes());
            slow(&member.standing(), median).filter(|_| member.end.is_none())
        };
        self.members.values().map(reason).collect()
    }

    /// All, by name.
    pub(super) fn by_name(&self) -> Vec<&Member> {
        let mut members = self.members.values().collect::<Vec<_>>();
        members.sort_by(|a, b| (&a.row.node, &a.row.id).cmp(&(&b.row.node, &b.row.id)));
        members
    }

    /// All, those first that will need longest, those that have ended last.
    pub(super) fn slowest_first(&self) -> Vec<&Member> {
        let mut members = self.by_name();
        // In tens of seconds, or the screen would never be still.
        let order = |member: &Member| {
            let left = member.left().map_or(u64::MAX, |left| left / 10);
            (member.end.is_some(), member.stage, std::cmp::Reverse(left), member.percent())
        };
        members.sort_by_key(|member| order(member));
        members
    }

    /// Whether nothing of it goes on.
    pub(super) fn is_over(&self) -> bool {
        self.members.values().all(|member| member.end.is_some())
    }

    /// The first by name that did not come to a good end.
    pub(super) fn bad_end(&self) -> Option<&Member> {
        self.by_name()
            .into_iter()
            .find(|member| matches!(&member.end, Some((End::Failed(_) | End::Stuck, _))))
    }

    pub(super) fn whole(&self) -> Whole {
        let members = || self.members.values();
        let is_done = |member: &&Member| matches!(member.end, Some((End::Done, _)));
        let is_bad = |member: &&Member| matches!(member.end, Some((End::Failed(_) | End::Stuck, _)));
        let writing = || members().filter(|member| member.writes());
        Whole {
            jobs: self.members.len(),
            done: members().filter(is_done).count(),
            failed: members().filter(is_bad).count(),
            slow: members().filter(|member| member.slow.is_some()).count(),
            percent: mean_percent(members()),
            rate: writing().filter_map(Member::rate).fold(0, u64::saturating_add),
            left: writing().filter_map(Member::left).max(),
        }
    }
}

/// Percent of the work of these: a large image counts for more than a small one.
pub(super) fn mean_percent<'a>(members: impl Iterator<Item = &'a Member>) -> u64 {
    let (mut done, mut all) = (0_u128, 0_u128);
    for member in members {
        let weight = u128::from(member.row.total_bytes.max(1));
        all += weight;
        done += weight * u128::from(member.row.percent.min(100));
    }
    u64::try_from(done / all.max(1)).unwrap_or(100)
}
