//! IPMI 2.0 over RMCP+, by FreeIPMI's `ipmi-raw`: bytes that are made here go in, bytes come out and are read here.
//!
//! A program and not a crate: `ipmi-rs`, the one kept crate, has cipher suite 3 only, no chassis commands, and would bring
//! fifteen packages of ciphers. `ipmitool` says the same of a wrong password, a wrong user and a controller that is not
//! there, so that one could not stop after one wrong password; FreeIPMI names each. The password goes to its standard
//! input as a configuration, never into its arguments or a file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fleet::power::{Account, Act, Device, Fault, Finding, Observed, Word};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{Reach, Secret, finding};

/// The program.
const PROGRAM: &str = "ipmi-raw";
/// Where Debian has it; nothing is looked for elsewhere.
const FOLDERS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Milliseconds until FreeIPMI gives a controller up, and until it sends a packet again.
const SESSION_MS: u32 = 10_000;
const AGAIN_MS: u32 = 1_500;
/// What the program may take, with its own time-out inside.
const PATIENCE: Duration = Duration::from_secs(14);
/// More it never has to say, in bytes.
const MOST: u64 = 16 << 10;

/// A management controller.
#[derive(Debug)]
pub struct Ipmi {
    account: Account,
    secret: Secret,
    /// Its server boots with UEFI.
    uefi: bool,
    program: PathBuf,
}

/// A cipher suite (IPMI 2.0, table 22-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suite {
    /// 17: HMAC-SHA256, AES-128.
    Sha256,
    /// 3: HMAC-SHA1, AES-128; what every controller has.
    Sha1,
    /// 0: no password is asked, nothing is hidden. Only ever tried to find out that it is open.
    Open,
}

impl Suite {
    fn number(self) -> &'static str {
        match self {
            Suite::Sha256 => "17",
            Suite::Sha1 => "3",
            Suite::Open => "0",
        }
    }
}

/// What one run of the program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Completion code and data.
    Bytes(u8, Vec<u8>),
    /// The controller has not this cipher suite.
    NoSuite,
    /// A fault.
    Fault(Fault),
}

/// Reads what the program printed. Everything that is not exactly what it prints is a fault.
pub fn read(command: u8, out: &str, err: &str) -> Said {
    if let Some(line) = out.strip_prefix("rcvd: ") {
        let lost = || Said::Fault(Fault::Lost("ipmi-raw printed something unknown".to_owned()));
        let words = line.trim_end().split(' ');
        let digits = |word: &str| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = |word: &str| digits(word).then(|| u8::from_str_radix(word, 16).ok()).flatten();
        let Some(bytes) = words.map(byte).collect::<Option<Vec<_>>>() else { return lost() };
        return match bytes.as_slice() {
            [echoed, code, data @ ..] if *echoed == command => Said::Bytes(*code, data.to_vec()),
            _ => lost(),
        };
    }
    let said = err.lines().chain(out.lines()).find(|line| !line.trim().is_empty()).unwrap_or_default();
    let reason = said.rsplit(": ").next().unwrap_or_default().trim();
    let shown = reason.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(100).collect::<String>();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // The texts of FreeIPMI's ipmi_ctx_strerror.
    if has(&["cipher suite id unavailable", "internal IPMI error"]) {
        Said::NoSuite
    } else if has(&["password invalid", "username invalid", "k_g invalid", "password verification timeout"]) {
        Said::Fault(Fault::Login(format!("it does not take this user and password ({shown})")))
    } else if has(&["privilege level"]) {
        Said::Fault(Fault::Login(format!(
            "its user may not use power: give it the privilege OPERATOR ({shown})"
        )))
    } else if has(&["connection timeout", "could not find", "unreachable", "hostname"]) {
        Said::Fault(Fault::Unreachable(format!("it does not answer IPMI ({shown})")))
    } else if has(&["BMC busy", "node busy", "insufficient resources", "out of memory"]) {
        Said::Fault(Fault::Busy(format!("it is busy, or has no session left ({shown})")))
    } else {
        Said::Fault(Fault::Lost(format!("it gave no answer ({shown})")))
    }
}

/// What a completion code means (IPMI 2.0, table 5-2).
fn completed(code: u8) -> Result<(), Fault> {
    match code {
        0x00 => Ok(()),
        0xC0 | 0xC3 | 0xC4 | 0xCF | 0xD0..=0xD2 => {
            Err(Fault::Busy(format!("it says that it can't now (0x{code:02X})")))
        }
        0xD4 => {
            Err(Fault::Login("its user may not use power: give it the privilege OPERATOR (0xD4)".to_owned()))
        }
        0xD5 => Err(Fault::Refused("it says that this can't be done in its present state (0xD5)".to_owned())),
        other => Err(Fault::Refused(format!("it will not do that (0x{other:02X})"))),
    }
}

