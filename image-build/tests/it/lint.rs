//! The golden-image lint: every rule, real file systems, hostile trees.

use std::collections::BTreeMap;
use std::path::Path;

use image_build::lint::folder::Folder;
use image_build::lint::rule::{Rule, shipped};
use serde::Deserialize;

mod disks;
mod hostile;
mod rules;
mod view;

/// Content by path; a path that ends in a slash is a folder.
pub(crate) type Files = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) hit: Files,
    pub(crate) clean: Files,
}

pub(crate) fn cases() -> BTreeMap<String, Case> {
    toml::from_str(include_str!("lint/cases.toml")).unwrap()
}

pub(crate) fn rules() -> Vec<Rule> {
    shipped().unwrap()
}

/// Everything that the rules find, in one system.
pub(crate) fn everything() -> Files {
    let mut files = Files::new();
    for case in cases().into_values() {
        files.extend(case.hit);
    }
    files
}

pub(crate) fn lay(root: &Path, files: &Files) {
    for (path, content) in files {
        let at = root.join(path.trim_start_matches('/'));
        if path.ends_with('/') {
            std::fs::create_dir_all(at).unwrap();
        } else {
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, content).unwrap();
        }
    }
}

pub(crate) fn open(path: &Path) -> Folder {
    Folder::open(path).unwrap()
}
