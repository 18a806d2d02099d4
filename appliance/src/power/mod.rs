//! The shells of power: they do what `fleet::power` has decided, with whoever can, and bring back what came of it.

pub mod consoles;
pub mod ipmi;
pub mod redfish;
pub mod secret;
pub mod sol;
pub mod wol;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet::power::{Account, Act, Errand, Fault, Finding, Kind, PowerEvent, Word, due};
use fleet::{Event, Node, Reply};
use futures_util::future::BoxFuture;
use ipnet::Ipv4Net;
use protocol::NodeId;
use tokio::task::JoinSet;

use crate::listen::Stop;
use crate::writer::{Core, now};
pub use consoles::Consoles;
pub use secret::{Secret, Vault, VaultError};

/// How often it is looked whether something is due.
const PACE: Duration = Duration::from_millis(500);
/// What one request may take: less than after which `fleet::power` takes it for lost (60 s).
const PATIENCE: Duration = Duration::from_secs(45);

/// Whoever can do something about a server's power: a management controller, a magic packet. The agent and a person are
/// not asked from here: the one is told when it asks, the other reads what waits.
pub trait Reach: Send + Sync {
    /// Does one thing, or says why not. Nothing is tried a second time that may have happened.
    fn ask(&self, act: Act) -> BoxFuture<'_, Result<Word, Fault>>;

    /// SHA-256 of the certificate of whoever was sent the password by [`Reach::ask`], however that ended, also when it was given
    /// up. None: it was not sent, or there are no certificates.
    fn shown(&self) -> Option<String> {
        None
    }
}

/// What was found in a test.
fn finding(check: &str, ok: Option<bool>, text: impl Into<String>) -> Finding {
    Finding { check: check.to_owned(), ok, text: text.into() }
}

/// Whether the password is one that controllers are delivered with; nothing is tried for it.
fn factory(account: &Account, secret: &Secret) -> Option<Finding> {
    let user = account.user.as_ref()?;
    Some(match secret.is_factory(user) {
        true => finding(
            "password",
            Some(false),
            "the password is one that everybody knows: set another on it, then here (rackwright node bmc set)",
        ),
        false => finding(
            "password",
            Some(true),
            "the password is none of those that controllers are delivered with",
        ),
    })
}

/// Carries out what is due.
#[derive(Clone, Debug)]
pub struct Keeper {
    core: Core,
    vault: Arc<Vault>,
    /// Provisioning interfaces and the networks on them.
    wires: Arc<Vec<(String, Ipv4Net)>>,
    busy: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Keeper {
    /// With this key, and these interfaces for magic packets.
    pub fn new(core: Core, vault: Arc<Vault>, wires: Vec<(String, Ipv4Net)>) -> Self {
        Self { core, vault, wires: Arc::new(wires), busy: Arc::default() }
    }

    /// Until it is told to stop.
    pub async fn keep(self, mut stop: Stop) {
        // They have a way in to the writer, and end with this: what they were about is then taken for lost.
        let mut errands = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(PACE) => {}
            }
            while errands.try_join_next().is_some() {}
            let world = self.core.world();
            for node in due(&world.fleet, now()) {
                if self.busy().insert(node) {
                    let keeper = self.clone();
                    errands.spawn(async move {
                        keeper.run(node).await;
                        keeper.busy().remove(&node);
                    });
                }
            }
        }
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<NodeId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, id: NodeId) {
        let event = |what| Event::Power { node: id, what: Box::new(what) };
        // Begun, and durable: after a crash it is known that something was on its way.
        let Ok(done) = self.core.bring(event(PowerEvent::Begin)).await else { return };
        let Reply::Errand(errand) = done.reply else { return };
        let world = self.core.world();
        let Ok(node) = world.fleet.node(id) else { return };
        let (result, pin) = match self.reach(node, &errand) {
            Ok(reach) => {
                let result =
                    tokio::time::timeout(PATIENCE, reach.ask(errand.act)).await.unwrap_or_else(|_| {
                        Err(Fault::Lost(format!("no answer within {} s", PATIENCE.as_secs())))
                    });
                (result, reach.shown())
            }
            Err(fault) => (Err(fault), None),
        };
        if let Err(fault) = &result {
            tracing::info!(node = node.name.as_str(), act = ?errand.act, why = fault.why(), "power");
        }
        let answer = PowerEvent::Answered { flight: errand.flight, result, pin };
        if let Err(why) = self.core.bring(event(answer)).await {
            tracing::warn!(node = node.name.as_str(), %why, "an answer about power was not taken");
        }
    }

    /// Who can do it.
    fn reach(&self, node: &Node, errand: &Errand) -> Result<Box<dyn Reach>, Fault> {
        let account = errand.account.clone();
        let secret = || self.vault.open(node.id, &account).map_err(|error| Fault::Login(error.to_string()));
        Ok(match account.kind {
            Kind::Ipmi => {
                Box::new(ipmi::Ipmi::new(account.clone(), secret()?, node.inventory.firmware == "uefi"))
            }
            Kind::Redfish => {
                let smbios = &node.inventory.smbios;
                let own = redfish::Own { uuid: smbios.uuid.clone(), serial: smbios.serial.clone() };
                Box::new(redfish::Redfish::new(account.clone(), secret()?, own))
            }
            Kind::Wol => {
                let wire = self.wires.iter().find(|(_, net)| net.contains(&node.boot.address));
                let wire = wire.or(self.wires.first());
                let (interface, _) =
                    wire.ok_or_else(|| Fault::Refused("there is no interface".to_owned()))?;
                let mac = node.boot.mac.as_str().parse();
                let mac = mac.map_err(|_| Fault::Refused("its NIC has no Ethernet address".to_owned()))?;
                Box::new(wol::Magic::new(mac, interface.clone()))
            }
            Kind::Manual => return Err(Fault::Refused("its power is in a person's hands".to_owned())),
        })
    }
}
