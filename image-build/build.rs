//! Tells the program which sources it was built from: its results are kept by what went into them, and it is one of
//! those things. A version number would not do: it stays the same over many changes.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

fn main() {
    let mut sources = BTreeMap::new();
    for folder in ["src", "pack/src"] {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), &mut sources);
    }
    // Not a signature: it tells builds of one checkout apart, and another compiler may count differently.
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    println!("cargo::rustc-env=IMAGE_BUILD_SOURCES={:016x}", hasher.finish());
}

/// Every file below, with its content.
fn collect(folder: &Path, sources: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
        }
    }
}
