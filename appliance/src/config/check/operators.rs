//! Names with roles, what may be destroyed in an hour, how servers are tested that were let in, and which are let in by their TPM.

use std::collections::BTreeSet;

use fleet::burn_in::Wish;
use fleet::limits::Limits;
use protocol::Ek;
use toml::Spanned;

use super::At;
use crate::config::{ConfigError, Operators, Role, Whom, raw};

/// As `useradd` takes them, with room for names of directories.
const NAME_MAX: usize = 64;

pub(super) fn operators(text: &str, raw: &raw::Operators) -> Result<Operators, ConfigError> {
    let lists = [(Role::Admin, &raw.admin), (Role::Operator, &raw.operator), (Role::Viewer, &raw.viewer)];
    let mut operators = Operators { second_person: raw.second_person, ..Operators::default() };
    for (role, list) in lists {
        let at = At { text, key: format!("operators.{}", role.word()) };
        for name in list.iter().flatten() {
            operators.rules.push((whom(&at, name)?, role));
        }
        // Lists without anybody say something all the same: only root.
        if list.is_some() && !operators.tells_apart() {
            operators.rules.push((Whom::User("root".to_owned()), Role::Admin));
        }
    }
    Ok(operators)
}

fn whom(at: &At<'_>, value: &Spanned<String>) -> Result<Whom, ConfigError> {
    let text = value.get_ref();
    let (group, name) = text.strip_prefix('@').map_or((false, text.as_str()), |name| (true, name));
    let fits = |c: char| c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c);
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('-') || !name.chars().all(fits) {
        let why = "this is not the name of a user or a group of this machine";
        return Err(at.refuse(value, why, "a user as \"alice\", and a group as \"@teachers\""));
    }
    Ok(if group { Whom::Group(name.to_owned()) } else { Whom::User(name.to_owned()) })
}

/// `quick`, or how long.
pub(super) fn first_test(text: &str, raw: &raw::Enrol) -> Result<Option<Wish>, ConfigError> {
    let Some(value) = &raw.test else { return Ok(None) };
    let at = At { text, key: "enrol.test".into() };
    let quick = Wish::quick();
    let wish = match value.get_ref().as_str() {
        "no" => return Ok(None),
        "quick" => Some(quick),
        time => humantime::parse_duration(time).ok().map(|time| Wish { seconds: time.as_secs(), ..quick }),
    };
    let wish = wish.filter(|wish| wish.check().is_ok()).ok_or_else(|| {
        let why = format!("{:?} is neither quick nor how long a server is tested", value.get_ref());
        at.refuse(
            value,
            why,
            "\"quick\" for a minute, a time such as \"30m\" or \"12h\" up to 7 days, or \"no\"",
        )
    })?;
    Ok(Some(wish))
}

/// Endorsement keys, as `node show` prints them or as the Names that TPM tools print.
pub(super) fn expected_tpms(text: &str, raw: &raw::Enrol) -> Result<BTreeSet<Ek>, ConfigError> {
    let at = At { text, key: "enrol.expected_tpms".into() };
    let read = |value: &Spanned<String>| {
        let told = value.get_ref().trim();
        // The Name of a key says first that its digest is SHA-256.
        let digest = told.strip_prefix("000b").filter(|rest| rest.len() == 64).unwrap_or(told);
        digest.parse::<Ek>().map_err(|_| {
            let why = format!("{told:?} is not the digest of an endorsement key");
            at.refuse(value, why, "64 hexadecimal digits, as rackwright node show NODE prints them")
        })
    };
    raw.expected_tpms.iter().flatten().map(read).collect()
}

pub(super) fn limits(text: &str, raw: &raw::Limits) -> Result<Limits, ConfigError> {
    let Some(value) = &raw.rebuilds_per_hour else {
        return Ok(Limits { rebuilds_an_hour: Some(Limits::USUAL) });
    };
    let at = At { text, key: "limits.rebuilds_per_hour".into() };
    let most = u32::try_from(*value.get_ref()).ok().filter(|most| *most <= 10_000);
    let most = most.ok_or_else(|| {
        let why = format!("{} is not a number of nodes up to 10000", value.get_ref());
        at.refuse(value, why, "1 to 10000, or 0 to allow none; the usual one is 20")
    })?;
    Ok(Limits { rebuilds_an_hour: Some(most) })
}
