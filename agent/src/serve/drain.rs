//! Before this machine goes down: no virtual machine is killed that nobody has given up.

/// Nothing that is worth keeping runs here when this returns: no virtual machine did, or with `force` each was told to shut down, and
/// killed if it had not after a minute. Without the feature `libvirt` nobody can be told anything: what looks like a virtual machine is
/// left alone, unless `force` says that it may end with the system.
///
/// # Errors
/// What runs, or that it is not known; never with `force`.
#[cfg(not(feature = "libvirt"))]
pub(super) async fn drain(root: &std::path::Path, force: bool) -> Result<(), String> {
    match machines(root) {
        0 => Ok(()),
        _ if force => Ok(()),
        1 => Err("a virtual machine runs (a process of QEMU), and this agent can't shut it down".to_owned()),
        many => Err(format!(
            "{many} virtual machines run (processes of QEMU), and this agent can't shut them down"
        )),
    }
}

/// Processes that are virtual machines, by the names that the kernel has of them (15 letters).
#[cfg(not(feature = "libvirt"))]
fn machines(root: &std::path::Path) -> usize {
    use crate::inventory::read;
    let is_process = |name: &&String| name.bytes().all(|digit| digit.is_ascii_digit());
    let is_machine = |name: &String| {
        let comm = read::text(root, &format!("proc/{name}/comm"));
        comm.starts_with("qemu-system") || comm == "kvm" || comm == "qemu-kvm"
    };
    read::names(root, "proc").iter().filter(is_process).filter(|name| is_machine(name)).count()
}

#[cfg(all(test, not(feature = "libvirt")))]
mod without_libvirt {
    use super::drain;

    #[tokio::test]
    async fn what_looks_like_a_virtual_machine_is_not_killed_unasked() {
        let root = tempfile::tempdir().unwrap();
        let process = |pid: &str, comm: &str| {
            let folder = root.path().join("proc").join(pid);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("comm"), comm).unwrap();
        };
        process("1", "systemd\n");
        process("self", "qemu-system-x86\n");
        assert_eq!(drain(root.path(), false).await, Ok(()));
        process("812", "qemu-system-x86\n");
        assert!(drain(root.path(), false).await.unwrap_err().starts_with("a virtual machine runs"));
        process("813", "kvm\n");
        assert!(drain(root.path(), false).await.unwrap_err().starts_with("2 virtual machines"));
        assert_eq!(drain(root.path(), true).await, Ok(()));
    }
}

#[cfg(feature = "libvirt")]
pub(super) use guests::drain;

