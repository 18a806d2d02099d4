//! A host as this crate takes it: names are checked when it is made, so that everything after is total.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

/// A host of the inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) facts: BTreeMap<String, Value>,
}

/// Why something can't stand in an inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Ansible would take it for a pattern, a range or another host.
    #[error("{0:?} can't be an inventory name: 1 to 63 of a-z, 0-9 and -, with a letter first")]
    Name(String),
    /// Ansible would refuse the group, or merge it with one of its own.
    #[error(
        "{0:?} can't be an inventory group: a-z, 0-9, _ and -, with a letter first, and neither all nor ungrouped"
    )]
    Role(String),
}

impl Host {
    /// A host by its name, the address to reach it at, its roles and what is known of its hardware.
    ///
    /// `facts` may hold anything: its strings are never evaluated by Ansible, its keys are reduced to letters, digits
    /// and `_`.
    pub fn new(
        name: &str,
        address: IpAddr,
        roles: impl IntoIterator<Item = String>,
        facts: BTreeMap<String, Value>,
    ) -> Result<Self, HostError> {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !starts_with_letter(name) || name.len() > 63 || !name.bytes().all(label) {
            return Err(HostError::Name(shortened(name)));
        }
        let roles = roles.into_iter().collect::<BTreeSet<_>>();
        for role in &roles {
            let group = role.bytes().all(|b| label(b) || b == b'_') && role.len() <= 63;
            if !starts_with_letter(role) || !group || matches!(role.as_str(), "all" | "ungrouped") {
                return Err(HostError::Role(shortened(role)));
            }
        }
        Ok(Self { name: name.to_owned(), address, roles, facts })
    }
}

fn starts_with_letter(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_roles_that_would_be_read_as_something_else_are_refused() {
        let host = |name: &str, role: &str| {
            Host::new(name, IpAddr::from([10, 0, 0, 1]), [role.to_owned()], BTreeMap::new())
        };
        assert!(host("n1", "control").is_ok());
        assert!(host("n-1", "block_storage").is_ok());
        for bad in [
            "",
            "n[1:9]",
            "n*",
            "!n1",
            "n1:n2",
            "{{x}}",
            "N1",
            "1n",
            "n 1",
            "n\n1",
            "_meta",
            "教室",
            &"n".repeat(64),
        ] {
            assert_eq!(host(bad, "control").unwrap_err(), HostError::Name(bad.to_owned()), "{bad:?}");
        }
        for bad in
            ["", "all", "ungrouped", "_meta", "a:children", "a b", "{{x}}", "[a]", "A", &"r".repeat(64)]
        {
            assert_eq!(host("n1", bad).unwrap_err(), HostError::Role(bad.to_owned()), "{bad:?}");
        }
    }
}
