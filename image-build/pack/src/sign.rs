//! Who vouches for an image: Ed25519 (RFC 8032) over the image's name. Where keys are kept, and where their random
//! seed comes from, is the callers' business.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::digest::hex_array;
use crate::{Digest, MANIFEST_BYTES_MAX, Manifest, ManifestError};

/// What is signed is this, then the 32 bytes of the image's digest: a signature made for anything else by the same
/// key can never pass as one for an image.
const CONTEXT: &[u8] = b"rackwright image manifest 2\n";

/// An Ed25519 public key. Shown and read as 64 lower-case hex digits, in JSON too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 signature. Shown and read as 128 lower-case hex digits, in JSON too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A text or a seed that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("reading an Ed25519 key or signature: expected lower-case hex of the right length")]
pub struct KeyError;

/// The private key that signs images. Its `Debug` shows the public half only.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// A manifest with its signature, *not yet believed*: only [`Signed::verify`] gives a [`Manifest`] out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The encoded manifest; base64 in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub manifest: Vec<u8>,
    /// The key it claims to be signed with.
    pub key: PublicKey,
    /// The signature over the manifest's digest.
    pub signature: Signature,
}

/// Why a signed manifest is not believed.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum VerifyError {
    #[error("verifying an image: its key {key} is not trusted here")]
    Untrusted { key: PublicKey },
    #[error("verifying an image: its manifest has {bytes} bytes, more than {MANIFEST_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("verifying an image: the signature does not fit the manifest")]
    Signature,
    #[error("verifying an image: signed, but not valid")]
    Manifest(#[source] ManifestError),
}

impl SigningKey {
    /// The key that this secret seed stands for (RFC 8032 §5.1.5). The caller draws the seed at random, once.
    ///
    /// # Errors
    /// Never with today's `ring`, which refuses only other lengths; its answer is passed on all the same.
    pub fn from_seed(seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError)?;
        Ok(SigningKey { pair, public: PublicKey(public) })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs a list of checksums as `sha256sum` writes it: plain Ed25519 over the text, which any program verifies. None
    /// when the text does not begin with a checksum, so that it can pass as nothing else that this key signs.
    #[must_use]
    pub fn sign_sums(&self, sums: &str) -> Option<Signature> {
        is_sums(sums).then(|| self.sign(sums.as_bytes()))
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        Signature(bytes)
    }
}

/// Whether a text begins with 64 hexadecimal digits: an image's signed message never does.
fn is_sums(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(sum, _)| hex_array::<32>(sum).is_some())
}

impl PublicKey {
    /// Whether this key signed a list of checksums ([`SigningKey::sign_sums`]).
    #[must_use]
    pub fn signed_sums(&self, sums: &str, signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        is_sums(sums) && key.verify(sums.as_bytes(), &signature.0).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public)
    }
}

impl Signed {
    /// Signs a manifest. The same manifest and key always give the same signature.
    #[must_use]
    pub fn new(manifest: &Manifest, key: &SigningKey) -> Signed {
        let signature = key.sign(&message(manifest.digest()));
        Signed { manifest: manifest.encode(), key: key.public(), signature }
    }

    /// The name this image claims: good for looking it up, proof of nothing.
    #[must_use]
    pub fn claimed_digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Believes the manifest, or says why not. In this order: is the key one of `trusted`, does the signature fit,
    /// and only then is the manifest read at all.
    ///
    /// # Errors
    /// The first of those that fails.
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<(Digest, Manifest), VerifyError> {
        if !trusted.contains(&self.key) {
            return Err(VerifyError::Untrusted { key: self.key });
        }
        if self.manifest.len() > MANIFEST_BYTES_MAX {
            return Err(VerifyError::TooLong { bytes: self.manifest.len() });
        }
        let digest = self.claimed_digest();
        UnparsedPublicKey::new(&ED25519, &self.key.0)
            .verify(&message(digest), &self.signature.0)
            .map_err(|_| VerifyError::Signature)?;
        let manifest = Manifest::decode(&self.manifest).map_err(VerifyError::Manifest)?;
        Ok((digest, manifest))
    }
}

fn message(digest: Digest) -> Vec<u8> {
    [CONTEXT, &digest.0].concat()
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() / 4 > MANIFEST_BYTES_MAX / 3 + 1 {
        return Err(serde::de::Error::custom("a manifest of more than 64 MiB"));
    }
    BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
}

macro_rules! hex_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl std::str::FromStr for $type {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<$type, KeyError> {
                hex_array(text).map($type).ok_or(KeyError)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_text!(PublicKey);
hex_text!(Signature);
