//! Reading: nothing here changes anything.

use std::time::Duration;

use fleet::job::{JobState, Work};
use fleet::plan::PlanId;
use fleet::view::{self, ListenerRow, Status, Why};
use fleet::{Denied, Node, State};

use super::{Answer, Api, ApiError, Query, network, one, rows};
use crate::cast::Lane;
use crate::listen::ListenerReport;
use crate::writer::{World, now};

/// Lines of the log behind `node why`.
const WHY_LINES: u32 = 40;

impl Api {
    pub(super) async fn look(&self, path: &[&str], query: &Query) -> Option<Answer> {
        let world = self.core.world();
        Some(match path {
            ["v1", "status"] => self.status(&world).await,
            ["v1", "nodes"] => rows(self.nodes(&world)),
            ["v1", "nodes", name] => self.show_node(&world, name),
            ["v1", "nodes", name, "why"] => self.why(&world, name).await,
            ["v1", "nodes", name, "power"] => self.power(&world, name),
            ["v1", "nodes", name, "tests"] => self.tests(&world, name),
            ["v1", "plans"] => {
                let plans = world.fleet.plans.values().map(|plan| view::plan_view(&world.fleet, plan));
                let retirements = world.fleet.retirements.values();
                let plans = plans.chain(retirements.map(|row| view::retirement_view(&world.fleet, row)));
                let wanted = query.text("state");
                rows(plans.filter(|plan| wanted.is_none_or(|state| plan.state == state)).collect())
            }
            ["v1", "plans", id] => plan(&world, PlanId((*id).to_owned())),
            ["v1", "capacity"] => rows(view::capacity_rows(&world.fleet)),
            ["v1", "invitations"] => rows(view::invitation_rows(&world.fleet, now())),
            ["v1", "ca"] => self.site_ca(&world),
            ["v1", "cloud"] => self.cloud(&world),
            ["v1", "cloud", "upgrade"] => self.upgrade(&world),
            ["v1", "cloud", "passwords"] => self.passwords(&world),
            ["v1", "cloud", "guest"] => self.cloud_guest(query).await,
            ["v1", "rollouts"] => self.rollouts(&world),
            ["v1", "rollouts", id] => self.rollout(&world, id),
            ["v1", "erasures"] => rows(view::erasure_rows(&world.fleet, query.text("of"))),
            ["v1", "jobs"] => rows(self.jobs(&world, |_| true)),
            ["v1", "jobs", id] => {
                let job = world.fleet.find_job(id).map_err(ApiError::from);
                job.and_then(|job| one(self.job_row(&world, job)))
            }
            ["v1", "images"] => self.images(&world),
            ["v1", "images", name] => self.image(&world, name),
            ["v1", "images", from, "diff", to] => self.diff(&world, from, to),
            ["v1", "store", "scrub"] => self.scrub(&world),
            ["v1", "networks"] => rows(view::network_rows(&world.fleet)),
            ["v1", "network", "check"] => self.preflight(&world),
            ["v1", "network", "map"] => self.network_map(&world),
            ["v1", "network", "leases"] => rows(view::lease_rows(&world.fleet, &world.leases, now())),
            ["v1", "network", "trace"] => self.traces(&world),
            ["v1", "network", "trace", mac] => self.trace(&world, mac),
            ["v1", "metrics"] => rows(self.metrics.gather()),
            ["v1", "support"] => self.support(&world).await,
            ["v1", "doctor"] => self.doctor(&world).await,
            ["v1", "services"] => self.services(&world, query.text("node")).await,
            ["v1", "services", node, unit, "logs"] => self.logs(node, unit, query.number("lines", 50)).await,
            ["v1", "backup", "key"] => self.kit(),
            ["v1", "journal"] => self.journal(query).await,
            ["v1", "journal", "check"] => self.journal_check().await,
            ["v1", "journal", "head"] => self.journal_head().await,
            ["v1", "events"] => self.events(query).await,
            ["v1", "network", "reservations"] => rows(network::reservations(&world)),
            ["v1", "ansible", "inventory"] => self.inventory(&world),
            _ => return None,
        })
    }

