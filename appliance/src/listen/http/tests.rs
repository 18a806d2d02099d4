//! Against curl and against raw connections, on loopback.

mod clients;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pxe::files::StoreFile;
use tokio::sync::watch;

use super::{CONNECTIONS_EACH, serve};
use crate::boot::BootStore;
use crate::boot::tests::{content, fill};
use crate::listen::files::{Asker, FileService, Files, Script, Served};
use crate::listen::tests::{background, bound, place};
use crate::listen::{ListenerReport, ListenerState};

const MAC: &str = "02-00-00-00-00-07";

#[derive(Default)]
struct Texts(Mutex<Vec<Served>>);

impl FileService for Texts {
    async fn script(&self, script: Script, asker: &Asker) -> Result<String, String> {
        match script {
            Script::NodeGrub(mac) => Ok(format!("# {mac} {}\n", asker.address)),
            Script::GrubConfig | Script::Autoexec | Script::NodeScript(_) | Script::Join => {
                Err("the state cannot be read".into())
            }
        }
    }

    fn served(&self, what: Served, _: &Asker) {
        self.0.lock().unwrap().push(what);
    }
}

struct Server {
    address: SocketAddr,
    state: Arc<ListenerState>,
    texts: Arc<Texts>,
    stopper: watch::Sender<bool>,
    store: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        fill(store.path());
        let boot = Arc::new(BootStore::open(store.path()).unwrap());
        let (texts, state) = (Arc::new(Texts::default()), ListenerState::new("http", "lo"));
        let (stopper, stop) = watch::channel(false);
        let files = Files::new(boot, Arc::clone(&texts));
        background().spawn(serve(place("lo", Ipv4Addr::LOCALHOST), 0, files, Arc::clone(&state), stop));
        let address = crate::net::tests::runtime().block_on(bound(&state));
        Self { address, state, texts, stopper, store }
    }

    fn until(&self, such: impl Fn(&ListenerReport) -> bool) {
        while !such(&self.state.report()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Status line with headers, in lower case, and the body.
    fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let split =
            all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{request:?}: {all:?}"));
        (String::from_utf8_lossy(&all[..split]).to_ascii_lowercase(), all[split + 4..].to_vec())
    }

    fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }
}

#[test]
fn boot_loaders_get_what_they_ask_for_as_they_ask_for_it() {
    let server = Server::start();
    let (head, body) = server.get("/boot/vmlinuz");
    let kernel = content(StoreFile::Kernel);
    assert!(head.starts_with("http/1.1 200") && body == kernel, "{head}");
    assert!(head.contains(&format!("content-length: {}", kernel.len())), "{head}");
    assert!(server.get("//sb//grubx64.efi").1 == content(StoreFile::Grub), "shim doubles slashes");
    let (head, body) = server.get(&format!("/boot/{MAC}/grub.cfg"));
    assert_eq!(String::from_utf8(body).unwrap(), "# 02:00:00:00:00:07 127.0.0.1\n", "{head}");
    let (head, body) = server
        .ask("HEAD /boot/initrd.img HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
    assert!(head.contains(&format!("content-length: {}", content(StoreFile::Ramdisk).len())), "{head}");
    let (head, body) = server.ask("GET /boot/vmlinuz HTTP/1.0\r\n\r\n");
    assert!(head.contains("200") && body == kernel);
    let served = server.texts.0.lock().unwrap().clone();
    assert_eq!(served.len(), 4, "a HEAD serves nothing: {served:?}");
    assert_eq!(served[0], Served::File(StoreFile::Kernel));
}

#[test]
fn a_range_is_sent_and_one_beyond_the_end_is_refused() {
    let server = Server::start();
    let ranged = |range: &str| {
        server.ask(&format!(
            "GET /boot/vmlinuz HTTP/1.1\r\nHost: x\r\nRange: {range}\r\nConnection: close\r\n\r\n"
        ))
    };
    let kernel = content(StoreFile::Kernel);
    let (head, body) = ranged("bytes=262140-262150");
    assert!(head.starts_with("http/1.1 206") && body == kernel[262_140..=262_150], "{head}");
    assert!(head.contains(&format!("content-range: bytes 262140-262150/{}", kernel.len())), "{head}");
    let (head, body) = ranged("bytes=-3");
    assert!(head.starts_with("http/1.1 206") && body == kernel[kernel.len() - 3..], "{head}");
    let (head, _) = ranged("bytes=999999999-");
    assert!(
        head.starts_with("http/1.1 416") && head.contains(&format!("bytes */{}", kernel.len())),
        "{head}"
    );
    assert!(server.texts.0.lock().unwrap().is_empty(), "a part is not the file");
}

#[test]
fn many_requests_on_one_connection() {
    let server = Server::start();
    let urls = [0; 5].map(|_| format!("http://{}/boot/{MAC}/grub.cfg", server.address));
    let done = std::process::Command::new("curl").args(["-sSv"]).args(&urls).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.matches("Re-using").count() == 4, "{said}");
}

