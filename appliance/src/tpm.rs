//! What the controller does with keys of TPMs: it wraps a secret for one of them, and checks what one has signed.
//!
//! `TPM2_MakeCredential` in software (TPM 2.0 Library, Part 1 §24 and §11.4.10): agreement on P-256 with the endorsement key, KDFe,
//! KDFa, AES-128 in CFB mode and HMAC-SHA-256. ring has all of it but the cipher: it has AES only inside AEADs, and `aes` is the block
//! cipher alone; the three blocks of CFB are below.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use fleet::tpm::Question;
use protocol::tpm::{Attest, CredentialBlob, EcdsaSignature, KeyKind, quoted};
use protocol::{Credential, EcPoint, TpmKeys, TpmSecret};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use ring::signature::{self, ECDSA_P256_SHA256_FIXED};
use ring::{error::Unspecified, hmac};

/// How often an ephemeral key is made until no number has a zero in front: TPMs are not of one mind whether those count.
const TRIES: usize = 64;

/// Whether the keys of a hello are points of the curve: others are no keys.
pub fn are_points(keys: &TpmKeys, random: &dyn SecureRandom) -> bool {
    [keys.endorsement, keys.attestation].iter().all(|key| agree(key, random).is_ok())
}

/// The secret of a question, as only the TPM opens it in which both of its keys are.
///
/// # Errors
/// The endorsement key is no point of P-256, or the kernel gives no random bytes.
pub fn make_credential(question: &Question, random: &dyn SecureRandom) -> Result<Credential, Unspecified> {
    for _ in 0..TRIES {
        let (point, shared) = agree(&question.endorsement, random)?;
        if point.0.first() != Some(&0) && shared.first() != Some(&0) {
            return Ok(Credential { point, blob: wrapped(question, &point, &shared) });
        }
    }
    Err(Unspecified)
}

/// An ephemeral key, and what it agrees on with `key`.
fn agree(key: &EcPoint, random: &dyn SecureRandom) -> Result<(EcPoint, [u8; 32]), Unspecified> {
    let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, random)?;
    let public = ephemeral.compute_public_key()?;
    // Uncompressed, as SEC 1 writes it: 4, x, y.
    let point = public.as_ref().get(1..).ok_or(Unspecified)?.try_into().map_err(|_| Unspecified)?;
    let key = UnparsedPublicKey::new(&ECDH_P256, [[4].as_slice(), &key.0].concat());
    let shared = agree_ephemeral(ephemeral, &key, |shared| shared.try_into())?;
    Ok((EcPoint(point), shared.map_err(|_| Unspecified)?))
}

/// The seed that was agreed on makes two keys: one encrypts the secret, the other vouches for it and for whom it is.
fn wrapped(question: &Question, point: &EcPoint, shared: &[u8; 32]) -> CredentialBlob {
    let name = name(KeyKind::Attestation, &question.attestation);
    let (ours, theirs) = (point.coordinates().0, question.endorsement.coordinates().0);
    let seed = digest(&SHA256, &[&1_u32.to_be_bytes(), &shared[..], b"IDENTITY\0", ours, theirs].concat());
    let key = kdf_a(seed.as_ref(), b"STORAGE\0", &name, 128);
    let mut key_bytes = [0; 16];
    key_bytes.iter_mut().zip(key.as_ref()).for_each(|(to, from)| *to = *from);
    let encrypted = cfb(&key_bytes, &[&32_u16.to_be_bytes(), &question.secret.0[..]].concat());
    let key = kdf_a(seed.as_ref(), b"INTEGRITY\0", &[], 256);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let tag = hmac::sign(&key, &[&encrypted[..], &name].concat());
    let mut blob = [0; 66];
    blob.iter_mut().zip(tag.as_ref().iter().chain(&encrypted)).for_each(|(to, from)| *to = *from);
    CredentialBlob(blob)
}

/// One block of KDFa (SP 800-108 in counter mode): up to 256 bits, of which the caller takes those in front.
fn kdf_a(seed: &[u8], label: &[u8], context: &[u8], bits: u32) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    hmac::sign(&key, &[&1_u32.to_be_bytes(), label, context, &bits.to_be_bytes()].concat())
}

/// CFB with whole blocks of feedback, from an IV of zeros (SP 800-38A §6.3).
fn cfb(key: &[u8; 16], plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&Array::from(*key));
    let mut feedback = Array::from([0; 16]);
    let mut out = Vec::with_capacity(plain.len());
    for block in plain.chunks(16) {
        cipher.encrypt_block(&mut feedback);
        let encrypted = block.iter().zip(&feedback).map(|(plain, stream)| plain ^ stream).collect::<Vec<_>>();
        feedback.iter_mut().zip(&encrypted).for_each(|(to, from)| *to = *from);
        out.extend(encrypted);
    }
    out
}

/// The Name of a key: its algorithm, SHA-256, and the digest of its public area.
fn name(kind: KeyKind, key: &EcPoint) -> Vec<u8> {
    [&[0x00, 0x0b], digest(&SHA256, &kind.public_area(key)).as_ref()].concat()
}

/// Whether this is a quote over `transcript`, signed by the attestation key.
pub fn speaks_for(
    attestation: &EcPoint,
    (attest, signature): (&Attest, &EcdsaSignature),
    transcript: &[u8],
) -> bool {
    let key = [[4].as_slice(), &attestation.0].concat();
    let key = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    key.verify(attest.as_bytes(), &signature.0).is_ok()
        && quoted(attest).is_ok_and(|over| over == digest(&SHA256, transcript).as_ref())
}

/// Whether the answer of these keys is to this question.
pub fn answers(question: &Question, keys: &TpmKeys, transcript: impl Fn(&TpmSecret) -> Vec<u8>) -> bool {
    let same = (question.endorsement, question.attestation) == (keys.endorsement, keys.attestation);
    let Some(answer) = keys.answer.as_ref().filter(|_| same) else { return false };
    speaks_for(&keys.attestation, (&answer.attest, &answer.signature), &transcript(&question.secret))
}
