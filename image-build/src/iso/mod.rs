//! The ISO: a live controller on a medium that firmware of every kind starts (optical, USB stick, virtual medium; BIOS and
//! UEFI, Secure Boot too), with all that a site without the Internet needs. The same inputs give the same bytes.
//!
//! ```text
//! boot/vmlinuz, boot/live.img       Debian's signed kernel; the first file system, which knows the sums of the next two
//! rackwright/system.squashfs        the controller's root file system, kernel modules, the live system's units, the guide
//! rackwright/store.squashfs         /var/lib/rackwright: boot store and image store, laid below the system
//! rackwright/release                grows from one to the next: an update to an older one is refused
//! disk/                             what the installer puts on a disk beside all this
//! rackwright/SHA256SUMS             of every file, for "Check the medium"
//! rackwright/sbom.spdx.json         every package and crate that is in it
//! ```

mod disk;
mod first;
mod live;
mod loaders;
mod medium;
mod sbom;
mod store;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};

use pack::SigningKey;

use crate::archive::ArchiveError;
use crate::cache::{CacheError, Inputs};
use crate::container::{ContainerError, Image};
use crate::disk::DiskError;
use crate::elf::{self, Linkage};
use crate::files::{self, FileError};
use crate::layout::Ids;
use crate::node::NodeError;
use crate::ramdisk::RamdiskError;
use crate::recipe::{self, Controller, Iso, RecipeError};
use crate::system::{self, Built, SystemError};
use crate::toolbox::ToolboxError;
use crate::tools::ToolError;
use crate::workshop::Workshop;

pub use sums::{Sidecar, verify};

/// Why there is no ISO.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it wraps, or its message says it")]
pub enum IsoError {
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    System(#[from] SystemError),
    #[error(transparent)]
    Ramdisk(#[from] RamdiskError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("{} is no x86-64 program; build it with: cargo build --profile ship -p appliance", .0.display())]
    NotAProgram(PathBuf),
    #[error("{} is no boot store: it has no {missing}; make one with: image-build ramdisk", folder.display())]
    NoBootStore { folder: PathBuf, missing: &'static str },
    #[error(
        "{} was built from other packages than the mirror has now, so nobody can say what is in it; build it again",
        .0.display()
    )]
    OldImage(PathBuf),
    #[error("{} is no Cargo.lock", path.display())]
    Lock { path: PathBuf, source: toml::de::Error },
    #[error("writing a list")]
    List(#[source] serde_json::Error),
    #[error(
        "the ISO is {is} MiB, the recipe allows {limit}; leave an image out, or raise limit_mib in recipes/iso.toml"
    )]
    TooBig { is: u64, limit: u64 },
    #[error("{}: {why}", path.display())]
    Verify { path: PathBuf, why: &'static str },
}

/// What it is made of, beside the recipes.
#[derive(Debug)]
pub struct Order<'a> {
    /// The daemon.
    pub appliance: &'a Path,
    /// The boot store, a folder.
    pub boot: &'a Path,
    /// Node images.
    pub images: &'a [PathBuf],
    /// Folder with the documentation.
    pub docs: &'a Path,
    /// Folder with the catalog, which says what is in the images.
    pub catalog: &'a Path,
    /// The lock file of the programs.
    pub lock: &'a Path,
    /// Signs it, and is trusted by the controller on it.
    pub key: &'a SigningKey,
}

/// Builds the ISO at `out`, and beside it what proves it ([`Sidecar`]).
pub fn build(workshop: &Workshop, order: &Order<'_>, out: &Path) -> Result<(), IsoError> {
    let recipe: Iso = recipe::load(&workshop.recipe("iso.toml"), "--recipes")?;
    let controller: Controller = recipe::load(&workshop.recipe("controller.toml"), "--recipes")?;
    if elf::linkage(&files::read(order.appliance)?) == Linkage::NotAProgram {
        return Err(IsoError::NotAProgram(order.appliance.to_owned()));
    }
    for missing in ["vmlinuz", "initrd.img", "versions.json"] {
        if !order.boot.join(missing).is_file() {
            return Err(IsoError::NoBootStore { folder: order.boot.to_owned(), missing });
        }
    }
    let opened = order.images.iter().map(|path| Image::open(path, Some(&[order.key.public()])));
    let images = opened.collect::<Result<Vec<_>, _>>()?;
    let system = system::build(workshop, &controller.system)?;
    let inputs = inputs(workshop, order, &recipe, &system, &images)?;
    let job = Job {
        workshop,
        order,
        recipe: &recipe,
        system: &system,
        images: &images,
        ids: Ids::of(&inputs.digest()),
    };
    let work = workshop.work()?;
    let tree = work.path().join("tree");
    job.fill(&tree, work.path())?;
    medium::write(&job, &tree, work.path(), out)?;
    let is = files::look(out)?.len().div_ceil(1 << 20);
    if is > recipe.limit_mib {
        return Err(IsoError::TooBig { is, limit: recipe.limit_mib });
    }
    workshop.progress.step(format_args!("signing {is} MiB"));
    Sidecar::of(out).write(order.key, &tree.join(sbom::PLACE))
}

