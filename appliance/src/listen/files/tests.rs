//! What the service is told of every request, however it ends: against real sockets on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pxe::files::StoreFile;
use pxe::trace::{By, End, Fetch, Way};
use tokio::sync::watch;

use super::{Asker, FileService, Files, Script, Served};
use crate::boot::BootStore;
use crate::boot::tests::{content, fill};
use crate::listen::tests::{background, bound, place};
use crate::listen::{ListenerState, http, tftp};

#[derive(Default)]
struct Told(Mutex<Vec<Fetch>>);

impl FileService for Told {
    async fn script(&self, script: Script, _: &Asker) -> Result<String, String> {
        match script {
            Script::GrubConfig => Ok("# grub\n".into()),
            Script::Autoexec | Script::NodeGrub(_) | Script::NodeScript(_) | Script::Join => {
                Err("no such machine".into())
            }
        }
    }

    fn served(&self, _: Served, _: &Asker) {}

    fn asked(&self, fetch: Fetch, _: Option<Served>, asker: &Asker) {
        assert!(asker.peer.ip().is_loopback());
        self.0.lock().unwrap().push(fetch);
    }
}

impl Told {
    /// The ends in order, as soon as there are so many.
    fn ends(&self, count: usize) -> Vec<End> {
        loop {
            let told = self.0.lock().unwrap();
            assert!(told.len() <= count, "{told:?}");
            if told.len() == count {
                return told.iter().map(|fetch| fetch.end.clone()).collect();
            }
            drop(told);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn last(&self) -> Fetch {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

struct Server {
    http: SocketAddr,
    tftp: SocketAddr,
    told: Arc<Told>,
    store: tempfile::TempDir,
    _stopper: watch::Sender<bool>,
}

fn server() -> Server {
    let store = tempfile::tempdir().unwrap();
    fill(store.path());
    let boot = Arc::new(BootStore::open(store.path()).unwrap());
    let told = Arc::new(Told::default());
    let (stopper, stop) = watch::channel(false);
    let files = Files::new(boot, Arc::clone(&told));
    let states = [ListenerState::new("http", "lo"), ListenerState::new("tftp", "lo")];
    let [http_state, tftp_state] = states.clone();
    let here = || place("lo", Ipv4Addr::LOCALHOST);
    background().spawn(http::serve(here(), 0, files.clone(), http_state, stop.clone()));
    background().spawn(tftp::serve(here(), 0, files, tftp_state, stop));
    let [http, tftp] = states.map(|state| crate::net::tests::runtime().block_on(bound(&state)));
    Server { http, tftp, told, store, _stopper: stopper }
}

impl Server {
    fn ask(&self, method: &str, path: &str, more: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    }

    /// A client's socket after this request.
    fn request(&self, request: &[u8]) -> (UdpSocket, Vec<u8>, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send_to(request, self.tftp).unwrap();
        let mut packet = [0; 2048];
        let (length, from) = socket.recv_from(&mut packet).unwrap();
        (socket, packet[..length].to_vec(), from)
    }
}

#[test]
fn every_end_of_a_request_by_http_is_told() {
    let server = server();
    let shim = content(StoreFile::Shim).len() as u64;
    server.ask("HEAD", "/sb/shimx64.efi", "user-agent: UefiHttpBoot/1.0\r\n");
    assert_eq!(server.told.ends(1), [End::Told]);
    let fetch = server.told.last();
    assert_eq!(
        (fetch.way, fetch.by, fetch.head, fetch.name.as_str()),
        (Way::Http, By::Firmware, true, "/sb/shimx64.efi")
    );
    server.ask("GET", "/sb//shimx64.efi", "user-agent: iPXE/1.21.1\r\n");
    assert_eq!(server.told.ends(3)[1..], [End::Begun, End::Whole { bytes: shim }]);
    assert_eq!((server.told.last().by, server.told.last().name.as_str()), (By::Ipxe, "/sb//shimx64.efi"));
    server.ask("GET", "/sb/shimx64.efi", "range: bytes=10-19\r\n");
    server.ask("GET", "/sb/revocations_sku.efi", "");
    server.ask("GET", "/pxelinux.0", "user-agent: GRUB 2.12\r\n");
    assert_eq!(server.told.ends(6)[3..], [End::Part { bytes: 10 }, End::Optional, End::NotFound]);
    assert_eq!(server.told.last().by, By::Grub);
    server.ask("GET", "/../etc/passwd", "");
    std::fs::remove_file(server.store.path().join(StoreFile::Ramdisk.store_name())).unwrap();
    server.ask("GET", "/boot/initrd.img", "");
    server.ask("GET", "/boot/02-00-00-00-00-07/script.ipxe", "");
    let ends = server.told.ends(9);
    assert!(matches!(&ends[6], End::Refused { why } if why.as_str().contains("dot")), "{ends:?}");
    assert!(matches!(&ends[7], End::Missing { why } if why.as_str().contains("initrd.img")), "{ends:?}");
    assert!(matches!(&ends[8], End::Missing { why } if why.as_str() == "no such machine"), "{ends:?}");
}

#[test]
fn a_client_that_goes_away_in_the_middle_is_told() {
    let server = server();
    let file = std::fs::File::create(server.store.path().join(StoreFile::Kernel.store_name())).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(b"GET /boot/vmlinuz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 4096]).unwrap();
    assert_eq!(server.told.ends(1), [End::Begun]);
    drop(stream);
    let ends = server.told.ends(2);
    assert!(matches!(&ends[1], End::Stopped { .. }), "{ends:?}");
}

#[test]
fn every_end_of_a_request_by_tftp_is_told() {
    let server = server();
    let (socket, packet, from) =
        server.request(b"\0\x01sb/shimx64.efi\0octet\0blksize\x001468\0windowsize\x004\0tsize\x000\0");
    assert_eq!(packet[..2], [0, 6]);
    socket.send_to(b"\0\x05\0\x08User aborted the transfer\0", from).unwrap();
    let said = "User aborted the transfer";
    let ends = server.told.ends(1);
    assert!(matches!(&ends[0], End::BrokenOff { said: told } if told.as_str().contains(said)), "{ends:?}");
    let fetch = server.told.last();
    assert_eq!((fetch.way, fetch.name.as_str()), (Way::Tftp, "sb/shimx64.efi"));
    assert_eq!((fetch.block, fetch.window, fetch.size), (Some(1468), Some(4), true));
    for name in ["sb/revocations.efi", "pxelinux.0", "boot/vmlinuz"] {
        let (_, packet, _) = server.request(format!("\0\x01{name}\0octet\0").as_bytes());
        assert_eq!(packet[..2], [0, 5], "{name}");
    }
    let ends = server.told.ends(4);
    assert_eq!(ends[1..3], [End::Optional, End::NotFound]);
    assert!(matches!(&ends[3], End::Refused { why } if why.as_str().contains("HTTP")), "{ends:?}");
    let (socket, packet, from) = server.request(b"\0\x01grub/grub.cfg\0octet\0");
    assert_eq!(packet, b"\0\x03\0\x01# grub\n");
    socket.send_to(b"\0\x04\0\x01", from).unwrap();
    assert_eq!(server.told.ends(5)[4], End::Whole { bytes: 7 });
    assert_eq!(server.told.last(), Fetch::tftp("grub/grub.cfg", End::Whole { bytes: 7 }));
    let (_, packet, _) = server.request(b"\0\x01autoexec.ipxe\0octet\0");
    assert_eq!(packet[..2], [0, 5]);
    assert!(matches!(&server.told.ends(6)[5], End::Missing { .. }));
}
