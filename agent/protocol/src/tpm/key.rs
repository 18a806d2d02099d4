//! The two kinds of keys, as a TPM is asked for them and as their Names are made.

use super::EcPoint;

const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECC: u16 = 0x0023;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_ECDSA: u16 = 0x0018;
const CURVE_P256: u16 = 0x0003;

/// `TPM2_PolicySecret(TPM_RH_ENDORSEMENT)`: EK Credential Profile, policy A of SHA-256.
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const EK_ATTRIBUTES: u32 = 0x0003_00b2;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign.
const AK_ATTRIBUTES: u32 = 0x0005_0472;

/// Which of the two keys. Every other shape of key is none of ours, so nobody can pass off a key that signs what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The endorsement key: template L-2, a storage key on P-256 whose seed the maker of the TPM put in.
    Endorsement,
    /// A restricted signing key: it signs only what the TPM itself attests.
    Attestation,
}

impl KeyKind {
    /// The `TPMT_PUBLIC` of this key.
    pub fn public_area(self, point: &EcPoint) -> Vec<u8> {
        let (x, y) = point.coordinates();
        self.area(x, y)
    }

    /// The `TPMT_PUBLIC` that a TPM is asked for.
    pub(super) fn template(self) -> Vec<u8> {
        match self {
            KeyKind::Endorsement => self.area(&[0; 32], &[0; 32]),
            KeyKind::Attestation => self.area(&[], &[]),
        }
    }

    fn area(self, x: &[u8], y: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let (attributes, policy) = match self {
            KeyKind::Endorsement => (EK_ATTRIBUTES, EK_POLICY.as_slice()),
            KeyKind::Attestation => (AK_ATTRIBUTES, [].as_slice()),
        };
        words(&mut out, &[ALG_ECC, ALG_SHA256]);
        out.extend(attributes.to_be_bytes());
        sized(&mut out, policy);
        match self {
            KeyKind::Endorsement => words(&mut out, &[ALG_AES, 128, ALG_CFB, ALG_NULL]),
            KeyKind::Attestation => words(&mut out, &[ALG_NULL, ALG_ECDSA, ALG_SHA256]),
        }
        words(&mut out, &[CURVE_P256, ALG_NULL]);
        sized(&mut out, x);
        sized(&mut out, y);
        out
    }
}

pub(super) fn words(out: &mut Vec<u8>, words: &[u16]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// A `TPM2B`: all that we send are far below 64 KiB.
pub(super) fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(bytes);
}
