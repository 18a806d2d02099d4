//! Debian packages of the target release: which versions the mirror has now, and the files themselves.
//! Uses a private apt state, so that neither the machine's release nor its package lists matter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache::Inputs;
use crate::files::{self, FileError};
use crate::mirror::{self, Mirror};
use crate::tools::{Call, ToolError};

/// How long the package lists are believed while nothing has to be built.
pub const GOOD_FOR_LOOKING: Duration = Duration::from_secs(24 * 3600);
/// How long they are believed when something is built from them: a mirror changes a few times a day.
pub const GOOD_FOR_BUILDING: Duration = Duration::from_secs(600);

/// Why packages could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lists could not be fetched.
    #[error(
        "fetching the package lists of {release}; is the mirror reachable, and does it have that release?"
    )]
    Lists {
        /// The release asked for.
        release: String,
        /// What apt said.
        source: ToolError,
    },
    /// apt sees no way to install this set.
    #[error("choosing versions of {packages}; the first error names the package that is missing or misspelt")]
    Resolve {
        /// What was asked for.
        packages: String,
        /// What apt said.
        source: ToolError,
    },
    /// The files did not come.
    #[error("downloading {count} packages")]
    Download {
        /// How many were asked for.
        count: usize,
        /// What apt said.
        source: ToolError,
    },
    /// apt listed a package whose file is not there.
    #[error("package {name} {version} was not downloaded")]
    Absent {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

/// One package in the version the mirror offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Debian's name for it.
    pub name: String,
    /// Debian's version, epoch included.
    pub version: String,
}

/// Which packages beside the named ones a set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Only what the named ones need.
    Nothing,
    /// A whole system: what is essential or of priority required, and apt.
    System,
}

/// A private apt, for one release of one mirror.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    config: PathBuf,
    release: String,
}

impl Archive {
    /// Sets the state up in `folder`; what an earlier run fetched there is used again.
    pub fn open(folder: &Path, mirror: &Mirror, release: &str) -> Result<Archive, ArchiveError> {
        // apt wants absolute paths.
        files::make_folder(folder)?;
        let folder = fs::canonicalize(folder).map_err(files::named("finding", folder))?;
        files::make_folder(&folder.join("state/lists/partial"))?;
        files::make_folder(&folder.join("cache/archives/partial"))?;
        let sources = mirror::lines(mirror, release).join("\n") + "\n";
        let (list, config) = (folder.join("sources.list"), folder.join("apt.conf"));
        let known = fs::read_to_string(&list).is_ok_and(|known| known == sources);
        if !known {
            files::write(&list, sources.as_bytes())?;
            drop(fs::remove_file(folder.join("fetched")));
        }
        files::write(&folder.join("status"), b"")?;
        files::write(&config, configuration(&folder).as_bytes())?;
        Ok(Archive { folder, config, release: release.to_owned() })
    }

