//! What takes a compute host out of nova and back, as the catalog has it, against a nova and a keystone of ours.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/services/nova-compute/nova-host");
const REASON: &str = "rackwright: its machine goes down";

/// One instance: whether it runs, and what nova does when it is to move.
#[derive(Clone)]
struct Server {
    name: &'static str,
    runs: bool,
    moves: Moves,
}

#[derive(Clone, Copy, PartialEq)]
enum Moves {
    Away,
    /// It is tried, and ends where it was.
    Back,
    /// It is not even tried.
    Refused,
}

struct Nova {
    /// So often it knows no such host.
    unknown: u32,
    status: String,
    reason: Option<String>,
    servers: Vec<Server>,
    calls: Vec<String>,
}

/// A nova on a port of its own, and the root of the host that has its configuration.
struct Bed {
    nova: Arc<Mutex<Nova>>,
    root: tempfile::TempDir,
}

impl Bed {
    fn new(status: &str, reason: Option<&str>, servers: &[Server]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let nova = Arc::new(Mutex::new(Nova {
            unknown: 0,
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            servers: servers.to_vec(),
            calls: Vec::new(),
        }));
        let shared = Arc::clone(&nova);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(1000) {
                serve(stream.unwrap(), port, &shared);
            }
        });
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc/nova", "var/lib/rackwright-nova-host", "run"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let account = format!(
            "[DEFAULT]\nhost = n2\ndebug = 100%\n[service_user]\nauth_url = http://127.0.0.1:{port}\nregion_name = here\nusername = nova\n\
             password = a%b$c\nuser_domain_name = Default\nproject_domain_name = Default\nproject_name = service\n"
        );
        std::fs::write(root.path().join("etc/nova/nova.conf"), account).unwrap();
        std::fs::write(root.path().join("var/lib/rackwright-nova-host/in-use"), "").unwrap();
        Self { nova, root }
    }

    fn run(&self, words: &str) -> Output {
        let mut command = Command::new("python3");
        command
            .arg(SCRIPT)
            .args(words.split(' '))
            .env("NOVA_HOST_ROOT", self.root.path())
            .env("NOVA_HOST_PATIENCE", "1");
        command.env("http_proxy", "http://127.0.0.1:9").output().unwrap()
    }

    /// The exit status, and its last line.
    fn ends(&self, words: &str) -> (Option<i32>, String) {
        let out = self.run(words);
        let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (out.status.code(), text.lines().last().unwrap_or_default().to_owned())
    }

    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }

    fn service(&self) -> (String, Option<String>) {
        let nova = self.nova.lock().unwrap();
        (nova.status.clone(), nova.reason.clone())
    }

    fn calls(&self) -> Vec<String> {
        self.nova.lock().unwrap().calls.clone()
    }
}

/// One request, one answer, one connection.
fn serve(stream: TcpStream, port: u16, nova: &Mutex<Nova>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let length =
        head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |text| text.trim().parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, answer) = answer(method, path, &body, port, &mut nova.lock().unwrap());
    let text = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} x\r\nX-Subject-Token: t\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = (&stream).write_all(head.as_bytes());
}

fn answer(method: &str, path: &str, body: &Value, port: u16, nova: &mut Nova) -> (u16, Value) {
    let path = path.split('?').next().unwrap();
    let parts = path.trim_start_matches('/').split('/').collect::<Vec<_>>();
    match (method, parts.as_slice()) {
        ("POST", ["v3", "auth", "tokens"]) => {
            assert_eq!(body["auth"]["identity"]["password"]["user"]["password"], "a%b$c");
            let endpoint = json!({"interface": "internal", "region_id": "here", "url": format!("http://127.0.0.1:{port}")});
            (201, json!({"token": {"catalog": [{"type": "compute", "endpoints": [endpoint]}]}}))
        }
        ("GET", ["os-services"]) if nova.unknown > 0 => {
            nova.unknown -= 1;
            (200, json!({"services": []}))
        }
        ("GET", ["os-services"]) => {
            (200, json!({"services": [{"id": "s", "status": nova.status, "disabled_reason": nova.reason}]}))
        }
        ("PUT", ["os-services", "s"]) => {
            nova.status = body["status"].as_str().unwrap().to_owned();
            nova.reason = body["disabled_reason"].as_str().map(str::to_owned);
            (200, json!({}))
        }
        ("GET", ["servers", "detail"]) => {
            let row = |server: &Server| {
                json!({
                    "id": server.name, "name": server.name, "status": if server.runs { "ACTIVE" } else { "SHUTOFF" },
                    "OS-EXT-STS:task_state": null, "OS-EXT-STS:power_state": if server.runs { 1 } else { 4 },
                })
            };
            (200, json!({"servers": nova.servers.iter().map(row).collect::<Vec<_>>()}))
        }
        ("POST", ["servers", name, "action"]) => {
            let action = body.as_object().unwrap().keys().next().unwrap().clone();
            nova.calls.push(format!("{action} {name}"));
            acted(&action, name, nova)
        }
        ("GET", ["servers", _, "os-instance-actions"]) => (
            200,
            json!({"instanceActions": [{"action": "live-migration", "request_id": "r", "message": "Error"}]}),
        ),
        ("GET", ["servers", _, "os-instance-actions", "r"]) => (
            200,
            json!({"instanceAction": {"events": [{"details": null}, {"details": "No valid host was found."}]}}),
        ),
        _ => panic!("{method} {path}"),
    }
}

