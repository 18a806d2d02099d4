//! The SSH server of a rescue (dropbear): on the address that the server booted with, for the keys of the job and nobody else, with
//! a host key that was made in this boot and lies in memory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{HostKey, SshKey};
use ring::digest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Told;
use crate::chain::Chain;
use crate::tool::{self, Staying, ToolError};

const SERVER: &str = "usr/bin/dropbear";
const KEY_MAKER: &str = "usr/bin/dropbearkey";
const PLACE: &str = "run/rackwright-rescue";
const AGAIN: Duration = Duration::from_secs(5);

/// Why there is no SSH server.
#[derive(Debug, thiserror::Error)]
enum SshError {
    /// Its files.
    #[error("writing the SSH server's files")]
    Files(#[from] io::Error),
    /// Its programs.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its key.
    #[error("the SSH host key can't be read back")]
    HostKey,
    /// This machine gave up on its own work.
    #[error("preparing the SSH server")]
    Thread(#[from] tokio::task::JoinError),
}

/// Keeps the server running, and tells by what it is known.
pub(super) async fn keep(
    root: PathBuf,
    address: Ipv4Addr,
    keys: Vec<SshKey>,
    name: String,
    tell: watch::Sender<Told>,
) {
    loop {
        let error = match serve(&root, address, &keys, &name, &tell).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let why = format!("SSH can't be started, the console has a shell: {}", Chain(&error));
        tell.send_modify(|told| (told.host_key, told.ssh) = (None, Some(why)));
        tokio::time::sleep(AGAIN).await;
    }
}

async fn serve(
    root: &Path,
    address: Ipv4Addr,
    keys: &[SshKey],
    name: &str,
    tell: &watch::Sender<Told>,
) -> Result<std::convert::Infallible, SshError> {
    let (at, lines, greeting) = (root.to_owned(), lines(keys), greeting(name));
    let host_key = spawn_blocking(move || prepare(&at, &lines, &greeting)).await??;
    let place = root.join(PLACE);
    let file = |name: &str| place.join(name).display().to_string();
    let (port, key, pid, banner) = (format!("{address}:22"), file("host_key"), file("pid"), file("banner"));
    // In the foreground, says what it does; no passwords, no forwarding; a connection that is dead ends in some minutes.
    let args =
        ["-F", "-E", "-s", "-g", "-j", "-k", "-K", "60", "-T", "3", "-b", &banner, "-r", &key, "-P", &pid];
    let server = Staying::start(&root.join(SERVER), &[&args[..], &["-p", &port]].concat())?;
    let known = async {
        // One that can't have its port ends at once.
        tokio::time::sleep(Duration::from_millis(500)).await;
        tell.send_modify(|told| (told.host_key, told.ssh) = (Some(host_key), None));
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = server.end(&[]) => ended,
        () = known => Ok(0),
    };
    match ended {
        Err(error) => Err(error.into()),
        Ok(_) => Err(io::Error::other("it has ended").into()),
    }
}

/// One line for each key, with nothing that an `authorized_keys` file could say beside it.
fn lines(keys: &[SshKey]) -> String {
    keys.iter().map(|key| key.line() + "\n").collect()
}

/// What is shown before the login.
pub(super) fn greeting(name: &str) -> String {
    let name = crate::text::name(name);
    format!(
        "{name} in rescue. Its own system is not running.\n\
         Every disk refuses writes, also what turns up later. To change one, and the volumes on it:\n\
         \x20   blockdev --setrw /dev/NAME\n\
         To look without changing anything: mount -o ro /dev/NAME /mnt (ext4, xfs: -o ro,norecovery)\n\
         When you are done, unmount, and on the controller: rackwright node rescue {name} --end\n"
    )
}

/// Writes everything, and makes the host key where this boot has none yet.
fn prepare(root: &Path, lines: &str, greeting: &str) -> Result<HostKey, SshError> {
    let place = root.join(PLACE);
    folder(&place, 0o700)?;
    end_older(root, &place.join("pid"));
    let key = place.join("host_key");
    let path = key.display().to_string();
    let maker = root.join(KEY_MAKER).display().to_string();
    if !key.exists() {
        tool::run(&maker, &["-t", "ed25519", "-f", &path])?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    }
    let public = tool::run(&maker, &["-y", "-f", &path])?;
    let home = root.join("root");
    folder(&home.join(".ssh"), 0o700)?;
    write(&home.join(".ssh/authorized_keys"), lines)?;
    write(&place.join("banner"), greeting)?;
    let public = String::from_utf8_lossy(&public);
    fingerprint(&public).ok_or(SshError::HostKey)
}

/// The fingerprint of the public key that is among these lines.
fn fingerprint(text: &str) -> Option<HostKey> {
    let key = text.lines().find_map(|line| line.parse::<SshKey>().ok())?;
    let hash = digest::digest(&digest::SHA256, key.blob());
    Some(HostKey::of(hash.as_ref().try_into().ok()?))
}

fn folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Whole or not at all, and for nobody else to read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

/// An agent that was started again in the same boot finds the server of the one before it, with the keys of then.
fn end_older(root: &Path, pid: &Path) {
    let number = fs::read_to_string(pid).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let Some(number) = number.filter(|number| *number > 1) else { return };
    let name = fs::read_to_string(root.join(format!("proc/{number}/comm"))).unwrap_or_default();
    if let (Some(pid), "dropbear") = (Pid::from_raw(number), name.trim()) {
        // One that is gone is what is wanted.
        let _gone = kill_process(pid, Signal::TERM);
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, greeting, lines};

    #[test]
    fn the_fingerprint_is_that_of_ssh() {
        // ssh-keygen -l -f on this key prints it so.
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko root@x";
        let text = format!("Public key portion is:\n{line}\nFingerprint: SHA256:nonsense\n");
        assert_eq!(
            fingerprint(&text).unwrap().to_string(),
            "SHA256:s++AKOsVM2ZY/A3laPyd9GW8J2/M5FvDUT5ZhSJrGwA"
        );
        assert_eq!(fingerprint("Public key portion is:\n"), None);
        let key: protocol::SshKey = line.parse().unwrap();
        let words = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert_eq!(lines(&[key.clone(), key]), format!("{words}\n{words}\n"));
    }

    #[test]
    fn a_name_is_no_escape_sequence() {
        assert!(!greeting("n1\u{1b}[2J").contains('\u{1b}'));
    }
}
