//! A switch, a controller, receivers and a bystander, each in a network namespace of its own.
//!
//! Knows `ip`, `tc`, `ethtool` and `nft`. Refuses to give any of them a way out: no route but the switch's own network.
//! Packets have the size that they have on a wire, because the shaper and the losses count them one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;

use super::faults::{self, BYSTANDER, UPLINK, port};
use super::scenario::{Lan, Loss};
use crate::rack::netns::Netns;
use crate::rack::process::Identity;
use crate::tool::{Output, Tool, ToolError};

/// Where `ip netns` keeps what it made.
const KEPT: &str = "/run/netns";
/// What our namespaces' names begin with; then comes the pid of who made them.
const PREFIX: &str = "rackwright-cast-";
/// The one interface of everybody but the switch.
pub(super) const INTERFACE: &str = "eth0";
/// The controller's address.
pub(super) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// How long a bridge takes until it prunes: it waits for one query's answers, which are given this long here.
const ANSWERS: Duration = Duration::from_secs(1);

/// The laboratory; gone when dropped, with every process in it.
#[derive(Debug)]
pub(super) struct Lab {
    prefix: String,
    dir: PathBuf,
    receivers: u16,
    rate: u32,
}

impl Lab {
    /// Builds it: so many receivers, and so many Mb/s on each link in each direction. `dir` holds what it writes for its
    /// tools. What an earlier run left behind because it was killed is removed first.
    ///
    /// # Errors
    /// A tool said no: mostly not root.
    pub(super) fn up(dir: &Path, receivers: u16, rate: u32) -> Result<Lab, Box<dyn Error>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep();
        fs::create_dir_all(dir)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{number}-", std::process::id());
        let lab = Lab { prefix, dir: dir.to_owned(), receivers, rate };
        lab.make_switch()?;
        lab.plug_in("controller", UPLINK, CONTROLLER)?;
        for receiver in 1..=receivers {
            lab.plug_in(&lab.place(receiver), &port(receiver), Lab::address(receiver))?;
        }
        lab.plug_in("bystander", BYSTANDER, Ipv4Addr::new(10, 77, 200, 1))?;
        lab.shape()?;
        lab.behave(Loss::None, Lan::Snooping)?;
        Ok(lab)
    }

    /// How many receivers there are, numbered from 1.
    pub(super) fn receivers(&self) -> u16 {
        self.receivers
    }

    /// Mb/s of every link.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// A receiver's address.
    pub(super) fn address(receiver: u16) -> Ipv4Addr {
        let [high, low] = receiver.to_be_bytes();
        Ipv4Addr::new(10, 77, high.saturating_add(1), low)
    }

    fn place(&self, receiver: u16) -> String {
        format!("receiver{receiver}")
    }

    fn name(&self, place: &str) -> String {
        format!("{}{place}", self.prefix)
    }

    /// The words of `argv` as a command in the controller's namespace.
    pub(super) fn at_controller(&self, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        self.at("controller", argv)
    }

    /// The words of `argv` as a command in a receiver's namespace.
    pub(super) fn at_receiver(&self, receiver: u16, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        self.at(&self.place(receiver), argv)
    }

    fn at(&self, place: &str, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        let mut words = Netns::exec(&self.name(place));
        words.extend(argv.iter().map(|word| word.as_ref().to_owned()));
        words
    }

    fn run_at(&self, place: &str, words: &str) -> Result<(), ToolError> {
        let mut argv = self.at(place, &words.split(' ').collect::<Vec<_>>()).into_iter();
        Tool::new(argv.next().unwrap_or_default()).args(argv).read().map(drop)
    }

    /// A namespace in which only IPv4 is spoken: neighbour discovery has no part in this, and a bystander would count it.
    fn make(&self, place: &str) -> Result<(), ToolError> {
        let name = self.name(place);
        Tool::new("ip").args(["netns", "add", &name]).read()?;
        let settings = "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
        self.run_at(place, settings)?;
        Tool::new("ip").args(["-n", &name, "link", "set", "lo", "up"]).read().map(drop)
    }

    fn make_switch(&self) -> Result<(), ToolError> {
        self.make("switch")?;
        let name = self.name("switch");
        // forward_delay 0: a port forwards at once, as an edge port does.
        let words = "link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 1 \
                     mcast_query_response_interval 100 mcast_startup_query_interval 100";
        Tool::new("ip").args(["-n", &name]).args(words.split_whitespace()).read()?;
        Tool::new("ip").args(["-n", &name, "link", "set", "br0", "up"]).read().map(drop)
    }

    /// A place with one cable into the switch.
    fn plug_in(&self, place: &str, port: &str, address: Ipv4Addr) -> Result<(), Box<dyn Error>> {
        self.make(place)?;
        let (switch, name) = (self.name("switch"), self.name(place));
        let at_switch = format!(
            "link add {port} type veth peer name {INTERFACE} netns {name}\nlink set dev {port} master br0 up\n"
        );
        self.batch("ip", &switch, &at_switch)?;
        let there = format!(
            "address add {address}/16 brd + dev {INTERFACE}\nlink set {INTERFACE} up\n\
             route add 224.0.0.0/4 dev {INTERFACE}\n"
        );
        self.batch("ip", &name, &there)?;
        // What leaves has the size that it has on a wire, and the switch joins nothing. What has arrived is joined again where
        // somebody asks for it, as real cards and their drivers do.
        for (place, link, join) in [("switch", port, "off"), (place, INTERFACE, "on")] {
            let words = format!("ethtool -K {link} tso off gso off tx-udp-segmentation off gro {join}");
            self.run_at(place, &words)?;
        }
        Ok(())
    }

    /// The rate of every link, in both directions. A small switch has half a megabyte of buffer for a port.
    fn shape(&self) -> Result<(), Box<dyn Error>> {
        let mut at_switch = String::new();
        for (place, port) in self.cables() {
            let _ = writeln!(at_switch, "qdisc add dev {port} root {}", bucket(self.rate, "512k"));
            let there = format!("qdisc add dev {INTERFACE} root {}\n", bucket(self.rate, "4m"));
            self.batch("tc", &self.name(&place), &there)?;
        }
        self.batch("tc", &self.name("switch"), &at_switch)
    }

    /// Every place and its port.
    fn cables(&self) -> Vec<(String, String)> {
        let receivers = (1..=self.receivers).map(|receiver| (self.place(receiver), port(receiver)));
        let others = [("controller", UPLINK), ("bystander", BYSTANDER)];
        others.map(|(place, port)| (place.to_owned(), port.to_owned())).into_iter().chain(receivers).collect()
    }

    /// Sets what the switch loses and what it does with multicast, and mends every link; it is settled when this returns.
    pub(super) fn behave(&self, loss: Loss, lan: Lan) -> Result<(), Box<dyn Error>> {
        for receiver in 1..=self.receivers {
            self.plug(receiver, true)?;
            self.slow(receiver, 1)?;
        }
        let path = self.dir.join("rules");
        fs::write(&path, faults::ruleset(loss, lan, self.receivers))?;
        self.run_at("switch", &format!("nft -f {}", path.display()))?;
        let flags = match lan {
            Lan::Snooping | Lan::Blocked => "mcast_snooping 1 mcast_querier 1",
            Lan::NoQuerier => "mcast_snooping 1 mcast_querier 0",
            Lan::Flooding => "mcast_snooping 0 mcast_querier 0",
        };
        let words = format!("link set br0 type bridge {flags}");
        Tool::new("ip").args(["-n", &self.name("switch")]).args(words.split(' ')).read()?;
        thread::sleep(2 * ANSWERS);
        Ok(())
    }

    /// Whether all that comes from the controller is carried on by the second processor. Else whoever sends a packet carries
    /// its copies to all receivers, in its own name. Its link is then one that cuts large packets itself, as real cards do, and
    /// takes what it is given: the kernel would do both in the name of who sends.
    pub(super) fn carry_apart(&self, on: bool) -> Result<(), Box<dyn Error>> {
        let mask = if on { "2" } else { "0" };
        let path = format!("/sys/class/net/{UPLINK}/queues/rx-0/rps_cpus");
        let mut argv = self.at("switch", &["sh", "-c", "echo $1 >$2", "sh", mask, &path]).into_iter();
        Tool::new(argv.next().unwrap_or_default()).args(argv).read()?;
        let cuts = if on { "on" } else { "off" };
        self.run_at(
            "controller",
            &format!("ethtool -K {INTERFACE} tso {cuts} gso {cuts} tx-udp-segmentation {cuts}"),
        )?;
        let shaped = bucket(self.rate, "4m");
        let queue = if on { "pfifo limit 1000" } else { &shaped };
        self.batch("tc", &self.name("controller"), &format!("qdisc replace dev {INTERFACE} root {queue}\n"))
    }

    /// Pulls a receiver's cable, or plugs it in again.
    pub(super) fn plug(&self, receiver: u16, on: bool) -> Result<(), ToolError> {
        let state = if on { "up" } else { "down" };
        let switch = self.name("switch");
        Tool::new("ip").args(["-n", &switch, "link", "set", &port(receiver), state]).read().map(drop)
    }

    /// Divides the rate of a receiver's link, in both directions.
    pub(super) fn slow(&self, receiver: u16, by: u32) -> Result<(), Box<dyn Error>> {
        let rate = self.rate / by;
        let at_switch = format!("qdisc change dev {} root {}\n", port(receiver), bucket(rate, "512k"));
        self.batch("tc", &self.name("switch"), &at_switch)?;
        let there = format!("qdisc change dev {INTERFACE} root {}\n", bucket(rate, "4m"));
        self.batch("tc", &self.name(&self.place(receiver)), &there)
    }

    /// What went over every cable until now.
    pub(super) fn traffic(&self) -> Result<Traffic, Box<dyn Error>> {
        let switch = self.name("switch");
        let text = Tool::new("ip").args(["-n", &switch, "-s", "-j", "link", "show"]).read()?;
        Traffic::parse(&text)
    }

    fn batch(&self, program: &str, namespace: &str, lines: &str) -> Result<(), Box<dyn Error>> {
        let path = self.dir.join("batch");
        fs::write(&path, lines)?;
        Tool::new(program).args(["-n", namespace, "-batch"]).arg(&path).read()?;
        Ok(())
    }

    /// What a tool says in the controller's namespace.
    pub(super) fn ask_controller(&self, words: &str) -> Result<Output, ToolError> {
        let mut argv = self.at_controller(&words.split(' ').collect::<Vec<_>>()).into_iter();
        Tool::new(argv.next().unwrap_or_default()).args(argv).output()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&self.prefix));
    }
}

