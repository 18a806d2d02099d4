//! What agents may ask: one function per route of `protocol::routes`, each with the stage it is for.
//!
//! Who asks is taken from the certificate of the connection, never from the request. Every change goes through the
//! writer; an answer leaves only after its commit.

mod burn_in;
mod capture;
mod captured;
mod cast;
mod deploy;
mod hello;
mod network;
mod route;
mod run;
mod service;
#[cfg(test)]
mod tests;

pub use self::cast::Way;
pub use self::route::Route;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::certificate::{
    Authed, Certificate, Grant, Stage, Unauthorised, authorise, authorise_enrolment, authorise_erasing,
    authorise_unlisted,
};
use fleet::event::Effect;
use fleet::trust::Holder;
use fleet::{Denied, Event, Time};
use protocol::{CaPin, Envelope, Key, NodeId, Signature, TooMuch, routes};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answers::Answers;
use crate::ca::{CaError, Leaf, SiteCa};
use crate::cast::Casts;
use crate::images::{CaptureError, Captures, ImageError, Images, Stored};
use crate::preflight::Preflights;
use crate::writer::{Core, Done, Refused, World, now};

/// Longest an answer is held back for news.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// What agents talk to.
#[derive(Clone, Debug)]
pub struct Agents {
    core: Core,
    ca: Arc<SiteCa>,
    images: Arc<Images>,
    captures: Arc<Captures>,
    casts: Arc<Casts>,
    preflights: Arc<Preflights>,
    answers: Answers,
    measured: Arc<burn_in::Turn>,
}

/// A request, as the connection brought it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// SHA-256 of the client certificate, if it showed one.
    pub fingerprint: Option<&'a str>,
    /// That certificate, and those that came with it; genuine, but it may have ended, or have been issued by a controller that is
    /// gone.
    pub shown: &'a [CertificateDer<'static>],
    /// `GET` or `POST`.
    pub post: bool,
    /// The path.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The way it came.
    pub way: Way,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// JSON.
    Json(Vec<u8>),
    /// The data area of an image, for this node; the connection serves the range that was asked for.
    Data(Arc<Stored>, NodeId),
    /// Bytes as they are.
    Bytes(bytes::Bytes),
}

