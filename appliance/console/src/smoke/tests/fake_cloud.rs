//! A cloud that answers at once and has no hypervisor: what was made is a list, instances run as soon as they are made, and
//! their consoles say what the guest would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// What is answered instead: a status and a body.
pub(crate) type Instead = (u16, Vec<u8>);
/// Asked with `METHOD /service/path` before anything is done.
pub(crate) type Trouble = dyn Fn(&str) -> Option<Instead> + Send;

/// Everything that a cloud has: (place, thing), as `("/compute/servers", {…})`.
#[derive(Debug, Default)]
struct State {
    things: Vec<(String, Value)>,
    asked: Vec<String>,
    made: usize,
    objects: Vec<(String, Vec<u8>)>,
}

/// What kind of cloud it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) hosts: &'static [&'static str],
    pub(crate) external: bool,
    pub(crate) volumes: bool,
    pub(crate) objects: bool,
}

/// With everything that can be proven.
pub(crate) const WHOLE: Kind = Kind { hosts: &["n1", "n2"], external: true, volumes: true, objects: true };
/// With as little as there can be.
pub(crate) const SMALL: Kind = Kind { hosts: &["n1"], external: false, volumes: false, objects: false };

pub(crate) struct FakeCloud {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeCloud {
    pub(crate) fn start(kind: Kind, trouble: impl Fn(&str) -> Option<Instead> + Send + 'static) -> FakeCloud {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, stop) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (shared, ends) = (Arc::clone(&state), Arc::clone(&stop));
        let trouble: Box<Trouble> = Box::new(trouble);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap(), kind, port, &trouble, &shared);
            }
        });
        FakeCloud { port, state, stop, thread: Some(thread) }
    }

    /// Something that an earlier run has left.
    pub(crate) fn put(&self, place: &str, thing: Value) {
        self.state.lock().unwrap().things.push((place.to_owned(), thing));
    }

    /// What is there, as `/compute/servers NAME`.
    pub(crate) fn left(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let name = |thing: &Value| {
            let names = [&thing["name"], &thing["description"], &thing["keypair"]["name"]];
            names.iter().find_map(|name| name.as_str()).unwrap_or("?").to_owned()
        };
        let things = state.things.iter().map(|(place, thing)| format!("{place} {}", name(thing)));
        things.chain(state.objects.iter().map(|(path, _)| path.clone())).collect()
    }

    /// `METHOD /service/path`, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for FakeCloud {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, kind: Kind, port: u16, trouble: &Trouble, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length, mut token) = (String::new(), 0, false);
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut head = String::new();
        if reader.read_line(&mut head).unwrap_or(0) == 0 || head == "\r\n" {
            break;
        }
        let head = head.to_ascii_lowercase();
        if let Some(value) = head.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        token |= head == "x-auth-token: secret\r\n";
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut state = state.lock().unwrap();
    state.asked.push(line.clone());
    let (status, answer) = match trouble(&line) {
        Some(instead) => instead,
        None if line == "POST /v3/auth/tokens" => (201, catalog(kind, port).to_string().into_bytes()),
        None if !token => (401, b"who are you?".to_vec()),
        None => state.answer(kind, &line, body),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nx-subject-token: secret\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
}

fn catalog(kind: Kind, port: u16) -> Value {
    let entry = |name: &str, path: &str| {
        let url = format!("http://127.0.0.1:{port}/{path}");
        json!({"type": name, "endpoints": [{"interface": "public", "region_id": "RegionOne", "url": url}]})
    };
    let mut entries = vec![entry("compute", "compute"), entry("image", "image"), entry("network", "network")];
    entries.extend(kind.volumes.then(|| entry("block-storage", "volumes")));
    entries.extend(kind.objects.then(|| entry("object-store", "objects")));
    json!({"token": {"project": {"id": "p"}, "catalog": entries}})
}

fn ok(value: Value) -> Instead {
    (200, value.to_string().into_bytes())
}

impl State {
    fn answer(&mut self, kind: Kind, line: &str, body: Vec<u8>) -> Instead {
        let (method, path) = line.split_once(' ').unwrap();
        if path.starts_with("/objects/") || path.starts_with("/objects?") {
            return self.object(method, path, body);
        }
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match (method, path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", [service @ ("compute" | "volumes"), "os-services"]) => ok(services(kind, service)),
            ("GET", ["network", "v2.0", "agents"]) => ok(json!({"agents": []})),
            ("GET", ["network", "v2.0", "networks"]) if query.contains("external") => {
                let outside = json!({"id": "out", "name": "outside", "router:external": true});
                ok(json!({"networks": if kind.external { json!([outside]) } else { json!([]) }}))
            }
            ("GET", ["network", "v2.0", "ports"]) => {
                ok(json!({"ports": [{"id": "port-1", "device_owner": "network:x"}]}))
            }
            ("PUT", ["image", "v2", "images", _, "file"]) => (204, Vec::new()),
            ("PUT", _) => ok(json!({})),
            ("POST", ["compute", "servers", id, "action"]) => ok(json!({"output": self.console(id)})),
            ("POST" | "DELETE", ["compute", "servers", _, "os-volume_attachments", ..]) => {
                self.attach(method == "POST");
                ok(json!({"volumeAttachment": {}}))
            }
            ("POST", ["network", "v2.0", "security-group-rules" | "subnets"]) => {
                ok(json!({"subnet": {"id": "subnet"}, "security_group_rule": {"id": "rule"}}))
            }
            ("GET", ["image", "v2", "images", id]) => self.one(id, |thing| thing.clone()),
            ("GET", [.., _, id]) if self.find(id).is_some() => {
                self.one(id, |thing| json!({"server": thing, "volume": thing, "floatingip": thing}))
            }
            ("GET", [.., last]) => {
                let (things, last) = (self.all(path), last.replace('-', "_").replace("os_", ""));
                ok(json!({ last: things }))
            }
            ("POST", _) => self.make(path, asked),
            ("DELETE", [.., id]) => {
                let at = self.find(id);
                at.map(|at| self.things.remove(at)).map_or((404, Vec::new()), |_| (204, Vec::new()))
            }
            _ => (404, Vec::new()),
        }
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.things.iter().position(|(_, thing)| thing["id"] == id || thing["keypair"]["name"] == id)
    }

