//! A server under load: real cores, real memory, real devices, and a controller that hears of it. No byte of a disk changes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::deploy;
use protocol::{JobId, Part, Task, TestJob, TestReport};

use super::controller::{Controller, State};
use super::image::MIB;
use super::machine::{Console, Machine};
use super::site::Site;
use super::{is_root, run, until};

const SYSTEM: u64 = 48 * MIB;
const DATA: u64 = 24 * MIB;

struct Rack {
    site: Arc<Site>,
    controller: Controller,
    machine: Machine,
}

impl Rack {
    async fn new(parts: &[Part], seconds: u64) -> Self {
        let mut machine = Machine::new();
        // So much of this machine's memory, and no more.
        machine
            .file("proc/meminfo", &format!("MemTotal: 4194304 kB\nMemAvailable: {} kB\n", (384 + 32) << 10));
        machine.add_disk("vda", "SYSTEM", SYSTEM);
        machine.add_disk("vdb", "DATA", DATA);
        for (disk, bytes) in [(0, SYSTEM), (1, DATA)] {
            let pattern = (0..bytes / 8).flat_map(|word| (word * 0x9e37_79b9).to_le_bytes());
            machine.write(disk, 0, &pattern.collect::<Vec<_>>());
        }
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let parts = parts.iter().copied().collect();
        let job = TestJob { job: JobId([6; 8]), parts, seconds, seed: 5 };
        controller.with(|s| s.task = Task::Test(Box::new(job)));
        Self { site, controller, machine }
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

    fn contents(&self) -> Vec<blake3::Hash> {
        self.machine.disks.iter().map(|disk| blake3::hash(&fs::read(&disk.file).unwrap())).collect()
    }

    fn last(&self) -> TestReport {
        self.controller.with(|s| s.tests.last().cloned().unwrap())
    }

    fn whats(&self) -> Vec<String> {
        self.last().faults.into_iter().map(|fault| fault.what).collect()
    }
}

#[test]
fn everything_is_measured_nothing_is_found_and_not_a_byte_is_written() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(&Part::ALL, 9).await;
        let before = rack.contents();
        let disk = rack.machine.disks[0].device.clone();
        let protected = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&protected);
        rack.controller.with(|s| {
            s.witness = Some(Box::new(move |part| {
                if part > 0 && pack::disk::is_read_only(fs::File::open(&disk).unwrap()).unwrap() {
                    seen.store(true, Ordering::Relaxed);
                }
            }));
        });
        let console = rack.boot().await;
        assert!(protected.load(Ordering::Relaxed), "the kernel refuses writes meanwhile");
        assert!(rack.machine.disks.iter().all(|disk| !disk.is_read_only()), "and no longer");
        assert_eq!(rack.contents(), before);
        let report = rack.last();
        assert!(report.over && report.unable.is_none(), "{report:?}");
        assert_eq!(report.faults, []);
        assert!(report.milliseconds >= 7000 && report.milliseconds < 60_000, "{}", report.milliseconds);
        let figures = report.figures;
        assert!(figures.cpu.unwrap().rounds > 0 && figures.memory.unwrap().patterns > 0, "{figures:?}");
        let network = figures.network.unwrap();
        assert_eq!((network.interface.as_str(), network.link_mbit), ("eth0", Some(1000)));
        assert!(network.rate.unwrap() > 1 << 20 && network.bytes > 1 << 20, "{network:?}");
        let disks = figures.disks;
        assert_eq!(
            disks.iter().map(|disk| disk.disk.as_str()).collect::<Vec<_>>(),
            ["serial:SYSTEM", "serial:DATA"]
        );
        for disk in &disks {
            assert!(disk.start.unwrap() > 0 && disk.middle.unwrap() > 0 && disk.end.unwrap() > 0, "{disk:?}");
            assert!(disk.random_reads > 0 && disk.median_micros <= disk.p99_micros, "{disk:?}");
            assert!(disk.p99_micros <= disk.max_micros && disk.errors == 0, "{disk:?}");
            assert!(disk.health.well.is_none() && disk.health.unknown.is_some(), "nobody knows: {disk:?}");
        }
        until("the screen says so", || console.text().contains("rackwright-agent: tested\r\n")).await;
        let parts = rack
            .controller
            .with(|s| s.tests.iter().filter_map(|t| t.part).collect::<std::collections::BTreeSet<_>>());
        assert!(parts.contains(&Part::Cpu) && parts.contains(&Part::Memory), "told all the while: {parts:?}");
    });
}

/// A loop over a file that ends early: the kernel answers reads beyond with an I/O error, as it does for a bad sector.
#[test]
fn a_block_that_cannot_be_read_is_named_by_its_sector() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(&[Part::Disk], 3).await;
        let file = fs::OpenOptions::new().write(true).open(&rack.machine.disks[1].file).unwrap();
        file.set_len(DATA - 4096).unwrap();
        let console = rack.boot().await;
        let sector = (DATA - 4096) / 512;
        let whats = rack.whats();
        assert_eq!(whats.len(), 1, "{whats:?}");
        assert!(whats[0].starts_with(&format!("serial:DATA: sector {sector} can't be read: ")), "{whats:?}");
        let disks = rack.last().figures.disks;
        assert_eq!(disks[0].errors, 0, "the other disk is well");
        assert!(disks[1].errors >= 1 && disks[1].start.is_some(), "the rest of it was read: {disks:?}");
        until("the screen says so", || console.text().contains("found errors")).await;
    });
}

#[test]
fn a_disk_that_is_dead_is_given_up_and_keeps_no_other() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(&[Part::Disk], 2).await;
        fs::OpenOptions::new().write(true).open(&rack.machine.disks[1].file).unwrap().set_len(0).unwrap();
        rack.boot().await;
        let report = rack.last();
        let of_it =
            report.faults.iter().filter(|fault| fault.what.starts_with("serial:DATA: sector")).count();
        assert!((1..=16).contains(&of_it) && of_it == report.faults.len(), "{report:?}");
        let given_up =
            report.remarks.iter().any(|remark| remark.what.contains("not read any further after 16 errors"));
        assert!(given_up && report.figures.disks[0].read_bytes > MIB, "{report:?}");
    });
}

#[test]
fn it_stops_when_the_controller_says_so() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(&[Part::Cpu], 3600).await;
        rack.controller.with(|s| s.cancel = true);
        let began = std::time::Instant::now();
        rack.boot().await;
        assert!(began.elapsed().as_secs() < 60);
        assert!(!rack.last().over, "nobody judges half a test");
    });
}

#[test]
fn of_a_server_that_dies_under_load_is_known_what_it_was_doing() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new(&[Part::Cpu, Part::Memory], 600).await;
        rack.boot_until("it says so", |s| {
            s.tests.iter().any(|t| t.part == Some(Part::Cpu) && t.milliseconds > 0)
        })
        .await;
        let last = rack.last();
        assert!(!last.over && last.part == Some(Part::Cpu), "{last:?}");
    });
}