#[test]
fn what_is_not_there_or_not_allowed_says_so_and_leaves_a_reason() {
    let server = Server::start();
    let table = [
        ("GET /etc/passwd HTTP/1.1", "404"),
        ("GET /boot/../../etc/passwd HTTP/1.1", "400"),
        ("GET /boot/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "400"),
        ("GET /boot/..%5c..%5cx HTTP/1.1", "400"),
        ("GET / HTTP/1.1", "400"),
        ("GET /boot/ HTTP/1.1", "400"),
        ("GET /boot/02-00-00-00-00-07/script.ipxe HTTP/1.1", "404"),
        ("GET http://elsewhere/boot/none HTTP/1.1", "404"),
        ("POST /boot/vmlinuz HTTP/1.1\r\nContent-Length: 0", "405"),
        ("DELETE /boot/vmlinuz HTTP/1.1", "405"),
        ("PUT /boot/vmlinuz HTTP/1.1\r\nContent-Length: 10737418240", "405"),
    ];
    for (request, status) in table {
        let before = server.state.report().refused;
        let (head, _) = server.ask(&format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
        let report = server.state.report();
        assert_eq!(report.refused, before + 1, "{request}");
    }
    assert!(server.state.report().last.unwrap().what.contains("PUT is not served"));
    for garbage in ["\r\n\r\n\r\n", "GET\r\n\r\n", "\0\0\0\0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = server.connect();
        stream.write_all(garbage.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let long = format!("GET /boot/vmlinuz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = server.connect();
    let _ = stream.write_all(long.as_bytes());
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&said));
    assert!(server.get("/boot/vmlinuz").0.contains("200"), "and it still serves");
}

#[test]
fn a_file_that_was_swapped_for_a_link_is_not_followed() {
    let server = Server::start();
    std::fs::write(server.store.path().join("secret"), "secret").unwrap();
    std::fs::remove_file(server.store.path().join("vmlinuz")).unwrap();
    std::os::unix::fs::symlink("secret", server.store.path().join("vmlinuz")).unwrap();
    let (head, body) = server.get("/boot/vmlinuz");
    assert!(head.starts_with("http/1.1 404") && !body.starts_with(b"secret"), "{head}");
    assert!(server.state.report().last.unwrap().what.contains("symbolic link"));
}

#[test]
fn those_who_hold_connections_open_do_not_stop_others() {
    if !crate::net::tests::alone("listen::http::tests::those_who_hold_connections_open_do_not_stop_others") {
        return;
    }
    let server = Server::start();
    let slow = (0..CONNECTIONS_EACH).map(|_| {
        let mut stream = server.connect();
        stream.write_all(b"GET /boot/vmlinuz HTTP/1.1\r\nHo").unwrap();
        stream
    });
    let slow = slow.collect::<Vec<_>>();
    let mut one_more = server.connect();
    let mut nothing = Vec::new();
    let _ = one_more.read_to_end(&mut nothing);
    assert!(nothing.is_empty(), "closed at once");
    server.until(|r| r.dropped == 1);
    let done = std::process::Command::new("curl")
        .args(["-sS", "--interface", "127.0.0.2", "--max-time", "10", "-o", "/dev/null"])
        .arg(format!("http://{}/boot/vmlinuz", server.address))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    drop(slow);
    while !std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.get("/boot/vmlinuz")))
        .is_ok_and(|(head, _)| head.contains("200"))
    {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_stop_lets_the_running_request_end() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"GET /boot/initrd.img HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 100];
    stream.read_exact(&mut first).unwrap();
    server.stopper.send(true).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&content(StoreFile::Ramdisk)[1000..]), "{} bytes", rest.len());
    while TcpStream::connect(server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
}
