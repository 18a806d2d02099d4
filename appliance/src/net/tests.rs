//! Against a real kernel, each test in a network namespace of its own.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use super::{Change, Net, NetError, Presence, Until, watch};

/// Runs the named test again in a new network namespace, with loopback on; true in that run.
pub(crate) fn alone(test: &str) -> bool {
    const INSIDE: &str = "RACKWRIGHT_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let status = Command::new("unshare")
        .arg(if root { "-n" } else { "-rn" })
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare of util-linux");
    assert!(status.success(), "{test} failed in its namespace");
    false
}

/// `ip` with these words.
pub(crate) fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().expect("ip of iproute2");
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A second namespace: whoever is at the other end of the cable. The kernel drops what comes from an address of its own.
#[derive(Debug)]
pub(crate) struct Other(std::process::Child);

impl Other {
    pub(crate) fn new() -> Self {
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let child = Command::new("unshare").args(["-n", "sleep", "600"]).spawn().unwrap();
        let other = Self(child);
        while std::fs::read_link(other.namespace()).map_or(true, |n| n == own) {
            std::thread::sleep(Duration::from_millis(1));
        }
        other.ip("link set lo up");
        other
    }

    /// `rw0` here, `rw1` there, both on.
    pub(crate) fn cable(&self) {
        ip(&format!("link add rw0 type veth peer name rw1 netns {}", self.0.id()));
        ip("link set rw0 up");
        self.ip("link set rw1 up");
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    pub(crate) fn ip(&self, words: &str) {
        let there = format!("--net={}", self.namespace());
        let done = Command::new("nsenter").arg(there).arg("ip").args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "there, ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs this there, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, there: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(self.namespace()).unwrap();
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        let enter = || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), network).unwrap();
            there()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_interface_is_made_ready_and_doing_it_again_changes_nothing() {
    if !alone("net::tests::an_interface_is_made_ready_and_doing_it_again_changes_nothing") {
        return;
    }
    ip("link add rw0 address 02:00:00:00:00:07 mtu 1400 type veth peer name rw1");
    runtime().block_on(async {
        let net = Net::open().unwrap();
        let address = "10.77.0.1/24".parse().unwrap();
        let (link, change) = net.prepare("rw0", address, SOON, |_| ()).await.unwrap();
        assert_eq!(change, Change::Made);
        assert_eq!((link.name.as_str(), link.mtu, link.up, link.carrier), ("rw0", 1400, true, false));
        assert_eq!(link.mac.clone().unwrap().as_str(), "02:00:00:00:00:07");
        let (again, change) = net.prepare("rw0", address, SOON, |_| ()).await.unwrap();
        assert_eq!((again, change), (link.clone(), Change::Already));

        let said = net.wait("rw0", Until::Carrier, Duration::ZERO, |_| ()).await.unwrap_err().to_string();
        assert!(said.contains("rw0") && said.contains("cable"), "{said}");
        ip("link set rw1 up");
        assert!(net.wait("rw0", Until::Carrier, SOON, |_| ()).await.unwrap().carrier);

        let other = net.look("rw1").await.unwrap().unwrap();
        let error = net.ensure_address(&other, address).await.unwrap_err();
        assert!(matches!(error, NetError::Elsewhere { index, .. } if index == link.index), "{error}");
    });
}

#[test]
fn what_does_not_exist_is_waited_for_with_a_reason() {
    if !alone("net::tests::what_does_not_exist_is_waited_for_with_a_reason") {
        return;
    }
    runtime().block_on(async {
        let net = Net::open().unwrap();
        assert_eq!(net.look("rw0").await.unwrap(), None);
        let error = net.wait("rw0", Until::Exists, Duration::ZERO, |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("no interface of this name"), "{error}");
        let mut reasons = Vec::new();
        let waited = net.wait("rw0", Until::Exists, SOON, |why| {
            reasons.push(why.to_owned());
            ip("link add rw0 type veth peer name rw1");
        });
        assert_eq!(waited.await.unwrap().name, "rw0");
        assert_eq!(reasons, ["there is no interface of this name"]);
    });
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_noticed() {
    if !alone("net::tests::an_interface_that_goes_away_and_comes_back_is_noticed") {
        return;
    }
    ip("link add rw0 type veth peer name rw1");
    ip("link set rw1 up");
    runtime().block_on(async {
        let net = Net::open().unwrap();
        let address = "10.77.0.1/24".parse().unwrap();
        net.prepare("rw0", address, SOON, |_| ()).await.unwrap();
        let mut seen = watch("rw0", address).await.unwrap();
        seen.wait_for(|p| p.trouble().is_none()).await.unwrap();
        for (order, trouble) in [
            ("link set rw1 down", "cable"),
            ("link set rw0 down", "switched off"),
            ("addr flush dev rw0", "address"),
            ("link del rw0", "gone"),
        ] {
            ip(order);
            seen.wait_for(|p| p.trouble().is_some_and(|t| t.contains(trouble))).await.unwrap();
        }
        ip("link add rw0 type veth peer name rw1");
        ip("link set rw1 up");
        net.prepare("rw0", address, SOON, |_| ()).await.unwrap();
        let back = seen.wait_for(|p| p.trouble().is_none()).await.unwrap().clone();
        assert!(matches!(back, Presence::Ready(link) if link.name == "rw0"));
    });
}

fn kernel_has_vlans() -> bool {
    let words = "link add link rw0 name probe type vlan id 4094";
    let made = Command::new("ip").args(words.split(' ')).output().unwrap();
    if made.status.success() {
        ip("link del probe");
    }
    made.status.success()
}

#[test]
fn a_vlan_is_made_once_and_carries_packets_with_its_tag() {
    if !alone("net::tests::a_vlan_is_made_once_and_carries_packets_with_its_tag") {
        return;
    }
    let other = Other::new();
    other.cable();
    if !kernel_has_vlans() {
        runtime().block_on(async {
            let made = Net::open().unwrap().ensure_vlan("rw0", 100, "rw0.100", SOON, |_| ()).await;
            let said = made.unwrap_err().to_string();
            assert!(said.contains("8021q"), "{said}");
        });
        return eprintln!("this kernel has no VLANs: only the refusal was tested");
    }
    other.ip("link add link rw1 name rw1.100 type vlan id 100");
    other.ip("addr add 10.77.0.2/24 dev rw1.100");
    other.ip("link set rw1.100 up");
    ip("link set rw0 down");
    runtime().block_on(async {
        let net = Net::open().unwrap();
        for change in [Change::Made, Change::Already] {
            assert_eq!(net.ensure_vlan("rw0", 100, "rw0.100", SOON, |_| ()).await.unwrap(), change);
        }
        let (link, _) = net.prepare("rw0.100", "10.77.0.1/24".parse().unwrap(), SOON, |_| ()).await.unwrap();
        net.wait("rw0.100", Until::Carrier, SOON, |_| ()).await.unwrap();
        let found = net.who_has(&link, &[[10, 77, 0, 2].into()].into()).await.unwrap();
        assert_eq!(found.len(), 1, "nobody answers through the VLAN");

        ip("link add rw0.200 type dummy");
        let error = net.ensure_vlan("rw0", 200, "rw0.200", SOON, |_| ()).await.unwrap_err();
        assert!(matches!(error, NetError::NotThatVlan { tag: 200, .. }), "{error}");
        let error = net.ensure_vlan("rw0", 101, "rw0.100", SOON, |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("VLAN 101"), "{error}");
    });
}

#[test]
fn a_route_to_a_relayed_subnet_is_added_once() {
    if !alone("net::tests::a_route_to_a_relayed_subnet_is_added_once") {
        return;
    }
    ip("link add rw0 type veth peer name rw1");
    ip("link set rw1 up");
    runtime().block_on(async {
        let net = Net::open().unwrap();
        let (link, _) = net.prepare("rw0", "10.77.0.1/24".parse().unwrap(), SOON, |_| ()).await.unwrap();
        let (subnet, via) = ("10.78.0.0/24".parse().unwrap(), [10, 77, 0, 254].into());
        for change in [Change::Made, Change::Already] {
            assert_eq!(net.ensure_route(&link, subnet, via).await.unwrap(), change);
        }
        let shown = Command::new("ip").args(["route", "get", "10.78.0.9"]).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("via 10.77.0.254 dev rw0"), "{shown}");
        let error = net.ensure_route(&link, "10.79.0.0/24".parse().unwrap(), [192, 0, 2, 1].into()).await;
        assert!(error.unwrap_err().to_string().contains("rw0"));
    });
}

#[test]
fn who_has_an_address_is_told_and_who_has_none_is_not() {
    if !alone("net::tests::who_has_an_address_is_told_and_who_has_none_is_not") {
        return;
    }
    let other = Other::new();
    other.cable();
    other.ip("link set rw1 address 02:00:00:00:00:09");
    for last in [5, 7] {
        other.ip(&format!("addr add 10.77.0.{last}/24 dev rw1"));
    }
    runtime().block_on(async {
        let net = Net::open().unwrap();
        let (link, _) = net.prepare("rw0", "10.77.0.1/24".parse().unwrap(), SOON, |_| ()).await.unwrap();
        net.wait("rw0", Until::Carrier, SOON, |_| ()).await.unwrap();
        let asked = (2..=200).map(|last| [10, 77, 0, last].into()).collect();
        // Again, and after the first answers are forgotten.
        for _ in 0..2 {
            let found = net.who_has(&link, &asked).await.unwrap();
            let found = found.iter().map(|(ip, mac)| (ip.to_string(), mac.as_str())).collect::<Vec<_>>();
            let mac = "02:00:00:00:00:09";
            assert_eq!(found, [("10.77.0.5".to_owned(), mac), ("10.77.0.7".to_owned(), mac)]);
        }
        other.ip("addr del 10.77.0.7/24 dev rw1");
        assert_eq!(net.who_has(&link, &asked).await.unwrap().len(), 1, "a stale answer");
    });
}