/// The power bit of a chassis status (IPMI 2.0, 28.2).
fn state(data: &[u8]) -> Observed {
    match data {
        [current, _, _, ..] if current & 1 == 1 => Observed::On,
        [_, _, _, ..] => Observed::Off,
        _ => Observed::Unknown,
    }
}

/// The requests of an act, network function chassis; the last one counts.
fn requests(act: Act, uefi: bool) -> Vec<Vec<u8>> {
    match act {
        Act::Status | Act::Test | Act::Wake => vec![vec![0x01]],
        Act::HardOff => vec![vec![0x02, 0x00]],
        Act::On => vec![vec![0x02, 0x01]],
        Act::Cycle => vec![vec![0x02, 0x02]],
        Act::SoftOff => vec![vec![0x02, 0x05]],
        Act::Boot { device } => {
            let device = match device {
                Device::Pxe => 0x04,
                Device::Disk => 0x08,
                Device::Bios => 0x18,
            };
            // Valid, for one boot; and of the kind it boots with anyway, else some change that for good.
            let valid = if uefi { 0xA0 } else { 0x80 };
            // First: it shall not be forgotten when the server is not cycled within a minute.
            vec![vec![0x08, 0x03, 0x08], vec![0x08, 0x05, valid, device, 0x00, 0x00, 0x00]]
        }
    }
}

impl Ipmi {
    /// With this account.
    pub fn new(account: Account, secret: Secret, uefi: bool) -> Self {
        Self { account, secret, uefi, program: PathBuf::from(PROGRAM) }
    }

