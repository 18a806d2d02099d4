//! From bare servers to a running cloud, on both firmwares; then one unit stopped behind our back, and a rebuild: in a long run from
//! images that were taken of the servers themselves.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use xtask::operator::Node;
use xtask::rack::disk::MIB;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot};
use xtask::{say, timeline};

use crate::lab::{Lab, PATIENCE, fail, spec};
use crate::offline;
use crate::shell::Shell;

/// A unit of the control role that nothing else needs at once.
const VICTIM: &str = "memcached.service";
/// A drift has to be in the event log this soon.
const NOTICED: Duration = Duration::from_secs(2);
/// On the data disk, far from everything that LVM writes by itself.
const MARK: &[u8] = b"this data was here before the rebuild";
const MARK_AT: u64 = 900 * MIB;
/// The images that are taken of n1 and n2.
const AS_IT_WAS: &str = "n1-as-it-was";
const GOLDEN: &str = "golden";

#[test]
fn both_firmwares_reach_active_stay_so_and_survive_a_rebuild() {
    let servers = vec![
        spec("n1", Firmware::Bios, 1, Bus::Virtio, false),
        spec("n2", Firmware::Uefi, 2, Bus::Sata, true),
    ];
    let Some(mut lab) = Lab::up(servers) else { return };
    image_and_compare(&mut lab);
    first_boot(&mut lab);
    stopped_behind_our_back(&mut lab);
    if std::env::var_os("RACKWRIGHT_LONG").is_some() {
        captured(&mut lab);
        rebuilt(&mut lab, [AS_IT_WAS, GOLDEN], [true, false], |_| {});
    } else {
        let images = lab.wanted.iter().map(|server| server.image.clone()).collect::<Vec<_>>();
        for server in &lab.servers {
            server.on_reboot(Reboot::Off).unwrap_or_else(|error| fail(&error));
        }
        rebuilt(&mut lab, [&images[0], &images[1]], [false, false], with_a_shell_again);
    }
    lab.passed();
}

/// What is written by the network has no shell of ours: it is put there between the writing and the first boot. Each restart is a
/// power-off here, so that neither server can be missed in what it does meanwhile.
fn with_a_shell_again(lab: &mut Lab) {
    for server in 0..2 {
        lab.servers[server].wait_off(PATIENCE).unwrap_or_else(|error| fail(&error));
        lab.start(server, Reboot::Off);
    }
    lab.until("verified", |node| node.state == "booting");
    for server in 0..2 {
        lab.servers[server].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
        offline::add_shell(&lab.servers[server].files().disks[0]);
        lab.start(server, Reboot::Again);
    }
}

/// Power on; the disks are compared before anything started from them.
fn image_and_compare(lab: &mut Lab) {
    for server in 0..2 {
        lab.start(server, Reboot::Off);
    }
    lab.until("verified", |node| node.state == "booting");
    for server in 0..2 {
        lab.servers[server].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
        lab.compare(server);
        offline::add_shell(&lab.servers[server].files().disks[0]);
    }
}

fn active(node: &Node) -> bool {
    node.state == "active" && node.health == "ok"
}

fn first_boot(lab: &mut Lab) {
    for server in 0..2 {
        lab.start(server, Reboot::Again);
    }
    lab.until("active with all units up", active);
    let events = lab.events();
    let rows: Vec<_> = lab
        .servers
        .iter()
        .map(|server| {
            let (name, mac) = (&server.spec().name, server.spec().mac());
            let stages = timeline::stages(server.powered()[0], name, mac, &events, &server.serial().lines());
            (name.clone(), stages)
        })
        .collect();
    say::line(&timeline::table(&rows));
    let down: Vec<_> = lab
        .operator()
        .services()
        .unwrap()
        .into_iter()
        .filter(|service| service.wanted == "running" && service.active != "active")
        .collect();
    assert!(down.is_empty(), "{down:?}");
}

/// `systemctl stop` on the node itself: reported within two seconds, brought back, and an event says so.
fn stopped_behind_our_back(lab: &mut Lab) {
    let mut shell = Shell::open(&lab.servers[0].files().shell, Duration::from_secs(60));
    assert_eq!(shell.run(&format!("systemctl is-active {VICTIM}")), "active");
    let seen = lab.events().last().map_or(0, |event| event.seq);
    shell.run(&format!("systemctl stop {VICTIM}"));
    // The unit was down before systemctl returned, so this clock starts late, never early.
    let stopped = SystemTime::now();
    let deadline = stopped + Duration::from_secs(60);
    let reported = loop {
        let events = lab.events();
        let ours = |event: &&xtask::operator::Event| {
            event.seq > seen && event.node == "n1" && event.text.contains(VICTIM)
        };
        if let Some(event) = events.iter().find(ours) {
            break event.clone();
        }
        assert!(SystemTime::now() < deadline, "{VICTIM} was stopped and no event says so:\n{events:#?}");
    };
    let late = reported.at().unwrap().duration_since(stopped).unwrap_or_default();
    say::line(&format!(
        "    {VICTIM} stopped on the node; reported {} later: {}",
        say::seconds(late),
        reported.text
    ));
    assert!(late <= NOTICED, "reported only after {late:?}: {reported:?}");
    lab.until("active with all units up", active);
    let again = Duration::from_secs(60);
    let start = SystemTime::now();
    while shell.run(&format!("systemctl is-active {VICTIM} || true")) != "active" {
        assert!(start.elapsed().unwrap() < again, "{VICTIM} was not brought back within {again:?}");
    }
}

