//! Secrets that a controller is told, or makes for itself, and whatever of a rack at work somebody else could see: packets, command lines
//! and environments, logs, the journal, answers of the API, the data base, backups, the support bundle, boot files, servers' consoles.
//!
//! In each of these a mark is planted, too, that is no secret: where that is not found, nothing was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use xtask::rack::Rack;
use xtask::rack::controller::{CONFIG, Controller};
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot};
use xtask::rack::needles::{Found, Needles};
use xtask::rack::netns::{Netns, Network};
use xtask::rack::process::{Lifetime, Process};
use xtask::say;
use xtask::tool::Tool;

use crate::erasing::admitted;
use crate::lab::{Site, fail, spec};

/// Told to the controller in its configuration, or in a file that the configuration names.
const WEBHOOK: &str = "planted-webhook-path-6d1f";
const HMAC: &str = "planted-hmac-key-91ce7d";
const MAIL: &str = "planted-mail-password-52ab";
/// What is no secret, and must be found.
const MARK: &str = "no-secret-but-a-mark-77";
const EVERY: Duration = Duration::from_millis(50);
const PCAP: &str = "packets.pcap";
/// Where a secret has to be, and nobody but its owner may read it.
const KEPT: [&str; 2] = ["ca/", "recovery.key"];

/// The configuration with what is planted in it. Neither the receiver nor the mail server is there: what is said of that is looked at.
pub(crate) fn config() -> String {
    format!(
        "{CONFIG}\n[notify]\nwebhook = \"https://127.0.0.1:9/hooks/{WEBHOOK}\"\nsecret_file = \"/etc/rackwright/notify.key\"\n\
         [notify.mail]\nto = [\"ops@example.net\"]\nfrom = \"Rack <rack@example.net>\"\nserver = \"127.0.0.1:9\"\ntls = \"always\"\n\
         user = \"rack\"\npassword_file = \"/etc/rackwright/mail.password\"\n"
    )
}

#[test]
#[ignore = "some minutes more of a whole rack: cargo test -p tests --test rack -- --ignored --nocapture what_a_controller"]
fn what_a_controller_is_told_and_makes_for_itself_is_seen_by_nobody() {
    let Some(site) = Site::up(&config()) else { return };
    let mut vigil = Vigil::begin(&site.rack, &site.controller);
    let mut server = site.rack.server(spec("n1", Firmware::Bios, 1, Bus::Virtio, false)).unwrap();
    server.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    admitted(&site, "n1");
    for kind in ["redfish", "ipmi"] {
        vigil.bmc(&site.controller, "n1", kind);
    }
    let console = server.files().serial_log.clone();
    server.kill().unwrap_or_else(|error| fail(&error));
    vigil.end(&site.rack, &site.controller, &[&console]);
    drop(server);
    site.passed();
}

