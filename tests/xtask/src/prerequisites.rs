//! The Debian packages that building and the rack need: named first, then installed with apt.
//!
//! Knows package names and the one release that needs backports. Refuses to bring a mirror of its own: the machine's
//! configured one is used, whatever it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::say;
use crate::tool::{Tool, ToolError};

/// What `cargo` needs beside Rust: a C compiler for SQLite and zstd, libvirt's headers for the agent of compute nodes.
const BUILD: &[&str] = &["build-essential", "libvirt-dev", "pkg-config"];

/// What the rack is made of.
const RACK: &[&str] = &[
    "ethtool",
    "iproute2",
    "ipxe-qemu",
    "ovmf",
    "procps",
    "qemu-system-x86",
    "seabios",
    "swtpm",
    "systemd-container",
    "util-linux",
];

/// Whom the rack's controller meets on its networks: real DHCP servers and clients. Only packages without a service; the
/// others would start one, or become what configures this machine's cards, and are unpacked instead ([`unpack`]).
const PEERS: &[&str] = &["busybox", "dnsmasq-base", "tcpdump"];

/// What `bench dhcp` is measured with and against, beside Kea's server: that is unpacked and not installed, because
/// its package would start it.
pub const BENCH_DHCP: &[&str] = &["dnsmasq-base", "ethtool", "iproute2", "kea-admin", "util-linux"];
/// The programs that tests without QEMU ask our listeners with, make networks of their own with, read metrics and take mail with, and kill a daemon
/// at a call with; the SSH server of a rescue, and who logs in there.
const CLIENTS: &[&str] = &[
    "atftp",
    "curl",
    "dbus",
    "dropbear-bin",
    "faketime",
    "iproute2",
    "openssh-client",
    "python3-aiosmtpd",
    "python3-prometheus-client",
    "strace",
    "swtpm",
    "tftp-hpa",
    "util-linux",
];

/// Emulators of management controllers, FreeIPMI that speaks with them, and what `sushy-tools` needs: Debian has not that
/// itself, and its test has pip bring the one wheel whose hash it knows.
const CONTROLLERS: &[&str] = &[
    "freeipmi-tools",
    "openipmi",
    "python3-bcrypt",
    "python3-flask",
    "python3-pbr",
    "python3-requests",
    "python3-tenacity",
    "python3-venv",
    "python3-webob",
];

/// What makes, checks, mounts and maps the disks that the tests of images work with; `partclone` is the oracle of allocation maps.
const DISKS: &[&str] = &[
    "bcache-tools",
    "btrfs-progs",
    "coreutils",
    "cryptsetup-bin",
    "dosfstools",
    "e2fsprogs",
    "exfat-fuse",
    "exfatprogs",
    "fdisk",
    "gdisk",
    "gfs2-utils",
    "lvm2",
    "mount",
    "mtools",
    "ntfs-3g",
    "partclone",
    "python3-minimal",
    "qemu-utils",
    "util-linux",
    "xfsprogs",
    "xz-utils",
    "zstd",
];

/// The oldest QEMU that will do: earlier ones translate guests with several processors wrongly or slowly.
const QEMU_MAJOR: u32 = 10;
/// The suite that has such a QEMU for Debian 12.
const BACKPORTS: &str = "bookworm-backports";
/// Made only when no configured source has the backports.
const SOURCES: &str = "/etc/apt/sources.list.d/rackwright-backports.sources";

