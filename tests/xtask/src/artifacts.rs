//! What goes into a rack: programs, boot store, node images, the controller's root file system.
//!
//! Knows the commands that make them and where they land. Refuses to decide what is up to date: cargo and image-build
//! each keep a cache by input digest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cargo::cargo;
use crate::place;
use crate::prerequisites::{self, PrerequisiteError};
use crate::rack::controller::Parts;
use crate::say;
use crate::tool::{Tool, ToolError};

/// The only architecture so far.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Why they are not there.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A package is missing.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),
    /// cargo or image-build said no.
    #[error("building {what}")]
    Build {
        /// What was being built.
        what: String,
        /// How it failed.
        source: ToolError,
    },
    /// A file could not be read or made.
    #[error("using {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// image-build does not say who signed.
    #[error("image-build does not say who signed {}:\n{text}", image.display())]
    NoSigner {
        /// The image.
        image: PathBuf,
        /// What it said.
        text: String,
    },
}

/// A node image that the rack needs.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Its file name without the ending.
    pub name: &'static str,
    /// What it is for.
    pub roles: &'static [&'static str],
    /// What a cloud has only where its operator asks for it.
    pub optional: &'static [&'static str],
    /// Whether its agent speaks to libvirt.
    pub libvirt: bool,
}

/// The node images of the demo: together they have every base role.
pub const RECIPES: [Recipe; 2] = [
    Recipe { name: "control", roles: &["control"], optional: &[], libvirt: false },
    Recipe { name: "worker", roles: &["compute", "network", "storage"], optional: &[], libvirt: true },
];

/// The node image of every server of a cloud: for [`Artifacts::cloud`].
pub const CLOUD: Recipe = Recipe {
    name: "cloud",
    roles: &["control", "network", "compute", "storage", "cloud"],
    optional: &["swift"],
    libvirt: true,
};

/// Everything a rack needs.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// What the controller is made from.
    pub parts: Parts,
    programs: Programs,
}

impl Artifacts {
    /// Builds the boot ramdisk, and if `nodes` a node image, once more from nothing, and compares them byte for byte with those that are
    /// there.
    ///
    /// # Errors
    /// They differ, with the names of what does.
    pub fn reproducible(&self, nodes: bool) -> Result<(), ArtifactError> {
        let work = place::target().join("reproducible");
        make_dir(&work)?;
        let again = |what: &str, with: &dyn Fn(Tool) -> Tool| {
            let tool = with(Tool::new(&self.programs.image_build)).arg("--compare").arg("--work").arg(&work);
            say::step(&format!("making {what} once more"), || tool.dir(place::workspace()).show())
                .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })
        };
        let agent = &self.programs.static_agent;
        again("the boot ramdisk", &|tool| {
            tool.arg("ramdisk").arg("--agent").arg(agent).arg("--out").arg(&self.parts.boot)
        })?;
        if !nodes {
            return Ok(());
        }
        let [recipe, ..] = RECIPES;
        let key = place::images().join("image.key");
        again("a node image", &|tool| {
            let tool = recipe.roles.iter().fold(tool.arg("node"), |tool, role| tool.arg("--role").arg(role));
            let tool = tool.arg("--agent").arg(agent).arg("--key").arg(&key);
            tool.arg("--out").arg(self.packed(recipe.name))
        })
    }

    /// Builds [`CLOUD`] beside the other node images: only what needs it waits for it.
    ///
    /// # Errors
    /// image-build.
    pub fn cloud(&self) -> Result<(), ArtifactError> {
        let dir = place::images();
        let maker = Maker { dir: &dir, programs: &self.programs };
        maker.node(&CLOUD, &self.parts.images, &dir.join("image.key"), false)
    }

    /// Builds the ISO at `out`, with every node image on it; beside it come its checksum, signature and list of contents.
    ///
    /// # Errors
    /// image-build.
    pub fn iso(&self, out: &Path) -> Result<(), ArtifactError> {
        let dir = place::images();
        let maker = Maker { dir: &dir, programs: &self.programs };
        maker.run("the ISO", &["iso"], |tool| self.of_iso(tool, out))
    }

    /// Builds the ISO once more from nothing, and compares it byte for byte with the one that is there.
    ///
    /// # Errors
    /// They differ.
    pub fn iso_reproducible(&self, out: &Path) -> Result<(), ArtifactError> {
        let work = place::target().join("reproducible");
        make_dir(&work)?;
        let what = "the ISO once more, from nothing";
        let tool = Tool::new(&self.programs.image_build).args(["iso", "--compare", "--work"]).arg(&work);
        let recipes = place::workspace().join("image-build/recipes");
        let tool = self.of_iso(tool.arg("--recipes").arg(recipes), out);
        say::step(&format!("making {what}"), || tool.dir(place::workspace()).show())
            .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })
    }

    fn of_iso(&self, tool: Tool, out: &Path) -> Tool {
        let tool = tool.arg("--appliance").arg(&self.programs.appliance).arg("--boot").arg(&self.parts.boot);
        let tool =
            RECIPES.iter().fold(tool, |tool, recipe| tool.arg("--image").arg(self.packed(recipe.name)));
        tool.arg("--key").arg(place::images().join("image.key")).arg("--out").arg(out)
    }

    /// image-build's word on an ISO, against the key that images are signed with.
    ///
    /// # Errors
    /// It is not what was signed.
    pub fn verify_iso(&self, iso: &Path) -> Result<(), ToolError> {
        let tool = Tool::new(&self.programs.image_build).arg("verify").arg(iso);
        tool.args(["--trust", &self.parts.image_key]).read().map(drop)
    }

    /// The agent that needs nothing of the system that it runs on.
    #[must_use]
    pub fn static_agent(&self) -> &Path {
        &self.programs.static_agent
    }

    /// The node image `name` as it is, for comparing disks from outside.
    #[must_use]
    pub fn raw(&self, name: &str) -> PathBuf {
        self.parts.images.join(format!("{name}.raw"))
    }

    /// The node image `name` as it is imported.
    #[must_use]
    pub fn packed(&self, name: &str) -> PathBuf {
        self.parts.images.join(format!("{name}.rwimage"))
    }
}

