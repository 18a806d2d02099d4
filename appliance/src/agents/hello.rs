//! The ramdisk's hello.

use fleet::enroll::challenges;
use fleet::event::Standing;
use fleet::tpm::{Question, questions};
use fleet::trust::Holder;
use fleet::{Event, Fleet, Reply};
use protocol::tpm::tpm_transcript;
use protocol::{Hello, HelloReply, Key, NodeId, Nonce, Signature, Tpm, TpmSecret, Verdict, hello_proof};
use ring::rand::SystemRandom;

use super::{AgentRefusal, Agents, proves};
use crate::tpm;
use crate::writer::{Refused, now};

impl Agents {
    pub(super) async fn hello(&self, hello: Hello) -> Result<HelloReply, AgentRefusal> {
        let first = self.first(&hello).await;
        if let Ok(mac) = hello.boot.mac.as_str().parse() {
            let refused = first.as_ref().err().map(ToString::to_string);
            self.core.boots.hello(&self.core.world(), mac, refused);
        }
        let reply = first?;
        // A question is news already.
        let settled = !matches!(reply.verdict, Verdict::Waiting { .. }) || reply.tpm.is_some();
        if settled || hello.wait_seconds == 0 {
            return Ok(reply);
        }
        // Held back until somebody decides about this key, so that a server shows it at once.
        let (node, key) = (reply.node, hello.key);
        let before = standing(&self.core.world().fleet, node, &key);
        self.wait_for(hello.wait_seconds, |world| standing(&world.fleet, node, &key) != before).await;
        self.say(&hello).await
    }

    async fn first(&self, hello: &Hello) -> Result<HelloReply, AgentRefusal> {
        if hello.protocol != protocol::VERSION {
            return Err(AgentRefusal::Version(hello.protocol));
        }
        hello.check()?;
        self.refuse_elsewhere(hello)?;
        self.say(hello).await
    }

    /// The secret of the question that the hello's TPM has answered, under whichever CA its agent was told of.
    fn answered(&self, fleet: &Fleet, hello: &Hello) -> Option<TpmSecret> {
        let Some(Tpm::Keys(keys)) = &hello.tpm else { return None };
        let pins = self.ca.pins();
        let is_answered = |node: &NodeId, nonce: &Nonce, question: &Question| {
            let points = (&keys.endorsement, &keys.attestation);
            pins.iter().any(|pin| {
                tpm::answers(question, keys, |secret| {
                    tpm_transcript(pin, node, (&hello.key, nonce), points, secret)
                })
            })
        };
        let mut open = questions(fleet, &hello.key);
        open.find(|(node, nonce, asked)| is_answered(node, nonce, asked)).map(|(_, _, asked)| asked.secret)
    }

    /// A server that is adopted keeps its address, so that has to be one of ours: else nothing could be done about it later.
    fn refuse_elsewhere(&self, hello: &Hello) -> Result<(), AgentRefusal> {
        let world = self.core.world();
        let (address, subnets) = (hello.boot.address, &world.site.subnets);
        if hello.adoption.is_none() || subnets.iter().any(|subnet| subnet.net.contains(&address)) {
            return Ok(());
        }
        let nets = subnets.iter().map(|subnet| subnet.net.to_string()).collect::<Vec<_>>().join(", ");
        let why = format!(
            "this server calls from {address}, which is in none of the controller's networks ({nets}): give the NIC there an address in \
             one of them, and paste the line again"
        );
        Err(Refused::from(fleet::Denied::Conflict(why)).into())
    }

    async fn say(&self, hello: &Hello) -> Result<HelloReply, AgentRefusal> {
        let world = self.core.world();
        let given = challenges(&world.fleet, &hello.key).collect::<Vec<_>>();
        // Under whichever CA it was told of when it booted.
        let pins = self.ca.pins();
        let fits = |proof: &Signature| {
            let of = |node, nonce, pin| proves(&hello.key, &hello_proof(pin, node, &hello.key, nonce), proof);
            given.iter().find_map(|(node, nonce)| {
                pins.iter().find(|pin| of(node, nonce, pin)).map(|pin| (*node, *pin))
            })
        };
        let proven = match hello.proof.as_ref().filter(|_| !given.is_empty()) {
            Some(proof) => {
                let (node, pin) = fits(proof).ok_or(AgentRefusal::Proof)?;
                self.pin(node, Holder::Ramdisk(hello.key), pin).await?;
                true
            }
            None => false,
        };
        let answered = self.answered(&world.fleet, hello);
        let hello = Box::new(believed(hello.clone()));
        let done = self.core.bring(Event::Hello { hello, proven, answered }).await?;
        let certificate = self.issue(&done).await?;
        let Reply::Hello { node, nonce, standing, question } = done.reply else {
            return Err(AgentRefusal::Broken("a hello was answered with something else".to_owned()));
        };
        let verdict = match (standing, certificate) {
            (Standing::Approved, Some(certificate)) => Verdict::Approved { certificate },
            (Standing::Approved, None) => {
                Verdict::Waiting { reason: "the certificate is being made".to_owned() }
            }
            (Standing::Waiting(reason), _) => Verdict::Waiting { reason },
            (Standing::Rejected(reason), _) => Verdict::Rejected { reason },
        };
        let world = self.core.world();
        let name = world.fleet.nodes.get(&node).map(|node| node.name.to_string()).unwrap_or_default();
        let approved = matches!(verdict, Verdict::Approved { .. });
        let ca = fleet::trust::told(&world.fleet).filter(|_| approved);
        // Its keys are points, or it would not be asked: only the kernel's randomness can fail, and then it is asked again.
        let tpm = question.and_then(|asked| tpm::make_credential(&asked, &SystemRandom::new()).ok());
        Ok(HelloReply { node, name, epoch: world.fleet.epoch, time_ms: now().0, nonce, verdict, ca, tpm })
    }
}

/// A hello without keys of a TPM that are none.
fn believed(mut hello: Hello) -> Hello {
    if let Some(Tpm::Keys(keys)) = &hello.tpm
        && !tpm::are_points(keys, &SystemRandom::new())
    {
        hello.tpm = Some(Tpm::Lacks("the keys that it tells are no points of the curve P-256".to_owned()));
    }
    hello
}

/// Whether this key is approved, whether it still waits, and whether its node is rejected.
fn standing(fleet: &Fleet, node: NodeId, key: &Key) -> Option<(bool, bool, &'static str)> {
    let node = fleet.nodes.get(&node)?;
    let approved = node.deploy.is_some_and(|deploy| deploy.key == *key);
    let waits = node.claim.as_ref().is_some_and(|claim| claim.key == *key);
    Some((approved, waits, if approved { "" } else { node.state.word() }))
}
