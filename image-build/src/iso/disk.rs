//! What the installer puts on a disk beside the medium itself, which becomes a slot of it: the loaders, and their menu.

use std::path::Path;

use super::{IsoError, Job};
use crate::disk::DiskError;
use crate::files;
use crate::grub;
use crate::layout::BIOS;

/// On the medium.
const FOLDER: &str = "disk";
/// Where the BIOS loader finds the menu: on the EFI system partition, the second.
const PREFIX: &str = "--prefix=(,gpt2)/EFI/debian";

/// Puts them there: `boot.img` for the first sector, `core.img` for the BIOS boot partition at [`BIOS`], Debian's signed shim and GRUB,
/// and the menu, with DISK for the id of the disk.
pub(super) fn put(job: &Job<'_>, work: &Path, tree: &Path) -> Result<(), IsoError> {
    let (toolbox, folder) = (&job.workshop.toolbox, tree.join(FOLDER));
    let (modules, image) = (toolbox.path("usr/lib/grub/i386-pc"), work.join("disk-core.img"));
    toolbox
        .call("grub-mkimage")
        .args(["--format=i386-pc", PREFIX, "--directory"])
        .arg(&modules)
        .arg("--output")
        .arg(&image)
        .args(&job.recipe.disk_modules)
        .run()
        .map_err(DiskError::from)?;
    let core = grub::core(files::read(&image)?, BIOS).map_err(DiskError::from)?;
    let boot = grub::boot(&files::read(&modules.join("boot.img"))?, BIOS).map_err(DiskError::from)?;
    files::write(&folder.join("core.img"), &core)?;
    files::write(&folder.join("boot.img"), &boot)?;
    for (from, to) in [
        ("shim/shimx64.efi.signed", "shimx64.efi"),
        ("grub/x86_64-efi-signed/grubx64.efi.signed", "grubx64.efi"),
    ] {
        files::copy(&toolbox.path(&format!("usr/lib/{from}")), &folder.join(to))?;
    }
    Ok(files::copy(&job.workshop.recipe("iso/disk.cfg"), &folder.join("grub.cfg"))?)
}
