//! How much may be destroyed in an hour: a mistake, or somebody with a stolen session, stops there.

use crate::plan::PlanKind;
use crate::{Denied, Fleet, Time};

const HOUR: u64 = 3600;

/// The site's limits; not kept over a restart, because the configuration has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many nodes that were installed already may be written anew within an hour; none: any number.
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

/// Refuses a rebuild beyond the limit. What counts are the jobs that are kept, so a restart forgets nothing. A first
/// installation does not count: a rack of new servers is no accident.
pub(crate) fn refuse_more(fleet: &Fleet, kind: PlanKind, now: Time) -> Result<(), Denied> {
    let Some(most) = fleet.limits.rebuilds_an_hour.filter(|_| kind == PlanKind::Rebuild) else {
        return Ok(());
    };
    let rebuild = |plan| fleet.plans.get(plan).is_some_and(|plan| plan.kind == PlanKind::Rebuild);
    let recent =
        fleet.jobs.values().filter(|job| now.seconds_since(job.created) < HOUR && rebuild(&job.plan));
    let mut recent = recent.map(|job| job.created).collect::<Vec<_>>();
    recent.sort();
    let counted = recent.len();
    if counted < most as usize {
        return Ok(());
    }
    let again = recent.get(counted - most as usize).map(|at| at.plus_seconds(HOUR));
    let again = again.map(|at| format!("the next may begin at {at}; ")).unwrap_or_default();
    Err(Denied::Conflict(format!(
        "{counted} nodes were rebuilt within the last hour, and {most} are the most: {again}when this is meant, raise \
         rebuilds_per_hour under [limits] in rackwright.toml and restart the controller"
    )))
}
