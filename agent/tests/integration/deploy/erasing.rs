//! Disks are erased, and proven: real devices, the agent's own way to them, and a controller that hears of it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::deploy;
use protocol::{Doomed, EraseJob, JobId, Method, NodeId, Nonce, Phase, Subject, Task};

use super::controller::{Controller, State};
use super::image::MIB;
use super::machine::{Console, Machine};
use super::site::Site;
use super::{is_root, run, until};

const SYSTEM: u64 = 80 * MIB;
const MORE: u64 = 24 * MIB;
const KEPT: u64 = 16 * MIB;
const PLANTED: u64 = 1000;
const MARK: &[u8; 16] = b"planted canary n";

/// A server with a disk to be kept and two to be erased, all with something on them.
struct Rack {
    site: Arc<Site>,
    controller: Controller,
    machine: Machine,
    kept: Vec<u8>,
}

impl Rack {
    async fn new() -> Self {
        let mut machine = Machine::new();
        machine.add_disk("vda", "KEPT", KEPT);
        machine.add_disk("vdb", "SYSTEM", SYSTEM);
        machine.add_disk("vdc", "MORE", MORE);
        for (disk, bytes) in [(0, KEPT), (1, SYSTEM), (2, MORE)] {
            plant(&machine, disk, bytes);
        }
        let kept = fs::read(&machine.disks[0].file).unwrap();
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let rack = Self { site, controller, machine, kept };
        rack.orders(&["SYSTEM", "MORE"]);
        rack
    }

    fn doomed(&self, serial: &str) -> Doomed {
        Doomed { disk: Subject::of(&self.machine.inventory(serial)).unwrap(), own: false, erase: Vec::new() }
    }

    fn orders(&self, serials: &[&str]) {
        let disks = serials.iter().map(|serial| self.doomed(serial)).collect();
        self.give(disks);
    }

    fn give(&self, disks: Vec<Doomed>) {
        let job = EraseJob { job: JobId([6; 8]), challenge: Nonce([4; 16]), disks };
        self.controller.with(|s| s.task = Task::Erase(Box::new(job)));
    }

    async fn boot(&self) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        deploy::follow(&mut server).await.unwrap();
        console
    }

    async fn boot_until(&self, what: &str, so: impl Fn(&State) -> bool) {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("{what}: ended with {ended:?}: {}", console.text()),
            () = until(what, || self.controller.with(|s| so(s))) => {}
        }
    }

    async fn failure(&self) -> String {
        self.boot_until("a failure", |s| s.progress.iter().any(|p| p.failed.is_some())).await;
        self.controller.with(|s| s.progress.iter().find_map(|p| p.failed.clone()).unwrap())
    }

    /// How many marks are anywhere on a disk.
    fn left(&self, disk: usize) -> usize {
        let content = fs::read(&self.machine.disks[disk].file).unwrap();
        content.chunks(512).filter(|sector| sector.starts_with(MARK)).count()
    }

    fn assert_kept(&self) {
        assert!(fs::read(&self.machine.disks[0].file).unwrap() == self.kept, "the kept disk has changed");
        assert!(self.machine.disks.iter().all(|disk| !disk.is_read_only()), "all are writable again");
    }

    fn proven(&self) -> Vec<String> {
        self.controller.with(|s| s.erasures.iter().map(|erasure| erasure.serial.clone()).collect())
    }
}

/// A mark in each of so many sectors, from the first to the last.
fn plant(machine: &Machine, disk: usize, bytes: u64) {
    let mut content = vec![0x5a; usize::try_from(bytes).unwrap()];
    let sectors = bytes / 512;
    for number in 0..PLANTED {
        let at = usize::try_from(number * (sectors - 1) / (PLANTED - 1) * 512).unwrap();
        content[at..at + 16].copy_from_slice(MARK);
        content[at + 16..at + 24].copy_from_slice(&number.to_be_bytes());
    }
    machine.write(disk, 0, &content);
}

