//! The openstack client, which is not ours, on the control node.

use std::time::Duration;

use xtask::rack::container::Container;
use xtask::say;

use crate::lab::{Site, fail};

/// One call of the client.
const CALL: Duration = Duration::from_secs(300);

pub(super) struct Client<'a> {
    access: String,
    node: &'a Container,
}

impl<'a> Client<'a> {
    /// With what `rackwright cloud openrc` gives.
    pub(super) fn on(site: &Site, node: &'a Container) -> Self {
        let access = site.controller.rackwright(&["cloud", "openrc"]).unwrap_or_else(|error| fail(&error));
        Self { access, node }
    }

    /// What it prints; it has to succeed.
    pub(super) fn says(&self, words: &str) -> String {
        let said = self.runs(&format!("{}exec openstack {words}", self.access));
        say::line(&format!("    openstack {words}\n{}", said.trim_end()));
        said
    }

    /// What a script prints where the client is; it has to succeed.
    pub(super) fn runs(&self, script: &str) -> String {
        let out = self.node.exec(&["sh", "-ec", script], CALL).unwrap_or_else(|error| fail(&error));
        assert!(
            out.status.success(),
            "{}: {}{}",
            script.lines().last().unwrap_or_default(),
            out.stdout,
            out.stderr
        );
        out.stdout
    }

    /// Its tokens, services and agents.
    pub(super) fn finds_all_up(&self) {
        let token = self.says("token issue -f value -c id");
        assert!(token.trim().len() > 100, "{token:?}");
        let services = self.says("compute service list -f value -c Binary -c Host -c State");
        for binary in ["nova-conductor n1 up", "nova-scheduler n1 up", "nova-compute n1 up"] {
            assert!(services.contains(binary), "{services}");
        }
        assert!(!services.contains(" down"), "{services}");
        let agents = self.says("network agent list -f value -c Alive -c Binary -c Host");
        for agent in ["True ovn-controller", "True neutron-ovn-metadata-agent"] {
            assert!(agents.contains(agent), "{agents}");
        }
        assert!(!agents.contains("False"), "{agents}");
    }

    /// An image with nothing on it, because that an instance runs is what is asked here, and a network behind a router.
    pub(super) fn prepares(&self) {
        self.node
            .exec(&["truncate", "--size=1M", "/root/blank.raw"], CALL)
            .unwrap_or_else(|error| fail(&error));
        for words in [
            "image create blank --file /root/blank.raw --disk-format raw --container-format bare --public",
            "flavor create tiny --ram 64 --disk 1 --vcpus 1",
            "network create inside",
            "subnet create inside --network inside --subnet-range 192.168.77.0/24",
            "router create way",
            "router add subnet way inside",
        ] {
            self.says(words);
        }
    }

    pub(super) fn runs_an_instance(&self) {
        self.prepares();
        self.says("server create first --image blank --flavor tiny --network inside --wait");
        let status = self.says("server show first -f value -c status");
        assert_eq!(status.trim(), "ACTIVE");
        let port = self.says("port list --server first -f value -c Status");
        assert_eq!(port.trim(), "ACTIVE", "its port is a switch's");
        self.says("server delete first --wait");
    }
}
