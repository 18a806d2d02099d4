//! The boot store: kernel, ramdisk, boot loaders and the guest, each with where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::{CacheError, Inputs};
use crate::cpio::{CpioError, Entry, Tree};
use crate::elf::{self, Linkage};
use crate::files::{self, FileError};
use crate::guest;
use crate::modules::{Index, NoSuchModule};
use crate::recipe::{self, Modules, Program, Ramdisk, RecipeError};
use crate::toolbox::{Toolbox, ToolboxError};
use crate::tools::{Call, ToolError};
use crate::workshop::Workshop;

/// Why there is no boot store.
#[derive(Debug, thiserror::Error)]
pub enum RamdiskError {
    /// The recipe is missing or wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The recipe names a module the kernel has not.
    #[error(transparent)]
    Module(#[from] NoSuchModule),
    /// A package is not at hand.
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// The result could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Something does not fit into the ramdisk's format.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// Compressing failed.
    #[error("compressing the ramdisk")]
    Compress(#[source] std::io::Error),
    /// The agent would not start in there.
    #[error(
        "{} {why}; build it with: RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --profile ship \
         --target x86_64-unknown-linux-gnu -p agent", path.display()
    )]
    Agent {
        /// The file given.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// image-build would not start in there.
    #[error(
        "{} {why}; build it with: cargo build --profile ship -p image-build, and name it with --image-build",
        path.display()
    )]
    ImageBuild {
        /// The file given, or this very program.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The guest is no longer small.
    #[error(
        "the guest is {is} MiB, the recipe allows {limit} MiB; take modules out of recipes/guest.toml, or raise limit_mib \
         there"
    )]
    GuestTooBig {
        /// Its size.
        is: u64,
        /// What the recipe allows.
        limit: u64,
    },
    /// Too much for every server to load.
    #[error(
        "kernel and ramdisk are {is} MiB together, the recipe allows {limit} MiB; take modules out of \
         recipes/ramdisk.toml, or raise limit_mib there"
    )]
    TooBig {
        /// Their size.
        is: u64,
        /// What the recipe allows.
        limit: u64,
    },
}

/// What `versions.json` says of one file.
#[derive(Debug, Serialize)]
struct Origin<'a> {
    package: &'a str,
    version: &'a str,
    sha256: String,
}

/// Our own programs in the ramdisk.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The agent, static.
    pub agent: &'a Path,
    /// The program that the agent has look into disks of which an image is taken. A dynamic one gets its libraries from
    /// the target release, which must be as new as those that it was built with.
    pub image_build: &'a Path,
}

/// Builds the boot store, or takes it from the cache; gives the folder it is in.
///
/// The ramdisk is two archives one after the other, which the kernel unpacks in turn: the system, which
/// takes long to compress and changes with the recipe, and our own programs, which change often.
pub fn build(workshop: &Workshop, own: Own<'_>) -> Result<PathBuf, RamdiskError> {
    let recipe: Ramdisk = recipe::load(&workshop.recipe("ramdisk.toml"), "--recipes")?;
    let agent = static_program(own.agent)?;
    let image_build = shipped_program(own.image_build)?;
    let mut inputs = Inputs::default();
    inputs.packages(workshop.toolbox.packages());
    for name in ["release.toml", "ramdisk.toml", "ramdisk"] {
        inputs.path(name, &workshop.recipe(name))?;
    }
    let work = workshop.work()?;
    let Workshop { cache, toolbox, release, progress, recipes, .. } = workshop;
    let build = Build {
        programs: &recipe.programs,
        modules: &recipe.modules,
        toolbox,
        work: work.path(),
        init: recipes.join("ramdisk/init"),
    };
    let system = cache.keep("ramdisk-system", &inputs, |folder| {
        progress.step(format_args!("collecting drivers of kernel {}", toolbox.kernel()));
        let tree = build.system()?;
        let archive = tree.encode(release.epoch)?;
        progress.step(format_args!("compressing {} files, {} MiB", tree.len(), archive.len() >> 20));
        let packed = zstd::bulk::compress(&archive, recipe.level).map_err(RamdiskError::Compress)?;
        Ok::<_, RamdiskError>(files::write(&folder.join("system.img"), &packed)?)
    })?;
    inputs.bytes("agent", &agent);
    // The agent lies beside the ramdisk too: a store of before it did is not taken for this one.
    inputs.bytes("store", b"with the agent");
    inputs.bytes("image-build", &image_build);
    let guest = guest::build(workshop)?;
    inputs.bytes("guest", &guest.0);
    let store = cache.keep("ramdisk", &inputs, |folder| {
        let mut tree = Tree::default();
        tree.put("usr/bin/rackwright-agent", Entry::File { mode: 0o755, content: agent.clone() })?;
        build.put_image_build(&mut tree, own.image_build, image_build)?;
        let archive = tree.encode(release.epoch)?;
        let mut ramdisk = files::read(&system.join("system.img"))?;
        ramdisk.extend(zstd::bulk::compress(&archive, recipe.level).map_err(RamdiskError::Compress)?);
        let digest = inputs.digest();
        build.store(&recipe, folder, Files { ramdisk: (&ramdisk, &digest), agent: &agent, guest: &guest })
    });
    Ok(store?)
}

