//! The servers that a bench of files compares: ours, and what Debian has.
//!
//! Knows their packages and command lines. Refuses to install a daemon: its package would start it on this machine, and
//! two of them exclude each other. They are unpacked beside the reports and run from there.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::wire::{SERVER, SERVERS, Wire};
use crate::cargo::cargo;
use crate::prerequisites;
use crate::rack::process::{Lifetime, Process};
use crate::tool::{TICK, Tool};
use crate::{place, say};

/// Programs and libraries that may be installed: none of them starts anything.
const INSTALLED: &[&str] = &["dnsmasq-base", "iproute2", "libwrap0", "util-linux"];
/// Daemons, which are unpacked only.
const UNPACKED: &[&str] = &["atftpd", "nginx", "tftpd-hpa"];
/// How long a server may take until it listens.
const LIMIT: Duration = Duration::from_secs(10);
/// The names that our boot store must have in it, whatever is measured.
const STORE: &[&str] = &["vmlinuz", "shimx64.efi", "undionly.kpxe", "snponly.efi"];

/// Where the bench's files and programs are.
#[derive(Debug)]
pub struct Yard {
    dir: PathBuf,
}

/// A server that may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The listeners of the daemon, alone.
    Ours,
    /// dnsmasq as a TFTP server only.
    Dnsmasq,
    /// tftpd-hpa.
    TftpdHpa,
    /// atftpd.
    Atftpd,
    /// nginx as Debian configures it: `sendfile on`, `tcp_nopush on`.
    Nginx,
}

impl Server {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Server::Ours => "rackwright",
            Server::Dnsmasq => "dnsmasq",
            Server::TftpdHpa => "tftpd-hpa",
            Server::Atftpd => "atftpd",
            Server::Nginx => "nginx",
        }
    }
}

