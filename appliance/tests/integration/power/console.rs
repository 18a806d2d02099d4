//! The serial console: the command line on a real terminal, the daemon, a real emulator, and a server behind it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;

use super::emulators::{IPMI_PASSWORD, IpmiSim, PASSWORD, Server, Sushy};
use super::front::Front;
use super::whole::{Clock, no_canary, power, set};
use crate::controller::Controller;
use crate::journey::approved;
use crate::operator::{self, rackwright};

/// Somebody at a terminal who has run the program there.
struct Person {
    child: Child,
    ours: std::fs::File,
    theirs: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    before: String,
}

impl Person {
    fn runs(socket: &Path, words: &str) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let before = modes(&theirs);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackwright"));
        command.arg("--socket").arg(socket).args(words.split_whitespace());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let ours = std::fs::File::from(ours);
        let (mut screen, seen) = (ours.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let shown = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                shown.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { child, ours, theirs, seen, before }
    }

    fn types(&mut self, bytes: &[u8]) {
        self.ours.write_all(bytes).unwrap();
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    async fn sees(&self, text: &str) {
        let begun = Instant::now();
        while !self.screen().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(90), "{text:?} is not seen in {:?}", self.screen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The code that it ends with; the terminal is as it was.
    async fn ends(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "it never ends: {:?}", self.screen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(modes(&self.theirs), self.before, "the terminal is not what it was");
        tokio::time::sleep(Duration::from_millis(200)).await;
        (status.code(), self.screen())
    }

    fn is_raw(&self) -> bool {
        modes(&self.theirs) != self.before
    }
}

fn modes(terminal: &OwnedFd) -> String {
    let now = tcgetattr(terminal).unwrap();
    format!("{:?} {:?} {:?}", now.input_modes, now.output_modes, now.local_modes)
}

/// A node that is reached by this emulator.
async fn node(controller: &Controller, port: u16) -> crate::agent::Agent {
    let agent = approved(controller, 1, "control").await;
    let given = set(controller, "ipmi", port, IPMI_PASSWORD).await;
    assert_eq!(given.code, Some(0), "{given:?}");
    agent
}

async fn closes(controller: &Controller) {
    controller.until(|all| all.core.world().fleet.powers.values().all(|power| power.console.is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_types_at_a_server_while_another_looks_and_a_third_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let clock = Clock::of(&controller);
    let server = Server::start();
    let sim = IpmiSim::before(&server);
    let agent = node(&controller, sim.port).await;
    let socket = controller.socket();
    let mut first = Person::runs(&socket, "node console n1");
    first.sees("Ctrl-] q leaves").await;
    controller.until(|_| first.is_raw()).await;
    // Every key is the server's: the interrupt, the program's own escape, what no terminal would pass on.
    for keys in [&b"one"[..], b"\x03", b"a&&.b&.", b"\x1d\x1d", b"\x11\x13"] {
        first.types(keys);
        let wanted = if keys == b"\x1d\x1d" { &b"\x1d"[..] } else { keys };
        controller.until(|_| server.heard(wanted)).await;
    }
    first.sees("<one>").await;
    // Power is asked meanwhile.
    let status = rackwright(&controller, "node power status n1").await;
    assert!(
        status.out.contains("it says      off") && status.out.contains("console      root since"),
        "{status:?}"
    );
    // Another finds out who has it, and reads along, from the beginning.
    let second = Person::runs(&socket, "node console n1");
    let (code, screen) = second.ends().await;
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains("root has the console of n1 since") && screen.contains("--take"), "{screen}");
    let log = Log::of(&socket);
    // The third takes it: the first is told, and its terminal is its own again.
    let mut third = Person::runs(&socket, "node console n1 --take");
    third.sees("<one>").await;
    let (code, screen) = first.ends().await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("root has taken the console"), "{screen}");
    third.types(b"three");
    third.sees("<three>").await;
    server.says("\x1b[2Jkernel panic\r\n");
    third.sees("\x1b[2Jkernel panic").await;
    third.types(b"\x1dq");
    let (code, screen) = third.ends().await;
    assert_eq!(code, Some(0), "{screen}");
    // The reader keeps it open.
    server.says("later\r\n");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let text = log.ends();
    assert!(text.contains("<one>") && text.contains("kernel panic\r\nlater"), "{text:?}");
    closes(&controller).await;
    let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap().to_string();
    for part in
        ["nodes/n1/console", r#""console":{"before":"root","by":"root","open":true}"#, r#""open":false"#]
    {
        assert!(journal.contains(part), "{part}: {journal}");
    }
    no_canary(&controller, &[&status]).await;
    drop(agent);
    clock.stop().await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_wrong_password_no_console_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let server = Server::start();
    let sim = IpmiSim::before(&server);
    let agent = node(&controller, sim.port).await;
    set(&controller, "ipmi", sim.port, "canary-wrong").await;
    let (code, screen) = Person::runs(&controller.socket(), "node console n1").ends().await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("does not take this user and password"), "{screen}");
    let (code, screen) = Person::runs(&controller.socket(), "node console n1").ends().await;
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains("bmc set n1") && !screen.contains("canary"), "{screen}");
    assert!(power(&controller).await["locked"].is_string());
    drop(agent);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_put_back_whatever_ends_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let server = Server::start();
    let sim = IpmiSim::before(&server);
    let agent = node(&controller, sim.port).await;
    // A signal.
    let mut person = Person::runs(&controller.socket(), "node console n1");
    person.sees("Ctrl-] q leaves").await;
    controller.until(|_| person.is_raw()).await;
    // The emulator takes the first packet of the next session for this one, when there was only one.
    for keys in [&b"x1"[..], b"x2"] {
        person.types(keys);
        controller.until(|_| server.heard(keys)).await;
    }
    let told = Command::new("kill").arg("-TERM").arg(person.child.id().to_string()).status().unwrap();
    assert!(told.success());
    let (code, screen) = person.ends().await;
    assert_eq!(code, Some(143), "{screen}");
    closes(&controller).await;
    // A daemon that is killed: the kernel closes the connection.
    let between = Between::before(controller.socket());
    let person = Person::runs(&between.socket, "node console n1 --take");
    person.sees("Ctrl-] q leaves").await;
    controller.until(|_| person.is_raw()).await;
    between.dies();
    let (code, screen) = person.ends().await;
    assert_eq!(code, Some(6), "{screen}");
    assert!(screen.contains("hung up"), "{screen}");
    closes(&controller).await;
    // A management controller that dies.
    let person = Person::runs(&controller.socket(), "node console n1 --take");
    person.sees("Ctrl-] q leaves").await;
    controller.until(|_| person.is_raw()).await;
    sim.freeze();
    let (code, screen) = person.ends().await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("does not answer any more"), "{screen}");
    closes(&controller).await;
    drop(agent);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redfish_carries_no_console_and_says_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    let agent = approved(&controller, 1, "control").await;
    let by_hand = rackwright(&controller, "node console n1").await;
    assert_eq!(by_hand.code, Some(4), "{by_hand:?}");
    assert!(by_hand.err.contains("no management controller"), "{by_hand:?}");
    set(&controller, "redfish", front.address.port(), PASSWORD).await;
    let refused = rackwright(&controller, "node console n1").await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("Redfish carries no console") && refused.err.contains("--kind ipmi"),
        "{refused:?}"
    );
    closes(&controller).await;
    drop(agent);
    controller.stop().await;
}

/// Somebody who reads along into a file.
struct Log {
    child: Child,
    read: std::thread::JoinHandle<Vec<u8>>,
}

impl Log {
    fn of(socket: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackwright"));
        command.arg("--socket").arg(socket).args(["node", "console", "n1"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let read = std::thread::spawn(move || {
            let mut text = Vec::new();
            out.read_to_end(&mut text).unwrap();
            text
        });
        Self { child, read }
    }

    /// What it has read, after Ctrl-C.
    fn ends(mut self) -> String {
        let told = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(130));
        String::from_utf8_lossy(&self.read.join().unwrap()).into_owned()
    }
}

/// What passes on to a daemon, and can die.
struct Between {
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Between {
    fn before(daemon: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("between.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::UnixStream::connect(&daemon).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
        Self { socket, task, _folder: folder }
    }

    fn dies(&self) {
        self.task.abort();
    }
}
