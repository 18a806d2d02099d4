//! One cable between two namespaces, and a DHCP server at one end of it: ours as it ships, or a peer.
//!
//! Every server starts from nothing, in a directory of its own on the same disk, with the same addresses to give. None
//! is reachable from outside, and none outlives the bench.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rack::netns::Netns;
use crate::rack::process::{Lifetime, Process};
use crate::tool::{Output, Tool, ToolError};

/// The servers' end of the cable.
const SERVER_LINK: &str = "bench0";
/// The clients' end of the cable.
pub(super) const CLIENT_LINK: &str = "bench1";
/// The servers' address, with the network's prefix.
const SERVER: &str = "10.88.0.1/16";
/// The servers' address alone.
pub(super) const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The address of whoever plays the clients.
const CLIENT: &str = "10.88.255.254/16";
/// The same without the prefix.
pub(super) const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 255, 254);
/// What servers may give: 64,000 addresses.
const POOL: [&str; 2] = ["10.88.1.0", "10.88.250.255"];
/// How namespaces of this bench begin; the process id follows.
const PREFIX: &str = "rwbench";

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// The daemon, as it ships.
    Ours,
    /// Kea with its memfile, written to disk as is its default.
    Kea,
    /// dnsmasq as it is: it pings an address before it gives it to a new client.
    Dnsmasq,
    /// dnsmasq with `--no-ping`.
    DnsmasqNoPing,
}

impl Server {
    pub(super) fn name(self) -> &'static str {
        match self {
            Server::Ours => "ours",
            Server::Kea => "Kea, memfile",
            Server::Dnsmasq => "dnsmasq",
            Server::DnsmasqNoPing => "dnsmasq --no-ping",
        }
    }
}

/// The two namespaces. Dropping it takes them down, whatever happened.
#[derive(Debug)]
pub(super) struct Lab {
    net: Netns,
    dir: PathBuf,
    kea: PathBuf,
    daemon: PathBuf,
}

impl Lab {
    /// Makes the namespaces; takes down those of benches that are gone.
    pub(super) fn up(dir: &Path, daemon: PathBuf, kea: PathBuf) -> Result<Lab, Box<dyn Error>> {
        sweep()?;
        let id = format!("{PREFIX}{}", std::process::id());
        let lab = Lab { net: Netns::named(&id), dir: dir.to_owned(), kea, daemon };
        let (here, there) = (lab.net.ctl.as_str(), lab.net.lan.as_str());
        for name in [here, there] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        ip(&[
            "-n",
            here,
            "link",
            "add",
            SERVER_LINK,
            "type",
            "veth",
            "peer",
            "name",
            CLIENT_LINK,
            "netns",
            there,
        ])?;
        for (name, link, address) in [(here, SERVER_LINK, SERVER), (there, CLIENT_LINK, CLIENT)] {
            ip(&["-n", name, "addr", "add", address, "dev", link])?;
            ip(&["-n", name, "link", "set", link, "up"])?;
            // A veth leaves UDP checksums to hardware that does not exist; servers with raw sockets drop such packets.
            Tool::new("ip").args(["netns", "exec", name, "ethtool", "-K", link, "tx", "off"]).read()?;
        }
        ip(&["-n", there, "route", "add", "255.255.255.255/32", "dev", CLIENT_LINK])?;
        Ok(lab)
    }

    /// The namespace file of the clients, for a thread that goes there.
    pub(super) fn clients(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.net.lan)
    }

    /// The words before a command that is to run where the clients are.
    pub(super) fn at_clients(&self) -> Vec<OsString> {
        Netns::exec(&self.net.lan)
    }

    /// Starts a server that knows nothing yet.
    pub(super) fn start(&self, server: Server) -> Result<Running<'_>, Box<dyn Error>> {
        let dir = self.dir.join(server.name().replace([' ', ','], "-"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let argv = match server {
            Server::Ours => ours(&self.daemon, &dir)?,
            Server::Kea => kea(&self.kea, &dir)?,
            Server::Dnsmasq => dnsmasq(&dir, false),
            Server::DnsmasqNoPing => dnsmasq(&dir, true),
        };
        let mut running = Running { lab: self, dir, argv, process: None };
        running.again()?;
        Ok(running)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.net.ctl, &self.net.lan] {
            // A leftover is taken down by the next bench.
            let _ = Tool::new("ip").args(["netns", "del", name]).cleaning().read();
        }
    }
}

