//! The ISO, from firmware to a running controller, driven over its serial console: every firmware, every medium, a damaged one. How it
//! is set up is in `set_up`.

mod installing;
mod set_up;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use xtask::rack::accel::Accel;
use xtask::rack::exclusive;
use xtask::rack::firmware::Firmware;
use xtask::rack::live::{Live, Medium, Spec};
use xtask::tool::Tool;
use xtask::{place, say};

use crate::lab::{built, fail};
use crate::shell::Shell;

/// From power to whatever is waited for, emulated, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Slot 16 of the first bus: [`Live`] puts the card of a cable there.
const CONFIG: &str = r#"site = "iso"

[[provision]]
interface = "enp0s16"
address = "10.77.9.1/24"
pool = "10.77.9.100-10.77.9.199"
dhcp = "full"
"#;

/// The ISO that is tested, and a folder for machines; `None` when QEMU is left out on request.
struct Bench {
    iso: PathBuf,
    dir: PathBuf,
    accel: Accel,
    _alone: File,
}

impl Bench {
    fn up(name: &str) -> Option<Bench> {
        if std::env::var_os("RACKWRIGHT_FAST").is_some() {
            say::line("left out: RACKWRIGHT_FAST is set");
            return None;
        }
        let iso = iso().to_owned();
        let alone = exclusive(&place::racks()).unwrap();
        let dir = place::racks().join(format!("iso-{name}"));
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        let accel = Accel::detect(&place::racks().join("accel"));
        Some(Bench { iso, dir, accel, _alone: alone })
    }

    fn spec<'a>(&'a self, name: &'a str, firmware: Firmware, medium: Medium) -> Spec<'a> {
        Spec {
            name,
            firmware,
            medium,
            iso: &self.iso,
            memory_mib: 2048,
            drive: None,
            disk: None,
            cable: None,
        }
    }

    fn start(&self, spec: &Spec<'_>) -> Live {
        Live::start(spec, &self.dir, self.accel).unwrap_or_else(|error| fail(&error))
    }

    /// A drive with the label that brings a configuration, and this file on it.
    fn rackconf(&self, name: &str, content: &str) -> PathBuf {
        let (drive, file) = (self.dir.join("rackconf.img"), self.dir.join(name));
        fs::write(&file, content).unwrap();
        File::create(&drive).unwrap().set_len(8 << 20).unwrap();
        Tool::new("mkfs.vfat").args(["-n", "RACKCONF"]).arg(&drive).read().unwrap();
        Tool::new("mcopy").arg("-i").arg(&drive).arg(&file).arg(format!("::/{name}")).read().unwrap();
        drive
    }

    fn passed(self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Built once for all stories here, unless it is named (`cargo xtask iso --test` does).
fn iso() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(named) = std::env::var_os("RACKWRIGHT_ISO") {
            return named.into();
        }
        built().iso(&place::iso()).unwrap_or_else(|error| fail(&error));
        place::iso()
    })
}

fn until(live: &Live, text: &str) {
    live.wait(text, PATIENCE).unwrap_or_else(|error| fail(&error));
}

/// A shell on the console, when the live system has come up.
fn shell(live: &Live) -> Shell {
    let start = Instant::now();
    until(live, "Enter opens a root shell");
    say::line(&format!("    live after {}", say::seconds(start.elapsed())));
    type_in(live, "\n");
    until(live, "root@rackwright:");
    let mut shell = Shell::open(live.console(), Duration::from_secs(120));
    // Its marks and its prompt would stand before what a command says.
    shell.run("bind 'set enable-bracketed-paste off'; PS1=");
    shell
}

/// Asks again until the answer holds `text`.
fn until_said(shell: &mut Shell, command: &str, text: &str) -> String {
    let start = Instant::now();
    loop {
        let said = shell.run(&format!("{command} 2>&1 || true"));
        if said.contains(text) {
            return said;
        }
        assert!(start.elapsed() < PATIENCE, "{command} never said {text}:\n{said}");
        // What it waits for has the same emulated processor.
        thread::sleep(Duration::from_secs(1));
    }
}