/// Why an agent's request was refused.
#[derive(Debug, thiserror::Error)]
pub enum AgentRefusal {
    /// There is no such route.
    #[error("there is no {0}")]
    NoRoute(String),
    /// Not with this certificate.
    #[error(transparent)]
    Unauthorised(#[from] Unauthorised),
    /// The body is not what the route takes.
    #[error("the request is not understood: {0}")]
    Body(#[source] serde_json::Error),
    /// Another protocol.
    #[error("this agent speaks protocol {0}, this controller {ours}: build the image and the ramdisk again", ours = protocol::VERSION)]
    Version(u32),
    /// Bytes that are not coded as the route takes them.
    #[error("the request is not understood: {0}")]
    Coding(&'static str),
    /// A window, or the bytes of one, is not taken.
    #[error("{}", crate::chain(.0))]
    Capture(#[from] CaptureError),
    /// More than a server has to say.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The key's proof does not fit.
    #[error("the proof does not fit the key")]
    Proof,
    /// Not now; asking again helps.
    #[error("{0}")]
    NotYet(&'static str),
    /// The rules, or the disk, say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something of ours is broken.
    #[error("{0}")]
    Broken(String),
}

impl AgentRefusal {
    /// The HTTP status that says so, and whether asking again may help.
    pub fn status(&self) -> (u16, bool) {
        match self {
            AgentRefusal::NoRoute(_) => (404, false),
            AgentRefusal::Unauthorised(Unauthorised::NoCertificate) => (401, false),
            AgentRefusal::Unauthorised(_) | AgentRefusal::Proof => (403, false),
            AgentRefusal::Body(_)
            | AgentRefusal::Version(_)
            | AgentRefusal::TooMuch(_)
            | AgentRefusal::Coding(_) => (400, false),
            AgentRefusal::Capture(error) if error.may_pass() => (503, true),
            AgentRefusal::Capture(_) => (409, false),
            AgentRefusal::Refused(Refused::Denied(Denied::Missing { .. })) => (404, false),
            // It is right in a while, or somebody says so.
            AgentRefusal::Refused(Refused::Denied(Denied::Clock(_))) => (503, true),
            AgentRefusal::Refused(Refused::Denied(_)) => (409, false),
            AgentRefusal::Refused(Refused::Unsaved(_) | Refused::Stopping)
            | AgentRefusal::NotYet(_)
            | AgentRefusal::Broken(_) => (503, true),
        }
    }
}

impl AgentRefusal {
    /// Whether a new certificate is what helps.
    pub fn renew(&self) -> bool {
        matches!(self, AgentRefusal::Unauthorised(Unauthorised::Expired | Unauthorised::Unknown))
    }
}

impl From<CaError> for AgentRefusal {
    fn from(error: CaError) -> Self {
        AgentRefusal::Broken(crate::chain(&error))
    }
}

impl From<ImageError> for AgentRefusal {
    fn from(error: ImageError) -> Self {
        AgentRefusal::Broken(crate::chain(&error))
    }
}

impl Agents {
    /// What agents talk to.
    pub fn new(
        core: Core,
        ca: Arc<SiteCa>,
        images: Arc<Images>,
        casts: Arc<Casts>,
        preflights: Arc<Preflights>,
        answers: Answers,
    ) -> Self {
        let captures = Arc::new(Captures::new(Arc::clone(&images)));
        Self { core, ca, images, captures, casts, preflights, answers, measured: Arc::default() }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`AgentRefusal`], to be sent as a `protocol::Refusal`.
    pub async fn answer(&self, asked: &Asked<'_>) -> Result<Answer, AgentRefusal> {
        let stage = |stage| authorise(&self.core.world().fleet, asked.fingerprint, stage, now());
        // One that has ended counts only for disks that are being erased and servers that are tested, which no other progress is
        // about.
        let erasing = || authorise_erasing(&self.core.world().fleet, asked.fingerprint, now());
        let no_route = || AgentRefusal::NoRoute(asked.path.chars().take(80).collect());
        match Route::of(asked.post, asked.path).ok_or_else(no_route)? {
            Route::Hello => json(&self.hello(body(asked)?).await?),
            Route::Task => {
                json(&self.task(self.up_to_date(stage(Stage::Deploy)?)?, body(asked)?, asked.way).await?)
            }
            Route::Progress => json(&self.progress(erasing()?, body(asked)?).await?),
            Route::Cast => json(&self.cast(&stage(Stage::Deploy)?, &body(asked)?, asked.way)?),
            Route::Verified => json(&self.verified(stage(Stage::Deploy)?, body(asked)?).await?),
            Route::Erased => json(&self.erased(erasing()?, body(asked)?).await?),
            Route::Rescue => json(&self.rescue(stage(Stage::Deploy)?, body(asked)?).await?),
            Route::Tested => json(&self.tested(erasing()?, body(asked)?).await?),
            Route::TestData => Ok(Answer::Bytes(self.test_data(&erasing()?, asked.path)?)),
            Route::Windows => json(&self.windows(stage(Stage::Deploy)?, body(asked)?).await?),
            Route::Stored => {
                let place = asked.path.strip_prefix(routes::STORED).and_then(capture::place);
                let place = place.ok_or_else(no_route)?;
                json(&self.stored(stage(Stage::Deploy)?, place, asked.body.to_vec()).await?)
            }
            Route::Seal => json(&self.seal(stage(Stage::Deploy)?, body(asked)?).await?),
            Route::Manifest => json(&self.image(stage(Stage::Deploy)?, asked)?.0.signed),
            Route::Data => {
                let (stored, node) = self.image(stage(Stage::Deploy)?, asked)?;
                Ok(Answer::Data(stored, node))
            }
            Route::Enrol => {
                let who = self.enroller(asked).await?;
                json(&self.enrol(who, body(asked)?).await?)
            }
            Route::Escrow => json(&self.escrow(stage(Stage::Run)?, body(asked)?).await?),
            Route::State => json(&self.state(stage(Stage::Run)?, body(asked)?).await?),
            Route::Report => json(&self.report(stage(Stage::Run)?, body(asked)?).await?),
            Route::Network => {
                let who = stage(Stage::Deploy).or_else(|_| stage(Stage::Run))?;
                json(&self.network(who, body(asked)?).await?)
            }
            Route::Ticket => json(&self.ticket(stage(Stage::Run)?, body(asked)?).await?),
        }
    }

    /// A ramdisk without work says hello again when the CA is changed: so it has a certificate of the new one.
    fn up_to_date(&self, who: Authed) -> Result<Authed, AgentRefusal> {
        if fleet::trust::is_stale(&self.core.world().fleet, &who.certificate) {
            return Err(Unauthorised::Expired.into());
        }
        Ok(who)
    }

    /// Writes down under which CA somebody is, before anything is given for its word.
    async fn pin(&self, node: NodeId, holder: Holder, pin: CaPin) -> Result<(), AgentRefusal> {
        let world = self.core.world();
        let node = world.fleet.nodes.get(&node);
        let Some(node) = node else { return Ok(()) };
        let known = match holder {
            Holder::System => node.pin == Some(pin),
            Holder::Ramdisk(key) => {
                let deploy = node.deploy.filter(|deploy| deploy.key == key).map(|deploy| deploy.pin);
                let claim = node.claim.as_ref().filter(|claim| claim.key == key).map(|claim| claim.pin);
                [deploy, claim].into_iter().flatten().all(|known| known == Some(pin))
            }
        };
        if !known {
            self.core.bring(Event::Pinned { node: node.id, holder, pin }).await?;
        }
        Ok(())
    }

    /// Who may enrol. A node that comes too late is remembered, so that an operator hears of it.
    async fn enroller(&self, asked: &Asked<'_>) -> Result<Authed, AgentRefusal> {
        let world = self.core.world();
        let (fleet, now) = (&world.fleet, now());
        let mut known = authorise_enrolment(fleet, asked.fingerprint, now);
        let mut holder =
            asked.fingerprint.and_then(|print| fleet.certificates.get(print)).map(|row| row.node);
        if let (Err(Unauthorised::Unknown), Some(print)) = (&known, asked.fingerprint)
            && let Some(shown) = self.ca.recognise(asked.shown)
        {
            known = authorise_unlisted(fleet, print, shown.key, shown.until, now);
            holder = fleet.nodes.values().find(|node| node.run == Some(shown.key)).map(|node| node.id);
        }
        if let (Err(Unauthorised::TooLate { .. }), Some(node)) = (&known, holder)
            && fleet.nodes.get(&node).is_some_and(|node| node.lapsed.is_none())
        {
            self.core.bring(Event::Lapsed { node }).await?;
        }
        Ok(known?)
    }

    /// The image that the asking node's job is about, if it is the one that it asks for.
    fn image(&self, who: Authed, asked: &Asked<'_>) -> Result<(Arc<Stored>, NodeId), AgentRefusal> {
        let no_route = || AgentRefusal::NoRoute(asked.path.chars().take(120).collect());
        let (digest, _) = route::image(asked.path).ok_or_else(no_route)?;
        let world = self.core.world();
        let job = world.fleet.nodes.get(&who.node).and_then(|node| node.state.job());
        let job = job.and_then(|id| world.fleet.jobs.get(&id)).filter(|job| job.image == digest);
        if job.is_none() {
            return Err(no_route());
        }
        Ok((self.images.stored(&digest)?, who.node))
    }

    /// Signs what the rules granted, and makes it durable before it is handed out.
    async fn issue(&self, done: &Done) -> Result<Option<String>, AgentRefusal> {
        let Some(grant) = granted(done) else { return Ok(None) };
        let issued = self.ca.issue(&leaf(grant))?;
        let certificate = Certificate {
            fingerprint: issued.fingerprint,
            node: grant.node,
            key: grant.key,
            stage: grant.stage,
            generation: grant.generation,
            until: grant.until,
            number: grant.number,
            ca: Some(issued.ca),
        };
        self.core.bring(Event::Issued(certificate)).await?;
        Ok(Some(issued.chain_pem))
    }

    /// Waits until `ready` holds of the world, the time is over, or the daemon stops.
    async fn wait_for(&self, seconds: u32, mut ready: impl FnMut(&World) -> bool) {
        let limit = Duration::from_secs(u64::from(seconds)).min(MAX_WAIT);
        let mut watch = self.core.watch();
        let changed = watch.wait_for(|world| ready(world));
        drop(tokio::time::timeout(limit, changed).await);
    }

    /// Wraps a command for the node that asks.
    fn envelope<T>(&self, who: &Authed, body: T) -> Envelope<T> {
        let world = self.core.world();
        let node = world.fleet.nodes.get(&who.node);
        Envelope {
            node: who.node,
            generation: node.map_or(who.certificate.generation, |node| node.generation),
            epoch: world.fleet.epoch,
            job: node.and_then(|node| node.state.job()),
            body,
        }
    }
}

/// The certificate that is to be signed.
fn granted(done: &Done) -> Option<&Grant> {
    done.effects.first().map(|Effect::Issue(grant)| grant)
}

fn leaf(grant: &Grant) -> Leaf {
    let at = |time: Time| UNIX_EPOCH + Duration::from_millis(time.0);
    // Backdated: the node's clock may be behind ours when it first shows it to another verifier.
    let begin = SystemTime::now().checked_sub(Duration::from_secs(3600)).unwrap_or(UNIX_EPOCH);
    Leaf {
        key: grant.key,
        node: grant.node,
        stage: grant.stage,
        generation: grant.generation,
        not_before: begin,
        not_after: at(grant.until),
    }
}

fn body<T: DeserializeOwned>(asked: &Asked<'_>) -> Result<T, AgentRefusal> {
    serde_json::from_slice(asked.body).map_err(AgentRefusal::Body)
}

fn json<T: Serialize>(value: &T) -> Result<Answer, AgentRefusal> {
    serde_json::to_vec(value).map(Answer::Json).map_err(AgentRefusal::Body)
}

/// Whether `signature` over `message` was made with `key`.
fn proves(key: &Key, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, &key.0).verify(message, &signature.0).is_ok()
}
