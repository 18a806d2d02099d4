//! A view that another program reads, as the agent does in the boot ramdisk.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::disks::{FIRST, MIB, Mounted, digest, disk, nothing_is_left};
use super::{Files, lay};
use crate::tool::{run, work};

/// As the agent's own tests read it.
const SAMPLE: &str = include_str!("view.json");

const BYTES: u64 = 48 * MIB;

/// `image-build view`, and the first line it says.
struct Viewer {
    program: Child,
    said: Value,
}

impl Viewer {
    fn of(disk: &Path, work: &Path, more: &[&str]) -> Viewer {
        #[expect(clippy::disallowed_methods, reason = "the test holds its standard input open")]
        let mut program = Command::new(env!("CARGO_BIN_EXE_image-build"));
        program.arg("view").arg(disk).arg("--work").arg(work).args(more);
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = piped.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line).unwrap_or(Value::Null);
        Viewer { program, said }
    }

    fn path(&self) -> PathBuf {
        self.said["view"].as_str().unwrap().into()
    }

    /// Its standard input ends: how it ends, and what it complained about.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.program.stdin.take());
        let mut complaints = String::new();
        self.program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        (self.program.wait().unwrap().code(), complaints)
    }
}

fn with_identity(at: &Path) -> PathBuf {
    let disk = disk(at, &["mkfs.ext4", "-q"], BYTES, "8300");
    let mounted = Mounted::of(&disk, FIRST * 512, BYTES, &at.join("mnt"), "defaults");
    let files = [
        ("/etc/os-release", "PRETTY_NAME=\"Test OS 1\"\n"),
        ("/etc/machine-id", "fedcba9876543210fedcba9876543210\n"),
        ("/root/.bash_history", "ls\n"),
    ];
    lay(&mounted.at, &Files::from(files.map(|(path, text)| (path.to_owned(), text.to_owned()))));
    disk
}

/// The names of all fields, with those around them.
fn fields(value: &Value, at: &str, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            to.insert(format!("{at}.{name}"));
            fields(value, &format!("{at}.{name}"), to);
        }),
        Value::Array(list) => list.iter().for_each(|value| fields(value, &format!("{at}[]"), to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn it_stays_until_standard_input_ends_and_has_no_identity() {
    let work = work();
    let disk = with_identity(work.path());
    let before = digest(&disk);
    let viewer = Viewer::of(&disk, &work.path().join("work"), &["--keep", "shell-history"]);
    let (said, view) = (viewer.said.clone(), viewer.path());
    let outcome = |id: &str| {
        let findings = said["item"]["findings"].as_array().unwrap();
        findings.iter().find(|one| one["id"] == id).map(|one| one["outcome"].clone())
    };
    assert_eq!(
        (outcome("machine-id"), outcome("shell-history")),
        (Some("stripped".into()), Some("kept".into()))
    );
    assert_eq!((&said["refused"], &said["item"]["system"]), (&Value::Bool(false), &"Test OS 1".into()));
    let (mut has, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    fields(&said, "", &mut has);
    fields(&serde_json::from_str(SAMPLE).unwrap(), "", &mut wanted);
    assert_eq!(has, wanted, "the agent reads this");
    let bytes = std::fs::read(&view).unwrap();
    assert!(!bytes.windows(32).any(|window| window == b"fedcba9876543210fedcba9876543210"));
    assert_eq!(viewer.end(), (Some(0), String::new()));
    assert!(!view.exists());
    assert_eq!(digest(&disk), before);
    nothing_is_left(work.path());
}

#[test]
fn what_can_not_be_stripped_is_refused_in_both_languages() {
    let work = work();
    let disk = with_identity(work.path());
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    file.set_len(BYTES + 18 * MIB).unwrap();
    run("sgdisk", ["--move-second-header", disk.to_str().unwrap()]);
    run("sgdisk", ["--new=2:0:+8M", disk.to_str().unwrap()]);
    file.write_all_at(b"bluestore block device\n", FIRST * 512 + BYTES).unwrap();
    let viewer = Viewer::of(&disk, &work.path().join("work"), &[]);
    assert_eq!((&viewer.said["refused"], &viewer.said["view"]), (&Value::Bool(true), &Value::Null));
    let (code, complaints) = viewer.end();
    assert_eq!(code, Some(5), "{complaints}");
    assert!(complaints.contains("(ceph-osd, not-looked-into)"), "{complaints}");
    let keep = ["--keep", "ceph-osd", "--keep", "not-looked-into"];
    let kept = Viewer::of(&disk, &work.path().join("work"), &keep);
    assert!(kept.path().exists());
    assert_eq!(kept.end().0, Some(0));
    nothing_is_left(work.path());
}

#[test]
fn what_can_not_be_read_is_said_and_no_line_comes() {
    let work = work();
    let viewer = Viewer::of(&work.path().join("nothing"), &work.path().join("work"), &[]);
    assert_eq!(viewer.said, Value::Null);
    let (code, complaints) = viewer.end();
    assert_eq!(code, Some(1));
    assert!(complaints.contains("nothing: No such file"), "{complaints}");
}

#[test]
fn what_a_killed_run_has_left_is_removed_and_what_a_living_one_has_stays() {
    let work = work();
    // A process with that number there never is; nobody else will end what it has left.
    let (gone, file) = (work.path().join("image-build.4194305.0"), work.path().join("disk.img"));
    std::fs::create_dir(&gone).unwrap();
    for path in [gone.join("changes"), file.clone()] {
        std::fs::File::create(path).unwrap().set_len(MIB).unwrap();
    }
    let attach = |path: &Path| {
        let words = ["--find".into(), "--show".into(), path.to_owned()];
        String::from_utf8(run("losetup", words)).unwrap().trim().to_owned()
    };
    let (left, other) = (attach(&gone.join("changes")), attach(&file));
    let living = Viewer::of(&with_identity(work.path()), &work.path().join("work"), &[]);
    run(env!("CARGO_BIN_EXE_image-build"), ["clear"]);
    let backs = |device: &str| {
        let name = device.rsplit('/').next().unwrap();
        std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default()
    };
    let (left, other_file) = (backs(&left), backs(&other));
    run("losetup", ["-d", &other]);
    assert!(!left.contains("4194305"), "it is still there: {left}");
    assert!(other_file.contains("disk.img"), "somebody else's is gone");
    assert!(living.path().exists());
    assert_eq!(living.end(), (Some(0), String::new()));
}
