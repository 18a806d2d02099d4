//! The TPM of a node: which one it is, what it is asked, and when a server is not believed for want of it.
//!
//! A TPM is asked only for a key that is proven, and each question is answered once: what was answered is forgotten in the
//! transaction that counts it. So the certificate of a ramdisk is given only to a key whose TPM has spoken for it just now, and
//! where a node was let in with its TPM, nobody is that node without it. A server without one is let in by a person who compares
//! the code, as ever: then [`KnownTpm::lacks`] says why.

use protocol::tpm::KeyKind;
use protocol::{EcPoint, Ek, Hello, Key, NodeId, Nonce, Tpm, TpmKeys, TpmSecret};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::entropy::Entropy;
use crate::event::Standing;
use crate::node::{Approved, Claim};
use crate::{Fleet, Node, Outcome, State, Time};

/// What an agent has not said.
const SILENT: &str = "its agent does not say whether it has one";

/// A challenge: the secret is for the TPM that has both keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The endorsement key.
    pub endorsement: EcPoint,
    /// The attestation key.
    pub attestation: EcPoint,
    /// Drawn for this question.
    pub secret: TpmSecret,
}

/// What is known of a node's TPM since it was let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTpm {
    /// Proven for a key that was let in: nobody is this node without it.
    pub ek: Option<Ek>,
    /// When it was last proven.
    pub proven: Option<Time>,
    /// Why there is no proof, as its agent said last.
    pub lacks: Option<String>,
    /// It was let in because its TPM is expected, not by a person.
    #[serde(default)]
    pub expected: bool,
}

/// What the TPM of a key says that waits for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedTpm {
    /// Proven for this key.
    pub ek: Option<Ek>,
    /// What it is being asked.
    pub question: Option<Question>,
    /// Why there is no proof, as its agent said last.
    pub lacks: Option<String>,
}

/// What a hello says of a TPM, after what was asked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// This one has answered.
    Proven(Ek),
    /// It has yet to answer this.
    Asked(Question),
    /// None speaks.
    Lacks(String),
}

/// SHA-256 of the endorsement key's public area.
pub fn ek_of(endorsement: &EcPoint) -> Ek {
    Ek(Sha256::digest(KeyKind::Endorsement.public_area(endorsement)).into())
}

/// Everything that the TPM behind this key is being asked, and for which node.
pub fn questions<'a>(fleet: &'a Fleet, key: &'a Key) -> impl Iterator<Item = (NodeId, Nonce, Question)> + 'a {
    fleet.nodes.values().flat_map(move |node| {
        let deploy = node.deploy.filter(|deploy| deploy.key == *key);
        let deploy = deploy.and_then(|deploy| Some((deploy.nonce, deploy.question?)));
        let claim = node.claim.as_ref().filter(|claim| claim.key == *key);
        let claim = claim.and_then(|claim| Some((claim.nonce, claim.tpm.question?)));
        deploy.into_iter().chain(claim).map(|(nonce, question)| (node.id, nonce, question))
    })
}

/// The TPM that a hello says it comes from, proven or not.
pub(crate) fn said(hello: &Hello) -> Option<Ek> {
    keys(hello).map(|keys| ek_of(&keys.endorsement))
}

/// What a proven key's hello comes to; `answered`: the secret that its answer was checked with.
pub(crate) fn hear(
    open: Option<Question>,
    hello: &Hello,
    answered: Option<TpmSecret>,
    dice: &mut Entropy,
) -> Heard {
    let Some(TpmKeys { endorsement, attestation, answer: _ }) = keys(hello).cloned() else {
        return Heard::Lacks(lacks(hello));
    };
    let open = open.filter(|open| (open.endorsement, open.attestation) == (endorsement, attestation));
    match open {
        Some(question) if answered == Some(question.secret) => Heard::Proven(ek_of(&endorsement)),
        Some(question) => Heard::Asked(question),
        None => Heard::Asked(ask(&endorsement, &attestation, dice)),
    }
}

/// A new question to the same keys.
pub(crate) fn ask(endorsement: &EcPoint, attestation: &EcPoint, dice: &mut Entropy) -> Question {
    Question { endorsement: *endorsement, attestation: *attestation, secret: TpmSecret(dice.draw()) }
}

