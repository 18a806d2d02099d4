//! Serial over LAN (IPMI 2.0, chapter 15), by FreeIPMI's `ipmiconsole`: its bytes are those of the server's serial line.
//!
//! A program for the same reasons as in `ipmi`: it tells a wrong password from a controller that is not there, and knows cipher suite
//! 17. It wants a terminal to type at, so it has one, a pseudoterminal that is raw before it begins. The password goes to it as a
//! configuration through a pipe: the shell that is replaced by it only moves that pipe from standard input to descriptor 3.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use fleet::power::{Account, Fault};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::Secret;

/// The program.
const PROGRAM: &str = "ipmiconsole";
/// Where Debian has it.
const FOLDERS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Moves the configuration out of the terminal's way, and becomes the program.
const BECOME: &str = "exec \"$0\" \"$@\" 3<&0 0<&1";
/// Milliseconds without any answer after which the controller is given up; it must be more than the 20 s between two signs of life
/// that the program asks for.
const SESSION_MS: u32 = 25_000;
const AGAIN_MS: u32 = 1_500;
/// What controllers get wrong, and nothing is lost by not asking: the privilege in the first packet, whether the channel has this
/// payload (`ipmi_sim` dies of that), sizes and ports that are not so.
const WORKAROUNDS: &str = "opensesspriv,solchannelsupport,solpayloadsize,solport";
/// What it may take to be let in.
const PATIENCE: Duration = Duration::from_secs(40);
/// What it says once it is.
const READY: &str = "[SOL established]\r\n";
/// Its escape character: doubled, it stands for itself.
const ESCAPE: u8 = b'&';
/// More it never has to say before it is let in, and at its end, in bytes.
const MOST: usize = 512;

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The controller has not this cipher suite, or gives an answer that says nothing.
    NoSuite,
    /// A fault.
    Fault(Fault),
}

/// Reads what the program printed instead of opening the line; `best`: with the best cipher suite, which many have not.
pub fn read(text: &str, best: bool) -> Refusal {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let reason = line.rsplit("]: ").next().unwrap_or_default();
    let shown = reason.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(100).collect::<String>();
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    // The texts of libipmiconsole's ipmiconsole_ctx_strerror.
    Refusal::Fault(if has(&["cipher suite id unavailable"]) || (best && has(&["BMC Error"])) {
        return Refusal::NoSuite;
    } else if has(&["password invalid", "username invalid", "k_g invalid", "password verification timeout"]) {
        Fault::Login(format!("it does not take this user and password ({shown})"))
    } else if has(&["privilege level"]) {
        Fault::Login(format!("its user may not open a console: give it the privilege OPERATOR ({shown})"))
    } else if has(&["SOL in use"]) {
        Fault::Busy(
            "somebody has its serial line, not through this controller, or a console of it that was cut off: take it \
             (--take)"
                .to_owned(),
        )
    } else if has(&["SOL unavailable"]) {
        Fault::Refused(format!(
            "its serial over LAN is switched off, or not for this user: switch it on in its set-up ({shown})"
        ))
    } else if has(&["BMC Busy", "out of memory", "too many open files"]) {
        Fault::Busy(format!("it is busy, or has no session left ({shown})"))
    } else if has(&["connection timeout", "session timeout", "hostname invalid", "excess retransmissions"]) {
        Fault::Unreachable(format!("it does not answer IPMI ({shown})"))
    } else if has(&["ipmi 2.0 unavailable", "IPMI 2.0 unavailable", "SOL requires"]) {
        Fault::Refused(format!("it has no serial over LAN that can be used ({shown})"))
    } else if has(&["not found"]) {
        Fault::Unreachable(format!(
            "{PROGRAM} is not installed on the controller: apt-get install freeipmi-tools"
        ))
    } else {
        Fault::Lost(format!("it did not open the line ({shown})"))
    })
}