/// Everything that is watched while a rack is at work.
pub(crate) struct Vigil {
    dir: PathBuf,
    root: PathBuf,
    needles: Needles,
    dump: Process,
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Vigil {
    /// Plants what [`config`] names, and begins to watch. Servers are still off.
    pub(crate) fn begin(rack: &Rack, controller: &Controller) -> Vigil {
        let dir = rack.dir().join("secrets");
        fs::create_dir(&dir).unwrap();
        let leader = controller.container().leader();
        let root = PathBuf::from(format!("/proc/{leader}/root"));
        let mut needles = Needles::default();
        needles.add("webhook's address", WEBHOOK.as_bytes());
        for (name, file, secret) in
            [("HMAC key", "notify.key", HMAC), ("mail password", "mail.password", MAIL)]
        {
            put(&root, &format!("etc/rackwright/{file}"), secret);
            needles.add(name, secret.as_bytes());
        }
        let capture = ["tcpdump", "-i", Network::Provision.switch(), "-s", "0", "-U", "-Z", "root", "-w"];
        let mut argv = Netns::exec(&rack.netns().lan);
        argv.extend(capture.map(Into::into));
        argv.push(dir.join(PCAP).into());
        let dump = Process::start(&argv, &dir.join("tcpdump.log"), Lifetime::WithUs).unwrap();
        let (seen, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let sampler = Some(sample(leader, Arc::clone(&seen), Arc::clone(&over)));
        Vigil { dir, root, needles, dump, seen, over, sampler }
    }

    /// Tells the controller how a node's management controller is reached, with a password that is planted.
    pub(crate) fn bmc(&mut self, controller: &Controller, node: &str, kind: &str) {
        let (secret, file) = (format!("planted-{kind}-{node}-3c"), format!("root/bmc-{node}"));
        put(&self.root, &file, &secret);
        let path = format!("/{file}");
        let words = [
            "node",
            "bmc",
            "set",
            node,
            "--kind",
            kind,
            "--addr",
            "127.0.0.1:9",
            "--user",
            "ops",
            "--password-file",
            &path,
        ];
        controller.rackwright(&words).unwrap_or_else(|error| fail(&error));
        fs::remove_file(self.root.join(&file)).unwrap();
        self.needles.add(&format!("password of {node}, {kind}"), secret.as_bytes());
        // Nobody answers there: what is said of it is looked at.
        controller.exec(&["rackwright", "node", "bmc", "test", node]).unwrap_or_else(|error| fail(&error));
    }

    /// Every line that is long enough to be one, but for those around it that say what it is.
    fn learn(&mut self, name: &str, text: &str) {
        let mut is_public = false;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            is_public = (is_public || line.contains("BEGIN CERT")) && !line.contains("END CERT");
            // The first line of a key is what all keys of its kind begin with.
            let is_first = number == 1 && text.starts_with("-----");
            if !is_public && !is_first && !line.contains("-----") && !line.starts_with('#') {
                self.needles.add(name, line.as_bytes());
            }
        }
    }

    /// Looks for every secret in all that was seen, and in all that there is now; for the mark, too.
    pub(crate) fn end(mut self, rack: &Rack, controller: &Controller, consoles: &[&Path]) {
        let state = self.root.join("var/lib/rackwright");
        controller.rackwright(&["backup", "key"]).map(drop).unwrap_or_else(|error| fail(&error));
        let files = files(&state);
        for path in files.iter().filter(|path| is_kept(&state, path)) {
            let name = path.strip_prefix(&state).unwrap().display().to_string();
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o77,
                0,
                "{name} is open to others"
            );
            let bytes = fs::read(path).unwrap();
            match String::from_utf8(bytes) {
                Ok(text) => self.learn(&name, &text),
                Err(error) => drop(self.needles.add(&name, error.as_bytes())),
            }
        }
        say::line(&format!("    {} secrets are looked for", self.needles.count()));
        self.mark(rack, controller);
        let mut places = self.collected(controller);
        self.over.store(true, Ordering::Relaxed);
        self.sampler.take().unwrap().join().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        self.dump.kill();
        let processes = self.seen.lock().unwrap().iter().flatten().copied().collect::<Vec<_>>();
        fs::write(self.dir.join("processes"), processes).unwrap();
        places.insert("packets", vec![self.dir.join(PCAP)]);
        places.insert("command lines and environments", vec![self.dir.join("processes")]);
        places.insert("data base", data_base(&state));
        let unmarked = [
            ("boot files", self::files(&state.join("boot"))),
            ("consoles", consoles.iter().map(|path| path.to_path_buf()).collect()),
            ("state", self::files(&state).into_iter().filter(|path| !is_kept(&state, path)).collect()),
            ("runtime", self::files(&self.root.join("run/rackwright"))),
            ("temporary files", self::files(&self.root.join("tmp"))),
        ];
        self.judge(places, unmarked.into());
    }

