//! What the board says of itself, from `/sys/class/dmi/id`; the firmware; the management controller.

use std::path::Path;

use protocol::{Bmc, Smbios};

use crate::inventory::read;

/// SMBIOS types 0 to 2 as the kernel shows them. Vendors leave nonsense here: it is passed on clean, not judged.
pub(super) fn smbios(root: &Path) -> Smbios {
    let field = |file: &str| read::name(root, &format!("sys/class/dmi/id/{file}"));
    Smbios {
        vendor: field("sys_vendor"),
        product: field("product_name"),
        serial: field("product_serial"),
        uuid: field("product_uuid").to_ascii_lowercase(),
        bios: field("bios_version"),
    }
}

/// `uefi` when the kernel was started by it, else `bios`.
pub(super) fn firmware(root: &Path) -> &'static str {
    if root.join("sys/firmware/efi").is_dir() { "uefi" } else { "bios" }
}

/// A management controller, where the kernel found one.
pub(super) fn bmc(root: &Path) -> Option<Bmc> {
    let class = !read::names(root, "sys/class/ipmi").is_empty();
    let device = read::names(root, "dev").iter().any(|name| {
        name.strip_prefix("ipmi").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    (class || device).then(|| Bmc { kind: "ipmi".to_owned() })
}
