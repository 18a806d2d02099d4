//! Images of real block devices: what is on the disk is in the image, nothing is written, and everything goes wrong that can.

use std::fs;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::deploy;
use pack::Digest;
use protocol::{CaptureJob, Found, Identity, JobId, Phase, Subject, Task};
use tempfile::TempDir;

use super::controller::{Controller, Fault, State};
use super::image::MIB;
use super::machine::{Console, Machine};
use super::site::Site;
use super::{is_root, run, until};

const DISK: u64 = 160 * MIB;
const PARTITION: u64 = 96 * MIB;

/// Runs a tool; it must succeed.
fn tool(program: &str, arguments: &[&str]) {
    let out = Command::new(program).args(arguments).output();
    let out = out.unwrap_or_else(|error| panic!("{program}: {error}; is its package installed?"));
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A server with a data disk and a system disk with files on it, of which an image is to be taken.
struct Rack {
    site: Arc<Site>,
    controller: Controller,
    machine: Machine,
    /// The files.
    tree: TempDir,
    /// All bytes of all disks.
    before: Vec<Digest>,
}

impl Rack {
    async fn new(identity: Identity) -> Self {
        let mut machine = Machine::new();
        machine.add_disk("vda", "DATA", 16 * MIB);
        machine.add_disk("vdb", "SYSTEM", DISK);
        let tree = fill(&machine);
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let rack = Self { site, controller, tree, before: digests(&machine), machine };
        let disk = Subject::of(&rack.machine.inventory("SYSTEM")).unwrap();
        let job = CaptureJob { job: JobId([6; 8]), disk, identity };
        rack.controller.with(|s| {
            s.store.disk_bytes = DISK;
            s.task = Task::Capture(Box::new(job));
        });
        rack
    }

    async fn boot(&self) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        deploy::follow(&mut server).await.unwrap();
        self.assert_untouched();
        console
    }

    async fn boot_until(&self, what: &str, so: impl Fn(&State, &str) -> bool) {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        let text = console.clone();
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("{what}: ended with {ended:?}: {}", console.text()),
            () = until(what, || self.controller.with(|s| so(s, &text.text()))) => {}
        }
    }

    /// What the controller is told when it does not work.
    async fn failure(&self) -> String {
        self.boot_until("a failure", |s, _| s.progress.iter().any(|p| p.failed.is_some())).await;
        self.assert_untouched();
        assert!(self.controller.with(|s| s.store.seal.is_none()));
        self.controller.with(|s| s.progress.iter().find_map(|p| p.failed.clone()).unwrap())
    }

    fn assert_untouched(&self) {
        assert!(digests(&self.machine) == self.before, "a byte of a disk has changed");
        for disk in &self.machine.disks {
            assert!(!disk.is_read_only(), "{} is writable again", disk.device.display());
        }
    }

    /// The image, written out, is a disk with these files, and a sound file system.
    fn assert_is(&self, tree: &Path) {
        let out = self.machine.path().join("out.img");
        self.controller.with(|s| s.store.unpack(&out));
        let part = self.machine.path().join("part.img");
        copy(&out, MIB, PARTITION, &part);
        tool("e2fsck", &["-f", "-n", part.to_str().unwrap()]);
        let files = self.machine.path().join("files");
        fs::create_dir_all(&files).unwrap();
        let dump = format!("rdump / {}", files.display());
        tool("debugfs", &["-R", &dump, part.to_str().unwrap()]);
        tool("diff", &["-r", "-x", "lost+found", tree.to_str().unwrap(), files.to_str().unwrap()]);
    }

    /// Puts a program in the place of `image-build`.
    fn program(&self, script: &str) {
        let path = self.machine.path().join("usr/bin/image-build");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn digests(machine: &Machine) -> Vec<Digest> {
    machine.disks.iter().map(|disk| Digest::of(&fs::read(&disk.file).unwrap())).collect()
}

fn copy(from: &Path, at: u64, bytes: u64, to: &Path) {
    let mut content = vec![0; usize::try_from(bytes).unwrap()];
    fs::File::open(from).unwrap().read_exact_at(&mut content, at).unwrap();
    fs::write(to, content).unwrap();
}

/// Bytes that do not compress.
fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

fn lay(tree: &Path) {
    fs::create_dir_all(tree.join("etc/ssh")).unwrap();
    fs::write(tree.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(tree.join("etc/ssh/ssh_host_rsa_key"), "secret").unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    for number in 0..40_u32 {
        let bytes = usize::try_from(number % 7 * 200_000 + 1).unwrap();
        fs::write(tree.join(format!("usr/bin/{number}")), noise(number, bytes)).unwrap();
    }
    fs::write(tree.join("usr/text"), "all work and no play\n".repeat(100_000)).unwrap();
}

/// A file system with these files, at its place on the disk.
fn put(tree: &Path, machine: &Machine, to: impl FnOnce(&[u8])) {
    let part = machine.path().join("mkfs.img");
    fs::File::create(&part).unwrap().set_len(PARTITION).unwrap();
    tool("mkfs.ext4", &["-q", "-d", tree.to_str().unwrap(), part.to_str().unwrap()]);
    to(&fs::read(&part).unwrap());
}

fn fill(machine: &Machine) -> TempDir {
    let tree = TempDir::new().unwrap();
    lay(tree.path());
    let script = machine.path().join("table");
    fs::write(&script, "label: gpt\nstart=2048, size=196608\nstart=200704, size=65536\n").unwrap();
    let line = format!("sfdisk --quiet {} < {}", machine.disks[1].device.display(), script.display());
    tool("sh", &["-c", &line]);
    put(tree.path(), machine, |bytes| machine.write(1, MIB, bytes));
    machine.write(1, 110 * MIB, b"no file system, so every byte is taken");
    machine.write(0, 0, b"somebody's data");
    tree
}

#[test]
fn the_image_is_the_disk_and_no_disk_is_touched() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(Identity::AsIs).await;
        let devices = rack.machine.disks.iter().map(|disk| disk.device.clone()).collect::<Vec<PathBuf>>();
        let protected = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&protected);
        rack.controller.with(|s| {
            s.faults = [Fault::Busy, Fault::Busy].into();
            s.witness = Some(Box::new(move |_| {
                for device in &devices {
                    let file = fs::File::open(device).unwrap();
                    seen.fetch_and(pack::disk::is_read_only(&file).unwrap(), Ordering::Relaxed);
                }
            }));
        });
        let console = rack.boot().await;
        assert!(protected.load(Ordering::Relaxed), "all are read-only meanwhile, the disk too");
        rack.assert_is(rack.tree.path());
        let (seal, posts, begun) =
            rack.controller.with(|s| (s.store.seal.clone().unwrap(), s.store.posts.len(), s.store.begun));
        assert_eq!((seal.job, begun), (JobId([6; 8]), 1));
        assert!(posts > 20, "some MiB of noise");
        let kinds = seal.layout.volumes.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>();
        assert_eq!(kinds, ["ext4", "raw"]);
        assert_eq!(seal.layout.sector_bytes, 512);
        // There is no image-build here: that is said, and harms nothing.
        let rules = seal.found.iter().map(|found| found.rule.as_str()).collect::<Vec<_>>();
        assert_eq!(rules, ["not-looked-into"]);
        rack.controller.with(|s| {
            let stored = s.store.has.values().map(|bytes| bytes.len() as u64).sum::<u64>();
            assert!(s.progress.iter().all(|p| p.failed.is_none() && p.fetched_bytes <= stored));
            assert!(s.progress.iter().any(|p| p.phase == Phase::Survey));
        });
        for words in ["capturing", "rackwright-agent: captured\r\n"] {
            until(words, || console.text().contains(words)).await;
        }
    });
}

