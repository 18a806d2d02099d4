//! Paths with wildcards, looked up in a tree step by step: only folders that can matter are listed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::tree::{Kind, Tree, resolve};

/// How many folders below it `**` looks into.
const DEPTH_MAX: usize = 16;
/// How many paths one glob finds at most: a folder with more is one finding anyway.
const FOUND_MAX: usize = 50_000;
/// How many folders one glob looks into at most.
const FOLDERS_MAX: usize = 100_000;

/// A path with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Wild(String),
    Any,
}

impl Glob {
    /// Parses an absolute path; `{a,b}` makes two of it.
    pub(super) fn parse(text: &str) -> Result<Vec<Glob>, String> {
        let Some((before, rest)) = text.split_once('{') else {
            return Glob::plain(text).map(|glob| vec![glob]);
        };
        let Some((choices, after)) = rest.split_once('}') else {
            return Err(format!("{text}: no closing brace"));
        };
        let parsed: Result<Vec<_>, _> =
            choices.split(',').map(|choice| Glob::parse(&format!("{before}{choice}{after}"))).collect();
        parsed.map(|globs| globs.concat())
    }

    fn plain(text: &str) -> Result<Glob, String> {
        let rest = text.strip_prefix('/').unwrap_or_default();
        let steps: Vec<_> = rest.split('/').map(step).collect();
        let sound = !rest.is_empty()
            && !rest.split('/').any(|name| matches!(name, "" | "." | ".."))
            && !rest.contains(['[', '\\', '}']);
        if sound { Ok(Glob { steps }) } else { Err(format!("{text:?} is no plain absolute path")) }
    }

    /// Whether a path is meant though links may have led to it. A name with a wildcard of its own says what is meant,
    /// wherever a link led; "everything in this folder" must be in this folder: `/tmp` may be a link to `/`.
    pub(super) fn means(&self, path: &Path) -> bool {
        let whole_folder = self.steps.last() == Some(&Step::Wild("*".to_owned()));
        if !whole_folder || self.steps.contains(&Step::Any) {
            return !whole_folder;
        }
        let mut names = path.iter().map(OsStr::as_bytes);
        let here = self.steps.iter().all(|step| match (step, names.next()) {
            (Step::Name(name), Some(found)) => name.as_bytes() == found,
            (Step::Wild(wild), Some(found)) => matches(wild.as_bytes(), found),
            (Step::Any, _) | (Step::Name(_) | Step::Wild(_), None) => false,
        });
        here && names.next().is_none()
    }

    /// The paths in the tree that it means, links followed, sorted. Whether there are more is said by the flag.
    pub(super) fn find(&self, tree: &dyn Tree) -> io::Result<(Vec<PathBuf>, bool)> {
        let mut search = Search { tree, found: Vec::new(), folders: 0, cut: false };
        let mut ahead = vec![(PathBuf::new(), self.steps.as_slice(), 0)];
        while let Some((at, steps, depth)) = ahead.pop() {
            search.step(&at, steps, depth, &mut ahead)?;
        }
        search.found.sort();
        search.found.dedup();
        Ok((search.found, search.cut))
    }
}

fn step(name: &str) -> Step {
    match name {
        "**" => Step::Any,
        wild if wild.contains(['*', '?']) => Step::Wild(wild.to_owned()),
        plain => Step::Name(plain.to_owned()),
    }
}

type Ahead<'a> = Vec<(PathBuf, &'a [Step], usize)>;

struct Search<'a> {
    tree: &'a dyn Tree,
    found: Vec<PathBuf>,
    folders: usize,
    cut: bool,
}

impl Search<'_> {
    fn step<'a>(
        &mut self,
        at: &Path,
        steps: &'a [Step],
        depth: usize,
        ahead: &mut Ahead<'a>,
    ) -> io::Result<()> {
        let Some((step, rest)) = steps.split_first() else {
            if self.found.len() < FOUND_MAX {
                self.found.push(at.to_owned());
            } else {
                self.cut = true;
            }
            return Ok(());
        };
        match step {
            Step::Name(name) => {
                ahead.extend(resolve(self.tree, &at.join(name))?.map(|next| (next, rest, 0)));
            }
            Step::Wild(wild) => {
                for name in self.names(at, wild.as_bytes())? {
                    ahead.extend(resolve(self.tree, &at.join(name))?.map(|next| (next, rest, 0)));
                }
            }
            Step::Any => {
                ahead.push((at.to_owned(), rest, 0));
                if depth < DEPTH_MAX {
                    // Links are not followed here: they would lead round and round.
                    for name in self.names(at, b"*")? {
                        let next = at.join(name);
                        if self.tree.look(&next)?.is_some_and(|look| look.kind == Kind::Folder) {
                            ahead.push((next, steps, depth + 1));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The names in a folder that match; none when it is no folder.
    fn names(&mut self, at: &Path, wild: &[u8]) -> io::Result<Vec<OsString>> {
        let is_folder = self.tree.look(at)?.is_some_and(|look| look.kind == Kind::Folder);
        if !is_folder {
            return Ok(Vec::new());
        }
        self.folders += 1;
        if self.folders > FOLDERS_MAX {
            self.cut = true;
            return Ok(Vec::new());
        }
        let (mut names, mut cut) = (Vec::new(), false);
        self.tree.each(at, &mut |name: &OsStr| {
            if matches(wild, name.as_bytes()) {
                cut = names.len() >= FOUND_MAX;
                if !cut {
                    names.push(name.to_owned());
                }
            }
            !cut
        })?;
        self.cut |= cut;
        Ok(names)
    }
}

/// Whether a name is meant: `*` is any bytes, `?` is one.
fn matches(wild: &[u8], name: &[u8]) -> bool {
    let (mut w, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match wild.get(w) {
            Some(b'*') => {
                star = Some((w, n));
                w += 1;
            }
            Some(byte) if *byte == b'?' || name.get(n) == Some(byte) => {
                (w, n) = (w + 1, n + 1);
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (w, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    wild.get(w..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (wild, name, wanted) in [
            ("*", "", true),
            ("a*b*c", "a123b456c", true),
            ("a*b*c", "a123b456", false),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("*.db", ".db", true),
            ("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("x\n*", "x\ny", true),
        ] {
            assert_eq!(matches(wild.as_bytes(), name.as_bytes()), wanted, "{wild} {name}");
        }
    }

    #[test]
    fn everything_in_a_folder_is_in_that_folder() {
        let means = |glob: &str, path: &str| Glob::parse(glob).unwrap()[0].means(Path::new(path));
        assert!(means("/tmp/*", "tmp/x") && means("/home/*/x/*", "home/u/x/y"));
        assert!(!means("/tmp/*", "etc") && !means("/tmp/*", "tmp/x/y") && !means("/tmp/*", "tmp"));
        assert!(!means("/a/**/*", "a/b"));
        assert!(means("/home/*/.ssh/id_*", "var/home/u/.ssh/id_rsa") && means("/etc/hostid", "usr/hostid"));
    }

    #[test]
    fn braces_make_several_and_odd_paths_are_refused() {
        let globs = Glob::parse("/a/{b,c}/{d,*e}").unwrap();
        assert_eq!(globs.len(), 4);
        for text in ["", "/", "a", "/a//b", "/a/../b", "/a/{b", "/./a", "//a", "/a[0-9]", "/a}"] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }
}