fn type_in(live: &Live, keys: &str) {
    UnixStream::connect(live.console()).unwrap().write_all(keys.as_bytes()).unwrap();
}

/// A stick in a machine as they are sold: Secure Boot on. The controller comes up on the configured network with the images of
/// the medium.
#[test]
#[ignore = "an ISO with every image, and some minutes of boot: cargo xtask iso --test"]
fn secure_boot_reaches_a_running_controller_that_has_the_images() {
    let Some(bench) = Bench::up("secure") else { return };
    let drive = bench.rackconf("rackwright.toml", CONFIG);
    let cable = bench.dir.join("cable");
    let spec = Spec {
        drive: Some(&drive),
        cable: Some((&cable, true)),
        ..bench.spec("controller", Firmware::UefiSecure, Medium::Stick)
    };
    let live = bench.start(&spec);
    let mut shell = shell(&live);
    let lockdown = shell.run("cat /sys/kernel/security/lockdown");
    assert!(lockdown.contains("[integrity]"), "Secure Boot was not on: {lockdown}");
    let status = until_said(&mut shell, "rackwright status", "answered:");
    say::line(&status);
    until_said(&mut shell, "rackwright image list", "compute");
    // Nothing of the store was copied into memory to be used.
    let changed = shell.run("du -sm /run/live/changes | cut -f 1");
    let changed: u64 = changed.lines().filter_map(|line| line.trim().parse().ok()).next_back().unwrap();
    assert!(changed < 64, "{changed} MiB were written");
    bench.passed();
}

/// With room for all of it, nothing is read from the medium any more.
#[test]
#[ignore = "copies all of the medium in an emulated machine: cargo xtask iso --test"]
fn with_memory_for_all_of_it_the_medium_can_be_taken_out() {
    let Some(bench) = Bench::up("memory") else { return };
    let spec = Spec { memory_mib: 4096, ..bench.spec("controller", Firmware::Uefi, Medium::Disc) };
    let live = bench.start(&spec);
    let mut shell = shell(&live);
    assert_eq!(shell.run("grep -c iso9660 /proc/mounts || true").lines().last().map(str::trim), Some("0"));
    until(&live, "the medium can be taken out");
    bench.passed();
}

/// Where the live system begins on the medium: a squashfs (4.0) whose compressor is zstd.
fn live_system(iso: &File) -> u64 {
    let bytes = iso.metadata().unwrap().len();
    let mut head = [0; 32];
    let found = (0..bytes / 2048).map(|sector| sector * 2048).find(|at| {
        iso.read_exact_at(&mut head, *at).unwrap();
        head.starts_with(b"hsqs") && head[20..22] == [6, 0]
    });
    found.unwrap()
}

/// One bit of the live system is another: nothing is started, and the console says what to do. The menu's check finds it too.
#[test]
#[ignore = "two more boots: cargo xtask iso --test"]
fn a_flipped_bit_is_found_before_anything_is_started() {
    let Some(mut bench) = Bench::up("damaged") else { return };
    let damaged = bench.dir.join("damaged.iso");
    fs::copy(&bench.iso, &damaged).unwrap();
    let file = File::options().read(true).write(true).open(&damaged).unwrap();
    let at = live_system(&file) + (40 << 20);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    drop(file);
    bench.iso = damaged;
    let live = bench.start(&bench.spec("started", Firmware::Bios, Medium::Disc));
    until(&live, "THE MEDIUM IS DAMAGED");
    until(&live, "write the stick or disc anew");
    until(&live, "Nothing was started");
    drop(live);
    let live = bench.start(&bench.spec("checked", Firmware::Bios, Medium::Disc));
    until(&live, "Check the medium");
    // Ctrl-N is a line down, in one byte: of an arrow's three, firmware and loader took some each, because both read this line.
    for (keys, then) in
        [("\x0e", "*The same"), ("\x0e", "*Check the medium"), ("\r", "reading system.squashfs")]
    {
        type_in(&live, keys);
        until(&live, then);
    }
    until(&live, "DAMAGED: rackwright/system.squashfs");
    bench.passed();
}
