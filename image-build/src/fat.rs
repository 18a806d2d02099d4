//! A FAT file system in a file, the same bytes for the same content: what UEFI firmware loads its loaders from.

use std::collections::BTreeSet;
use std::path::Path;

use crate::disk::DiskError;
use crate::files;
use crate::toolbox::Toolbox;

/// What it is.
#[derive(Debug)]
pub(crate) struct Fat<'a> {
    /// Its size.
    pub(crate) bytes: u64,
    /// 12, 16 or 32.
    pub(crate) bits: &'a str,
    /// Eight hexadecimal digits.
    pub(crate) volume: &'a str,
    /// Its name.
    pub(crate) label: &'a str,
    /// What goes in, and where: paths like `EFI/BOOT/grub.cfg`.
    pub(crate) content: &'a [(&'a Path, &'a str)],
}

impl Fat<'_> {
    /// Writes it into the file `image`.
    pub(crate) fn write(&self, toolbox: &Toolbox, epoch: u32, image: &Path) -> Result<(), DiskError> {
        let epoch = epoch.to_string();
        let call = |program: &str| toolbox.call(program).env("SOURCE_DATE_EPOCH", &epoch);
        let file = files::create(image)?;
        file.set_len(self.bytes).map_err(files::named("sizing", image))?;
        call("mkfs.vfat")
            .args(["--invariant", "-F", self.bits, "-s", "1", "-n", self.label, "-i", self.volume])
            .arg(image)
            .run()?;
        let folders = folders(self.content.iter().map(|(_, to)| *to));
        let folders = folders.iter().map(|folder| format!("::/{folder}"));
        call("mmd").arg("-i").arg(image).args(folders).run()?;
        for (from, to) in self.content {
            call("mcopy").arg("-i").arg(image).arg(from).arg(format!("::/{to}")).run()?;
        }
        Ok(())
    }
}

/// Every folder on the way to these paths, those above before those below.
fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths.flat_map(|path| path.match_indices('/').filter_map(move |(at, _)| path.get(..at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let found: Vec<_> =
            folders(["EFI/BOOT/a", "EFI/debian/b", "c", "boot/grub/d"].into_iter()).into_iter().collect();
        assert_eq!(found, ["EFI", "EFI/BOOT", "EFI/debian", "boot", "boot/grub"]);
    }
}