    fn one(&self, id: &str, shown: impl Fn(&Value) -> Value) -> Instead {
        self.find(id).map_or((404, Vec::new()), |at| ok(shown(&self.things[at].1)))
    }

    fn all(&self, place: &str) -> Vec<Value> {
        self.things.iter().filter(|(at, _)| at == place).map(|(_, thing)| thing.clone()).collect()
    }

    fn make(&mut self, place: &str, asked: Value) -> Instead {
        self.made += 1;
        let (id, number) = (format!("id-{}", self.made), self.made);
        // An image is not wrapped, everything else is in one field.
        let wrapped =
            asked.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
        let (key, mut thing) =
            wrapped.map_or((None, asked.clone()), |(key, inner)| (Some(key.clone()), inner.clone()));
        let status = match key.as_deref() {
            None => "active",
            Some("volume") => "available",
            Some(_) => "ACTIVE",
        };
        let host =
            thing["availability_zone"].as_str().unwrap_or("nova:n1").trim_start_matches("nova:").to_owned();
        thing["id"] = json!(id);
        thing["status"] = json!(status);
        thing["OS-EXT-SRV-ATTR:host"] = json!(host);
        thing["addresses"] = json!({"net": [{"addr": format!("192.168.233.{number}"), "version": 4}]});
        thing["floating_ip_address"] = json!("127.0.0.1");
        let kept =
            if key.as_deref() == Some("keypair") { json!({ "keypair": thing }) } else { thing.clone() };
        self.things.push((place.to_owned(), kept));
        ok(key.map_or(thing.clone(), |key| json!({ key: thing })))
    }

    fn attach(&mut self, is_attached: bool) {
        for (_, thing) in self.things.iter_mut().filter(|(place, _)| place == "/volumes/volumes") {
            thing["status"] = json!(if is_attached { "in-use" } else { "available" });
        }
    }

    /// What the guest would have said by now.
    fn console(&self, id: &str) -> String {
        let server = &self.things[self.find(id).unwrap()].1;
        let orders = data_encoding::BASE64.decode(server["user_data"].as_str().unwrap().as_bytes()).unwrap();
        let orders = String::from_utf8(orders).unwrap();
        let address = server["addresses"]["net"][0]["addr"].as_str().unwrap();
        let mut said = format!(
            "[    0.000000] Linux version 6.12\r\nrackwright-guest: address {address}/24 via 192.168.233.1\r\n\
             rackwright-guest: metadata i-00000001 {}.novalocal\r\n",
            server["name"].as_str().unwrap()
        );
        for order in orders.lines() {
            let attached = self.things.iter().any(|(_, thing)| thing["status"] == "in-use");
            match order.split_once(' ') {
                Some(("ping", ip)) => said += &format!("rackwright-guest: ping {ip} ok\r\n"),
                _ if order == "disk" && attached => said += "rackwright-guest: disk vdb 1073741824 ok\r\n",
                _ => {}
            }
        }
        said + "rackwright-guest: ready\r\n"
    }

    fn object(&mut self, method: &str, path: &str, body: Vec<u8>) -> Instead {
        let at = self.objects.iter().position(|(name, _)| name == path);
        match (method, at) {
            ("PUT", _) => {
                self.objects.push((path.to_owned(), body));
                (201, Vec::new())
            }
            ("GET", Some(at)) => (200, self.objects[at].1.clone()),
            ("GET", None) => {
                // A list: of containers, or of the objects in one.
                let (place, _) = path.split_once('?').unwrap_or((path, ""));
                let below = format!("{}/", place.trim_end_matches('/'));
                let names = self.objects.iter().filter_map(|(name, _)| name.strip_prefix(&below));
                let names = names.filter(|name| !name.contains('/')).map(|name| json!({ "name": name }));
                ok(Value::Array(names.collect()))
            }
            ("DELETE", Some(at)) => {
                self.objects.remove(at);
                (204, Vec::new())
            }
            _ => (404, Vec::new()),
        }
    }
}

fn services(kind: Kind, service: &str) -> Value {
    let row = |binary: &str, host: &str| json!({"binary": binary, "host": host, "state": "up", "status": "enabled", "zone": "nova"});
    let rows = match service {
        "volumes" => vec![row("cinder-volume", "n1@lvm"), row("cinder-scheduler", "n1")],
        _ => kind.hosts.iter().map(|host| row("nova-compute", host)).collect(),
    };
    json!({ "services": rows })
}
