//! Text from a wire that may be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest text kept, in characters.
const LONGEST: usize = 160;

/// A text that somebody sent, cut to [`LONGEST`] printable ASCII characters; every other one is a question mark.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Plain(Box<str>);

impl Plain {
    /// The printable rest.
    #[must_use]
    pub fn new(text: &str) -> Plain {
        let shown = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        Plain(text.chars().take(LONGEST).map(shown).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Plain {
    fn from(text: String) -> Plain {
        Plain::new(&text)
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Plain {
        Plain::new(text)
    }
}

impl From<Plain> for String {
    fn from(plain: Plain) -> String {
        plain.0.into()
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