/// A shaper's words: tc-tbf(8). It counts what an Ethernet carries: preamble, check sequence and gap are not in a packet's length.
fn bucket(rate: u32, limit: &str) -> String {
    format!("tbf rate {rate}mbit burst 64k overhead 24 limit {limit}")
}

/// Bytes over every cable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// By port of the switch: what came in, what went out.
    ports: BTreeMap<String, (u64, u64)>,
}

impl Traffic {
    fn parse(text: &str) -> Result<Traffic, Box<dyn Error>> {
        #[derive(Deserialize)]
        struct Link {
            ifname: String,
            stats64: Directions,
        }
        #[derive(Deserialize)]
        struct Directions {
            rx: Count,
            tx: Count,
        }
        #[derive(Deserialize)]
        struct Count {
            bytes: u64,
        }
        let links: Vec<Link> = serde_json::from_str(text)?;
        let ports =
            links.into_iter().map(|link| (link.ifname, (link.stats64.rx.bytes, link.stats64.tx.bytes)));
        Ok(Traffic { ports: ports.collect() })
    }

    fn of(&self, port: &str) -> (u64, u64) {
        self.ports.get(port).copied().unwrap_or_default()
    }

    /// What the controller sent after `before`.
    pub(super) fn sent_since(&self, before: &Traffic) -> u64 {
        self.of(UPLINK).0.saturating_sub(before.of(UPLINK).0)
    }

