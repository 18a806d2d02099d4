//! Brings up what of a document belongs together: tasks, units, the check, tasks. What needs nothing of each other comes up at the same
//! time: a service may take minutes to its first answer.

use std::collections::{BTreeSet, VecDeque};

use protocol::{ServiceHealth, ServiceWanted, TaskReport, TaskWanted};
use tokio::task::JoinSet;

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

/// What a check came to, and which stage it is of.
type Answered<'a> = (&'a ServiceWanted, &'a Stage<'a>, Result<(), String>);

/// Brings up all stages, one after the other, but for first answers: those are waited for while others begin. Of a service nothing is
/// begun before all is well that it needs, and its units are not started when a task that comes before them failed: they would only
/// find out the same, again and again. `false` when anything failed; what waits, waits for one that failed, or that nobody wants: going
/// through everything again soon is of no use for that.
pub(super) async fn bring_up<'a>(
    conductor: &Conductor,
    stages: &'a [Stage<'a>],
    reports: &mut Vec<TaskReport>,
) -> bool {
    let (well, asked, whole) = (BTreeSet::new(), Vec::new(), true);
    let mut rise = Rise { conductor, reports, well, asked, answers: JoinSet::new(), whole };
    let mut left = stages.iter().collect::<VecDeque<_>>();
    while !conductor.is_over() {
        if let Some(answered) = rise.answered() {
            // Before others begin: it may be waited for.
            rise.go_on(answered).await;
        } else if let Some(turn) = rise.turn(&left)
            && let Some(stage) = left.remove(turn)
        {
            rise.begin(stage).await;
        } else if let Some(answered) = rise.answer().await {
            rise.go_on(answered).await;
        } else {
            break;
        }
    }
    rise.whole
}

#[derive(Debug)]
struct Rise<'a, 'c> {
    conductor: &'c Conductor,
    reports: &'c mut Vec<TaskReport>,
    well: BTreeSet<&'a str>,
    /// Whose first answer is waited for.
    asked: Vec<(&'a ServiceWanted, &'a Stage<'a>)>,
    /// By name. Who asks ends with it.
    answers: JoinSet<(String, Result<(), String>)>,
    whole: bool,
}

impl<'a> Rise<'a, '_> {
    /// Which of those that are left is the first that waits for none that is on its way, or left before it; of the others it is told
    /// what they wait for.
    fn turn(&self, left: &VecDeque<&'a Stage<'a>>) -> Option<usize> {
        let mut open = self.asked.iter().map(|(service, _)| service.name.as_str()).collect::<BTreeSet<_>>();
        for (number, stage) in left.iter().enumerate() {
            let Some(service) = stage.service else { return Some(number) };
            match service.needs.iter().find(|needed| open.contains(needed.as_str())) {
                Some(needed) => self.news(service, &format!("{needed} to be well")),
                None => return Some(number),
            }
            open.insert(&service.name);
        }
        None
    }

    /// What was well, or was not, stays so while it is gone through once more.
    fn news(&self, service: &ServiceWanted, what: &str) {
        let ledger = &self.conductor.node.ledger;
        if matches!(ledger.health(&service.name), None | Some(ServiceHealth::Coming { .. })) {
            ledger.service(&service.name, ServiceHealth::Coming { what: what.to_owned() });
        }
    }

    async fn begin(&mut self, stage: &'a Stage<'a>) {
        let Some(service) = stage.service else {
            self.conductor.run_tasks(&stage.before, self.reports).await;
            self.whole &= self.conductor.start_units(&stage.units).await;
            return self.conductor.run_tasks(&stage.after, self.reports).await;
        };
        if let Err(trouble) = self.start(service, stage).await {
            return self.settle(service, Err(trouble));
        }
        let Some(check) = service.check.clone() else { return self.go_on((service, stage, Ok(()))).await };
        self.news(service, "its first answer");
        // One that was waited for in vain is only looked at: others have their turn, and this pass comes again.
        let health = self.conductor.node.ledger.health(&service.name);
        let is_ill = matches!(health, Some(ServiceHealth::Ill { .. }));
        let name = service.name.clone();
        self.asked.push((service, stage));
        self.answers.spawn(async move { (name, health::until_well(&check, is_ill).await) });
    }

    /// All that comes before the first answer.
    async fn start(&mut self, service: &ServiceWanted, stage: &Stage<'_>) -> Result<(), Trouble> {
        if let Some(needed) = service.needs.iter().find(|needed| !self.well.contains(needed.as_str())) {
            return Err(Trouble::Waits(format!("{needed} to be well")));
        }
        self.news(service, "its tasks");
        self.run_all(&stage.before).await?;
        self.news(service, "its units to be up");
        if !self.conductor.start_units(&stage.units).await {
            return Err(Trouble::Failed("not all of its units came up".to_owned()));
        }
        // Its check would be waited for in vain.
        match stage.units.iter().find(|unit| !unit.running) {
            Some(resting) => Err(Trouble::Rests(format!("{} shall not run", resting.name))),
            None => Ok(()),
        }
    }

    /// The next that answers, or is given up; none: none is asked, or this document is over.
    async fn answer(&mut self) -> Option<Answered<'a>> {
        let answer = self.conductor.unless_over(self.answers.join_next()).await??;
        self.whose(answer.ok()?)
    }

    /// One that has answered, or was given up, already.
    fn answered(&mut self) -> Option<Answered<'a>> {
        let answer = self.answers.try_join_next()?;
        self.whose(answer.ok()?)
    }

    fn whose(&mut self, (name, answer): (String, Result<(), String>)) -> Option<Answered<'a>> {
        let which = self.asked.iter().position(|(service, _)| service.name == name)?;
        let (service, stage) = self.asked.swap_remove(which);
        Some((service, stage, answer))
    }

    /// All that comes after the first answer.
    async fn go_on(&mut self, (service, stage, answer): Answered<'a>) {
        let came = match answer {
            Ok(()) => self.run_all(&stage.after).await,
            Err(why) => Err(Trouble::Failed(why)),
        };
        self.settle(service, came);
    }

    fn settle(&mut self, service: &'a ServiceWanted, came: Result<(), Trouble>) {
        if self.conductor.is_over() {
            return;
        }
        let ledger = &self.conductor.node.ledger;
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
        self.whole &= !matches!(came, Err(Trouble::Failed(_)));
        self.well.extend(came.is_ok().then_some(service.name.as_str()));
    }

    /// Runs tasks that all have to end well.
    async fn run_all(&mut self, tasks: &[&TaskWanted]) -> Result<(), Trouble> {
        let from = self.reports.len();
        self.conductor.run_tasks(tasks, self.reports).await;
        let ran = self.reports.get(from..).unwrap_or_default();
        match ran.iter().find(|report| has_failed(report)) {
            Some(report) => Err(Trouble::Failed(format!("task {} failed", report.name))),
            None => Ok(()),
        }
    }
}