fn acted(action: &str, name: &str, nova: &mut Nova) -> (u16, Value) {
    let server = nova.servers.iter().position(|server| server.name == name).unwrap();
    match (action, nova.servers[server].moves) {
        ("os-migrateLive", Moves::Away) => drop(nova.servers.remove(server)),
        ("os-migrateLive", Moves::Back) => {}
        ("os-migrateLive", Moves::Refused) => {
            return (409, json!({"conflictingRequest": {"code": 409, "message": "it is locked"}}));
        }
        ("os-stop", _) => nova.servers[server].runs = false,
        ("os-start", _) => nova.servers[server].runs = true,
        _ => panic!("{action}"),
    }
    (202, json!({}))
}

fn server(name: &'static str, runs: bool, moves: Moves) -> Server {
    Server { name, runs, moves }
}

#[test]
fn what_runs_moves_and_the_host_is_back_only_when_it_is_told() {
    let bed =
        Bed::new("enabled", None, &[server("web", true, Moves::Away), server("off", false, Moves::Away)]);
    let (status, said) = bed.ends("leave restart");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(bed.calls(), ["os-migrateLive web"], "what is shut off stays where its disk is");
    assert_eq!(bed.service(), ("disabled".to_owned(), Some(REASON.to_owned())));
    assert!(!bed.has("var/lib/rackwright-nova-host/in-use") && bed.has("run/rackwright-nova-host-leaves"));
    assert_eq!(bed.ends("back").0, Some(0));
    assert_eq!(bed.service(), ("enabled".to_owned(), None));
    assert!(bed.has("var/lib/rackwright-nova-host/in-use") && !bed.has("run/rackwright-nova-host-leaves"));
}

#[test]
fn what_cant_move_is_named_with_what_nova_says() {
    let servers = [
        server("web", true, Moves::Away),
        server("db", true, Moves::Back),
        server("key", true, Moves::Refused),
    ];
    let bed = Bed::new("enabled", None, &servers);
    let (status, said) = bed.ends("leave restart");
    assert_eq!(status, Some(1), "{said}");
    assert_eq!(
        said,
        "2 of its instances can't move: db (db): No valid host was found.; key (key): 409 it is locked"
    );
    let tries = bed.calls().iter().filter(|call| *call == "os-migrateLive db").count();
    assert_eq!(tries, 2, "once more, and no oftener");
}

#[test]
fn a_disk_that_is_written_anew_takes_what_is_shut_off_with_it() {
    let bed = Bed::new("enabled", None, &[server("off", false, Moves::Away)]);
    let (status, said) = bed.ends("leave rewrite");
    assert_eq!(status, Some(1));
    assert!(
        said.contains("off (off): its disk is on this host") && said.contains("start it, or delete it"),
        "{said}"
    );
    assert_eq!(bed.ends("leave restart").0, Some(0));
}

#[test]
fn with_force_it_is_shut_down_and_started_again() {
    let servers = [server("db", true, Moves::Refused), server("off", false, Moves::Away)];
    let bed = Bed::new("enabled", None, &servers);
    assert_eq!(bed.ends("leave restart --force").0, Some(0));
    assert_eq!(bed.calls(), ["os-migrateLive db", "os-migrateLive db", "os-stop db"]);
    assert_eq!(bed.ends("leave restart --force").0, Some(0), "once more, as after a lost agent");
    assert_eq!(bed.ends("back").0, Some(0));
    assert_eq!(bed.calls()[3..], ["os-start db"], "what was off before stays so");
    assert!(!bed.has("var/lib/rackwright-nova-host/stopped"));
}

#[test]
fn a_host_that_somebody_else_took_out_stays_out() {
    let bed = Bed::new("disabled", Some("fan is loud"), &[server("web", true, Moves::Away)]);
    assert_eq!(bed.ends("leave rewrite").0, Some(0));
    assert_eq!(bed.calls(), ["os-migrateLive web"]);
    assert_eq!(bed.ends("back").0, Some(0));
    assert_eq!(bed.service(), ("disabled".to_owned(), Some("fan is loud".to_owned())));
}

#[test]
fn a_host_that_is_just_up_is_waited_for_and_one_that_never_comes_is_said() {
    let bed = Bed::new("disabled", Some(REASON), &[]);
    bed.nova.lock().unwrap().unknown = 1;
    assert_eq!(bed.ends("back").0, Some(0));
    assert_eq!(bed.service(), ("enabled".to_owned(), None));
    bed.nova.lock().unwrap().unknown = u32::MAX;
    assert_eq!(bed.ends("back"), (Some(1), "nova does not know this host yet".to_owned()));
}

#[test]
fn without_a_nova_it_says_so_in_one_line() {
    let bed = Bed::new("enabled", None, &[]);
    let conf: PathBuf = bed.root.path().join("etc/nova/nova.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let port = text.split("127.0.0.1:").nth(1).unwrap().lines().next().unwrap();
    std::fs::write(&conf, text.replace(port, "1")).unwrap();
    let (status, said) = bed.ends("leave restart");
    assert_eq!(status, Some(1));
    assert!(said.starts_with("nova: http://127.0.0.1:1/v3/auth/tokens: "), "{said}");
    assert_eq!(bed.ends("leave").0, Some(1), "how it goes down has to be said");
    // Nobody is told that it is on its way while the way back is tried again.
    std::fs::write(bed.root.path().join("run/rackwright-nova-host-leaves"), "").unwrap();
    assert_eq!(bed.ends("back").0, Some(1));
    assert!(!bed.has("run/rackwright-nova-host-leaves"));
}
