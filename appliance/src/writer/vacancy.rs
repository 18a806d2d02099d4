//! Free addresses that the network was asked for, and those that somebody uses although nobody was given them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use fleet::Denied;
use fleet::event::Fact;
use protocol::HardwareAddress;
use pxe::Mac;
use pxe::dhcp::{LeaseChange, QUARANTINE_SECONDS};

use super::Refused;
use super::draft::Draft;

/// A card that answers for more addresses than these, of those asked for at once, answers for everybody.
const MOST_OF_ONE: usize = 3;

/// Stands in a row about an address for the machine that there is none of; no card is ever made with it.
fn no_machine() -> Option<Mac> {
    Mac::new([2, 0, 0, 0, 0, 0]).ok()
}

impl Draft<'_> {
    /// Addresses that the network was asked for. What somebody uses although nobody was given it is given to nobody.
    pub(super) fn probed(&mut self, free: &BTreeSet<Ipv4Addr>, used: &BTreeMap<Ipv4Addr, HardwareAddress>) {
        let now = pxe::Time(self.now.0);
        for address in free {
            self.world.leases.probed(*address, now);
        }
        let mut by_card: BTreeMap<&HardwareAddress, Vec<Ipv4Addr>> = BTreeMap::new();
        for (address, card) in used {
            by_card.entry(card).or_default().push(*address);
        }
        for (card, addresses) in by_card {
            self.in_use(card, &addresses, now);
        }
    }

    /// A card answers for addresses that nobody was given.
    fn in_use(&mut self, card: &HardwareAddress, addresses: &[Ipv4Addr], now: pxe::Time) {
        if addresses.len() > MOST_OF_ONE {
            // A router that answers for everybody (proxy ARP), or a host that means harm: it says nothing about any of
            // them, and must not cost us the pool.
            addresses.iter().for_each(|address| self.world.leases.probed(*address, now));
            let count = addresses.len();
            let text =
                format!("{card} answers ARP for {count} addresses that nobody was given: not believed");
            if self.told.worth(card.as_str(), true, &text, self.now) {
                let (mac, kind) = (Some(card.clone()), "address-in-use".to_owned());
                self.log(Fact { node: None, mac, kind, text });
            }
            return;
        }
        // Some clusters answer with a group address, which is no machine's: then the row names nobody.
        let mac = card.as_str().parse::<Mac>().ok().or_else(no_machine);
        let Some(mac) = mac else { return };
        for address in addresses {
            // It was given to somebody meanwhile: who has it is asked for an address of its own, not for this one.
            if self.world.leases.holder(*address).is_some() {
                continue;
            }
            let until = now.plus_seconds(QUARANTINE_SECONDS);
            let lease = self.world.leases.get(mac).cloned();
            let change = LeaseChange { mac, lease, evicts: None, quarantine: Some((*address, until)) };
            if self.lease(change).is_ok() {
                let text =
                    format!("{address} is used by {card}, and was given to nobody: in quarantine for a day");
                let (mac, kind) = (Some(card.clone()), "address-in-use".to_owned());
                self.log(Fact { node: None, mac, kind, text });
            }
        }
    }

    /// Ends an address's quarantine.
    pub(super) fn lift(&mut self, address: Ipv4Addr) -> Result<(), Refused> {
        let now = pxe::Time(self.now.0);
        let missing = || Denied::Missing { kind: "lease", name: address.to_string() };
        let quarantined = self.world.leases.quarantine_of(address, now).is_some();
        let mac = no_machine().filter(|_| quarantined && self.world.leases.holder(address).is_none());
        let mac = mac.ok_or_else(missing)?;
        let lease = self.world.leases.get(mac).cloned();
        let change = LeaseChange { mac, lease, evicts: None, quarantine: Some((address, now)) };
        self.lease(change).map_err(Denied::Conflict)?;
        self.note("address", None, serde_json::json!({"change": "lifted", "address": address}));
        let text = format!("{address} may be given again: the operator ended its quarantine");
        self.log(Fact { node: None, mac: None, kind: "released".to_owned(), text });
        Ok(())
    }
}
