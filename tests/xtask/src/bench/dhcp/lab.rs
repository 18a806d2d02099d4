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

use crate::bench::wire::{CLIENTS, SERVERS, Wire};
use crate::rack::process::{Lifetime, Process};
use crate::tool::{Output, Tool, ToolError};

/// The servers' address, with the network's prefix.
const SERVER: &str = "10.88.0.1/16";
/// The servers' address alone.
pub(in crate::bench) const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The address of whoever plays the clients.
const CLIENT: &str = "10.88.255.254/16";
/// The same without the prefix.
pub(in crate::bench) const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 255, 254);
/// What servers may give: 64,000 addresses.
const POOL: [&str; 2] = ["10.88.1.0", "10.88.250.255"];

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Server {
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
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Server::Ours => "ours",
            Server::Kea => "Kea, memfile",
            Server::Dnsmasq => "dnsmasq",
            Server::DnsmasqNoPing => "dnsmasq --no-ping",
        }
    }
}

/// The cable, and the servers that may be started at one end of it.
#[derive(Debug)]
pub(in crate::bench) struct Lab {
    pub(in crate::bench) wire: Wire,
    dir: PathBuf,
    kea: Option<PathBuf>,
    daemon: PathBuf,
}

impl Lab {
    /// Lays the cable; Kea is where it was unpacked, if it is wanted.
    pub(in crate::bench) fn up(
        dir: &Path,
        daemon: PathBuf,
        kea: Option<PathBuf>,
    ) -> Result<Lab, Box<dyn Error>> {
        let wire = Wire::between(SERVER, [CLIENT.to_owned()])?;
        // A veth leaves UDP checksums to hardware that does not exist; servers with raw sockets drop such packets.
        run(wire.at_servers(&["ethtool", "-K", SERVERS, "tx", "off"]))?;
        run(wire.beside_clients(&["ethtool", "-K", CLIENTS, "tx", "off"]))?;
        run(wire.beside_clients(&["ip", "route", "add", "255.255.255.255/32", "dev", CLIENTS]))?;
        Ok(Lab { wire, dir: dir.to_owned(), kea, daemon })
    }

    /// Starts a server that knows nothing yet.
    pub(in crate::bench) fn start(&self, server: Server) -> Result<Running<'_>, Box<dyn Error>> {
        let dir = self.dir.join(server.name().replace([' ', ','], "-"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let argv = match server {
            Server::Ours => ours(&self.daemon, &dir)?,
            Server::Kea => kea(self.kea.as_deref().ok_or("Kea was not unpacked")?, &dir)?,
            Server::Dnsmasq => dnsmasq(&dir, false),
            Server::DnsmasqNoPing => dnsmasq(&dir, true),
        };
        let mut running = Running { lab: self, dir, argv, process: None };
        running.again()?;
        Ok(running)
    }
}

/// A server at work. Dropping it kills it.
#[derive(Debug)]
pub(in crate::bench) struct Running<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    argv: Vec<OsString>,
    process: Option<Process>,
}

impl Running<'_> {
    /// Kills it as a power cut would, if it runs, and starts it on what it has left.
    pub(in crate::bench) fn again(&mut self) -> Result<(), Box<dyn Error>> {
        self.kill();
        let argv = self.lab.wire.at_servers(&self.argv);
        self.process = Some(Process::start(&argv, &self.log(), Lifetime::WithUs)?);
        Ok(())
    }

    /// Kills it as a power cut would.
    pub(in crate::bench) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// A file of its own: `etc/…`, `var/lib/rackwright/…`.
    pub(in crate::bench) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The end of what it has said.
    pub(in crate::bench) fn said(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// [`Process::peak_mib`].
    pub(in crate::bench) fn peak_mib(&self) -> Option<f64> {
        self.process.as_ref()?.peak_mib()
    }

    /// What our command line says, of the running daemon.
    pub(in crate::bench) fn ask(&self, words: &[&str]) -> Result<Output, ToolError> {
        let tool = Tool::new(&self.lab.daemon).env("RACKWRIGHT_ROOT", &self.dir).args(words.iter().copied());
        tool.deadline(Duration::from_secs(30)).output()
    }
}

fn ours(daemon: &Path, dir: &Path) -> Result<Vec<OsString>, Box<dyn Error>> {
    let [first, last] = POOL;
    let config = format!(
        "site = \"bench\"\n\n[[provision]]\ninterface = \"{SERVERS}\"\naddress = \"{SERVER}\"\n\
         pool = \"{first}-{last}\"\ndhcp = \"full\"\nanswer_ipv6 = false\n"
    );
    let path = dir.join("etc/rackwright/rackwright.toml");
    for folder in ["etc/rackwright/image-keys", "run/rackwright", "var/lib/rackwright"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    fs::write(path, config)?;
    let mut argv = vec![OsString::from("env")];
    argv.extend(unit_environment().map(OsString::from));
    argv.extend([daemon.into(), "serve".into(), "--root".into(), dir.into()]);
    Ok(argv)
}

/// What the daemon's unit puts into its environment: what is measured is what ships.
fn unit_environment() -> impl Iterator<Item = &'static str> {
    let unit = include_str!(
        "../../../../../image-build/recipes/controller/files/usr/lib/systemd/system/rackwright.service"
    );
    unit.lines().filter_map(|line| line.strip_prefix("Environment="))
}

fn kea(program: &Path, dir: &Path) -> Result<Vec<OsString>, Box<dyn Error>> {
    let [first, last] = POOL;
    let dir = fs::canonicalize(dir)?;
    let config = serde_json::json!({"Dhcp4": {
        "interfaces-config": {"interfaces": [SERVERS], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": true, "name": dir.join("leases.csv")},
        "valid-lifetime": 3600,
        "subnet4": [{"id": 1, "subnet": "10.88.0.0/16", "interface": SERVERS,
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
        format!("--interface={SERVERS}").into(),
        format!("--dhcp-range={first},{last},1h").into(),
        format!("--dhcp-leasefile={}", dir.join("leases").display()).into(),
        format!("--pid-file={}", dir.join("pid").display()).into(),
    ]);
    if no_ping {
        argv.push("--no-ping".into());
    }
    argv
}

fn run(argv: Vec<OsString>) -> Result<(), ToolError> {
    let mut words = argv.into_iter();
    Tool::new(words.next().unwrap_or_default()).args(words).read().map(drop)
}
