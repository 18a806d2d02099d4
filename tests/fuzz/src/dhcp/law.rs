//! What the clients were told: the other side of the books.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pxe::{Mac, Time};

/// Who may believe what.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Who believes that it may use which address, and until when.
    uses: BTreeMap<Ipv4Addr, (Mac, Time)>,
    /// The address a machine was last acknowledged, until it declined it or a person changed it.
    own: BTreeMap<Mac, Ipv4Addr>,
}

impl Told {
    /// No two machines use one address; a machine's address never changes.
    pub(super) fn acknowledged(&mut self, mac: Mac, address: Ipv4Addr, now: Time, lease_seconds: u32) {
        if let Some((user, until)) = self.uses.get(&address) {
            assert!(*user == mac || *until <= now, "{address} is {user}'s until {until:?}, and now {mac}'s");
        }
        let own = self.own.insert(mac, address);
        assert!(own.is_none_or(|own| own == address), "{mac} had {own:?} and now has {address}");
        self.uses.retain(|_, (user, _)| *user != mac);
        self.uses.insert(address, (mac, now.plus_seconds(u64::from(lease_seconds))));
    }

    /// A machine that shows up in another network gives up the address that it has.
    pub(super) fn shows_up(&mut self, mac: Mac, here: impl Fn(Ipv4Addr) -> bool) {
        if self.own.get(&mac).is_some_and(|own| !here(*own)) {
            self.own.remove(&mac);
        }
    }

    /// The client has said that it uses its address no longer.
    pub(super) fn given_back(&mut self, mac: Mac, declined: bool) {
        self.uses.retain(|_, (user, _)| *user != mac);
        if declined {
            self.own.remove(&mac);
        }
    }

    /// A person has changed the machine's address.
    pub(super) fn changed(&mut self, mac: Mac) {
        self.own.remove(&mac);
    }
}