fn static_program(agent: &Path) -> Result<Vec<u8>, RamdiskError> {
    let program = files::read(agent)?;
    let why = match elf::linkage(&program) {
        Linkage::Static => return Ok(program),
        Linkage::Dynamic => "needs shared libraries",
        Linkage::NotAProgram => "is no x86-64 program",
    };
    Err(RamdiskError::Agent { path: agent.into(), why })
}

/// No server should load what a debugger needs.
const PROGRAM_BYTES_MAX: usize = 16 << 20;

fn shipped_program(path: &Path) -> Result<Vec<u8>, RamdiskError> {
    let program = files::read(path)?;
    let why = match elf::linkage(&program) {
        Linkage::Static | Linkage::Dynamic if program.len() <= PROGRAM_BYTES_MAX => return Ok(program),
        Linkage::Static | Linkage::Dynamic => format!("has {} MiB", program.len() >> 20),
        Linkage::NotAProgram => "is no x86-64 program".to_owned(),
    };
    Err(RamdiskError::ImageBuild { path: path.into(), why })
}

/// What was made for the boot store, each with the digest of what it is made of where that is its own.
struct Files<'a> {
    ramdisk: (&'a [u8], &'a str),
    agent: &'a [u8],
    guest: &'a (Vec<u8>, String),
}

/// What the kernel's first file system is made of: the boot ramdisk's, the live system's ([`crate::iso`]), and
/// the guest's.
pub(crate) struct Build<'a> {
    /// Beside busybox.
    pub(crate) programs: &'a [Program],
    /// Of the toolbox's kernel.
    pub(crate) modules: &'a Modules,
    /// Where all of it comes from.
    pub(crate) toolbox: &'a Toolbox,
    /// Where what is half done lies.
    pub(crate) work: &'a Path,
    /// The first program.
    pub(crate) init: PathBuf,
}

