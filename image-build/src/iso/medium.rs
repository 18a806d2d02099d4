//! The files become a medium: ISO 9660 for discs, with El Torito entries for BIOS and UEFI; the same bytes on a stick have a
//! boot sector and a GPT with an EFI system partition. xorriso does the work; the layout is the one that Ubuntu's media
//! have, which firmware of all makers has met.

use std::path::Path;

use super::{IsoError, Job, loaders};
use crate::files;

/// GPT chapter of the UEFI specification: EFI system partition; basic data, which is what systems ignore.
const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const DATA_TYPE: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
/// The volume's name.
const LABEL: &str = "RACKWRIGHT";

/// Writes it.
pub(super) fn write(job: &Job<'_>, tree: &Path, work: &Path, out: &Path) -> Result<(), IsoError> {
    job.workshop.progress.step("writing the medium");
    let esp = loaders::esp(job, work)?;
    let epoch = job.workshop.release.epoch;
    files::make_folder(files::folder_of(out))?;
    let time = compact_time(epoch);
    // With this variable every time stamp that xorriso would take from the clock is this one.
    let call = job.workshop.toolbox.call("xorriso").env("SOURCE_DATE_EPOCH", epoch.to_string());
    call.args(["-as", "mkisofs", "-quiet", "-r", "-iso-level", "3", "-V", LABEL, "-A", LABEL])
        .arg(format!("--modification-date={time}"))
        .args(["--set_all_file_dates", &time])
        .args(["-partition_offset", "16", "-partition_cyl_align", "off"])
        .arg("--grub2-mbr")
        .arg(loaders::stick(job))
        .args(["--protective-msdos-label", "--mbr-force-bootable", "-append_partition", "2", ESP_TYPE])
        .arg(&esp)
        .args(["-appended_part_as_gpt", "-iso_mbr_part_type", DATA_TYPE])
        .args(["--gpt_disk_guid", &job.ids.uuid("disk")])
        .args(["-c", "boot/grub/boot.cat", "-b", loaders::BIOS, "-no-emul-boot", "-boot-load-size", "4"])
        .args(["-boot-info-table", "--grub2-boot-info", "-eltorito-alt-boot"])
        .args(["-e", "--interval:appended_partition_2:all::", "-no-emul-boot", "-o"])
        .arg(out)
        .arg(tree)
        .run()?;
    Ok(())
}

/// `YYYYMMDDhhmmsscc`, in UTC.
fn compact_time(epoch: u32) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(epoch.into());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars().filter(char::is_ascii_digit).chain("00".chars()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_as_xorriso_reads_them() {
        assert_eq!(super::compact_time(1_793_491_200), "2026110100000000");
    }
}
