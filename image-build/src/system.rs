//! A root file system as a tar archive: packages of the release, files laid over them, units enabled or not,
//! and nothing of the machine or the moment it was built on. mmdebstrap does the work; no mount, no loop
//! device, and the same inputs give the same bytes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::archive::{self, ArchiveError, Base, GOOD_FOR_BUILDING, Package};
use crate::cache::{CacheError, Inputs};
use crate::files::{self, FileError};
use crate::mirror;
use crate::tools::{Call, ToolError};
use crate::workshop::Workshop;

/// The archive's name in the cache.
pub const ARCHIVE: &str = "system.tar";
const WHAT: &str = "system";

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// Packages could not be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// The result could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The mirror changed in between.
    #[error(
        "the mirror changed during the build ({name} {version} is new or gone); run it again with --refresh"
    )]
    Moved {
        /// A package that is not what was expected.
        name: String,
        /// Its version.
        version: String,
    },
    /// The recipe asks for a user that cannot be.
    #[error("{name:?} with id {id} and home {home:?} is no user; correct the recipe")]
    User {
        /// Its name.
        name: String,
        /// Its number.
        id: u32,
        /// Its home.
        home: String,
    },
}

/// What a root file system is made of; a part of the node's and the controller's recipe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Debian packages; what they need comes with them.
    pub packages: Vec<String>,
    /// Folder beside the recipe with files to lay over the packages' (all root's, mode 0644 or 0755).
    pub files: String,
    /// Script beside the recipe that runs when they are in place, with the root as its argument.
    pub finish: Option<String>,
    /// Units to enable; all others are disabled, also at first boot.
    pub enable: Vec<String>,
    /// Users that have the same number in every image.
    pub users: Vec<User>,
    /// Shell patterns below the root of what is removed at the end.
    pub remove: Vec<String>,
    /// dpkg patterns of files that packages do not get to install.
    pub leave_out: Vec<String>,
}

/// A system user with a fixed number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its name and its group's.
    pub name: String,
    /// Its number and its group's.
    pub id: u32,
    /// Its home; not made.
    pub home: String,
}

/// A root file system that was built.
#[derive(Debug)]
pub struct Built {
    /// The tar archive.
    pub archive: PathBuf,
    /// The packages in it, sorted by name.
    pub packages: Vec<Package>,
    /// Digest of all that went into it.
    pub inputs: String,
}

/// Builds the archive, or takes it from the cache.
pub fn build(workshop: &Workshop, system: &System) -> Result<Built, SystemError> {
    let users = user_lines(&system.users)?;
    let (mut packages, mut inputs) = wanted(workshop, system)?;
    if !workshop.cache.has(WHAT, &inputs) {
        workshop.archive.refresh(GOOD_FOR_BUILDING)?;
        (packages, inputs) = wanted(workshop, system)?;
    }
    let work = workshop.work()?;
    let kept = workshop.cache.keep(WHAT, &inputs, |folder| {
        let Workshop { archive, progress, release, .. } = workshop;
        progress.step(format_args!("downloading {} packages", packages.len()));
        let debs = work.path().join("debs");
        for (_, file) in archive.download(Base::System, &system.packages)? {
            let name = file.file_name().unwrap_or_default();
            files::share(&file, &debs.join(name))?;
        }
        let overlay = work.path().join("overlay.tar");
        pack_files(system, &workshop.recipes, release.epoch, work.path(), &overlay)?;
        progress.step(format_args!("installing {} packages", packages.len()));
        let call = installation(workshop, system, &users, &debs, &overlay)?.arg(folder.join(ARCHIVE));
        let call = call.args(mirror::lines(&workshop.mirror, &workshop.release.name));
        call.run_watched(&mut |line| {
            // mmdebstrap's own words; the address of the mirror is nobody's business.
            if let Some(said) = line.strip_prefix("I: ").filter(|said| !said.contains("://")) {
                progress.still(|| said.to_owned());
            }
        })?;
        check_packages(&folder.join(ARCHIVE), &packages)
    })?;
    Ok(Built { archive: kept.join(ARCHIVE), packages, inputs: inputs.digest() })
}

/// The packages it will have, and with the recipe's files all that it depends on.
fn wanted(workshop: &Workshop, system: &System) -> Result<(Vec<Package>, Inputs), SystemError> {
    let packages = workshop.archive.resolve(Base::System, &system.packages)?;
    let mut inputs = Inputs::default();
    inputs.text("recipe", format_args!("{system:?}"));
    inputs.packages(&packages);
    for name in ["release.toml", "system", &system.files].into_iter().chain(system.finish.as_deref()) {
        inputs.path(name, &workshop.recipe(name))?;
    }
    Ok((packages, inputs))
}

/// The name of a result says what is in it, so what is in it must be that.
fn check_packages(archive: &Path, wanted: &[Package]) -> Result<(), SystemError> {
    let call = Call::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(archive);
    let status = call.arg("./var/lib/dpkg/status").run()?;
    let is = archive::parse_status(&String::from_utf8_lossy(&status));
    let odd = is.iter().find(|package| !wanted.contains(package));
    match odd.or_else(|| wanted.iter().find(|package| !is.contains(package))) {
        Some(Package { name, version }) => {
            Err(SystemError::Moved { name: name.clone(), version: version.clone() })
        }
        None => Ok(()),
    }
}

/// The archive with one more program in it, at `target`; everything else is shared with the next build.
pub fn with_program(archive: &Path, program: &Path, target: &str, epoch: u32) -> Result<(), SystemError> {
    let program = std::path::absolute(program).map_err(files::named("finding", program))?;
    let rename = format!("--transform=s|.*|{target}|");
    let call =
        tar(epoch).arg("--append").arg("--file").arg(archive).args(["--mode=0755", "--absolute-names"]);
    call.args([rename.as_str(), "--"]).arg(program).run()?;
    Ok(())
}

