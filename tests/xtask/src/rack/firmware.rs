//! The two firmwares a server may have, and the files they are made of.

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// UEFI code, read only (package `ovmf`).
pub const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The empty variable store; every server gets a copy of its own.
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What a server starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    /// SeaBIOS, and the iPXE of QEMU's option ROM as the PXE ROM.
    Bios,
    /// OVMF with its own network driver and PXE.
    Uefi,
}

/// The two flash chips of a UEFI machine, as QEMU arguments.
#[must_use]
pub fn flash(vars: &Path) -> Vec<OsString> {
    let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}");
    let vars = format!("if=pflash,format=raw,unit=1,file={}", vars.display());
    ["-drive".into(), code.into(), "-drive".into(), vars.into()].into()
}