/// What to build.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Forget what was built before, downloads too.
    pub fresh: bool,
    /// Also write each node image as it is on a disk.
    pub raw: bool,
}

/// Builds whatever is not up to date.
///
/// # Errors
/// A prerequisite, cargo or image-build.
pub fn build(wish: Wish) -> Result<Artifacts, ArtifactError> {
    prerequisites::ensure()?;
    let dir = place::images();
    if wish.fresh && dir.exists() {
        fs::remove_dir_all(&dir).map_err(|source| ArtifactError::Io { path: dir.clone(), source })?;
    }
    make_dir(&dir)?;
    let programs = programs()?;
    install_for(&programs.image_build)?;
    let maker = Maker { dir: &dir, programs: &programs };
    let boot = dir.join("boot");
    maker.run("the boot ramdisk", &["ramdisk"], |tool| {
        tool.arg("--agent").arg(&programs.static_agent).arg("--out").arg(&boot)
    })?;
    // image-build makes it when it is missing; it is worth nothing outside this checkout.
    let key = dir.join("image.key");
    let images = dir.join("nodes");
    make_dir(&images)?;
    for recipe in RECIPES {
        maker.node(&recipe, &images, &key, wish.raw)?;
    }
    let root = dir.join("controller");
    // Unpacked anew: image-build never writes into a folder that holds something, and the tar is cached.
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|source| ArtifactError::Io { path: root.clone(), source })?;
    }
    maker.run("the controller's root file system", &["controller"], |tool| {
        tool.arg("--appliance").arg(&programs.appliance).arg("--out").arg(&root)
    })?;
    let image_key = signer(&programs, &images.join(format!("{}.rwimage", RECIPES[0].name)))?;
    Ok(Artifacts { parts: Parts { root, boot, images, image_key }, programs })
}

#[derive(Debug, Clone)]
struct Programs {
    image_build: PathBuf,
    static_agent: PathBuf,
    libvirt_agent: PathBuf,
    appliance: PathBuf,
}

