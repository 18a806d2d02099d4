//! Against curl, and against clients that misbehave, on loopback.

mod clients;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pxe::files::StoreFile;
use pxe::trace::{End, Fetch};
use tokio::sync::watch;

use super::serve;
use crate::boot::BootStore;
use crate::boot::tests::{content, fill};
use crate::listen::files::{Asker, FileService, Files, Script, Served};
use crate::listen::tests::{background, bound, place};
use crate::listen::{ListenerReport, ListenerState};

const GRUB: &str = "configfile (http,127.0.0.1)/boot/x/grub.cfg\n";

/// One text, and a record of what was served.
#[derive(Default)]
struct Texts(Mutex<Vec<Served>>, Mutex<Vec<End>>);

impl FileService for Texts {
    async fn script(&self, script: Script, asker: &Asker) -> Result<String, String> {
        assert_eq!(asker.address, Ipv4Addr::LOCALHOST);
        match script {
            Script::GrubConfig => Ok(GRUB.into()),
            Script::Autoexec | Script::NodeGrub(_) | Script::NodeScript(_) | Script::Join => {
                Err("no such machine".into())
            }
        }
    }

    fn served(&self, what: Served, _: &Asker) {
        self.0.lock().unwrap().push(what);
    }

    fn asked(&self, fetch: Fetch, _: Option<Served>, _: &Asker) {
        self.1.lock().unwrap().push(fetch.end);
    }
}

/// A listener on loopback, on a runtime of its own.
struct Server {
    address: SocketAddr,
    state: Arc<ListenerState>,
    texts: Arc<Texts>,
    stopper: watch::Sender<bool>,
    store: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let runtime = background();
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path());
        let store = Arc::new(BootStore::open(directory.path()).unwrap());
        let texts = Arc::new(Texts::default());
        let state = ListenerState::new("tftp", "lo");
        let (stopper, stop) = watch::channel(false);
        let files = Files::new(store, Arc::clone(&texts));
        runtime.spawn(serve(place("lo", Ipv4Addr::LOCALHOST), 0, files, Arc::clone(&state), stop));
        let address = crate::net::tests::runtime().block_on(bound(&state));
        Self { address, state, texts, stopper, store: directory }
    }

    fn report(&self) -> ListenerReport {
        self.state.report()
    }

    /// Waits until the report is such.
    fn until(&self, such: impl Fn(&ListenerReport) -> bool) {
        while !such(&self.report()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn curl(&self, name: &str, options: &[&str]) -> Result<Vec<u8>, String> {
        let url = format!("tftp://{}/{name}", self.address);
        let done =
            std::process::Command::new("curl").args(["-sS", "--path-as-is"]).args(options).arg(url).output();
        let done = done.expect("curl");
        if done.status.success() {
            Ok(done.stdout)
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into())
        }
    }

    /// Sends a request from a new port.
    fn ask(&self, packet: &[u8]) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send_to(packet, self.address).unwrap();
        Client { socket, from: None, window: 1 }
    }
}

/// A client that can do everything wrong.
struct Client {
    socket: UdpSocket,
    from: Option<SocketAddr>,
    window: u16,
}

impl Client {
    fn receive(&mut self) -> Vec<u8> {
        let mut buffer = [0; 70_000];
        let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(*self.from.get_or_insert(from), from, "a transfer has one port");
        buffer[..length].to_vec()
    }

    fn acknowledge(&self, block: u16) {
        let [high, low] = block.to_be_bytes();
        self.socket.send_to(&[0, 4, high, low], self.from.unwrap()).unwrap();
    }

    /// Takes the blocks from `first` on to the end.
    fn rest(&mut self, block_size: usize) -> Vec<u8> {
        let (mut got, mut next) = (Vec::new(), 1u16);
        loop {
            let packet = self.receive();
            assert_eq!(packet[..2], [0, 3], "{:?}", &packet[..packet.len().min(60)]);
            let block = u16::from_be_bytes([packet[2], packet[3]]);
            if block != next {
                continue;
            }
            got.extend_from_slice(&packet[4..]);
            let last = packet.len() - 4 < block_size;
            if last || block.is_multiple_of(self.window) {
                self.acknowledge(block);
            }
            if last {
                return got;
            }
            next += 1;
        }
    }
}

fn rrq(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = format!("\0\x01{name}\0octet\0").into_bytes();
    for (option, value) in options {
        packet.extend_from_slice(format!("{option}\0{value}\0").as_bytes());
    }
    packet
}

