//! Every target on every input that needs no search: its seeds, what was a bug once, and a fixed number of mutations.
//!
//! One number is one history: an input that fails here fails on every machine. It is written to a file, which
//! `cargo xtask fuzz TARGET FILE` runs alone.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::{Mutations, Reached, Target, targets};

/// Mutations of each target's seeds.
const MUTATIONS: usize = 400;
const NUMBER: u64 = 2026;

/// Runs one input; a failure names the file that holds it.
fn run(target: &Target, what: &str, input: &[u8]) -> Result<Reached, String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|_| {
        let name = target.name;
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
        std::fs::write(&file, input).expect("the target directory can be written");
        format!("{name} fails on {what}: cargo xtask fuzz {name} {}", file.display())
    })
}

/// Checks every target, so that one that fails hides no other.
fn each(check: impl Fn(&Target) -> Result<(), String>) {
    let failed: Vec<String> = targets().filter_map(|target| check(target).err()).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

fn regressions(target: &Target) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(target.regressions()) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder of ours can be listed").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_target_has_seeds_that_get_past_the_first_check() {
    each(|target| {
        let seeds = (target.seeds)();
        let distinct: BTreeSet<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
        assert!(distinct.len() >= 2 && distinct.len() == seeds.len(), "{}: seeds", target.name);
        let reached = |(number, seed): (usize, &Vec<u8>)| run(target, &format!("seed {number}"), seed);
        let all = seeds.iter().enumerate().map(reached).collect::<Result<BTreeSet<_>, _>>()?;
        let inside = all.contains(&Reached::Inside);
        if inside { Ok(()) } else { Err(format!("{}: every seed is refused", target.name)) }
    });
}

#[test]
fn nothing_that_was_a_bug_once_is_one_again() {
    each(|target| {
        regressions(target).iter().try_for_each(|path| {
            run(target, &path.display().to_string(), &std::fs::read(path).unwrap()).map(drop)
        })
    });
}

#[test]
fn mutations_of_seeds_hold() {
    each(|target| {
        let seeds = (target.seeds)();
        run(target, "nothing", &[])?;
        let mut inputs = Mutations::new(&seeds, NUMBER).take(MUTATIONS).enumerate();
        inputs.try_for_each(|(number, input)| run(target, &format!("mutation {number}"), &input).map(drop))
    });
}

#[test]
fn names_are_folders_and_every_folder_is_a_target() {
    let names: BTreeSet<&str> = targets().map(|target| target.name).collect();
    assert_eq!(names.len(), targets().count(), "a name twice");
    for name in &names {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        assert!(Target::named(name).is_some_and(|target| target.name == *name));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_known = names.contains(name.as_str()) || name == "INDEX.md";
        // With some of the targets only, there are folders of others.
        assert!(is_known || cfg!(not(feature = "everything")), "regressions/{name} is no target's");
    }
}

#[test]
fn the_same_number_is_the_same_history() {
    let seeds = vec![b"one".to_vec(), b"another".to_vec()];
    let stream = |number| Mutations::new(&seeds, number).take(50).collect::<Vec<_>>();
    assert_eq!(stream(1), stream(1));
    assert_ne!(stream(1), stream(2));
}
