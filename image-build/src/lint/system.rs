//! An installed system put together from the volumes of a disk, as its own fstab says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::folder::Folder;
use super::tree::{Edit, Look, Tree};

/// File systems, each at its place. Paths are looked up in the one whose place is nearest above.
#[derive(Debug, Default)]
pub struct System {
    /// By place, relative to the root, which is the empty path.
    mounts: BTreeMap<PathBuf, Folder>,
}

impl System {
    /// A system of one folder.
    #[must_use]
    pub fn of(root: Folder) -> System {
        let mut system = System::default();
        system.add(PathBuf::new(), root);
        system
    }

    /// Mounts a folder at a place.
    pub fn add(&mut self, place: PathBuf, folder: Folder) {
        self.mounts.insert(place, folder);
    }

    /// Whether something is mounted there.
    #[must_use]
    pub fn has(&self, place: &Path) -> bool {
        self.mounts.contains_key(place)
    }

    /// Where something is mounted, the root too.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.mounts.keys().map(PathBuf::as_path)
    }

    /// Writes everything back.
    ///
    /// # Errors
    /// When a device refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.mounts.values().try_for_each(Folder::sync)
    }

    fn at<'a>(&self, path: &'a Path) -> io::Result<(&Folder, &'a Path)> {
        let nearest = path.ancestors().find_map(|place| {
            let folder = self.mounts.get(place)?;
            Some((folder, path.strip_prefix(place).unwrap_or(path)))
        });
        nearest.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Tree for System {
    fn look(&self, path: &Path) -> io::Result<Option<Look>> {
        let (folder, path) = self.at(path)?;
        folder.look(path)
    }

    fn each(&self, path: &Path, then: &mut dyn FnMut(&OsStr) -> bool) -> io::Result<()> {
        let (folder, path) = self.at(path)?;
        folder.each(path, then)
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let (folder, path) = self.at(path)?;
        folder.read(path, bytes_max)
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let (folder, path) = self.at(path)?;
        folder.target(path)
    }
}

impl Edit for System {
    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.has(path) {
            // What is mounted here stays, and so does its place.
            let mut empty = true;
            self.each(path, &mut |_| {
                empty = false;
                false
            })?;
            return if empty { Ok(()) } else { Err(io::ErrorKind::DirectoryNotEmpty.into()) };
        }
        let (folder, path) = self.at(path)?;
        folder.remove(path)
    }

    fn wipe(&self, path: &Path) -> io::Result<()> {
        let (folder, path) = self.at(path)?;
        folder.wipe(path)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (folder, path) = self.at(path)?;
        folder.write(path, content)
    }
}

/// The most lines of an fstab that are read.
const LINES_MAX: usize = 256;

/// One mount of a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is mounted, as it is written.
    pub source: String,
    /// Where, relative to the root.
    pub place: PathBuf,
    /// The subvolume, for btrfs.
    pub subvolume: Option<String>,
}

/// The mounts that an fstab names, outer ones first; lines that make no sense are left out.
#[must_use]
pub fn fstab(content: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(content);
    let mut entries: Vec<_> = text.lines().take(LINES_MAX).filter_map(entry).collect();
    entries.sort_by(|a, b| a.place.cmp(&b.place));
    entries
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split_whitespace();
    let (source, place) = (fields.next()?, fields.next()?);
    let options = fields.nth(1).unwrap_or_default();
    let place = unescaped(place);
    let below = place.strip_prefix('/')?;
    let plain = Path::new(below).components().all(|step| matches!(step, Component::Normal(_)));
    if source.starts_with('#') || !plain {
        return None;
    }
    let subvolume = options.split(',').find_map(|option| option.strip_prefix("subvol="));
    let source = unescaped(source).replace('"', "");
    Some(Entry { source, place: below.into(), subvolume: subvolume.map(unescaped) })
}

/// A space is written as `\040`.
fn unescaped(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fstab_is_read_as_mount_does() {
        let text =
            b"# c\nUUID=ab /  ext4 defaults 0 1\n\nLABEL=my\\040disk /var/x btrfs rw,subvol=@x,ro 0 0\n\
                     none none swap sw\n/dev/sda2 /var/../etc ext4\nPARTUUID=\"q\" /var\n\xff\xfe\n";
        let found = fstab(text);
        let shown: Vec<_> = found.iter().map(|e| (e.source.as_str(), e.place.to_str().unwrap())).collect();
        assert_eq!(shown, [("UUID=ab", ""), ("PARTUUID=q", "var"), ("LABEL=my disk", "var/x")]);
        assert_eq!(found[2].subvolume.as_deref(), Some("@x"));
        assert_eq!(fstab(&b"a /b c\n".repeat(100_000)).len(), LINES_MAX);
    }

    #[test]
    fn what_is_mounted_hides_what_is_below() {
        let work = crate::files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        for name in ["root/var/hidden", "root/etc/x", "var/log/y"] {
            crate::files::write(&work.path().join(name), b"1").unwrap();
        }
        let open = |name: &str| Folder::open(&work.path().join(name)).unwrap();
        let mut system = System::of(open("root"));
        system.add("var".into(), open("var"));
        let there = |path: &str| system.look(Path::new(path)).unwrap().is_some();
        assert!(there("etc/x") && there("var") && there("var/log/y") && !there("var/hidden"));
        assert!(system.remove(Path::new("var")).is_err());
        assert!(system.remove(Path::new("var/log/y")).is_ok() && system.remove(Path::new("var/log")).is_ok());
        assert!(system.remove(Path::new("var")).is_ok() && there("var"));
    }
}
