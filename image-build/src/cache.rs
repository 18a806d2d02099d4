//! Results kept in folders named by the digest of all that went into them: the same inputs are built once.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::Package;
use crate::files::{self, FileError};

/// The list of a result's inputs, written beside it so that a person can see why it was built again.
pub const INPUTS_FILE: &str = "inputs.txt";

/// The sources of this program, from `build.rs`: part of every result's place, so that a result of older code is never
/// taken for one of this code; not part of its inputs, which name what is in it.
const SOURCES: &str = env!("IMAGE_BUILD_SOURCES");

/// Why a result could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// Making it did not work.
    #[error("building {what}")]
    Build {
        /// Which kind of result.
        what: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// All that a result depends on, by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inputs(BTreeMap<String, String>);

impl Inputs {
    /// A short text, such as an option.
    pub fn text(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string().replace('\n', "\\n"));
    }

    /// Bytes, by their digest.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.text(name, blake3::hash(bytes));
    }

    /// A file, or a folder with all that is in it, by digest; names and the executable bit count.
    pub fn path(&mut self, name: &str, path: &Path) -> Result<(), FileError> {
        use std::os::unix::fs::PermissionsExt;
        if !path.is_dir() {
            self.bytes(name, &files::read(path)?);
            return Ok(());
        }
        for entry in files::walk(path)? {
            let look = files::look(&entry)?;
            let inside = entry.strip_prefix(path).unwrap_or(&entry).display().to_string();
            let name = format!("{name}/{inside}");
            if look.is_dir() {
                self.text(&name, "folder");
            } else if look.is_symlink() {
                let target = fs::read_link(&entry).map_err(files::named("reading the link", &entry))?;
                self.text(&name, target.display());
            } else {
                let mode = look.permissions().mode() & 0o111;
                self.text(&name, format_args!("{} {mode:o}", blake3::hash(&files::read(&entry)?)));
            }
        }
        Ok(())
    }

    /// A set of packages, by name and version.
    pub fn packages(&mut self, packages: &[Package]) {
        for package in packages {
            self.text(&format!("package {}", package.name), &package.version);
        }
    }

    fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
    }

    /// The digest of all of it: 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        blake3::hash(self.lines().as_bytes()).to_hex().to_string()
    }
}

/// A folder of results.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Results are kept in `folder`, which is made when needed.
    pub fn open(folder: &Path) -> Result<Cache, FileError> {
        files::make_folder(folder)?;
        Ok(Cache { folder: fs::canonicalize(folder).map_err(files::named("finding", folder))? })
    }

    /// Where the results are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is a result for these inputs.
    pub fn has(&self, what: &'static str, inputs: &Inputs) -> bool {
        self.place(what, inputs).exists()
    }

    fn place(&self, what: &'static str, inputs: &Inputs) -> PathBuf {
        let made = blake3::hash(format!("{}{SOURCES}", inputs.lines()).as_bytes());
        let name: String = made.to_hex().chars().take(32).collect();
        self.folder.join(what).join(name)
    }

    /// The folder for these inputs: an earlier one, or one that `build` fills now. It appears whole or not
    /// at all, also when two builds run at once.
    pub fn keep<E: Error + Send + Sync + 'static>(
        &self,
        what: &'static str,
        inputs: &Inputs,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, CacheError> {
        let wanted = self.place(what, inputs);
        if wanted.exists() {
            return Ok(wanted);
        }
        let work = files::WorkFolder::make(&self.folder.join(what))?;
        let folder = work.path().join("result");
        files::make_folder(&folder)?;
        build(&folder).map_err(|error| CacheError::Build { what, source: Box::new(error) })?;
        files::write(&folder.join(INPUTS_FILE), inputs.lines().as_bytes())?;
        match files::rename(&folder, &wanted) {
            Err(_) if wanted.exists() => Ok(wanted),
            done => done.map(|()| wanted).map_err(CacheError::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn inputs(value: &str) -> Inputs {
        let mut inputs = Inputs::default();
        inputs.text("a", value);
        inputs
    }

    #[test]
    fn the_same_inputs_are_built_once() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let cache = Cache::open(work.path()).unwrap();
        let built = Cell::new(0);
        let keep = |value| {
            cache.keep("thing", &inputs(value), |folder| {
                built.set(built.get() + 1);
                files::write(&folder.join("out"), b"x")
            })
        };
        assert_eq!(keep("1").unwrap(), keep("1").unwrap());
        assert_eq!(built.get(), 1);
        assert_ne!(keep("2").unwrap(), keep("1").unwrap());
        assert_eq!(built.get(), 2);
        assert_eq!(files::read_text(&keep("1").unwrap().join(INPUTS_FILE)).unwrap(), "a = 1\n");
    }

    #[test]
    fn a_failed_build_leaves_nothing() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let cache = Cache::open(work.path()).unwrap();
        let failed = cache.keep("thing", &inputs("1"), |folder| {
            files::write(&folder.join("half"), b"x")?;
            files::read(Path::new("/nonexistent")).map(drop)
        });
        assert!(failed.is_err());
        assert_eq!(files::list(&work.path().join("thing")).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_changed_file_name_or_mode_changes_the_digest() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let file = work.path().join("t/file");
        let digest = || {
            let mut inputs = Inputs::default();
            inputs.path("tree", &work.path().join("t")).unwrap();
            inputs.digest()
        };
        files::write(&file, b"1").unwrap();
        let first = digest();
        files::set_mode(&file, 0o755).unwrap();
        let second = digest();
        files::write(&file, b"2").unwrap();
        let third = digest();
        files::rename(&file, &work.path().join("t/other")).unwrap();
        let all = [first, second, third, digest()];
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)), "{all:?}");
    }
}
