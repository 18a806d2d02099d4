//! The verbs. Knows how a request becomes a job and a job an outcome; refuses to guess: what systemd did not say is
//! an error, and the state after a verb is always one that was read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use systemd_zbus::Mode;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use zbus::Address;
use zbus::zvariant::OwnedObjectPath;

use crate::hub::{Inbox, JobEnd};
use crate::link::Link;
use crate::read::{self, Reading};
use crate::{Change, JobOutcome, Listed, UnitError, UnitKind, UnitName, UnitState, Watch};

/// How long a service must stay up before its start counts.
const SETTLING: Duration = Duration::from_millis(500);

/// systemd of this machine. Cheap to clone; all clones share one connection, which is opened again by the first
/// call after it was lost. Every future may be dropped at any time: what was asked of systemd goes on.
#[derive(Clone)]
pub struct Systemd {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    settling: Duration,
    slot: Mutex<Option<Arc<Link>>>,
}

impl fmt::Debug for Systemd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Systemd").field("settling", &self.shared.settling).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Verb {
    fn doing(self, unit: &UnitName) -> String {
        match self {
            Verb::Start => format!("starting {unit}"),
            Verb::Stop => format!("stopping {unit}"),
            Verb::Restart => format!("restarting {unit}"),
            Verb::Reload => format!("reloading {unit}"),
        }
    }

    fn is_already(self, before: &Reading) -> bool {
        let active = &before.state.active;
        match self {
            // A queued job is about to change what was read: only systemd can order the two.
            Verb::Start => active.is_up() && !before.job,
            Verb::Stop => active.is_down() && !before.job,
            Verb::Restart | Verb::Reload => false,
        }
    }
}

impl Systemd {
    /// Connects to systemd over the system bus. Fails at once when there is none, so that the caller learns it at
    /// its own start; a connection lost later is opened again by the next call.
    pub async fn connect() -> Result<Systemd, UnitError> {
        let address = Address::system().map_err(|e| UnitError::lost("connecting to systemd", e))?;
        Self::open(address).await
    }

    /// Like [`Systemd::connect`], over the bus at `address` (e.g. `unix:path=/run/dbus/system_bus_socket`).
    pub async fn connect_to(address: &str) -> Result<Systemd, UnitError> {
        let address = address.parse::<Address>().map_err(|e| UnitError::lost("connecting to systemd", e))?;
        Self::open(address).await
    }

    async fn open(address: Address) -> Result<Systemd, UnitError> {
        let shared = Shared { address, settling: SETTLING, slot: Mutex::new(None) };
        let systemd = Systemd { shared: Arc::new(shared) };
        systemd.link("connecting to systemd").await?;
        Ok(systemd)
    }

    /// The same systemd with another settling time (default 500 ms): how long a service must stay up after its
    /// start before the start is reported as made. Zero for tests.
    #[must_use]
    pub fn with_settling(&self, settling: Duration) -> Systemd {
        let shared = Shared { address: self.shared.address.clone(), settling, slot: Mutex::new(None) };
        Systemd { shared: Arc::new(shared) }
    }

