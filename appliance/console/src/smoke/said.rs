//! What the guest has said, from the text of its console: lines of its own among those of firmware and kernel.

use std::net::Ipv4Addr;

use crate::text::{clean, fit};

/// How a line of the guest begins.
const MARK: &str = "rackwright-guest: ";
/// Cells that are shown of a line.
const WORDS: usize = 160;

/// Everything so far; of what was said twice, the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether it got an address, and which.
    pub(super) address: Option<Result<Address, String>>,
    /// Whether it got its metadata: instance and host name.
    pub(super) metadata: Option<Result<(String, String), String>>,
    /// Whether an address answered.
    pub(super) ping: Vec<(Ipv4Addr, bool)>,
    /// The disk that turned up, its bytes, and whether it kept what was written.
    pub(super) disk: Option<(String, u64, bool)>,
    /// The end of the console, for whoever has to find out why nothing was said.
    pub(super) last: String,
}

/// An address as DHCP gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: Ipv4Addr,
    /// With the length of the network and the way out.
    pub(super) text: String,
}

impl Said {
    /// Reads a console.
    pub(super) fn read(console: &str) -> Said {
        let mut said = Said::default();
        for line in console.lines() {
            // A kernel that had not ended its line may be before it.
            if let Some((_, line)) = line.split_once(MARK) {
                said.hear(fit(clean(line).trim(), WORDS));
            }
        }
        let last = console.lines().map(clean).rev().find(|line| !line.trim().is_empty());
        said.last = last.map(|line| fit(line.trim(), WORDS)).unwrap_or_default();
        said
    }

    fn hear(&mut self, line: String) {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["address", address, ..] => {
                let ip = address.split('/').next().unwrap_or_default().parse();
                let text = line.trim_start_matches("address ").to_owned();
                self.address = Some(ip.map(|ip| Address { ip, text: text.clone() }).map_err(|_| text));
            }
            ["no", "address"] => self.address = Some(Err(line)),
            ["metadata", id] => self.metadata = Some(Ok(((*id).to_owned(), String::new()))),
            ["metadata", id, name, ..] => self.metadata = Some(Ok(((*id).to_owned(), (*name).to_owned()))),
            ["no", "metadata"] => self.metadata = Some(Err(line)),
            ["ping", ip, result] => {
                if let Ok(ip) = ip.parse() {
                    self.ping.push((ip, *result == "ok"));
                }
            }
            ["disk", name, bytes, result] => {
                let bytes = bytes.parse().unwrap_or_default();
                self.disk = Some(((*name).to_owned(), bytes, *result == "ok"));
            }
            // A newer guest may say more.
            _ => {}
        }
    }

    /// Whether this address answered; nothing while it is being tried.
    pub(super) fn pinged(&self, ip: Ipv4Addr) -> Option<bool> {
        self.ping.iter().rev().find(|(asked, _)| *asked == ip).map(|(_, answered)| *answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::HOSTILE;
    use crate::text::is_hostile;

    #[test]
    fn lines_of_the_guest_are_found_among_others() {
        let console = "SeaBIOS (version 1.16)\r\n\u{1b}[2J[    0.000000] Linux version 6.12\r\n\
                       [    3.1] hid: rackwright-guest: address 192.168.233.57/24 via 192.168.233.1\r\n\
                       rackwright-guest: metadata i-00000001 rackwright-smoke-1.novalocal\r\n\
                       rackwright-guest: ping 192.168.233.9 failed\r\n\
                       rackwright-guest: ping 192.168.233.9 ok\r\n\
                       rackwright-guest: disk vdb 1073741824 ok\r\n\
                       rackwright-guest: ready\r\n\r\n";
        let said = Said::read(console);
        let address = said.address.clone().unwrap().unwrap();
        assert_eq!(address.ip, Ipv4Addr::new(192, 168, 233, 57));
        assert_eq!(address.text, "192.168.233.57/24 via 192.168.233.1");
        let (id, name) = said.metadata.clone().unwrap().unwrap();
        assert_eq!((id.as_str(), name.as_str()), ("i-00000001", "rackwright-smoke-1.novalocal"));
        assert_eq!(said.pinged(Ipv4Addr::new(192, 168, 233, 9)), Some(true), "the last counts");
        assert_eq!(said.pinged(Ipv4Addr::new(192, 168, 233, 8)), None);
        assert_eq!(said.disk, Some(("vdb".to_owned(), 1 << 30, true)));
        assert_eq!(said.last, "rackwright-guest: ready");
    }

    #[test]
    fn what_it_did_not_get_is_said_too() {
        let said = Said::read("rackwright-guest: no address\nrackwright-guest: no metadata\nx\n");
        assert_eq!(said.address, Some(Err("no address".to_owned())));
        assert_eq!(said.metadata, Some(Err("no metadata".to_owned())));
        assert_eq!(said.last, "x");
        assert_eq!(Said::read(""), Said::default());
        let half = Said::read("rackwright-guest: address 192.168\nrackwright-guest: disk vdb");
        assert!(half.address.unwrap().is_err() && half.disk.is_none());
    }

    #[test]
    fn a_console_of_anything_is_read_and_shown() {
        let endless = format!("rackwright-guest: address {}", "9".repeat(1_000_000));
        for hostile in HOSTILE.iter().map(|text| (*text).to_owned()).chain([endless]) {
            for line in ["address", "metadata", "no", "disk x", "ping", "disk vdb 99999999999999999999999"] {
                let said = Said::read(&format!("{hostile}rackwright-guest: {line} {hostile}\n{hostile}"));
                let shown = format!("{:?} {:?} {:?} {}", said.address, said.metadata, said.disk, said.last);
                assert!(!shown.chars().any(is_hostile) && shown.len() < 2000, "{shown}");
            }
        }
    }
}