#[test]
fn only_what_the_store_lacks_is_sent() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(Identity::AsIs).await;
        let job = rack.controller.with(|s| s.task.clone());
        rack.boot().await;
        let (dropped, seal) = rack.controller.with(|s| {
            let mut windows = std::mem::take(&mut s.store.posts);
            assert!(windows.len() > 3);
            windows.truncate(3);
            windows.sort();
            let (store, task) = (&mut s.store, &mut s.task);
            for chunk in store.chunks.iter().filter(|chunk| windows.contains(&chunk.window)) {
                store.has.remove(&chunk.stored_digest.unwrap());
            }
            *task = job;
            (windows, store.seal.take().unwrap())
        });
        rack.boot().await;
        let (mut posts, again) =
            rack.controller.with(|s| (s.store.posts.clone(), s.store.seal.clone().unwrap()));
        posts.sort();
        assert_eq!((posts, again.root), (dropped, seal.root));
        rack.assert_is(rack.tree.path());
    });
}

fn number_of(rack: &Rack) -> String {
    rack.machine.disks[1].number().trim().to_owned()
}

#[test]
fn a_disk_that_is_in_doubt_or_in_use_is_left_alone() {
    if !is_root() {
        return;
    }
    run(async {
        let mounted = Rack::new(Identity::AsIs).await;
        let line = format!("28 1 {} / /srv rw - ext4 /dev/vdb rw\n", number_of(&mounted));
        mounted.machine.file("proc/self/mountinfo", &line);
        assert_eq!(mounted.failure().await, "the disk vdb is in use: it is mounted on /srv");

        // What an earlier job's programs made of it is gone a moment later.
        let soon = Rack::new(Identity::AsIs).await;
        soon.machine
            .file("proc/self/mountinfo", &format!("28 1 {} / /srv rw - ext4 x rw\n", number_of(&soon)));
        let away = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            soon.machine.file("proc/self/mountinfo", "");
        };
        tokio::join!(soon.boot(), away);

        let claimed = Rack::new(Identity::AsIs).await;
        let mut alone = fs::OpenOptions::new();
        let flag = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap();
        let alone = alone.read(true).custom_flags(flag).open(&claimed.machine.disks[1].device).unwrap();
        let why = claimed.failure().await;
        assert!(why.starts_with("opening ") && why.contains("busy"), "{why}");
        drop(alone);

        let twin = Rack::new(Identity::AsIs).await;
        twin.machine.file("sys/block/vda/serial", "SYSTEM");
        assert!(twin.failure().await.starts_with("2 disks call themselves serial:SYSTEM"));

        let other = Rack::new(Identity::AsIs).await;
        other.machine.file("sys/block/vdb/size", &format!("{}\n", DISK / 512 - 1));
        assert!(other.failure().await.contains("another than the controller knows"));

        let stick = Rack::new(Identity::AsIs).await;
        stick.machine.file("sys/block/vdb/removable", "1\n");
        assert!(stick.failure().await.contains("can be taken out"));

        let gone = Rack::new(Identity::AsIs).await;
        gone.machine.file("sys/block/vdb/serial", "ANOTHER");
        assert!(gone.failure().await.contains("it has serial:DATA, serial:ANOTHER"));
    });
}

