//! Recipes: what goes into a result, as data. Every field must be known; a misspelt one is an error.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::files::{self, FileError};
use crate::system::System;

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// It is not there.
    #[error("no {}; run this from the top folder of the project, or name the folder with {option}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The option that says where such files are.
        option: &'static str,
        /// Why not.
        source: FileError,
    },
    /// It says something that means nothing.
    #[error("{} is no valid recipe", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
}

/// `release.toml`: what everything is made of and with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Debian's name of the release.
    pub name: String,
    /// The time stamp of everything, in seconds since 1970.
    pub epoch: u32,
    /// The packages of the toolbox.
    pub packages: Vec<String>,
}

/// `ramdisk.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramdisk {
    /// Kernel and ramdisk together may not be larger, in MiB.
    pub limit_mib: u64,
    /// zstd level.
    pub level: i32,
    /// The package that depends on the kernel's.
    pub kernel: String,
    /// The package with the static busybox.
    pub busybox: String,
    /// Programs beside busybox and the agent.
    pub programs: Vec<Program>,
    /// Kernel modules.
    pub modules: Modules,
    /// Boot loaders that go beside kernel and ramdisk.
    pub loaders: Vec<Loader>,
}

/// `guest.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// It may not be larger, in MiB.
    pub limit_mib: u64,
    /// zstd level.
    pub level: i32,
    /// Kernel modules.
    pub modules: Modules,
}

/// `controller.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// Its root file system.
    pub system: System,
}

/// `iso.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iso {
    /// It may not be larger, in MiB.
    pub limit_mib: u64,
    /// zstd level of the live system.
    pub level: u32,
    /// Size of the blocks that are compressed by themselves.
    pub block_kib: u32,
    /// Folders below the modules' `kernel/` that the live system does not get.
    pub without: Vec<String>,
    /// GRUB modules of the BIOS loader.
    pub bios_modules: Vec<String>,
    /// GRUB modules of the BIOS loader of a disk that it is installed on.
    pub disk_modules: Vec<String>,
    /// Kernel modules of the first file system.
    pub modules: Modules,
}

/// `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// zstd level of the image file.
    pub level: i32,
    /// Free room on the root file system, in percent of what is on it.
    pub room_percent: u64,
    /// Size of its journal.
    pub journal_mib: u64,
    /// Its root file system, without the packages of roles.
    pub system: System,
    /// Its loaders.
    pub boot: Boot,
}

/// The loaders on a node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// GRUB modules of the BIOS loader.
    pub bios_modules: Vec<String>,
}

/// A program of the toolbox that goes into the ramdisk with its libraries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Whose it is.
    pub package: String,
    /// Where it is.
    pub path: String,
    /// Further names for it in /usr/bin.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Kernel modules of the ramdisk: names, or folders ending in a slash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// Taken, with what they need.
    pub take: Vec<String>,
    /// Not taken though a folder above has them, unless another module needs them.
    pub leave: Vec<String>,
    /// Loaded at the start, in this order.
    pub load: Vec<String>,
}

/// A boot loader file of the toolbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loader {
    /// Its name in the boot store.
    pub file: String,
    /// Whose it is.
    pub package: String,
    /// Where it is.
    pub path: String,
}

/// Reads one recipe file.
pub fn load<T: DeserializeOwned>(path: &Path, option: &'static str) -> Result<T, RecipeError> {
    let missing = |source| RecipeError::Read { path: path.to_owned(), option, source };
    let text = files::read_text(path).map_err(missing)?;
    toml::from_str(&text).map_err(|source| RecipeError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::DISK_PROGRAMS;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
    }

    #[test]
    fn the_shipped_recipes_are_valid() {
        let release: Release = load(&shipped().join("release.toml"), "--recipes").unwrap();
        assert_eq!(release.name, "trixie");
        let ramdisk: Ramdisk = load(&shipped().join("ramdisk.toml"), "--recipes").unwrap();
        load::<Guest>(&shipped().join("guest.toml"), "--recipes").unwrap();
        load::<Node>(&shipped().join("node.toml"), "--recipes").unwrap();
        load::<Controller>(&shipped().join("controller.toml"), "--recipes").unwrap();
        load::<Iso>(&shipped().join("iso.toml"), "--recipes").unwrap();
        let programs = ramdisk.programs.iter().map(|program| &program.package);
        let loaders = ramdisk.loaders.iter().map(|loader| &loader.package);
        for package in programs.chain(loaders).chain([&ramdisk.kernel]) {
            assert!(release.packages.contains(package), "{package} is missing in release.toml");
        }
    }

    /// Capturing runs image-build in the ramdisk, and that runs these.
    #[test]
    fn the_ramdisk_has_what_looking_into_disks_needs() {
        let ramdisk: Ramdisk = load(&shipped().join("ramdisk.toml"), "--recipes").unwrap();
        for (name, package) in DISK_PROGRAMS {
            let is_it = |one: &Program| one.package == package && one.path.ends_with(&format!("/{name}"));
            assert!(ramdisk.programs.iter().any(is_it), "{name} of {package}");
        }
        for module in ["loop", "dm_mod", "dm_snapshot", "ext4", "xfs", "btrfs", "vfat"] {
            assert!(ramdisk.modules.take.iter().any(|name| name == module), "{module}");
        }
    }

    #[test]
    fn unknown_and_missing_fields_are_errors() {
        for text in ["", "name = 1", "name = \"x\"\nepoch = -1\npackages = []", "nmae = \"x\""] {
            assert!(toml::from_str::<Release>(text).is_err(), "{text}");
        }
        let extra = "name = \"x\"\nepoch = 1\npackages = []\nmore = 1";
        assert!(toml::from_str::<Release>(extra).unwrap_err().to_string().contains("more"));
    }

    #[test]
    fn a_missing_recipe_says_where_to_run() {
        let error = load::<Release>(Path::new("/nonexistent/release.toml"), "--recipes").unwrap_err();
        assert!(error.to_string().contains("--recipes"), "{error}");
    }
}
