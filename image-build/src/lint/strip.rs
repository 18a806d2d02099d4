//! Carries out what the rules say about what was found.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::find::{CONTENT_MAX, find_one};
use super::rule::{Class, Rule, Strip};
use super::text::escaped;
use super::tree::{Edit, Kind};

/// How many names of a folder are taken up at once.
const NAMES_MAX: usize = 1000;
/// How often a rule is looked up again that found more than it may list.
const ROUNDS_MAX: usize = 1000;

/// Strips a tree of everything that the rules find and know how to strip, but for those in `keep`; says what did not work,
/// for people. What is left is found again by looking again.
#[must_use]
pub fn strip(rules: &[Rule], keep: &BTreeSet<String>, tree: &dyn Edit) -> Vec<String> {
    let mut troubles = Vec::new();
    for rule in rules.iter().filter(|rule| acts(rule.strip) && !keep.contains(&rule.id)) {
        for _ in 0..ROUNDS_MAX {
            let hit = find_one(rule, tree, &mut Vec::new());
            let failed = troubles.len();
            for path in &hit.paths {
                if let Err(error) = strip_one(rule, tree, path) {
                    troubles.push(format!("{}: /{}: {error}", rule.id, escaped(path)));
                }
            }
            if !hit.cut || hit.paths.is_empty() || troubles.len() > failed {
                break;
            }
        }
    }
    troubles
}

/// Whether it does something to a tree.
fn acts(strip: Strip) -> bool {
    match strip {
        Strip::Remove | Strip::Truncate | Strip::Empty | Strip::Write | Strip::Replace => true,
        Strip::Wake | Strip::LeftOut | Strip::Nothing => false,
    }
}

fn strip_one(rule: &Rule, tree: &dyn Edit, path: &Path) -> io::Result<()> {
    let wipe = matches!(rule.class, Class::Secret | Class::Identity);
    match rule.strip {
        Strip::Remove => remove_all(tree, path, wipe),
        Strip::Truncate => tree.write(path, b""),
        Strip::Empty => {
            while let Some(name) = names(tree, path, 1)?.first() {
                remove_all(tree, &path.join(name), wipe)?;
            }
            Ok(())
        }
        Strip::Write => tree.write(path, rule.text.as_bytes()),
        Strip::Replace => replace(rule, tree, path),
        Strip::Wake | Strip::LeftOut | Strip::Nothing => Ok(()),
    }
}

fn replace(rule: &Rule, tree: &dyn Edit, path: &Path) -> io::Result<()> {
    let content = tree.read(path, CONTENT_MAX + 1)?;
    if content.len() > CONTENT_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    let Some(pattern) = &rule.pattern else { return Ok(()) };
    tree.write(path, &pattern.replace_all(&content, rule.text.as_bytes()))
}

fn names(tree: &dyn Edit, path: &Path, names_max: usize) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    tree.each(path, &mut |name| {
        names.push(name.to_owned());
        names.len() < names_max
    })?;
    Ok(names)
}

/// Removes a file, or a folder with all that is in it, a bounded number of names at a time; when told so, files are
/// overwritten before. A file with another name elsewhere is not: that one may be needed.
fn remove_all(tree: &dyn Edit, path: &Path, wipe: bool) -> io::Result<()> {
    let mut ahead: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = ahead.pop() {
        let look = if wipe { tree.look(&path)? } else { None };
        if look.is_some_and(|look| look.kind == Kind::File && look.names == 1 && look.bytes > 0) {
            tree.wipe(&path)?;
        }
        let error = match tree.remove(&path) {
            Ok(()) => continue,
            Err(error) => error,
        };
        let is_folder = tree.look(&path)?.is_some_and(|look| look.kind == Kind::Folder);
        let inside = if is_folder { names(tree, &path, NAMES_MAX)? } else { Vec::new() };
        if inside.is_empty() {
            return Err(error);
        }
        ahead.push(path.clone());
        ahead.extend(inside.into_iter().map(|name| path.join(name)));
    }
    Ok(())
}
