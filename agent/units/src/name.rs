//! What a unit may be called. Knows the grammar of systemd.unit(5); refuses everything else, so that no string
//! from a wire or a catalog can become a path, a pattern or an option on the way to systemd.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::TaskName;

/// The longest name systemd takes (`UNIT_NAME_MAX`), in bytes.
const LONGEST: usize = 255;

/// Kinds of unit this product controls.
const KINDS: [(&str, UnitKind); 5] = [
    ("service", UnitKind::Service),
    ("socket", UnitKind::Socket),
    ("target", UnitKind::Target),
    ("timer", UnitKind::Timer),
    ("mount", UnitKind::Mount),
];

/// The kind of a unit: the part of its name after the last dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitKind {
    /// A process or a group of them.
    Service,
    /// A listening socket that starts a service.
    Socket,
    /// A named point in the start order.
    Target,
    /// A clock that starts a service.
    Timer,
    /// A mounted file system.
    Mount,
}

/// The full name of a unit, e.g. `nova-compute.service` or `getty@tty1.service`; valid once it exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// Why a text is not the name of a unit we control.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitNameError {
    /// Longer than systemd's 255 bytes.
    #[error("reading a unit name: {0} bytes, the limit is {LONGEST}")]
    TooLong(usize),
    /// A character outside `A-Za-z0-9:-_.\@`: slashes, patterns, blanks and everything not ASCII.
    #[error("reading unit name {name:?}: {bad:?} is not allowed in it")]
    Character {
        /// The text, shown escaped.
        name: String,
        /// The first character that does not fit.
        bad: char,
    },
    /// Does not end in `.service`, `.socket`, `.target`, `.timer` or `.mount`.
    #[error("reading unit name {0:?}: it ends in none of .service .socket .target .timer .mount")]
    Kind(String),
    /// Nothing before the kind, or nothing before the `@`.
    #[error("reading unit name {0:?}: nothing stands before its kind")]
    Empty(String),
}

impl UnitName {
    /// Reads a full unit name; the kind is never guessed (`nova-compute` alone is refused).
    pub fn parse(text: &str) -> Result<Self, UnitNameError> {
        if text.len() > LONGEST {
            return Err(UnitNameError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
            return Err(UnitNameError::Character { name: text.to_owned(), bad });
        }
        let Some((prefix, _)) = split(text) else {
            return Err(UnitNameError::Kind(text.to_owned()));
        };
        if prefix.is_empty() || prefix.starts_with('@') {
            return Err(UnitNameError::Empty(text.to_owned()));
        }
        Ok(UnitName(text.to_owned()))
    }

    /// The unit of a task: that name's alphabet is a part of this one's.
    pub(crate) fn of_task(task: &TaskName) -> Self {
        UnitName(format!("rackwright-task-{task}.service"))
    }

    /// The name as systemd writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind of unit it names.
    pub fn kind(&self) -> UnitKind {
        split(&self.0).map_or(UnitKind::Service, |(_, kind)| kind)
    }

    /// True for `name@.service`: it can be enabled, and only its instances can be started.
    pub fn is_template(&self) -> bool {
        split(&self.0).is_some_and(|(prefix, _)| prefix.find('@') == Some(prefix.len().saturating_sub(1)))
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@')
}

fn split(text: &str) -> Option<(&str, UnitKind)> {
    let (prefix, suffix) = text.rsplit_once('.')?;
    KINDS.iter().find(|(name, _)| *name == suffix).map(|&(_, kind)| (prefix, kind))
}

impl FromStr for UnitName {
    type Err = UnitNameError;
    fn from_str(text: &str) -> Result<Self, UnitNameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for UnitName {
    type Error = UnitNameError;
    fn try_from(text: String) -> Result<Self, UnitNameError> {
        Self::parse(&text)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_seen_on_real_systems_are_read() {
        for (text, kind, template) in [
            ("nova-compute.service", UnitKind::Service, false),
            ("getty@tty1.service", UnitKind::Service, false),
            ("openvpn@.service", UnitKind::Service, true),
            ("user@1000@x.service", UnitKind::Service, false),
            ("libvirtd-tls.socket", UnitKind::Socket, false),
            ("multi-user.target", UnitKind::Target, false),
            ("apt-daily.timer", UnitKind::Timer, false),
            ("-.mount", UnitKind::Mount, false),
            (r"srv-a\x2db.mount", UnitKind::Mount, false),
            ("a:b_c.d.service", UnitKind::Service, false),
        ] {
            let name = UnitName::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((name.as_str(), name.kind(), name.is_template()), (text, kind, template));
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = format!("{}.service", "a".repeat(248));
        for text in [
            "",
            ".service",
            "@.service",
            "@x.service",
            "nova-compute",
            "nova-compute.",
            "nova.slice",
            "dev-sda.device",
            "run-1.scope",
            "x.swap",
            "../../etc/passwd.service",
            "/etc/systemd/system/x.service",
            "a/b.service",
            "a b.service",
            "a\nb.service",
            "a\0.service",
            "*.service",
            "a?.service",
            "[ab].service",
            "$(reboot).service",
            "a;b.service",
            "ü.service",
            "a.service ",
            " a.service",
            "a.SERVICE",
            "--root=x .service",
            &long,
        ] {
            assert!(UnitName::parse(text).is_err(), "{text:?} was taken");
        }
        assert_eq!(UnitName::parse(&long), Err(UnitNameError::TooLong(256)));
    }

    #[test]
    fn a_name_is_parsed_on_its_way_in_from_json() {
        assert!(serde_json::from_str::<UnitName>("\"a.service\"").is_ok());
        assert!(serde_json::from_str::<UnitName>("\"../a.service\"").is_err());
    }
}
