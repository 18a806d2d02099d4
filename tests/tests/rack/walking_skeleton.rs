//! From bare servers to a running cloud, on both firmwares; then one unit stopped behind our back, and a rebuild.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use xtask::operator::Node;
use xtask::rack::disk::MIB;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot};
use xtask::{say, timeline};

use crate::lab::{Lab, fail, spec};
use crate::offline;
use crate::shell::Shell;

/// A unit of the control role that nothing else needs at once.
const VICTIM: &str = "memcached.service";
/// A drift has to be in the event log this soon.
const NOTICED: Duration = Duration::from_secs(2);
/// On the data disk, far from everything that LVM writes by itself.
const MARK: &[u8] = b"this data was here before the rebuild";
const MARK_AT: u64 = 900 * MIB;

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
    rebuilt(&mut lab);
    lab.passed();
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

/// Rebuild of n2: new bytes on the system disk, the same node, the data disk as it was.
fn rebuilt(lab: &mut Lab) {
    let before = lab.node(1);
    let keys = "cat /etc/ssh/ssh_host_*_key.pub /etc/hostname";
    let mut shell = Shell::open(&lab.servers[1].files().shell, Duration::from_secs(60));
    let identity = shell.run(keys);
    assert!(identity.contains("ssh-ed25519"), "{identity}");
    // The mark goes in from inside: the running kernel must not find its disk changed under it.
    let seek = MARK_AT / 512;
    let mark = String::from_utf8_lossy(MARK);
    shell.run(&format!("printf '%s' '{mark}' | dd of=/dev/disk/by-id/ata-QEMU_HARDDISK_DATA-N2 bs=512 seek={seek} conv=notrunc,fsync"));
    drop(shell);
    lab.servers[1].on_reboot(Reboot::Again).unwrap_or_else(|error| fail(&error));
    lab.operator().rebuild("n2").unwrap_or_else(|error| fail(&error));
    lab.until("imaging", |node| node.name == "n1" || node.state == "imaging");
    // From the next restart on it goes off: after imaging, before the first boot.
    lab.servers[1].on_reboot(Reboot::Off).unwrap_or_else(|error| fail(&error));
    lab.until("verified", |node| node.name == "n1" || node.state == "booting");
    lab.servers[1].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
    lab.compare(1);
    assert_marked(lab);
    offline::add_shell(&lab.servers[1].files().disks[0]);
    lab.start(1, Reboot::Again);
    lab.until("active with all units up", active);
    let after = lab.node(1);
    assert_eq!((&after.id, &after.name, &after.address), (&before.id, &before.name, &before.address));
    let mut shell = Shell::open(&lab.servers[1].files().shell, Duration::from_secs(60));
    assert_eq!(shell.run(keys), identity, "the rebuilt node has other host keys or another name");
    assert_eq!(lab.approved_again(), 0, "the rebuild needed a second approval");
    assert_marked(lab);
}

fn assert_marked(lab: &Lab) {
    let mut found = vec![0; MARK.len()];
    File::open(&lab.servers[1].files().disks[1]).unwrap().read_exact_at(&mut found, MARK_AT).unwrap();
    assert_eq!(found, MARK, "the data disk was written to");
}
