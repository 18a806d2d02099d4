//! Real emulators of management controllers, on loopback, ended also after a panic: OpenIPMI's `ipmi_sim` for IPMI,
//! OpenStack's `sushy-tools` for Redfish.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The password of every emulator; nothing that the controller says or keeps may have it.
pub(super) const PASSWORD: &str = "canary-9c41 #x";
pub(super) const USER: &str = "ops";
/// The same, as `sushy-tools` keeps it.
const BCRYPT: &str = "$2b$04$t3WY2NJUdg./fSGMq5iNWeNmE665FVS5gRwZ22RMkGiVmGpN5fgGm";
/// The one version that the tests know, and what its wheel must be.
const SUSHY: &str =
    "sushy-tools==2.2.0 --hash=sha256:a9efb547beee24b3a81a8db0af1c99ffa3818b82013a6165188734abffe95f65\n";
pub(super) const SYSTEM: &str = "/redfish/v1/Systems/27946b59-9e44-4fa7-8e91-f3527a1ef094";

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process dies of SIGKILL all the same.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `ipmi_sim` with one chassis, whose power is a file.
pub(super) struct IpmiSim {
    process: Process,
    folder: tempfile::TempDir,
    pub(super) port: u16,
}

impl IpmiSim {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    /// With the serial line of this server.
    pub(super) fn before(server: &Server) -> Self {
        Self::with(&format!("  sol \"tcp:127.0.0.1:{}\" 115200\n", server.port))
    }

    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let port = free_port();
        let script = at("chassis");
        let lan = format!(
            "name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
             allowed_auths_admin none md5 straight\n    allowed_auths_operator none md5 straight\n    guid \
             a123456789abcdefa123456789abcdef\n  endlan\n{more}  chassis_control \"{}\"\n  user 1 false \"\" \"x\" user 5 none\n  \
             user 2 true \"{USER}\" \"{}\" admin 5 none md5 straight\n",
            script.display(),
            IPMI_PASSWORD,
        );
        fs::write(at("lan.conf"), lan).unwrap();
        let emu = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n";
        fs::write(at("sim.emu"), emu).unwrap();
        fs::write(at("power"), "0").unwrap();
        fs::write(&script, CHASSIS).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("ipmi_sim");
        command
            .arg("-n")
            .arg("-c")
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("sim.emu"))
            .arg("-s")
            .arg(at("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().expect("ipmi_sim: apt-get install openipmi"));
        let sim = Self { process, folder, port };
        let bound = || UdpSocket::bind(("127.0.0.1", port)).is_err();
        wait("ipmi_sim listens", bound);
        sim
    }

    pub(super) fn power(&self) -> String {
        fs::read_to_string(self.folder.path().join("power")).unwrap().trim().to_owned()
    }

    /// It says this from now on, whatever is.
    pub(super) fn lies(&self, power: &str) {
        fs::write(self.folder.path().join("lie"), power).unwrap();
    }

    /// What its chassis was told.
    pub(super) fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default()
    }

    /// It hangs.
    pub(super) fn freeze(&self) {
        let status = Command::new("kill").arg("-STOP").arg(self.process.0.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

/// A free port below those that the kernel gives: `ipmiconsole` takes none above 32767.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 12_000).unwrap();
    let begin = 20_000 + process + NEXT.fetch_add(20, Ordering::Relaxed) % 600;
    let free = |port: &u16| UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    (begin..32_768).chain(20_000..begin).find(free).unwrap()
}

/// A server's serial line: it repeats every piece in angle brackets, and keeps it.
pub(super) struct Server {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    line: Arc<Mutex<Option<TcpStream>>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, heard: Arc::default(), line: Arc::default() };
        let (heard, line) = (Arc::clone(&server.heard), Arc::clone(&server.line));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                *line.lock().unwrap() = Some(stream.try_clone().unwrap());
                let mut piece = [0; 256];
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    heard.lock().unwrap().extend_from_slice(&piece[..length]);
                    let said = [b"<", &piece[..length], b">\r\n"].concat();
                    stream.write_all(&said).unwrap();
                }
            }
        });
        server
    }

    pub(super) fn heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    /// The server says something by itself.
    pub(super) fn says(&self, text: &str) {
        self.line.lock().unwrap().as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

/// `ipmi_sim` reads no blank in a password.
pub(super) const IPMI_PASSWORD: &str = "canary-9c41#x";

const CHASSIS: &str = "#!/bin/sh
at=$(dirname \"$0\")
echo \"$@\" >> \"$at/calls\"
case \"$1 $2\" in
    'get power') echo \"power:$(cat \"$at/lie\" 2>/dev/null || cat \"$at/power\")\" ;;
    'get boot') echo 'boot:none' ;;
    'set power') echo \"$3\" > \"$at/power\" ;;
esac
exit 0
";

/// `sushy-emulator` with one system that is nothing but its state.
pub(super) struct Sushy {
    _process: Process,
    _folder: tempfile::TempDir,
    pub(super) port: u16,
}

impl Sushy {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(at.join("users"), format!("{USER}:{BCRYPT}\n")).unwrap();
        let config = format!(
            "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\nSUSHY_EMULATOR_FAKE_DRIVER = \
             True\nSUSHY_EMULATOR_STATE_DIR = '{0}'\nSUSHY_EMULATOR_AUTH_FILE = '{0}/users'\n",
            at.display()
        );
        fs::write(at.join("config.py"), config).unwrap();
        let mut command = Command::new(sushy().join("bin/sushy-emulator"));
        command.arg("--config").arg(at.join("config.py")).env("TMPDIR", &at);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().unwrap());
        wait("sushy-emulator listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _process: process, _folder: folder, port }
    }
}

/// Where `sushy-tools` is: installed once, from the registry that pip is set up for, when its hash is the known one. Debian
/// has what it needs, and not itself.
fn sushy() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sushy-tools-2.2.0");
    if place.join("done").exists() {
        return place;
    }
    // Tests run as processes side by side: each makes its own, and the first to be done is taken.
    let own = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let venv = own.path().join("venv");
    fs::write(own.path().join("wanted"), SUSHY).unwrap();
    let run = |command: &mut Command| {
        let done = command.stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    // Debian's own, whose packages it is to see.
    run(Command::new("/usr/bin/python3").args(["-m", "venv", "--system-site-packages"]).arg(&venv));
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r"];
    run(Command::new(venv.join("bin/python")).args(pip).arg(own.path().join("wanted")));
    fs::write(venv.join("done"), "").unwrap();
    // Its scripts name the folder they were made in: it stays, under a name that all find.
    let kept = own.keep().join("venv");
    let _ = std::os::unix::fs::symlink(&kept, &place);
    kept
}

/// The bound is only there so that a hang is a failure with a name.
fn wait(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}
