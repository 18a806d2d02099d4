//! The subvolumes of a btrfs file system. Whoever mounts one sees nothing of the others; an image has them all.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::mount::{Access, mount};
use super::system::System;
use super::text::escaped;
use super::tree::{Kind, Tree};
use super::volumes::is_root;
use crate::tools::{Call, ToolError};

/// The inode number of every subvolume's root: <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>
const ROOT_INODE: u64 = 256;
/// The most subvolumes that are looked for; a host of containers has some thousand.
const SUBVOLUMES_MAX: usize = 16_384;
/// The most names that are gone through to see that a subvolume has nothing but folders.
const NAMES_MAX: usize = 4096;

/// Why nobody knows which subvolumes there are.
#[derive(Debug, thiserror::Error)]
pub enum SubvolumeError {
    /// The top of the file system can't be mounted.
    #[error("its subvolumes can't be listed: {0}")]
    Mount(#[from] io::Error),
    /// The tool failed, or is not installed.
    #[error("its subvolumes can't be listed: {0}")]
    Tool(#[from] ToolError),
}

/// A subvolume, as btrfs lists it.
#[derive(Debug, PartialEq, Eq)]
struct Subvolume {
    /// Counted from the top of the file system.
    path: PathBuf,
    /// Whether it began as what another one was: a snapshot, or received.
    is_copy: bool,
}

/// Which subvolumes of a file system, of which the system has at least one, are not looked into by whoever looks into the
/// system; for people. Looked into is what is mounted in the system, and what lies in such a one where the installed system
/// finds it: but for snapshots and other systems, whose keys and ids are not at the places where a system has its own.
///
/// # Errors
/// When they can't be listed.
pub fn unseen(device: &Path, access: Access, system: &System) -> Result<Vec<String>, SubvolumeError> {
    let top = mount("btrfs", device, access, Some(("subvolid", "5")))?;
    let listed = list(&top, &["-q", "-R"])?;
    let mut listed = parse(&listed);
    let is_cut = listed.len() > SUBVOLUMES_MAX;
    listed.truncate(SUBVOLUMES_MAX);
    let mounted = mounted(&top, &listed, system);
    let mut unseen = Vec::new();
    let top_is_seen = mounted.iter().any(|(_, below)| below.as_os_str().is_empty());
    if !top_is_seen && !is_bare(&top, Path::new("")).unwrap_or(false) {
        unseen.push("the top of it, subvolid=5".to_owned());
    }
    let seen = |one: &Subvolume| is_seen(&top, one, &mounted, system);
    let others = listed.iter().filter(|one| !seen(one) && !is_bare(&top, &one.path).unwrap_or(false));
    unseen.extend(
        others.map(|one| format!("{}{}", escaped(&one.path), if one.is_copy { " (a copy)" } else { "" })),
    );
    if is_cut {
        unseen.push(format!("more than {SUBVOLUMES_MAX} subvolumes"));
    }
    let deleted = list(&top, &["-d"])?;
    let deleted = deleted.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    if deleted > 0 {
        unseen
            .push(format!("{deleted} deleted, of which blocks are left: mount it, and btrfs subvolume sync"));
    }
    Ok(unseen)
}

fn list(top: &Folder, options: &[&str]) -> Result<Vec<u8>, ToolError> {
    Call::new("btrfs").args(["subvolume", "list"]).args(options).arg(top.link()).run()
}

/// Lines as `ID 257 gen 7 top level 256 parent_uuid - received_uuid - path @/var`. A name may have a line break in it: what
/// follows is taken for a subvolume that is not there, and so for one that nobody can look into.
fn parse(said: &[u8]) -> Vec<Subvolume> {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let one = |line: &[u8]| {
        let mark = b" path ";
        let at = line.windows(mark.len()).position(|part| part == mark);
        let (head, path) = line.split_at(at.map_or(0, |at| at + mark.len()));
        let head = String::from_utf8_lossy(head);
        let none = |field: &str| head.contains(&format!(" {field} - "));
        let is_copy = !none("parent_uuid") || !none("received_uuid");
        Subvolume { path: PathBuf::from(OsStr::from_bytes(path)), is_copy }
    };
    lines.take(SUBVOLUMES_MAX + 1).map(one).collect()
}

/// The device number that tells a subvolume from the others, while it is mounted.
fn number(tree: &dyn Tree, path: &Path) -> Option<u64> {
    let look = tree.look(path).ok()??;
    let (device, inode) = look.inode;
    (look.kind == Kind::Folder && inode == ROOT_INODE).then_some(device)
}

/// Which subvolumes are mounted in the system: the place, and the path below the top.
fn mounted(top: &Folder, listed: &[Subvolume], system: &System) -> Vec<(PathBuf, PathBuf)> {
    let all = [Path::new("")].into_iter().chain(listed.iter().map(|one| one.path.as_path()));
    let numbers = all.filter_map(|path| Some((number(top, path)?, path))).collect::<Vec<_>>();
    let below = |place: &Path| {
        let number = number(system, place)?;
        let (_, path) = numbers.iter().find(|(other, _)| *other == number)?;
        Some((place.to_owned(), (*path).to_owned()))
    };
    system.places().filter_map(below).collect()
}

fn is_seen(top: &Folder, one: &Subvolume, mounted: &[(PathBuf, PathBuf)], system: &System) -> bool {
    let Some(own) = number(top, &one.path) else { return false };
    mounted.iter().any(|(place, path)| {
        let Ok(rest) = one.path.strip_prefix(path) else { return false };
        let is_mounted = rest.as_os_str().is_empty();
        let is_there = number(system, &place.join(rest)) == Some(own);
        is_there && (is_mounted || !one.is_copy && !top.below(&one.path).is_ok_and(|folder| is_root(&folder)))
    })
}

/// Whether there is nothing in a subvolume but folders, and other subvolumes.
fn is_bare(top: &Folder, path: &Path) -> io::Result<bool> {
    let device = |path: &Path| Ok::<_, io::Error>(top.look(path)?.map(|look| (look.kind, look.inode.0)));
    let Some((Kind::Folder, own)) = device(path)? else { return Ok(false) };
    let (mut ahead, mut names) = (vec![path.to_owned()], 0);
    while let Some(folder) = ahead.pop() {
        let mut inside = Vec::new();
        top.each(&folder, &mut |name| {
            inside.push(folder.join(name));
            inside.len() <= NAMES_MAX
        })?;
        names += inside.len();
        if names > NAMES_MAX {
            return Ok(false);
        }
        for path in inside {
            match device(&path)? {
                Some((Kind::Folder, device)) if device == own => ahead.push(path),
                Some((Kind::Folder, _)) => {}
                Some((Kind::File | Kind::Link | Kind::Other, _)) | None => return Ok(false),
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_subvolumes_and_what_is_none_is_one_that_is_not_there() {
        let uuid = "af0f18d3-9cf5-5e4e-bb4b-b44ac71166ed";
        let said = format!(
            "ID 256 gen 7 top level 5 parent_uuid -          received_uuid -      path @\n\
             ID 257 gen 7 top level 256 parent_uuid {uuid} received_uuid - path @/a path b\n\
             ID 258 gen 7 top level 5 parent_uuid - received_uuid {uuid} path x\nrest of a name\n"
        );
        let found = parse(said.as_bytes());
        let found = found.iter().map(|one| (one.path.to_str().unwrap(), one.is_copy)).collect::<Vec<_>>();
        assert_eq!(found, [("@", false), ("@/a path b", true), ("x", true), ("rest of a name", true)]);
    }
}
