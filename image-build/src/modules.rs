//! Which kernel modules go into a ramdisk: those a recipe names, and all they need. Reads the index files
//! that depmod writes; touches nothing.

use std::collections::{BTreeMap, BTreeSet};

/// A recipe line that fits no module: a typing error, or a driver that the kernel renamed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the kernel has no module for {wanted:?}; correct the recipe (a folder ends in a slash)")]
pub struct NoSuchModule {
    wanted: String,
}

/// The modules of one kernel: paths below its module folder and what each needs.
#[derive(Debug)]
pub struct Index {
    /// Path -> paths it needs, from `modules.dep`.
    needs: BTreeMap<String, Vec<String>>,
    /// Name -> names wanted with it, from `modules.softdep`.
    soft: BTreeMap<String, Vec<String>>,
    /// Name -> path.
    named: BTreeMap<String, String>,
    built_in: BTreeSet<String>,
}

impl Index {
    /// Reads the three index files.
    pub fn parse(modules_dep: &str, modules_softdep: &str, modules_builtin: &str) -> Index {
        let line = |line: &str| {
            let (path, needs) = line.split_once(':')?;
            Some((path.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        };
        let needs: BTreeMap<String, Vec<String>> = modules_dep.lines().filter_map(line).collect();
        let named = needs.keys().map(|path| (name_of(path), path.clone())).collect();
        let built_in = modules_builtin.lines().map(name_of).collect();
        let soft = modules_softdep.lines().filter_map(parse_softdep).collect();
        Index { needs, soft, named, built_in }
    }

    /// Paths of the modules that `wanted` names, less those of `unwanted`, with all they need. An entry is a
    /// folder (ends in a slash) or a module's name; what is built into the kernel is nothing to carry.
    pub fn select(&self, wanted: &[String], unwanted: &[String]) -> Result<BTreeSet<String>, NoSuchModule> {
        let mut left_out = BTreeSet::new();
        for entry in unwanted {
            left_out.extend(self.matching(entry)?);
        }
        let mut waiting = Vec::new();
        for entry in wanted {
            waiting.extend(self.matching(entry)?.into_iter().filter(|path| !left_out.contains(path)));
        }
        let mut chosen = BTreeSet::new();
        while let Some(path) = waiting.pop() {
            if chosen.insert(path.clone()) {
                waiting.extend(self.needs.get(&path).into_iter().flatten().cloned());
                let soft = self.soft.get(&name_of(&path)).into_iter().flatten();
                waiting.extend(soft.filter_map(|name| self.named.get(name)).cloned());
            }
        }
        Ok(chosen)
    }

    fn matching(&self, entry: &str) -> Result<Vec<String>, NoSuchModule> {
        let name = name_of(entry);
        let found: Vec<String> = if entry.ends_with('/') {
            self.needs.keys().filter(|path| path.starts_with(entry)).cloned().collect()
        } else {
            self.named.get(&name).into_iter().cloned().collect()
        };
        if found.is_empty() && !self.built_in.contains(&name) {
            return Err(NoSuchModule { wanted: entry.to_owned() });
        }
        Ok(found)
    }
}

/// `kernel/drivers/net/virtio_net.ko.xz` is `virtio_net`; the kernel takes `-` and `_` for the same.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// `softdep NAME pre: A B post: C`.
fn parse_softdep(line: &str) -> Option<(String, Vec<String>)> {
    let mut words = line.strip_prefix("softdep ")?.split_whitespace();
    let name = name_of(words.next()?);
    Some((name, words.filter(|word| !word.ends_with(':')).map(name_of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::parse(
            "kernel/net/a.ko.xz: kernel/lib/b.ko.xz\nkernel/lib/b.ko.xz: kernel/lib/c.ko.xz\n\
             kernel/lib/c.ko.xz:\nkernel/net/d-e.ko.xz:\nkernel/crypto/soft.ko:\nnot a line\n",
            "# comment\nsoftdep d_e pre: soft none post: c\nsoftdep\n",
            "kernel/fs/inside.ko\n",
        )
    }

    fn select(wanted: &[&str], unwanted: &[&str]) -> Result<Vec<String>, NoSuchModule> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        index()
            .select(&owned(wanted), &owned(unwanted))
            .map(|paths| paths.iter().map(|p| name_of(p)).collect())
    }

    #[test]
    fn a_module_brings_what_it_needs() {
        assert_eq!(select(&["a"], &[]).unwrap(), ["b", "c", "a"].map(|name| name.to_owned()).as_slice());
        assert_eq!(select(&["kernel/net/"], &["a"]).unwrap(), ["soft", "c", "d_e"].as_slice());
        assert_eq!(select(&["d_e"], &[]), select(&["d-e"], &[]));
        assert_eq!(select(&["inside"], &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_fits_nothing_is_an_error() {
        for entry in ["nothing", "kernel/nothing/", "", "/", "kernel/net"] {
            assert!(select(&[entry], &[]).is_err(), "{entry:?}");
            assert!(select(&["a"], &[entry]).is_err(), "{entry:?}");
        }
    }
}