/// Unpacks the archive into a folder, owners, modes and attributes included.
pub fn unpack(archive: &Path, folder: &Path) -> Result<(), SystemError> {
    files::make_folder(folder)?;
    let call = Call::new("tar").args(["--extract", "--numeric-owner", "--same-permissions"]);
    let call = call.args(["--xattrs", "--xattrs-include=*", "--file"]).arg(archive);
    call.arg("--directory").arg(folder).run()?;
    Ok(())
}

/// A tar that writes the same bytes whoever runs it.
pub fn tar(epoch: u32) -> Call {
    Call::new("tar")
        .args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--format=gnu"])
        .arg(format!("--mtime=@{epoch}"))
}

fn user_lines(users: &[User]) -> Result<String, SystemError> {
    let line = |user: &User| {
        let User { name, id, home } = user;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let fine = !name.is_empty() && name.chars().all(plain) && (100..60_000).contains(id);
        if !fine || !home.starts_with('/') || home.contains([':', '\n']) {
            return Err(SystemError::User { name: name.clone(), id: *id, home: home.clone() });
        }
        Ok(format!("{name}:{id}:{home}\n"))
    };
    users.iter().map(line).collect()
}

/// The files to lay over the packages', as one archive without its folders: those that packages made keep
/// their owner and mode.
fn pack_files(
    system: &System,
    recipes: &Path,
    epoch: u32,
    work: &Path,
    to: &Path,
) -> Result<(), SystemError> {
    let stage = work.join("files");
    let from = recipes.join(&system.files);
    for path in files::walk(&from)? {
        let target = stage.join(path.strip_prefix(&from).unwrap_or(&path));
        let look = files::look(&path)?;
        if look.is_symlink() {
            files::make_folder(target.parent().unwrap_or(&stage))?;
            let link = std::fs::read_link(&path).map_err(files::named("reading the link", &path))?;
            symlink(link, &target).map_err(files::named("making the link", &target))?;
        } else if look.is_file() {
            files::copy(&path, &target)?;
        }
    }
    let mut presets = String::from("# What runs on its own. Everything else waits for whoever starts it.\n");
    presets.extend(system.enable.iter().map(|unit| format!("enable {unit}\n")));
    presets.push_str("disable *\n");
    files::write(&stage.join("etc/systemd/system-preset/00-rackwright.preset"), presets.as_bytes())?;
    let paths = files::walk(&stage)?;
    let inside = paths.iter().filter(|path| path.is_symlink() || path.is_file());
    let inside = inside.map(|path| path.strip_prefix(&stage).unwrap_or(path));
    let call =
        tar(epoch).arg("--create").arg("--file").arg(to).args(["--mode=u=rwX,go=rX", "--no-recursion", "--"]);
    call.args(inside).directory(&stage).run()?;
    Ok(())
}

fn installation(
    workshop: &Workshop,
    system: &System,
    users: &str,
    debs: &Path,
    overlay: &Path,
) -> Result<Call, SystemError> {
    let script = |name: &str| {
        let path = workshop.recipe(name);
        std::path::absolute(&path).map_err(files::named("finding", &path))
    };
    let hook = |when: &str, what: &str| format!("--{when}-hook={what}");
    let finish = match &system.finish {
        Some(name) => Some(hook("customize", &script(name)?.display().to_string())),
        None => None,
    };
    let keyring = Path::new(mirror::KEYRING);
    files::look(keyring)?;
    let dump = Call::new("apt-config").arg("dump").run()?;
    let proxies = mirror::proxies(&String::from_utf8_lossy(&dump));
    let call = Call::new("mmdebstrap");
    let call = proxies.iter().fold(call, |call, (name, value)| call.env(name, value));
    let call = call
        .env("SOURCE_DATE_EPOCH", workshop.release.epoch.to_string())
        .env("DEBIAN_FRONTEND", "noninteractive")
        // An initial ramdisk is the recipe's to make, once, when all that goes into it is there.
        .env("INITRD", "No")
        .env("RACKWRIGHT_USERS", users)
        .env("RACKWRIGHT_REMOVE", system.remove.join("\n"))
        .args(["--mode=root", "--variant=minbase", "--format=tar", "--verbose"])
        // Its own clean-up would make the machine id empty, which is no first boot; the seal does the rest too.
        .arg("--skip=cleanup/reproducible")
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""])
        .args(system.leave_out.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")))
        .arg("--dpkgopt=path-include=/usr/share/doc/*/copyright")
        .arg(format!("--include={}", system.packages.join(",")))
        .arg(hook("setup", "mkdir -p \"$1/var/cache/apt/archives\""))
        .arg(hook("setup", &format!("sync-in {} /var/cache/apt/archives", debs.display())))
        .arg(hook("essential", &script("system/users")?.display().to_string()))
        .arg(hook("customize", &format!("tar-in {} /", overlay.display())))
        .args(finish)
        .arg(hook("customize", &script("system/seal")?.display().to_string()))
        .arg(&workshop.release.name);
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_would_break_the_user_file_are_refused() {
        let user = |name: &str, id, home: &str| User { name: name.into(), id, home: home.into() };
        assert_eq!(user_lines(&[user("_chrony", 401, "/var")]).unwrap(), "_chrony:401:/var\n");
        for bad in [
            user("", 400, "/"),
            user("a:b", 400, "/"),
            user("a\nroot", 400, "/"),
            user("Root", 400, "/"),
            user("a", 0, "/"),
            user("a", 65_534, "/"),
            user("a", 400, "home"),
            user("a", 400, "/x:/bin/sh"),
        ] {
            assert!(user_lines(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
    }
}
