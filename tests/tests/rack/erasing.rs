//! A server's disks are erased, and looked at from outside: NVMe, SATA and SCSI with a thousand marks each, one that lies, one that lies
//! about a part of itself, and a drive that hides a namespace. What lies or hides is named, and never called erased.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::operator::Node;
use xtask::rack::controller::CONFIG;
use xtask::rack::disk::MIB;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Disk, Reboot, Spec, hidden_of};
use xtask::rack::server::Server;
use xtask::say;
use xtask::tool::Tool;

use crate::lab::{PATIENCE, Site, fail, spec};

/// How often a disk is marked: a block each, the first and the last of the disk among them.
const MARKS: u64 = 1000;
const BLOCK: u64 = 4096;
/// What a marked block has at its begin, and once more in its middle.
const MARK: &[u8; 24] = b"planted before the erase";
/// Disks that are erased, by serial number, and how.
const HONEST: [(&str, Bus, &str, &str); 3] = [
    ("FLASH", Bus::Nvme, "nvme-format-erase", "purge"),
    ("PLATTER", Bus::Sata, "overwrite", "clear"),
    ("SAS", Bus::Scsi, "overwrite", "clear"),
];
/// What the half of a liar keeps, whatever is written there.
const HALF: std::ops::Range<u64> = 32 * MIB..40 * MIB;
const BAD: [&str; 3] = ["LIAR", "HALF-LIAR", "HIDING"];

#[test]
#[ignore = "seven disks are written and erased, some minutes: cargo xtask test --long"]
fn nothing_is_left_on_disks_that_are_called_erased_and_those_that_lie_are_not() {
    let Some(site) = Site::up(CONFIG) else { return };
    let mut server = site.rack.server(machine()).unwrap_or_else(|error| fail(&error));
    let disks = server.files().disks.clone();
    for (seed, disk) in (1..).zip(&disks) {
        plant(disk, seed);
    }
    plant(&hidden_of(&disks[5]), 99);
    let before = disks.iter().map(|disk| left(disk)).collect::<Vec<_>>();
    assert_eq!(before, [2 * MARKS; 6], "what is planted is found");
    server.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    admitted(&site, "n8");
    retire(&site, &[]);
    let node = wait(&site, "needs attention", |node| node.state == "attention");
    let why = site.operator().why(&node.name);
    say::line(&why);
    for (serial, said) in BAD.iter().zip(["byte", "byte", "the namespace 2 beside"]) {
        let told =
            why.lines().any(|line| line.contains(&format!("serial:{serial}: ")) && line.contains(said));
        assert!(told, "{serial} is not named");
    }
    let marks = disks.iter().map(|disk| left(disk)).collect::<Vec<_>>();
    say::line(&format!("    marks that are left, of {} on each: {marks:?}", 2 * MARKS));
    assert_eq!(marks[..3], [0; 3]);
    assert_eq!((marks[3], marks[5], left(&hidden_of(&disks[5]))), (2 * MARKS, 2 * MARKS, 2 * MARKS));
    // It is caught by the blocks that are laid before anything is erased, but for its first and last MiB.
    let kept = 2 * marks_in(5, disk_bytes(&disks[4]));
    assert!(kept > 0 && (kept..2 * MARKS).contains(&marks[4]), "{kept} of {} are in what it keeps", marks[4]);
    certificates(&site, "failed");

    retire(&site, &BAD);
    wait(&site, "retired", |node| node.state == "retired");
    certificates(&site, "none");
    server.wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
    ends_are_empty(&server);
    drop(server);
    site.passed();
}

fn machine() -> Spec {
    let disk = |serial: &str, bus: Bus, mib: u64| Disk::plain(serial.to_owned(), mib * MIB, bus);
    let mut machine = spec("n8", Firmware::Bios, 8, Bus::Virtio, false);
    machine.disks = HONEST.map(|(serial, bus, ..)| disk(serial, bus, 192)).to_vec();
    machine.disks.extend([
        Disk { lies: Some(0..u64::MAX), ..disk(BAD[0], Bus::Virtio, 64) },
        Disk { lies: Some(HALF), ..disk(BAD[1], Bus::Virtio, 128) },
        Disk { hides: Some(64 * MIB), ..disk(BAD[2], Bus::Nvme, 64) },
    ]);
    machine
}

fn disk_bytes(disk: &Path) -> u64 {
    disk.metadata().unwrap().len()
}

/// Where a disk of so many bytes is marked: the same places for the same seed, each once.
fn places(mut seed: u64, bytes: u64) -> std::collections::BTreeSet<u64> {
    let blocks = bytes / BLOCK;
    let mut places = std::collections::BTreeSet::from([0, blocks - 1]);
    seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while (places.len() as u64) < MARKS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        places.insert(seed % blocks);
    }
    places.into_iter().map(|block| block * BLOCK).collect()
}

fn marks_in(seed: u64, bytes: u64) -> u64 {
    places(seed, bytes).iter().filter(|at| HALF.contains(*at)).count() as u64
}

