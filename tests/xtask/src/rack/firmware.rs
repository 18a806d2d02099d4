//! The firmwares a server may have, and the files they are made of.

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// UEFI code, read only (package `ovmf`).
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The empty variable store; every server gets a copy of its own.
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// UEFI code with Secure Boot, which keeps its variables behind system management mode.
const OVMF_SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.ms.fd";
/// A variable store as servers are sold: Secure Boot on, Microsoft's keys enrolled, none of ours.
const OVMF_SECURE_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// What a server starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    /// SeaBIOS, and the iPXE of QEMU's option ROM as the PXE ROM.
    Bios,
    /// OVMF with its own network driver and PXE.
    Uefi,
    /// The same with Secure Boot on and the keys that every server is sold with.
    UefiSecure,
    /// OVMF that boots by HTTP and knows no PXE.
    UefiHttp,
}

impl Firmware {
    /// The variable store that a new machine has; `None` without UEFI.
    pub(super) fn variables(self) -> Option<&'static str> {
        match self {
            Firmware::Bios => None,
            Firmware::Uefi | Firmware::UefiHttp => Some(OVMF_VARS),
            Firmware::UefiSecure => Some(OVMF_SECURE_VARS),
        }
    }

    /// QEMU's machine.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Firmware::Bios | Firmware::Uefi | Firmware::UefiHttp => "q35",
            Firmware::UefiSecure => "q35,smm=on",
        }
    }

    /// The rest of it, as QEMU arguments; `vars` is the machine's own variable store, `console` the content of
    /// SeaBIOS' `etc/sercon-port`.
    pub(super) fn arguments(self, vars: &Path, console: &Path) -> Vec<OsString> {
        match self {
            Firmware::Bios => configured(&format!("etc/sercon-port,file={}", console.display())).into(),
            // Without a v6 server every v6 entry of the boot order costs a minute; nothing here speaks v6.
            Firmware::Uefi => [flash(OVMF_CODE, vars), configured(NO_PXE6).into()].concat(),
            Firmware::UefiHttp => {
                [flash(OVMF_CODE, vars), configured(NO_PXE4).into(), configured(NO_PXE6).into()].concat()
            }
            Firmware::UefiSecure => {
                // Only code in system management mode may write the flash, and it must not be switched off by a wake-up.
                let guarded = ["driver=cfi.pflash01,property=secure,value=on", "ICH9-LPC.disable_s3=1"];
                let guarded = guarded.iter().flat_map(|&words| ["-global".into(), words.into()]).collect();
                [flash(OVMF_SECURE_CODE, vars), guarded, configured(NO_PXE6).into()].concat()
            }
        }
    }
}

const NO_PXE4: &str = "opt/org.tianocore/IPv4PXESupport,string=no";
const NO_PXE6: &str = "opt/org.tianocore/IPv6PXESupport,string=no";

fn configured(item: &str) -> [OsString; 2] {
    ["-fw_cfg".into(), format!("name={item}").into()]
}

/// The two flash chips of a plain UEFI machine, as QEMU arguments.
#[must_use]
pub fn plain_flash(vars: &Path) -> Vec<OsString> {
    flash(OVMF_CODE, vars)
}

fn flash(code: &str, vars: &Path) -> Vec<OsString> {
    let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={code}");
    let vars = format!("if=pflash,format=raw,unit=1,file={}", vars.display());
    ["-drive".into(), code.into(), "-drive".into(), vars.into()].into()
}
