//! How much may be destroyed in an hour: a mistake, or somebody with a stolen session, stops there.

use crate::plan::PlanKind;
use crate::{Denied, Fleet, Time};

const HOUR: u64 = 3600;

/// The site's limits; not kept over a restart, because the configuration has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many nodes that were installed already may be written anew or erased within an hour; none: any number.
    pub rebuilds_an_hour: Option<u32>,
}

impl Limits {
    /// What a controller has whose configuration says nothing: more than anybody repairs in an hour.
    pub const USUAL: u32 = 20;
    /// No limit.
    pub const NONE: Limits = Limits { rebuilds_an_hour: None };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::NONE
    }
}

/// Refuses to end one more installed system than the limit allows, by a rebuild or by erasing. What counts are the jobs that are
/// kept, so a restart forgets nothing. What has no system yet does not count: a rack of new servers is no accident.
pub(crate) fn refuse_more(fleet: &Fleet, is_installed: bool, now: Time) -> Result<(), Denied> {
    let Some(most) = fleet.limits.rebuilds_an_hour.filter(|_| is_installed) else {
        return Ok(());
    };
    let is_recent = |at: &Time| now.seconds_since(*at) < HOUR;
    let rebuild = |plan| fleet.plans.get(plan).is_some_and(|plan| plan.kind == PlanKind::Rebuild);
    let rebuilt = fleet.jobs.values().filter(|job| rebuild(&job.plan)).map(|job| job.created);
    let mut recent = rebuilt.filter(is_recent).collect::<Vec<_>>();
    let erased = fleet.retirements.values().filter(|row| row.was_installed).filter_map(|row| row.applied);
    let before = recent.len();
    recent.extend(erased.filter(is_recent));
    let what = if recent.len() > before { "rebuilt or retired" } else { "rebuilt" };
    recent.sort();
    let counted = recent.len();
    if counted < most as usize {
        return Ok(());
    }
    let again = recent.get(counted - most as usize).map(|at| at.plus_seconds(HOUR));
    let again = again.map(|at| format!("the next may begin at {at}; ")).unwrap_or_default();
    Err(Denied::Conflict(format!(
        "{counted} nodes were {what} within the last hour, and {most} are the most: {again}when this is meant, raise \
         rebuilds_per_hour under [limits] in rackwright.toml and restart the controller"
    )))
}
