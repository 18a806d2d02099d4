//! Saying hello until somebody has approved this server.

use std::time::{Duration, Instant};

use protocol::tpm::tpm_transcript;
use protocol::{
    BootFacts, Code, EcPoint, Hello, HelloReply, NodeId, Nonce, Signature, TpmSecret, Verdict, hello_proof,
    routes,
};

use crate::chain::Chain;
use crate::clock;
use crate::controller::{Controller, Dates, Identity, Line, TlsError};
use crate::deploy::Server;
use crate::inventory;
use crate::keys::KeyPair;

/// How long the controller may hold an answer back.
pub(super) const HOLD_SECONDS: u32 = 25;
/// And how much longer the call may take than that.
pub(super) const GRACE: Duration = Duration::from_secs(15);
const REJECTED: Duration = Duration::from_secs(10);
/// A controller that answers at once is not asked more often than this.
const PACE: Duration = Duration::from_secs(1);

/// This server is a node.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) node: NodeId,
    pub(super) name: String,
    /// PEM, as the seed carries it.
    pub(super) certificate: String,
    /// The controller, called with that certificate.
    pub(super) controller: Controller,
}

/// A challenge and our answer to it.
struct Answered {
    node: NodeId,
    nonce: Nonce,
    proof: Signature,
}

/// Says hello until approved, however long that takes.
pub(super) async fn admitted(server: &mut Server, key: &KeyPair) -> Admitted {
    let mut answered = None::<Answered>;
    loop {
        let controller = Controller::new(server.told.controller, server.told.ca, Dates::Lenient, None);
        match controller {
            Ok(controller) => {
                let mut line = Line::new(controller);
                if let Some(admitted) = talk(server, key, &mut line, &mut answered).await {
                    return admitted;
                }
            }
            Err(error) => server.screen.state("can't call", &Chain(&error).to_string()),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Hellos on one line. `None`: begin again with a new one.
async fn talk(
    server: &mut Server,
    key: &KeyPair,
    line: &mut Line,
    answered: &mut Option<Answered>,
) -> Option<Admitted> {
    loop {
        let begun = Instant::now();
        let reply = say(server, key, line, answered.as_ref()).await?;
        if let Err(error) = server.reign.accept(reply.epoch) {
            server.screen.state("refused", &error.to_string());
            tokio::time::sleep(REJECTED).await;
            return None;
        }
        if let Err(error) = clock::follow(reply.time_ms, server.hands) {
            server.screen.milestone(&format!("the clock can't be set: {error}"));
        }
        server.screen.set(|s| s.name = crate::text::name(&reply.name));
        if answered.is_none() {
            server.screen.milestone("hello");
        }
        let fresh = answered.as_ref().is_none_or(|a| (a.node, a.nonce) != (reply.node, reply.nonce));
        if fresh {
            let proof = key.sign(&hello_proof(&server.told.ca, &reply.node, &key.public(), &reply.nonce));
            *answered = Some(Answered { node: reply.node, nonce: reply.nonce, proof });
        }
        let (pin, node, public, nonce) = (server.told.ca, reply.node, key.public(), reply.nonce);
        let transcript = move |keys: (&EcPoint, &EcPoint), secret: &TpmSecret| {
            tpm_transcript(&pin, &node, (&public, &nonce), keys, secret)
        };
        let asked = server.evidence.asked(reply.tpm, transcript).await;
        let code = Code::of(&server.told.ca, &key.public(), &reply.nonce);
        match reply.verdict {
            Verdict::Approved { .. } if reply.ca.is_some_and(|ca| ca != server.told.ca) => {
                // The proof, and what is left on the disk, are of the new one from here on.
                reply.ca.into_iter().for_each(|ca| server.told.moves_to(ca));
                server.screen.milestone("the site CA has changed: saying hello again");
                *answered = None;
                return None;
            }
            Verdict::Approved { certificate } => {
                match admit(server, key, reply.node, &reply.name, certificate) {
                    Ok(admitted) => return Some(admitted),
                    Err(error) => {
                        server.screen.state("can't use the certificate", &Chain(&error).to_string());
                        tokio::time::sleep(REJECTED).await;
                    }
                }
            }
            Verdict::Waiting { reason } => {
                server.screen.code(Some(&code));
                server.screen.state("waiting for approval", &reason);
            }
            Verdict::Rejected { reason } => {
                server.screen.code(None);
                server.screen.state("rejected", &reason);
                tokio::time::sleep(REJECTED).await;
            }
        }
        let is_first_answer = (fresh || asked) && begun.elapsed() < PACE;
        tokio::time::sleep(if is_first_answer { PACE / 10 } else { PACE.saturating_sub(begun.elapsed()) })
            .await;
    }
}

async fn say(
    server: &Server,
    key: &KeyPair,
    line: &mut Line,
    answered: Option<&Answered>,
) -> Option<HelloReply> {
    let root = server.root.clone();
    let inventory = tokio::task::spawn_blocking(move || inventory::take(&root)).await.unwrap_or_default();
    // Without a proof there can't be a verdict: nothing to wait for.
    let wait_seconds = if answered.is_some() { HOLD_SECONDS } else { 0 };
    let boot = BootFacts {
        mac: server.told.mac.clone(),
        address: server.told.address.address,
        path: server.told.path.as_str().to_owned(),
        uptime_seconds: clock::uptime_seconds(&server.root),
        boot_id: crate::serve::boot_id(&server.root),
    };
    let hello = Hello {
        proof: answered.map(|a| a.proof),
        wait_seconds,
        tpm: Some(server.evidence.told()),
        ..Hello::new(key.public(), boot, inventory)
    };
    let deadline = Duration::from_secs(u64::from(wait_seconds)) + GRACE;
    loop {
        match line.call(routes::HELLO, &hello, deadline).await {
            Ok(reply) => return Some(reply),
            Err(error) => {
                server.screen.state("calling the controller", &Chain(&error).to_string());
                tokio::time::sleep(line.pause()).await;
                // Anything but a silent controller may be about what we said: say it again, afresh.
                if !error.is_unreachable() {
                    return None;
                }
            }
        }
    }
}

fn admit(
    server: &Server,
    key: &KeyPair,
    node: NodeId,
    name: &str,
    certificate: String,
) -> Result<Admitted, TlsError> {
    let identity = Identity::new(&certificate, key)?;
    let controller = Controller::new(server.told.controller, server.told.ca, Dates::Strict, Some(identity))?;
    server.screen.code(None);
    server.screen.state("approved", "");
    server.screen.milestone("approved");
    Ok(Admitted { node, name: name.to_owned(), certificate, controller })
}
