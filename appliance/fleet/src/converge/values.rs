//! What the placeholders of templates stand for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pack::Digest;

use super::{Rack, Unconvertible, address};
use crate::cloud::objects::Rings;
use crate::cloud::{Cloud, Salt, accounts};
use crate::data_disk;
use crate::{Catalog, Node, Site, Subnet};

/// What placeholders stand for.
pub(super) struct Values<'a> {
    plain: BTreeMap<&'static str, Result<String, &'static str>>,
    cloud: Option<&'a Cloud>,
    /// What passwords are made of, beside the cloud's key.
    salt: Option<Salt>,
    catalog: &'a Catalog,
    rings: &'a Rings,
    node: &'a Node,
    /// Its address, and the network of it.
    place: (Ipv4Addr, Option<&'a Subnet>),
}

const NO_SUBNET: &str = "the site has no provisioning network";
const NO_CLOUD: &str = "the rack is no cloud ([cloud] in rackwright.toml)";
const NO_VALUE: &str = "no value has that name";

impl Values<'_> {
    /// The value of this name.
    fn get(&self, place: &str, name: &str) -> Result<String, Unconvertible> {
        let missing = |why: &str| Unconvertible::Missing {
            place: place.to_owned(),
            name: name.to_owned(),
            why: why.to_owned(),
        };
        if let Some(value) = self.plain.get(name) {
            return value.clone().map_err(missing);
        }
        let (family, rest) = name.split_once('.').ok_or_else(|| missing(NO_VALUE))?;
        let cloud = || self.cloud.ok_or_else(|| missing(NO_CLOUD));
        let services = || self.catalog.services().collect::<Vec<_>>();
        match (family, rest) {
            ("secret", name) => Ok(cloud()?.key.password(self.salt, name)),
            ("lasting", name) => Ok(cloud()?.key.lasting(name)),
            ("fernet", name) => Ok(cloud()?.key.fernet(name)),
            ("cloud", "databases") => Ok(accounts::databases((cloud()?, self.salt), &services())),
            // No URL of the catalog has what this is made of in it: a test reads them all.
            ("cloud", "identity") => {
                accounts::identity((cloud()?, self.salt), &services(), |service, url| {
                    if url.contains("${cloud.identity}") {
                        Err(missing(NO_VALUE))
                    } else {
                        fill(&service.name, url, self)
                    }
                })
            }
            ("ring", name) => match self.rings.value(name) {
                Some(value) => value.map_err(missing),
                None => Err(missing(NO_VALUE)),
            },
            ("cloud", name) => cloud()?.value(name).ok_or_else(|| missing(NO_VALUE)),
            ("node", name) => match cloud()?.value_of_node(name, self.node, self.place) {
                Some(value) => value.map_err(|why| missing(&why)),
                None => Err(missing(NO_VALUE)),
            },
            _ => Err(missing(NO_VALUE)),
        }
    }
}

/// The values of one node.
pub(super) fn values<'a>(rack: &'a Rack, site: &'a Site, catalog: &'a Catalog, node: &'a Node) -> Values<'a> {
    let address = |node: &Node| address(site, node);
    let text = |address: Ipv4Addr| Ok(address.to_string());
    let subnet = site.subnet_of(address(node));
    let controller = subnet.map(|subnet| subnet.controller);
    let virt_type = if node.inventory.cpu.virtualisation { "kvm" } else { "qemu" };
    let plain = BTreeMap::from([
        ("node.name", Ok(node.name.to_string())),
        ("node.address", text(address(node))),
        ("node.uuid", Ok(uuid(node))),
        ("node.virt_type", Ok(virt_type.to_owned())),
        ("rack.subnet", subnet.map(|subnet| subnet.net.to_string()).ok_or(NO_SUBNET)),
        ("rack.controller", controller.ok_or(NO_SUBNET).and_then(text)),
        ("rack.control", rack.control.or(controller).ok_or(NO_SUBNET).and_then(text)),
        ("rack.hosts", Ok(rack.hosts.clone())),
        ("disk.data", data_disk(node)),
        ("disk.group", Ok(data_disk::VOLUME_GROUP.to_owned())),
    ]);
    let salt = rack.editions.of_node(node.id).salt;
    let (cloud, rings) = (site.cloud.as_ref(), &rack.rings);
    Values { plain, cloud, salt, catalog, rings, node, place: (address(node), subnet) }
}

/// The node's id as a UUID of version 8 (RFC 9562 §5.8): the same after every rebuild, and no other node's.
fn uuid(node: &Node) -> String {
    let digest = Digest::of(node.id.to_string().as_bytes()).to_string();
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// The path of the disk that the applied plan names, as long as it is what the plan saw or what became of it.
fn data_disk(node: &Node) -> Result<String, &'static str> {
    let data = node.installed.as_ref().and_then(|installed| installed.data.as_ref());
    let data = data.ok_or("no plan that was applied names a data disk of this node: rebuild it")?;
    let disk =
        data.find(node).ok_or("the data disk of its plan is not there, or holds something else now")?;
    data_disk::path(disk).ok_or("its data disk has no name under /dev/disk/by-id")
}

/// Replaces every `${name}`; there is no other syntax.
pub(super) fn fill(place: &str, text: &str, values: &Values<'_>) -> Result<String, Unconvertible> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| Unconvertible::Open(place.to_owned()))?;
        out.push_str(before);
        out.push_str(&values.get(place, name)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
