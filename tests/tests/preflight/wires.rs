//! Nodes in network namespaces, on a bridge that is a switch, in a namespace of its own; none of them has a way out.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use agent::preflight::{Ears, Party};
use protocol::{LLDP_ETHERTYPE, Link, LinkAddress, NetworkStep, StepDone};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

static LABS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, number + 1)
}

pub(crate) fn mac(number: u8) -> String {
    format!("52:54:00:99:00:{number:02x}")
}

/// One node: a thread in its namespace, which does what it is told.
pub(crate) struct Node {
    number: u8,
    mtu: Mutex<u32>,
    ears: Arc<Mutex<Option<Ears>>>,
    steps: Option<Sender<NetworkStep>>,
    done: Receiver<StepDone>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn new(space: &str, number: u8) -> Self {
        let (steps, given) = channel::<NetworkStep>();
        let (tell, done) = channel();
        let (begins, begun) = channel();
        let ears = Arc::new(Mutex::new(None));
        let (space, own) = (space.to_owned(), Arc::clone(&ears));
        let thread = std::thread::spawn(move || {
            enter(&space);
            *own.lock().unwrap() = Some(Ears::begin(|| vec!["eth0".to_owned()]));
            begins.send(()).unwrap();
            let mut party = Party::default();
            while let Ok(step) = given.recv() {
                if tell.send(party.carry_out(&step)).is_err() {
                    return;
                }
            }
        });
        begun.recv().unwrap();
        Self { number, mtu: Mutex::new(1500), ears, steps: Some(steps), done, thread: Some(thread) }
    }

    pub(crate) fn begin(&self, step: NetworkStep) {
        self.steps.as_ref().unwrap().send(step).unwrap();
    }

    pub(crate) fn done(&self) -> Option<StepDone> {
        self.done.try_recv().ok()
    }

