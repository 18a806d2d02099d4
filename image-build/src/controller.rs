//! The controller's root file system: the release's packages, the units and rules of the recipe, the daemon.

use std::path::{Path, PathBuf};

use crate::elf::{self, Linkage};
use crate::files::{self, FileError};
use crate::recipe::{self, Controller, RecipeError};
use crate::system::{self, SystemError};
use crate::tools::ToolError;
use crate::workshop::Workshop;

/// Where the daemon goes.
const PROGRAM: &str = "usr/bin/rackwright";

/// Why there is no controller.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The recipe is missing or wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The root file system could not be made.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// It could not be unpacked.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// What was given is not the daemon.
    #[error("{} is no x86-64 program; build it with: cargo build --profile ship -p appliance", .0.display())]
    NotAProgram(PathBuf),
    /// Something would be overwritten.
    #[error("{} is there already and not empty; remove it or choose another folder", .0.display())]
    InTheWay(PathBuf),
}

/// Builds it into the folder `out`, or into an archive when the name ends in `.tar`.
pub fn build(workshop: &Workshop, appliance: &Path, out: &Path) -> Result<(), ControllerError> {
    let recipe: Controller = recipe::load(&workshop.recipe("controller.toml"), "--recipes")?;
    if elf::linkage(&files::read(appliance)?) == Linkage::NotAProgram {
        return Err(ControllerError::NotAProgram(appliance.to_owned()));
    }
    let as_archive = out.extension().is_some_and(|extension| extension == "tar");
    if !as_archive && out.exists() && !files::list(out)?.is_empty() {
        return Err(ControllerError::InTheWay(out.to_owned()));
    }
    let archive = system::build(workshop, &recipe.system)?.archive;
    if as_archive {
        files::copy(&archive, out)?;
        system::with_program(out, appliance, &format!("./{PROGRAM}"), workshop.release.epoch)?;
    } else {
        workshop.progress.step(format_args!("unpacking to {}", out.display()));
        system::unpack(&archive, out)?;
        let program = out.join(PROGRAM);
        files::copy(appliance, &program)?;
        files::set_mode(&program, 0o755)?;
    }
    Ok(())
}