    fn nodes(&self, world: &World) -> Vec<view::NodeRow> {
        let mut rows = world.fleet.nodes.values().map(|node| row(world, node)).collect::<Vec<_>>();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn show_node(&self, world: &World, name: &str) -> Answer {
        let node = world.fleet.find(name, &world.site.ca)?;
        let view = view::node_view(&world.fleet, &world.site, node, now());
        let mac = node.boot.mac.as_str().parse::<pxe::Mac>().ok();
        let loader = mac.and_then(|mac| world.history.loader(mac)).map(|loader| loader.text().to_owned());
        one(view::NodeView { row: row(world, node), loader, ..view })
    }

    /// Every test of a node, newest first.
    fn tests(&self, world: &World, name: &str) -> Answer {
        rows(view::test_views(&world.fleet, world.fleet.find(name, &world.site.ca)?))
    }

    async fn status(&self, world: &World) -> Answer {
        let nodes = self.nodes(world);
        let troubled = nodes.iter().any(|n| ["attention", "degraded", "silent"].contains(&n.health.as_str()));
        let listeners = self.listeners.iter().map(|l| listener(&l.report())).collect::<Vec<_>>();
        let deaf = self.listeners.iter().any(|listener| listener.report().waiting.is_some());
        let storage = self.core.space.row();
        let jobs = self.jobs(world, |job| !job.state().ended());
        let store = self.store_row(world);
        let copy = self.copies.as_ref().map(|copies| copies.row());
        let uncopied = copy.as_ref().is_some_and(|copy| copy.problem.is_some());
        let clock = fleet::clock::problem(&world.fleet);
        let broken = clock.is_some() || storage.problem.is_some() || !store.problems.is_empty() || uncopied;
        let health = match (troubled || deaf || broken, jobs.is_empty()) {
            (true, _) => "attention",
            (false, false) => "busy",
            (false, true) => "ok",
        };
        let events = self.lines(0, 5, None).await?;
        // Nothing else can be done while nothing can be saved.
        let full = storage.problem.as_ref().map(|_| self.core.space.next_step());
        one(Status {
            site: world.site.name.clone(),
            health: health.to_owned(),
            time: now().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            storage: Some(storage),
            clock,
            images: Some(store),
            copy,
            listeners,
            nodes,
            jobs,
            events,
            next: full.or_else(|| view::next_step(&world.fleet)),
        })
    }

    fn jobs(&self, world: &World, wanted: impl Fn(&Work<'_>) -> bool) -> Vec<view::JobRow> {
        let mut jobs = Work::all(&world.fleet).filter(wanted).collect::<Vec<_>>();
        jobs.sort_by_key(|job| job.created());
        jobs.into_iter().map(|job| self.job_row(world, job)).collect()
    }

    /// A job, and how its image comes: that is known to nobody but who sends it.
    fn job_row(&self, world: &World, work: Work<'_>) -> view::JobRow {
        let row = view::job_row(&world.fleet, work);
        if *work.state() != JobState::Running {
            return row;
        }
        let (node, image) = match work {
            Work::Image(job) => (job.node, world.fleet.images.get(&job.image)),
            Work::Capture(capture) => (capture.node, None),
            Work::Retirement(row) => (row.node, None),
            Work::BurnIn(row) => (row.node, None),
        };
        let heard = world.fleet.nodes.get(&node).map(|node| now().seconds_since(node.heard));
        let lane = self.casts.lane(node).filter(|lane| lane.job == work.id());
        let asked = lane.as_ref().map(|lane| lane.asked.elapsed().as_secs());
        let lane = lane
            .zip(image)
            .map(|(lane, image)| view::LaneRow { image_bytes: image.stored_bytes, ..lane_row(lane) });
        view::JobRow { lane, silent_seconds: heard.into_iter().chain(asked).min(), ..row }
    }

    async fn why(&self, world: &World, name: &str) -> Answer {
        let node = world.fleet.find(name, &world.site.ca)?;
        let wait = fleet::patience::wait(&world.fleet, node);
        let facts = self.lines(0, WHY_LINES, Some(node)).await?;
        let boot = self.boot_of(world, node);
        let node = row(world, node);
        one(Why {
            waiting: node.waiting.clone(),
            node,
            until: wait.and_then(|wait| wait.until).map(|at| at.to_string()),
            facts,
            boot,
        })
    }

    async fn events(&self, query: &Query) -> Answer {
        let after = query.number("after", 0);
        let limit = u32::try_from(query.number("limit", 100)).unwrap_or(u32::MAX).min(10_000);
        let patience = Duration::from_secs(query.number("wait", 0).min(60));
        if !patience.is_zero() {
            let mut watch = self.core.watch();
            let news = watch.wait_for(|world| world.seq > after);
            drop(tokio::time::timeout(patience, news).await);
        }
        let world = self.core.world();
        let node = query.text("node").map(|name| world.fleet.find(name, &world.site.ca)).transpose()?;
        rows(self.lines(after, limit, node).await?)
    }

    async fn lines(
        &self,
        after: u64,
        limit: u32,
        node: Option<&Node>,
    ) -> Result<Vec<view::EventRow>, ApiError> {
        let log = self.core.log.clone();
        let about = node.map(|node| (node.id, node.macs().map(ToString::to_string).collect()));
        let read = tokio::task::spawn_blocking(move || log.lines(after, limit, about)).await;
        let lines = read.map_err(|error| ApiError::Broken(error.to_string()))?;
        let lines = lines.map_err(|error| ApiError::Broken(crate::chain(&error)))?;
        let world = self.core.world();
        Ok(lines.iter().map(|line| view::event_row(&world.fleet, line)).collect())
    }

    fn inventory(&self, world: &World) -> Answer {
        let active = |node: &&Node| matches!(node.state, State::Active);
        let hosts = world.fleet.nodes.values().filter(active).map(|node| {
            let row = view::node_row(&world.fleet, &world.site, node, now());
            let facts = [("hardware".to_owned(), row.hardware.into()), ("id".to_owned(), row.id.into())];
            ansible_compat::Host::new(&row.name, row.address.into(), row.roles, facts.into())
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>();
        let hosts = hosts.map_err(|error| ApiError::Broken(error.to_string()))?;
        let text = ansible_compat::inventory(&hosts);
        Ok(hyper::Response::new(http_body_util::Full::new(text.into())))
    }
}

/// A plan, also one that erases.
fn plan(world: &World, id: PlanId) -> Answer {
    let fleet = &world.fleet;
    let plan = fleet.plans.get(&id).map(|plan| view::plan_view(fleet, plan));
    let retirement = || fleet::retire::of_plan(fleet, &id).map(|row| view::retirement_view(fleet, row));
    plan.or_else(retirement).ok_or_else(|| missing("plan", &id.0)).and_then(one)
}

/// A node as people see it: what keeps its document from being made comes first, because all else waits for that.
pub(super) fn row(world: &World, node: &Node) -> view::NodeRow {
    let mut row = view::node_row(&world.fleet, &world.site, node, now());
    let unsettled = world.unsettled.get(&node.id).map(|why| format!("what its roles need: {why}"));
    let address = node.macs().find_map(|mac| {
        let lease = world.leases.get(mac.as_str().parse().ok()?)?;
        let (next, now) = (lease.ip, lease.leaving?);
        Some(format!("its next DHCP request, as after a restart, to have {next} instead of {now}"))
    });
    let reasons = unsettled.into_iter().chain(row.waiting).chain(address).collect::<Vec<_>>();
    row.waiting = (!reasons.is_empty()).then(|| reasons.join("; and for "));
    row
}

/// By a node's own word, and what its sender knows if it has one.
fn lane_row(lane: Lane) -> view::LaneRow {
    let Lane { by, why, hearing, listener, had_bytes, .. } = lane;
    view::LaneRow {
        lane: by.word().to_owned(),
        multicast_bytes: hearing.bytes,
        lost_ppm: listener.map(|listener| listener.loss_ppm),
        why,
        had_bytes,
        peer_bytes: hearing.peer_bytes,
        image_bytes: 0,
    }
}

fn listener(report: &ListenerReport) -> ListenerRow {
    let last = report.last.as_ref().map(|trouble| trouble.what.clone());
    ListenerRow {
        name: report.kind.clone(),
        address: report.bound.map_or_else(|| format!("not on {}", report.interface), |at| at.to_string()),
        answered: report.answered,
        problem: report.waiting.clone().or(last),
    }
}

pub(super) fn missing(kind: &'static str, name: &str) -> ApiError {
    Denied::Missing { kind, name: name.to_owned() }.into()
}
