//! What a reviewer should not have to look for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata::workspace;

/// Longer files are several files.
const MAX_LINES: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["common", "handler", "handlers", "helper", "helpers", "manager", "misc", "shared", "util", "utils"];

/// The only files that may lift the lint against `unsafe`.
const UNSAFE: &[&str] = &["agent/src/sys.rs", "image-build/pack/src/sys.rs"];

/// Hosts that serve packages: whose mirror is used is the machine's business. Written in halves, so that this file
/// does not find itself.
const HOSTS: &[(&str, &str)] = &[
    ("deb.", "debian.org"),
    ("security.", "debian.org"),
    ("ftp.", "debian.org"),
    ("snapshot.", "debian.org"),
    ("archive.", "ubuntu.com"),
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("registry-1.", "docker.io"),
    ("ghcr", ".io"),
    ("quay", ".io"),
];

/// All files of the project, with paths from its root.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![workspace().to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "target" && name != ".git" {
                open.push(path);
            } else if kind.is_file() {
                // A link is to a place in an image.
                found.push(path.strip_prefix(workspace()).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// (path, content) of all files with one of these endings.
fn texts(endings: &[&str]) -> impl Iterator<Item = (PathBuf, String)> {
    let wanted =
        |path: &PathBuf| path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known));
    files().into_iter().filter(wanted).map(|path| {
        let text = fs::read_to_string(workspace().join(&path)).unwrap();
        (path, text)
    })
}

fn none(bad: Vec<String>) {
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// Lines of Rust sources that hold one of `words`, as `path:line: text`.
fn lines_with(words: &[String]) -> Vec<String> {
    let mut bad = Vec::new();
    for (path, text) in texts(&["rs"]) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                bad.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    bad
}

#[test]
fn no_file_is_too_long() {
    let long = texts(&["rs"]).map(|(path, text)| (path, text.lines().count()));
    none(
        long.filter(|(_, lines)| *lines > MAX_LINES)
            .map(|(path, lines)| format!("{}: {lines}", path.display()))
            .collect(),
    );
}

#[test]
fn names_say_what_is_inside() {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let bad = |path: &Path| path.iter().any(|part| part.to_str().is_some_and(empty));
    none(texts(&["rs"]).filter(|(path, _)| bad(path)).map(|(path, _)| path.display().to_string()).collect());
}

#[test]
fn every_module_says_what_it_is() {
    let silent = |text: &str| !text.trim_start().starts_with("//!");
    let of_tests =
        |path: &Path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    none(
        texts(&["rs"])
            .filter(|(path, text)| !of_tests(path) && silent(text))
            .map(|(path, _)| path.display().to_string())
            .collect(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In halves for the same reason as the hosts.
    let words =
        [("to", "do!("), ("unimple", "mented!("), ("TO", "DO"), ("FIX", "ME"), ("db", "g!("), ("XX", "X:")];
    none(lines_with(&words.map(|(one, other)| format!("{one}{other}"))));
}

#[test]
fn an_ignored_test_says_why() {
    none(lines_with(&[format!("#[{}]", "ignore")]));
}

#[test]
fn unsafe_is_where_it_may_be() {
    let words = [format!("allow({}_code)", "unsafe"), format!("expect({}_code", "unsafe")];
    let outside = |line: &String| !UNSAFE.iter().any(|path| line.starts_with(path));
    none(lines_with(&words).into_iter().filter(outside).collect());
}

#[test]
fn no_host_serves_our_packages() {
    let endings = ["rs", "toml", "md", "sh", "service", "sources", "yml", "yaml", "cfg", "j2", "tmpl", "py"];
    let hosts: Vec<String> = HOSTS.iter().map(|(one, other)| format!("{one}{other}")).collect();
    let mut bad = Vec::new();
    for (path, text) in texts(&endings) {
        for host in hosts.iter().filter(|host| text.contains(host.as_str())) {
            bad.push(format!("{}: {host}", path.display()));
        }
    }
    none(bad);
}

#[test]
fn every_crate_has_the_lints_and_one_test_binary() {
    let mut bad = Vec::new();
    for (path, text) in texts(&["toml"]).filter(|(path, _)| path.ends_with("Cargo.toml")) {
        if text.contains("[workspace]") {
            continue;
        }
        if !text.contains("[lints]\nworkspace = true") {
            bad.push(format!("{}: without the workspace's lints", path.display()));
        }
        let dir = workspace().join(&path).parent().unwrap().join("tests");
        let binaries = fs::read_dir(dir).map_or(0, |entries| {
            entries
                .filter(|entry| {
                    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "rs"))
                })
                .count()
        });
        // tests/ itself holds folders beside its own tests/, none of them a binary of another crate.
        if binaries > 1 {
            bad.push(format!("{}: {binaries} test binaries; one links once", path.display()));
        }
    }
    none(bad);
}

#[test]
fn the_front_door_is_there() {
    for name in ["README.md", "ARCHITECTURE.md", "deny.toml", ".ci/run"] {
        let path = workspace().join(name);
        assert!(fs::metadata(&path).is_ok_and(|meta| meta.len() > 0), "{name} is missing or empty");
    }
    let mut top = fs::read_dir(workspace()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(top.any(|name| name.to_string_lossy().starts_with("LICENSE")), "no licence text");
}
