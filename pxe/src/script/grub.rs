//! GRUB configurations, for Debian's signed network image: only commands that are built into it, no `insmod`
//! (refused under Secure Boot), no `exit` (ends in the firmware's setup screen).

use super::{BootTask, NodeView, kernel_line};
use crate::{BootPath, HttpBase};

/// `(http,…)/grub/grub.cfg`, the same for every machine: asks for its own again and again, so that a machine's
/// configuration need only return to be asked for anew, and nothing ever nests deeper.
#[must_use]
pub fn grub_entry(http: HttpBase) -> String {
    format!(
        "set timeout=0\n\
         for try in {tries}; do\n\
         \x20 configfile {device}/boot/$net_default_mac/grub.cfg\n\
         \x20 sleep 5\n\
         done\n\
         echo \"Rackwright: no way on from here. Restarting.\"\n\
         sleep 10\n\
         reboot\n",
        tries = counted(60),
        device = http.grub_device(),
    )
}

/// What GRUB shall do on one machine; returns to [`grub_entry`] when it cannot.
#[must_use]
pub fn grub(view: &NodeView) -> String {
    let NodeView { mac, http, .. } = view;
    let (kernel, ramdisk) = view.path.system();
    match &view.task {
        BootTask::Agent { why } => format!(
            "echo \"Rackwright {mac}: {why}\"\n\
             if linux {device}/{kernel} {line}; then\n\
             \x20 if initrd {device}/{ramdisk}; then\n\
             \x20   boot\n\
             \x20 fi\n\
             fi\n\
             echo \"The ramdisk could not be started. Trying again.\"\n",
            device = http.grub_device(),
            line = kernel_line(view),
        ),
        BootTask::LocalDisk => {
            format!("echo \"Rackwright {mac}: starting the local disk\"\n{}", local(view.path))
        }
        BootTask::Hold { why } => format!(
            "echo \"Rackwright {mac}: on hold: {why}\"\n\
             echo \"Asking again in 30 seconds.\"\n\
             sleep 30\n"
        ),
    }
}

/// Our own image first, by its label; then any Debian; then what removable media have. GRUB sees only the disks that
/// the firmware has started drivers for: in QEMU those with a `bootindex`, on some servers none under "fast boot".
fn local(path: BootPath) -> String {
    let (shim, removable) = if path.is_arm64() {
        ("/EFI/debian/shimaa64.efi", "/EFI/BOOT/BOOTAA64.EFI")
    } else {
        ("/EFI/debian/shimx64.efi", "/EFI/BOOT/BOOTX64.EFI")
    };
    let start = |found: &str, file: &str| {
        format!(
            "if search --no-floppy --set=root {found}; then\n\
             \x20 if chainloader {file}; then\n\
             \x20   boot\n\
             \x20 fi\n\
             fi\n"
        )
    };
    [
        start("--label RW-ESP", shim),
        start(&format!("--file {shim}"), shim),
        start(&format!("--file {removable}"), removable),
        "echo \"No disk of this machine could be started. Trying again.\"\n".to_owned(),
    ]
    .concat()
}

fn counted(times: u32) -> String {
    (1..=times).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}
