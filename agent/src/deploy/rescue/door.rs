//! A shell on a console: somebody presses Enter, and it is theirs until the shell ends. The agent shows nothing there meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::process::Command;

use super::ssh::greeting;
use crate::screen::{Door, Kind};

const AGAIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(250);

/// Opens a shell whenever Enter is pressed there.
pub(super) async fn keep(root: PathBuf, console: Door, name: String) {
    loop {
        match pressed(&console.path).await {
            Ok(()) => {
                // The screen goes on when the shell has ended, or when this is dropped.
                let _theirs = console.theirs();
                let opened = shell(&root, &console, &name).await;
                if opened.is_err() {
                    tokio::time::sleep(AGAIN).await;
                }
            }
            // Nothing to be read from: no terminal, or a line with nobody at the other end.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn open(path: &Path, more: OFlags) -> io::Result<File> {
    // It must not become the terminal of the agent.
    let flags = i32::try_from((OFlags::NOCTTY | more).bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// Waits until a line has come in. It is looked for now and then: a person does not press twice in that time.
async fn pressed(path: &Path) -> io::Result<()> {
    let mut terminal = open(path, OFlags::NONBLOCK)?;
    let mut line = [0; 256];
    loop {
        match terminal.read(&mut line) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                if line.get(..bytes).is_some_and(|line| line.contains(&b'\n')) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error),
        }
    }
}

/// A shell of its own session with this terminal; ends with it, or with what it was called for.
async fn shell(root: &Path, console: &Door, name: &str) -> io::Result<()> {
    let mut terminal = open(&console.path, OFlags::empty())?;
    let (clear, term) = match console.kind {
        // The cursor again, and an empty page.
        Kind::Terminal => ("\x1b[?25h\x1b[2J\x1b[H", "linux"),
        Kind::Serial => ("\r\n", "vt102"),
    };
    let text = greeting(name).replace('\n', "\r\n");
    terminal.write_all(format!("{clear}{text}exit gives the console back.\r\n").as_bytes())?;
    let mut command = Command::new("setsid");
    // It becomes the shell: who is no leader of a group needs no child for a session of its own.
    command.args(["-c", "/bin/sh", "-l"]).env_clear().kill_on_drop(true);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", root.join("root")).env("TERM", term);
    command.env("PS1", "rescue:\\w# ").current_dir(root);
    command.stdin(Stdio::from(terminal.try_clone()?)).stdout(Stdio::from(terminal.try_clone()?));
    command.stderr(Stdio::from(terminal));
    command.status().await.map(drop)
}
