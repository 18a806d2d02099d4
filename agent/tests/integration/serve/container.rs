//! Boots the root file system `RACKWRIGHT_NSPAWN_ROOT` (systemd, dbus, chrony and openssh-server in it) in a container
//! without a network, with the agent in it as it is in an image, and runs `inside` there. The file system itself is
//! not written to.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use protocol::{SEED_BYTES, Seed};
use rustix::process::Signal;
use tempfile::TempDir;

const ROOT: &str = "RACKWRIGHT_NSPAWN_ROOT";
const GUEST_BINARY: &str = "/opt/agent-test";
/// How systemd-nspawn ends when the machine in it restarts.
const RESTARTED: i32 = 133;
/// Seen by both sides, and there after the container restarted.
pub const SHARED: &str = "/opt/shared";

struct Container {
    nspawn: Child,
    leader: u32,
}

impl Container {
    fn boot(root: &Path, shared: &Path) -> Container {
        let test = std::env::current_exe().unwrap();
        let bind = |from: &Path, to: &str| format!("--bind-ro={}:{to}", from.display());
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--keep-unit", "--register=no", "--private-network"])
            .args(["--volatile=overlay", "--resolv-conf=off", "--console=pipe", "--capability=all"])
            .arg(format!("--machine=agent-{}", std::process::id()))
            .arg(format!("--directory={}", root.display()))
            .arg(bind(&test, GUEST_BINARY))
            .arg(bind(Path::new(env!("CARGO_BIN_EXE_rackwright-agent")), "/usr/bin/rackwright-agent"))
            .arg(format!("--bind={}:{SHARED}", shared.display()))
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
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                comm.is_ok_and(|comm| comm.trim() == "systemd")
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

    fn ended(&mut self) -> ExitStatus {
        self.nspawn.wait().unwrap()
    }

    fn run(&self, test: &str) -> bool {
        let mut command = self.command(GUEST_BINARY);
        command.args([test, "--exact", "--ignored", "--nocapture"]);
        let mut entered = command.spawn().unwrap();
        loop {
            if let Some(status) = entered.try_wait().unwrap() {
                return status.success();
            }
            // A shutdown stops all processes for a moment. nsenter, outside, stops with its child, and then nobody wakes
            // it to see the child's end, for which the shutdown waits.
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&entered), Signal::CONT);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if matches!(self.nspawn.try_wait(), Ok(Some(_))) {
            return;
        }
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
fn the_installed_agent_does_its_work_under_a_real_systemd() {
    let root = std::env::var_os(ROOT).map(PathBuf::from).unwrap_or_else(|| panic!("{ROOT} is not set"));
    assert!(root.join("usr/sbin/chronyd").exists(), "{ROOT} needs chrony and openssh-server");
    let shared = TempDir::new().unwrap();
    std::fs::write(shared.path().join("seed"), vec![0; usize::try_from(SEED_BYTES).unwrap()]).unwrap();
    let mut container = Container::boot(&root, shared.path());
    container.wait_until_up();
    assert!(container.run("serve::inside::a_node_from_seed_to_last_order"), "inside the container");

    // The last order restarts the machine; the test in it is gone with it, and nspawn says so with its status.
    let _ = container.run("serve::inside::a_rebuild_is_ordered");
    assert_eq!(container.ended().code(), Some(RESTARTED));
    let seed = Seed::decode(&std::fs::read(shared.path().join("seed")).unwrap()).unwrap();
    assert!(!seed.complete && seed.certificate.is_empty(), "a ticket, not a seed to enrol with");
    let key = agent::keys::KeyPair::from_base64(&seed.key).unwrap();
    let ticket = std::fs::read_to_string(shared.path().join("ticket")).unwrap();
    assert_eq!(key.public().to_string(), ticket, "the key that was handed in");
}

/// Puts the host's strace with all that it needs into the folder: no image of a node has one.
fn bring_strace(shared: &Path) {
    let folder = shared.join("strace");
    std::fs::create_dir(&folder).unwrap();
    let strace = Path::new("/usr/bin/strace");
    assert!(strace.exists(), "strace (package strace) is needed for this test");
    let needed = Command::new("ldd").arg(strace).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let paths = needed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    let mut loader = String::new();
    for path in paths.chain([strace]) {
        let name = path.file_name().unwrap();
        std::fs::copy(path, folder.join(name)).unwrap();
        if name.to_string_lossy().starts_with("ld-") {
            loader = name.to_string_lossy().into_owned();
        }
    }
    let strace = format!("{SHARED}/strace/{loader} --library-path {SHARED}/strace {SHARED}/strace/strace");
    // Detached, so that the agent is the unit's own process.
    let script = format!(
        "agent=\"/usr/bin/rackwright-agent serve --seed {SHARED}/seed\"\n\
         [ -e /run/story-armed ] || exec $agent\n\
         read -r trace inject < /run/story-armed\nrm /run/story-armed\n\
         exec {strace} -D -f -qq -o /dev/null -e \"$trace\" -e \"$inject\" $agent\n"
    );
    std::fs::write(shared.join("start"), script).unwrap();
}

#[test]
#[ignore = "needs a root file system, in RACKWRIGHT_NSPAWN_ROOT; `cargo xtask test` brings one"]
fn an_agent_that_is_killed_at_any_call_goes_on_under_a_real_systemd() {
    let root = std::env::var_os(ROOT).map(PathBuf::from).unwrap_or_else(|| panic!("{ROOT} is not set"));
    let shared = TempDir::new().unwrap();
    bring_strace(shared.path());
    std::fs::write(shared.path().join("seed"), vec![0; usize::try_from(SEED_BYTES).unwrap()]).unwrap();
    if std::env::var("RACKWRIGHT_POINTS").is_ok_and(|which| which == "all") {
        std::fs::write(shared.path().join("all"), "").unwrap();
    }
    let container = Container::boot(&root, shared.path());
    container.wait_until_up();
    assert!(container.run("serve::killed::killed_at_any_call_the_agent_goes_on"), "inside the container");
}
