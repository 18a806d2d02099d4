//! Every secret of the cloud, made of one key: nothing but that has to be kept, and a node that is rebuilt is given what it had.
//!
//! Two kinds. A password is made of the key and the salt of the last rotation ([`super::passwords`]): who knows one, or has the key of a
//! backup from before, knows none that came later. What lasts is made of the key alone and never becomes another: data at rest is
//! encrypted with it, and would be lost.

use std::fmt;

use data_encoding::{BASE64URL, HEXLOWER};
use serde::{Deserialize, Serialize};

/// BLAKE3's context of a derived key: what it is for, and nothing else is.
const CONTEXT: &str = "rackwright 2026-11 secrets of the cloud";

/// The key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudKey([u8; 32]);

/// Random bytes that a rotation brings, beside the key. Worth nothing without that, and never shown all the same.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Salt([u8; 32]);

impl CloudKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A password: 128 bits in hexadecimal digits, which every program takes, in a URL too. Without a salt it is the first one that
    /// there was.
    pub fn password(&self, salt: Option<Salt>, name: &str) -> String {
        match salt {
            None => self.lasting(name),
            Some(Salt(salt)) => digits(&self.derive("rotated", &[&salt, name.as_bytes()])),
        }
    }

    /// The same kind of text, and the same after every rotation: for what data at rest is encrypted with.
    pub fn lasting(&self, name: &str) -> String {
        digits(&self.derive("secret", &[name.as_bytes()]))
    }

    /// A Fernet key: 256 bits in URL-safe base 64, padded (github.com/fernet/spec). It lasts: keystone's credentials are encrypted with
    /// one, and the tokens of all users are, of which none would be good any more from one moment to the next.
    pub fn fernet(&self, name: &str) -> String {
        BASE64URL.encode(&self.derive("fernet", &[name.as_bytes()]))
    }

    /// No two of (kind, parts) give the same bytes: no kind has a zero byte in it, and of the parts only the last has no fixed length.
    fn derive(&self, kind: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.0);
        hasher.update(kind.as_bytes());
        hasher.update(&[0]);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

fn digits(bytes: &[u8; 32]) -> String {
    let (half, _) = bytes.split_at(16);
    HEXLOWER.encode(half)
}

impl Salt {
    /// The salt of these random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> String {
        HEXLOWER.encode(&salt.0)
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| "no hexadecimal digits")?;
        bytes.try_into().map(Salt).map_err(|_| "a salt has 64 hexadecimal digits")
    }
}

impl fmt::Debug for CloudKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CloudKey(..)")
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CloudKey, Salt};

    #[test]
    fn secrets_are_stable_apart_and_never_shown() {
        let (key, other) = (CloudKey::new([7; 32]), CloudKey::new([8; 32]));
        let salts = [None, Some(Salt::new([1; 32])), Some(Salt::new([2; 32]))];
        let names = ["nova", "nov", "", "nova\0"];
        let mut all = BTreeSet::new();
        for (key, name) in [&key, &other].into_iter().flat_map(|key| names.map(|name| (key, name))) {
            all.extend(salts.map(|salt| key.password(salt, name)));
            all.insert(key.fernet(name));
        }
        assert_eq!(all.len(), 2 * 4 * 4);
        for salt in salts {
            let secret = key.password(salt, "nova");
            assert_eq!(secret, CloudKey::new([7; 32]).password(salt, "nova"), "a restart changes nothing");
            assert!(secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit()), "{secret}");
        }
        assert_eq!((key.fernet("0").len(), key.fernet("0").ends_with('=')), (44, true));
        assert_eq!(format!("{key:?} {:?}", salts[1]), "CloudKey(..) Some(Salt(..))");
    }

    /// A name can't reach into the salt: its bytes come after it, and no salt is shorter than another.
    #[test]
    fn no_name_and_salt_together_are_another_name_and_salt() {
        let key = CloudKey::new([7; 32]);
        let salt = Salt::new(*b"0123456789abcdef0123456789abcdef");
        assert_ne!(key.password(Some(salt), "x"), key.lasting("0123456789abcdef0123456789abcdefx"));
        assert_ne!(key.password(Some(salt), "x"), key.lasting("rotated\0x"));
    }

    /// A later version that made others would lock every service of every rack out of its database, or of its data.
    #[test]
    fn secrets_are_those_of_the_first_version() {
        let key = CloudKey::new([7; 32]);
        assert_eq!(key.password(None, "nova"), "3fb103b0ede8f17d291446f17271232e");
        assert_eq!(key.lasting("nova"), "3fb103b0ede8f17d291446f17271232e");
    }

    #[test]
    fn a_salt_is_read_as_it_is_written_and_nothing_else_is_one() {
        let salt = Salt::new([0xa5; 32]);
        let text = serde_json::to_string(&salt).unwrap();
        assert_eq!(text, format!("\"{}\"", "a5".repeat(32)));
        assert_eq!(serde_json::from_str::<Salt>(&text).unwrap(), salt);
        for bad in ["\"\"", "\"zz\"", &format!("\"{}\"", "a5".repeat(33)), &text.to_uppercase(), "7", "null"]
        {
            assert!(serde_json::from_str::<Salt>(bad).is_err(), "{bad}");
        }
    }
}
