//! How many crates, how often, from where and under which licence. `deny.toml` says the same to cargo-deny, which also
//! knows advisories; here it is tested on every run, without a network.

use std::collections::{BTreeMap, BTreeSet};

use crate::licence;
use crate::metadata::{Metadata, linked, workspace};

/// The agent goes into every ramdisk.
const AGENT_CRATES: usize = 130;
/// Everything, tests and other platforms included.
const LOCKED_CRATES: usize = 350;

/// What may be linked into programs that are MIT OR Apache-2.0; the list of `deny.toml`.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Linked dynamically, into the installed agent only, and only with its feature `libvirt`.
const LGPL: &[&str] = &["virt", "virt-sys"];

/// Never linked into anything that ships. Its sources are under Apache-2.0 WITH LLVM-exception; its manifest still says
/// NCSA, LLVM's licence before 2019, which is as permissive as MIT.
const FUZZING: (&str, &str) = ("libfuzzer-sys", "NCSA");

/// Crates that are there in several versions, and why that is borne.
const TWICE: &[(&str, &str)] = &[
    ("cpufeatures", "reed-solomon-simd is on 0.2"),
    ("getrandom", "ring is on 0.2"),
    ("nom", "x509-parser is on 7"),
    ("syn", "procedural macros move from 2 to 3; build only"),
    ("synstructure", "as syn; build only"),
    ("windows-sys", "never built on Linux"),
];

#[test]
fn the_agent_stays_small() {
    for features in [&[][..], &["libvirt"]] {
        let crates = linked("agent", features);
        assert!(crates.len() <= AGENT_CRATES, "{} crates with {features:?}: {crates:#?}", crates.len());
    }
}

#[test]
fn the_lock_file_stays_small() {
    let text = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let count = text.lines().filter(|line| *line == "[[package]]").count();
    assert!(count <= LOCKED_CRATES, "{count} crates in Cargo.lock");
}

#[test]
fn every_licence_is_one_we_may_use() {
    let metadata = Metadata::read();
    let bad: Vec<_> = metadata
        .others()
        .filter(|package| !LGPL.contains(&package.name.as_str()))
        .filter(|package| {
            let expression = package.license.as_deref().unwrap_or_default();
            let fuzzing = |licence: &str| (package.name.as_str(), licence) == FUZZING;
            let allowed = |licence: &str| LICENCES.contains(&licence) || fuzzing(licence);
            licence::fulfilled(expression, &allowed) != Some(true)
        })
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn everything_comes_from_the_registry() {
    let metadata = Metadata::read();
    let bad: Vec<_> = metadata
        .others()
        .filter(|package| !package.source.as_deref().is_some_and(|source| source.starts_with("registry+")))
        .map(|package| format!("{}: {:?}", package.name, package.source))
        .collect();
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn no_crate_twice_without_a_reason() {
    let metadata = Metadata::read();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.others() {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let borne: BTreeMap<&str, &str> = TWICE.iter().copied().collect();
    let new: Vec<_> = versions.iter().filter(|(name, _)| !borne.contains_key(*name)).collect();
    assert!(new.is_empty(), "in several versions: {new:?}");
    let stale: Vec<_> = borne.iter().filter(|(name, _)| !versions.contains_key(*name)).collect();
    assert!(stale.is_empty(), "no longer there twice, take them out of the list: {stale:?}");
}
