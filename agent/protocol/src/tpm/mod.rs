//! The evidence of a TPM 2.0: that the key which says hello is in the server with this endorsement key.
//!
//! The agent tells two public keys that live in its TPM: the endorsement key, which is the same for the life of the TPM, and an
//! attestation key of this boot. The controller sends a secret that only a TPM with both of them gives out
//! (`TPM2_MakeCredential`, `TPM2_ActivateCredential`), and the attestation key signs a quote over the transcript with that secret
//! and the agent's own key. All keys are of one shape each ([`KeyKind`]), so only their points travel.
//!
//! Sources: TPM 2.0 Library 1.59, Part 1 §24 (credential protection), Part 2 (structures), Part 3 (commands); TCG EK Credential
//! Profile 2.5, template L-2.

mod attest;
mod command;
mod key;
mod response;

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Serialize};

use crate::bounds::{TooMuch, texts};
use crate::identity::hex_identity;
use crate::{CaPin, IdentityError, Key, NodeId, Nonce};

pub use attest::{AttestError, quoted};
pub use command::{Handle, activate_credential, create_primary, flush, policy_secret, quote, start_policy};
pub use key::KeyKind;
pub use response::{
    RESPONSE_BYTES_MAX, ResponseError, Signed, acknowledged, activated, created, session_started, signed,
};

hex_identity!(
    /// The public half of a key on the curve P-256: both coordinates, 32 bytes each.
    EcPoint, 64, "a point of P-256"
);
hex_identity!(
    /// What identifies a TPM: SHA-256 of its endorsement key's public area, which is its Name without the two bytes in front.
    Ek, 32, "the digest of an endorsement key"
);
hex_identity!(
    /// The secret of one challenge.
    TpmSecret, 32, "a secret"
);
hex_identity!(
    /// The secret, as only one TPM opens it: HMAC and encrypted secret of a `TPMS_ID_OBJECT`, without the length of the former.
    CredentialBlob, 66, "a credential"
);
hex_identity!(
    /// An ECDSA signature on P-256: r and s, 32 bytes each.
    EcdsaSignature, 64, "an ECDSA signature"
);

/// What a TPM attests, in bytes: a quote of none of its registers has about 145.
pub const ATTEST_BYTES_MAX: usize = 512;

/// What the agent says of its server's TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tpm {
    /// None speaks, for this reason.
    Lacks(String),
    /// These keys are in it.
    Keys(TpmKeys),
}

/// Two keys of a TPM, and its answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmKeys {
    /// The endorsement key.
    pub endorsement: EcPoint,
    /// The attestation key of this boot.
    pub attestation: EcPoint,
    /// The answer to the challenge of the last reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<TpmAnswer>,
}

/// A quote by the attestation key, over the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmAnswer {
    /// The `TPMS_ATTEST`, as the TPM made it.
    pub attest: Attest,
    /// Over its SHA-256.
    pub signature: EcdsaSignature,
}

/// The controller's challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The ephemeral key that the endorsement key agrees with.
    pub point: EcPoint,
    /// The secret under what they agree on, for the attestation key alone.
    pub blob: CredentialBlob,
}

/// The bytes of a `TPMS_ATTEST`, not read yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attest(Vec<u8>);

impl Attest {
    /// At most [`ATTEST_BYTES_MAX`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= ATTEST_BYTES_MAX).then_some(Self(bytes))
    }

    /// What was signed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Attest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attest({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for Attest {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::Hex {
            kind: "what a TPM attests",
            bytes: ATTEST_BYTES_MAX,
            got: text.chars().take(80).collect(),
        };
        if text.len() > 2 * ATTEST_BYTES_MAX {
            return Err(wrong());
        }
        HEX.decode(text.as_bytes()).map(Self).map_err(|_| wrong())
    }
}

impl From<Attest> for String {
    fn from(attest: Attest) -> String {
        HEX.encode(&attest.0)
    }
}

impl Tpm {
    /// Whether everything in it stays within bounds.
    pub(crate) fn check(&self) -> Result<(), TooMuch> {
        match self {
            Tpm::Lacks(reason) => texts("what is said of a TPM", [reason]),
            Tpm::Keys(_) => Ok(()),
        }
    }
}

impl EcPoint {
    /// Both coordinates.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        self.0.split_at(32)
    }
}

/// What is hashed for the quote: whoever knows the secret, for which node, with which key and challenge, in which TPM.
pub fn tpm_transcript(
    pin: &CaPin,
    node: &NodeId,
    (key, nonce): (&Key, &Nonce),
    (endorsement, attestation): (&EcPoint, &EcPoint),
    secret: &TpmSecret,
) -> Vec<u8> {
    let said = [&pin.0, node.0.as_slice(), &key.0, &nonce.0, &endorsement.0, &attestation.0, &secret.0];
    [b"rackwright tpm v1\0".as_slice(), &said.concat()].concat()
}
