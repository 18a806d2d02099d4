//! A transmission on a network with a stranger who knows everything that can be read there, and sends in the controller's name.
//!
//! The controller's end is in one network namespace, two nodes and the stranger's eyes are in another; between them is one cable.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cast::wire::{Beat, DATA_BYTES, Data, Heard, SYMBOL_BYTES, hear};

const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 1, 2)];
const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(CONTROLLER), 7000);
const IMAGE_BYTES: usize = 48 << 20;
/// Long enough for the slowest machine; a test that hangs ends all the same.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the named test again in a new network namespace; true in that run.
fn alone(test: &str) -> bool {
    const INSIDE: &str = "RACKWRIGHT_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let me = std::env::current_exe().unwrap();
    let words = [test, "--exact", "--nocapture", "--test-threads=1"];
    let status = Command::new("unshare").arg("-n").arg(me).args(words).env(INSIDE, "1").status();
    assert!(status.expect("unshare of util-linux").success(), "{test} failed in its namespace");
    false
}

/// A child that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// The nodes' namespace: another one than the controller's, kept by a process in it.
struct Nodes(Ended);

impl Nodes {
    fn new() -> Nodes {
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let child = Command::new("unshare").args(["-n", "sleep", "600"]).spawn().unwrap();
        let nodes = Nodes(Ended(child));
        while std::fs::read_link(nodes.namespace()).map_or(true, |there| there == own) {
            std::thread::sleep(Duration::from_millis(1));
        }
        run("ip", &["link", "add", "here", "type", "veth", "peer", "name", "there", "netns", &nodes.id()]);
        for (words, address) in
            [(vec!["ip"], CONTROLLER.to_string()), (nodes.exec("ip"), NODES[0].to_string())]
        {
            let device = if address == CONTROLLER.to_string() { "here" } else { "there" };
            let ip = |rest: &[&str]| {
                let words: Vec<&str> = words.iter().copied().chain(rest.iter().copied()).collect();
                run(words[0], &words[1..]);
            };
            ip(&["address", "add", &format!("{address}/16"), "dev", device]);
            ip(&["link", "set", device, "up"]);
            ip(&["route", "add", "224.0.0.0/4", "dev", device]);
        }
        let more = format!("{}/16", NODES[1]);
        let words = nodes.exec("ip");
        run(words[0], &[&words[1..], &["address", "add", &more, "dev", "there"]].concat());
        nodes
    }

    fn id(&self) -> String {
        self.0.0.id().to_string()
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.id())
    }

    /// The words that run something there.
    fn exec<'a>(&self, program: &'a str) -> Vec<&'a str> {
        let there: &'static str = Box::leak(format!("--net={}", self.namespace()).into_boxed_str());
        vec!["nsenter", there, program]
    }

    /// A socket there.
    fn socket(&self, open: impl FnOnce() -> UdpSocket + Send) -> UdpSocket {
        let namespace = std::fs::File::open(self.namespace()).unwrap();
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        let enter = || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), network).unwrap();
            open()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }
}

fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).output().unwrap();
    assert!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Bytes that do not compress, the same every time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn transmit() -> Command {
    Command::new(env!("CARGO_BIN_EXE_transmit"))
}

