//! Trees that somebody made to do harm.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image_build::lint::examine;
use image_build::lint::space::measure;
use image_build::lint::strip::strip;
use rustix::fs::{Mode, OFlags};

use super::{open, rules};
use crate::tool::{run, work};

fn folder(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    path.to_owned()
}

#[test]
fn nothing_outside_is_read_or_removed_through_links() {
    let work = work();
    let (root, outside) = (folder(&work.path().join("root")), folder(&work.path().join("outside")));
    for name in ["machine-id", "ssh_host_rsa_key", "authorized_keys", "file"] {
        std::fs::write(outside.join(name), "ssh-rsa 0123").unwrap();
    }
    folder(&root.join("etc"));
    folder(&root.join("var/lib"));
    folder(&root.join("root"));
    symlink(&outside, root.join("etc/ssh")).unwrap();
    symlink(outside.join("machine-id"), root.join("etc/machine-id")).unwrap();
    symlink("../../outside", root.join("root/.ssh")).unwrap();
    symlink("../../../../../../../../", root.join("tmp")).unwrap();
    symlink(&outside, root.join("var/tmp")).unwrap();
    symlink("cloud", root.join("var/lib/cloud")).unwrap();
    let report = examine(&root, &rules()).unwrap();
    // But that something leads away is a reason to refuse: nobody knows what is there.
    assert_eq!(report.findings.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["not-looked-into"]);
    // The link leads to the root of the tree itself, as it would for the installed system; nobody empties that.
    assert!(
        report.unseen.iter().any(|why| why.starts_with("temporary: a link led to /")),
        "{:?}",
        report.unseen
    );
    assert_eq!(strip(&rules(), &BTreeSet::new(), &open(&root)), Vec::<String>::new());
    for name in ["machine-id", "ssh_host_rsa_key", "authorized_keys", "file"] {
        assert_eq!(std::fs::read_to_string(outside.join(name)).unwrap(), "ssh-rsa 0123");
    }
    assert!(root.join("etc/ssh").is_symlink() && root.join("var/lib").exists());
}

#[test]
fn pipes_and_devices_are_not_opened() {
    let work = work();
    let at = |name: &str| work.path().join(name);
    folder(&at("etc/openvswitch"));
    folder(&at("tmp"));
    run("mkfifo", [at("etc/machine-id"), at("etc/shadow"), at("tmp/pipe")]);
    for (name, kind) in [("etc/hosts", ["c", "1", "5"]), ("tmp/disk", ["b", "7", "0"])] {
        run("mknod", [at(name)].into_iter().chain(kind.map(PathBuf::from)));
    }
    let begun = Instant::now();
    let report = examine(work.path(), &rules()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(report.findings.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["temporary"]);
    assert_eq!(strip(&rules(), &BTreeSet::new(), &open(work.path())), Vec::<String>::new());
    assert!(at("etc/shadow").exists() && !at("tmp/pipe").exists() && !at("tmp/disk").exists());
}

#[test]
fn names_can_not_speak_to_the_terminal() {
    let work = work();
    let keys = folder(&work.path().join("etc/ssh"));
    for name in [&b"ssh_host_\n\x1b[2J"[..], "ssh_host_\u{202e}gpj".as_bytes(), b"ssh_host_\xff\xfe\r"] {
        std::fs::write(keys.join(OsStr::from_bytes(name)), "k").unwrap();
    }
    let report = examine(work.path(), &rules()).unwrap();
    let text = report.to_string() + &report.json().unwrap();
    let bad = |one: char| {
        (one.is_control() && one != '\n') || one == '\u{202e}' || one == char::REPLACEMENT_CHARACTER
    };
    assert!(!text.contains(bad), "{text}");
    assert!(text.contains("ssh_host_\\n\\u{1b}[2J") && text.contains("\\u{202e}gpj"), "{text}");
    assert!(strip(&rules(), &BTreeSet::new(), &open(work.path())).is_empty());
    assert_eq!(std::fs::read_dir(keys).unwrap().count(), 0);
}

#[test]
fn a_hundred_thousand_files_are_one_finding() {
    let work = work();
    let tmp = folder(&work.path().join("tmp"));
    for number in 0..100_000 {
        std::fs::File::create(tmp.join(format!("f{number}"))).unwrap();
    }
    let begun = Instant::now();
    let report = examine(work.path(), &rules()).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].places.len() <= 20 && report.findings[0].places_total >= 50_000);
    assert!(report.space.entries > 100_000);
    assert!(strip(&rules(), &BTreeSet::new(), &open(work.path())).is_empty());
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

#[test]
fn folders_that_are_deeper_than_a_path_may_be_long_are_removed() {
    let work = work();
    folder(&work.path().join("tmp"));
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(work.path().join("tmp"), flags, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "ddd", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "ddd", flags, Mode::empty()).unwrap();
    }
    let report = examine(work.path(), &rules()).unwrap();
    assert_eq!(report.findings[0].id, "temporary");
    assert!(report.space.incomplete);
    assert_eq!(strip(&rules(), &BTreeSet::new(), &open(work.path())), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(work.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn links_that_go_round_and_names_that_go_on_cost_nothing() {
    let work = work();
    let etc = folder(&work.path().join("etc/systemd/network"));
    for (name, target) in [("a", "b"), ("b", "a"), ("c", "."), ("d", "d/d/d/d/d/d"), ("e", "../../..")] {
        symlink(target, etc.join(name)).unwrap();
    }
    symlink("/etc", work.path().join("etc/ssh")).unwrap();
    let report = examine(work.path(), &rules()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn space_is_what_du_counts() {
    let work = work();
    for (name, bytes) in [("var/cache/a", 3 << 20), ("var/log/b", 1 << 20), ("usr/c", 5000)] {
        let at = work.path().join(name);
        folder(at.parent().unwrap());
        std::fs::write(&at, vec![1; bytes]).unwrap();
    }
    std::fs::hard_link(work.path().join("var/cache/a"), work.path().join("usr/again")).unwrap();
    std::fs::File::create(work.path().join("usr/hole")).unwrap().set_len(1 << 40).unwrap();
    let space = measure(&open(work.path()), Path::new(""), 3);
    let du = run("du", ["-s", "-B1", work.path().to_str().unwrap()]);
    let du: u64 = String::from_utf8(du).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(space.allocated_bytes, du);
    assert!(!space.incomplete && space.folders.len() == 3);
    assert!(space.folders[0].path.starts_with("/usr") || space.folders[0].path == "/var", "{space:?}");
}