    /// Fetches the package lists when those here are older than this.
    pub fn refresh(&self, good_for: Duration) -> Result<(), ArchiveError> {
        let _lock = self.lock()?;
        let stamp = self.folder.join("fetched");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
        let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < good_for) {
            return Ok(());
        }
        let update = self.apt().args(["--error-on=any", "update"]).run();
        update.map_err(|source| ArchiveError::Lists { release: self.release.clone(), source })?;
        Ok(files::write(&stamp, b"")?)
    }

    /// Two builds at once share this state; apt gives up where it could wait.
    fn lock(&self) -> Result<File, FileError> {
        let path = self.folder.join("lock");
        let file = files::create(&path)?;
        file.lock().map_err(files::named("locking", &path))?;
        Ok(file)
    }

    /// The whole set that installing `packages` on nothing would bring, sorted by name. The answer is kept
    /// for as long as the mirror's lists stay what they are: apt needs seconds for it.
    pub fn resolve(&self, base: Base, packages: &[String]) -> Result<Vec<Package>, ArchiveError> {
        let mut question = Inputs::default();
        question.text("base", format_args!("{base:?}"));
        question.text("packages", packages.join(" "));
        for list in files::list(&self.folder.join("state/lists"))? {
            if list.to_string_lossy().ends_with("_InRelease") {
                question.path(&list.display().to_string(), &list)?;
            }
        }
        let answer = self.folder.join("resolved").join(question.digest());
        if let Ok(known) = fs::read_to_string(&answer) {
            return Ok(parse_simulation(&known));
        }
        let _lock = self.lock()?;
        let call = self.install(base, packages).arg("--simulate");
        let failed = |source| ArchiveError::Resolve { packages: packages.join(" "), source };
        let text = call.run().map_err(failed)?;
        files::write(&answer, &text)?;
        Ok(parse_simulation(&String::from_utf8_lossy(&text)))
    }

    /// Downloads such a set; gives the packages with their files. apt checks each against the signed lists.
    pub fn download(&self, base: Base, packages: &[String]) -> Result<Vec<(Package, PathBuf)>, ArchiveError> {
        let set = self.resolve(base, packages)?;
        let _lock = self.lock()?;
        let call = self.install(base, packages).args(["--download-only", "--yes"]);
        call.run().map_err(|source| ArchiveError::Download { count: set.len(), source })?;
        let archives = files::list(&self.folder.join("cache/archives"))?;
        let file_of = |package: Package| {
            // Files are named NAME_VERSION_ARCH.deb with the epoch's colon escaped.
            let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
            let named =
                |path: &&PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&start));
            match archives.iter().find(named) {
                Some(path) => Ok((package, path.clone())),
                None => Err(ArchiveError::Absent { name: package.name, version: package.version }),
            }
        };
        set.into_iter().map(file_of).collect()
    }

    fn apt(&self) -> Call {
        Call::new("apt-get").env("APT_CONFIG", &self.config).env("DEBIAN_FRONTEND", "noninteractive")
    }

    fn install(&self, base: Base, packages: &[String]) -> Call {
        let system: &[&str] = match base {
            Base::Nothing => &[],
            Base::System => &["?essential", "?priority(required)", "apt"],
        };
        self.apt().args(["--quiet", "--no-install-recommends", "install"]).args(system).args(packages)
    }
}

/// Everything apt keeps goes below `folder`; the machine's own proxy settings stay in force.
fn configuration(folder: &Path) -> String {
    let at = folder.display();
    format!(
        "Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}/cache\";\n\
         Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\nAPT::Sandbox::User \"root\";\n\
         APT::Install-Recommends \"false\";\nAPT::Default-Release \"\";\nAcquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n"
    )
}

/// Reads the list of a system's installed packages (`/var/lib/dpkg/status`), sorted by name.
pub fn parse_status(text: &str) -> Vec<Package> {
    let field = |stanza: &str, name: &str| {
        let value = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned)
    };
    let package =
        |stanza: &str| Some(Package { name: field(stanza, "Package")?, version: field(stanza, "Version")? });
    let mut packages: Vec<_> = text.split("\n\n").filter_map(package).collect();
    packages.sort();
    packages
}

/// Reads apt's dry run: `Inst NAME (VERSION ORIGIN [ARCH]) ...`.
pub fn parse_simulation(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some(Package { name: name.to_owned(), version: version.to_owned() })
    };
    let mut packages: Vec<_> = text.lines().filter_map(package).collect();
    packages.sort();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_read_and_its_chatter_passed_over() {
        let text = "Reading package lists...\nInst tar (1.35 Debian:13.1/stable [amd64]) []\n\
                    Inst acl [2.2] (1:2.3-1 Debian:13/stable [amd64]) [x]\nConf tar (1.35 Debian)\nInst\nInst a\n\
                    Inst b (\n";
        let package = |name: &str, version: &str| Package { name: name.into(), version: version.into() };
        assert_eq!(parse_simulation(text), [package("acl", "1:2.3-1"), package("tar", "1.35")]);
    }

    #[test]
    fn installed_packages_are_read() {
        let text = "Package: b\nStatus: x\nVersion: 2:1\nDescription: c\n Version: no\n\nPackage: a\nVersion: 1\n\n\n\nno\n";
        let package = |name: &str, version: &str| Package { name: name.into(), version: version.into() };
        assert_eq!(parse_status(text), [package("a", "1"), package("b", "2:1")]);
        assert_eq!(parse_status("Package: a\n\nVersion: 1"), []);
    }

    #[test]
    fn new_sources_make_the_lists_old() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let mirror = |main: &str| Mirror { main: main.into(), security: None };
        Archive::open(work.path(), &mirror("http://a.test/"), "trixie").unwrap();
        let stamp = work.path().join("fetched");
        files::write(&stamp, b"").unwrap();
        Archive::open(work.path(), &mirror("http://a.test/"), "trixie").unwrap();
        assert!(stamp.exists());
        Archive::open(work.path(), &mirror("http://b.test/"), "trixie").unwrap();
        assert!(!stamp.exists());
    }
}
