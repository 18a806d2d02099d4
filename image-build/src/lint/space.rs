//! Where the space goes: folders by what they take on the disk, as du(1) counts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::text::escaped;
use super::tree::{Kind, Look, Tree};

/// How deep folders are told apart.
const DEPTH: usize = 3;
/// How many of them are told apart at most; what is in others counts for the folder above.
const FOLDERS_MAX: usize = 20_000;
/// How many folders wait to be looked into at most.
const WAITING_MAX: usize = 100_000;
/// How many files with several names are remembered, so that they count once.
const SHARED_MAX: usize = 200_000;
/// How deep folders are looked into.
const DEPTH_MAX: usize = 1024;

/// Where the space goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Space {
    /// What everything takes, in bytes.
    pub allocated_bytes: u64,
    /// How many files, folders and others there are.
    pub entries: u64,
    /// The folders that take the most, with all that is in them; the largest first.
    pub folders: Vec<Place>,
    /// Not everything could be counted.
    pub incomplete: bool,
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its path, fit for a terminal.
    pub path: String,
    /// What it takes, in bytes.
    pub allocated_bytes: u64,
}

struct Node {
    path: PathBuf,
    above: Option<usize>,
    bytes: u64,
}

struct Count<'a> {
    tree: &'a dyn Tree,
    nodes: Vec<Node>,
    waiting: Vec<(PathBuf, usize, usize)>,
    shared: BTreeSet<(u64, u64)>,
    entries: u64,
    incomplete: bool,
}

/// Measures what is below a path, and names so many of the largest folders.
#[must_use]
pub fn measure(tree: &dyn Tree, below: &Path, top: usize) -> Space {
    let mut count = Count {
        tree,
        nodes: vec![Node { path: below.to_owned(), above: None, bytes: 0 }],
        waiting: Vec::new(),
        shared: BTreeSet::new(),
        entries: 0,
        incomplete: false,
    };
    match tree.look(below) {
        Ok(Some(look)) => count.add(below.to_owned(), &look, 0, 0),
        Ok(None) => {}
        Err(_) => count.incomplete = true,
    }
    while let Some((path, node, depth)) = count.waiting.pop() {
        if count.folder(&path, node, depth).is_err() {
            count.incomplete = true;
        }
    }
    count.finish(top)
}

impl Count<'_> {
    fn folder(&mut self, path: &Path, node: usize, depth: usize) -> io::Result<()> {
        let tree = self.tree;
        tree.each(path, &mut |name| {
            let path = path.join(name);
            match tree.look(&path) {
                Ok(Some(look)) => self.add(path, &look, node, depth + 1),
                Ok(None) => {}
                Err(_) => self.incomplete = true,
            }
            true
        })
    }

    fn add(&mut self, path: PathBuf, look: &Look, above: usize, depth: usize) {
        self.entries += 1;
        let is_folder = look.kind == Kind::Folder;
        if !is_folder && look.names > 1 {
            if self.shared.contains(&look.inode) {
                return;
            }
            if self.shared.len() < SHARED_MAX {
                self.shared.insert(look.inode);
            }
        }
        let own = is_folder && (1..=DEPTH).contains(&depth) && self.nodes.len() < FOLDERS_MAX;
        let at = if own { self.nodes.len() } else { above };
        if own {
            self.nodes.push(Node { path: path.clone(), above: Some(above), bytes: 0 });
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.bytes = node.bytes.saturating_add(look.allocated);
        }
        if is_folder {
            if self.waiting.len() < WAITING_MAX && depth < DEPTH_MAX {
                self.waiting.push((path, at, depth));
            } else {
                self.incomplete = true;
            }
        }
    }

    /// Adds what is in folders to those above; a folder comes after the one that it is in.
    fn finish(mut self, top: usize) -> Space {
        for at in (0..self.nodes.len()).rev() {
            let Some((above, bytes)) = self.nodes.get(at).map(|node| (node.above, node.bytes)) else {
                continue;
            };
            if let Some(above) = above.and_then(|above| self.nodes.get_mut(above)) {
                above.bytes = above.bytes.saturating_add(bytes);
            }
        }
        let allocated_bytes = self.nodes.first().map_or(0, |node| node.bytes);
        let mut nodes: Vec<_> = self.nodes.into_iter().skip(1).collect();
        nodes.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        nodes.truncate(top);
        let named = |path: &Path| {
            let mut name = OsString::from("/");
            name.push(path);
            escaped(name)
        };
        let place = |node: &Node| Place { path: named(&node.path), allocated_bytes: node.bytes };
        Space {
            allocated_bytes,
            entries: self.entries,
            folders: nodes.iter().map(place).collect(),
            incomplete: self.incomplete,
        }
    }
}
