//! Embeds the catalog: every file below `catalog/roles` and in the folders of `catalog/services`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let mut paths = list(&root.join("roles"))?;
    for folder in list(&root.join("services"))? {
        paths.extend(list(&folder)?);
    }
    let mut code = String::from("const FILES: &[(&str, &str)] = &[\n");
    for path in paths {
        let name = path.strip_prefix(&root).unwrap_or(&path);
        let line = writeln!(code, "    ({:?}, include_str!({:?})),", name.display().to_string(), path);
        line.map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    fs::write(Path::new(&out).join("catalog.rs"), code)
}

/// What is in a folder, in the order of the names.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