#[test]
fn a_controller_that_is_away_is_waited_for_and_one_that_forgot_is_told_again() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(Identity::AsIs).await;
        rack.controller.with(|s| s.store.forgets = 2);
        let away = async {
            until("some windows", || rack.controller.with(|s| s.store.posts.len() >= 5)).await;
            rack.controller.with(|s| s.away = true);
            tokio::time::sleep(Duration::from_secs(3)).await;
            rack.controller.with(|s| s.away = false);
        };
        let (console, ()) = tokio::join!(rack.boot(), away);
        rack.assert_is(rack.tree.path());
        let (begun, asks) = rack.controller.with(|s| (s.store.begun, s.asks.len()));
        assert_eq!((begun, asks), (3, 1), "one job: {}", console.text());
    });
}

#[test]
fn a_controller_that_forgets_for_ever_is_told_so() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(Identity::AsIs).await;
        rack.controller.with(|s| s.store.forgets = 1000);
        let why = rack.failure().await;
        assert!(why.starts_with("the controller has forgotten 5 times"), "{why}");
    });
}

#[test]
fn a_cancelled_job_stops_and_is_no_failure() {
    if !is_root() {
        return;
    }
    run(async {
        for by_windows in [true, false] {
            let rack = Rack::new(Identity::AsIs).await;
            rack.controller.with(|s| match by_windows {
                true => s.store.cancel = true,
                // It is told once a second: the wire is kept busy failing until then.
                false => {
                    s.cancel = true;
                    s.faults = std::iter::repeat_n(Fault::Busy, 100_000).collect();
                }
            });
            rack.boot_until("another ask", |s, text| s.asks.len() >= 2 && text.contains("stopped")).await;
            rack.assert_untouched();
            let failed = rack.controller.with(|s| s.progress.iter().any(|p| p.failed.is_some()));
            assert!(!failed && rack.controller.with(|s| s.store.seal.is_none()));
        }
    });
}

const FINDING: &str = r#""what":"the machine's id","refuses":true,"places_total":2"#;

