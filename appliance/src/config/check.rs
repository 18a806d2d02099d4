//! From what the file says to what the program believes.

mod cloud;
mod cloud_networks;
mod hours;
mod network;
mod notify;
mod operators;
mod subnet;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::{Config, ConfigError, Flooding, Site, line_of, raw};

/// A refusal at a place in the file.
struct At<'a> {
    text: &'a str,
    key: String,
}

impl At<'_> {
    fn refuse<T>(&self, value: &Spanned<T>, why: impl Into<String>, write: &str) -> ConfigError {
        let line = line_of(self.text, value.span().start);
        ConfigError::Value { line, key: self.key.clone(), why: why.into(), write: write.into() }
    }
}

/// Checks every value, in the order of the file's own documentation; the first fault is told.
pub(super) fn believe(text: &str, raw: &raw::Raw) -> Result<Config, ConfigError> {
    let at = |key: &str| At { text, key: key.into() };
    let site = Site::parse(raw.site.get_ref())
        .map_err(|why| at("site").refuse(&raw.site, why, "a DNS label, for example site = \"lab\""))?;
    let provision = network::networks(text, &raw.provision)?;
    let http_port = port(&at("http.port"), raw.http.port.as_ref(), 80)?;
    let agents_port = port(&at("agents.port"), raw.agents.port.as_ref(), 8443)?;
    if let Some(value) =
        raw.agents.port.as_ref().or(raw.http.port.as_ref()).filter(|_| http_port == agents_port)
    {
        let why = format!("{agents_port} is the port of the boot files and of the agents at once");
        return Err(at("agents.port").refuse(value, why, "two different ports, for example 80 and 8443"));
    }
    let image_keys = image_keys(&at("trust.image_keys"), raw.trust.image_keys.as_ref())?;
    let scrub_days = scrub_days(&at("images.scrub_days"), raw.images.scrub_days.as_ref())?;
    let cast_mbit = limit_mbit(&at("cast.limit_mbit"), raw.cast.limit_mbit.as_ref())?;
    let cast_flooding = flooding(&at("cast.flooding"), raw.cast.flooding.as_ref())?;
    let cast_querier = raw.cast.querier.unwrap_or(true);
    let cast_hours = hours::hours(text, &raw.cast.hours)?;
    let cloud = raw.cloud.as_ref().map(|raw| cloud::cloud(text, raw, &provision)).transpose()?;
    Ok(Config {
        site,
        provision,
        http_port,
        agents_port,
        image_keys,
        scrub_days,
        cast_mbit,
        cast_flooding,
        cast_querier,
        cast_hours,
        cast_yields: raw.cast.yields.unwrap_or(false),
        copy: copy(&at("backup.copy"), raw.backup.copy.as_ref())?,
        operators: operators::operators(text, &raw.operators)?,
        first_test: operators::first_test(text, &raw.enrol)?,
        expected_tpms: operators::expected_tpms(text, &raw.enrol)?,
        limits: operators::limits(text, &raw.limits)?,
        metrics: metrics(&at("metrics.listen"), raw.metrics.listen.as_ref())?,
        notify: notify::notify(text, &raw.notify)?,
        cloud,
    })
}

fn port(at: &At<'_>, value: Option<&Spanned<i64>>, default: u16) -> Result<u16, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    u16::try_from(*value.get_ref()).ok().filter(|&p| p != 0).ok_or_else(|| {
        at.refuse(
            value,
            format!("{} is not a port", value.get_ref()),
            &format!("1 to 65535; the usual one is {default}"),
        )
    })
}

/// Disks lose data in months, not in hours; a week is what storage systems take.
const SCRUB_DAYS: u16 = 7;

fn scrub_days(at: &At<'_>, value: Option<&Spanned<i64>>) -> Result<u16, ConfigError> {
    let Some(value) = value else { return Ok(SCRUB_DAYS) };
    u16::try_from(*value.get_ref()).ok().filter(|days| *days <= 365).ok_or_else(|| {
        let why = format!("{} is not a number of days up to 365", value.get_ref());
        at.refuse(value, why, &format!("1 to 365, or 0 for never; the usual one is {SCRUB_DAYS}"))
    })
}

fn limit_mbit(at: &At<'_>, value: Option<&Spanned<i64>>) -> Result<Option<u64>, ConfigError> {
    let cure = "for example 800, or 0 to have every server fetch its image; without it, what the link can";
    value.map(|value| mbit(at, value, cure)).transpose()
}

fn mbit(at: &At<'_>, value: &Spanned<i64>, cure: &str) -> Result<u64, ConfigError> {
    u64::try_from(*value.get_ref()).ok().filter(|mbit| *mbit <= 1_000_000).ok_or_else(|| {
        let why = format!("{} is not a number of megabits a second up to 1000000", value.get_ref());
        at.refuse(value, why, cure)
    })
}

fn flooding(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<Flooding, ConfigError> {
    let Some(value) = value else { return Ok(Flooding::Avoid) };
    match value.get_ref().as_str() {
        "avoid" => Ok(Flooding::Avoid),
        "allow" => Ok(Flooding::Allow),
        other => {
            let why = format!("{other:?} is not what can be done where a switch floods");
            Err(at.refuse(
                value,
                why,
                "\"avoid\" (the usual), or \"allow\" where nobody else is on the network",
            ))
        }
    }
}

fn copy(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let path = Path::new(value.get_ref());
    if !path.is_absolute() || value.get_ref().contains("..") || value.get_ref().contains('\0') {
        let why = format!("{:?} is not an absolute path without \"..\"", value.get_ref());
        return Err(at.refuse(value, why, "a folder on another disk or a mounted share, \"/mnt/copy\""));
    }
    Ok(Some(path.into()))
}

fn metrics(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<Option<SocketAddr>, ConfigError> {
    let read = |value: &Spanned<String>| {
        let address = value.get_ref().parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        let why = || format!("{:?} is not an address with a port", value.get_ref());
        address.ok_or_else(|| {
            at.refuse(value, why(), "\"127.0.0.1:9477\", or leave it out: nothing listens then")
        })
    };
    value.map(read).transpose()
}

fn image_keys(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<PathBuf, ConfigError> {
    let usual = "/etc/rackwright/image-keys";
    let Some(value) = value else { return Ok(usual.into()) };
    let path = Path::new(value.get_ref());
    if !path.is_absolute() || value.get_ref().contains("..") || value.get_ref().contains('\0') {
        let why = format!("{:?} is not an absolute path without \"..\"", value.get_ref());
        return Err(at.refuse(value, why, &format!("\"{usual}\"")));
    }
    Ok(path.into())
}
