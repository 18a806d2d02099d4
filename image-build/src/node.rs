//! A node image: the packages of some roles on a whole disk, packed and signed.

use std::path::{Path, PathBuf};

use pack::disk::{Access, Disk};
use pack::{About, Compression, Digest, KeyError, Layout, VolumeId};

use crate::archive::{self, Base};
use crate::cache::{CacheError, Inputs};
use crate::capture::{self, CaptureError};
use crate::catalog::{self, CatalogError};
use crate::container::{ContainerError, Image};
use crate::disk::{self, DiskError, Parts};
use crate::elf::{self, Linkage};
use crate::files::{self, FileError};
use crate::keys::{self, KeyFileError};
use crate::layout::Ids;
use crate::recipe::{self, Node, RecipeError};
use crate::system::{self, System, SystemError};
use crate::workshop::Workshop;

/// Where the agent goes.
const AGENT: &str = "./usr/bin/rackwright-agent";
const IMAGE: &str = "image.rwimage";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is what it wraps")]
pub enum NodeError {
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    System(#[from] SystemError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The disk was not packed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{} is no x86-64 program; build it with: cargo build --profile ship -p agent", .0.display())]
    NotAProgram(PathBuf),
    #[error("level {0} is no zstd level; it goes from 1 (quick) to 19 (small)")]
    Level(i32),
}

/// What is asked for.
#[derive(Debug)]
pub struct Order<'a> {
    /// The roles it is for, and those of their optional services that it carries.
    pub roles: &'a [String],
    /// What it is called; the roles' names without it.
    pub name: Option<&'a str>,
    /// The agent program.
    pub agent: &'a Path,
    /// Folder with the catalog.
    pub catalog: &'a Path,
    /// File with the signing key.
    pub key: &'a Path,
    /// zstd level; the recipe's without it.
    pub level: Option<i32>,
}

/// Builds the image, or takes it from the cache; gives the image file.
pub fn build(workshop: &Workshop, order: &Order<'_>) -> Result<PathBuf, NodeError> {
    let recipe: Node = recipe::load(&workshop.recipe("node.toml"), "--recipes")?;
    let agent = files::read(order.agent)?;
    if elf::linkage(&agent) == Linkage::NotAProgram {
        return Err(NodeError::NotAProgram(order.agent.to_owned()));
    }
    let level = order.level.unwrap_or(recipe.level);
    if !(1..=19).contains(&level) {
        return Err(NodeError::Level(level));
    }
    let mut roles = order.roles.to_vec();
    roles.sort();
    roles.dedup();
    let recipe_of_roles = with_roles(&recipe.system, order.catalog, &roles)?;
    let key = keys::load_or_make(order.key)?;
    let name = order.name.map_or_else(|| roles.join("-"), str::to_owned);
    let system = system::build(workshop, &recipe_of_roles)?;
    let mut inputs = Inputs::default();
    inputs.text("system", &system.inputs);
    inputs.bytes("agent", &agent);
    inputs.text("roles", roles.join(" "));
    inputs.text("recipe", format_args!("{recipe:?}"));
    inputs.packages(workshop.toolbox.packages());
    for file in ["release.toml", "node/esp"] {
        inputs.path(file, &workshop.recipe(file))?;
    }
    // The disk's ids hang on what is on it, not on how it is packed or who signs it.
    let ids = Ids::of(&inputs.digest());
    inputs.text("name", &name);
    inputs.text("level", level);
    inputs.text("key", key.public());
    let kept = workshop.cache.keep("node", &inputs, |folder| {
        let work = workshop.work()?;
        let raw = work.path().join("disk.raw");
        let disk_bytes = assemble(workshop, &recipe, &system.archive, order.agent, &ids, work.path(), &raw)?;
        let packages = Some(digest(&system.packages));
        let layout = Layout::default();
        let about = About { name, arch: "amd64".to_owned(), roles, disk_bytes, seed: None, packages, layout };
        workshop.progress.step(format_args!("packing {} MiB", disk_bytes >> 20));
        let disk = Disk::open(&raw, Access::Read).map_err(CaptureError::from)?;
        let (compression, to) = (Compression::Zstd(level), folder.join(IMAGE));
        capture::pack_disk(&disk, &raw, about, compression, &key, &to, &workshop.progress)?;
        Ok::<_, NodeError>(())
    })?;
    Ok(kept.join(IMAGE))
}

