//! Imaging, disturbed: the daemon killed, the servers' power cut. Nothing starts from zero, nothing half-written boots.

use std::time::{Duration, Instant};

use xtask::operator::Job;
use xtask::rack::disk;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot};
use xtask::say;

use crate::lab::{Lab, PATIENCE, fail, spec};

/// Power cuts over both servers; `RACKWRIGHT_CUTS` asks for more.
const CUTS: usize = 6;

#[test]
fn imaging_survives_a_killed_daemon_and_power_cuts() {
    let servers = vec![
        spec("n3", Firmware::Bios, 3, Bus::Nvme, false),
        spec("n4", Firmware::Uefi, 4, Bus::Virtio, true),
    ];
    let Some(mut lab) = Lab::up(servers) else { return };
    for server in 0..2 {
        lab.start(server, Reboot::Off);
    }
    lab.until("imaging", |node| node.state == "imaging");
    daemon_killed(&mut lab);
    power_cut(&mut lab);
    lab.until("verified", |node| node.state == "booting");
    for server in 0..2 {
        lab.servers[server].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
        lab.compare(server);
    }
    lab.passed();
}

/// `kill -9` of the daemon: the jobs go on where they were, in the same take, on servers that never went off.
fn daemon_killed(lab: &mut Lab) {
    for server in 0..2 {
        wait_for(lab, server, |job| job.done_bytes > 16 << 20);
    }
    let before: Vec<Job> = (0..2).filter_map(|server| lab.look(server)).collect();
    lab.controller.kill9_daemon().unwrap_or_else(|error| fail(&error));
    lab.controller.wait_ready(Duration::from_secs(60)).unwrap_or_else(|error| fail(&error));
    for (server, before) in before.iter().enumerate() {
        let after = wait_for(lab, server, |job| job.done_bytes > before.done_bytes || job.state != "running");
        assert_eq!(after.id, before.id, "another job took over");
        assert!(after.takes <= before.takes + 1, "{before:?} became {after:?}");
        assert!(
            after.fetched_bytes >= before.fetched_bytes,
            "fetching began anew: {before:?} became {after:?}"
        );
        assert_eq!(lab.servers[server].powered().len(), 1, "the server was restarted");
        say::line(&format!("    daemon killed: {} went on from {} MiB", after.node, before.done_bytes >> 20));
    }
}

/// Power cuts at moments spread over the whole of imaging, alternating between the servers.
fn power_cut(lab: &mut Lab) {
    let cuts = std::env::var("RACKWRIGHT_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS);
    for cut in 0..cuts {
        let server = cut % 2;
        // Percent counts writing and reading back, so the last moments are in the read-back and the arming.
        let at = u8::try_from(100 * (cut + 1) / (cuts + 1)).unwrap();
        let job = wait_for(lab, server, |job| job.percent >= at || job.state != "running");
        if job.state == "verified" || job.state == "done" {
            say::line(&format!("    {} was done before cut {cut}", job.node));
            continue;
        }
        lab.servers[server].kill().unwrap_or_else(|error| fail(&error));
        let armed = disk::armed(&lab.servers[server].files().disks[0]).unwrap();
        say::line(&format!(
            "    power cut {cut} of {} at {} % ({:?}): {armed:?}",
            job.node, job.percent, job.phase
        ));
        // Arming is the last write of all: an armed disk is a whole one.
        if armed.boot_sector || armed.partition_table {
            assert_eq!(job.phase.as_deref(), Some("arm"), "half written, and yet a firmware would start it");
        } else if cut < 2 {
            does_not_boot(lab, server);
        }
        lab.start(server, Reboot::Off);
        resumed(lab, server, &job);
    }
}

/// The proof for those who don't trust our idea of what a firmware looks at: without a network, it finds nothing.
fn does_not_boot(lab: &mut Lab, server: usize) {
    let machine = &mut lab.servers[server];
    machine.cable(false).unwrap_or_else(|error| fail(&error));
    let mark = machine.serial().mark();
    machine.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    let nothing = [
        "No bootable device",
        "no bootable option",
        "UEFI Interactive Shell",
        "No bootable option or device",
    ];
    let line =
        machine.wait_serial(mark, &nothing, Duration::from_secs(180)).unwrap_or_else(|error| fail(&error));
    assert!(machine.serial().find(mark, &["Linux version", "GRUB"]).is_none(), "it started something");
    say::line(&format!("    {} without its network: {}", machine.spec().name, line.text.trim()));
    machine.kill().unwrap_or_else(|error| fail(&error));
    machine.cable(true).unwrap_or_else(|error| fail(&error));
}

/// The next boot takes the same job and keeps what is right on the disk already.
fn resumed(lab: &mut Lab, server: usize, before: &Job) {
    let after =
        wait_for(lab, server, |job| job.takes > before.takes && job.done_bytes > before.done_bytes / 2);
    assert_eq!(after.id, before.id, "another job took over");
    if before.done_bytes > 64 << 20 {
        assert!(after.same_bytes > 0, "nothing was kept: {before:?} became {after:?}");
    }
}

/// Looks until the newest job of a server satisfies `there`; goes on approving and applying meanwhile.
fn wait_for(lab: &mut Lab, server: usize, there: impl Fn(&Job) -> bool) -> Job {
    let start = Instant::now();
    loop {
        let job = lab.look(server);
        if let Some(job) = job.clone().filter(&there) {
            return job;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?}; the job is {job:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
