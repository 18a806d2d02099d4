//! A server in its operator's hands: a real SSH server and a real `ssh`, real devices, a shell on a terminal.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::deploy;
use agent::deploy::cmdline::Network;
use agent::screen::{Kind, Screen, Sink};
use protocol::{JobId, RescueJob, SshKey, Task};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::controller::Controller;
use super::image::MIB;
use super::machine::{LoopDisk, Machine};
use super::site::Site;
use super::{is_root, run, until};

const JOB: JobId = JobId([6; 8]);

/// A key pair of somebody: the private half's file.
fn key(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    file
}

fn public(key: &Path) -> SshKey {
    fs::read_to_string(key.with_extension("pub")).unwrap().trim().parse().unwrap()
}

/// Tries to log in.
async fn ssh(address: &str, known: &Path, options: &[&str], words: &str) -> Output {
    let mut command = tokio::process::Command::new("ssh");
    command.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20"]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
    command.args(["-o", "StrictHostKeyChecking=accept-new"]).args(options);
    command.args(["-o", "BatchMode=yes", &format!("root@{address}"), words]).env_remove("SSH_AUTH_SOCK");
    command.output().await.unwrap()
}

/// A server with a disk, and what the ramdisk brings for a rescue. The SSH server sees the server's own home of root, not this
/// machine's: it has a mount namespace of its own.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.add_disk("vda", "BROKEN", 16 * MIB);
    for folder in ["usr/bin", "root", "run", "mnt"] {
        fs::create_dir_all(machine.path().join(folder)).unwrap();
    }
    fs::set_permissions(machine.path().join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    let home = machine.path().join("root");
    let script = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -c 'mount --bind {} /root && exec dropbear \"$@\"' dropbear \"$@\"\n",
        home.display()
    );
    machine.file("usr/bin/dropbear", &script);
    let file = machine.path().join("usr/bin/dropbear");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/usr/bin/dropbearkey", machine.path().join("usr/bin/dropbearkey")).unwrap();
    machine
}

fn has_programs() -> bool {
    let there = ["/usr/sbin/dropbear", "/usr/bin/dropbearkey", "/usr/bin/ssh"];
    let missing = there.iter().find(|program| !Path::new(program).exists());
    assert!(
        missing.is_none(),
        "{} is not installed: apt-get install dropbear-bin openssh-client",
        missing.unwrap()
    );
    is_root()
}

struct Rescue {
    controller: Controller,
    machine: Machine,
    site: Arc<Site>,
    address: [u8; 4],
}

impl Rescue {
    async fn new(address: [u8; 4], keys: Vec<SshKey>) -> Self {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        controller.with(|s| s.task = Task::Rescue(Box::new(RescueJob { job: JOB, keys })));
        Self { controller, machine: machine(), site, address }
    }

    fn boot(&self) -> (agent::deploy::Server, super::machine::Console) {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        server.told.address = Network { address: self.address.into(), prefix: 8 };
        (server, console)
    }

    fn host_key(&self) -> Option<String> {
        self.controller
            .with(|s| s.rescues.iter().rev().find_map(|told| told.host_key.as_ref()).map(ToString::to_string))
    }
}