    /// The same, by a program of another name: for tests.
    #[must_use]
    pub fn by(self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    async fn run(&self, suite: Suite, secret: &Secret, bytes: &[u8]) -> Said {
        let unreachable = |why: String| Said::Fault(Fault::Unreachable(why));
        let (Some(address), Some(user)) = (&self.account.address, &self.account.user) else {
            return unreachable("it has no address".to_owned());
        };
        let mut command = Command::new(&self.program);
        command.arg("--config-file=/dev/stdin").arg(format!("--hostname={address}"));
        command.args([
            "--driver-type=LAN_2_0",
            "--privilege-level=OPERATOR",
            "--workaround-flags=opensesspriv",
        ]);
        command.arg(format!("--cipher-suite-id={}", suite.number()));
        command
            .arg(format!("--session-timeout={SESSION_MS}"))
            .arg(format!("--retransmission-timeout={AGAIN_MS}"));
        command.args(["0", "0x00"]).args(bytes.iter().map(|byte| format!("0x{byte:02x}")));
        command.env_clear().env("PATH", FOLDERS).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // It takes # for a comment, even inside quotes.
        let password = secret.reveal().replace('#', "\\#");
        let config = format!("username \"{}\"\npassword \"{password}\"\n", user.as_str());
        match tokio::time::timeout(PATIENCE, exchange(command, &config)).await {
            Ok(Ok((out, err))) => read(bytes.first().copied().unwrap_or_default(), &out, &err),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => unreachable(format!(
                "{} is not installed on the controller: apt-get install freeipmi-tools",
                self.program.display()
            )),
            Ok(Err(error)) => unreachable(format!("{} could not be run: {error}", self.program.display())),
            Err(_) => Said::Fault(Fault::Lost(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// With the best suite that the controller has.
    async fn ask(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        for suite in [Suite::Sha256, Suite::Sha1] {
            match self.run(suite, &self.secret, bytes).await {
                Said::NoSuite => {}
                Said::Fault(fault) => return Err(fault),
                Said::Bytes(code, data) => return completed(code).map(|()| data),
            }
        }
        Err(Fault::Refused("it has neither of the cipher suites 17 and 3: update its firmware".to_owned()))
    }

    async fn carry_out(&self, act: Act) -> Result<Word, Fault> {
        if act == Act::Test {
            return self.test().await;
        }
        let mut last = Vec::new();
        let all = requests(act, self.uefi);
        for (at, bytes) in all.iter().enumerate() {
            match self.ask(bytes).await {
                Ok(data) => last = data,
                // What only prepares may be unknown to it.
                Err(Fault::Refused(_)) if at + 1 < all.len() => {}
                Err(fault) => return Err(fault),
            }
        }
        let state = if act == Act::Status { state(&last) } else { Observed::Unknown };
        Ok(Word { state, ..Word::default() })
    }

    async fn test(&self) -> Result<Word, Fault> {
        let data = self.ask(&[0x01]).await?;
        let state = state(&data);
        let mut findings = vec![
            finding("reachable", Some(true), "it answers IPMI 2.0"),
            finding("login", Some(true), "it takes the user and the password"),
            finding(
                "power",
                (state != Observed::Unknown).then_some(true),
                format!("it says {}", state.word()),
            ),
        ];
        findings.push(self.open_suite().await);
        findings.extend(super::factory(&self.account, &self.secret));
        Ok(Word { state, pin: None, findings })
    }

    /// Whether anybody may do anything without a password (CVE-2013-4782).
    async fn open_suite(&self) -> Finding {
        let Ok(wrong) = Secret::new(self.account.kind, "not the password".to_owned()) else {
            return finding("cipher0", None, "not tried");
        };
        match self.run(Suite::Open, &wrong, &[0x01]).await {
            Said::Bytes(0, _) => finding(
                "cipher0",
                Some(false),
                "cipher suite 0 is open: everybody who reaches it may do everything without a password; switch it off \
                 (ipmitool lan set 1 cipher_privs XXXaXXXXXXXXXXX on the server) and use Redfish if it can",
            ),
            Said::NoSuite | Said::Fault(Fault::Login(_) | Fault::Refused(_)) => {
                finding("cipher0", Some(true), "cipher suite 0 is closed")
            }
            Said::Bytes(..) | Said::Fault(_) => {
                finding("cipher0", Some(true), "cipher suite 0 gives no answer")
            }
        }
    }
}

impl Reach for Ipmi {
    fn ask(&self, act: Act) -> BoxFuture<'_, Result<Word, Fault>> {
        Box::pin(self.carry_out(act))
    }
}

/// Runs the program to its end; what it printed.
async fn exchange(mut command: Command, config: &str) -> std::io::Result<(String, String)> {
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // It may end before it has read all.
        drop(input.write_all(config.as_bytes()).await);
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        if let Some(stdout) = stdout {
            stdout.take(MOST).read_to_end(&mut out).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let complaining = async {
        if let Some(stderr) = stderr {
            stderr.take(MOST).read_to_end(&mut err).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::try_join!(reading, complaining)?;
    child.wait().await?;
    Ok((String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_prints_is_read_strictly() {
        assert_eq!(read(1, "rcvd: 01 00 21 00 40 \n", ""), Said::Bytes(0, vec![0x21, 0, 0x40]));
        assert_eq!(read(2, "rcvd: 02 D5 \n", ""), Said::Bytes(0xD5, Vec::new()));
        for out in [
            "rcvd: ",
            "rcvd: 01",
            "rcvd: 02 00",
            "rcvd: 1 0",
            "rcvd: 01 00 zz",
            "rcvd: 01 00 +1",
            "rcvd: 001 00",
            "rcvd: 01 00\nrcvd: 01 00",
            "sent: 01 00",
            "",
            "rcvd:01 00",
            "rcvd: 01  00",
        ] {
            assert!(matches!(read(1, out, ""), Said::Fault(Fault::Lost(_))), "{out:?}");
        }
        type Is = fn(&Said) -> bool;
        let login: Is = |said| matches!(said, Said::Fault(Fault::Login(_)));
        let unreachable: Is = |said| matches!(said, Said::Fault(Fault::Unreachable(_)));
        let busy: Is = |said| matches!(said, Said::Fault(Fault::Busy(_)));
        let lost: Is = |said| matches!(said, Said::Fault(Fault::Lost(_)));
        let table: [(&str, Is); 9] = [
            ("ipmi_ctx_open_outofband_2_0: password invalid\n", login),
            ("ipmi-raw: username invalid\n", login),
            ("ipmi-raw: privilege level insufficient\n", login),
            ("ipmi-raw: connection timeout\n", unreachable),
            ("ipmi-raw: BMC busy\n", busy),
            ("ipmi-raw: session timeout\n", lost),
            ("", lost),
            ("\u{1b}[2J", lost),
            ("ipmi-raw: cipher suite id unavailable\n", |said| *said == Said::NoSuite),
        ];
        for (err, is) in table {
            assert!(is(&read(1, "", err)), "{err:?}: {:?}", read(1, "", err));
        }
        assert_eq!(state(&[1]), Observed::Unknown);
        assert_eq!(state(&[0x60, 0, 0]), Observed::Off);
    }
}
