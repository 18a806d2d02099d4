//! Redfish (DMTF DSP0266): from the root to the one system that is meant, one thing done to it, and out again.
//!
//! The password goes to one host only, with the certificate that was seen first, and as a session that is ended; as HTTP
//! basic authentication only where there is no session service. No redirect is followed, no link leaves `/redfish/`.

mod answer;
mod wire;

use std::sync::OnceLock;
use std::time::Duration;

use fleet::power::{Account, Act, Fault, Observed, Word};
use futures_util::future::BoxFuture;
use hyper::Method;
use serde_json::{Value, json};

use super::{Reach, Secret, finding};
use answer::{Chosen, SystemView};
use wire::{Pass, Wire};

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::answer::anything;
}

/// What the server says of itself: which of several systems it is.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// SMBIOS UUID.
    pub uuid: String,
    /// Serial number.
    pub serial: String,
}

/// A management controller.
#[derive(Debug)]
pub struct Redfish {
    account: Account,
    secret: Secret,
    own: Own,
    /// The certificate of whoever is sent the password.
    shown: OnceLock<String>,
    /// How long each answer is waited for.
    patience: Duration,
}

/// Systems that are looked at until one is found to be the server's.
const MOST_SYSTEMS: usize = 8;

impl Redfish {
    /// With this account.
    pub fn new(account: Account, secret: Secret, own: Own) -> Self {
        Self { account, secret, own, shown: OnceLock::new(), patience: wire::ANSWER }
    }

