//! Which crate may know which: ARCHITECTURE's arrows, read from `cargo metadata`.

use std::collections::BTreeSet;

use crate::metadata::{Dependency, Metadata, Package};

/// May depend on everything; nothing may depend on them.
const TESTS: &[&str] = &["crowd", "fuzz", "installed", "simulator", "tests", "transmit"];

/// Who may depend on whom inside the workspace, [`TESTS`] apart.
const ARROWS: &[(&str, &[&str])] = &[
    ("ansible-compat", &[]),
    ("cast", &[]),
    ("pack", &[]),
    ("pxe", &[]),
    ("setup", &[]),
    ("units", &[]),
    ("xtask", &[]),
    ("protocol", &["pack"]),
    ("fleet", &["cast", "pack", "protocol", "pxe"]),
    ("console", &["fleet", "setup"]),
    ("agent", &["cast", "pack", "protocol", "units"]),
    ("image-build", &["pack"]),
    (
        "appliance",
        &["ansible-compat", "cast", "console", "fleet", "pack", "protocol", "pxe", "setup", "units"],
    ),
];

/// Crates that decide and never act.
const PURE: &[&str] = &["cast", "fleet", "pack", "protocol", "pxe", "setup"];

/// What a pure crate cannot be linked with: each of these acts, tells the time or throws dice.
const ACTING: &[&str] = &[
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "io-uring",
    "libc",
    "mio",
    "nix",
    "quinn-udp",
    "rand",
    "reqwest",
    "rtnetlink",
    "rusqlite",
    "rustix",
    "rustls",
    "signal-hook",
    "socket2",
    "systemd-zbus",
    "tempfile",
    "time",
    "tokio",
    "tracing-subscriber",
    "uuid",
    "virt",
    "zbus",
];

/// Except for these, which one module of the crate needs: `pack::disk` reads and writes disks.
const DISK: &[(&str, &str)] = &[("pack", "io-uring"), ("pack", "libc"), ("pack", "rustix")];

/// Arrows that `metadata` has and the table does not.
fn wrong_arrows(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata.members().filter(|package| !TESTS.contains(&package.name.as_str())) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} is not in the table of arrows", package.name));
            continue;
        };
        let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        let extra = ours.filter(|dependency| !allowed.contains(&dependency.name.as_str()));
        wrong.extend(extra.map(|dependency| format!("{} -> {}", package.name, dependency.name)));
    }
    wrong
}

/// Pure crates that link something which acts, except in tests.
fn impure(metadata: &Metadata) -> Vec<String> {
    let pure = metadata.members().filter(|package| PURE.contains(&package.name.as_str()));
    let links =
        pure.flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)));
    links
        .filter(|(_, dependency)| dependency.kind.as_deref() != Some("dev"))
        .filter(|(_, dependency)| ACTING.contains(&dependency.name.as_str()))
        .filter(|(package, dependency)| !DISK.contains(&(package.name.as_str(), dependency.name.as_str())))
        .map(|(package, dependency)| format!("{} -> {}", package.name, dependency.name))
        .collect()
}

#[test]
fn only_the_arrows_of_the_architecture() {
    assert_eq!(wrong_arrows(&Metadata::read()), Vec::<String>::new());
}

#[test]
fn every_crate_of_the_table_exists() {
    let metadata = Metadata::read();
    let members: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let table: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).chain(TESTS.iter().copied()).collect();
    assert_eq!(members, table);
}

#[test]
fn pure_crates_link_nothing_that_acts() {
    assert_eq!(impure(&Metadata::read()), Vec::<String>::new());
}

/// LGPL, and a C library: only the agent of the installed compute node may have it, and only when asked for.
#[test]
fn libvirt_is_an_option_of_the_agent_alone() {
    let metadata = Metadata::read();
    for package in metadata.members() {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.name.starts_with("virt"))
        {
            assert_eq!(package.name, "agent");
            assert!(dependency.optional, "{} is always linked", dependency.name);
        }
    }
}

#[test]
fn a_wrong_arrow_is_found() {
    let dependency = |name: &str, kind: Option<&str>| Dependency {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        optional: false,
        path: (name == "agent").then(|| "agent".to_owned()),
    };
    let package = |name: &str, dependencies| Package {
        id: name.to_owned(),
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        license: None,
        source: None,
        dependencies,
    };
    let packages = vec![
        package(
            "fleet",
            vec![
                dependency("agent", Some("dev")),
                dependency("tokio", None),
                dependency("rand", Some("dev")),
            ],
        ),
        package("newcomer", vec![]),
    ];
    let workspace_members = packages.iter().map(|package| package.id.clone()).collect();
    let metadata = Metadata { packages, workspace_members };
    assert_eq!(wrong_arrows(&metadata), ["fleet -> agent", "newcomer is not in the table of arrows"]);
    assert_eq!(impure(&metadata), ["fleet -> tokio"]);
}
