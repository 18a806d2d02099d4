//! Every secret of the cloud, made of one key: nothing but that has to be kept, and a node that is rebuilt is given what it had.

use std::fmt;

use data_encoding::{BASE64URL, HEXLOWER};

/// BLAKE3's context of a derived key: what it is for, and nothing else is.
const CONTEXT: &str = "rackwright 2026-11 secrets of the cloud";

/// The key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudKey([u8; 32]);

impl CloudKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 128 bits in hexadecimal digits: what every program takes as a password, in a URL too.
    pub fn secret(&self, name: &str) -> String {
        let bytes = self.derive("secret", name);
        let (half, _) = bytes.split_at(16);
        HEXLOWER.encode(half)
    }

    /// A Fernet key: 256 bits in URL-safe base 64, padded (github.com/fernet/spec).
    pub fn fernet(&self, name: &str) -> String {
        BASE64URL.encode(&self.derive("fernet", name))
    }

    fn derive(&self, kind: &str, name: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.0);
        hasher.update(kind.as_bytes());
        // No kind has a zero byte in it: no two (kind, name) give the same bytes.
        hasher.update(&[0]);
        hasher.update(name.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl fmt::Debug for CloudKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CloudKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CloudKey;

    #[test]
    fn secrets_are_stable_apart_and_never_shown() {
        let (key, other) = (CloudKey::new([7; 32]), CloudKey::new([8; 32]));
        let all = [&key, &other].into_iter().flat_map(|key| {
            ["nova", "nov", "", "nova\0"].into_iter().flat_map(|name| [key.secret(name), key.fernet(name)])
        });
        assert_eq!(all.collect::<BTreeSet<_>>().len(), 16);
        assert_eq!(key.secret("nova"), CloudKey::new([7; 32]).secret("nova"), "a restart changes nothing");
        let secret = key.secret("nova");
        assert!(secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit()), "{secret}");
        assert_eq!((key.fernet("0").len(), key.fernet("0").ends_with('=')), (44, true));
        assert_eq!(format!("{key:?}"), "CloudKey(..)");
    }

    /// A later version that made others would lock every service of every rack out of its database.
    #[test]
    fn secrets_are_those_of_the_first_version() {
        assert_eq!(CloudKey::new([7; 32]).secret("nova"), "3fb103b0ede8f17d291446f17271232e");
    }
}
