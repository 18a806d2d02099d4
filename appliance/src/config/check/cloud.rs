//! The rack as a cloud.

use std::collections::BTreeSet;

use fleet::cloud::Datapath;
use toml::Spanned;

use super::{At, cloud_networks};
use crate::catalog::embedded;
use crate::config::{Cloud, ConfigError, Provision, raw};

/// The optional services that keep objects, and so need room.
const OBJECT_STORAGE: &str = "swift";
/// What OpenStack's own documents call the only region there is.
const USUAL: &str = "RegionOne";

pub(super) fn cloud(text: &str, raw: &raw::Cloud, provision: &[Provision]) -> Result<Cloud, ConfigError> {
    let at = |key: &str| At { text, key: format!("cloud.{key}") };
    let region = raw.region.as_ref().map(|value| region(&at("region"), value)).transpose()?;
    let datapath = raw.datapath.as_ref().map(|value| datapath(&at("datapath"), value)).transpose()?;
    let external = raw.external.as_ref().map(|raw| cloud_networks::external(text, raw, provision));
    let external = external.transpose()?;
    let tunnel = raw.tunnel.as_ref();
    let tunnel = tunnel.map(|raw| cloud_networks::tunnel(text, raw, provision, external.as_ref()));
    let wanted = raw.optional.as_deref().unwrap_or_default();
    Ok(Cloud {
        region: region.unwrap_or_else(|| USUAL.to_owned()),
        datapath: datapath.unwrap_or_default(),
        external,
        tunnel: tunnel.transpose()?,
        optional: optional(&at("optional"), wanted)?,
        objects: objects(&at, wanted, raw.objects.as_ref())?,
    })
}

/// Of those services that a role offers, and that not every cloud has.
fn optional(at: &At<'_>, values: &[Spanned<String>]) -> Result<BTreeSet<String>, ConfigError> {
    // A test keeps a program whose catalog is not one from being built.
    let catalog = embedded().unwrap_or_default();
    let known = catalog.optional();
    if let Some(value) = values.iter().find(|value| !known.contains(value.get_ref().as_str())) {
        let why = format!("{:?} is not an optional service", value.get_ref());
        let names = known.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
        return Err(at.refuse(value, why, &format!("any of {}", names.join(", "))));
    }
    Ok(values.iter().map(|value| value.get_ref().clone()).collect())
}

/// How much of each data disk is for objects: said by whoever wants an object storage, and by nobody else. It is never guessed: what objects
/// have, volumes have not.
fn objects<'a>(
    at: &impl Fn(&str) -> At<'a>,
    optional: &[Spanned<String>],
    value: Option<&Spanned<String>>,
) -> Result<Option<u64>, ConfigError> {
    let wanted = optional.iter().find(|name| name.get_ref() == OBJECT_STORAGE);
    let write = "how much of each storage node's data disk is for objects, for example objects = \"500GiB\"";
    match (wanted, value) {
        (None, None) => Ok(None),
        (Some(wanted), None) => {
            let why = format!("{OBJECT_STORAGE:?} needs room on the data disks of the storage nodes");
            Err(at("objects").refuse(wanted, why, write))
        }
        (None, Some(value)) => {
            let why = format!("nothing keeps objects: {OBJECT_STORAGE:?} is not among the optional services");
            Err(at("objects").refuse(
                value,
                why,
                &format!("optional = [\"{OBJECT_STORAGE}\"] beside it, or leave it out"),
            ))
        }
        (Some(_), Some(value)) => {
            let why =
                || format!("{:?} is not a whole number of GiB or TiB, from 1GiB to 1024TiB", value.get_ref());
            size(value.get_ref()).map(Some).ok_or_else(|| at("objects").refuse(value, why(), write))
        }
    }
}

/// `500GiB`, `2TiB`; in bytes.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(3)?)?;
    let shift = match unit {
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number = digits.parse::<u64>().ok().filter(|_| is_number)?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= 1 << 50)
}

/// It stands in URLs and files of many programs as it is.
fn region(at: &At<'_>, value: &Spanned<String>) -> Result<String, ConfigError> {
    let text = value.get_ref();
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(inner) {
        return Ok(text.clone());
    }
    let why = format!("{text:?} is not 1 to 64 letters, digits, hyphens and underscores");
    Err(at.refuse(value, why, &format!("\"{USUAL}\" (the usual), or the name of the place")))
}

fn datapath(at: &At<'_>, value: &Spanned<String>) -> Result<Datapath, ConfigError> {
    match value.get_ref().as_str() {
        "kernel" => Ok(Datapath::Kernel),
        "userspace" => Ok(Datapath::Userspace),
        other => {
            let why = format!("{other:?} is not what can move the packets of virtual networks");
            let cure =
                "\"kernel\" (the usual), or \"userspace\" where the kernel has no module for Open vSwitch";
            Err(at.refuse(value, why, cure))
        }
    }
}