/// A server at work. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Running<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    argv: Vec<OsString>,
    process: Option<Process>,
}

impl Running<'_> {
    /// Kills it as a power cut would, if it runs, and starts it on what it has left.
    pub(super) fn again(&mut self) -> Result<(), Box<dyn Error>> {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        let argv = [Netns::exec(&self.lab.net.ctl), self.argv.clone()].concat();
        self.process = Some(Process::start(&argv, &self.log(), Lifetime::WithUs)?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The end of what it has said.
    pub(super) fn said(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The most memory it ever had, in MiB.
    pub(super) fn peak_mib(&self) -> Option<f64> {
        let pid = self.process.as_ref()?.identity()?.pid;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// What our command line says, of the running daemon.
    pub(super) fn ask(&self, words: &[&str]) -> Result<Output, ToolError> {
        let tool = Tool::new(&self.lab.daemon).env("RACKWRIGHT_ROOT", &self.dir).args(words.iter().copied());
        tool.deadline(Duration::from_secs(30)).output()
    }
}

fn ours(daemon: &Path, dir: &Path) -> Result<Vec<OsString>, Box<dyn Error>> {
    let [first, last] = POOL;
    let config = format!(
        "site = \"bench\"\n\n[[provision]]\ninterface = \"{SERVER_LINK}\"\naddress = \"{SERVER}\"\n\
         pool = \"{first}-{last}\"\ndhcp = \"full\"\nanswer_ipv6 = false\n"
    );
    let path = dir.join("etc/rackwright/rackwright.toml");
    for folder in ["etc/rackwright/image-keys", "run/rackwright", "var/lib/rackwright"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    fs::write(path, config)?;
    Ok(vec![daemon.into(), "serve".into(), "--root".into(), dir.into()])
}

fn kea(program: &Path, dir: &Path) -> Result<Vec<OsString>, Box<dyn Error>> {
    let [first, last] = POOL;
    let dir = fs::canonicalize(dir)?;
    let config = serde_json::json!({"Dhcp4": {
        "interfaces-config": {"interfaces": [SERVER_LINK], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": true, "name": dir.join("leases.csv")},
        "valid-lifetime": 3600,
        "subnet4": [{"id": 1, "subnet": "10.88.0.0/16", "interface": SERVER_LINK,
                     "pools": [{"pool": format!("{first}-{last}")}]}],
        "loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stdout"}]}],
    }});
    let path = dir.join("kea.json");
    fs::write(&path, config.to_string())?;
    let mut argv = vec![OsString::from("env")];
    for variable in ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR", "KEA_LOG_FILE_DIR"] {
        argv.push(format!("{variable}={}", dir.display()).into());
    }
    argv.extend([program.into(), "-c".into(), path.into()]);
    Ok(argv)
}

fn dnsmasq(dir: &Path, no_ping: bool) -> Vec<OsString> {
    let [first, last] = POOL;
    let words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--except-interface=lo",
        "--dhcp-authoritative",
        // The default is 1,000.
        "--dhcp-lease-max=100000",
    ];
    let mut argv = words.map(OsString::from).to_vec();
    argv.extend([
        format!("--interface={SERVER_LINK}").into(),
        format!("--dhcp-range={first},{last},1h").into(),
        format!("--dhcp-leasefile={}", dir.join("leases").display()).into(),
        format!("--pid-file={}", dir.join("pid").display()).into(),
    ]);
    if no_ping {
        argv.push("--no-ping".into());
    }
    argv
}

/// Takes down what benches that did not end well have left.
fn sweep() -> Result<(), ToolError> {
    let names = Tool::new("ip").args(["netns", "list"]).read()?;
    for name in names.lines().filter_map(|line| line.split_whitespace().next()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

fn ip(words: &[&str]) -> Result<(), ToolError> {
    Tool::new("ip").args(words.iter().copied()).read().map(drop)
}
