//! The commands that a TPM is sent, byte for byte (TPM 2.0 Library, Part 3).

use super::key::{KeyKind, sized, words};
use super::{Credential, EcPoint};

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;

const CREATE_PRIMARY: u32 = 0x0131;
const ACTIVATE_CREDENTIAL: u32 = 0x0147;
const POLICY_SECRET: u32 = 0x0151;
const QUOTE: u32 = 0x0158;
const FLUSH_CONTEXT: u32 = 0x0165;
const START_AUTH_SESSION: u32 = 0x0176;

const NOBODY: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;
const ENDORSEMENT: u32 = 0x4000_000b;

const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const POLICY_SESSION: u8 = 1;

/// Something that is in the TPM until it is flushed: a key, or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

/// `TPM2_CreatePrimary`: the endorsement key under the hierarchy of that name, the attestation key under the one that ends with
/// this boot and has no password.
pub fn create_primary(kind: KeyKind) -> Vec<u8> {
    let mut command = begun(SESSIONS, CREATE_PRIMARY);
    let hierarchy = match kind {
        KeyKind::Endorsement => ENDORSEMENT,
        KeyKind::Attestation => NOBODY,
    };
    command.extend(hierarchy.to_be_bytes());
    authorised(&mut command, &[PASSWORD]);
    // No password, no data to seal.
    sized(&mut command, &[0; 4]);
    sized(&mut command, &kind.template());
    sized(&mut command, &[]);
    command.extend(0_u32.to_be_bytes());
    ended(command)
}

/// `TPM2_StartAuthSession` of a policy session, with this nonce of 16 bytes.
pub fn start_policy(nonce: &[u8; 16]) -> Vec<u8> {
    let mut command = begun(NO_SESSIONS, START_AUTH_SESSION);
    command.extend([NOBODY, NOBODY].map(u32::to_be_bytes).concat());
    sized(&mut command, nonce);
    sized(&mut command, &[]);
    command.push(POLICY_SESSION);
    words(&mut command, &[ALG_NULL, ALG_SHA256]);
    ended(command)
}

/// `TPM2_PolicySecret` of the endorsement hierarchy: what the endorsement key asks for.
pub fn policy_secret(session: Handle) -> Vec<u8> {
    let mut command = begun(SESSIONS, POLICY_SECRET);
    command.extend([ENDORSEMENT, session.0].map(u32::to_be_bytes).concat());
    authorised(&mut command, &[PASSWORD]);
    // Nonce, parameters, reference: none; and it does not expire.
    command.extend([0; 6]);
    command.extend(0_i32.to_be_bytes());
    ended(command)
}

/// `TPM2_ActivateCredential`: ends the session.
pub fn activate_credential(
    attestation: Handle,
    endorsement: Handle,
    session: Handle,
    credential: &Credential,
) -> Vec<u8> {
    let mut command = begun(SESSIONS, ACTIVATE_CREDENTIAL);
    command.extend([attestation.0, endorsement.0].map(u32::to_be_bytes).concat());
    authorised(&mut command, &[PASSWORD, session.0]);
    let (hmac, encrypted) = credential.blob.0.split_at(32);
    let mut object = Vec::with_capacity(68);
    sized(&mut object, hmac);
    object.extend(encrypted);
    sized(&mut command, &object);
    sized(&mut command, &point(&credential.point));
    ended(command)
}

/// `TPM2_Quote` of no register at all: what counts is whose it is, and what it is over.
pub fn quote(attestation: Handle, over: &[u8; 32]) -> Vec<u8> {
    let mut command = begun(SESSIONS, QUOTE);
    command.extend(attestation.0.to_be_bytes());
    authorised(&mut command, &[PASSWORD]);
    sized(&mut command, over);
    // The key's own scheme.
    words(&mut command, &[ALG_NULL]);
    command.extend(0_u32.to_be_bytes());
    ended(command)
}

/// `TPM2_FlushContext`.
pub fn flush(handle: Handle) -> Vec<u8> {
    let mut command = begun(NO_SESSIONS, FLUSH_CONTEXT);
    command.extend(handle.0.to_be_bytes());
    ended(command)
}

/// A `TPMS_ECC_POINT`.
fn point(point: &EcPoint) -> Vec<u8> {
    let (x, y) = point.coordinates();
    let mut out = Vec::with_capacity(68);
    sized(&mut out, x);
    sized(&mut out, y);
    out
}

fn begun(tag: u16, code: u32) -> Vec<u8> {
    let mut command = Vec::with_capacity(256);
    words(&mut command, &[tag]);
    command.extend(0_u32.to_be_bytes());
    command.extend(code.to_be_bytes());
    command
}

/// The authorisation area: no nonces, no attributes, empty passwords.
fn authorised(command: &mut Vec<u8>, sessions: &[u32]) {
    let area = sessions.iter().flat_map(|session| session.to_be_bytes().into_iter().chain([0; 5]));
    let area = area.collect::<Vec<u8>>();
    command.extend(u32::try_from(area.len()).unwrap_or(0).to_be_bytes());
    command.extend(area);
}

/// With its length in the header.
fn ended(mut command: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(command.len()).unwrap_or(0).to_be_bytes();
    for (to, from) in command.iter_mut().skip(2).zip(length) {
        *to = from;
    }
    command
}