fn plant(disk: &Path, seed: u64) {
    let file = File::options().write(true).open(disk).unwrap();
    for at in places(seed, disk_bytes(disk)) {
        file.write_all_at(MARK, at).unwrap();
        file.write_all_at(MARK, at + BLOCK / 2).unwrap();
    }
}

/// How many marks are anywhere in a file, at whatever offset.
fn left(disk: &Path) -> u64 {
    // What was never written reads as zeros: as ends of lines they keep grep from holding all of it.
    let mark = String::from_utf8_lossy(MARK);
    let found = Tool::new("grep").args(["-z", "-a", "-o", "-b", "-F", "--", &mark]).arg(disk).output();
    let found = found.unwrap_or_else(|error| fail(&error));
    assert!(matches!(found.status.code(), Some(0 | 1)), "{found:?}");
    found.stdout.matches(mark.as_ref()).count() as u64
}

pub(crate) fn admitted(site: &Site, name: &str) {
    let node = wait(site, "discovered", |node| node.code.is_some());
    let code = node.code.unwrap_or_default();
    let approved = site.operator().approve(&code, name, &["storage".to_owned()]);
    approved.unwrap_or_else(|error| fail(&error));
    wait(site, "ready", |node| node.state == "ready");
}

fn wait(site: &Site, what: &str, there: impl Fn(&Node) -> bool) -> Node {
    let start = Instant::now();
    loop {
        let nodes = site.operator().nodes().unwrap_or_else(|error| fail(&error));
        if let Some(node) = nodes.iter().find(|node| there(node)) {
            say::line(&format!("    {what} after {}", say::seconds(start.elapsed())));
            return node.clone();
        }
        assert!(start.elapsed() < PATIENCE, "not {what}: {nodes:#?}\n{}", site.operator().why("n8"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// As an operator does it: a plan that is shown, applied with the node's name.
fn retire(site: &Site, keep: &[&str]) {
    let keep = keep.iter().map(|serial| format!("serial:{serial}")).collect::<Vec<_>>();
    let mut argv = vec!["node", "retire", "n8", "-o", "json"];
    keep.iter().for_each(|disk| argv.extend(["--keep", disk]));
    let plan = json(&site.controller.rackwright(&argv).unwrap_or_else(|error| fail(&error)));
    let id = plan["id"].as_str().or(plan["item"]["id"].as_str()).unwrap().to_owned();
    site.operator().apply(&id, "n8").unwrap_or_else(|error| fail(&error));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Of the newest retirement: every honest disk has a certificate with what was done and read; no other has one.
fn certificates(site: &Site, others: &str) {
    let argv = ["node", "erasures", "n8", "-o", "json"];
    let told = json(&site.controller.rackwright(&argv).unwrap_or_else(|error| fail(&error)));
    let rows = told["items"].as_array().unwrap();
    let last = rows.last().unwrap()["plan"].clone();
    let rows = rows.iter().filter(|row| row["plan"] == last).collect::<Vec<_>>();
    for (serial, _, method, level) in HONEST {
        let row = rows.iter().find(|row| row["serial"] == serial).unwrap();
        let proof = &row["certificate"];
        assert_eq!(
            (&row["state"], &proof["method"], &proof["level"]),
            (&"proven".into(), &method.into(), &level.into()),
            "{row}"
        );
        let count = |key: &str| proof[key].as_u64().unwrap();
        let bytes = row["bytes"].as_u64().unwrap();
        assert!(count("canaries") > 700 && count("samples") > 7000, "{row}");
        assert!(count("sampledBytes") >= count("samples") * BLOCK, "{row}");
        assert_eq!(count("writtenBytes"), if level == "clear" { bytes } else { 0 }, "{row}");
        let statement = proof["statement"].as_str().unwrap();
        assert!(
            statement.contains(&format!("serial \"{serial}\"\n"))
                && statement.contains(&format!("level {level}\n"))
        );
        let counts = [count("canaries"), count("samples"), count("sampledBytes"), count("milliseconds")];
        say::line(&format!("    {serial}: {method} ({level}), canaries, places, bytes, ms: {counts:?}"));
    }
    let bad = rows.iter().filter(|row| BAD.iter().any(|serial| row["serial"] == *serial)).collect::<Vec<_>>();
    assert_eq!(bad.len(), if others == "none" { 0 } else { BAD.len() });
    assert!(bad.iter().all(|row| row["certificate"].is_null() && row["state"] == others), "{bad:#?}");
}

/// Nothing of an erased disk boots, or looks like anything.
fn ends_are_empty(server: &Server) {
    for disk in &server.files().disks[..HONEST.len()] {
        let file = File::open(disk).unwrap();
        let ends = [0, disk_bytes(disk) - MIB].map(|at| {
            let mut end = vec![0; 1 << 20];
            file.read_exact_at(&mut end, at).unwrap();
            end
        });
        assert!(ends.iter().flatten().all(|byte| *byte == 0), "{}", disk.display());
    }
}