#[test]
fn nothing_is_left_of_a_thousand_blocks_and_no_other_disk_is_touched() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        assert_eq!([rack.left(0), rack.left(1), rack.left(2)], [1000; 3]);
        let kept = rack.machine.disks[0].device.clone();
        let protected = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&protected);
        rack.controller.with(|s| {
            s.awaited = 2;
            s.witness = Some(Box::new(move |_| {
                seen.store(
                    pack::disk::is_read_only(fs::File::open(&kept).unwrap()).unwrap(),
                    Ordering::Relaxed,
                );
            }));
        });
        let console = rack.boot().await;
        assert_eq!([rack.left(1), rack.left(2)], [0, 0]);
        assert!(protected.load(Ordering::Relaxed), "the kept disk refuses writes meanwhile");
        rack.assert_kept();
        let (node, erasures) = rack.controller.with(|s| (s.node, s.erasures.clone()));
        assert_eq!(erasures.len(), 2);
        for erasure in &erasures {
            erasure.proves(&rack.doomed(&erasure.serial).disk).unwrap();
            assert_eq!((erasure.method, erasure.method.level()), (Method::Overwrite, "clear"));
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, erasure.key.0);
            key.verify(erasure.statement(&node).as_bytes(), &erasure.signature.0).unwrap();
        }
        assert!(rack.machine.inventory("SYSTEM").holds.is_empty(), "it looks like an empty disk");
        until("the screen says so", || console.text().contains("rackwright-agent: erased\r\n")).await;
    });
}

#[test]
fn after_a_power_cut_it_is_not_called_erased_and_is_erased_again() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.orders(&["SYSTEM"]);
        rack.controller.with(|s| s.awaited = 1);
        let going = |s: &State| s.progress.iter().any(|p| p.phase == Phase::Erase);
        rack.boot_until("it has begun", going).await;
        assert_eq!(rack.proven(), [""; 0]);
        rack.boot().await;
        assert_eq!((rack.left(1), rack.left(2)), (0, 1000));
        assert_eq!(rack.proven(), ["SYSTEM"]);
        rack.assert_kept();
    });
}

#[test]
fn a_disk_in_doubt_is_left_alone_by_name_and_keeps_no_other() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        // Somebody has made a physical volume of it since the plan.
        let mut label = vec![0; 4096];
        label[512..520].copy_from_slice(b"LABELONE");
        label[536..544].copy_from_slice(b"LVM2 001");
        rack.machine.write(1, 0, &label);
        let before = rack.left(1);
        assert!(rack.machine.inventory("SYSTEM").holds.iter().any(|held| held.kind == "lvm"));
        let gone = Doomed {
            disk: Subject { serial: "GONE".to_owned(), ..rack.doomed("MORE").disk },
            ..rack.doomed("MORE")
        };
        rack.give(vec![rack.doomed("SYSTEM"), rack.doomed("MORE"), gone]);
        rack.controller.with(|s| s.awaited = usize::MAX);
        let why = rack.failure().await;
        assert!(why.contains("serial:SYSTEM: it holds what the plan did not show: lvm"), "{why}");
        assert!(
            why.contains("serial:MORE: the disk serial:MORE is another than the controller knows"),
            "{why}"
        );
        assert_eq!((rack.left(1), rack.left(2)), (before, 0));
        assert_eq!(rack.proven(), ["MORE"], "what was erased is proven all the same");
        rack.assert_kept();
    });
}

#[test]
fn a_mounted_disk_is_not_erased() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.orders(&["SYSTEM"]);
        let number = rack.machine.disks[1].number().trim().to_owned();
        rack.machine.file("proc/self/mountinfo", &format!("28 1 {number} / /srv rw - ext4 /dev/vdb rw\n"));
        let why = rack.failure().await;
        assert!(why.contains("the disk vdb is in use: it is mounted on /srv"), "{why}");
        assert_eq!((rack.left(1), rack.proven().len()), (1000, 0));
    });
}

#[test]
fn a_proof_that_is_not_taken_keeps_no_other_disk_from_being_erased() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.controller.with(|s| s.awaited = usize::MAX);
        let lies = async {
            until("the job is taken", || rack.controller.with(|s| !s.asks.is_empty())).await;
            rack.controller.with(|s| s.task_node = Some(NodeId([8; 16])));
            std::future::pending::<()>().await;
        };
        let why = tokio::select! {
            why = rack.failure() => why,
            () = lies => unreachable!("it lies for ever"),
        };
        assert!(why.contains(": its proof is not taken: "), "{why}");
        let mut proven = rack.proven();
        proven.sort();
        assert_eq!(
            (proven, rack.left(1), rack.left(2)),
            (vec!["MORE".to_owned(), "SYSTEM".to_owned()], 0, 0)
        );
        rack.assert_kept();
    });
}
