//! The line is really pasted: a Debian in a container under its own systemd, without an agent; the daemon as it ships; a network
//! between them that nobody else is on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::adopting::boot_store;

const ROOT: &str = "RACKWRIGHT_NSPAWN_ROOT";
const AGENT: &str = "RACKWRIGHT_AGENT";
/// The network that the test was started in.
const NETWORK: &str = "RACKWRIGHT_NETWORK";
const CONFIG: &str = "site = \"lab\"\n[[provision]]\ninterface = \"ctl0\"\naddress = \"10.77.0.1/24\"\n\
    pool = \"10.77.0.100-10.77.0.199\"\n";
/// Folders whose files are compared; what a running system writes by itself is below others, or named in [`OWN`].
const LOOKED_AT: &str = "/etc /usr /root /home /opt /srv /boot /var/lib";
const OWN: [&str; 6] = [
    "/var/lib/systemd/",
    "/var/lib/dbus/",
    "/var/lib/chrony/",
    "/var/lib/private/",
    "/etc/.pwd.lock",
    "/etc/machine-id",
];

/// A node image has no program that fetches, which every Debian that somebody works with has: bash stands in for it, where it must.
const FETCHER: &str = r#"command -v curl || command -v wget || { cat >/usr/bin/curl <<'END' && chmod 755 /usr/bin/curl; }
#!/bin/bash
set -e
while [ $# -gt 1 ]; do case "$1" in -o|*o) out="$2"; shift ;; esac; shift; done
host="${1#http://}"; path="/${host#*/}"; host="${host%%/*}"
exec 3<>"/dev/tcp/$host/80"
printf 'GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n' "$path" "$host" >&3
read -r status <&3; case "$status" in *' 200 '*) ;; *) exit 22 ;; esac
while read -r header <&3 && [ "$header" != $'\r' ]; do :; done
cat <&3 >"$out"
END
"#;

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("{name} is not set"))
}

#[test]
#[ignore = "by hand: RACKWRIGHT_NSPAWN_ROOT=ROOT RACKWRIGHT_AGENT=AGENT cargo test -p appliance --test integration -- --ignored a_debian"]
fn a_debian_joins_by_a_pasted_line() {
    let inner = ["adopting_container::inside_a_network_of_its_own", "--exact", "--ignored", "--nocapture"];
    let test = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(test)
        .args(inner)
        .env(NETWORK, own_network())
        .status()
        .unwrap();
    assert!(status.success(), "inside the network");
}

/// The network namespace that this process is in.
fn own_network() -> PathBuf {
    std::fs::read_link("/proc/self/ns/net").unwrap()
}