#[cfg(feature = "libvirt")]
mod guests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use tokio::time::timeout;
    use virt::connect::Connect;
    use virt::domain::Domain;
    use virt::error::Error;

    use super::super::hypervisor::{SIGN, URI};
    use super::super::voice;
    use crate::text;

    /// How long a guest may take to shut down.
    const SHUTDOWN: Duration = Duration::from_secs(60);
    const LOOK: Duration = Duration::from_secs(1);
    /// A libvirt that has not answered by then, beside what guests may take, does not.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// As the same without libvirt promises.
    pub(in super::super) async fn drain(root: &Path, force: bool) -> Result<(), String> {
        if !root.join(SIGN).exists() {
            return Ok(());
        }
        let work = tokio::task::spawn_blocking(move || empty(URI, force, SHUTDOWN));
        let most = if force { PATIENCE + SHUTDOWN } else { PATIENCE };
        let done = match timeout(most, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(unknown(&format!("it does not answer within {} s", most.as_secs()))),
        };
        match done {
            Err(why) if force => {
                voice::milestone(&format!("going down all the same: {why}"));
                Ok(())
            }
            done => done,
        }
    }

    fn unknown(why: &str) -> String {
        format!("whether virtual machines run is not known: libvirt: {}", text::clean(why, 400))
    }

    /// Blocks until none runs, or says which.
    pub(super) fn empty(uri: &str, force: bool, patience: Duration) -> Result<(), String> {
        let broken = |error: Error| unknown(error.message());
        let mut connection =
            if force { Connect::open(Some(uri)) } else { Connect::open_read_only(Some(uri)) }
                .map_err(broken)?;
        let names = if force { ended(&connection, patience) } else { running(&connection, |_| ()) };
        // Not done by itself when it is dropped. What can't be closed is broken already.
        let _ = connection.close();
        match names.map_err(broken)?.as_slice() {
            [] => Ok(()),
            [name] => Err(format!("the virtual machine {name} runs")),
            names => {
                Err(format!("{} virtual machines run: {}", names.len(), text::clean(&names.join(", "), 400)))
            }
        }
    }

    /// The names of those that run when this returns: each was told to shut down, and after `patience` killed.
    fn ended(connection: &Connect, patience: Duration) -> Result<Vec<String>, Error> {
        let names = running(connection, |domain| tell(domain, domain.shutdown().map(drop)))?;
        if names.is_empty() {
            return Ok(names);
        }
        voice::milestone(&format!("told to shut down: {}", names.join(", ")));
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if running(connection, |_| ())?.is_empty() {
                return Ok(Vec::new());
            }
            std::thread::sleep(LOOK.min(patience));
        }
        let names = running(connection, |domain| tell(domain, domain.destroy()))?;
        voice::milestone(&format!("killed: {}", names.join(", ")));
        running(connection, |_| ())
    }

    /// One that has ended by itself meanwhile can't be told anything, and need not be.
    fn tell(domain: &Domain, told: Result<(), Error>) {
        if let Err(error) = told {
            let name = domain.get_name().unwrap_or_default();
            voice::say(&format!("{}: {}", text::name(&name), text::clean(error.message(), 400)));
        }
    }

    /// The names of those that run, each after something was done with it.
    fn running(connection: &Connect, mut with: impl FnMut(&Domain)) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for mut domain in connection.list_all_domains(virt_sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
            // What ends while it is looked at is none.
            names.extend(domain.get_name().ok().map(|name| text::name(&name)));
            with(&domain);
            // Dropped unfreed it frees itself, and panics when it can't.
            if domain.free().is_err() {
                std::mem::forget(domain);
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(all(test, feature = "libvirt"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::guests::empty;

    /// A host of libvirt's own test driver on which these guests run; a new one for each connection.
    fn host(guests: &[&str]) -> (tempfile::TempDir, String) {
        let guest = |name: &&str| {
            let os = "<os><type>hvm</type></os>";
            format!("<domain type='test'><name>{name}</name><memory>8192</memory>{os}</domain>")
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.xml");
        let node = guests.iter().map(guest).collect::<String>();
        std::fs::write(&file, format!("<node>{node}</node>")).unwrap();
        (dir, format!("test://{}", file.display()))
    }

    #[test]
    fn what_runs_is_named_and_left_running() {
        let why = |guests: &[&str]| {
            let (_dir, uri) = host(guests);
            empty(&uri, false, Duration::ZERO)
        };
        assert_eq!(why(&[]), Ok(()));
        assert_eq!(why(&["web"]).unwrap_err(), "the virtual machine web runs");
        assert_eq!(why(&["web", "db"]).unwrap_err(), "2 virtual machines run: db, web");
    }

    #[tokio::test]
    async fn with_force_all_are_shut_down() {
        let (_dir, uri) = host(&["web", "db"]);
        assert_eq!(empty(&uri, true, Duration::from_secs(5)), Ok(()));
    }

    #[tokio::test]
    async fn what_does_not_shut_down_is_killed() {
        let (_dir, uri) = host(&["web"]);
        assert_eq!(empty(&uri, true, Duration::ZERO), Ok(()));
    }

    #[test]
    fn a_libvirt_that_is_not_there_leaves_it_unknown() {
        let why = empty("qemu+unix:///system?socket=/nonexistent", false, Duration::ZERO).unwrap_err();
        assert!(why.contains("not known") && why.contains("nonexistent"), "{why}");
    }
}
