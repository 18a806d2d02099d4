//! Whether QEMU may use KVM here: found out by booting, once per boot of this machine.
//!
//! Knows that a device node proves nothing: on some hosts KVM opens and then no guest gets past its firmware.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::firmware;
use super::process::{Lifetime, Process};
use crate::interrupt;
use crate::tool::TICK;

/// How long the firmware has to reach its boot manager; under KVM it takes about two seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server's processors are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By the host's processors.
    Kvm,
    /// By QEMU's translator.
    Tcg,
}

impl Accel {
    /// The arguments QEMU gets for it.
    #[must_use]
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Nested virtualisation switched off: `max` would offer it, and emulating it is slow and of no use.
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,svm=off,vmx=off"],
        }
    }

    /// The answer for this machine; tried at most once per boot of it, the result kept in `cache`.
    #[must_use]
    pub fn detect(cache: &Path) -> Accel {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let kvm = format!("{} kvm\n", boot.trim());
        let tcg = format!("{} tcg\n", boot.trim());
        match fs::read_to_string(cache) {
            Ok(text) if text == kvm => return Accel::Kvm,
            Ok(text) if text == tcg => return Accel::Tcg,
            Ok(_) | Err(_) => {}
        }
        let accel = if Path::new("/dev/kvm").exists() && probe() { Accel::Kvm } else { Accel::Tcg };
        // Without the cache the probe runs again: slower, not wrong.
        let _ = fs::write(cache, if accel == Accel::Kvm { kvm } else { tcg });
        accel
    }
}

/// Boots UEFI firmware up to its boot manager: long mode, paging, string instructions, flash. Hosts whose KVM
/// can't do that are known to run a BIOS boot sector all the same, so less would prove nothing.
fn probe() -> bool {
    let dir = std::env::temp_dir().join(format!("rack-probe-{}", std::process::id()));
    let booted = fs::create_dir_all(&dir).is_ok() && boots_firmware(&dir);
    let _ = fs::remove_dir_all(&dir);
    booted
}

fn boots_firmware(dir: &Path) -> bool {
    let (vars, serial, log) = (dir.join("vars.fd"), dir.join("serial.log"), dir.join("qemu.log"));
    if fs::copy(firmware::OVMF_VARS, &vars).is_err() {
        return false;
    }
    let mut argv: Vec<OsString> = vec!["qemu-system-x86_64".into()];
    argv.extend(["-machine", "q35", "-smp", "2", "-m", "256", "-nodefaults"].map(OsString::from));
    argv.extend(["-display", "none", "-net", "none"].map(OsString::from));
    argv.extend(Accel::Kvm.arguments().map(OsString::from));
    argv.extend(firmware::plain_flash(&vars));
    argv.extend(["-serial".into(), format!("file:{}", serial.display()).into()]);
    let Ok(mut qemu) = Process::start(&argv, &log, Lifetime::WithUs) else { return false };
    let start = Instant::now();
    while qemu.ended().is_none() && start.elapsed() < PATIENCE && !interrupt::requested() {
        let said = |path: &Path, word: &str| fs::read(path).is_ok_and(|text| holds(&text, word));
        if said(&serial, "BdsDxe") {
            return true;
        }
        if said(&log, "KVM internal error") {
            return false;
        }
        thread::sleep(TICK);
    }
    false
}

fn holds(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}
