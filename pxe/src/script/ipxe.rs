//! iPXE scripts. Commands of iPXE 1.20 and later that its BIOS builds have too (no HTTPS, no menus, no `param`).
//!
//! Addresses are literal everywhere: after UEFI HTTP boot `${next-server}` is empty. A command that a build lacks
//! fails like any other, so every `reboot` has a fall-back after it.

use super::{BootTask, NodeView, kernel_line};
use crate::boot::LocalBoot;
use crate::{BootPath, HttpBase};

/// What iPXE shall do on one machine.
#[must_use]
pub fn ipxe(view: &NodeView) -> String {
    let again =
        format!("chain --replace --autofree {}/boot/{}/script.ipxe", view.http.url(), view.mac.hyphens());
    let task = match &view.task {
        BootTask::Agent { why } => {
            format!("echo Rackwright {}: {why}\n{}", view.mac, retried(&ramdisk(view), &again))
        }
        BootTask::LocalDisk => {
            format!(
                "echo Rackwright {}: starting the local disk\n{}",
                view.mac,
                match view.local {
                    LocalBoot::Start | LocalBoot::MissingFile =>
                        retried(&local(view.path, "goto again"), &again),
                    LocalBoot::Return => local(view.path, RETURN),
                }
            )
        }
        BootTask::Hold { why } => format!(
            "echo Rackwright {}: on hold: {why}\n\
             echo Asking again in 30 seconds.\n\
             sleep 30\n\
             {again} ||\n\
             {}",
            view.mac,
            restart(&again)
        ),
    };
    format!("#!ipxe\n{task}")
}

/// The script that iPXE looks for beside itself before it asks DHCP. Reuses the firmware's lease; `net0` is the card
/// it was loaded by, in the builds that use the firmware's driver.
#[must_use]
pub fn autoexec(http: HttpBase) -> String {
    let chain = format!("chain --replace --autofree {}/boot/${{net0/mac:hexhyp}}/script.ipxe", http.url());
    let get = format!(
        "ifopen net0 || goto again\n\
         isset ${{net0/ip}} || dhcp net0 || goto again\n\
         {chain} || goto again\n"
    );
    format!("#!ipxe\n{}", retried(&get, &chain))
}

/// Commands that load and boot, each going to `again` when it fails.
fn ramdisk(view: &NodeView) -> String {
    let url = view.http.url();
    // The kernel's UEFI stub finds the ramdisk by this name; the BIOS protocol passes it by address.
    let initrd = if view.path.is_uefi() { "initrd=initrd.img " } else { "" };
    let (kernel, ramdisk) = view.path.system();
    format!(
        "imgfree ||\n\
         kernel {url}/{kernel} {initrd}{line} || goto again\n\
         initrd --name initrd.img {url}/{ramdisk} || goto again\n\
         boot || goto again\n",
        line = kernel_line(view)
    )
}

/// What to do when no disk starts: an error, or firmware shows its setup screen (status 0 is success there).
const RETURN: &str = "exit 1";

/// Starts the disk, or does `otherwise`.
fn local(path: BootPath, otherwise: &str) -> String {
    if !path.is_uefi() {
        // Firmware counts disks as it likes, and the system need not be on the first: one that does not boot is passed.
        return format!(
            "sanboot --no-describe --drive 0x80 ||\n\
             sanboot --no-describe --drive 0x81 ||\n\
             sanboot --no-describe --drive 0x82 ||\n\
             sanboot --no-describe --drive 0x83 || {otherwise}\n"
        );
    }
    // The first by name, because a disk that was cloned may have no entry of its own yet.
    let shim = if path.is_arm64() { "shimaa64.efi" } else { "shimx64.efi" };
    format!(
        "sanboot --no-describe --drive 0 --filename \\EFI\\debian\\{shim} ||\n\
         sanboot --no-describe --drive 0 || {otherwise}\n"
    )
}

/// Tries `body` every 5 seconds for two minutes (a switch port may take one to forward), then restarts the machine.
fn retried(body: &str, again: &str) -> String {
    format!(
        "set tries:int32 0\n\
         :try\n\
         {body}\
         :again\n\
         inc tries\n\
         iseq ${{tries}} 24 && goto restart ||\n\
         echo Try ${{tries}} of 24 failed. Again in 5 seconds.\n\
         sleep 5\n\
         goto try\n\
         :restart\n\
         {}",
        restart(again)
    )
}

/// The end of every script: restarts the machine, or begins again for ever where the build cannot.
fn restart(again: &str) -> String {
    format!(
        "echo Restarting in 10 seconds.\n\
         sleep 10\n\
         reboot ||\n\
         :end\n\
         {again} ||\n\
         sleep 10\n\
         goto end\n"
    )
}
