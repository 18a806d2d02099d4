//! How something on a disk is named, so that it may be erased: `lvm:vg0`, `ceph:<uuid>`, `luks@2`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Holding, TEXT_BYTES_MAX, foreign};

const KIND_MAX: usize = 32;

/// One thing on a disk, by its kind, its partition and its name: `KIND[@PARTITION][:NAME]`. The name is the label or
/// the UUID. Without a name it is the nameless one, or, with a partition, the one of this kind there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark {
    kind: String,
    partition: Option<u32>,
    name: String,
}

/// Not what a signature looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names nothing on a disk: write KIND:NAME or KIND@PARTITION, such as lvm:vg0 or luks@2")]
pub struct NotAMark(String);

impl Mark {
    /// This very thing and no other: by its kind, its partition and its UUID, or its label where it has none.
    /// What the holding says is a stranger's: what could not be read back as a mark is left out, and then this
    /// covers nothing.
    pub fn exact(held: &Holding) -> Self {
        let name = if held.uuid.is_empty() { &held.label } else { &held.uuid };
        let name = Some(name).filter(|name| is_name(name)).cloned().unwrap_or_default();
        let kind = Some(&held.kind).filter(|kind| is_kind(kind)).cloned();
        Self { kind: kind.unwrap_or_else(|| "none".to_owned()), partition: Some(held.partition), name }
    }

    /// The shortest that can be typed: by name where that needs no quotes in a shell, else by partition.
    pub fn short(held: &Holding) -> Self {
        let plain = |name: &&String| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:+-".contains(&b))
        };
        let name = [&held.label, &held.uuid].into_iter().find(plain);
        let partition = if name.is_none() { Some(held.partition) } else { None };
        Self { kind: held.kind.clone(), partition, name: name.cloned().unwrap_or_default() }
    }

    /// Whether this names that.
    pub fn covers(&self, held: &Holding) -> bool {
        let named = if self.name.is_empty() {
            self.partition.is_some() || (held.label.is_empty() && held.uuid.is_empty())
        } else {
            self.name == held.label || self.name.eq_ignore_ascii_case(&held.uuid)
        };
        self.kind == held.kind && self.partition.is_none_or(|number| number == held.partition) && named
    }
}

fn is_kind(kind: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=KIND_MAX).contains(&kind.len()) && kind.bytes().all(is_letter)
}

fn is_name(name: &str) -> bool {
    name.len() <= TEXT_BYTES_MAX && !name.chars().any(char::is_control)
}

/// What is [`foreign`] on a disk and was not named.
pub fn unnamed<'a>(holds: &'a [Holding], named: &[Mark]) -> Vec<&'a Holding> {
    let is_unnamed = |held: &&Holding| !named.iter().any(|mark| mark.covers(held));
    foreign(holds).into_iter().filter(is_unnamed).collect()
}

impl FromStr for Mark {
    type Err = NotAMark;
    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let wrong = || NotAMark(text.chars().take(80).collect());
        let (head, name) = text.split_once(':').unwrap_or((text, ""));
        let (kind, partition) = match head.split_once('@') {
            None => (head, None),
            Some((kind, number)) => (kind, Some(number.parse::<u32>().map_err(|_| wrong())?)),
        };
        if !is_kind(kind) || !is_name(name) {
            return Err(wrong());
        }
        Ok(Self { kind: kind.to_owned(), partition, name: name.to_owned() })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(number) = self.partition {
            write!(f, "@{number}")?;
        }
        if self.name.is_empty() { Ok(()) } else { write!(f, ":{}", self.name) }
    }
}

impl TryFrom<String> for Mark {
    type Error = NotAMark;
    fn try_from(text: String) -> Result<Self, NotAMark> {
        text.parse()
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> String {
        mark.to_string()
    }
}
