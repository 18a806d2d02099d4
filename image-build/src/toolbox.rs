//! Programs and boot files of the target release, unpacked (not installed) into a folder and run from there
//! through the release's own loader. So the build needs next to nothing on the machine it runs on, and what
//! it writes does not depend on that machine's release.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::archive::{Archive, ArchiveError, Base, GOOD_FOR_BUILDING, Package};
use crate::cache::{Cache, CacheError, Inputs};
use crate::files::{self, FileError};
use crate::progress::Progress;
use crate::recipe::Release;
use crate::tools::{Call, ToolError};

/// Why there is no toolbox.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// Packages could not be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The result could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// A package could not be unpacked, or its modules indexed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The set has no such package.
    #[error("package {0} is not in the toolbox; add it to `packages` in recipes/release.toml")]
    NoPackage(String),
    /// The set has not exactly one kernel.
    #[error("the toolbox has {0} kernels, not one")]
    Kernels(usize),
}

/// The unpacked packages.
#[derive(Debug)]
pub struct Toolbox {
    root: PathBuf,
    packages: Vec<Package>,
    kernel: String,
}

impl Toolbox {
    /// Downloads and unpacks the recipe's packages, unless the cache has them.
    pub fn open(
        archive: &Archive,
        release: &Release,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Toolbox, ToolboxError> {
        let (mut packages, mut inputs) = wanted(archive, release)?;
        if !cache.has(WHAT, &inputs) {
            archive.refresh(GOOD_FOR_BUILDING)?;
            (packages, inputs) = wanted(archive, release)?;
        }
        let root = cache.keep(WHAT, &inputs, |folder| {
            progress.step(format_args!("unpacking {} packages of the target release", packages.len()));
            unpack(archive, release, folder)
        })?;
        let kernels = files::list(&root.join("usr/lib/modules"))?;
        let [kernel] = kernels.as_slice() else { return Err(ToolboxError::Kernels(kernels.len())) };
        let kernel = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Toolbox { root, packages, kernel })
    }

    /// The release of the kernel in it, as `uname -r` says.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// A file of it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What is in it, sorted by name.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// One of the packages in it.
    pub fn package(&self, name: &str) -> Result<&Package, ToolboxError> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.ok_or_else(|| ToolboxError::NoPackage(name.to_owned()))
    }

    /// A run of one of its programs.
    pub fn call(&self, program: &str) -> Call {
        call(&self.root, program)
    }

    /// The shared libraries of it that a program loads, and the loader, as paths inside it.
    pub fn libraries(&self, program: &Path) -> Result<Vec<String>, ToolboxError> {
        let list = loader(&self.root).arg("--list").arg(program).run()?;
        let inside = format!("{}/", self.root.display());
        let list = String::from_utf8_lossy(&list);
        let words = list.split_whitespace().filter_map(|word| word.strip_prefix(&inside));
        let mut libraries: Vec<String> =
            words.filter(|word| word.contains(".so")).map(str::to_owned).collect();
        libraries.push(LOADER.to_owned());
        libraries.sort();
        libraries.dedup();
        Ok(libraries)
    }
}

const WHAT: &str = "toolbox";
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

fn wanted(archive: &Archive, release: &Release) -> Result<(Vec<Package>, Inputs), ArchiveError> {
    let packages = archive.resolve(Base::Nothing, &release.packages)?;
    let mut inputs = Inputs::default();
    inputs.packages(&packages);
    Ok((packages, inputs))
}

fn unpack(archive: &Archive, release: &Release, folder: &Path) -> Result<(), ToolboxError> {
    for (_, file) in archive.download(Base::Nothing, &release.packages)? {
        Call::new("dpkg-deb").arg("--extract").args([&file, folder]).run()?;
    }
    for name in ["lib", "lib64", "bin", "sbin"] {
        let link = folder.join(name);
        symlink(format!("usr/{name}"), &link).map_err(files::named("making the link", &link))?;
    }
    for kernel in files::list(&folder.join("usr/lib/modules"))? {
        let version: OsString = kernel.file_name().unwrap_or_default().to_owned();
        call(folder, "depmod").arg("-b").arg(folder).arg(version).run()?;
    }
    Ok(())
}

fn loader(root: &Path) -> Call {
    Call::new(root.join(LOADER))
        .arg("--library-path")
        .arg(root.join(LIBRARIES))
        .env("GCONV_PATH", root.join(LIBRARIES).join("gconv"))
        .env("MTOOLSRC", "/dev/null")
}

fn call(root: &Path, program: &str) -> Call {
    let in_folder = |folder: &str| root.join(folder).join(program);
    let bin = in_folder("usr/bin");
    loader(root).arg(if bin.exists() { bin } else { in_folder("usr/sbin") })
}
