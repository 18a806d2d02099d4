//! The live system goes onto a disk and stays: what it knew and what it learns outlives power cuts, and a newer system either comes up or
//! is left again by itself.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask::rack::disk::MIB;
use xtask::rack::firmware::Firmware;
use xtask::rack::gpt;
use xtask::rack::live::{Disk, Live, Medium, Spec};
use xtask::rack::machine::log_of;
use xtask::rack::write_log::{Entry, WriteLog};
use xtask::say;
use xtask::tool::Tool;

use super::{Bench, CONFIG, live_system, shell, type_in, until, until_said};
use crate::cuts::{Head, Heads, old_system, range};
use crate::shell::Shell;

const SERIAL: &str = "CTRL1";
/// Copying a medium, reading it back and summing it up, emulated, beside other things.
const COPY: Duration = Duration::from_secs(30 * 60);

/// An empty disk; what is on it takes room, and nothing else does.
fn disk(bench: &Bench, name: &str) -> PathBuf {
    let disk = bench.dir.join(name);
    File::create(&disk).unwrap().set_len(14 << 30).unwrap();
    disk
}

/// A machine that has only that disk, from power to its console.
fn installed(bench: &Bench, name: &str, firmware: Firmware, disk: &Path, drive: Option<&Path>) -> Live {
    bench.start(&Spec { disk: Some(plain(disk)), drive, ..bench.spec(name, firmware, Medium::None) })
}

fn plain(file: &Path) -> Disk<'_> {
    Disk { file, serial: SERIAL, logged: false }
}

/// The live system, configured, on this disk.
fn install(bench: &Bench, firmware: Firmware, medium: Medium, disk: Disk<'_>) {
    let drive = bench.rackconf("rackwright.toml", CONFIG);
    let spec = Spec { drive: Some(&drive), disk: Some(disk), ..bench.spec("live", firmware, medium) };
    let live = bench.start(&spec);
    let mut shell = shell(&live);
    running(&mut shell);
    let listed = shell.run("rackwright install --list");
    assert!(listed.contains(SERIAL) && listed.contains("on it: "), "{listed}");
    let refused =
        shell.run(&format!("rackwright install --disk {SERIAL} --confirm CTRL2 2>&1 || echo code $?"));
    assert!(refused.contains("nothing was written") && refused.contains("code 5"), "{refused}");
    // What it was told lives on.
    shell.run("echo told >/etc/rackwright/told");
    let command = format!("rackwright install --disk {SERIAL} --confirm {SERIAL}");
    let said = shell.answer(&command, ("Installed on CTRL1", "it would learn what would be lost."), COPY);
    say::line(said.lines().find(|line| line.contains("Installed on")).unwrap_or_default());
    let left = shell.run("losetup --all | grep /dev/vd; grep /run/rackwright- /proc/mounts; true");
    assert_eq!(left, "", "something is left over");
}

/// The daemon is up.
fn running(shell: &mut Shell) {
    until_said(shell, "systemctl is-active rackwright | sed s/^/is:/", "is:active");
}

fn status(shell: &mut Shell) -> String {
    shell.run("rackwright update status")
}

/// A machine as they are sold, with Secure Boot, is installed from a stick; then the disk alone is the controller, in that machine and
/// in an old one; it keeps what it has learned through power cuts, and its programs are what was built at each start.
#[test]
#[ignore = "three boots and a copy of the medium: cargo xtask iso --test"]
fn the_live_system_on_a_disk_is_the_controller_and_stays() {
    let Some(bench) = Bench::up("installed") else { return };
    let disk = disk(&bench, "disk.raw");
    install(&bench, Firmware::UefiSecure, Medium::Stick, plain(&disk));
    let live = installed(&bench, "secure", Firmware::UefiSecure, &disk, None);
    until(&live, "RACKWRIGHT, installed; slot a runs.");
    let mut at = shell(&live);
    assert!(at.run("cat /sys/kernel/security/lockdown").contains("[integrity]"), "Secure Boot was not on");
    assert_eq!(at.run("cat /etc/rackwright/told"), "told");
    running(&mut at);
    at.run("echo learned >/var/lib/learned; echo changed >/usr/changed; sync");
    let id = at.run("cat /etc/machine-id");
    assert_eq!(status(&mut at), "slot a runs, and is what is started");
    let fresh = at.run("rackwright install --disk CTRL1 --confirm CTRL1 2>&1 || true");
    assert!(fresh.contains("on a disk already"), "{fresh}");
    // No way out of a power cut.
    drop((at, live));
    let live = installed(&bench, "old", Firmware::Bios, &disk, None);
    let mut at = shell(&live);
    assert_eq!(at.run("cat /etc/rackwright/told /var/lib/learned"), "told\nlearned");
    assert_eq!(
        at.run("cat /etc/machine-id; test -e /usr/changed || echo as built"),
        format!("{id}\nas built")
    );
    running(&mut at);
    at.run("journalctl --list-boots --no-pager --quiet | grep -q -- '-1 '");
    drop((at, live));
    bench.passed();
}

