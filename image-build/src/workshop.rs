//! What every build needs: the recipes' folder, the release's packages and tools, the cache, and somebody to
//! tell what is going on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archive::{Archive, ArchiveError, GOOD_FOR_LOOKING};
use crate::cache::Cache;
use crate::files::{FileError, WorkFolder};
use crate::mirror::{self, Mirror, MirrorError};
use crate::progress::Progress;
use crate::recipe::{self, RecipeError, Release};
use crate::toolbox::{Toolbox, ToolboxError};

/// Why building cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    /// A recipe is missing or wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// There is no mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Packages cannot be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tools cannot be had.
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How a person wants it set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder with the recipes.
    pub recipes: PathBuf,
    /// Where results and downloads are kept; nothing is without it.
    pub cache: Option<PathBuf>,
    /// Where what is half done lies.
    pub work: PathBuf,
    /// Ask the mirror for new package lists, however fresh the old ones are.
    pub refresh: bool,
    /// The mirror, instead of the machine's own.
    pub mirror: Option<Mirror>,
    /// Say nothing while working.
    pub quiet: bool,
}

/// Everything a build needs.
#[derive(Debug)]
pub struct Workshop {
    /// The folder with the recipes.
    pub recipes: PathBuf,
    /// What everything is made of.
    pub release: Release,
    /// Where its packages come from.
    pub mirror: Mirror,
    /// Its packages.
    pub archive: Archive,
    /// Its tools.
    pub toolbox: Toolbox,
    /// Results of earlier builds.
    pub cache: Cache,
    /// Who is told.
    pub progress: Progress,
    work: PathBuf,
    /// A cache for this run only, removed at its end.
    _own: Option<WorkFolder>,
}

impl Workshop {
    /// Gets everything ready: about 15 s with nothing in the cache, 2 s otherwise.
    pub fn open(setup: &Setup) -> Result<Workshop, WorkshopError> {
        let progress = Progress::start(setup.quiet);
        let release: Release = recipe::load(&setup.recipes.join("release.toml"), "--recipes")?;
        let own = setup.cache.is_none().then(|| WorkFolder::make(&setup.work)).transpose()?;
        let kept = own.as_ref().map(WorkFolder::path).or(setup.cache.as_deref()).unwrap_or(&setup.work);
        let cache = Cache::open(kept)?;
        let mirror = match &setup.mirror {
            Some(mirror) => mirror.clone(),
            None => mirror::of_this_machine(Path::new("/etc/apt"))?,
        };
        progress.step(format_args!("looking at the packages of {}", release.name));
        let archive = Archive::open(&cache.folder().join("archive"), &mirror, &release.name)?;
        archive.refresh(if setup.refresh { Duration::ZERO } else { GOOD_FOR_LOOKING })?;
        let toolbox = Toolbox::open(&archive, &release, &cache, &progress)?;
        let (recipes, work) = (setup.recipes.clone(), setup.work.clone());
        Ok(Workshop { recipes, release, mirror, archive, toolbox, cache, progress, work, _own: own })
    }

    /// A folder for what is half done.
    pub fn work(&self) -> Result<WorkFolder, FileError> {
        WorkFolder::make(&self.work)
    }

    /// The path of a recipe file.
    pub fn recipe(&self, name: &str) -> PathBuf {
        self.recipes.join(name)
    }
}
