//! One world of the search: the fleet, the time, and what the operator has really said.

use std::collections::BTreeSet;
use std::rc::Rc;

use fleet::certificate::{Certificate, Stage};
use fleet::entropy::Entropy;
use fleet::job::Work;
use fleet::plan::{PlanId, PlanState};
use fleet::rollout::{Reached, Rollout, RolloutId, RolloutState, Verb};
use fleet::{Catalog, Denied, Effect, Event, Fleet, Node, Outcome, Reply, Site, State, Time, converge, step};
use protocol::{JobId, Token};

use crate::rack::Rack;

/// Cheap to copy as long as a path is short.
#[derive(Clone)]
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) now: Time,
    /// The plans that were applied by an operator on the way here, and nothing else: not what the fleet says of itself.
    pub(super) applied: BTreeSet<PlanId>,
    /// The last token that was shown.
    pub(super) token: Option<Token>,
    /// How it came here, for whoever reads that a law does not hold.
    pub(super) path: Vec<&'static str>,
    catalog: Rc<Catalog>,
    site: Rc<Site>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut rack = Rack::new();
        rack.import("control", &["control"]);
        let site = Rc::new(rack.site());
        let catalog = Rc::new(rack.catalog);
        Self {
            fleet: rack.fleet,
            now: rack.now,
            applied: BTreeSet::new(),
            token: None,
            path: Vec::new(),
            catalog,
            site,
        }
    }

    /// Every step of a server that keeps its disks, from the invitation to active.
    pub(super) fn adopting() -> Vec<World> {
        let steps: [(&str, &str); 6] = [
            ("invite", ""),
            ("asks to be adopted", "discovered"),
            ("approve", "enrolling"),
            ("asks to be adopted, proven", "enrolling"),
            ("enrols", "enrolling"),
            ("reports that it is up", "active"),
        ];
        let mut worlds = vec![World::new()];
        for (wanted, state) in steps {
            let here = worlds.last().expect("a world");
            let mut letters = super::alphabet::letters(here).into_iter();
            let (letter, event, later) = letters.find(|(letter, ..)| *letter == wanted).expect("a letter");
            let (next, _) = here.after(letter, event, later).expect("the next step");
            assert_eq!(next.node().map_or("", |node| node.state.word()), state);
            worlds.push(next);
        }
        worlds
    }

    /// What an event brings, so many seconds later, and the world after it. As the writer does: steps, saves, issues, settles
    /// documents.
    pub(super) fn after(
        &self,
        letter: &'static str,
        event: Event,
        seconds: u64,
    ) -> Result<(World, Outcome), Denied> {
        let applies = match &event {
            Event::Apply { plan, .. } => vec![plan.clone()],
            // Whoever lets it go on applies all its plans.
            Event::Rollout { rollout, verb: Verb::Begin | Verb::Resume } => self.plans_of(rollout),
            _ => Vec::new(),
        };
        // And whoever stops it takes back those whose turn has not come.
        let takes_back = match &event {
            Event::Rollout { rollout, verb: Verb::Stop | Verb::Cancel } => {
                let is_open =
                    |plan: &PlanId| self.plans().any(|(id, state)| id == plan && *state == PlanState::Open);
                self.plans_of(rollout).into_iter().filter(is_open).collect()
            }
            _ => Vec::new(),
        };
        let turn = u8::try_from(self.path.len()).expect("a short path");
        let now = self.now.plus_seconds(seconds.max(1));
        let outcome = step(&self.fleet, &self.catalog, event, now, &mut Entropy::new(&[turn; 32]))?;
        let mut next = self.clone();
        next.now = now;
        next.path.push(letter);
        next.applied.extend(applies);
        next.applied.retain(|plan| !takes_back.contains(plan));
        next.take_in(&outcome);
        Ok((next, outcome))
    }

    /// The same in this world.
    pub(super) fn bring(&mut self, letter: &'static str, event: Event) -> Result<(), Denied> {
        *self = self.after(letter, event, 1)?.0;
        Ok(())
    }

    fn take_in(&mut self, outcome: &Outcome) {
        if let Reply::Invited(invited) = &outcome.reply {
            self.token = Some(invited.token);
        }
        outcome.changes.iter().for_each(|change| self.fleet.put(change.clone()));
        for effect in &outcome.effects {
            let Effect::Issue(grant) = effect;
            let fingerprint = format!("{}-{}-{}-{}", grant.node, grant.stage, grant.generation, self.now.0);
            let (node, key, stage) = (grant.node, grant.key, grant.stage);
            let (generation, until, number) = (grant.generation, grant.until, grant.number);
            let row = Certificate {
                fingerprint: fingerprint.clone(),
                node,
                key,
                stage,
                generation,
                until,
                number,
                ca: None,
            };
            self.fleet.certificates.insert(fingerprint, row);
        }
        if !outcome.changes.is_empty() {
            let (changes, _) = converge::settle(&self.fleet, &self.site, &self.catalog);
            changes.into_iter().for_each(|change| self.fleet.put(change));
        }
    }

    /// The server that the search is about: the first that was seen.
    pub(super) fn node(&self) -> Option<&Node> {
        self.fleet.nodes.values().min_by_key(|node| node.discovered)
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.fleet.nodes.values().map(|node| node.state.word())
    }

    fn plans_of(&self, rollout: &RolloutId) -> Vec<PlanId> {
        let steps = self.fleet.rollouts.get(rollout).map(|rollout| rollout.steps.iter());
        steps.into_iter().flatten().map(|step| step.plan.clone()).collect()
    }

    /// The newest rollout that is not over.
    pub(super) fn rollout(&self) -> Option<&Rollout> {
        let is_over =
            |state: &RolloutState| matches!(state, RolloutState::Done | RolloutState::Withdrawn { .. });
        let rollouts = self.fleet.rollouts.values().filter(|rollout| !is_over(&rollout.state));
        rollouts.max_by_key(|rollout| rollout.made)
    }

    /// The newest deploy certificate.
    pub(super) fn deploy_certificate(&self) -> String {
        let deploy = self.fleet.certificates.values().filter(|row| row.stage == Stage::Deploy);
        deploy.max_by_key(|row| row.until).map(|row| row.fingerprint.clone()).unwrap_or_default()
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = (&PlanId, &PlanState)> {
        let plans = self.fleet.plans.values().map(|plan| (&plan.id, &plan.state));
        plans.chain(self.fleet.retirements.values().map(|row| (&row.plan, &row.verdict)))
    }

    /// What it looks like, without anything that only grows: two worlds of one look are taken to go on alike.
    pub(super) fn sketch(&self) -> String {
        let open = self.plans().filter(|(_, state)| **state == PlanState::Open).count();
        let erases = self.fleet.retirements.values().filter(|row| row.verdict == PlanState::Open).count();
        let nodes = self.fleet.nodes.values().map(|node| self.sketch_of(node)).collect::<Vec<_>>();
        let images = self.fleet.images.len().min(1);
        // One that has nothing left to begin brings nothing about any more.
        let waits = |rollout: &&Rollout| rollout.reached(&self.fleet).any(|(_, one)| one == Reached::Waiting);
        let rollout = self.rollout().filter(waits).map(|rollout| rollout.state.word());
        format!("open={open}/{erases} images={images} rollout={rollout:?} {nodes:?}")
    }

    fn sketch_of(&self, node: &Node) -> String {
        let verbs = if let State::Attention { verbs, .. } = &node.state {
            verbs.iter().filter_map(|verb| verb.split(' ').next()).collect::<Vec<_>>()
        } else {
            Vec::new()
        };
        let keeps = node.adopted.is_some()
            || node
                .claim
                .as_ref()
                .is_some_and(|claim| claim.adoption.is_some() && node.state == State::Discovered);
        let claim = node.claim.as_ref().map(|claim| claim.clash.is_some());
        // What it comes back to counts, not which job that once was.
        let of_back = |back: &State| format!("{}:{}", back.phase(), back.job().is_some());
        let in_hand = match &node.state {
            State::Rescue { rescue } => {
                let at = if rescue.entered.is_some() {
                    "entered"
                } else if rescue.asked.is_some() {
                    "asked"
                } else {
                    "out"
                };
                format!("{} {at}", of_back(&rescue.back))
            }
            State::Servicing { back, .. } => of_back(back),
            _ => String::new(),
        };
        let redeploys = node.orders.iter().any(|order| order.kind.redeploys());
        // Of one that is in its operator's hands the rest says the same.
        let redeploys = redeploys && in_hand.is_empty();
        let claim = claim.filter(|clash| *clash || in_hand.is_empty());
        let ticket = node.deploy.map(|deploy| deploy.ticket).filter(|ticket| *ticket || in_hand.is_empty());
        format!(
            "{}/{} {in_hand}{} {verbs:?} held={} claim={claim:?} deploy={:?} run={} installed={} keeps={keeps} redeploys={redeploys} reported={}",
            node.state.word(),
            node.state.phase(),
            node.state.job().map(|job| self.sketch_of_work(job)).unwrap_or_default(),
            node.hold.is_some(),
            ticket,
            node.run.is_some(),
            node.installed.is_some(),
            in_hand.is_empty() && node.reported.is_some_and(|reported| reported > node.since),
        )
    }

    fn sketch_of_work(&self, job: JobId) -> String {
        match Work::of(&self.fleet, job) {
            None => "gone".to_owned(),
            Some(Work::Image(job)) => {
                let told = job.progress.is_some();
                let newest = job.taken_with.as_ref() == Some(&self.deploy_certificate());
                format!("image:{}:{}:{told}:{newest}", job.state.word(), job.takes.min(1))
            }
            Some(Work::Retirement(row)) => {
                let proven = row.disks.iter().filter(|disk| disk.proof.is_some()).count();
                format!("erase:{}:{}:{proven}", row.state.word(), row.takes.min(1))
            }
            Some(Work::BurnIn(row)) => {
                let (state, told) = (row.state.word(), row.report.is_some());
                let node = self.fleet.nodes.get(&row.node);
                let booted = node.and_then(|node| node.booted.as_ref());
                let here = booted.map(|booted| &booted.id) == row.boot.as_ref();
                format!("test:{state}:{}:{told}:{here}", row.takes.min(1))
            }
            Some(Work::Capture(capture)) => {
                let (state, image) = (capture.state.word(), capture.image.is_some());
                format!("capture:{state}:{}:{image}:{}", capture.runs, capture.takes.min(1))
            }
        }
    }
}
