//! What a server's own memory keeps of the system that ran on it, beside its disks: what the kernel left of a crash (pstore), and the
//! firmware's boot entries that lead to a partition.
//!
//! ```text
//! /sys/fs/pstore/*, dump-type*-<Linux crash> -> removed      Boot####-<EFI global> with a partition -> removed, BootOrder without it
//! ```
//! An entry for a partition of a disk that is kept stays, and so does what leads to a network card, a setup or a whole disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::inventory::{self, probe, read};

const PSTORE: &str = "sys/fs/pstore";
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// Where the kernel puts its last words when it has no better place (`LINUX_EFI_CRASH_GUID`).
const CRASH: &str = "-cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0";
/// Whose variables boot entries are (UEFI 2.10, 3.3).
const GLOBAL: &str = "-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// What efivarfs puts before a variable: its attributes.
const ATTRIBUTES: usize = 4;

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("removing {} from what the firmware keeps; nothing was erased yet: clear it in the server's setup, then retry", path.display())]
pub struct ForgetError {
    path: PathBuf,
    source: io::Error,
}

/// Removes it all; `doomed` are the kernel's names of the disks that are erased. Gives what was removed, for the screen.
///
/// # Errors
/// [`ForgetError`]: the firmware, or the kernel, does not let go of it.
pub(super) fn forget(root: &Path, doomed: &[String]) -> Result<Vec<String>, ForgetError> {
    let mut gone = Vec::new();
    for name in read::names(root, PSTORE) {
        remove(root.join(PSTORE).join(&name))?;
        gone.push(name);
    }
    let kept = kept(root, doomed);
    let mut numbers = BTreeSet::new();
    for name in read::names(root, VARIABLES) {
        let crash = name.starts_with("dump-") && name.ends_with(CRASH);
        let entry = number(&name).filter(|_| {
            let value = read::bytes(root, &format!("{VARIABLES}/{name}"));
            let partition = value.get(ATTRIBUTES..).and_then(partition_of);
            partition.is_some_and(|uuid| !kept.contains(&uuid))
        });
        if crash || entry.is_some() {
            remove(root.join(VARIABLES).join(&name))?;
            gone.push(name);
        }
        numbers.extend(entry);
    }
    if !numbers.is_empty() {
        reorder(root, &numbers)?;
    }
    Ok(gone)
}

fn remove(path: PathBuf) -> Result<(), ForgetError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ForgetError { path, source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The PARTUUIDs of disks that are left as they are.
fn kept(root: &Path, doomed: &[String]) -> BTreeSet<String> {
    let disks = inventory::disks(root).into_iter().filter(|disk| !doomed.contains(&disk.name));
    let partitions = disks.flat_map(|disk| probe::partitions_of(&inventory::device(root, &disk.name), &disk));
    partitions.map(|partition| partition.uuid.to_ascii_lowercase()).collect()
}

/// The number of a boot entry, by its variable's name.
fn number(name: &str) -> Option<u16> {
    let digits = name.strip_suffix(GLOBAL)?.strip_prefix("Boot")?;
    let plain = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// Takes entries out of the boot order.
fn reorder(root: &Path, without: &BTreeSet<u16>) -> Result<(), ForgetError> {
    let name = format!("{VARIABLES}/BootOrder{GLOBAL}");
    let value = read::bytes(root, &name);
    let Some((attributes, order)) = value.split_at_checked(ATTRIBUTES) else { return Ok(()) };
    let (order, _) = order.as_chunks::<2>();
    let left = order.iter().filter(|number| !without.contains(&u16::from_le_bytes(**number)));
    let left = left.flatten().copied().collect::<Vec<_>>();
    let path = root.join(name);
    if left.is_empty() {
        return remove(path);
    }
    // A variable is what is written in one call.
    let whole = [attributes, &left].concat();
    let written = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(&whole));
    written.map_err(|source| ForgetError { path, source })
}

/// The GPT partition that a boot entry (`EFI_LOAD_OPTION`: UEFI 2.10, 3.1.3) leads to, as PARTUUID: the first hard drive node of its
/// device path (10.3.5.1). `None` for what leads elsewhere, and for what is no boot entry.
pub fn partition_of(option: &[u8]) -> Option<String> {
    let (_, rest) = option.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (units, _) = rest.as_chunks::<2>();
    let description = units.iter().position(|unit| *unit == [0, 0])? + 1;
    let mut path = rest.get(2 * description..)?.get(..usize::from(u16::from_le_bytes(*length)))?;
    while let Some(([kind, sub, low, high], _)) = path.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).max(4);
        let node = path.get(..length)?;
        match (kind, sub) {
            // Signature at 24, its kind at 41: 2 is a GUID.
            (4, 1) if node.get(41) == Some(&2) => {
                return node.get(24..40).and_then(|guid| guid.try_into().ok()).map(uuid);
            }
            (0x7f, _) => return None,
            _ => {}
        }
        path = path.get(length..)?;
    }
    None
}

/// A GUID as text: its first three fields are little-endian (UEFI 2.10, appendix A).
fn uuid(guid: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (clock, node) = rest.split_at(2);
    format!("{}-{}-{}-{}-{}", hex(&[d, c, b, a]), hex(&[f, e]), hex(&[h, g]), hex(clock), hex(node))
}

#[cfg(test)]
#[path = "firmware_tests.rs"]
mod tests;