/// A power cut at every write, with any part of what was not flushed: the disk is the old one untouched, or boots nothing, or everything
/// that it was to have was on it before.
#[test]
#[ignore = "a boot and a copy of the medium, all of it written down: cargo xtask iso --test"]
fn no_power_cut_leaves_a_half_installed_disk_that_boots() {
    let Some(bench) = Bench::up("cut") else { return };
    let (disk, before) = (disk(&bench, "disk.raw"), disk(&bench, "before.raw"));
    old_system(&disk);
    old_system(&before);
    File::create(log_of(&disk)).unwrap();
    install(&bench, Firmware::Bios, Medium::Disc, Disk { logged: true, ..plain(&disk) });
    let log = WriteLog::open(&log_of(&disk)).unwrap();
    let end = disk.metadata().unwrap().len() - MIB;
    let is_beside = |entry: &Entry| (MIB..end).contains(&range(entry).0);
    let mut heads = Heads::new(&log, &before, &disk);
    let (mut pending, mut touched, mut told) = (Vec::new(), false, [0; 3]);
    for entry in log.entries() {
        if *entry == Entry::Flush {
            heads.flush(&pending);
            pending.clear();
            continue;
        }
        pending.push(entry);
        touched |= is_beside(entry);
        let times = if pending.iter().any(|entry| range(entry).0 < MIB) { 20 } else { 1 };
        for _ in 0..times {
            let (head, kept) = heads.cut(&pending);
            told[head as usize] += 1;
            assert!(
                head != Head::Old || !touched,
                "the old system may boot from a disk that is written to: {kept:?}"
            );
            let open = pending.iter().filter(|entry| is_beside(entry)).count();
            assert!(
                head != Head::New || open == 0,
                "it may boot, and {open} writes are not durable: {kept:?}"
            );
        }
    }
    let [old, none, new] = told;
    say::line(&format!(
        "    cuts: {old} leave the disk before, {none} one that does not boot, {new} the whole controller"
    ));
    assert!(old > 0 && none > 0 && new > 0, "{told:?}");
    bench.passed();
}

/// A drive with an ISO and what lies beside it.
fn drive_with(bench: &Bench) -> PathBuf {
    let (folder, drive) = (bench.dir.join("new"), bench.dir.join("new.img"));
    fs::create_dir_all(&folder).unwrap();
    for ending in ["", ".sha256", ".sha256.sig"] {
        let from = format!("{}{ending}", bench.iso.display());
        fs::copy(&from, folder.join(format!("rackwright.iso{ending}"))).unwrap();
    }
    File::create(&drive).unwrap().set_len(bench.iso.metadata().unwrap().len() + (256 << 20)).unwrap();
    Tool::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&folder).arg(&drive).read().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    drive
}

