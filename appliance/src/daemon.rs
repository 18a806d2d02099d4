//! `rackwright serve`: the shells put together around the writer.

use std::net::{IpAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet::network::Rule;
use fleet::{Event, Site, Subnet};
use pxe::HttpBase;
use pxe::dhcp::{Mode, Network, Policy, Pool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use units::{Systemd, UnitName};

use crate::agents::Agents;
use crate::answers::Answers;
use crate::api::{Api, Own};
use crate::boot::BootStore;
use crate::ca::{SiteCa, Start};
use crate::config::{self, Config, Dhcp, Foreign, Paths, Provision, Relayed};
use crate::images::Images;
use crate::listen::dhcp::PORTS;
use crate::listen::files::Files;
use crate::listen::{ListenerState, Place, Stop, dhcp, foreign, http, https, ndp, tftp};
use crate::lock::Lock;
use crate::net::Net;
use crate::netboot::Netboot;
use crate::store::{Log, Store};
use crate::writer::{Core, Wired};
use crate::{catalog, chain, prober};

/// Our own units beside the daemon itself.
const OWN_UNITS: [&str; 1] = ["chrony.service"];
/// How long to wait for the provisioning interface, in seconds.
const INTERFACE_SECONDS: u64 = 120;
/// How long a lease lasts, in seconds. The address is the NIC's for good; the lease only says when to ask again.
const LEASE_SECONDS: u32 = 3600;
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
    let config = config::load(&paths.config).map_err(Fatal::of)?;
    // Before the state is read, the interface touched or the control socket replaced: they are another's otherwise.
    let _lock = Lock::take(&paths.state).map_err(Fatal::of)?;
    let (stopper, stop) = watch::channel(false);
    let mut places = Vec::new();
    for provision in &config.provision {
        places.push(prepare(provision).await?);
    }
    let (daemon, writer) = Daemon::build(&paths, &config)?;
    let mut tasks = JoinSet::new();
    let listeners = daemon.listen(&paths, &config, &places, &stop, &mut tasks)?;
    daemon.keep_time(stop.clone(), &mut tasks);
    let own = own_units().await;
    if let Some(own) = own.clone() {
        tasks.spawn(async move { own.start_all().await });
    }
    let api = Api {
        core: daemon.core.clone(),
        images: Arc::clone(&daemon.images),
        answers: daemon.answers.clone(),
        listeners,
        boot: paths.boot.clone(),
        own,
    };
    let socket = paths.socket.clone();
    let serving = tokio::spawn(async move { api.serve(&socket).await });
    tell_systemd("READY=1");
    let interfaces = places.iter().map(|place| place.interface.as_str()).collect::<Vec<_>>().join(" ");
    tracing::info!(site = config.site.as_str(), interfaces, "the controller is up");
    let ended = tokio::select! {
        () = told_to_stop() => Ok(()),
        failed = serving => Err(Fatal(format!("the control socket {} failed: {failed:?}", paths.socket.display()))),
    };
    tell_systemd("STOPPING=1");
    stopper.send_replace(true);
    drop(tokio::time::timeout(Duration::from_secs(5), tasks.join_all()).await);
    drop(daemon);
    // The writer ends when the last way in is gone; a batch in flight is committed first.
    drop(tokio::time::timeout(Duration::from_secs(5), tokio::task::spawn_blocking(|| writer.join())).await);
    ended
}

/// Brings the provisioning interface up and watches it from then on.
async fn prepare(provision: &Provision) -> Result<Place, Fatal> {
    let net = Net::open().map_err(Fatal::of)?;
    let patience = Duration::from_secs(INTERFACE_SECONDS);
    let interface = provision.name();
    let name = interface.as_str();
    let say = |why: &str| tracing::warn!(interface = name, why, "waiting for the provisioning interface");
    if let Some(vlan) = provision.vlan {
        net.ensure_vlan(&provision.interface, vlan, name, patience, say).await.map_err(Fatal::of)?;
    }
    let (link, _) = net.prepare(name, provision.address, patience, say).await.map_err(Fatal::of)?;
    for Relayed { subnet, via, .. } in &provision.relayed {
        if let Some(via) = via {
            net.ensure_route(&link, *subnet, *via).await.map_err(Fatal::of)?;
        }
    }
    let presence = crate::net::watch(name, provision.address).await.map_err(Fatal::of)?;
    Ok(Place { interface, address: provision.address.addr(), presence })
}

struct Daemon {
    core: Core,
    ca: Arc<SiteCa>,
    images: Arc<Images>,
    answers: Answers,
}

impl Daemon {
    fn build(paths: &Paths, config: &Config) -> Result<(Self, std::thread::JoinHandle<()>), Fatal> {
        let start = if paths.state_db.exists() { Start::Later } else { Start::First };
        let ca = SiteCa::open(&paths.ca, &config.site, start, SystemTime::now()).map_err(Fatal::of)?;
        let store = Store::open(&paths.state_db).map_err(Fatal::of)?;
        let images = Images::open(&paths.images, &paths.resolve(&config.image_keys)).map_err(Fatal::of)?;
        let networks =
            config.provision.iter().map(|provision| network(config, provision)).collect::<Vec<_>>();
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
        };
        let catalog = catalog::embedded().map_err(Fatal::of)?;
        let log = Log::new(&paths.state_db);
        let (core, writer) = Core::start(store, log, catalog, networks, site).map_err(Fatal::of)?;
        let daemon = Self { core, ca: Arc::new(ca), images: Arc::new(images), answers: Answers::default() };
        Ok((daemon, writer))
    }

    /// Starts every listener; each keeps itself going.
    fn listen(
        &self,
        paths: &Paths,
        config: &Config,
        places: &[Place],
        stop: &Stop,
        tasks: &mut JoinSet<()>,
    ) -> Result<Vec<Arc<ListenerState>>, Fatal> {
        let addresses = places.iter().map(|place| IpAddr::V4(place.address)).collect::<Vec<_>>();
        let identity = self.ca.server(&addresses, SystemTime::now()).map_err(Fatal::of)?;
        let tls = crate::tls::server(&self.ca, identity).map_err(Fatal::of)?;
        let agents = Arc::new(Agents::new(
            self.core.clone(),
            Arc::clone(&self.ca),
            Arc::clone(&self.images),
            self.answers.clone(),
        ));
        let mut states = Vec::new();
        let mut waiting = Vec::new();
        for (place, provision) in places.iter().zip(&config.provision) {
            let mut state = |kind| {
                let state = ListenerState::new(kind, &place.interface);
                states.push(Arc::clone(&state));
                state
            };
            let boots = self.core.boots.clone();
            tasks.spawn(boots.watch(place.interface.clone(), place.presence.clone(), stop.clone()));
            let netboot = Arc::new(Netboot::new(self.core.clone(), config.http_port, config.agents_port));
            for (port, kind) in PORTS.into_iter().zip(["dhcp", "proxydhcp"]) {
                let service = Arc::clone(&netboot);
                tasks.spawn(dhcp::serve(place.clone(), port, service, state(kind), stop.clone()));
            }
            let service = Arc::clone(&netboot);
            tasks.spawn(foreign::serve(place.clone(), service, state("foreign"), stop.clone()));
            tasks.spawn(prober::run(place.clone(), self.core.clone(), stop.clone()));
            // Only where our DHCP says what to boot does it follow that there is nothing to wait for.
            if provision.answer_ipv6 && provision.dhcp != Dhcp::Off {
                let service = Arc::clone(&netboot);
                tasks.spawn(ndp::serve(place.clone(), service, state("ndp"), stop.clone()));
            }
            waiting.push(Counter { place: place.clone(), netboot, tftp: state("tftp"), http: state("http") });
            let (agents, tls) = (Arc::clone(&agents), Arc::clone(&tls));
            tasks.spawn(https::serve(
                place.clone(),
                config.agents_port,
                tls,
                agents,
                state("https"),
                stop.clone(),
            ));
        }
        tasks.spawn(serve_files(
            paths.boot.clone(),
            config.http_port,
            self.core.clone(),
            waiting,
            stop.clone(),
        ));
        Ok(states)
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

/// Where the boot files of one interface are served.
struct Counter {
    place: Place,
    netboot: Arc<Netboot>,
    tftp: Arc<ListenerState>,
    http: Arc<ListenerState>,
}

/// Serves the boot files on every interface, as soon as there are any.
async fn serve_files(boot: PathBuf, http_port: u16, core: Core, counters: Vec<Counter>, stop: Stop) {
    let states = counters.iter().flat_map(|counter| [&*counter.tftp, &*counter.http]).collect::<Vec<_>>();
    let store = Arc::new(boot_store(&boot, &states).await);
    while !core.boot_store_has(store.extras()).await && !*stop.borrow() {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let mut tasks = JoinSet::new();
    for Counter { place, netboot, tftp: tftp_state, http: http_state } in counters {
        let files = Files::new(Arc::clone(&store), netboot);
        tasks.spawn(tftp::serve(place.clone(), tftp::PORT, files.clone(), tftp_state, stop.clone()));
        tasks.spawn(http::serve(place, http_port, files, http_state, stop.clone()));
    }
    tasks.join_all().await;
}

fn network(config: &Config, provision: &Provision) -> Wired {
    let pools = |pools: &[config::Pool]| {
        pools.iter().map(|pool| Pool { first: pool.first(), last: pool.last() }).collect::<Vec<_>>()
    };
    let local = Policy {
        server: provision.address.addr(),
        subnet: provision.address.trunc(),
        relay: None,
        pools: pools(&provision.pools),
        lease_seconds: LEASE_SECONDS,
        router: provision.router,
        dns: provision.dns.clone(),
        mode: match provision.dhcp {
            Dhcp::Full | Dhcp::Proxy => Mode::Full,
            Dhcp::Known => Mode::KnownOnly,
            Dhcp::Off => Mode::Off,
        },
        proxy: provision.dhcp == Dhcp::Proxy,
        http: HttpBase(SocketAddrV4::new(provision.address.addr(), config.http_port)),
    };
    let relayed = provision.relayed.iter().map(|relayed| Policy {
        subnet: relayed.subnet,
        relay: Some(relayed.relay),
        router: Some(relayed.router),
        proxy: false,
        pools: pools(&relayed.pools),
        ..local.clone()
    });
    let dhcp = Network {
        site: config.site.as_str().to_owned(),
        relayed: relayed.collect(),
        ..Network::single(&provision.name(), local.clone())
    };
    // Where we give no addresses ourselves, somebody else must.
    let rule = match (provision.dhcp, provision.foreign) {
        (Dhcp::Proxy | Dhcp::Off, _) | (_, Foreign::Ignore) => Rule::Ignore,
        (_, Foreign::Pause) => Rule::Pause,
        (_, Foreign::Proxy) => Rule::Proxy,
    };
    Wired { dhcp, rule }
}

/// The boot store, as soon as there is one: a controller without it still answers everything else. Those that would
/// serve from it say why they do not listen.
async fn boot_store(path: &Path, waiting: &[&ListenerState]) -> BootStore {
    loop {
        let why = match BootStore::open(path) {
            Ok(store) => return store,
            Err(error) => chain(&error),
        };
        tracing::error!(why, "no server can boot from the network");
        for state in waiting {
            let _ = state.waiting(&why);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
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

#[cfg(test)]
mod tests {
    use super::{ListenerState, boot_store};
    use std::time::Duration;

    #[tokio::test]
    async fn a_missing_boot_store_is_the_reason_why_its_listeners_wait() {
        let folder = tempfile::tempdir().unwrap();
        let states = [ListenerState::new("tftp", "rw0"), ListenerState::new("http", "rw0")];
        let each = [&*states[0], &*states[1]];
        let open = boot_store(folder.path(), &each);
        assert!(tokio::time::timeout(Duration::from_millis(50), open).await.is_err());
        for state in states {
            let why = state.report().waiting.expect("a reason");
            assert!(why.contains("image-build ramdisk"), "{why}");
        }
        let none = folder.path().join("none");
        let state = ListenerState::new("tftp", "rw0");
        let each = [&*state];
        let open = boot_store(&none, &each);
        assert!(tokio::time::timeout(Duration::from_millis(50), open).await.is_err());
        assert!(state.report().waiting.is_some_and(|why| why.contains("opening the boot store")));
    }
}
