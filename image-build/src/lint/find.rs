//! Compares a tree, or a volume's bytes, with the rules. Decides; changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use pack::Source;

use super::rule::{Find, Mark, Rule};
use super::text::escaped;
use super::tree::{Kind, Tree};

/// How much of a file is compared with a pattern, in bytes.
pub(super) const CONTENT_MAX: usize = 1 << 20;

/// What one rule found.
#[derive(Debug)]
pub struct Hit<'a> {
    /// Which rule.
    pub rule: &'a Rule,
    /// Where, relative to the tree's root, links followed, sorted.
    pub paths: Vec<PathBuf>,
    /// There are more than are listed.
    pub cut: bool,
}

/// Compares a tree with the rules about paths: what was found, in the order of the rules, and what could not be looked
/// at, for people.
#[must_use]
pub fn find<'a>(rules: &'a [Rule], tree: &dyn Tree) -> (Vec<Hit<'a>>, Vec<String>) {
    let (mut hits, mut troubles) = (Vec::new(), Vec::new());
    for rule in rules {
        let hit = find_one(rule, tree, &mut troubles);
        hits.extend((!hit.paths.is_empty()).then_some(hit));
    }
    (hits, troubles)
}

/// Compares a tree with one rule.
pub(super) fn find_one<'a>(rule: &'a Rule, tree: &dyn Tree, troubles: &mut Vec<String>) -> Hit<'a> {
    let (mut hit, mut strays) = (Hit { rule, paths: Vec::new(), cut: false }, Vec::new());
    for glob in &rule.globs {
        let (candidates, cut) = match glob.find(tree) {
            Ok(found) => found,
            Err(error) => {
                troubles.push(format!("{}: {error}", rule.id));
                continue;
            }
        };
        hit.cut |= cut;
        for path in candidates {
            if rule.find != Find::Matches && !glob.means(&path) {
                strays.push(path);
                continue;
            }
            match counts(rule, tree, &path) {
                Ok(true) => hit.paths.push(path),
                Ok(false) => {}
                Err(error) => troubles.push(format!("{}: /{}: {error}", rule.id, escaped(&path))),
            }
        }
    }
    hit.paths.sort();
    hit.paths.dedup();
    if let Some(stray) = strays.iter().find(|stray| hit.paths.binary_search(stray).is_err()) {
        troubles.push(format!("{}: a link led to /{}", rule.id, escaped(stray)));
    }
    hit
}

fn counts(rule: &Rule, tree: &dyn Tree, path: &Path) -> io::Result<bool> {
    let Some(look) = tree.look(path)? else { return Ok(false) };
    match rule.find {
        Find::Exists => Ok(true),
        Find::Filled => match look.kind {
            Kind::File => Ok(look.bytes > 0),
            Kind::Folder => {
                let mut filled = false;
                tree.each(path, &mut |_| {
                    filled = true;
                    false
                })?;
                Ok(filled)
            }
            Kind::Link | Kind::Other => Ok(false),
        },
        Find::Matches => Ok(look.kind == Kind::File && matches(rule, &tree.read(path, CONTENT_MAX)?)),
        Find::Volume | Find::Subvolume | Find::Unseen => Ok(false),
    }
}

fn matches(rule: &Rule, content: &[u8]) -> bool {
    let wanted = rule.pattern.as_ref().is_some_and(|pattern| pattern.is_match(content));
    wanted && !rule.except.as_ref().is_some_and(|except| except.is_match(content))
}

/// Compares a volume with the rules about volumes: which rule found which of its marks.
///
/// # Errors
/// When the volume can't be read.
pub fn find_in_volume<'a>(rules: &'a [Rule], volume: &dyn Source) -> io::Result<Vec<(&'a Rule, &'a Mark)>> {
    let mut found = Vec::new();
    for rule in rules.iter().filter(|rule| rule.find == Find::Volume) {
        for mark in &rule.marks {
            if carries(volume, mark)? {
                found.push((rule, mark));
                break;
            }
        }
    }
    Ok(found)
}

fn carries(volume: &dyn Source, mark: &Mark) -> io::Result<bool> {
    match pack::source::read(volume, mark.at, mark.bytes.len()) {
        Ok(bytes) => Ok(bytes == mark.bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
