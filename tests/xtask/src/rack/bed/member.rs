//! A server of a cloud: what it is made of.

use super::super::Rack;
use super::super::firmware::Firmware;
use super::super::host::{Host, HostError, Leg};
use super::super::machine::{Bus, Disk, Nic, Spec};
use super::super::netns::Network;

const GIB: u64 = 1 << 30;

/// A server of the cloud. Beside the card that it boots from it has one for tunnels, where a switch of its own has any, with the role
/// network another one for the network outside, and with the role storage a disk for volumes.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// From 1; it is called `n1`.
    pub number: u8,
    /// What it is for.
    pub roles: &'static [&'static str],
}

impl Member {
    /// Its name in the rack.
    #[must_use]
    pub fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// Whether it goes on as an emulated machine with the kernel of its image: volumes need device-mapper and iSCSI, which the kernel of
    /// this machine, that all containers have, may be without.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.has("storage")
    }

    fn has(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }

    pub(super) fn spec(&self) -> Spec {
        let name = self.name();
        let disk = |kind: &str, gib: u64| {
            Disk::plain(format!("{kind}-{}", name.to_uppercase()), gib * GIB, Bus::Virtio)
        };
        let card = |of: u8, network| Nic { mac: format!("52:54:00:77:{of:02}:{:02x}", self.number), network };
        let outside = self.has("network").then(|| card(2, Network::Second));
        let tunnels = (self.has("network") || self.has("compute")).then(|| card(3, Network::Far));
        let nics = [card(1, Network::Provision)].into_iter().chain(outside).chain(tunnels);
        Spec {
            firmware: Firmware::Uefi,
            nics: nics.collect(),
            memory_mib: 3072,
            // With two, a kernel below OVMF stood still now and then on a busy machine: see the stories' lab.
            cpus: 1,
            disks: [disk("SYS", 16)]
                .into_iter()
                .chain(self.has("storage").then(|| disk("DATA", 8)))
                .collect(),
            name,
        }
    }

    /// Its cables once more, for what runs natively.
    pub(super) fn host(&self, rack: &Rack) -> Result<Host, HostError> {
        let Spec { name, nics, .. } = self.spec();
        let names = (0..nics.len()).map(|at| format!("eth{}{at}", self.number)).collect::<Vec<_>>();
        let legs = names.iter().zip(&nics).map(|(name, nic)| Leg {
            network: nic.network,
            interface: name,
            address: None,
        });
        let host = rack.host(&name, &legs.collect::<Vec<_>>())?;
        for (name, nic) in names.iter().zip(&nics) {
            host.run(&["ip", "link", "set", name, "address", &nic.mac])?;
        }
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_decide_on_cards_and_disks() {
        let table = [
            (Member { number: 1, roles: &["control", "network"] }, false, 3, 1),
            (Member { number: 2, roles: &["compute"] }, false, 2, 1),
            (Member { number: 12, roles: &["compute", "storage"] }, true, 2, 2),
            (Member { number: 13, roles: &["storage"] }, true, 1, 2),
        ];
        for (member, is_emulated, cards, disks) in table {
            let spec = member.spec();
            let found = (member.is_emulated(), spec.nics.len(), spec.disks.len());
            assert_eq!(found, (is_emulated, cards, disks), "{member:?}");
            assert_eq!(spec.mac(), format!("52:54:00:77:01:{:02x}", member.number));
        }
    }
}
