//! What firmware loads: Debian's signed shim and GRUB for UEFI, in a FAT file system; GRUB's pieces for BIOS.

use std::path::{Path, PathBuf};

use super::{IsoError, Job, filled_in};
use crate::disk::DiskError;
use crate::fat::Fat;
use crate::files;

/// The BIOS loader, on the medium.
pub(super) const BIOS: &str = "boot/grub/eltorito.img";
/// Room for shim and GRUB, both signed: 4 MiB today.
const ESP_BYTES: u64 = 8 << 20;

/// The menu, which both loaders read.
pub(super) fn put_menu(job: &Job<'_>, tree: &Path) -> Result<(), IsoError> {
    Ok(files::write(&tree.join("boot/grub/grub.cfg"), filled_in(job, "iso/grub.cfg")?.as_bytes())?)
}

/// The BIOS loader: one file that boots from a disc by itself, and from a stick with [`stick`] before it.
pub(super) fn put_bios(job: &Job<'_>, work: &Path, tree: &Path) -> Result<(), DiskError> {
    let image = work.join("eltorito.img");
    let toolbox = &job.workshop.toolbox;
    toolbox
        .call("grub-mkimage")
        .args(["--format=i386-pc-eltorito", "--prefix=/boot/grub", "--directory"])
        .arg(toolbox.path("usr/lib/grub/i386-pc"))
        .arg("--output")
        .arg(&image)
        .args(&job.recipe.bios_modules)
        .run()?;
    Ok(files::copy(&image, &tree.join(BIOS))?)
}

/// The first sector of a stick.
pub(super) fn stick(job: &Job<'_>) -> PathBuf {
    job.workshop.toolbox.path("usr/lib/grub/i386-pc/boot_hybrid.img")
}

/// The EFI system partition. The GRUB for discs has `/boot/grub` on its own partition as its prefix.
pub(super) fn esp(job: &Job<'_>, work: &Path) -> Result<PathBuf, IsoError> {
    let (toolbox, epoch) = (&job.workshop.toolbox, job.workshop.release.epoch);
    let (image, config) = (work.join("esp.img"), work.join("efi.cfg"));
    files::write(&config, filled_in(job, "iso/efi.cfg")?.as_bytes())?;
    let shim = toolbox.path("usr/lib/shim/shimx64.efi.signed");
    let grub = toolbox.path("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed");
    let content: [(&Path, &str); 3] =
        [(&shim, "EFI/BOOT/BOOTX64.EFI"), (&grub, "EFI/BOOT/grubx64.efi"), (&config, "boot/grub/grub.cfg")];
    let volume = job.ids.volume("esp");
    let fat = Fat { bytes: ESP_BYTES, bits: "16", volume: &volume, label: "RW-EFI", content: &content };
    fat.write(toolbox, epoch, &image)?;
    Ok(image)
}