    /// The same, which waits so long for each answer: for tests.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    async fn carry_out(&self, act: Act) -> Result<Word, Fault> {
        let mut wire = Wire::new(&self.account, self.patience)?;
        let root = wire.get(answer::ROOT).await?;
        // From here on the password may be with them, whatever comes of it. Within one errand it does not change.
        if let Some(pin) = wire.pin() {
            drop(self.shown.set(pin));
        }
        let session = self.log_in(&mut wire, &root.body).await?;
        let done = self.inside(&mut wire, &root.body, act).await;
        if let Some(place) = session {
            // A slot that is not given back is lost for half an hour; but what was done is done.
            drop(wire.send(Method::DELETE, &place, None, None).await);
        }
        let mut word = done?;
        word.pin = wire.pin();
        if act == Act::Test {
            let shown = word.pin.clone().unwrap_or_default();
            let known =
                if self.account.pin.is_some() { "the one that was seen first" } else { "now remembered" };
            word.findings.splice(
                0..0,
                [
                    finding("reachable", Some(true), "it speaks Redfish over TLS"),
                    finding("certificate", Some(true), format!("{known}: SHA-256 {shown}")),
                    finding("login", Some(true), "it takes the user and the password"),
                ],
            );
            word.findings.extend(super::factory(&self.account, &self.secret));
        }
        Ok(word)
    }

    /// The ways to its serial console that the controller names.
    async fn ways(&self) -> Result<Vec<String>, Fault> {
        let mut wire = Wire::new(&self.account, self.patience)?;
        let root = wire.get(answer::ROOT).await?;
        let session = self.log_in(&mut wire, &root.body).await?;
        let named = async {
            let list = wire.get(&answer::managers(&root.body)?).await?;
            let first = answer::members(&list.body)?.into_iter().next().unwrap_or_default();
            Ok(answer::ways(&wire.get(&first).await?.body))
        };
        let named = named.await;
        if let Some(place) = session {
            drop(wire.send(Method::DELETE, &place, None, None).await);
        }
        named
    }

    /// Opens a session; where it is to be ended.
    async fn log_in(&self, wire: &mut Wire, root: &Value) -> Result<Option<String>, Fault> {
        let user = self.account.user.as_ref().map(fleet::power::User::as_str).unwrap_or_default();
        let basic = || Pass::basic(user, self.secret.reveal());
        let Some(sessions) = answer::sessions(root)? else {
            wire.pass(basic());
            return Ok(None);
        };
        let body = json!({ "UserName": user, "Password": self.secret.reveal() });
        let reply = wire.send(Method::POST, &sessions, Some(&body), None).await?;
        match reply.status {
            200 | 201 => {}
            // Announced and not there.
            404 | 405 | 501 => {
                wire.pass(basic());
                return Ok(None);
            }
            400 | 403 | 409 if answer::is_session_limit(&reply.body) => {
                return Err(Fault::Busy(
                    "it has no session left; they end by themselves within half an hour".to_owned(),
                ));
            }
            400 => return Err(Fault::Login("it does not take this user and password (400)".to_owned())),
            status => return Err(answer::fault(status, &reply.body)),
        }
        let token =
            reply.token.ok_or_else(|| Fault::Busy("it opened a session and gave no token".to_owned()))?;
        wire.pass(Pass::Token(token));
        let place = reply.location.and_then(|place| answer::same_host(&place, wire.authority()));
        Ok(place.or_else(|| answer::link(&reply.body).ok()))
    }

    async fn inside(&self, wire: &mut Wire, root: &Value, act: Act) -> Result<Word, Fault> {
        let (path, system, etag) = self.find(wire, root).await?;
        let observed = |state| Ok(Word { state, ..Word::default() });
        match answer::choose(act, &system)? {
            Chosen::Look => {
                let mut word = Word { state: system.state, ..Word::default() };
                if act == Act::Test {
                    let known = (system.state != Observed::Unknown).then_some(true);
                    word.findings.push(finding("power", known, format!("it says {}", system.state.word())));
                }
                Ok(word)
            }
            Chosen::Reset { target, kind } => {
                let body = json!({ "ResetType": kind });
                let reply = wire.send(Method::POST, &target, Some(&body), None).await?;
                match reply.status {
                    200..=299 => observed(Observed::Unknown),
                    // What is off can't be cycled, and some say it so.
                    409 if act == Act::Cycle => {
                        Err(Fault::Refused("it can't be cycled as it is (409)".to_owned()))
                    }
                    status => Err(answer::fault(status, &reply.body)),
                }
            }
            Chosen::Boot { target } => {
                let boot = json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target });
                let body = json!({ "Boot": boot });
                let mut reply = wire.send(Method::PATCH, &path, Some(&body), etag.as_deref()).await?;
                if matches!(reply.status, 412 | 428) {
                    // Somebody has changed it meanwhile, or it wants to hear what it said itself.
                    let fresh = wire.get(&path).await?;
                    let etag =
                        fresh.etag.or_else(|| answer::etag(&fresh.body)).unwrap_or_else(|| "*".to_owned());
                    reply = wire.send(Method::PATCH, &path, Some(&body), Some(&etag)).await?;
                }
                match reply.status {
                    200..=299 => observed(Observed::Unknown),
                    status => Err(answer::fault(status, &reply.body)),
                }
            }
        }
    }

    /// The system that is this server: the only one, or the one with its UUID or serial number.
    async fn find(
        &self,
        wire: &mut Wire,
        root: &Value,
    ) -> Result<(String, SystemView, Option<String>), Fault> {
        let list = wire.get(&answer::systems(root)?).await?;
        let members = answer::members(&list.body)?;
        let alone = members.len() == 1;
        for path in members.iter().take(MOST_SYSTEMS) {
            let reply = wire.get(path).await?;
            let view = answer::system(&reply.body)?;
            if alone || view.is(&self.own.uuid, &self.own.serial) {
                return Ok((path.clone(), view, reply.etag));
            }
        }
        Err(Fault::Refused(format!(
            "it has {} systems, and none says that it is this server: nothing is done to any",
            members.len()
        )))
    }
}

/// Why a console is not to be had by Redfish, and where it is: what the controller says of its own ways.
pub async fn console(account: &Account, secret: Secret) -> Fault {
    let redfish = Redfish::new(account.clone(), secret, Own::default());
    let ways = match redfish.ways().await {
        Ok(ways) => ways,
        Err(fault @ (Fault::Login(_) | Fault::Stranger(_) | Fault::Unreachable(_) | Fault::Busy(_))) => {
            return fault;
        }
        Err(Fault::Lost(_) | Fault::Refused(_)) => Vec::new(),
    };
    let (host, user) = (account.address.as_ref().map(fleet::power::Address::host), account.user.as_ref());
    let (host, user) = (host.unwrap_or_default(), user.map(fleet::power::User::as_str).unwrap_or_default());
    Fault::Refused(answer::way(&ways, host, user))
}

impl Reach for Redfish {
    fn ask(&self, act: Act) -> BoxFuture<'_, Result<Word, Fault>> {
        Box::pin(self.carry_out(act))
    }

    fn shown(&self) -> Option<String> {
        self.shown.get().cloned()
    }
}