/// One bit of the live system in a slot is another.
fn flip(disk: &Path, slot: &str) {
    let file = File::options().read(true).write(true).open(disk).unwrap();
    let name = partition_name(disk, slot);
    let part = gpt::partition(disk, &name).unwrap();
    let at = part.offset + live_system(&File::open(super::iso()).unwrap()) + (40 << 20);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// What the slot's partition is called: the disk's id is in it.
fn partition_name(disk: &Path, slot: &str) -> String {
    let table = Tool::new("sfdisk").arg("--dump").arg(disk).read().unwrap();
    let start = format!("rackwright-{slot}-");
    let name = table.split('"').find(|word| word.starts_with(&start));
    name.unwrap_or_else(|| panic!("no slot {slot} in {table}")).to_owned()
}

/// An update is put into the other slot. One that does not come up is left again by itself; one that does stays.
#[test]
#[ignore = "five boots and three copies of the medium: cargo xtask iso --test"]
fn an_update_comes_up_or_is_left_again() {
    let Some(bench) = Bench::up("updated") else { return };
    let disk = disk(&bench, "disk.raw");
    install(&bench, Firmware::Bios, Medium::Disc, plain(&disk));
    let drive = drive_with(&bench);
    let live = installed(&bench, "first", Firmware::Uefi, &disk, Some(&drive));
    let mut at = shell(&live);
    at.run("mkdir /run/new && mount -o ro /dev/vda /run/new");
    let unsigned = "mkdir /run/bad && cd /run/bad && ln -s /run/new/rackwright.iso . && ln -s /run/new/rackwright.iso.sha256.sig . && \
                    sed s/^./x/ /run/new/rackwright.iso.sha256 >rackwright.iso.sha256";
    at.run(unsigned);
    let refused = at.run("rackwright update apply /run/bad/rackwright.iso 2>&1 || echo code $?");
    assert!(
        refused.contains("no key in /etc/rackwright/image-keys") && refused.contains("code 1"),
        "{refused}"
    );
    let apply = "rackwright update apply /run/new/rackwright.iso";
    at.answer(apply, ("Slot b has it", "one more restart is back here."), COPY);
    assert_eq!(status(&mut at), "slot a runs; slot b is started once, with the next restart");
    drop((at, live));
    // The disk has lost a bit meanwhile.
    flip(&disk, "b");
    let live = installed(&bench, "damaged", Firmware::Uefi, &disk, Some(&drive));
    until(&live, "SLOT b OF THE DISK IS DAMAGED");
    until(&live, "Enter restarts the machine");
    type_in(&live, "\n");
    until(&live, "RACKWRIGHT, installed; slot a runs.");
    let mut at = shell(&live);
    assert_eq!(status(&mut at), "slot a runs, and is what is started");
    at.run("mkdir /run/new && mount -o ro /dev/vda /run/new; echo kept >/var/lib/kept");
    at.answer(apply, ("Slot b has it", "one more restart is back here."), COPY);
    at.run("sync");
    drop((at, live));
    let live = installed(&bench, "second", Firmware::Bios, &disk, None);
    until(&live, "RACKWRIGHT, installed; slot b runs.");
    let mut at = shell(&live);
    until_said(&mut at, "rackwright update status", "slot b runs, and is what is started");
    assert_eq!(at.run("cat /etc/rackwright/told /var/lib/kept"), "told\nkept");
    running(&mut at);
    at.run("test ! -e /run/live/data/before");
    drop((at, live));
    left_again(&bench, &disk, &drive);
    bench.passed();
}

/// In the next one the controller does not come up, and its database is not what the system before it can read.
fn left_again(bench: &Bench, disk: &Path, drive: &Path) {
    let live = installed(bench, "third", Firmware::Bios, disk, Some(drive));
    let mut at = shell(&live);
    at.run("mkdir /run/new && mount -o ro /dev/vda /run/new");
    at.answer(
        "rackwright update apply /run/new/rackwright.iso",
        ("Slot a has it", "one more restart is back here."),
        COPY,
    );
    at.run("mkdir -p /etc/systemd/system/rackwright.service.d");
    at.run("printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >/etc/systemd/system/rackwright.service.d/ill.conf; sync");
    drop((at, live));
    let live = installed(bench, "ill", Firmware::Uefi, disk, None);
    until(&live, "RACKWRIGHT, installed; slot a runs.");
    let mut at = shell(&live);
    until_said(&mut at, "rackwright update status", "slot a runs on trial");
    at.run("echo of tomorrow >/var/lib/rackwright/state.db; rm -r /etc/systemd/system/rackwright.service.d/ill.conf; sync");
    drop((at, live));
    let live = installed(bench, "back", Firmware::Uefi, disk, None);
    until(&live, "the database of before it is put back");
    until(&live, "RACKWRIGHT, installed; slot b runs.");
    let mut at = shell(&live);
    running(&mut at);
    assert_eq!(status(&mut at), "slot b runs, and is what is started");
}