/// Why the packages are not there.
#[derive(Debug, thiserror::Error)]
pub enum PrerequisiteError {
    /// Not a Debian we know.
    #[error(
        "prerequisites can be installed on Debian 12 or 13 only; this is {found}. Install by hand: {packages}"
    )]
    Release {
        /// What /etc/os-release says.
        found: String,
        /// What is missing.
        packages: String,
    },
    /// apt needs root.
    #[error("these packages are missing and installing them needs root: {0}")]
    NotRoot(String),
    /// A file could not be read or written.
    #[error("using {path}")]
    Io {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A package could not be put where it belongs.
    #[error("unpacking into {}", path.display())]
    Place {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// apt or dpkg said no.
    #[error("installing packages")]
    Apt(#[from] ToolError),
    /// No mirror of Debian itself is configured.
    #[error("no apt source with {0} on this machine; add one, then run this again")]
    NoMirror(&'static str),
    /// After all of it QEMU is still old.
    #[error("qemu-system-x86 is {found}; the rack needs version {QEMU_MAJOR}")]
    OldQemu {
        /// The version that is installed.
        found: String,
    },
}

/// Installs what building needs.
///
/// # Errors
/// Something is missing and can't be installed.
pub fn for_building() -> Result<(), PrerequisiteError> {
    install(BUILD)
}

/// Installs what building and tests without QEMU need.
///
/// # Errors
/// Something is missing and can't be installed.
pub fn for_tests() -> Result<(), PrerequisiteError> {
    install(&[BUILD, CLIENTS, CONTROLLERS, DISKS].concat())
}

/// Installs what building, tests and the rack need.
///
/// # Errors
/// Something is missing and can't be installed.
pub fn ensure() -> Result<(), PrerequisiteError> {
    let wanted: Vec<&str> = [BUILD, CLIENTS, CONTROLLERS, DISKS, PEERS, RACK].concat();
    install(&wanted)?;
    match installed_version("qemu-system-x86")? {
        Some(version) if major(&version).is_some_and(|major| major >= QEMU_MAJOR) => Ok(()),
        found => Err(PrerequisiteError::OldQemu { found: found.unwrap_or_else(|| "missing".to_owned()) }),
    }
}

/// Installs those of `wanted` that are missing; says which, and what it does.
///
/// # Errors
/// As [`ensure`].
pub fn install(wanted: &[&str]) -> Result<(), PrerequisiteError> {
    let mut missing = Vec::new();
    for &package in wanted {
        let version = installed_version(package)?;
        let old = package == "qemu-system-x86"
            && version.as_deref().and_then(major).is_none_or(|major| major < QEMU_MAJOR);
        if version.is_none() || old {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    say::line(&format!("==> these Debian packages are needed and missing: {list}"));
    let release = release()?;
    if release != "12" && release != "13" {
        return Err(PrerequisiteError::Release { found: release, packages: list });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(PrerequisiteError::NotRoot(list));
    }
    say::step("apt-get update", || apt().arg("update").read().map(drop))?;
    let backports = release == "12" && missing.contains(&"qemu-system-x86");
    let known = sources()?;
    if backports && !known.iter().any(|source| source.suite == BACKPORTS) {
        add_backports(&known)?;
        say::step("apt-get update", || apt().arg("update").read().map(drop))?;
    }
    // With -t, all that an installation touches may come from the backports, systemd too: QEMU goes alone.
    let (qemu, others): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|package| backports && *package == "qemu-system-x86");
    for (packages, suite) in [(others, None), (qemu, Some(BACKPORTS))] {
        if packages.is_empty() {
            continue;
        }
        let command = apt().args(["install", "-y", "--no-install-recommends"]);
        let command =
            suite.map_or(Vec::new(), |suite| vec!["-t", suite]).into_iter().fold(command, Tool::arg);
        say::step(&format!("apt-get install {}", packages.join(" ")), || command.args(packages).read())?;
    }
    Ok(())
}

/// Unpacks a package into `dir` without installing it: a daemon's package would start it on this machine.
///
/// # Errors
/// apt has no such package, or it cannot be unpacked.
pub fn unpack(package: &str, dir: &Path) -> Result<(), PrerequisiteError> {
    let done = dir.join(format!("{package}.unpacked"));
    if done.exists() {
        return Ok(());
    }
    let fetched = dir.join(format!("{package}.deb"));
    let at = |source| PrerequisiteError::Place { path: dir.to_path_buf(), source };
    let work = dir.join(package);
    let download = || -> Result<(), PrerequisiteError> {
        emptied(&work).map_err(at)?;
        Ok(apt().args(["download", package]).dir(&work).read().map(drop)?)
    };
    say::step(&format!("apt-get download {package}"), || {
        // Its lists may be older than the mirror, or not there.
        download().or_else(|_| apt().arg("update").read().map_err(Into::into).and_then(|_| download()))
    })?;
    fs::rename(only_file(&work).map_err(at)?, &fetched).map_err(at)?;
    fs::remove_dir_all(&work).map_err(at)?;
    Tool::new("dpkg-deb").arg("-x").arg(&fetched).arg(dir).read()?;
    fs::write(done, "").map_err(at)
}

/// A folder with nothing in it: what an attempt that was cut off has left must not be taken for a package.
fn emptied(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)
}

/// What apt has put into a folder: it names a package by its version, which it alone knows.
fn only_file(folder: &Path) -> io::Result<PathBuf> {
    let mut files = fs::read_dir(folder)?;
    let file = files.next().ok_or(io::ErrorKind::NotFound)??.path();
    match files.next() {
        None => Ok(file),
        Some(_) => Err(io::Error::other("more than one file was downloaded")),
    }
}

fn apt() -> Tool {
    Tool::new("apt-get").arg("-q").env("DEBIAN_FRONTEND", "noninteractive")
}

/// The version of `package`, if it is installed.
fn installed_version(package: &str) -> Result<Option<String>, PrerequisiteError> {
    let output =
        Tool::new("dpkg-query").args(["-W", "-f", "${db:Status-Status} ${Version}", package]).output()?;
    Ok(output.stdout.strip_prefix("installed ").map(str::to_owned))
}

/// `1:10.0.2+ds-2` is 10.
fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream.split(|part: char| !part.is_ascii_digit()).next()?.parse().ok()
}

/// `12`, `13`, or whatever it is called.
fn release() -> Result<String, PrerequisiteError> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).map_err(|source| PrerequisiteError::Io { path, source })?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    Ok(if field("ID") == "debian" { field("VERSION_ID") } else { field("PRETTY_NAME") })
}

