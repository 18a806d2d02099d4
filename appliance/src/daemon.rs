//! `rackwright serve`: the shells put together around the writer.

pub mod images;
mod listeners;
mod networks;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet::cloud::{Cloud, CloudKey};
use fleet::{Event, Site, Subnet};
use pxe::dhcp::Policy;
use tokio::sync::watch;
use tokio::task::JoinSet;
use units::{Systemd, UnitName};

use crate::answers::Answers;
use crate::api::{Api, Own};
use crate::backup::{Copies, Sources};
use crate::ca::{SiteCa, Start};
use crate::cast::{Casts, Rules};
use crate::config::{self, Config, Paths};
use crate::images::Images;
use crate::join::Joining;
use crate::listen::{ListenerState, Stop};
use crate::lock::Lock;
use crate::metrics::{self, Metrics};
use crate::notify::Notifier;
use crate::power::{Consoles, Keeper, Vault};
use crate::preflight::Preflights;
use crate::store::{Log, Store};
use crate::support::Places;
use crate::writer::Core;
use crate::{catalog, chain};

/// Our own units beside the daemon itself.
const OWN_UNITS: [&str; 1] = ["chrony.service"];
/// How often every deadline is looked at, in seconds.
const TICK_SECONDS: u64 = 5;

/// Why the daemon does not run; every cause is in the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(String);

impl Fatal {
    fn of<E: std::error::Error>(error: E) -> Self {
        Self(chain(&error))
    }
}

/// Runs the controller until it is told to stop.
///
/// # Errors
/// [`Fatal`], when it can't begin.
pub fn serve(root: Option<&Path>) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.map_err(Fatal::of)?.block_on(run(Paths::chosen(root)))
}

async fn run(paths: Paths) -> Result<(), Fatal> {
    // Before the state is read, the interface touched or the control socket replaced: they are another's otherwise.
    let _lock = Lock::take(&paths.state).map_err(Fatal::of)?;
    // What a restore has decided is done, before anything of the old state is believed.
    crate::restore::complete(&paths).map_err(Fatal::of)?;
    let config = config::load(&paths.config).map_err(Fatal::of)?;
    let (stopper, stop) = watch::channel(false);
    // Together: one whose interface does not come keeps the others waiting no longer than itself.
    let places = futures_util::future::try_join_all(config.provision.iter().map(networks::prepare)).await?;
    let (daemon, writer) = Daemon::build(&paths, &config)?;
    let mut tasks = JoinSet::new();
    let listeners = daemon.listen(&paths, &config, &places, &stop, &mut tasks)?;
    for (place, provision) in places.iter().zip(config.provision.clone()) {
        tasks.spawn(networks::keep(provision, place.presence.clone(), stop.clone()));
    }
    daemon.keep_time(stop.clone(), &mut tasks);
    tasks.spawn(images::keep(
        daemon.core.clone(),
        Arc::clone(&daemon.images),
        config.scrub_days,
        stop.clone(),
    ));
    tasks.spawn(daemon.power(&config).keep(stop.clone()));
    let consoles = Consoles::new(daemon.core.clone(), Arc::clone(&daemon.vault), stop.clone());
    consoles.begin().await;
    let own = own_units().await;
    if let Some(own) = own.clone() {
        tasks.spawn(async move { own.start_all().await });
    }
    let api = daemon.api(&paths, &config, (listeners, own, consoles), &stop, &mut tasks);
    let socket = paths.socket.clone();
    let mut serving = tokio::spawn(async move { api.serve(&socket).await });
    tell_systemd("READY=1");
    let interfaces = places.iter().map(|place| place.interface.as_str()).collect::<Vec<_>>().join(" ");
    tracing::info!(site = config.site.as_str(), interfaces, "the controller is up");
    let ended = tokio::select! {
        () = told_to_stop() => Ok(()),
        failed = &mut serving => Err(Fatal(format!("the control socket {} failed: {failed:?}", paths.socket.display()))),
    };
    tell_systemd("STOPPING=1");
    stopper.send_replace(true);
    // It has a way in to the writer.
    serving.abort();
    drop(tokio::time::timeout(Duration::from_secs(5), tasks.join_all()).await);
    drop(daemon);
    // The writer ends when the last way in is gone; a batch in flight is committed first.
    drop(tokio::time::timeout(Duration::from_secs(5), tokio::task::spawn_blocking(|| writer.join())).await);
    ended
}

struct Daemon {
    core: Core,
    ca: Arc<SiteCa>,
    images: Arc<Images>,
    casts: Arc<Casts>,
    preflights: Arc<Preflights>,
    answers: Answers,
    vault: Arc<Vault>,
}

impl Daemon {
    /// Who carries out what is due for the power of nodes.
    fn power(&self, config: &Config) -> Keeper {
        let wires = config.provision.iter().map(|provision| (provision.name(), provision.address));
        Keeper::new(self.core.clone(), Arc::clone(&self.vault), wires.collect())
    }