#[test]
fn who_has_the_key_gets_in_and_nobody_else_and_no_disk_is_written() {
    if !has_programs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mine, theirs) = (key(folder.path(), "mine"), key(folder.path(), "theirs"));
    let known = folder.path().join("known_hosts");
    run(async {
        let rescue = Rescue::new([127, 77, 0, 21], vec![public(&mine)]).await;
        let (mut server, console) = rescue.boot();
        let visit = async {
            until("an SSH server", || rescue.host_key().is_some()).await;
            let by = |key: &Path| format!("-i{}", key.display());
            let got = ssh("127.77.0.21", &known, &[&by(&mine)], "echo $HOME; ls -A /root").await;
            let out = String::from_utf8_lossy(&got.stdout).into_owned();
            assert!(got.status.success() && out.contains(".ssh"), "{got:?}");
            assert!(String::from_utf8_lossy(&got.stderr).contains("in rescue"), "it is greeted: {got:?}");
            // Its key is the one that was told over the other line.
            let hash = std::process::Command::new("ssh-keygen").arg("-lf").arg(&known).output().unwrap();
            let hash = String::from_utf8_lossy(&hash.stdout).into_owned();
            assert!(hash.contains(&rescue.host_key().unwrap()), "{hash}");

            let refused = ssh("127.77.0.21", &known, &[&by(&theirs)], "true").await;
            let why = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && why.contains("Permission denied (publickey)"), "{why}");
            let none = [
                "-oPreferredAuthentications=none,password,keyboard-interactive",
                "-oPubkeyAuthentication=no",
            ];
            let refused = ssh("127.77.0.21", &known, &none, "true").await;
            assert!(!refused.status.success(), "nobody gets in without a key: {refused:?}");
            let forwarded = ssh("127.77.0.21", &known, &[&by(&mine), "-W127.0.0.1:22"], "").await;
            assert!(!forwarded.status.success(), "it is no way to anywhere else");
            let elsewhere = ssh("127.77.0.22", &known, &[&by(&mine)], "true").await;
            assert!(!elsewhere.status.success(), "it listens on its own address alone");

            let late = protection(&rescue.machine).await;
            // Four hours later its certificate has expired: it says hello, and whoever is in stays in.
            let hellos = rescue.controller.with(|s| {
                s.rescue_refusals = 1;
                s.hellos.len()
            });
            until("a new hello", || rescue.controller.with(|s| s.hellos.len() > hellos)).await;
            let got = ssh("127.77.0.21", &known, &[&by(&mine)], "true").await;
            assert!(got.status.success(), "with the same host key: {got:?}");
            rescue.controller.with(|s| s.rescue_ends = true);
            late
        };
        let (ended, late) = tokio::join!(deploy::follow(&mut server), visit);
        ended.unwrap();
        assert!(console.text().contains("host key SHA256:"), "{}", console.text());
        assert!(rescue.controller.with(|s| s.progress.is_empty() && s.receipts.is_empty()));
        until("the end of the server", || std::net::TcpStream::connect("127.77.0.21:22").is_err()).await;
        assert!(!late.is_read_only(), "what was protected is let go");
    });
}

/// The disk refuses writes; by hand it is made writable, and stays so; what turns up later refuses too.
async fn protection(machine: &Machine) -> LoopDisk {
    let disk = &machine.disks[0];
    assert!(disk.is_read_only());
    let open = fs::OpenOptions::new().write(true).open(&disk.device);
    open.and_then(|mut disk| disk.write_all(&[1; 512])).unwrap_err();
    pack::disk::set_read_only(fs::File::open(&disk.device).unwrap(), false).unwrap();
    let late = LoopDisk::new(&machine.path().join("late.img"), 16 * MIB);
    machine.wire("vdb", "LATE", 16 * MIB, &late.device, &late.number());
    until("protection of the late disk", || late.is_read_only()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!disk.is_read_only(), "it was its operator's wish");
    late
}

#[test]
fn enter_opens_a_shell_on_the_console_and_the_agent_stays_beside_it() {
    if !has_programs() {
        return;
    }
    run(async {
        let rescue = Rescue::new([127, 77, 0, 23], Vec::new()).await;
        let (mut server, _) = rescue.boot();
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = PathBuf::from(ptsname(&controller, Vec::new()).unwrap().into_string().unwrap());
        let out = fs::OpenOptions::new().write(true).open(&path).unwrap();
        server.screen =
            Screen::onto(vec![Sink::new(Kind::Serial, Box::new(out), rescue.machine.path()).at(&path)]);
        let shown = Arc::new(Mutex::new(String::new()));
        let mut terminal = fs::File::from(controller);
        let mut reads = terminal.try_clone().unwrap();
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(bytes @ 1..) = reads.read(&mut part) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..bytes]));
            }
        });
        let has = |text: &str| shown.lock().unwrap().contains(text);
        let visit = async {
            until("the agent on the console", || has("Enter opens a shell here; no SSH key was given")).await;
            terminal.write_all(b"\n").unwrap();
            until("a shell", || has("exit gives the console back")).await;
            terminal.write_all(b"echo mended-$((6*7)) $HOME; tty\n").unwrap();
            let home = rescue.machine.path().join("root").display().to_string();
            until("its answer", || has(&format!("mended-42 {home}")) && has(&path.display().to_string()))
                .await;
            let told = rescue.controller.with(|s| s.rescues.len());
            until("the agent's next word", || rescue.controller.with(|s| s.rescues.len() > told)).await;
            assert!(rescue.controller.with(|s| s.rescues.iter().all(|told| told.host_key.is_none())));
            terminal.write_all(b"exit\n").unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            // And once more.
            shown.lock().unwrap().clear();
            terminal.write_all(b"\n").unwrap();
            until("another shell", || has("exit gives the console back")).await;
            rescue.controller.with(|s| s.rescue_ends = true);
        };
        let (ended, ()) = tokio::join!(deploy::follow(&mut server), visit);
        ended.unwrap();
        assert!(std::net::TcpStream::connect("127.77.0.23:22").is_err(), "nobody was named");
    });
}
