//! A whole disk with a node's system on it, bootable by BIOS and by UEFI: partition table, EFI system partition,
//! root file system and both loaders, written into a plain file without mounting anything.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fat::Fat;
use crate::files::{self, FileError};
use crate::grub::{self, GrubError};
use crate::layout::{BIOS, ESP, ESP_LABEL, Ids, Layout, MIB, ROOT_LABEL, ROOT_MIB, Room};
use crate::recipe::Node;
use crate::tarball;
use crate::toolbox::Toolbox;
use crate::tools::{Call, ToolError};

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// The BIOS loader does not fit together.
    #[error(transparent)]
    Grub(#[from] GrubError),
}

/// What a disk is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The tools.
    pub toolbox: &'a Toolbox,
    /// The recipe.
    pub recipe: &'a Node,
    /// The root file system, a tar archive.
    pub system: &'a Path,
    /// `grub.cfg` of the EFI system partition.
    pub esp_config: &'a Path,
    /// Its ids.
    pub ids: &'a Ids,
    /// Everybody's time.
    pub epoch: u32,
    /// Where what is half done lies.
    pub work: &'a Path,
}

/// Writes the disk; gives its size in bytes.
pub fn assemble(parts: &Parts<'_>, disk: &Path) -> Result<u64, DiskError> {
    let reading = files::named("reading", parts.system);
    let content = tarball::measure(files::open(parts.system)?).map_err(reading)?;
    let inodes = (content.entries * 5 / 4).max(content.blocks * 4096 / 16_384);
    let Node { journal_mib, room_percent, .. } = *parts.recipe;
    let root_mib = Room { blocks: content.blocks, inodes, journal_mib, room_percent }.mib();
    let layout = Layout { root_mib };
    let file = files::create(disk)?;
    file.set_len(layout.disk_bytes()).map_err(files::named("sizing", disk))?;
    parts
        .call("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never"])
        .arg(disk)
        .input(layout.table(parts.ids))
        .run()?;
    parts.root(disk, root_mib, inodes)?;
    let esp = parts.esp()?;
    write_at(&file, disk, &esp, ESP.offset())?;
    parts.bios(&file, disk)?;
    file.sync_all().map_err(files::named("writing", disk))?;
    Ok(layout.disk_bytes())
}

impl Parts<'_> {
    fn call(&self, program: &str) -> Call {
        let epoch = self.epoch.to_string();
        self.toolbox.call(program).env("SOURCE_DATE_EPOCH", &epoch).env("E2FSPROGS_FAKE_TIME", &epoch)
    }

    /// The root file system, straight from the archive into its place.
    fn root(&self, disk: &Path, mib: u64, inodes: u64) -> Result<(), DiskError> {
        let extended =
            format!("offset={},hash_seed={},root_owner=0:0", ROOT_MIB * MIB, self.ids.uuid("hash seed"));
        self.call("mke2fs")
            .env("MKE2FS_CONFIG", self.toolbox.path("etc/mke2fs.conf"))
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "1", "-L", ROOT_LABEL])
            .args(["-U", &self.ids.uuid("root file system"), "-E", &extended, "-N", &inodes.to_string()])
            .args(["-J", &format!("size={}", self.recipe.journal_mib), "-d"])
            .arg(self.system)
            .arg(disk)
            .arg(format!("{mib}M"))
            .run()?;
        Ok(())
    }

    /// The EFI system partition: Debian's signed shim and GRUB, where firmware looks and where Debian has them.
    fn esp(&self) -> Result<Vec<u8>, DiskError> {
        let image = self.work.join("esp.img");
        let shim = self.toolbox.path("usr/lib/shim/shimx64.efi.signed");
        let grub = self.toolbox.path("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
        let content = [
            (shim.as_path(), "EFI/BOOT/BOOTX64.EFI"),
            (&grub, "EFI/BOOT/grubx64.efi"),
            (&shim, "EFI/debian/shimx64.efi"),
            (&grub, "EFI/debian/grubx64.efi"),
            (self.esp_config, "EFI/debian/grub.cfg"),
        ];
        let volume = self.ids.volume("esp");
        let (bytes, label, content) = (ESP.bytes(), ESP_LABEL, content.as_slice());
        let fat = Fat { bytes, bits: "32", volume: &volume, label, content };
        fat.write(self.toolbox, self.epoch, &image)?;
        Ok(files::read(&image)?)
    }

    /// The BIOS loader: boot.img in the first sector, core.img in the BIOS boot partition.
    fn bios(&self, file: &File, disk: &Path) -> Result<(), DiskError> {
        let modules = self.toolbox.path("usr/lib/grub/i386-pc");
        let image = self.work.join("core.img");
        self.call("grub-mkimage")
            .args(["--format=i386-pc", "--prefix=(,gpt4)/boot/grub", "--directory"])
            .arg(&modules)
            .arg("--output")
            .arg(&image)
            .args(&self.recipe.boot.bios_modules)
            .run()?;
        let core = grub::core(files::read(&image)?, BIOS)?;
        write_at(file, disk, &core, BIOS.offset())?;
        let boot = grub::boot(&files::read(&modules.join("boot.img"))?, BIOS)?;
        write_at(file, disk, &boot, 0)
    }
}

fn write_at(file: &File, disk: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
    Ok(file.write_all_at(bytes, offset).map_err(files::named("writing", disk))?)
}
