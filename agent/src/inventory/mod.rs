//! What this server is made of: pure parsers over text and bytes, and a thin reader of `/sys` and `/proc` below a
//! root path, so that a test can bring its own tree.
//!
//! Knows where the kernel writes things. Refuses to judge: which disk is written is the controller's plan.

mod cpu;
mod disk;
mod nic;
pub mod probe;
pub(crate) mod read;
mod smbios;
#[cfg(test)]
mod tests;

use std::path::Path;

use protocol::Inventory;

pub use disk::{device, disks, namespaces, one, writable_names};
pub use nic::{mac_of, nics};

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::cpu::{cpu, memory_bytes};
    pub use super::disk::{ATA_MODEL, ata_text, vpd_serial, wwn};
}

/// Looks at everything. `root` is `/`, or a test's tree. What can't be read is left empty: a server with a dead
/// sensor still has to enrol.
pub fn take(root: &Path) -> Inventory {
    Inventory {
        cpu: cpu::cpu(&read::text(root, "proc/cpuinfo")),
        memory_bytes: cpu::memory_bytes(&read::text(root, "proc/meminfo")),
        nics: nics(root),
        disks: disks(root),
        smbios: smbios::smbios(root),
        firmware: smbios::firmware(root).to_owned(),
        bmc: smbios::bmc(root),
    }
    .within_bounds()
}