/// Why a line that was open ended, by the last words of the program. The server could have said the same: they are believed of
/// nothing but the reason.
pub fn ended(last: &str) -> Fault {
    if last.contains("[SOL session stolen]") {
        Fault::Busy("somebody else has taken its serial line, not through this controller".to_owned())
    } else if last.contains("timeout") || last.contains("excess") {
        Fault::Unreachable("its management controller does not answer any more".to_owned())
    } else {
        Fault::Lost("its management controller has closed the line".to_owned())
    }
}

/// An open line.
#[derive(Debug)]
pub struct Sol {
    /// What the server says.
    pub said: Said,
    /// What is typed at it.
    pub typed: Typed,
    /// What it has said already.
    pub first: Vec<u8>,
    _child: Child,
}

/// What the server says. A terminal is read by a thread: what waits for files without blocking takes none that is safe.
#[derive(Debug)]
pub struct Said {
    pieces: mpsc::Receiver<Vec<u8>>,
}

/// What is typed at the server, the same way.
#[derive(Debug)]
pub struct Typed {
    pieces: mpsc::Sender<Vec<u8>>,
}

impl Said {
    /// A piece of it; none at the end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }
}

impl Typed {
    /// Takes it when there is room.
    ///
    /// # Errors
    /// The program is gone.
    pub async fn send(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.pieces.send(bytes).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Both ends of a terminal, each with a thread that ends when the program does.
fn threads(terminal: OwnedFd) -> io::Result<(Said, Typed)> {
    let (mut reads, mut writes) = (File::from(terminal.try_clone()?), File::from(terminal));
    let ((told, said), (typed, mut typing)) = (mpsc::channel(16), mpsc::channel::<Vec<u8>>(16));
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    thread("console out").spawn(move || {
        let mut piece = [0; 4096];
        // When nobody is at the other end of the terminal any more, it says EIO (pty(7)).
        while let Ok(length @ 1..) = reads.read(&mut piece) {
            let piece = piece.get(..length).unwrap_or_default().to_vec();
            if told.blocking_send(piece).is_err() {
                return;
            }
        }
    })?;
    thread("console in").spawn(move || {
        while let Some(bytes) = typing.blocking_recv() {
            if writes.write_all(&bytes).is_err() {
                return;
            }
        }
    })?;
    Ok((Said { pieces: said }, Typed { pieces: typed }))
}

impl Sol {
    /// Opens the line, with the best cipher suite that the controller has; `take`: also from somebody who has it.
    ///
    /// # Errors
    /// [`Fault`]; after [`Fault::Login`] nothing was tried a second time.
    pub async fn open(account: &Account, secret: &Secret, take: bool) -> Result<Sol, Fault> {
        for (suite, best) in [("17", true), ("3", false)] {
            let opening = tokio::time::timeout(PATIENCE, Self::attempt(account, secret, suite, take));
            let Ok(opened) = opening.await else {
                return Err(Fault::Lost(format!("the line was not open within {} s", PATIENCE.as_secs())));
            };
            match opened
                .map_err(|error| Fault::Unreachable(format!("{PROGRAM} could not be run: {error}")))?
            {
                Ok(sol) => return Ok(sol),
                Err(text) => match read(&text, best) {
                    Refusal::NoSuite => {}
                    Refusal::Fault(fault) => return Err(fault),
                },
            }
        }
        Err(Fault::Refused("it has neither of the cipher suites 17 and 3: update its firmware".to_owned()))
    }

    /// The line, or what the program said instead.
    async fn attempt(
        account: &Account,
        secret: &Secret,
        suite: &str,
        take: bool,
    ) -> io::Result<Result<Sol, String>> {
        let (Some(address), Some(user)) = (&account.address, &account.user) else {
            return Err(io::Error::other("there is no address"));
        };
        let (terminal, theirs) = terminal()?;
        let mut command = Command::new("sh");
        command.args(["-c", BECOME, PROGRAM, "--config-file=/dev/fd/3"]);
        command.arg(format!("--hostname={address}")).arg(format!("--cipher-suite-id={suite}"));
        command.args(["--privilege-level=OPERATOR"]).arg(format!("--workaround-flags={WORKAROUNDS}"));
        command.arg(format!("--session-timeout={SESSION_MS}"));
        command.arg(format!("--retransmission-timeout={AGAIN_MS}"));
        command.arg(format!("--escape-char={}", char::from(ESCAPE)));
        if !take {
            command.arg("--dont-steal");
        }
        command.env_clear().env("PATH", FOLDERS).env("LC_ALL", "C").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(theirs.try_clone()?).stderr(theirs);
        let mut child = command.spawn()?;
        // It has copies of our end of the terminal as long as it is there.
        drop(command);
        if let Some(mut input) = child.stdin.take() {
            // It takes # for a comment, even inside quotes.
            let password = secret.reveal().replace('#', "\\#");
            let config = format!("username \"{}\"\npassword \"{password}\"\n", user.as_str());
            drop(input.write_all(config.as_bytes()).await);
        }
        let (mut said, typed) = threads(terminal)?;
        let mut text = Vec::new();
        while text.len() < MOST {
            let Some(piece) = said.next().await else { break };
            text.extend_from_slice(&piece);
            if let Some(at) = text.windows(READY.len()).position(|window| window == READY.as_bytes()) {
                // What follows is the server's.
                let rest = text.split_off(at + READY.len());
                return Ok(Ok(Sol { said, typed, first: rest, _child: child }));
            }
        }
        Ok(Err(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// What is typed, as the program wants it.
pub fn typed(bytes: &[u8]) -> Vec<u8> {
    let twice = |byte: &u8| std::iter::repeat_n(*byte, if *byte == ESCAPE { 2 } else { 1 });
    bytes.iter().flat_map(twice).collect()
}

/// What makes the program send a serial break.
pub const BREAK: [u8; 2] = [ESCAPE, b'B'];
/// What makes it give the line back and end.
pub const CLOSE: [u8; 2] = [ESCAPE, b'.'];

/// A raw pseudoterminal: our end, and the program's.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut raw = tcgetattr(&theirs)?;
    raw.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &raw)?;
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_is_told_apart() {
        type Is = fn(&Refusal) -> bool;
        let login: Is = |said| matches!(said, Refusal::Fault(Fault::Login(_)));
        let busy: Is = |said| matches!(said, Refusal::Fault(Fault::Busy(_)));
        let unreachable: Is = |said| matches!(said, Refusal::Fault(Fault::Unreachable(_)));
        let refused: Is = |said| matches!(said, Refusal::Fault(Fault::Refused(_)));
        let lost: Is = |said| matches!(said, Refusal::Fault(Fault::Lost(_)));
        let table: [(&str, Is); 11] = [
            ("[error received]: password invalid\n", login),
            ("[error received]: privilege level cannot be obtained for this user\n", login),
            ("[error received]: SOL in use\n", busy),
            ("[error received]: BMC Busy\n", busy),
            ("[error received]: SOL unavailable\n", refused),
            ("[error received]: connection timeout\n", unreachable),
            ("sh: 1: exec: ipmiconsole: not found\n", unreachable),
            ("[error received]: cipher suite id unavailable\n", |said| *said == Refusal::NoSuite),
            ("ipmiconsole_ctx_create: Invalid argument\r\n", lost),
            ("\u{1b}[2J", lost),
            ("", lost),
        ];
        for (text, is) in table {
            assert!(is(&read(text, false)), "{text:?}: {:?}", read(text, false));
        }
        assert_eq!(read("[error received]: BMC Error\n", true), Refusal::NoSuite);
        assert!(lost(&read("[error received]: BMC Error\n", false)));
        assert!(matches!(
            ended("\r\n[SOL session stolen]\r\n\r\n[closing the connection]\r\n"),
            Fault::Busy(_)
        ));
        assert!(matches!(ended("\r\n[error received]: session timeout\r\n"), Fault::Unreachable(_)));
        assert!(matches!(ended("$ "), Fault::Lost(_)));
    }

    #[test]
    fn the_programs_own_escape_is_the_servers_too() {
        assert_eq!(typed(b"a && b &."), b"a &&&& b &&.");
        assert_eq!(typed(b"\x03\x1d\0"), b"\x03\x1d\0");
    }
}
