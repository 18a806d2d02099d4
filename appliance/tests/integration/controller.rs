//! A controller in a directory: everything that `rackwright serve` puts together but the provisioning interface.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use appliance::agents::Agents;
use appliance::answers::Answers;
use appliance::api::Api;
use appliance::backup::Sources;
use appliance::ca::{SiteCa, Start};
use appliance::cast::Casts;
use appliance::config::{Config, Operators};
use appliance::images::Images;
use appliance::join::Joining;
use appliance::listen::{ListenerState, Place, https};
use appliance::metrics::Metrics;
use appliance::net::{Link, Presence};
use appliance::notify::{Notifier, Wish};
use appliance::power::{Consoles, Keeper, Vault};
use appliance::preflight::Preflights;
use appliance::store::{Log, Store};
use appliance::support::Places;
use appliance::writer::{Core, Wired};
use appliance::{catalog, config, tls};
use fleet::limits::Limits;
use fleet::network::Rule;
use fleet::{Site, Subnet};
use pxe::HttpBase;
use pxe::dhcp::{Mode, Network, Policy, Pool};
use tokio::sync::watch;
use tokio::task::JoinHandle as Task;

/// Where it listens; loopback is the only network these tests touch.
const WHERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// How long its leases are, in seconds.
pub(crate) const LEASE_SECONDS: u32 = 3600;

pub(crate) struct Controller {
    pub(crate) core: Core,
    pub(crate) ca: Arc<SiteCa>,
    pub(crate) agents: SocketAddr,
    pub(crate) state: Arc<ListenerState>,
    pub(crate) casts: Arc<Casts>,
    pub(crate) folder: PathBuf,
    pub(crate) metrics: Metrics,
    pub(crate) notifier: Option<Arc<Notifier>>,
    writer: JoinHandle<()>,
    stopper: watch::Sender<bool>,
    _presence: watch::Sender<Presence>,
    tasks: Vec<Task<()>>,
}

impl Controller {
    /// In this directory: anew when it is empty, as it was otherwise.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Mode::Full).await
    }

    /// The same, as this addition to a configuration says.
    pub(crate) async fn start_as(folder: &Path, said: &str) -> Self {
        let base = "site = \"lab\"\n[[provision]]\ninterface = \"lo\"\naddress = \"10.77.0.1/24\"\n\
                    pool = \"10.77.0.100-10.77.0.199\"\n";
        let config = config::parse(&format!("{base}{said}")).unwrap();
        let Config { operators, limits, notify, .. } = config;
        Self::start_on(folder, Mode::Full, Said { operators, limits, notify }).await
    }

    /// The same, with this way of answering DHCP.
    pub(crate) async fn start_with(folder: &Path, mode: Mode) -> Self {
        Self::start_on(folder, mode, Said::default()).await
    }

    async fn start_on(folder: &Path, mode: Mode, said: Said) -> Self {
        let start = if folder.join("state.db").exists() { Start::Later } else { Start::First };
        let name = config::Site::parse("lab").unwrap();
        let ca = Arc::new(SiteCa::open(&folder.join("ca"), &name, start, SystemTime::now()).unwrap());
        let images = images(folder);
        let (core, writer) = core(folder, mode, said.limits, &ca);
        ca.follow(core.world().fleet.trust.as_ref(), SystemTime::now()).unwrap();
        let (stopper, stop) = watch::channel(false);
        let link = Link { name: "lo".into(), index: 1, mac: None, mtu: 65_536, up: true, carrier: true };
        let (presence, seen) = watch::channel(Presence::Ready(link));
        let place = Place { interface: "lo".into(), address: WHERE, presence: seen };
        let answers = Answers::default();
        let casts = Arc::new(Casts::new(Arc::clone(&images), None));
        let preflights = Arc::new(Preflights::new(core.clone()));
        let shared = (Arc::clone(&casts), Arc::clone(&preflights), answers.clone());
        let service = agents_of(&core, &ca, &images, shared);
        let checks = Arc::clone(&preflights).keep(stop.clone());
        let tls = Arc::new(tls::Door::new(Arc::clone(&ca), vec![WHERE.into()]).unwrap());
        let state = ListenerState::new("https", "lo");
        let (vault, keeper, consoles) = power(&core, folder, stop.clone()).await;
        let powers = keeper.keep(stop.clone());
        let captures = Arc::clone(&service).watch_captures(stop.clone());
        let https = https::serve(place, 0, tls, service, Arc::clone(&state), stop);
        let listeners = vec![Arc::clone(&state)];
        let api = api(
            folder,
            (core.clone(), Arc::clone(&images), Arc::clone(&ca)),
            (casts.clone(), preflights, answers),
            (listeners, vault.clone(), consoles),
            said,
        );
        let (metrics, notifier) = (api.metrics.clone(), api.notifier.clone());
        let socket = folder.join("control.sock");
        // It is there of an earlier start, and nobody listens.
        drop(std::fs::remove_file(&socket));
        let tasks = vec![
            tokio::spawn(powers),
            tokio::spawn(https),
            tokio::spawn(captures),
            tokio::spawn(checks),
            tokio::spawn(async move { api.serve(&socket).await.unwrap() }),
        ];
        let agents = bound(&state).await;
        let folder = folder.to_owned();
        let controller = Self {
            core,
            ca,
            agents,
            state,
            casts,
            folder,
            metrics,
            notifier,
            writer,
            stopper,
            _presence: presence,
            tasks,
        };
        controller.until(|controller| controller.socket().exists()).await;
        controller
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Everything of it ends, between two transactions; returns when the data base is closed.
    pub(crate) async fn stop(self) {
        let Self { core, writer, stopper, tasks, metrics, notifier, .. } = self;
        drop((metrics, notifier));
        stopper.send_replace(true);
        for task in tasks {
            task.abort();
            drop(task.await);
        }
        drop(core);
        // The writer ends when the last connection of a client has let its way in go.
        tokio::task::spawn_blocking(|| writer.join()).await.unwrap().unwrap();
        drop(stopper);
    }

    /// Waits for something to be so. The bound is only there so that a hang is a failure with a name.
    pub(crate) async fn until(&self, so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it never came to be so");
    }
}

