//! Imaging, disturbed: the daemon killed, the servers' power cut. Nothing starts from zero, nothing half-written boots.

use std::time::{Duration, Instant};

use xtask::artifacts::RECIPES;
use xtask::operator::Job;
use xtask::rack::controller::CONFIG;
use xtask::rack::disk;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot};
use xtask::say;

use crate::lab::{Lab, PATIENCE, fail, spec};

/// How far a job is when its server's power is cut, in percent of writing and reading back together: on each server in
/// turn, so twice as many cuts. The last one falls into the read-back. What lies between is what [`ALL_MOMENTS`] has, and what
/// `write_log` tries at every write.
const MOMENTS: &[u8] = &[1, 25, 52, 74];
/// With `RACKWRIGHT_LONG` set: each cut costs a boot of both servers, a minute.
const ALL_MOMENTS: &[u8] = &[1, 6, 12, 18, 25, 32, 39, 45, 52, 59, 66, 74];
/// Of a system disk, in bytes a second: a quicker one would be written before anybody could cut anything.
const SPEED: u64 = 80_000_000;

#[test]
#[ignore = "each cut costs a boot of two servers: cargo xtask test --long"]
fn imaging_survives_a_killed_daemon_and_power_cuts() {
    let mut servers = vec![
        spec("n3", Firmware::Bios, 3, Bus::Nvme, false),
        spec("n4", Firmware::Uefi, 4, Bus::Virtio, true),
    ];
    servers.iter_mut().for_each(|server| server.disks[0].speed = Some(SPEED));
    // One image, and no link on which it would be as quick to serve each: it is sent to both at once.
    let config = format!("{CONFIG}\n[cast]\nlimit_mbit = 400\n");
    let Some(mut lab) = Lab::up_with(&config, servers, &[RECIPES[0], RECIPES[0]]) else { return };
    for server in 0..2 {
        lab.start(server, Reboot::Off);
    }
    lab.until("imaging", |node| node.state == "imaging" || node.state == "verifying");
    daemon_killed(&mut lab);
    let heard = power_cuts(&mut lab);
    lab.until("verified", |node| node.state == "booting");
    for (server, heard) in heard.iter().enumerate() {
        say::line(&format!("    n{}: {} MiB came with the other's", server + 3, heard >> 20));
        assert!(*heard > 16 << 20, "the image was not sent to both at once");
    }
    // Each ramdisk found its key in the seed that the one before had left.
    assert_eq!(lab.approved_again(), 0, "a server that was cut had to be approved once more");
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
        assert_eq!(
            after.takes, before.takes,
            "the agent asked for its job again: {before:?} became {after:?}"
        );
        assert!(
            after.fetched_bytes >= before.fetched_bytes,
            "fetching began anew: {before:?} became {after:?}"
        );
        assert_eq!(lab.servers[server].powered().len(), 1, "the server was restarted");
        say::line(&format!("    daemon killed: {} went on from {} MiB", after.node, before.done_bytes >> 20));
    }
}

/// Power cuts on both servers, each when it is there; every next one proves that the job was resumed. Returns what came to each by
/// multicast, in bytes, over all its takes.
fn power_cuts(lab: &mut Lab) -> [u64; 2] {
    let moments = if std::env::var_os("RACKWRIGHT_LONG").is_some() { ALL_MOMENTS } else { MOMENTS };
    let (mut done, mut before, mut cuts) = ([0; 2], [None, None], 0);
    // In the take that goes on, and in those before.
    let (mut hears, mut heard) = ([0; 2], [0; 2]);
    let start = Instant::now();
    while done.iter().any(|&done| done < moments.len()) {
        assert!(start.elapsed() < 2 * PATIENCE, "only {cuts} power cuts so far");
        for server in 0..2 {
            let Some(&at) = moments.get(done[server]) else { continue };
            let job = lab.look(server);
            if let Some(lane) = job.as_ref().and_then(|job| job.lane.as_ref()) {
                if lane.multicast_bytes < hears[server] {
                    heard[server] += hears[server];
                }
                hears[server] = lane.multicast_bytes;
            }
            let job = job.filter(|job| there(job, before[server].as_ref(), at));
            let Some(job) = job else { continue };
            if let Some(before) = &before[server] {
                resumed(before, &job);
            }
            if job.state != "running" {
                say::line(&format!("    {} was done before {at} %", job.node));
                done[server] = moments.len();
                continue;
            }
            cut(lab, server, &job);
            (before[server], done[server], cuts) = (Some(job), done[server] + 1, cuts + 1);
            if done[server] > 1 {
                lab.start(server, Reboot::Off);
            } else if done == [1, 1] {
                // Both are off: neither comes to its end while the other is looked at.
                (0..2).for_each(|server| does_not_boot(lab, server));
                (0..2).for_each(|server| lab.start(server, Reboot::Off));
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // The last moments may be over before anybody has seen them.
    assert!(cuts >= 2 * moments.len() - moments.len().div_ceil(3), "only {cuts} power cuts");
    say::line(&format!("    {cuts} power cuts"));
    [heard[0] + hears[0], heard[1] + hears[1]]
}

/// Whether a job, taken anew since the last cut, has come to the next moment. Until its new agent says where it is,
/// what the one before said stands.
fn there(job: &Job, before: Option<&Job>, at: u8) -> bool {
    let says = |job: &Job| (job.done_bytes, job.fetched_bytes, job.read_back_bytes);
    let anew = before.is_none_or(|before| job.takes > before.takes && says(job) != says(before));
    anew && job.percent >= at || job.state != "running"
}

/// Cuts the power and looks at the disk: what a firmware would start is the whole image, or nothing.
fn cut(lab: &mut Lab, server: usize, job: &Job) {
    lab.servers[server].kill().unwrap_or_else(|error| fail(&error));
    let armed = disk::armed(&lab.servers[server].files().disks[0]).unwrap();
    let phase = job.phase.as_deref().unwrap_or_default();
    say::line(&format!("    power cut: {} at {} % ({phase}): {armed:?}", job.node, job.percent));
    if armed.boot_sector || armed.partition_table {
        lab.compare(server);
    }
}

/// The proof for those who don't trust our idea of what a firmware looks at: without a network, it finds nothing.
fn does_not_boot(lab: &mut Lab, server: usize) {
    let machine = &mut lab.servers[server];
    machine.fit_card(false);
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
    assert!(
        machine.serial().find(mark, &["GRUB", "EFI stub", "systemd[1]", "Welcome to"]).is_none(),
        "it started something"
    );
    say::line(&format!("    {} without its network: {}", machine.spec().name, line.text.trim()));
    machine.kill().unwrap_or_else(|error| fail(&error));
    machine.fit_card(true);
}

/// The next boot took the same job and kept what was right on the disk already.
fn resumed(before: &Job, after: &Job) {
    assert_eq!(after.id, before.id, "another job took over");
    if before.done_bytes > 64 << 20 && after.done_bytes >= before.done_bytes {
        assert!(
            after.same_bytes > before.done_bytes / 2,
            "hardly anything was kept: {before:?} became {after:?}"
        );
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
