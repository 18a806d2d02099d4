//! What DHCP does on each network: by what is known of other servers there, and by what the boot store has.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet::Fleet;
use pxe::dhcp::{Network, Stance};
use pxe::files::StoreFile;

use super::draft::Draft;

/// DHCP does what is known of other servers on its network.
pub(super) fn follow(network: &mut Network, fleet: &Fleet) {
    let Some(watched) = fleet.networks.get(&network.interface) else { return };
    network.stance = watched.stance();
    network.local.proxy = watched.proxy || network.stance == Stance::Proxy;
}

impl Draft<'_> {
    /// Something became known of other servers.
    pub(super) fn follow(&mut self, interface: &str) {
        let fleet = &self.world.fleet;
        let networks = Arc::make_mut(&mut self.world.networks);
        networks
            .iter_mut()
            .filter(|network| network.interface == interface)
            .for_each(|network| follow(network, fleet));
    }

    /// What the boot store has says which loaders may be handed out.
    pub(super) fn equip(&mut self, extras: &BTreeSet<StoreFile>) {
        let networks = Arc::make_mut(&mut self.world.networks);
        networks.iter_mut().for_each(|network| network.extras.clone_from(extras));
    }
}
