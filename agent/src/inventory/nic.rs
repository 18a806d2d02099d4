//! Network cards, from `/sys/class/net`.

use std::path::Path;

use protocol::{HardwareAddress, Nic};

use crate::inventory::read;

const ETHERNET: u32 = 1;
const INFINIBAND: u32 = 32;

/// Every card with hardware behind it: no bridges, bonds, tunnels or virtual functions. Sorted by name.
pub fn nics(root: &Path) -> Vec<Nic> {
    read::names(root, "sys/class/net").iter().filter_map(|name| nic(root, name)).collect()
}

/// The address that a link has now, whatever it is made of: what its packets come from.
pub fn mac_of(root: &Path, link: &str) -> Option<HardwareAddress> {
    // A name from the kernel, and part of a path.
    let is_one = !link.contains('/') && !link.starts_with('.');
    is_one.then(|| read::text(root, &format!("sys/class/net/{link}/address")).parse().ok()).flatten()
}

fn nic(root: &Path, name: &str) -> Option<Nic> {
    let at = |file: &str| format!("sys/class/net/{name}/{file}");
    let kind = read::number::<u32>(root, &at("type"))?;
    let is_card = matches!(kind, ETHERNET | INFINIBAND) && root.join(at("device")).exists();
    if !is_card || root.join(at("device/physfn")).exists() {
        return None;
    }
    // The kernel's text is the current address; a bond's slaves all show the bond's.
    let permanent = if root == Path::new("/") { crate::sys::permanent_address(name) } else { None };
    let shown = || read::text(root, &at("address")).parse::<HardwareAddress>().ok();
    Some(Nic {
        name: crate::text::name(name),
        mac: permanent.or_else(shown)?,
        speed_mbps: speed(&read::text(root, &at("speed"))),
        carrier: read::text(root, &at("carrier")) == "1",
        driver: read::link_name(root, &at("device/driver")),
    })
}

/// `-1` and 4294967295 are how drivers say that they don't know.
fn speed(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|&mbps| mbps > 0 && mbps != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::speed;

    #[test]
    fn speeds_that_are_none() {
        for text in ["", "-1", "0", "4294967295", "fast", "10000000000000"] {
            assert_eq!(speed(text), None, "{text:?}");
        }
        assert_eq!(speed("25000"), Some(25_000));
    }
}
