//! Which groups of kolla-ansible and openstack-ansible a role of ours is.

use std::collections::{BTreeMap, BTreeSet};

use crate::Host;

/// The groups of kolla-ansible's `multinode` inventory that an operator fills; its 160 others are made from these.
pub const KOLLA_GROUPS: [&str; 6] = ["control", "network", "compute", "monitoring", "storage", "deployment"];

/// Ours, kolla-ansible's, openstack-ansible's.
const TABLE: [(&str, &[&str], &[&str]); 5] = [
    (
        "control",
        &["control", "monitoring"],
        &[
            "shared_infra",
            "repo_infra",
            "identity",
            "image",
            "placement_infra",
            "compute_infra",
            "orchestration",
            "dashboard",
            "storage_infra",
            "load_balancer",
        ],
    ),
    ("network", &["network"], &["network"]),
    ("compute", &["compute"], &["compute"]),
    ("storage", &["storage"], &["storage"]),
    // The appliance itself: both deployers run from it, and openstack-ansible has no group for that.
    ("controller", &["deployment"], &[]),
];

/// The kolla-ansible groups of a role; none for a role that kolla-ansible does not know. `controller` is the appliance.
pub fn kolla_groups(role: &str) -> &'static [&'static str] {
    row(role).map_or(&[], |(_, kolla, _)| kolla)
}

/// The openstack-ansible groups of a role (without their `_hosts`); none for a role it does not know.
pub fn osa_groups(role: &str) -> &'static [&'static str] {
    row(role).map_or(&[], |(_, _, osa)| osa)
}

fn row(role: &str) -> Option<&'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    TABLE.iter().find(|(ours, _, _)| *ours == role)
}

/// Every group of [`KOLLA_GROUPS`] with its hosts; `deployment` is the machine that runs kolla-ansible.
pub fn kolla(hosts: &[Host]) -> BTreeMap<&'static str, BTreeSet<&str>> {
    let mut groups =
        KOLLA_GROUPS.map(|group| (group, BTreeSet::new())).into_iter().collect::<BTreeMap<_, _>>();
    for host in hosts {
        for group in host.roles.iter().flat_map(|role| kolla_groups(role)) {
            groups.entry(*group).or_default().insert(host.name.as_str());
        }
    }
    groups.entry("deployment").or_default().insert("localhost");
    groups
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::BASE_ROLES;

    #[test]
    fn every_base_role_has_groups_that_exist() {
        for role in BASE_ROLES {
            assert!(!kolla_groups(role).is_empty() && !osa_groups(role).is_empty(), "{role}");
            assert!(kolla_groups(role).iter().all(|group| KOLLA_GROUPS.contains(group)), "{role}");
        }
        assert_eq!(kolla_groups("gpu"), &[] as &[&str]);
        assert_eq!(osa_groups(""), &[] as &[&str]);
    }

    #[test]
    fn hosts_stand_in_the_groups_of_their_roles() {
        let host = |name: &str, roles: &[&str]| {
            let roles = roles.iter().map(|role| (*role).to_owned());
            Host::new(name, IpAddr::from([10, 0, 0, 1]), roles, BTreeMap::new()).unwrap()
        };
        let hosts = [host("n1", &["control", "network"]), host("n2", &["compute", "gpu"])];
        let groups = kolla(&hosts);
        assert_eq!(groups.keys().len(), KOLLA_GROUPS.len());
        assert_eq!(groups["monitoring"], BTreeSet::from(["n1"]));
        assert_eq!(groups["compute"], BTreeSet::from(["n2"]));
        assert_eq!(groups["storage"], BTreeSet::new());
        assert_eq!(groups["deployment"], BTreeSet::from(["localhost"]));
    }
}