    fn judge(mut self, places: BTreeMap<&str, Vec<PathBuf>>, unmarked: BTreeMap<&str, Vec<PathBuf>>) {
        self.needles.add("mark", MARK.as_bytes());
        let mut leaks = Vec::new();
        for (place, files) in places.iter().chain(&unmarked) {
            let (mut found, mut bytes) = (Found::new(), 0);
            for file in files {
                bytes += fs::metadata(file).map_or(0, |meta| meta.len());
                found.extend(self.needles.in_file(file).unwrap_or_default());
            }
            let marked = found.iter().any(|(name, _)| name == "mark");
            let leaked = found.iter().filter(|(name, _)| name != "mark").collect::<Vec<_>>();
            say::line(&format!("    {place}: {} KiB, mark {marked}, secrets {leaked:?}", bytes >> 10));
            assert!(
                marked || unmarked.contains_key(place),
                "{place}: the mark is not found, so nothing was looked at"
            );
            leaks.extend(leaked.into_iter().map(|leak| format!("{place}: {leak:?}")));
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
    }

    /// The mark in every channel.
    fn mark(&self, rack: &Rack, controller: &Controller) {
        let ctl = &rack.netns().ctl;
        let packet = format!("echo {MARK} >/dev/udp/10.77.0.250/9");
        // Nobody has that address: what asks for it, and a packet to all, are on the wire.
        let all = format!("ip neigh replace 10.77.0.250 lladdr ff:ff:ff:ff:ff:ff dev prov0; {packet}");
        Tool::new("ip").args(["netns", "exec", ctl, "bash", "-c", &all]).read().unwrap();
        let run = |argv: &[&str]| controller.run(argv).unwrap_or_else(|error| fail(&error));
        run(&["env", &format!("SEEN={MARK}"), "sleep", "1"]);
        run(&["logger", "-t", "rack", MARK]);
        run(&["rackwright", "node", "hold", "n1", "--why", MARK]);
    }

    /// What only a command brings: written to files of ours, as they are.
    fn collected(&self, controller: &Controller) -> BTreeMap<&'static str, Vec<PathBuf>> {
        let run = |argv: &[&str]| controller.run(argv).unwrap_or_else(|error| fail(&error));
        let keep = |name: &str, text: String| {
            let path = self.dir.join(name);
            fs::write(&path, text).unwrap();
            vec![path]
        };
        // What does not arrive is told of, too.
        let told = controller.exec(&["rackwright", "notify", "test"]).unwrap_or_else(|error| fail(&error));
        let mut places = BTreeMap::new();
        places.insert(
            "events",
            keep("events", run(&["rackwright", "event", "list", "-o", "json", "--limit", "10000"])),
        );
        places.insert("answers of the API", keep("answers", self.answers() + &told.stdout + &told.stderr));
        run(&["rackwright", "support", "bundle", "/root/bundle.tar.gz"]);
        let bundle = self.root.join("root/bundle.tar.gz");
        let bundle = Tool::new("tar").args(["-xzOf"]).arg(bundle).read().unwrap();
        places.insert("support bundle", keep("bundle", bundle));
        run(&["rackwright", "backup", "create", "/root/rack.rwbackup"]);
        let sealed = fs::read(self.root.join("root/rack.rwbackup")).unwrap();
        assert_eq!(self.needles.in_bytes(&sealed), Found::new(), "in a backup");
        let mut log = keep("journal", run(&["journalctl", "--no-pager", "-o", "export", "-a"]));
        log.extend(
            files(&self.root.join("var/log"))
                .into_iter()
                .filter(|path| !path.to_string_lossy().contains("/journal/")),
        );
        places.insert("journal and logs", log);
        places
    }

    /// Every answer that somebody at the control socket can ask for without changing anything.
    fn answers(&self) -> String {
        let socket = self.root.join("run/rackwright/control.sock");
        let ask = |route: &str| {
            let url = format!("http://localhost/v1/{route}");
            Tool::new("curl")
                .args(["-s", "--max-time", "20", "--unix-socket"])
                .arg(&socket)
                .arg(url)
                .read()
                .unwrap()
        };
        let source = include_str!("../../../appliance/tests/integration/roles.rs");
        let (_, gets) = source.split_once("\"GET\",\n").unwrap();
        let (gets, _) = gets.split_once("]").unwrap();
        let routes = gets.split('"').skip(1).step_by(2).collect::<Vec<_>>();
        assert!(routes.len() > 25, "{routes:?}");
        routes.iter().map(|route| ask(&route.replacen("nodes/_", "nodes/n1", 1))).collect()
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Only the daemon reads it, as the operator's guide says.
fn put(root: &Path, file: &str, secret: &str) {
    let owner = fs::metadata(root.join("var/lib/rackwright")).unwrap();
    let path = root.join(file);
    fs::write(&path, secret).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

fn is_kept(state: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(state).unwrap_or(path).to_string_lossy().into_owned();
    KEPT.iter().any(|kept| below == *kept || kept.ends_with('/') && below.starts_with(kept))
}

fn data_base(state: &Path) -> Vec<PathBuf> {
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state.db"));
    files(state).into_iter().filter(ours).collect()
}

/// Every plain file below a folder but images, which are what they were before there was a secret.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != "images" {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}

/// Every command line and environment of whatever runs on the controller, as often as it can be looked at.
fn sample(leader: i32, seen: Arc<Mutex<BTreeSet<Vec<u8>>>>, over: Arc<AtomicBool>) -> JoinHandle<()> {
    let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = space(&leader.to_string());
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.bytes().all(|byte| byte.is_ascii_digit()) || space(&name) != own {
                    continue;
                }
                for file in ["cmdline", "environ"] {
                    let text = fs::read(entry.path().join(file)).unwrap_or_default();
                    seen.lock().unwrap().insert(text);
                }
            }
            std::thread::sleep(EVERY);
        }
    })
}