fn agents_of(
    core: &Core,
    ca: &Arc<SiteCa>,
    images: &Arc<Images>,
    (casts, preflights, answers): (Arc<Casts>, Arc<Preflights>, Answers),
) -> Arc<Agents> {
    Arc::new(Agents::new(core.clone(), Arc::clone(ca), Arc::clone(images), casts, preflights, answers))
}

/// The database of this directory and its writer.
fn core(folder: &Path, mode: Mode, limits: Limits, ca: &SiteCa) -> (Core, JoinHandle<()>) {
    let db = folder.join("state.db");
    let store = Store::open(&db).unwrap().limited(limits);
    let log = Log::new(&db);
    let catalog = catalog::embedded().unwrap();
    let wired = vec![Wired { dhcp: network(mode), rule: Rule::Ignore }];
    Core::start(store, log, catalog, wired, site(ca)).unwrap()
}

/// Who carries out what is due for the power of nodes.
async fn power(core: &Core, folder: &Path, stop: watch::Receiver<bool>) -> (Arc<Vault>, Keeper, Consoles) {
    let key = appliance::ca::power_key(&folder.join("ca")).unwrap();
    let vault = Arc::new(Vault::new(&key).unwrap());
    let wires = vec![("lo".to_owned(), "10.77.0.0/24".parse().unwrap())];
    let consoles = Consoles::new(core.clone(), Arc::clone(&vault), stop);
    consoles.begin().await;
    (Arc::clone(&vault), Keeper::new(core.clone(), vault, wires), consoles)
}

/// What a configuration may say beside networks.
#[derive(Default)]
struct Said {
    operators: Operators,
    limits: Limits,
    notify: Option<Wish>,
}

fn api(
    folder: &Path,
    (core, images, ca): (Core, Arc<Images>, Arc<SiteCa>),
    (casts, preflights, answers): (Arc<Casts>, Arc<Preflights>, Answers),
    (listeners, vault, consoles): (Vec<Arc<ListenerState>>, Arc<Vault>, Consoles),
    said: Said,
) -> Api {
    let metrics = Metrics {
        core: core.clone(),
        casts: casts.clone(),
        listeners: listeners.clone(),
        state_db: folder.join("state.db"),
        started: SystemTime::now(),
    };
    Api {
        notifier: said.notify.map(|wish| Notifier::new(core.clone(), wish)),
        core,
        ca,
        rotating: Arc::default(),
        images,
        casts,
        preflights,
        answers,
        vault,
        consoles,
        sources: sources(folder),
        copies: None,
        listeners,
        own: None,
        joining: Joining { boot: folder.join("boot"), http_port: 80, agents_port: 8443 },
        operators: Arc::new(said.operators),
        seconds: Arc::default(),
        metrics,
        places: Places { config: folder.join("rackwright.toml"), state: folder.to_owned() },
    }
}

async fn bound(state: &ListenerState) -> SocketAddr {
    loop {
        if let Some(address) = state.report().bound {
            return address;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The image store, which trusts the key of these tests.
fn images(folder: &Path) -> Arc<Images> {
    std::fs::create_dir_all(folder.join("keys")).unwrap();
    let key = crate::image::key().public().to_string();
    std::fs::write(folder.join("keys/build.pub"), key).unwrap();
    let own = appliance::ca::image_key(&folder.join("ca")).unwrap();
    Arc::new(Images::open(&folder.join("images"), &folder.join("keys"), own).unwrap())
}

/// As a controller that is started below a root has them.
pub(crate) fn sources(folder: &Path) -> Sources {
    Sources {
        site: "lab".to_owned(),
        state: folder.to_owned(),
        database: folder.join("state.db"),
        ca: folder.join("ca"),
        heads: folder.join("journal/heads"),
        config: folder.join("rackwright.toml"),
        image_keys: folder.join("keys"),
    }
}

fn site(ca: &SiteCa) -> Site {
    Site {
        name: "lab".to_owned(),
        subnets: vec![Subnet {
            net: "10.77.0.0/24".parse().unwrap(),
            controller: "10.77.0.1".parse().unwrap(),
            gateway: None,
        }],
        ca: ca.pin(),
        addresses: BTreeMap::new(),
        cloud: None,
    }
}

fn network(mode: Mode) -> Network {
    let local = Policy {
        server: Ipv4Addr::new(10, 77, 0, 1),
        subnet: "10.77.0.0/24".parse().unwrap(),
        relay: None,
        pools: vec![Pool { first: Ipv4Addr::new(10, 77, 0, 100), last: Ipv4Addr::new(10, 77, 0, 199) }],
        lease_seconds: LEASE_SECONDS,
        router: None,
        dns: Vec::new(),
        mode,
        proxy: false,
        http: HttpBase("10.77.0.1:80".parse().unwrap()),
    };
    Network::single("lo", local)
}