/// The claim after a hello with its key, which is proven.
pub(crate) fn claimed(
    claim: &Claim,
    hello: &Hello,
    answered: Option<TpmSecret>,
    dice: &mut Entropy,
) -> ClaimedTpm {
    // Once is enough to show it to a person; its certificate asks again.
    if claim.tpm.ek.is_some() && claim.tpm.ek == said(hello) {
        return claim.tpm.clone();
    }
    match hear(claim.tpm.question, hello, answered, dice) {
        Heard::Proven(ek) => ClaimedTpm { ek: Some(ek), question: None, lacks: None },
        Heard::Asked(question) => ClaimedTpm { ek: None, question: Some(question), lacks: None },
        Heard::Lacks(why) => ClaimedTpm { ek: None, question: None, lacks: Some(why) },
    }
}

/// The node after its approved key has said hello with proof; where the key stands then, and what its TPM is asked.
pub(crate) fn spoken(
    node: &mut Node,
    heard: Heard,
    now: Time,
    outcome: &mut Outcome,
) -> (Standing, Option<Question>) {
    let (mut standing, mut question) = (Standing::Approved, None);
    match heard {
        Heard::Proven(ek) => {
            if node.tpm.ek != Some(ek) {
                outcome.fact(node.id, "tpm", format!("its TPM is {ek}, proven"));
            }
            node.tpm.ek = Some(ek);
            (node.tpm.proven, node.tpm.lacks) = (Some(now), None);
        }
        Heard::Asked(asked) => {
            standing = Standing::Waiting("asking its TPM whose it is".to_owned());
            question = Some(asked);
        }
        Heard::Lacks(why) => node.tpm.lacks = Some(why),
    }
    // What was answered is spent.
    node.deploy = node.deploy.map(|deploy| Approved { question, ..deploy });
    (standing, question)
}

/// What is known of the node's TPM from when this claim is approved; `same`: nothing spoke against its being this node.
pub(crate) fn approved(node: &Node, claim: &ClaimedTpm, same: bool) -> KnownTpm {
    KnownTpm {
        ek: claim.ek.or(node.tpm.ek.filter(|_| same)),
        proven: node.tpm.proven.filter(|_| same),
        lacks: claim.lacks.clone(),
        expected: false,
    }
}

/// Why the server that says this is not `node`, which was let in with its TPM, or has another's.
pub(crate) fn stranger(fleet: &Fleet, node: &Node, hello: &Hello) -> Option<String> {
    let said = said(hello);
    if let Some(ek) = node.tpm.ek.filter(|ek| said != Some(*ek)) {
        let short = ek.to_string().chars().take(12).collect::<String>();
        return Some(match said {
            Some(_) => format!("its TPM is another one than that of {} ({short}…)", node.name),
            None => format!("{} was let in with its TPM ({short}…), and that does not speak", node.name),
        });
    }
    let other = owner(fleet, said?).find(|other| other.id != node.id)?;
    Some(format!("its TPM is that of {}", other.name))
}

/// Nodes with this TPM, and servers that wait for approval with it.
pub(crate) fn owner(fleet: &Fleet, ek: Ek) -> impl Iterator<Item = &Node> {
    fleet.nodes.values().filter(move |node| {
        let waits = || {
            let claim = node.claim.as_ref().filter(|claim| claim.clash.is_none());
            claim.and_then(|claim| claim.tpm.ek)
        };
        match &node.state {
            State::Rejected { .. } | State::Retired => false,
            State::Discovered => waits() == Some(ek),
            State::Inspecting
            | State::Testing { .. }
            | State::Ready
            | State::Planned { .. }
            | State::Imaging { .. }
            | State::Verifying { .. }
            | State::Booting { .. }
            | State::Enrolling { .. }
            | State::Active
            | State::Draining { .. }
            | State::Capturing { .. }
            | State::Retiring { .. }
            | State::Rescue { .. }
            | State::Servicing { .. }
            | State::Returning { .. }
            | State::Attention { .. } => node.tpm.ek == Some(ek),
        }
    })
}

fn keys(hello: &Hello) -> Option<&TpmKeys> {
    match hello.tpm.as_ref()? {
        Tpm::Keys(keys) => Some(keys),
        Tpm::Lacks(_) => None,
    }
}

fn lacks(hello: &Hello) -> String {
    match &hello.tpm {
        Some(Tpm::Lacks(why)) => why.clone(),
        Some(Tpm::Keys(_)) | None => SILENT.to_owned(),
    }
}
