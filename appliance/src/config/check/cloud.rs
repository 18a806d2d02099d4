//! The rack as a cloud.

use std::collections::BTreeSet;

use fleet::cloud::Datapath;
use toml::Spanned;

use super::{At, cloud_networks};
use crate::catalog::embedded;
use crate::config::{Cloud, ConfigError, Provision, raw};

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
    Ok(Cloud {
        region: region.unwrap_or_else(|| USUAL.to_owned()),
        datapath: datapath.unwrap_or_default(),
        external,
        tunnel: tunnel.transpose()?,
        optional: optional(&at("optional"), raw.optional.as_deref().unwrap_or_default())?,
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
