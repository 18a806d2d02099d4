//! A written node: its disk as a folder, its network, and the agent that runs on it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::alone::{SWITCH, run};
use crate::clock::{Clock, Which};
use crate::ramdisk::{self, address, mac};
use crate::site::{Site, tail, until};

const AGENT: &str = env!("CARGO_BIN_EXE_installed-agent");
/// Waits for its card, then becomes what it is told.
const PLUGGED: &str = "until ip link set eth0 up 2>/dev/null; do sleep 0.02; done; ip link set lo up; \
    ip addr add \"$1\" dev eth0; shift; exec \"$@\"";

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    number: u8,
    place: PathBuf,
    bus: String,
    agent: Option<Child>,
}

impl Node {
    /// Written as compute node, and off.
    pub(crate) async fn written(site: &Site, number: u8) -> Self {
        let seed = ramdisk::writes(site, number).await;
        let name = format!("n{number}");
        let place = site.folder.path().join(&name);
        fs::create_dir_all(place.join("etc/ssh")).unwrap();
        fs::write(place.join("seed"), seed.encode().unwrap()).unwrap();
        fs::write(place.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(place.join("etc/group"), "root:x:0:\n").unwrap();
        // A cable of a namespace says that it is no card.
        let card = place.join("sys/class/net/eth0");
        fs::create_dir_all(card.join("device")).unwrap();
        for (file, text) in
            [("address", mac(number)), ("mtu", "1500".to_owned()), ("carrier", "1".to_owned())]
        {
            fs::write(card.join(file), text).unwrap();
        }
        let clock = Clock::new(site.folder.path(), &name, Which::Both);
        Self { name, clock, number, place, bus: site.bus.address().to_owned(), agent: None }
    }

    /// The same, up and active.
    pub(crate) async fn active(site: &Site, number: u8) -> Self {
        let mut node = Self::written(site, number).await;
        node.on();
        until(&format!("{} is active", node.name), async || site.is_active(&node.name).await).await;
        node
    }

    /// Boots it.
    pub(crate) fn on(&mut self) {
        let mut command = Command::new("unshare");
        command.args([
            "-n",
            "sh",
            "-c",
            PLUGGED,
            "sh",
            &format!("{}/24", address(self.number)),
            AGENT,
            "serve",
            "--root",
        ]);
        command.arg(&self.place).arg("--seed").arg(self.place.join("seed"));
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus);
        self.clock.of(&mut command);
        let agent = command.spawn().unwrap();
        let (port, pid) = (self.port(), agent.id());
        self.agent = Some(agent);
        // Its network is another one as soon as unshare has said so.
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        while fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == own) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        run(
            "ip",
            &format!("link add {port} type veth peer name eth0 address {} netns {pid}", mac(self.number)),
        );
        run("ip", &format!("link set {port} master {SWITCH} up"));
    }

    /// Cuts its power.
    pub(crate) fn off(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
            // Its end of the cable goes with its network, in the kernel's own time.
            drop(Command::new("ip").args(["link", "del", &self.port()]).stderr(Stdio::null()).status());
        }
    }

    fn port(&self) -> String {
        format!("port{}", self.number)
    }

    /// The agent's process.
    pub(crate) fn pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    /// Runs a program in its network.
    pub(crate) fn inside(&self, words: &str) {
        run("nsenter", &format!("--target={} --net {words}", self.pid()));
    }

    fn log_file(&self) -> PathBuf {
        self.place.with_extension("log")
    }

    /// All that the agent has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the agent has said this so many times.
    pub(crate) async fn says(&self, words: &str, times: usize) {
        until(&format!("{} says {words:?}", self.name), async || self.log().matches(words).count() >= times)
            .await;
    }

    /// The certificate that it has.
    pub(crate) fn certificate(&self) -> String {
        fs::read_to_string(self.place.join("var/lib/rackwright-agent/certificate.pem")).unwrap_or_default()
    }

    /// Waits until it has another certificate than this.
    pub(crate) async fn renews(&self, before: &str) {
        until(&format!("{} has another certificate", self.name), async || {
            let now = self.certificate();
            !now.is_empty() && now != before
        })
        .await;
    }

    /// The CA that it trusts.
    pub(crate) fn ca(&self) -> String {
        let text = fs::read(self.place.join("var/lib/rackwright-agent/identity.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["ca"].as_str().unwrap().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.off();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, tail(&self.log_file()));
        }
    }
}