    /// What the bystander had to listen to after `before`.
    pub(super) fn overheard_since(&self, before: &Traffic) -> u64 {
        self.of(BYSTANDER).1.saturating_sub(before.of(BYSTANDER).1)
    }
}

/// Removes labs of runs that are gone.
fn sweep() {
    remove(|name| {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists())
    });
}

/// Ends what runs in these namespaces and removes them. A server's workers outlive a server that is killed.
fn remove(which: impl Fn(&str) -> bool) {
    let Ok(kept) = fs::read_dir(KEPT) else { return };
    let names = kept.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.filter(|name| which(name)).collect();
    if names.is_empty() {
        return;
    }
    for identity in inside(&names).unwrap_or_default() {
        identity.signal(Signal::KILL);
    }
    for name in names {
        // Nothing else can be done about one that stays, and the next run sweeps.
        let _ = Tool::new("ip").args(["netns", "delete", &name]).cleaning().output();
    }
}

/// Every process in these namespaces.
fn inside(names: &[String]) -> io::Result<Vec<Identity>> {
    use std::os::unix::fs::MetadataExt as _;
    let inodes = names.iter().filter_map(|name| fs::metadata(Path::new(KEPT).join(name)).ok());
    let inodes: BTreeSet<u64> = inodes.map(|look| look.ino()).collect();
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let there = pids.filter(|pid: &i32| {
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|look| inodes.contains(&look.ino()))
    });
    Ok(there.filter_map(Identity::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_as_ip_prints_them() {
        let text = r#"[{"ifname":"lo","stats64":{"rx":{"bytes":1},"tx":{"bytes":1}}},
            {"ifname":"uplink","mtu":1500,"stats64":{"rx":{"bytes":70,"packets":3},"tx":{"bytes":8}}},
            {"ifname":"bystander","stats64":{"rx":{"bytes":5},"tx":{"bytes":12}}}]"#;
        let (before, after) = (Traffic::default(), Traffic::parse(text).unwrap());
        assert_eq!((after.sent_since(&before), after.overheard_since(&before)), (70, 12));
        assert_eq!(after.sent_since(&after), 0);
        Traffic::parse("[{}]").unwrap_err();
    }

    #[test]
    fn addresses_of_many() {
        assert_eq!(Lab::address(1), Ipv4Addr::new(10, 77, 1, 1));
        assert_eq!(Lab::address(300), Ipv4Addr::new(10, 77, 2, 44));
    }
}
