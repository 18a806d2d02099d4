//! Host names: what a node is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host name: one DNS label, lower case (RFC 1123 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} can't be a host name: 1 to 63 of a-z, 0-9 and -, with a letter first and no - last")]
pub struct NameError(String);

impl Name {
    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(label)
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-');
        // "localhost" would break every service that resolves its own name.
        if fits && text != "localhost" && text != "controller" {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_and_are_not() {
        for good in ["n1", "a", "control-1", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "1n",
            "-a",
            "a-",
            "A",
            "a.b",
            "a b",
            "a_b",
            "localhost",
            "controller",
            "教室",
            &"x".repeat(64),
            "a\n",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
