//! From what the file says to what the program believes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use toml::Spanned;

use super::{Config, ConfigError, Dhcp, Pool, Provision, Site, line_of, raw};

/// More networks than any controller has ports.
const MAX_NETWORKS: usize = 16;
/// IFNAMSIZ of `linux/if.h`, without the terminating NUL.
const MAX_INTERFACE: usize = 15;

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
    let provision = networks(text, &raw.provision)?;
    let http_port = port(&at("http.port"), raw.http.port.as_ref(), 80)?;
    let agents_port = port(&at("agents.port"), raw.agents.port.as_ref(), 8443)?;
    if let Some(value) =
        raw.agents.port.as_ref().or(raw.http.port.as_ref()).filter(|_| http_port == agents_port)
    {
        let why = format!("{agents_port} is the port of the boot files and of the agents at once");
        return Err(at("agents.port").refuse(value, why, "two different ports, for example 80 and 8443"));
    }
    let image_keys = image_keys(&at("trust.image_keys"), raw.trust.image_keys.as_ref())?;
    Ok(Config { site, provision, http_port, agents_port, image_keys })
}

fn networks(text: &str, raw: &[raw::Provision]) -> Result<Vec<Provision>, ConfigError> {
    let absent = |why: &str| ConfigError::Value {
        line: 0,
        key: "provision".into(),
        why: why.into(),
        write: "one to sixteen [[provision]] tables with interface, address and pool".into(),
    };
    if raw.is_empty() {
        return Err(absent("there is no network to provision servers on"));
    }
    if raw.len() > MAX_NETWORKS {
        return Err(absent("there are more than sixteen networks"));
    }
    let mut believed: Vec<Provision> = Vec::new();
    for (number, raw) in (1..).zip(raw) {
        let one = network(text, number, raw)?;
        let at = |key: &str| At { text, key: format!("provision {number}, {key}") };
        if believed.iter().any(|b| b.interface == one.interface) {
            let why = format!("{:?} has a [[provision]] already", one.interface);
            return Err(at("interface").refuse(&raw.interface, why, "one [[provision]] for each interface"));
        }
        let overlaps = |b: &&Provision| {
            b.address.contains(&one.address.trunc()) || one.address.contains(&b.address.trunc())
        };
        if let Some(b) = believed.iter().find(overlaps) {
            let why = format!("{} overlaps {} on {:?}", one.address.trunc(), b.address.trunc(), b.interface);
            return Err(at("address").refuse(&raw.address, why, "networks that share no address"));
        }
        believed.push(one);
    }
    Ok(believed)
}

fn network(text: &str, number: usize, raw: &raw::Provision) -> Result<Provision, ConfigError> {
    let at = |key: &str| At { text, key: format!("provision {number}, {key}") };
    let interface = raw.interface.get_ref();
    let odd = |b: u8| !b.is_ascii_graphic() || b == b'/' || b == b':';
    if interface.is_empty()
        || interface.len() > MAX_INTERFACE
        || interface.starts_with('.')
        || interface.bytes().any(odd)
    {
        let why = format!("{interface:?} is not an interface's name");
        return Err(at("interface").refuse(
            &raw.interface,
            why,
            "a name that `ip link` shows, for example \"eth1\"",
        ));
    }
    let address = address(&at("address"), &raw.address)?;
    let dhcp = match raw.dhcp.as_ref().map(|d| (d, d.get_ref().as_str())) {
        None | Some((_, "full")) => Dhcp::Full,
        Some((_, "known")) => Dhcp::Known,
        Some((_, "off")) => Dhcp::Off,
        Some((value, other)) => {
            let why = format!("{other:?} is not a way to answer");
            return Err(at("dhcp").refuse(value, why, "\"full\", \"known\" or \"off\""));
        }
    };
    let pool = raw.pool.as_ref().map(|value| pool(&at("pool"), value, address)).transpose()?;
    if pool.is_none() && dhcp != Dhcp::Off {
        let why = "there are no addresses to give to servers";
        return Err(at("pool").refuse(
            &raw.interface,
            why,
            &format!("pool = {}, or dhcp = \"off\"", example(address)),
        ));
    }
    let answer_ipv6 = raw.answer_ipv6.unwrap_or(true);
    Ok(Provision { interface: interface.clone(), address, pool, dhcp, answer_ipv6 })
}

fn address(at: &At<'_>, value: &Spanned<String>) -> Result<Ipv4Net, ConfigError> {
    let write = "the controller's own address there with its prefix, for example \"10.77.0.1/24\"";
    let refuse = |why: String| at.refuse(value, why, write);
    let text = value.get_ref();
    let net: Ipv4Net =
        text.parse().map_err(|_| refuse(format!("{text:?} is not an IPv4 address with a prefix")))?;
    if !(8..=30).contains(&net.prefix_len()) {
        return Err(refuse(format!(
            "a prefix of /{} leaves no room for servers, or is nobody's",
            net.prefix_len()
        )));
    }
    let own = net.addr();
    if own == net.network() || own == net.broadcast() {
        return Err(refuse(format!("{own} is the network's own or its broadcast address")));
    }
    if own.is_loopback() || own.is_multicast() || own.is_unspecified() || own.octets().first() == Some(&0) {
        return Err(refuse(format!("{own} is not an address that servers can reach")));
    }
    Ok(net)
}

fn pool(at: &At<'_>, value: &Spanned<String>, net: Ipv4Net) -> Result<Pool, ConfigError> {
    let write = example(net);
    let refuse = |why: String| at.refuse(value, why, &write);
    let text = value.get_ref();
    let ends = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.trim().parse::<Ipv4Addr>().ok()?, b.trim().parse::<Ipv4Addr>().ok()?)));
    let (first, last) = ends.ok_or_else(|| refuse(format!("{text:?} is not a range of IPv4 addresses")))?;
    if first > last {
        return Err(refuse(format!("it ends at {last}, before it starts at {first}")));
    }
    if !net.contains(&first) || !net.contains(&last) {
        return Err(refuse(format!("{first}-{last} is not inside {}", net.trunc())));
    }
    if first == net.network() || last == net.broadcast() {
        return Err(refuse(format!(
            "it holds the network's own or the broadcast address of {}",
            net.trunc()
        )));
    }
    if (first..=last).contains(&net.addr()) {
        return Err(refuse(format!("the controller's own address {} is in it", net.addr())));
    }
    Ok(Pool { first, last })
}

/// A pool that would be right in this network: what is above the controller, or below it.
fn example(net: Ipv4Net) -> String {
    let (own, low, high) =
        (u32::from(net.addr()), u32::from(net.network()) + 1, u32::from(net.broadcast()) - 1);
    let (first, last) = if high - own >= own - low { (own + 1, high) } else { (low, own - 1) };
    format!("\"{}-{}\"", Ipv4Addr::from(first), Ipv4Addr::from(last))
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
