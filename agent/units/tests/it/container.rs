//! Boots the root file system `RACKWRIGHT_NSPAWN_ROOT` (systemd and dbus in it) in a container without a network and
//! runs `inside` in it. The file system itself is not written to.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = "RACKWRIGHT_NSPAWN_ROOT";
const GUEST_BINARY: &str = "/opt/units-test";

struct Container {
    nspawn: Child,
    leader: u32,
}

impl Container {
    fn boot(root: &Path, binary: &Path) -> Container {
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--keep-unit", "--register=no", "--private-network"])
            .args(["--volatile=overlay", "--resolv-conf=off", "--console=pipe", "--capability=all"])
            .arg(format!("--machine=units-{}", std::process::id()))
            .arg(format!("--directory={}", root.display()))
            .arg(format!("--bind-ro={}:{GUEST_BINARY}", binary.display()))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("systemd-nspawn (package systemd-container) is needed for this test");
        let mut container = Container { nspawn, leader: 0 };
        container.leader = container.first_child();
        container
    }

    /// The container's PID 1, as the host counts.
    fn first_child(&mut self) -> u32 {
        let nspawn = self.nspawn.id();
        let children = PathBuf::from(format!("/proc/{nspawn}/task/{nspawn}/children"));
        loop {
            if let Some(ended) = self.nspawn.try_wait().unwrap() {
                panic!("systemd-nspawn ended: {ended}");
            }
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            let is_init = |pid: &u32| {
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|comm| comm.trim() == "systemd")
            };
            if let Some(pid) = text.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_init) {
                return pid;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.leader))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--", program])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    fn wait_until_up(&self) {
        let up = || {
            let bus = self.command("test").args(["-S", "/run/dbus/system_bus_socket"]).status();
            bus.is_ok_and(|status| status.success())
        };
        while !up() {
            std::thread::sleep(Duration::from_millis(100));
        }
        // "degraded" will do: what is missing in a container is no matter here.
        let _ = self.command("systemctl").args(["is-system-running", "--wait", "--quiet"]).status();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.command("systemctl").args(["poweroff", "--force", "--force"]).status();
        let patience = Instant::now() + Duration::from_secs(20);
        while Instant::now() < patience {
            if matches!(self.nspawn.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

#[test]
#[ignore = "needs a root file system, in RACKWRIGHT_NSPAWN_ROOT; `cargo xtask test` brings one"]
fn everything_holds_with_a_real_systemd() {
    let root = std::env::var_os(ROOT).unwrap_or_else(|| panic!("{ROOT} is not set"));
    let binary = std::env::current_exe().unwrap();
    let container = Container::boot(Path::new(&root), &binary);
    container.wait_until_up();
    let outcome = container
        .command(GUEST_BINARY)
        .args(["inside::", "--ignored", "--test-threads=1", "--nocapture"])
        .status()
        .unwrap();
    assert!(outcome.success(), "inside the container: {outcome}");
}