/// One index that apt knows.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    component: String,
}

fn sources() -> Result<Vec<Source>, PrerequisiteError> {
    let format = "$(SITE)|$(CODENAME)|$(RELEASE)|$(COMPONENT)";
    let text =
        Tool::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]).read()?;
    Ok(text.lines().filter_map(source).collect())
}

/// One line of `apt-get indextargets`; what apt does not know stays as `$(NAME)`.
fn source(line: &str) -> Option<Source> {
    let mut fields = line.split('|').map(str::to_owned);
    let (uri, codename, release, component) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // A source may be written with a moving name (`oldstable`): the code name in its Release file does not move.
    let suite = if codename.starts_with('$') || codename.is_empty() { release } else { codename };
    Some(Source { uri, suite, component })
}

/// Adds the backports, from the mirror that this machine has `bookworm` from.
fn add_backports(sources: &[Source]) -> Result<(), PrerequisiteError> {
    let main = sources.iter().find(|source| source.suite == "bookworm" && source.component == "main");
    let main = main.ok_or(PrerequisiteError::NoMirror("bookworm"))?;
    say::line(&format!("==> adding {BACKPORTS} from {} in {SOURCES}", main.uri));
    fs::write(SOURCES, stanza(main)).map_err(|source| PrerequisiteError::Io { path: SOURCES, source })
}

/// sources.list(5), deb822 style; signed by the keyring that every Debian has.
fn stanza(main: &Source) -> String {
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    format!("Types: deb\nURIs: {}\nSuites: {BACKPORTS}\nComponents: main\nSigned-By: {keyring}\n", main.uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_dpkg_writes_them() {
        for (version, wanted) in [
            ("1:10.0.2+ds-2+deb13u1~bpo12+1", Some(10)),
            ("7.2", Some(7)),
            ("2022.11-6", Some(2022)),
            ("", None),
            ("a:b", None),
        ] {
            assert_eq!(major(version), wanted, "{version}");
        }
    }

    #[test]
    fn only_what_was_just_downloaded_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("package");
        emptied(&folder).unwrap();
        assert_eq!(only_file(&folder).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(folder.join("old.deb"), "").unwrap();
        fs::write(folder.join("new.deb"), "").unwrap();
        only_file(&folder).unwrap_err();
        emptied(&folder).unwrap();
        fs::write(folder.join("new.deb"), "").unwrap();
        assert_eq!(only_file(&folder).unwrap(), folder.join("new.deb"));
    }

    #[test]
    fn backports_come_from_the_machines_own_mirror() {
        for line in [
            "http://mirror.invalid/debian|bookworm|oldstable|main",
            "http://mirror.invalid/debian|$(CODENAME)|bookworm|main",
        ] {
            let main = source(line).unwrap();
            assert_eq!(main.suite, "bookworm");
            let text = stanza(&main);
            assert!(
                text.contains("URIs: http://mirror.invalid/debian\nSuites: bookworm-backports\n"),
                "{text}"
            );
        }
        for bad in ["", "a|b", "a|b|c"] {
            assert_eq!(source(bad), None, "{bad}");
        }
    }
}