/// One ISO being made.
struct Job<'a> {
    workshop: &'a Workshop,
    order: &'a Order<'a>,
    recipe: &'a Iso,
    system: &'a Built,
    images: &'a [Image],
    ids: Ids,
}

impl Job<'_> {
    /// By which the first program knows its medium.
    fn id(&self) -> String {
        self.ids.uuid("medium")
    }

    /// Everything that is a file on the medium.
    fn fill(&self, tree: &Path, work: &Path) -> Result<(), IsoError> {
        let Job { workshop, order, .. } = self;
        let system = live::kept(self, work)?;
        files::share(&system, &tree.join(SYSTEM))?;
        files::write(&tree.join(sbom::PLACE), sbom::document(self)?.as_bytes())?;
        workshop.progress.step(format_args!("writing the store: {} images", self.images.len()));
        store::write(self, &work.join("store"), &tree.join(STORE))?;
        files::copy(
            &workshop.toolbox.path(&format!("boot/vmlinuz-{}", workshop.toolbox.kernel())),
            &tree.join(KERNEL),
        )?;
        let sums = sums::list(tree, &[SYSTEM, STORE])?;
        files::write(&tree.join(FIRST), &first::pack(self, work, &sums)?)?;
        for path in files::walk(order.docs)?.iter().filter(|path| path.is_file()) {
            files::copy(path, &tree.join("docs").join(path.strip_prefix(order.docs).unwrap_or(path)))?;
        }
        files::write(&tree.join("rackwright").join(self.id()), b"")?;
        let release = format!("{}\n", workshop.release.epoch);
        files::write(&tree.join("rackwright/release"), release.as_bytes())?;
        loaders::put_menu(self, tree)?;
        disk::put(self, work, tree)?;
        let names = files::walk(tree)?.into_iter().filter(|path| path.is_file());
        let names: Vec<_> =
            names.filter_map(|path| Some(path.strip_prefix(tree).ok()?.display().to_string())).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        files::write(&tree.join("rackwright/SHA256SUMS"), sums::list(tree, &names)?.as_bytes())?;
        // Its makers write into it: where it lies, and the sum of that.
        Ok(loaders::put_bios(self, work, tree)?)
    }
}

const SYSTEM: &str = "rackwright/system.squashfs";
const STORE: &str = "rackwright/store.squashfs";
const KERNEL: &str = "boot/vmlinuz";
const FIRST: &str = "boot/live.img";

/// All that the medium depends on.
fn inputs(
    workshop: &Workshop,
    order: &Order<'_>,
    recipe: &Iso,
    system: &Built,
    images: &[Image],
) -> Result<Inputs, IsoError> {
    let mut inputs = live::inputs(workshop, order, recipe, system)?;
    for (name, path) in [("boot", order.boot), ("lock", order.lock)] {
        inputs.path(name, path)?;
    }
    for image in images {
        inputs.text(&format!("image {}", image.manifest.name()), image.digest);
    }
    Ok(inputs)
}

/// A file with `MEDIUM` in it, which stands for the medium's id.
fn filled_in(job: &Job<'_>, recipe: &str) -> Result<String, FileError> {
    Ok(files::read_text(&job.workshop.recipe(recipe))?.replace("MEDIUM", &job.id()))
}

/// Empties a folder that a step of an ISO fills.
fn fresh(folder: &Path) -> Result<(), FileError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(files::named("removing", folder))?;
    }
    files::make_folder(folder)
}