/// Whatever is started ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(found) = so() {
            return found;
        }
        assert!(Instant::now() < patience, "it never came to be so: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The controller.
struct Controller {
    root: PathBuf,
    _daemon: Running,
}

impl Controller {
    fn start(root: &Path) -> Self {
        let write = |path: &str, content: &[u8]| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        // Where systemd would have made a folder for the socket.
        std::fs::create_dir_all(root.join("run/rackwright")).unwrap();
        write("etc/rackwright/rackwright.toml", CONFIG.as_bytes());
        boot_store(&root.join("var/lib/rackwright/boot"), &std::fs::read(variable(AGENT)).unwrap());
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_rackwright"));
        let daemon = daemon.arg("--root").arg(root).arg("serve").stdin(Stdio::null()).spawn().unwrap();
        let controller = Self { root: root.to_owned(), _daemon: Running(daemon) };
        until("the daemon answers", || controller.rackwright("status").status.success().then_some(()));
        controller
    }

    fn rackwright(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackwright"));
        command
            .arg("--root")
            .arg(&self.root)
            .args(words.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn done(&self, words: &str) -> String {
        let out = self.rackwright(words);
        assert!(out.status.success(), "{words}: {}", text(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    fn node(&self) -> Value {
        serde_json::from_str::<Value>(&self.done("node show web1 -o json")).unwrap()["item"].clone()
    }
}

/// The server.
struct Server {
    leader: u32,
    _nspawn: Running,
}

impl Server {
    fn boot() -> Self {
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--keep-unit", "--register=no", "--private-network"])
            .args(["--volatile=overlay", "--resolv-conf=off", "--console=pipe", "--capability=all"])
            .arg(format!("--machine=web1-{}", std::process::id()))
            .arg(format!("--directory={}", variable(ROOT).display()))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("systemd-nspawn (package systemd-container) is needed for this test");
        let pid = nspawn.id();
        let nspawn = Running(nspawn);
        let children = format!("/proc/{pid}/task/{pid}/children");
        let leader = until("the container's systemd", || {
            let pids = std::fs::read_to_string(&children).unwrap_or_default();
            let is_init = |pid: &u32| {
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|comm| comm.trim() == "systemd")
            };
            pids.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_init)
        });
        ip(&format!("link set srv0 netns {leader}"));
        let server = Self { leader, _nspawn: nspawn };
        until("the bus", || server.sh("test -S /run/dbus/system_bus_socket").status.success().then_some(()));
        let _ = server.sh("systemctl is-system-running --wait --quiet");
        server
    }

    fn sh(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.leader))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
        command
            .args(["sh", "-c", line])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, line: &str) -> String {
        let out = self.sh(line);
        assert!(out.status.success(), "{line}: {}", text(&out));
        text(&out)
    }

    /// Every file that is looked at, and what it is: owner, mode and digest.
    fn files(&self) -> BTreeMap<String, String> {
        let list = self.done(&format!(
            "find {LOOKED_AT} -xdev \\( -type f -o -type l \\) -printf '%m %u %g %l %p\\n' && \
             find {LOOKED_AT} -xdev -type f -size -2M -exec sha256sum {{}} +"
        ));
        let rows = list.lines().filter_map(|line| {
            let (what, path) = line.rsplit_once(' ')?;
            Some((path.to_owned(), what.to_owned()))
        });
        let mut files = BTreeMap::<String, String>::new();
        rows.for_each(|(path, what)| files.entry(path).or_default().push_str(&what));
        files.retain(|path, _| path.starts_with('/') && !OWN.iter().any(|own| path.starts_with(own)));
        files
    }
}

#[test]
#[ignore = "`a_debian_joins_by_a_pasted_line` runs it, in the network that it makes; its own reason has the command"]
fn inside_a_network_of_its_own() {
    // Whoever runs this by itself would change the machine's own network.
    assert_ne!(own_network(), variable(NETWORK), "never on the network of the machine");
    ip("link set lo up");
    ip("link add ctl0 type veth peer name srv0");
    ip("address add 10.77.0.1/24 dev ctl0");
    ip("link set ctl0 up");
    let folder = TempDir::new().unwrap();
    let server = Server::boot();
    // A node image stands for the Debian: without what makes it one. Its chrony has no hands on the clock, which is the host's.
    server.done(
        "systemctl stop rackwright-agent; rm -rf /var/lib/rackwright-agent /usr/bin/rackwright-agent \
         /usr/lib/systemd/system/rackwright-agent.service /etc/systemd/system/*/rackwright-agent.service; systemctl daemon-reload; \
         echo 'DAEMON_OPTS=\"-x\"' >/etc/default/chrony; echo web1.example.org >/etc/hostname; ssh-keygen -A >/dev/null; echo 10.1.2.3 printer >>/etc/hosts; \
         ip address add 10.77.0.50/24 dev srv0 && ip link set srv0 up",
    );
    server.done(FETCHER);
    let controller = Controller::start(folder.path());
    let before = server.files();
    let hosts = server.done("cat /etc/hosts");

    let line = controller.done("node adopt");
    let pasted = server.sh(&line);
    println!("{}", text(&pasted));
    assert!(pasted.status.success(), "{}", text(&pasted));
    let node = controller.node();
    let code = node["code"].as_str().unwrap().to_owned();
    assert!(
        text(&pasted).contains(&code) && node["state"] == "discovered",
        "the same code on both sides: {node}"
    );
    let journal = server.done("journalctl --unit=rackwright-agent --no-pager");
    assert!(journal.contains(&code), "{journal}");
    // Half of it is gone: pasted again, it is whole again, and asks as the same.
    server.done("systemctl stop rackwright-agent; truncate --size=1000 /usr/bin/rackwright-agent; rm /etc/systemd/system/rackwright-agent.service");
    let again = server.sh(&line);
    assert!(again.status.success() && text(&again).contains(&code), "{}", text(&again));

    controller.done(&format!("node approve {code} --yes"));
    until("active", || (controller.node()["state"] == "active").then_some(()));
    let active = controller.node();
    assert!(active["image"].is_null() && active["address"] == "10.77.0.50", "{active}");
    // systemd there does what it is told here.
    controller.done("service stop web1 ssh.service");
    let ssh =
        |word: &str| server.sh("systemctl is-active ssh.service").stdout == format!("{word}\n").into_bytes();
    until("ssh is stopped", || ssh("inactive").then_some(()));
    controller.done("service start web1 ssh.service");
    until("ssh is up", || ssh("active").then_some(()));

    let after = server.files();
    let kept = server.done("cat /var/lib/rackwright-agent/before/etc/hosts");
    assert_eq!(kept, hosts, "what a role wrote over is kept as it was");
    assert_eq!(server.done("cat /etc/hostname"), "web1.example.org\n");
    let ours = |path: &str| {
        ["/usr/bin/rackwright-agent", "/var/lib/rackwright-agent/"].iter().any(|own| path.starts_with(own))
            || path.starts_with("/etc/systemd/system/") && path.ends_with("/rackwright-agent.service")
            || server.sh(&format!("test -e '/var/lib/rackwright-agent/before{path}' -o -e '/var/lib/rackwright-agent/before{path}.there-was-none'")).status.success()
    };
    let changed = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
    let changed = changed.filter(|path| !ours(path)).collect::<std::collections::BTreeSet<_>>();
    assert!(changed.is_empty(), "changed beside what adoption says: {changed:?}");
    let third = server.sh(&line);
    assert!(!third.status.success() && text(&third).contains("is the node web1 already"), "{}", text(&third));

    // It forgets who it is and comes anew: its hardware is a node's, so it is held; and when that is refused, it ends for good.
    server.done("systemctl stop rackwright-agent; rm -rf /var/lib/rackwright-agent");
    let held = server.sh(&controller.done("node adopt"));
    assert!(held.status.success() && text(&held).contains("held for the operator"), "{}", text(&held));
    let refused =
        controller.rackwright(&format!("node approve {} --yes", controller.node()["code"].as_str().unwrap()));
    assert!(!refused.status.success() && text(&refused).contains("as a new node only"), "{}", text(&refused));
    controller.done("node reject web1 --why visitor");
    until("its agent has ended", || {
        (!server.sh("systemctl is-active rackwright-agent").status.success()).then_some(())
    });
    assert_eq!(server.sh("systemctl is-enabled rackwright-agent").stdout, b"disabled\n");
    let journal = server.done("journalctl --unit=rackwright-agent --no-pager");
    assert!(journal.contains("not adopted: visitor"), "{journal}");
    assert_eq!(
        server.done("ls /var/lib/rackwright-agent; systemctl --failed --no-legend rackwright-agent.service"),
        ""
    );
    assert_eq!(controller.node()["state"], "active", "the node that is known stays");
}