#[test]
fn a_view_without_identity_is_read_instead_of_the_disk_and_let_go() {
    if !is_root() {
        return;
    }
    run(async {
        let keep = ["shell-history".to_owned(), "x".to_owned()].into();
        let rack = Rack::new(Identity::Generalize { keep }).await;
        let other = TempDir::new().unwrap();
        lay(other.path());
        fs::write(other.path().join("etc/machine-id"), "").unwrap();
        fs::remove_dir_all(other.path().join("etc/ssh")).unwrap();
        let view = rack.machine.path().join("view.img");
        fs::copy(&rack.machine.disks[1].file, &view).unwrap();
        put(other.path(), &rack.machine, |bytes| {
            fs::OpenOptions::new().write(true).open(&view).unwrap().write_all_at(bytes, MIB).unwrap();
        });
        let log = rack.machine.path().join("log");
        let report = format!(
            r#"{{"refused":false,"view":"{}","item":{{"system":"OS 1","findings":[{{"id":"machine-id",{FINDING},"outcome":"stripped"}}],"unseen":[],"troubles":[]}}}}"#,
            view.display()
        );
        let report = report.replace('\'', "");
        let log_at = log.display();
        rack.program(&format!(
            "echo \"$@\" >>{log_at}\n[ $1 = clear ] && exit\nsleep 2\necho '{report}'\ncat >/dev/null\nls {} >>{log_at}\n",
            view.display()
        ));
        let console = rack.boot().await;
        rack.assert_is(other.path());
        let device = rack.machine.path().join("dev/vdb");
        let want =
            format!("clear\nview {} --keep shell-history --keep x\n{}\n", device.display(), view.display());
        assert_eq!(fs::read_to_string(&log).unwrap(), want, "it stayed until it was let go");
        let found = rack.controller.with(|s| s.store.seal.clone().unwrap().found);
        let what = "the machines id".to_owned();
        assert_eq!(found, [Found { rule: "machine-id".to_owned(), what, places: 2, kept: false }]);
        until("what it waits for", || console.text().contains("belongs to this machine")).await;
    });
}

#[test]
fn a_capture_that_failed_is_never_told_to_be_done() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(Identity::Generalize { keep: Default::default() }).await;
        let view = rack.machine.path().join("view.img");
        fs::copy(&rack.machine.disks[1].file, &view).unwrap();
        let report = format!(
            r#"{{"view":"{}","item":{{"system":"OS 1","findings":[],"unseen":[],"troubles":[]}}}}"#,
            view.display()
        );
        // While the view is let go, the last of what there is to tell is told.
        rack.program(&format!("[ $1 = clear ] && exit\necho '{report}'\ncat >/dev/null\nsleep 3\n"));
        rack.controller.with(|s| s.store.cancel = true);
        rack.boot_until("another ask", |s, text| s.asks.len() >= 2 && text.contains("stopped")).await;
        rack.controller.with(|s| {
            let told = s.progress.iter().map(|p| (p.done_bytes, p.total_bytes)).collect::<Vec<_>>();
            assert!(told.iter().any(|(_, total)| *total > 0), "{told:?}");
            assert!(told.iter().all(|(done, total)| *total == 0 || done < total), "{told:?}");
        });
    });
}

#[test]
fn a_disk_whose_identity_can_not_be_taken_out_is_refused_with_what_to_do() {
    if !is_root() {
        return;
    }
    run(async {
        let item = |system: &str, outcome: &str| {
            let finding = FINDING.replace('\'', "");
            format!(
                r#""item":{{"system":"{system}","findings":[{{"id":"machine-id",{finding},"outcome":"{outcome}"}}],"unseen":["volume vg/root: no"],"troubles":["machine-id: it is held"]}}"#
            )
        };
        let answered = |json: String, end: &str| format!("echo '{json}'\n{end}\n");
        let refused = format!(r#"{{"refused":true,"view":null,{}}}"#, item("OS 1", "found"));
        let nowhere = format!(r#"{{"refused":false,"view":"/dev/null",{}}}"#, item("OS 1", "stripped"));
        let empty = format!(r#"{{"refused":false,"view":"/dev/vdb",{}}}"#, item("", "stripped"));
        let table = [
            (
                answered(refused, "exit 5"),
                "let it into the image with --keep ID, or take the disk with all of it with --as-is): machine-id (machine-id: it is held)",
            ),
            (answered(nowhere, "cat"), "the view /dev/null is not made of the disk vdb"),
            (answered(empty, "cat"), "no system was found on the disk (volume vg/root: no)"),
            (answered("{".to_owned(), "cat"), "reading what image-build says of the disk"),
            ("echo no room >&2; exit 1\n".to_owned(), "ended with exit status: 1: no room"),
            (String::new(), "ended with exit status: 0"),
        ];
        for (script, words) in table {
            let rack = Rack::new(Identity::Generalize { keep: Default::default() }).await;
            rack.program(&script);
            let why = rack.failure().await;
            assert!(why.contains(words), "{script}: {why}");
            assert!(rack.controller.with(|s| s.store.begun == 0), "nothing was told");
        }
    });
}
