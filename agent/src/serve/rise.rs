//! Brings up what of a document belongs together: tasks, units, the check, tasks.

use std::collections::BTreeSet;

use protocol::{ServiceHealth, ServiceWanted, TaskReport, TaskWanted};

use super::conductor::{Conductor, has_failed};
use super::health;
use super::stage::Stage;

/// Why a service is not well.
#[derive(Debug)]
enum Trouble {
    /// It is not its turn yet.
    Waits(String),
    /// It was tried.
    Failed(String),
    /// The operator's wish.
    Rests(String),
}

/// Brings up what belongs together. Of a service, nothing is begun before all is well that it needs, and its units are not started
/// when a task that comes before them failed: they would only find out the same, again and again.
pub(super) async fn bring_up<'a>(
    conductor: &Conductor,
    stage: &Stage<'a>,
    well: &mut BTreeSet<&'a str>,
    reports: &mut Vec<TaskReport>,
) -> bool {
    let Some(service) = stage.service else {
        conductor.run_tasks(&stage.before, reports).await;
        let up = conductor.start_units(&stage.units).await;
        conductor.run_tasks(&stage.after, reports).await;
        return up;
    };
    let came = bring_up_service(conductor, service, stage, well, reports).await;
    if conductor.is_over() {
        return false;
    }
    let ledger = &conductor.node.ledger;
    match &came {
        Ok(()) => ledger.service(&service.name, ServiceHealth::Well),
        Err(Trouble::Failed(why) | Trouble::Rests(why)) => {
            ledger.service(&service.name, ServiceHealth::Ill { why: why.clone() })
        }
        // It is up, whatever it needs is not at the moment.
        Err(Trouble::Waits(_)) if ledger.health(&service.name) == Some(ServiceHealth::Well) => {}
        Err(Trouble::Waits(what)) => {
            ledger.service(&service.name, ServiceHealth::Coming { what: what.clone() });
        }
    }
    well.extend(came.is_ok().then_some(service.name.as_str()));
    // What waits, waits for one that failed, or that nobody wants: going through everything again soon is of no use for that.
    !matches!(came, Err(Trouble::Failed(_)))
}

async fn bring_up_service<'a>(
    conductor: &Conductor,
    service: &'a ServiceWanted,
    stage: &Stage<'a>,
    well: &BTreeSet<&'a str>,
    reports: &mut Vec<TaskReport>,
) -> Result<(), Trouble> {
    if let Some(needed) = service.needs.iter().find(|needed| !well.contains(needed.as_str())) {
        return Err(Trouble::Waits(format!("{needed} to be well")));
    }
    // What was well, or was not, stays so while it is gone through once more.
    let news = |what: &str| {
        if matches!(conductor.node.ledger.health(&service.name), None | Some(ServiceHealth::Coming { .. })) {
            conductor.node.ledger.service(&service.name, ServiceHealth::Coming { what: what.to_owned() });
        }
    };
    news("its tasks");
    run_all(conductor, &stage.before, reports).await?;
    news("its units to be up");
    if !conductor.start_units(&stage.units).await {
        return Err(Trouble::Failed("not all of its units came up".to_owned()));
    }
    // Its check would be waited for in vain.
    if let Some(resting) = stage.units.iter().find(|unit| !unit.running) {
        return Err(Trouble::Rests(format!("{} shall not run", resting.name)));
    }
    news("its first answer");
    if let Some(check) = &service.check {
        let over = Trouble::Waits("its first answer".to_owned());
        // One that was waited for in vain is only looked at: others have their turn, and this pass comes again.
        let is_ill = matches!(conductor.node.ledger.health(&service.name), Some(ServiceHealth::Ill { .. }));
        conductor
            .unless_over(health::until_well(check, is_ill))
            .await
            .ok_or(over)?
            .map_err(Trouble::Failed)?;
    }
    run_all(conductor, &stage.after, reports).await
}

/// Runs tasks that all have to end well.
async fn run_all(
    conductor: &Conductor,
    tasks: &[&TaskWanted],
    reports: &mut Vec<TaskReport>,
) -> Result<(), Trouble> {
    let from = reports.len();
    conductor.run_tasks(tasks, reports).await;
    let ran = reports.get(from..).unwrap_or_default();
    match ran.iter().find(|report| has_failed(report)) {
        Some(report) => Err(Trouble::Failed(format!("task {} failed", report.name))),
        None => Ok(()),
    }
}