    /// Starts the unit and waits until systemd has done so *and* the unit has stayed up for the settling time.
    ///
    /// A service of `Type=oneshot` may also have ended with success. Anything else is an error: [`UnitError::Job`]
    /// when systemd says so itself, [`UnitError::NotUp`] when it reports success for a unit that is not up
    /// (init scripts that exit 0, conditions that do not hold). Up does not mean ready to serve: ask the service.
    pub async fn start(&self, unit: &UnitName) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Start, unit, || ()).await
    }

    /// Like [`Systemd::start`]; `begun` is called as soon as systemd has taken the start on, which may be long before
    /// its end: whoever starts several units in an order starts the next one then. Dropped where there is nothing to
    /// begin, or systemd does not take it on.
    pub async fn start_then(
        &self,
        unit: &UnitName,
        begun: impl FnOnce() + Send,
    ) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Start, unit, begun).await
    }

    /// Stops the unit and waits for its end.
    pub async fn stop(&self, unit: &UnitName) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Stop, unit, || ()).await
    }

    /// Stops the unit if it is up, then starts it; judged like [`Systemd::start`]. Never `Already`.
    pub async fn restart(&self, unit: &UnitName) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Restart, unit, || ()).await
    }

    /// [`Systemd::restart`] that says when it has begun, as [`Systemd::start_then`] does.
    pub async fn restart_then(
        &self,
        unit: &UnitName,
        begun: impl FnOnce() + Send,
    ) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Restart, unit, begun).await
    }

    /// Asks the unit to read its own configuration again (`ExecReload=`). Never `Already`. A unit that is not up or
    /// can't reload gives an error.
    pub async fn reload(&self, unit: &UnitName) -> Result<Change<UnitState>, UnitError> {
        self.carry_out(Verb::Reload, unit, || ()).await
    }

    /// Forgets that the unit failed, and how often it was started: the way out of `start-limit-hit`.
    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), UnitError> {
        let doing = format!("clearing the failure of {unit}");
        let link = self.link(&doing).await?;
        link.manager.reset_failed_unit(unit.as_str()).await.map_err(|e| UnitError::from_wire(&doing, e))
    }

    /// The unit as it is now. A unit that does not exist has a state: see [`UnitState::exists`].
    pub async fn state(&self, unit: &UnitName) -> Result<UnitState, UnitError> {
        let doing = format!("reading the state of {unit}");
        let link = self.link(&doing).await?;
        Ok(read::load(&link, unit, &doing).await?.state)
    }

    /// Units in systemd's memory whose names match any of the glob patterns; all of them when there is no pattern.
    pub async fn list(&self, patterns: &[&str]) -> Result<Vec<Listed>, UnitError> {
        let doing = "listing units";
        let link = self.link(doing).await?;
        read::list(&link, patterns, doing).await
    }

    /// Watches units, whether they exist yet or not; see [`Watch`].
    pub fn watch(&self, units: impl IntoIterator<Item = UnitName>) -> Watch {
        Watch::new(self.clone(), units.into_iter().collect())
    }

    /// The open connection, opened now if need be.
    pub(crate) async fn link(&self, doing: &str) -> Result<Arc<Link>, UnitError> {
        let mut slot = self.shared.slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_up()) {
            return Ok(Arc::clone(link));
        }
        *slot = None;
        let link = Link::open(&self.shared.address, doing).await?;
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn carry_out(
        &self,
        verb: Verb,
        unit: &UnitName,
        begun: impl FnOnce() + Send,
    ) -> Result<Change<UnitState>, UnitError> {
        let doing = verb.doing(unit);
        let link = self.link(&doing).await?;
        let before = read::load(&link, unit, &doing).await?;
        if verb.is_already(&before) {
            return Ok(Change::Already(before.state));
        }
        let held = Held::new(&link, unit).await;
        let verdict = self.judged(&link, verb, unit, doing, begun).await;
        held.release().await;
        verdict
    }

    async fn judged(
        &self,
        link: &Link,
        verb: Verb,
        unit: &UnitName,
        doing: String,
        begun: impl FnOnce() + Send,
    ) -> Result<Change<UnitState>, UnitError> {
        let outcome = self.run_job(link, verb, unit, &doing, begun).await?;
        let after = match verb {
            Verb::Start | Verb::Restart if outcome == JobOutcome::Done => {
                self.settled(link, unit, &doing).await?
            }
            Verb::Start | Verb::Restart | Verb::Stop | Verb::Reload => read::load(link, unit, &doing).await?,
        };
        if outcome != JobOutcome::Done {
            return Err(UnitError::Job { doing, outcome, state: Box::new(after.state) });
        }
        if matches!(verb, Verb::Start | Verb::Restart) && !stands(link, unit, &after, &doing).await? {
            return Err(UnitError::NotUp { doing, state: Box::new(after.state) });
        }
        Ok(Change::Made(after.state))
    }

    async fn run_job(
        &self,
        link: &Link,
        verb: Verb,
        unit: &UnitName,
        doing: &str,
        begun: impl FnOnce() + Send,
    ) -> Result<JobOutcome, UnitError> {
        // Before the request: systemd may announce the end of the job ahead of its reply.
        let mut ends = link.hub.jobs();
        let (name, mode) = (unit.as_str(), Mode::Replace);
        let job = match verb {
            Verb::Start => link.manager.start_unit(name, mode).await,
            Verb::Stop => link.manager.stop_unit(name, mode).await,
            Verb::Restart => link.manager.restart_unit(name, mode).await,
            Verb::Reload => link.manager.reload_unit(name, mode).await,
        };
        let job = job.map_err(|e| UnitError::from_wire(doing, e))?;
        begun();
        wait(&job, &mut ends, doing).await
    }

    /// The unit after the settling time, or as soon as it is no longer up. Only services can fall over unseen.
    async fn settled(&self, link: &Link, unit: &UnitName, doing: &str) -> Result<Reading, UnitError> {
        let deadline = Instant::now() + self.shared.settling;
        let inbox = Inbox::new(&std::iter::once(unit.clone()).collect());
        link.hub.watch(&inbox);
        let place = read::place_loaded(link, unit, doing).await?;
        inbox.found_at(unit, &place);
        loop {
            let now = read::at(link, unit, &place, doing).await?;
            if unit.kind() != UnitKind::Service || !now.state.active.is_up() || Instant::now() >= deadline {
                return Ok(now);
            }
            // Which of the two comes first makes no difference: both end in a new reading.
            let _ = tokio::time::timeout_at(deadline, inbox.take()).await;
        }
    }
}

/// Keeps a unit in systemd's memory: one that is down again before it was read (a oneshot, a condition that does not
/// hold) is otherwise forgotten together with how it ended. If systemd does not let us, that is a loss of
/// detail only; so is a hold that is never released, and it ends with the connection.
struct Held<'a> {
    link: &'a Link,
    unit: &'a UnitName,
}

impl<'a> Held<'a> {
    async fn new(link: &'a Link, unit: &'a UnitName) -> Held<'a> {
        let _ = link.manager.ref_unit(unit.as_str()).await;
        Held { link, unit }
    }

    async fn release(self) {
        let _ = self.link.manager.unref_unit(self.unit.as_str()).await;
    }
}

/// Waits for the end of one job among all that end.
pub(crate) async fn wait(
    job: &OwnedObjectPath,
    ends: &mut mpsc::UnboundedReceiver<JobEnd>,
    doing: &str,
) -> Result<JobOutcome, UnitError> {
    while let Some(end) = ends.recv().await {
        if end.job == job.as_str() {
            return Ok(end.outcome);
        }
    }
    Err(UnitError::lost(doing, "the connection ended before the job did"))
}

/// Whether a start may be called one: the unit is up, or it was there to do one thing and did it.
async fn stands(link: &Link, unit: &UnitName, after: &Reading, doing: &str) -> Result<bool, UnitError> {
    if after.state.active.is_up() {
        return Ok(true);
    }
    let ended_well = after.state.active.is_down() && after.state.result == "success" && after.conditions;
    Ok(ended_well && unit.kind() == UnitKind::Service && read::is_oneshot(link, unit, doing).await?)
}
