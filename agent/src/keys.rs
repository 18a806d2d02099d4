//! Ed25519 keys: made here, kept as PKCS#8, never printed.

use std::fmt;

use protocol::{Key, Signature};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The kernel gave no random bytes.
    #[error("making a key: the kernel gives no random bytes")]
    Random,
    /// Not the PKCS#8 of an Ed25519 key.
    #[error("reading a key: not PKCS#8 of an Ed25519 key")]
    Malformed,
}

/// A private key and its public half. Its `Debug` shows the public half only.
pub struct KeyPair {
    pkcs8: Vec<u8>,
    pair: Ed25519KeyPair,
    public: Key,
}

impl KeyPair {
    /// A new one, from the kernel's randomness.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// One that was kept.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| KeyError::Malformed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Malformed)?;
        Ok(Self { pkcs8: pkcs8.to_vec(), pair, public: Key(public) })
    }

    /// [`KeyPair::pkcs8_base64`], read back.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let pkcs8 = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| KeyError::Malformed)?;
        Self::from_pkcs8(&pkcs8)
    }

    /// The public half, as messages carry it.
    pub fn public(&self) -> Key {
        self.public
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        Signature(bytes)
    }

    /// The secret, for TLS and for the seed.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The secret as the seed carries it.
    pub fn pkcs8_base64(&self) -> String {
        data_encoding::BASE64.encode(&self.pkcs8)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair(public {})", self.public)
    }
}

/// One random byte for blurring waits; 0 when the kernel has none, which only makes a wait shorter.
pub fn dice() -> u8 {
    let mut byte = [0];
    SystemRandom::new().fill(&mut byte).map_or(0, |()| byte[0])
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{KeyError, KeyPair};

    #[test]
    fn a_kept_key_is_the_same_key() {
        let made = KeyPair::generate().unwrap();
        let kept = KeyPair::from_base64(&made.pkcs8_base64()).unwrap();
        assert_eq!(made.public(), kept.public());
        let signature = made.sign(b"words");
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, kept.public().0);
        public.verify(b"words", &signature.0).unwrap();
        public.verify(b"other words", &signature.0).unwrap_err();
        assert!(!format!("{made:?}").contains(&made.pkcs8_base64()));
    }

    #[test]
    fn nonsense_is_no_key() {
        for text in ["", "x", "AAAA", "////", "🦀", &"A".repeat(4096)] {
            assert_eq!(KeyPair::from_base64(text).unwrap_err(), KeyError::Malformed, "{text:?}");
        }
        assert_eq!(KeyPair::from_pkcs8(&[0x30, 0xff, 0xff]).unwrap_err(), KeyError::Malformed);
    }
}