fn with_roles(base: &System, catalog: &Path, roles: &[String]) -> Result<System, CatalogError> {
    let mut system = base.clone();
    system.packages.extend(catalog::packages(catalog, roles)?);
    system.packages.sort();
    system.packages.dedup();
    Ok(system)
}

/// The packages that an image of these roles has when it is built now.
pub fn packages(
    workshop: &Workshop,
    catalog: &Path,
    roles: &[String],
) -> Result<Vec<archive::Package>, NodeError> {
    let recipe: Node = recipe::load(&workshop.recipe("node.toml"), "--recipes")?;
    let system = with_roles(&recipe.system, catalog, roles)?;
    Ok(workshop.archive.resolve(Base::System, &system.packages).map_err(SystemError::from)?)
}

/// What a manifest says of its packages.
pub fn digest(packages: &[archive::Package]) -> Digest {
    let list: String = packages.iter().map(|p| format!("{}={}\n", p.name, p.version)).collect();
    Digest::of(list.as_bytes())
}

fn assemble(
    workshop: &Workshop,
    recipe: &Node,
    archive: &Path,
    agent: &Path,
    ids: &Ids,
    work: &Path,
    raw: &Path,
) -> Result<u64, NodeError> {
    let epoch = workshop.release.epoch;
    workshop.progress.step("writing the disk");
    let own = work.join("system.tar");
    files::copy(archive, &own)?;
    system::with_program(&own, agent, AGENT, epoch)?;
    let esp_config = workshop.recipe("node/esp/grub.cfg");
    let toolbox = &workshop.toolbox;
    let parts = Parts { toolbox, recipe, system: &own, esp_config: &esp_config, ids, epoch, work };
    Ok(disk::assemble(&parts, raw)?)
}

/// What a person wants to know of an image, one fact per line.
pub fn describe(image: &Image) -> String {
    let manifest = &image.manifest;
    let stored = manifest.chunks().iter().filter(|chunk| chunk.stored > 0).count();
    let seed =
        manifest.seed().map_or("none".to_owned(), |seed| format!("{} bytes at {}", seed.bytes, seed.offset));
    let packages = manifest.packages().map_or("unknown".to_owned(), |digest| digest.to_string());
    let layout = manifest.layout();
    let facts = [
        ("name", manifest.name().to_owned()),
        ("digest", image.digest.to_string()),
        ("signed by", image.key.to_string()),
        ("machine", manifest.arch().to_owned()),
        ("roles", manifest.roles().join(" ")),
        ("disk", format!("{} MiB", manifest.disk_bytes() >> 20)),
        ("stored", format!("{} MiB in {stored} chunks", manifest.data_bytes() >> 20)),
        ("zero", format!("{} chunks", manifest.chunks().len() - stored)),
        ("seed", seed),
        ("packages", packages),
        ("sectors", format!("{} bytes", layout.sector_bytes)),
        ("root", manifest.root().to_string()),
    ];
    let volumes = layout.volumes.iter().map(volume);
    facts.into_iter().chain(volumes).map(|(what, is)| format!("{what:<10} {is}\n")).collect()
}

fn volume(volume: &VolumeId) -> (&'static str, String) {
    let VolumeId { kind, uuid, label, offset, bytes, used_bytes } = volume;
    let named = [label, uuid].map(|text| text.escape_debug().to_string()).join(" ");
    let of = format!("{} of {} MiB used, at {} MiB", used_bytes >> 20, bytes >> 20, offset >> 20);
    ("volume", format!("{kind}: {of} {}", named.trim()).trim_end().to_owned())
}