    fn build(paths: &Paths, config: &Config) -> Result<(Self, std::thread::JoinHandle<()>), Fatal> {
        let start = if paths.state_db.exists() { Start::Later } else { Start::First };
        let ca = SiteCa::open(&paths.ca, &config.site, start, SystemTime::now()).map_err(Fatal::of)?;
        let store = Store::open(&paths.state_db).map_err(Fatal::of)?.limited(config.limits);
        let trust = store.fleet().map_err(Fatal::of)?.trust;
        ca.follow(trust.as_ref(), SystemTime::now()).map_err(Fatal::of)?;
        let store = store.testing(config.first_test.clone()).expecting(config.expected_tpms.clone());
        let own = crate::ca::image_key(&paths.ca).map_err(Fatal::of)?;
        let images =
            Images::open(&paths.images, &paths.resolve(&config.image_keys), own).map_err(Fatal::of)?;
        let networks = config.provision.iter().map(|provision| networks::wired(config, provision));
        let networks = networks.collect::<Vec<_>>();
        for policy in networks.iter().flat_map(|wired| wired.dhcp.subnets()) {
            policy.check().map_err(Fatal::of)?;
        }
        let subnet = |policy: &Policy| Subnet {
            net: policy.subnet,
            controller: policy.server,
            gateway: policy.gateway(),
        };
        let site = Site {
            name: config.site.as_str().to_owned(),
            subnets: networks.iter().flat_map(|wired| wired.dhcp.subnets()).map(subnet).collect(),
            ca: ca.pin(),
            addresses: std::collections::BTreeMap::new(),
            cloud: config.cloud.as_ref().map(|cloud| agreed(paths, cloud)).transpose()?,
        };
        let optional = config.cloud.iter().flat_map(|cloud| cloud.optional.iter().cloned()).collect();
        let catalog = catalog::embedded().map_err(Fatal::of)?.of_cloud(config.cloud.is_some());
        let catalog = catalog.with_optional(optional);
        let log = Log::new(&paths.state_db);
        let (core, writer) = Core::start(store, log, catalog, networks, site).map_err(Fatal::of)?;
        let (ca, images) = (Arc::new(ca), Arc::new(images));
        let rules = Rules {
            flooding: config.cast_flooding,
            querier: config.cast_querier,
            yields: config.cast_yields,
            networks: config.provision.iter().map(|provision| provision.address.addr()).collect(),
        };
        let casts = Arc::new(Casts::new(Arc::clone(&images), config.cast_mbit).with(rules));
        let vault = crate::ca::power_key(&paths.ca).map_err(Fatal::of)?;
        let vault = Arc::new(Vault::new(&vault).map_err(Fatal::of)?);
        let preflights = Arc::new(Preflights::new(core.clone()));
        let daemon = Self { core, ca, images, casts, preflights, answers: Answers::default(), vault };
        Ok((daemon, writer))
    }

    /// What people talk to, and those who tell of it: metrics, and somebody who is not looking.
    fn api(
        &self,
        paths: &Paths,
        config: &Config,
        (listeners, own, consoles): (Vec<Arc<ListenerState>>, Option<Arc<Own>>, Consoles),
        stop: &Stop,
        tasks: &mut JoinSet<()>,
    ) -> Api {
        let metrics = Metrics {
            core: self.core.clone(),
            casts: Arc::clone(&self.casts),
            listeners: listeners.clone(),
            state_db: paths.state_db.clone(),
            started: SystemTime::now(),
        };
        if let Some(address) = config.metrics {
            tasks.spawn(metrics::serve(metrics.clone(), address, stop.clone()));
        }
        let notifier = config.notify.clone().map(|wish| Notifier::new(self.core.clone(), wish));
        if let Some(notifier) = notifier.clone() {
            tasks.spawn(notifier.keep(stop.clone()));
        }
        let sources = Sources::of(paths, config.site.as_str(), &config.image_keys);
        crate::backup::make::sweep(&paths.state);
        let copy = config.copy.as_ref();
        let copies = copy.map(|folder| Copies::start(&paths.resolve(folder), sources.clone(), &self.core));
        Api {
            core: self.core.clone(),
            ca: Arc::clone(&self.ca),
            rotating: Arc::default(),
            images: Arc::clone(&self.images),
            casts: Arc::clone(&self.casts),
            preflights: Arc::clone(&self.preflights),
            answers: self.answers.clone(),
            vault: Arc::clone(&self.vault),
            consoles,
            sources,
            copies,
            listeners,
            joining: Joining::of(paths, config),
            own,
            operators: Arc::new(config.operators.clone()),
            seconds: Arc::default(),
            metrics,
            notifier,
            places: Places { config: paths.config.clone(), state: paths.state.clone() },
        }
    }

    /// Lets time pass in the writer.
    fn keep_time(&self, mut stop: Stop, tasks: &mut JoinSet<()>) {
        let core = self.core.clone();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    _ = stop.changed() => return,
                    () = tokio::time::sleep(Duration::from_secs(TICK_SECONDS)) => {}
                }
                if let Err(why) = core.bring(Event::Tick).await {
                    tracing::warn!(%why, "the deadlines were not looked at");
                }
            }
        });
    }
}

/// What the services of the cloud must agree on.
fn agreed(paths: &Paths, wanted: &crate::config::Cloud) -> Result<Cloud, Fatal> {
    let key = crate::ca::cloud_key(&paths.ca).map_err(Fatal::of)?;
    let crate::config::Cloud { region, datapath, external, tunnel, optional: _, objects } = wanted.clone();
    Ok(Cloud { region, datapath, key: CloudKey::new(key), external, tunnel, objects })
}

/// Our own units over D-Bus; without a systemd (tests, `--root`) there are none.
async fn own_units() -> Option<Arc<Own>> {
    match Systemd::connect().await {
        Ok(systemd) => {
            let names = OWN_UNITS.iter().filter_map(|name| UnitName::parse(name).ok());
            Some(Arc::new(Own::new(systemd, names.collect())))
        }
        Err(error) => {
            tracing::warn!(why = chain(&error), "own units are left alone: systemd does not answer");
            None
        }
    }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// sd_notify(3): one datagram to the socket that systemd named.
fn tell_systemd(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|s| s.send_to(state.as_bytes(), Path::new(&path)));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd could not be told {state}");
    }
}
