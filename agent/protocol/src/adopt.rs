//! A server that already runs a system of its own asks to become a node with its disks as they are.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use pack::Digest;
use serde::{Deserialize, Serialize};

use crate::IdentityError;

/// The secret of an invitation, 16 bytes: good for one server, for a short time. It travels over TLS with the pinned site CA and
/// nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(pub [u8; 16]);

impl Token {
    /// The secret, to be shown to the person who asked for it, once.
    pub fn reveal(&self) -> String {
        HEX.encode(&self.0)
    }

    /// What is kept of it: nobody finds the token by this.
    pub fn digest(&self) -> Digest {
        let mut hash = blake3::Hasher::new_derive_key("rackwright 2026 invitation token v1");
        hash.update(&self.0);
        Digest(*hash.finalize().as_bytes())
    }
}

impl fmt::Debug for Token {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl FromStr for Token {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        // What came is not told: it may be most of a token.
        let wrong = || IdentityError::Hex { kind: "a token", bytes: 16, got: String::new() };
        let raw = HEX.decode(text.as_bytes()).map_err(|_| wrong())?;
        Ok(Self(raw.try_into().map_err(|_| wrong())?))
    }
}

impl TryFrom<String> for Token {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.reveal()
    }
}

/// What a system that was not installed from here says with its [`crate::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// By which it was invited.
    pub token: Token,
    /// What it calls itself: the first label of its host name.
    pub host: String,
    /// What it runs, as in `PRETTY_NAME` of os-release(5).
    pub system: String,
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_read_back_and_printed_by_nobody() {
        let token = Token([0xa7; 16]);
        assert_eq!(token.reveal().parse::<Token>().unwrap(), token);
        assert!(!format!("{token:?}").contains("a7"));
        for text in ["", "a7", &"a7".repeat(15), &"a7".repeat(17), &"g7".repeat(16), "ä"] {
            let why = text.parse::<Token>().unwrap_err().to_string();
            assert!(text.is_empty() || !why.contains(text), "{why}");
        }
        assert_ne!(token.digest(), Token([0xa8; 16]).digest());
    }
}