impl Build<'_> {
    /// Busybox, programs, modules and the first program.
    pub(crate) fn system(&self) -> Result<Tree, RamdiskError> {
        let mut tree = Tree::default();
        for folder in ["dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp"] {
            tree.put(folder, Entry::Folder)?;
        }
        for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
            tree.put(link, Entry::Link(target.into()))?;
        }
        tree.put("lib64", Entry::Link("usr/lib64".into()))?;
        tree.put("usr/sbin", Entry::Link("bin".into()))?;
        tree.put("dev/console", Entry::Device { major: 5, minor: 1 })?;
        tree.put("init", Entry::File { mode: 0o755, content: files::read(&self.init)? })?;
        for (path, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
            ("etc/group", "root:x:0:\ntty:x:5:\n".to_owned()),
            ("etc/hosts", "127.0.0.1 localhost\n".to_owned()),
            ("etc/modules", self.modules.load.join("\n") + "\n"),
        ] {
            tree.put(path, Entry::File { mode: 0o644, content: text.into_bytes() })?;
        }
        self.put_programs(&mut tree)?;
        self.put_modules(&mut tree)?;
        Ok(tree)
    }

    fn put_programs(&self, tree: &mut Tree) -> Result<(), RamdiskError> {
        let busybox = self.toolbox.path("usr/bin/busybox");
        let names = Call::new(&busybox).arg("--list").run()?;
        tree.put("usr/bin/busybox", Entry::File { mode: 0o755, content: files::read(&busybox)? })?;
        for name in String::from_utf8_lossy(&names).lines().filter(|name| *name != "busybox") {
            tree.put(&format!("usr/bin/{name}"), Entry::Link("busybox".into()))?;
        }
        for program in self.programs {
            self.toolbox.package(&program.package)?;
            let content = files::read(&self.toolbox.path(&program.path))?;
            // Over busybox's link of this name: there is one folder for all.
            let file = program.path.rsplit('/').next().unwrap_or(&program.path);
            let path = format!("usr/bin/{file}");
            tree.put(&path, Entry::File { mode: 0o755, content })?;
            for name in &program.names {
                tree.put(&format!("usr/bin/{name}"), Entry::Link(format!("/{path}")))?;
            }
        }
        self.put_libraries(tree, self.libraries()?)
    }

    /// What the recipe's programs load.
    fn libraries(&self) -> Result<BTreeSet<String>, RamdiskError> {
        let mut libraries = BTreeSet::new();
        for program in self.programs {
            libraries.extend(self.toolbox.libraries(&self.toolbox.path(&program.path))?);
        }
        Ok(libraries)
    }

    fn put_libraries(
        &self,
        tree: &mut Tree,
        libraries: impl IntoIterator<Item = String>,
    ) -> Result<(), RamdiskError> {
        for library in libraries {
            let content = files::read(&self.toolbox.path(&library))?;
            tree.put(&library, Entry::File { mode: 0o755, content })?;
        }
        Ok(())
    }

    /// The program, and what it loads that the system does not bring already.
    fn put_image_build(&self, tree: &mut Tree, path: &Path, content: Vec<u8>) -> Result<(), RamdiskError> {
        if elf::linkage(&content) == Linkage::Dynamic {
            let failed = |why: String| RamdiskError::ImageBuild { path: path.into(), why };
            let wanted = self.toolbox.libraries(path).map_err(|error| {
                let why = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
                failed(format!("does not start with the libraries of the target release: {error}: {why}"))
            })?;
            let system = self.libraries()?;
            self.put_libraries(tree, wanted.into_iter().filter(|name| !system.contains(name)))?;
        }
        tree.put("usr/bin/image-build", Entry::File { mode: 0o755, content })?;
        Ok(())
    }

    /// Modules go in unpacked: the whole is compressed once more, and better, and loading them is quicker.
    fn put_modules(&self, tree: &mut Tree) -> Result<(), RamdiskError> {
        let folder = format!("usr/lib/modules/{}", self.toolbox.kernel());
        let from = self.toolbox.path(&folder);
        let text = |name: &str| files::read_text(&from.join(name));
        let index = Index::parse(&text("modules.dep")?, &text("modules.softdep")?, &text("modules.builtin")?);
        let chosen = index.select(&self.modules.take, &self.modules.leave)?;
        let root = self.work.join("root");
        let to = root.join("lib/modules").join(self.toolbox.kernel());
        for path in &chosen {
            files::copy(&from.join(path), &to.join(path))?;
        }
        for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            files::copy(&from.join(name), &to.join(name))?;
        }
        self.toolbox
            .call("xz")
            .args(["--decompress", "--"])
            .args(chosen.iter().filter(|path| path.ends_with(".xz")))
            .directory(&to)
            .run()?;
        self.toolbox.call("depmod").arg("-b").arg(&root).arg(self.toolbox.kernel()).run()?;
        for path in files::walk(&to)?.iter().filter(|path| path.is_file()) {
            let inside = path.strip_prefix(&to).unwrap_or(path).display();
            let content = files::read(path)?;
            tree.put(&format!("{folder}/{inside}"), Entry::File { mode: 0o644, content })?;
        }
        Ok(())
    }

    fn store(&self, recipe: &Ramdisk, folder: &Path, made: Files<'_>) -> Result<(), RamdiskError> {
        let Files { ramdisk: (ramdisk, inputs), agent, guest } = made;
        let kernel = format!("linux-image-{}", self.toolbox.kernel());
        let kernel = self.toolbox.package(&kernel)?;
        let vmlinuz = files::read(&self.toolbox.path(&format!("boot/vmlinuz-{}", self.toolbox.kernel())))?;
        let is = (vmlinuz.len() as u64 + ramdisk.len() as u64).div_ceil(1 << 20);
        if is > recipe.limit_mib {
            return Err(RamdiskError::TooBig { is, limit: recipe.limit_mib });
        }
        let mut versions = BTreeMap::new();
        let mut put = |name: &str, bytes: &[u8], package, version| -> Result<(), FileError> {
            files::write(&folder.join(name), bytes)?;
            let sha256 = ring::digest::digest(&ring::digest::SHA256, bytes);
            let sha256 = data_encoding::HEXLOWER.encode(sha256.as_ref());
            versions.insert(name.to_owned(), Origin { package, version, sha256 });
            Ok(())
        };
        put("vmlinuz", &vmlinuz, &kernel.name, &kernel.version)?;
        put("initrd.img", ramdisk, "rackwright ramdisk", inputs)?;
        // For servers that are adopted with the system they have.
        put("rackwright-agent", agent, "rackwright agent", inputs)?;
        put(guest::NAME, &guest.0, "rackwright guest", &guest.1)?;
        for loader in &recipe.loaders {
            let package = self.toolbox.package(&loader.package)?;
            let bytes = files::read(&self.toolbox.path(&loader.path))?;
            put(&loader.file, &bytes, &package.name, &package.version)?;
        }
        let text = serde_json::to_string_pretty(&versions).unwrap_or_default() + "\n";
        Ok(files::write(&folder.join("versions.json"), text.as_bytes())?)
    }
}