/// The sender, ready.
fn send(dir: &Path) -> Ended {
    let mut command = transmit();
    command.args(["send", "--local", &CONTROLLER.to_string(), "--port", "7000", "--mbit", "100"]);
    command.arg("--image").arg(dir.join("image")).arg("--work").arg(dir.join("work"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    Ended(child)
}

fn receive(dir: &Path, nodes: &Nodes, node: usize) -> Ended {
    let words = nodes.exec(env!("CARGO_BIN_EXE_transmit"));
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args([
        "receive",
        "--server",
        &SERVICE.to_string(),
        "--company",
        "2",
        "--spool",
        "64",
    ]);
    command.args(["--node", &(node + 1).to_string(), "--local", &NODES[node].to_string()]);
    command.arg("--image").arg(dir.join("image")).arg("--sink").arg(dir.join(format!("disk{node}")));
    Ended(command.stdout(Stdio::piped()).spawn().unwrap())
}

/// What it printed in the end.
fn told(mut node: Ended) -> serde_json::Value {
    let begun = Instant::now();
    while node.0.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(node.0.wait().unwrap().success(), "it failed");
    let mut text = String::new();
    node.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// What a stranger learns by listening: the transmission's number, where it comes from and where it goes, a packet of it.
struct Overheard {
    data: Data,
    packet: Vec<u8>,
    source: SocketAddrV4,
}

fn overhear(eyes: &UdpSocket) -> Overheard {
    let mut buffer = [0; 2048];
    loop {
        let (bytes, from) = eyes.recv_from(&mut buffer).expect("nothing is sent to the group");
        let SocketAddr::V4(source) = from else { continue };
        if let Ok(Heard::Data(data, _)) = hear(&buffer[..bytes]) {
            return Overheard { data, packet: buffer[..bytes].to_vec(), source };
        }
    }
}

/// Sends packets in anybody's name.
struct Mouth(socket2::Socket);

impl Mouth {
    fn new() -> Mouth {
        // With this protocol the sender writes the header of IP itself (raw(7)).
        let raw = socket2::Protocol::from(255);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(raw)).unwrap();
        socket.set_multicast_if_v4(&CONTROLLER).unwrap();
        Mouth(socket)
    }

    fn say(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let udp = u16::try_from(8 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend((20 + udp).to_be_bytes());
        packet.extend([0, 0, 0, 0, 1, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp.to_be_bytes());
        // No checksum: over IPv4 there need be none (RFC 768).
        packet.extend([0, 0]);
        packet.extend(payload);
        let _full = self.0.send_to(&packet, &to.into());
    }
}

/// Everything that a stranger would say.
fn slander(mouth: &Mouth, heard: &Overheard, to: SocketAddrV4, turn: u32) {
    let Overheard { data, packet, source } = heard;
    let symbol = [0x5a; SYMBOL_BYTES];
    // A symbol of a group that is still to come, and it is wrong.
    let forged = Data {
        group: data.group + 20 + turn % 8,
        symbol: data.symbol,
        sequence: data.sequence + turn,
        ..*data
    };
    mouth.say(*source, to, &packed(&forged, &symbol));
    // The same of another transmission, of no group, of too many symbols, from far ahead.
    mouth.say(*source, to, &packed(&Data { session: data.session ^ 1, ..forged }, &symbol));
    mouth.say(*source, to, &packed(&Data { group: u32::MAX, ..forged }, &symbol));
    mouth.say(*source, to, &packed(&Data { symbols: 1, symbol: 0, ..forged }, &symbol));
    mouth.say(
        *source,
        to,
        &packed(&Data { sequence: data.sequence.wrapping_add(1 << 30), ..forged }, &symbol),
    );
    // One that was sent before, a piece of one, none at all, and where the sender is not.
    mouth.say(*source, to, packet);
    mouth.say(*source, to, &packet[..DATA_BYTES / 2]);
    mouth.say(*source, to, &[]);
    mouth.say(*source, to, &Beat { session: data.session, next: u32::MAX / 2, asks: true }.packet());
    // The right one from somebody else.
    mouth.say(SocketAddrV4::new(Ipv4Addr::new(10, 77, 3, 3), 9), to, &packed(&forged, &symbol));
    // Reports: garbage, and a well-formed one without the key.
    mouth.say(SocketAddrV4::new(NODES[0], 40_000), *source, &symbol[..100]);
    mouth.say(SocketAddrV4::new(NODES[0], 40_000), *source, &report(data.session).packet(&[0; 32]));
}

fn packed(data: &Data, symbol: &[u8; SYMBOL_BYTES]) -> Vec<u8> {
    [&data.header()[..], symbol].concat()
}

fn report(session: u64) -> cast::wire::Report {
    let runs = vec![cast::wire::Run { groups: 1, deficit: 1024 }];
    cast::wire::Report { session, slot: 0, number: u32::MAX / 3, next: 0, received: 0, first: 0, runs }
}

#[test]
fn whatever_a_stranger_sends_every_node_gets_the_image() {
    if !alone("whatever_a_stranger_sends_every_node_gets_the_image") {
        return;
    }
    run("ip", &["link", "set", "lo", "up"]);
    let dir = tempfile::tempdir().unwrap();
    let content = noise(IMAGE_BYTES);
    std::fs::write(dir.path().join("file"), &content).unwrap();
    let made = transmit()
        .arg("pack")
        .arg("--file")
        .arg(dir.path().join("file"))
        .arg("--out")
        .arg(dir.path().join("image"))
        .status();
    assert!(made.unwrap().success());
    let nodes = Nodes::new();
    let _sender = send(dir.path());
    let receivers = [receive(dir.path(), &nodes, 0), receive(dir.path(), &nodes, 1)];
    let group = group(&nodes);
    let eyes = nodes.socket(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&group.into()).unwrap();
        socket.join_multicast_v4(group.ip(), &NODES[0]).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.into()
    });
    let heard = overhear(&eyes);
    let mouth = Mouth::new();
    for turn in 0..400 {
        slander(&mouth, &heard, group, turn);
        std::thread::sleep(Duration::from_millis(2));
    }
    let told: Vec<_> = receivers.into_iter().map(told).collect();
    let number = |node: &serde_json::Value, what: &str| node["hearing"][what].as_u64().unwrap();
    let heard: BTreeMap<_, Vec<u64>> = ["refused", "spoilt", "bytes"]
        .map(|what| (what, told.iter().map(|node| number(node, what)).collect()))
        .into();
    println!("{heard:?}");
    for node in 0..2 {
        let disk = std::fs::read(dir.path().join(format!("disk{node}"))).unwrap();
        assert!(disk == content, "the disk of node {node} is not the image");
    }
    assert!(heard["refused"].iter().all(|refused| *refused >= 400), "they were not refused: {heard:?}");
    assert!(
        heard["bytes"].iter().all(|bytes| *bytes > IMAGE_BYTES as u64 / 2),
        "it did not go on: {heard:?}"
    );
}

/// The group that the nodes have joined.
fn group(nodes: &Nodes) -> SocketAddrV4 {
    let begun = Instant::now();
    loop {
        // Addresses that this machine's own services do not have.
        let joined = std::fs::read_to_string(format!("/proc/{}/net/igmp", nodes.id())).unwrap();
        let addresses = joined.split_whitespace().filter(|word| word.len() == 8);
        let groups = addresses
            .filter_map(|word| u32::from_str_radix(word, 16).ok())
            .map(|word| Ipv4Addr::from(word.swap_bytes()));
        if let Some(group) = groups.into_iter().find(|group| group.octets()[0] == 239) {
            return SocketAddrV4::new(group, cast::wire::PORT);
        }
        assert!(begun.elapsed() < PATIENCE, "nobody joins a group");
        std::thread::sleep(Duration::from_millis(20));
    }
}