    /// As its agent tells of it.
    pub(crate) fn link(&self) -> Link {
        let heard = self.ears.lock().unwrap().as_ref().unwrap().heard();
        Link {
            name: "eth0".to_owned(),
            mac: mac(self.number).parse().unwrap(),
            carrier: true,
            mtu: *self.mtu.lock().unwrap(),
            speed_mbps: None,
            addresses: vec![LinkAddress { address: address(self.number), prefix: 24 }],
            neighbours: heard.get("eth0").cloned().unwrap_or_default(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        *self.ears.lock().unwrap() = None;
        self.steps = None;
        drop(self.thread.take().unwrap().join());
    }
}

/// The switch and everything that is plugged in.
pub(crate) struct Lab {
    pub(crate) nodes: Vec<Node>,
    id: String,
    spaces: Vec<String>,
}

impl Lab {
    pub(crate) fn new(count: u8) -> Self {
        let id = format!("pf{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let mut lab = Self { nodes: Vec::new(), id, spaces: Vec::new() };
        let lan = lab.space("lan");
        ip(&["-n", &lan, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &lan, "link", "set", "br0", "up"]);
        for number in 0..count {
            let space = lab.plug(&format!("n{number}"), number, &mac(number));
            lab.nodes.push(Node::new(&space, number));
        }
        lab
    }

    fn space(&mut self, name: &str) -> String {
        let space = format!("{}-{name}", self.id);
        ip(&["netns", "add", &space]);
        self.spaces.push(space.clone());
        ip(&["-n", &space, "link", "set", "lo", "up"]);
        space
    }

    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// A machine of this name at a port of the same name, with this address.
    fn plug(&mut self, name: &str, number: u8, mac: &str) -> String {
        let (space, lan) = (self.space(name), self.named("lan"));
        ip(&[
            "-n", &lan, "link", "add", name, "type", "veth", "peer", "name", "eth0", "address", mac, "netns",
            &space,
        ]);
        ip(&["-n", &lan, "link", "set", name, "master", "br0", "up"]);
        ip(&["-n", &space, "link", "set", "eth0", "up"]);
        ip(&["-n", &space, "addr", "add", &format!("{}/24", address(number)), "dev", "eth0"]);
        space
    }

    fn node(&self, at: u8) -> String {
        self.named(&format!("n{at}"))
    }

    /// What `from` sends to `to` goes to a hardware address that nobody has.
    pub(crate) fn blocks(&self, from: u8, to: u8) {
        let to = address(to).to_string();
        let wrong = "02:de:ad:00:00:01";
        ip(&[
            "-n",
            &self.node(from),
            "neigh",
            "replace",
            &to,
            "lladdr",
            wrong,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ]);
    }

    pub(crate) fn unblocks(&self, from: u8, to: u8) {
        ip(&["-n", &self.node(from), "neigh", "del", &address(to).to_string(), "dev", "eth0"]);
    }

    pub(crate) fn port_mtu(&self, at: u8, mtu: u32) {
        ip(&["-n", &self.named("lan"), "link", "set", &format!("n{at}"), "mtu", &mtu.to_string()]);
    }

    pub(crate) fn card_mtu(&self, at: u8, mtu: u32) {
        ip(&["-n", &self.node(at), "link", "set", "eth0", "mtu", &mtu.to_string()]);
        *self.nodes[usize::from(at)].mtu.lock().unwrap() = mtu;
    }

    /// A machine that is no node, with the address of one.
    pub(crate) fn intrudes(&mut self, victim: u8) {
        self.plug("x", victim, &mac(99));
    }

    pub(crate) fn leaves(&self) {
        ip(&["-n", &self.named("lan"), "link", "del", "x"]);
    }

    /// Both ways: what the node sends, and what the switch sends it.
    pub(crate) fn shape(&self, at: u8, rate: &str) {
        let limit = ["root", "tbf", "rate", rate, "burst", "64k", "latency", "50ms"];
        run("tc", &[&["-n", &self.node(at), "qdisc", "add", "dev", "eth0"], &limit[..]].concat());
        let port = format!("n{at}");
        run("tc", &[&["-n", &self.named("lan"), "qdisc", "add", "dev", &port], &limit[..]].concat());
    }

    /// The switch says by LLDP who it is, at this node's port.
    pub(crate) fn says(&self, at: u8, system: &str, port: &str, vlan: u16) {
        let tlv = |kind: u16, value: &[u8]| {
            let head = (kind << 9) | u16::try_from(value.len()).unwrap();
            [&head.to_be_bytes()[..], value].concat()
        };
        let vlan = [&[0x00, 0x80, 0xc2, 1][..], &vlan.to_be_bytes()].concat();
        let unit = [
            tlv(1, &[4, 0x02, 0, 0, 0, 0, 0x0a]),
            tlv(2, &[b"\x05", port.as_bytes()].concat()),
            tlv(3, &120_u16.to_be_bytes()),
            tlv(5, system.as_bytes()),
            tlv(127, &vlan),
            tlv(0, &[]),
        ];
        self.says_bytes(at, &unit.concat());
    }

    /// The switch sends this to the group of LLDP.
    pub(crate) fn says_bytes(&self, at: u8, unit: &[u8]) {
        let group = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
        let head = [&group[..], &[0x02, 0, 0, 0, 0, 0x0a], &LLDP_ETHERTYPE.to_be_bytes()].concat();
        let mut frame = [&head[..], unit].concat();
        frame.resize(frame.len().max(60), 0);
        let (lan, port) = (self.named("lan"), format!("n{at}"));
        let send = move || {
            enter(&lan);
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).unwrap();
            let index = nix::net::if_::if_nametoindex(port.as_str()).unwrap();
            agent::sys::bind_packet(&socket, LLDP_ETHERTYPE, index).unwrap();
            socket.send(&frame).unwrap();
        };
        std::thread::spawn(send).join().unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.nodes.clear();
        for space in &self.spaces {
            drop(Command::new("ip").args(["netns", "del", space]).status());
        }
    }
}

/// This thread, and those that it starts, are in this namespace from now on.
fn enter(space: &str) {
    let file = std::fs::File::open(format!("/run/netns/{space}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn ip(words: &[&str]) {
    run("ip", words);
}

fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).output().unwrap();
    assert!(
        done.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
}