impl Yard {
    /// Builds ours, brings the peers, and lays out `loader` and `ramdisk` for all of them: in the boot store, and under
    /// the same names for clients.
    ///
    /// # Errors
    /// apt, cargo, or a file that cannot be written.
    pub fn lay_out(name: &str, loader: &[u8], ramdisk: &[u8]) -> Result<Yard, Box<dyn Error>> {
        let dir = place::target().join("bench").join(name);
        for folder in ["store", "root/sb", "root/boot", "peers", "logs"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let yard = Yard { dir };
        prerequisites::install(INSTALLED)?;
        for package in UNPACKED {
            prerequisites::unpack(package, &yard.path("peers"))?;
        }
        let argv = ["build", "--profile", "ship", "--locked", "-p", "appliance", "--example", "bootfiles"];
        say::step("building our listeners", || cargo(argv).show())?;
        for (file, client, bytes) in
            [("grubnetx64.efi", "sb/grubx64.efi", loader), ("initrd.img", "boot/initrd.img", ramdisk)]
        {
            fs::write(yard.path("store").join(file), bytes)?;
            let shown = yard.path("root").join(client);
            let _ = fs::remove_file(&shown);
            // One file: it is in the page cache for all of them, or for none.
            fs::hard_link(yard.path("store").join(file), shown)?;
        }
        for file in STORE {
            fs::write(yard.path("store").join(file), b"x")?;
        }
        fs::write(yard.path("store/versions.json"), "{}")?;
        fs::write(yard.path("nginx.conf"), nginx(&yard))?;
        Ok(yard)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts one, and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started, or ends at once.
    pub fn start(&self, server: Server, wire: &Wire) -> Result<Running, Box<dyn Error>> {
        let root = self.path("root").display().to_string();
        let peer = |name: &str| self.path("peers/usr/sbin").join(name).display().to_string();
        let address = SERVER.to_string();
        let at = format!("{SERVER}:69");
        let argv: Vec<String> = match server {
            Server::Ours => {
                let program = place::target().join("ship/examples/bootfiles").display().to_string();
                vec![program, SERVERS.into(), address, self.path("store").display().to_string()]
            }
            Server::Dnsmasq => {
                let fixed = "dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --port=0 --enable-tftp \
                             --tftp-max=200 --user=root";
                let mut argv: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
                argv.extend([format!("--tftp-root={root}"), format!("--listen-address={address}")]);
                argv
            }
            Server::TftpdHpa => {
                let fixed = ["-L", "-u", "root", "-s", "--address", &at];
                let mut argv = vec![peer("in.tftpd")];
                argv.extend(fixed.map(str::to_owned));
                argv.push(root);
                argv
            }
            Server::Atftpd => {
                let fixed =
                    "--daemon --no-fork --user root --group root --maxthread 200 --verbose=2 --logfile -";
                let mut argv = vec![peer("atftpd")];
                argv.extend(fixed.split_whitespace().map(str::to_owned));
                argv.extend([format!("--bind-address={address}"), root]);
                argv
            }
            Server::Nginx => {
                let conf = self.path("nginx.conf").display().to_string();
                let prefix = self.dir.display().to_string();
                vec![peer("nginx"), "-c".into(), conf, "-p".into(), prefix, "-e".into(), "stderr".into()]
            }
        };
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let log = self.path("logs").join(format!("{}.log", server.name()));
        let mut process = Process::start(&wire.at_servers(&words), &log, Lifetime::WithUs)?;
        let ports: &[u16] = match server {
            Server::Ours => &[69, 80],
            Server::Nginx => &[80],
            Server::Dnsmasq | Server::TftpdHpa | Server::Atftpd => &[69],
        };
        for _ in 0..LIMIT.as_millis() / TICK.as_millis() {
            if listens(wire, ports)? {
                return Ok(Running(process));
            }
            if let Some(status) = process.ended() {
                return Err(format!("{} ended with {status}; see {}", server.name(), log.display()).into());
            }
            thread::sleep(TICK);
        }
        Err(format!("{} does not listen; see {}", server.name(), log.display()).into())
    }
}

/// Debian's own settings where they matter for one big file: `/etc/nginx/nginx.conf` of the package.
fn nginx(yard: &Yard) -> String {
    let root = yard.path("root");
    let run = yard.path("logs");
    let (root, run) = (root.display(), run.display());
    format!(
        "daemon off;\nuser root;\nworker_processes auto;\npid {run}/nginx.pid;\nevents {{ worker_connections 768; }}\n\
         http {{\n  sendfile on;\n  tcp_nopush on;\n  access_log off;\n  client_body_temp_path {run}/body;\n  \
         proxy_temp_path {run}/proxy;\n  fastcgi_temp_path {run}/fastcgi;\n  uwsgi_temp_path {run}/uwsgi;\n  \
         scgi_temp_path {run}/scgi;\n  server {{ listen {SERVER}:80; root {root}; }}\n}}\n"
    )
}

/// Whether something has all of these ports, UDP 69 or TCP 80, at the servers' end.
fn listens(wire: &Wire, ports: &[u16]) -> Result<bool, Box<dyn Error>> {
    let words = wire.at_servers(&["ss", "-Hlntu"]);
    let mut words = words.into_iter();
    let text = Tool::new(words.next().unwrap_or_default()).args(words).read()?;
    Ok(ports.iter().all(|port| text.split_whitespace().any(|word| word.ends_with(&format!(":{port}")))))
}

/// A server that runs. Dropped, it is asked to end, because nginx must end its workers; whatever does not, is killed.
#[derive(Debug)]
pub struct Running(Process);

impl Running {
    /// [`Process::peak_mib`].
    ///
    /// # Errors
    /// It is gone.
    pub fn peak(&self) -> Result<f64, Box<dyn Error>> {
        Ok(self.0.peak_mib().ok_or("the server is gone")?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(identity) = self.0.identity() {
            identity.signal(Signal::TERM);
        }
        let _ = self.0.wait(LIMIT);
    }
}