#[test]
fn curl_gets_files_and_texts_and_the_facts_are_recorded() {
    let server = Server::start();
    for options in
        [&["--tftp-no-options"][..], &[], &["--tftp-blksize", "1468"], &["--tftp-blksize", "65464"]]
    {
        let got = server.curl("/sb/shimx64.efi", options).unwrap();
        assert!(got == content(StoreFile::Shim), "{options:?}: {} bytes", got.len());
    }
    assert_eq!(server.curl("/grub/grub.cfg", &[]).unwrap(), GRUB.as_bytes());
    assert!(server.curl("undionly.kpxe", &[]).unwrap() == content(StoreFile::Undionly));
    server.until(|r| r.answered == 6);
    let served = server.texts.0.lock().unwrap().clone();
    assert_eq!(served.iter().filter(|s| **s == Served::File(StoreFile::Shim)).count(), 4);
    assert!(served.contains(&Served::Script(Script::GrubConfig)));
}

#[test]
fn names_that_lead_elsewhere_writes_and_garbage_are_refused() {
    let server = Server::start();
    for name in ["/etc/passwd", "../../etc/passwd", "sb/../../x", "....//x", "vmlinuz", "sb/", "nothing"] {
        let error = server.curl(name, &[]).unwrap_err();
        assert!(error.contains("(68)") || error.contains("(69)"), "{name}: {error}");
    }
    let mut asking = server.ask(&rrq("boot/00-11-22-33-44-55/grub.cfg", &[]));
    assert_eq!(asking.receive()[..4], [0, 5, 0, 1], "a text that there is not");
    let mut writing = server.ask(b"\0\x02undionly.kpxe\0octet\0");
    assert_eq!(writing.receive()[..4], [0, 5, 0, 2]);
    let before = server.report().refused;
    for garbage in [&b""[..], b"\0", b"\0\x09x", b"\0\x04\0\0", b"\xff\xff", &[0; 512]] {
        server.ask(garbage);
    }
    server.until(|r| r.refused == before + 6);
    assert!(server.curl("undionly.kpxe", &[]).is_ok(), "and it still serves");
}

#[test]
fn wild_options_are_clamped_so_that_memory_is_bounded() {
    let server = Server::start();
    let wild = [
        ("blksize", "65464"),
        ("windowsize", "65535"),
        ("timeout", "255"),
        ("utimeout", "99999999999"),
        ("tsize", "0"),
    ];
    let mut client = server.ask(&rrq("sb/grubx64.efi", &wild));
    let oack = client.receive();
    let text = String::from_utf8_lossy(&oack[2..]).replace('\0', " ");
    let size = content(StoreFile::Grub).len();
    assert_eq!((oack[1], text.trim()), (6, format!("blksize 1468 windowsize 16 tsize {size}").as_str()));
    client.window = 16;
    client.acknowledge(0);
    assert!(client.rest(1468) == content(StoreFile::Grub));
}

#[test]
fn a_lost_oack_and_a_lost_first_acknowledgement_are_made_good() {
    let server = Server::start();
    let mut client = server.ask(&rrq("undionly.kpxe", &[("blksize", "1024"), ("timeout", "1")]));
    let oack = client.receive();
    assert_eq!(client.receive(), oack, "again, by itself");
    let again = rrq("undionly.kpxe", &[("blksize", "1024"), ("timeout", "1")]);
    client.socket.send_to(&again, server.address).unwrap();
    assert_eq!(client.receive(), oack, "the repeated request is not a second transfer");
    client.acknowledge(0);
    client.acknowledge(0);
    assert!(client.rest(1024) == content(StoreFile::Undionly));
    server.until(|r| r.answered == 1);
    let mut silent = server.ask(&rrq("undionly.kpxe", &[("tsize", "0"), ("timeout", "1")]));
    silent.receive();
    server.until(|r| r.last.as_ref().is_some_and(|l| l.what.contains("first packet was not answered")));
}

