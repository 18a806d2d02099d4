//! `cargo metadata` and `cargo tree`, as far as the checks need them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The workspace's directory.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`; none is normal.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
    /// Set for what is in the workspace.
    pub(crate) path: Option<String>,
}

impl Metadata {
    /// The whole graph, all features of the workspace's crates.
    pub(crate) fn read() -> Metadata {
        let text = cargo(&["metadata", "--format-version", "1", "--locked", "--all-features"]);
        serde_json::from_str(&text).expect("cargo metadata prints JSON")
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }
}

/// Everything that is linked into `package`, as `name version`.
pub(crate) fn linked(package: &str, features: &[&str]) -> BTreeSet<String> {
    let target = "x86_64-unknown-linux-gnu";
    let mut args =
        vec!["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--target", target];
    args.extend(features.iter().flat_map(|feature| ["--features", feature]));
    let text = cargo(&args);
    let words = text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    words.filter(|line| !line.is_empty()).collect()
}

fn cargo(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(args).current_dir(workspace()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