/// Builds the programs as they are shipped.
fn programs() -> Result<Programs, ArtifactError> {
    let target = place::target();
    let ship = target.join("ship");
    cargo_build("rackwright, image-build and the agent with libvirt", |tool| {
        tool.args(["-p", "appliance", "-p", "image-build", "-p", "agent", "--features", "agent/libvirt"])
    })?;
    cargo_build("the static agent", |tool| {
        // The explicit target keeps the flag away from build scripts and procedural macros.
        tool.args(["-p", "agent", "--target", TARGET]).env("RUSTFLAGS", "-C target-feature=+crt-static")
    })?;
    Ok(Programs {
        image_build: ship.join("image-build"),
        static_agent: target.join(TARGET).join("ship/rackwright-agent"),
        libvirt_agent: ship.join("rackwright-agent"),
        appliance: ship.join("rackwright"),
    })
}

fn cargo_build(what: &str, with: impl FnOnce(Tool) -> Tool) -> Result<(), ArtifactError> {
    let tool = with(cargo(["build", "--profile", "ship", "--locked"]));
    say::step(&format!("building {what}"), || tool.show())
        .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })
}

/// image-build knows what it runs; what it names is installed like our own.
fn install_for(image_build: &Path) -> Result<(), ArtifactError> {
    let what = "the list of image-build's prerequisites";
    let list = Tool::new(image_build)
        .arg("prerequisites")
        .read()
        .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })?;
    Ok(prerequisites::install(&list.split_whitespace().collect::<Vec<_>>())?)
}

struct Maker<'a> {
    dir: &'a Path,
    programs: &'a Programs,
}

impl Maker<'_> {
    fn run(&self, what: &str, verb: &[&str], with: impl FnOnce(Tool) -> Tool) -> Result<(), ArtifactError> {
        let recipes = place::workspace().join("image-build/recipes");
        let tool = Tool::new(&self.programs.image_build).args(verb.iter().copied());
        let tool = tool.arg("--cache").arg(self.dir.join("cache")).arg("--recipes").arg(recipes);
        say::step(&format!("making {what}"), || with(tool).dir(place::workspace()).show())
            .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })
    }

    fn node(&self, recipe: &Recipe, images: &Path, key: &Path, raw: bool) -> Result<(), ArtifactError> {
        let agent = if recipe.libvirt { &self.programs.libvirt_agent } else { &self.programs.static_agent };
        let what = format!("the node image for {}", recipe.roles.join(", "));
        self.run(&what, &["node"], |tool| {
            let tool = recipe.roles.iter().fold(tool, |tool, role| tool.arg("--role").arg(role));
            let tool = recipe.optional.iter().fold(tool, |tool, name| tool.arg("--optional").arg(name));
            let tool = tool.arg("--agent").arg(agent).arg("--key").arg(key);
            let tool = tool.arg("--out").arg(images.join(format!("{}.rwimage", recipe.name)));
            if raw { tool.arg("--raw").arg(images.join(format!("{}.raw", recipe.name))) } else { tool }
        })
    }
}

/// Who signed an image, by image-build's own account of the file.
fn signer(programs: &Programs, image: &Path) -> Result<String, ArtifactError> {
    let what = "the account of an image";
    let text = Tool::new(&programs.image_build)
        .arg("show")
        .arg(image)
        .read()
        .map_err(|source| ArtifactError::Build { what: what.to_owned(), source })?;
    signer_in(&text).ok_or_else(|| ArtifactError::NoSigner { image: image.to_path_buf(), text })
}

/// The key in the line that speaks of the signer: 64 hexadecimal digits.
fn signer_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.to_ascii_lowercase().contains("sign"))?;
    let key = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    line.split(|part: char| !part.is_ascii_alphanumeric()).find(key).map(str::to_owned)
}

fn make_dir(path: &Path) -> Result<(), ArtifactError> {
    fs::create_dir_all(path).map_err(|source| ArtifactError::Io { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_is_the_key_in_its_line() {
        let key = "ab".repeat(32);
        let text = format!("digest   {}\nsigned by {key} (Ed25519)\n", "cd".repeat(32));
        assert_eq!(signer_in(&text), Some(key));
        assert_eq!(signer_in("signed by nobody"), None);
        assert_eq!(signer_in(""), None);
    }
}