/// Processor time of this process.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace().collect::<Vec<_>>();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn duplicate_acknowledgements_neither_spin_nor_multiply() {
    // Alone in a process: the processor time is the process's.
    if !crate::net::tests::alone("listen::tftp::tests::duplicate_acknowledgements_neither_spin_nor_multiply")
    {
        return;
    }
    let server = Server::start();
    let mut client = server.ask(&rrq("undionly.kpxe", &[("blksize", "512"), ("timeout", "4")]));
    client.receive();
    client.acknowledge(0);
    let first = client.receive();
    let (clock, processor) = (Instant::now(), spent());
    for _ in 0..50 {
        client.acknowledge(0);
        client.acknowledge(9999);
    }
    assert_eq!(client.receive(), first, "repeated once, after its timeout");
    assert!(clock.elapsed() > Duration::from_secs(3), "{:?}", clock.elapsed());
    assert!(spent() - processor < clock.elapsed() / 4, "{:?} of {:?}", spent() - processor, clock.elapsed());
    client.acknowledge(1);
    client.acknowledge(1);
    let second = client.receive();
    assert_eq!(second[2..4], [0, 2]);
}

#[test]
fn lost_packets_cost_time_and_never_the_transfer() {
    let server = Server::start();
    let mut client =
        server.ask(&rrq("undionly.kpxe", &[("blksize", "1468"), ("windowsize", "4"), ("timeout", "1")]));
    client.receive();
    client.acknowledge(0);
    // Eight losses: more than the crate's own budget of six for a whole file.
    let mut lost = 0;
    let (mut got, mut next) = (Vec::new(), 1u16);
    while got.len() < content(StoreFile::Undionly).len() {
        let packet = client.receive();
        let block = u16::from_be_bytes([packet[2], packet[3]]);
        if block == next && block.is_multiple_of(8) && lost < 8 {
            lost += 1;
            client.acknowledge(block - 1);
        } else if block == next {
            got.extend_from_slice(&packet[4..]);
            next += 1;
            if block.is_multiple_of(4) || packet.len() < 1472 {
                client.acknowledge(block);
            }
        }
    }
    assert!(lost == 8 && got == content(StoreFile::Undionly));
    server.until(|r| r.answered == 1);
}

#[test]
fn a_client_that_breaks_off_or_goes_away_is_let_go_without_noise() {
    let server = Server::start();
    let mut probe = server.ask(&rrq("sb/shimx64.efi", &[("tsize", "0"), ("blksize", "1468")]));
    probe.receive();
    probe.socket.send_to(b"\0\x05\0\x08User aborted the transfer\0", probe.from.unwrap()).unwrap();
    server.until(|r| r.answered == 1);
    assert_eq!(server.report().last, None, "a size probe is no trouble");

    let mut midway = server.ask(&rrq("sb/shimx64.efi", &[]));
    midway.receive();
    midway.socket.send_to(b"\0\x05\0\x03disk full\x1b[2J\0", midway.from.unwrap()).unwrap();
    server.until(|r| r.answered == 2);
    let mut gone = server.ask(&rrq("sb/shimx64.efi", &[]));
    gone.receive();
    gone.acknowledge(1);
    drop(gone);
    server.until(|r| r.last.as_ref().is_some_and(|l| l.what.contains("not sent to the end")));
    assert!(server.texts.0.lock().unwrap().is_empty(), "none of these was served");
    let ends = server.texts.1.lock().unwrap();
    assert!(matches!(ends.last(), Some(End::Stopped { sent: Some(512), .. })), "{ends:?}");
}

#[test]
fn many_at_once_are_served_and_too_many_wait() {
    let server = Server::start();
    let held = (0..16)
        .map(|_| server.ask(&rrq("undionly.kpxe", &[("timeout", "10"), ("tsize", "0")])))
        .collect::<Vec<_>>();
    let held = held.into_iter().map(|mut client| (client.receive(), client)).collect::<Vec<_>>();
    let late = server.ask(&rrq("undionly.kpxe", &[]));
    server.until(|r| r.dropped == 1);
    late.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(late.socket.recv(&mut [0; 600]).is_err(), "no answer, so that it asks again");
    std::thread::scope(|scope| {
        for (_, mut client) in held {
            scope.spawn(move || {
                client.acknowledge(0);
                assert!(client.rest(512) == content(StoreFile::Undionly));
            });
        }
    });
    server.until(|r| r.answered == 16);
    assert!(server.curl("undionly.kpxe", &[]).is_ok());
}

#[test]
fn stopping_ends_transfers() {
    let server = Server::start();
    let mut client = server.ask(&rrq("sb/shimx64.efi", &[]));
    client.receive();
    server.stopper.send(true).unwrap();
    server.until(|r| r.last.as_ref().is_some_and(|l| l.what.contains("stopping")));
}
