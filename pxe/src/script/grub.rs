//! GRUB configurations, for Debian's signed network image: only commands that are built into it, no `insmod`
//! (refused under Secure Boot), no `exit` (ends in the firmware's setup screen).

use super::{BootTask, NodeView, kernel_line};
use crate::HttpBase;

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
    match &view.task {
        BootTask::Agent { why } => format!(
            "echo \"Rackwright {mac}: {why}\"\n\
             if linux {device}/boot/vmlinuz {line}; then\n\
             \x20 if initrd {device}/boot/initrd.img; then\n\
             \x20   boot\n\
             \x20 fi\n\
             fi\n\
             echo \"The ramdisk could not be started. Trying again.\"\n",
            device = http.grub_device(),
            line = kernel_line(view),
        ),
        BootTask::LocalDisk => format!("echo \"Rackwright {mac}: starting the local disk\"\n{LOCAL}"),
        BootTask::Hold { why } => format!(
            "echo \"Rackwright {mac}: on hold: {why}\"\n\
             echo \"Asking again in 30 seconds.\"\n\
             sleep 30\n"
        ),
    }
}

/// Our own image first, by its label; then any Debian; then what removable media have. GRUB sees only the disks that
/// the firmware has started drivers for: in QEMU those with a `bootindex`, on some servers none under "fast boot".
const LOCAL: &str = "\
if search --no-floppy --set=root --label RW-ESP; then
  if chainloader /EFI/debian/shimx64.efi; then
    boot
  fi
fi
if search --no-floppy --set=root --file /EFI/debian/shimx64.efi; then
  if chainloader /EFI/debian/shimx64.efi; then
    boot
  fi
fi
if search --no-floppy --set=root --file /EFI/BOOT/BOOTX64.EFI; then
  if chainloader /EFI/BOOT/BOOTX64.EFI; then
    boot
  fi
fi
echo \"No disk of this machine could be started. Trying again.\"
";

fn counted(times: u32) -> String {
    (1..=times).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}