/// Images of both while they are at work: of n1 as it is, of n2 without what belongs to it. Both come back as what they were.
fn captured(lab: &mut Lab) {
    let before = [0, 1].map(|server| (lab.node(server).id, machine(lab, server)));
    let jobs = [("n1", AS_IT_WAS, "--as-is"), ("n2", GOLDEN, "--generalize")].map(|(node, image, how)| {
        lab.operator().capture(node, image, how).unwrap_or_else(|error| fail(&error))
    });
    lab.until("captured and active again", active);
    for (server, job) in jobs.iter().enumerate() {
        let row = lab.operator().jobs().unwrap().into_iter().find(|row| row.id == *job).unwrap();
        let shown = lab.operator().job(job).unwrap_or_else(|error| fail(&error));
        assert_eq!((row.state.as_str(), row.takes), ("done", 1), "{shown}");
        let (read, same, sent) = (row.done_bytes / MIB, row.same_bytes / MIB, row.fetched_bytes / MIB);
        say::line(&format!(
            "    {}: {read} MiB read, {same} MiB in the store already, {sent} MiB sent",
            row.node
        ));
        assert!(same > read / 2, "most of it is what the store has, however it is packed");
        assert_eq!((lab.node(server).id, machine(lab, server)), before[server], "another node came back");
    }
    assert_eq!(lab.approved_again(), 0, "a capture needed a second approval");
    // What n1 was is for n1 alone.
    let refused = lab.operator().plan("n2", AS_IT_WAS, &lab.wanted[1].disk).unwrap_err();
    let refused = say::chain(&refused);
    assert!(refused.contains("n1 as it was"), "{refused}");
}

/// What tells a running system from others.
fn machine(lab: &Lab, server: usize) -> String {
    Shell::open(&lab.servers[server].files().shell, Duration::from_secs(60)).run("cat /etc/machine-id")
}

/// Both written anew from these images: new bytes on the system disk, the same nodes, the data disk as it was. `keeps`: whether the image
/// has the machine's own id in it.
fn rebuilt(lab: &mut Lab, images: [&str; 2], keeps: [bool; 2], meanwhile: impl FnOnce(&mut Lab)) {
    let keys = "cat /etc/ssh/ssh_host_*_key.pub /etc/hostname";
    let before = [0, 1].map(|server| {
        let node = lab.node(server);
        let identity = Shell::open(&lab.servers[server].files().shell, Duration::from_secs(60)).run(keys);
        assert!(identity.contains("ssh-ed25519"), "{identity}");
        (node.id, node.name, node.address, identity, machine(lab, server))
    });
    // The mark goes in from inside: the running kernel must not find its disk changed under it.
    let seek = MARK_AT / 512;
    let mark = String::from_utf8_lossy(MARK);
    Shell::open(&lab.servers[1].files().shell, Duration::from_secs(60))
        .run(&format!("printf '%s' '{mark}' | dd of=/dev/disk/by-id/ata-QEMU_HARDDISK_DATA-N2 bs=512 seek={seek} conv=notrunc,fsync"));
    for (node, image) in ["n1", "n2"].into_iter().zip(images) {
        lab.operator().rebuild(node, image).unwrap_or_else(|error| fail(&error));
    }
    meanwhile(lab);
    lab.until("active with all units up", active);
    let after = [0, 1].map(|server| {
        let node = lab.node(server);
        let identity = Shell::open(&lab.servers[server].files().shell, Duration::from_secs(60)).run(keys);
        (node.id, node.name, node.address, identity, machine(lab, server))
    });
    for ((old, new), keeps) in before.iter().zip(&after).zip(keeps) {
        assert_eq!(
            (&new.0, &new.1, &new.2, &new.3),
            (&old.0, &old.1, &old.2, &old.3),
            "the same node, with its host keys"
        );
        assert_eq!(new.4 == old.4, keeps, "only an image of a machine as it was has its id");
    }
    assert_eq!(lab.approved_again(), 0, "the rebuild needed a second approval");
    assert_marked(lab);
}

fn assert_marked(lab: &Lab) {
    let mut found = vec![0; MARK.len()];
    File::open(&lab.servers[1].files().disks[1]).unwrap().read_exact_at(&mut found, MARK_AT).unwrap();
    assert_eq!(found, MARK, "the data disk was written to");
}
