//! Whether a server can be adopted: looked at before anything is put there.

use std::path::Path;

use crate::inventory::read;
use crate::serve::adoption;

/// The oldest Debian whose systemd does what the agent asks of it.
const OLDEST: u32 = 12;
/// What must be free where the agent and its state go, in bytes.
const ROOM: u64 = 64 << 20;
const UNIT: &str = "usr/lib/systemd/system/rackwright-agent.service";

/// Why a server can't be adopted, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Not Debian, or too old.
    #[error(
        "this server runs {0}, and a server is adopted that runs Debian {OLDEST} or later: upgrade it, or let it boot from the network \
         and be installed"
    )]
    System(String),
    /// systemd is not what runs the machine.
    #[error("systemd does not run this machine: install systemd-sysv, restart, and paste the line again")]
    NoSystemd,
    /// Nobody can talk to systemd.
    #[error(
        "there is no system bus, by which the agent asks systemd: apt install dbus, and paste the line again"
    )]
    NoBus,
    /// No room.
    #[error("{place} has {free} MiB free, and {need} MiB are needed: make room, and paste the line again", need = ROOM >> 20)]
    Full {
        /// Where.
        place: &'static str,
        /// How much.
        free: u64,
    },
    /// It is one of this rack's already.
    #[error(
        "this server is the node {name} already, and its agent is here: nothing was done (systemctl status rackwright-agent)"
    )]
    Node {
        /// Its name.
        name: String,
    },
    /// Its system comes from here.
    #[error(
        "this server runs a node image, and its agent came with that: nothing was done (systemctl status rackwright-agent)"
    )]
    Image,
}

/// Looks at everything that it needs.
///
/// # Errors
/// The first thing that is missing.
pub(super) fn fit(root: &Path) -> Result<(), CheckError> {
    system(&read::text(root, "etc/os-release"))?;
    if !root.join("run/systemd/system").is_dir() {
        return Err(CheckError::NoSystemd);
    }
    if !root.join("run/dbus/system_bus_socket").exists() {
        return Err(CheckError::NoBus);
    }
    if root.join(UNIT).exists() {
        return Err(CheckError::Image);
    }
    if let Some(name) = adoption::node(root) {
        return Err(CheckError::Node { name });
    }
    for (place, path) in [("/usr", "usr"), ("/var/lib", "var/lib")] {
        // What does not say how much is free has to show it.
        let Ok(room) = rustix::fs::statvfs(root.join(path)) else { continue };
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < ROOM {
            return Err(CheckError::Full { place, free: free >> 20 });
        }
    }
    Ok(())
}

/// os-release(5). Debian's testing and unstable name no version: they are newer than any that does.
fn system(text: &str) -> Result<(), CheckError> {
    let is_old =
        || value(text, "VERSION_ID").is_some_and(|id| id.parse::<u32>().map_or(true, |id| id < OLDEST));
    if value(text, "ID").as_deref() != Some("debian") || is_old() {
        return Err(CheckError::System(pretty(text)));
    }
    Ok(())
}

/// What the system calls itself.
pub(crate) fn pretty(text: &str) -> String {
    value(text, "PRETTY_NAME")
        .or_else(|| value(text, "ID"))
        .unwrap_or_else(|| "something without a name".to_owned())
}

fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(crate::text::name(line.trim().trim_matches(['"', '\'']))).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{CheckError, fit, pretty, system};

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n";

    #[test]
    fn only_a_debian_that_is_new_enough() {
        for text in
            [DEBIAN, "ID=debian\nVERSION_ID=\"12\"", "ID=debian", "ID=\"debian\"\nVERSION_CODENAME=forky"]
        {
            assert_eq!(system(text), Ok(()), "{text:?}");
        }
        for (text, named) in [
            ("ID=debian\nVERSION_ID=\"11\"\nPRETTY_NAME=\"Debian GNU/Linux 11 (bullseye)\"", "bullseye"),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nPRETTY_NAME='Ubuntu 24.04'", "Ubuntu 24.04"),
            ("ID=debian\nVERSION_ID=\"twelve\"", "debian"),
            ("ID=fedora\nPRETTY_NAME=\u{1b}[2JFedora", "[2JFedora"),
            ("", "without a name"),
        ] {
            let why = system(text).unwrap_err().to_string();
            assert!(why.contains(named) && !why.contains('\u{1b}') && why.contains("Debian 12"), "{why}");
        }
        assert_eq!(pretty(DEBIAN), "Debian GNU/Linux 13 (trixie)");
    }

    #[test]
    fn what_is_missing_is_said_one_after_the_other_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, content: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        assert!(matches!(fit(root.path()), Err(CheckError::System(_))));
        make("etc/os-release", DEBIAN);
        assert_eq!(fit(root.path()), Err(CheckError::NoSystemd));
        std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        let no_bus = fit(root.path()).unwrap_err();
        assert!(no_bus.to_string().contains("apt install dbus"), "{no_bus}");
        make("run/dbus/system_bus_socket", "");
        make("usr/x", "");
        make("var/lib/x", "");
        assert_eq!(fit(root.path()), Ok(()));
        make("var/lib/rackwright-agent/identity.json", "half a file");
        assert_eq!(fit(root.path()), Ok(()), "what is damaged is no node");
        let identity = r#"{"node":"07070707070707070707070707070707","name":"web1","controller":"10.77.0.1:8443","ca":"CA","renew_ms":0}"#;
        make("var/lib/rackwright-agent/identity.json", &identity.replace("CA", &"ab".repeat(32)));
        assert_eq!(fit(root.path()), Ok(()), "not while it has no certificate: the line is pasted again");
        make("var/lib/rackwright-agent/certificate.pem", "a certificate");
        assert_eq!(fit(root.path()), Err(CheckError::Node { name: "web1".to_owned() }));
        make("usr/lib/systemd/system/rackwright-agent.service", "[Unit]");
        assert_eq!(fit(root.path()), Err(CheckError::Image));
    }
}
