//! The cargo that runs us, run again.

use std::ffi::OsString;

use crate::place;
use crate::tool::Tool;

/// What cargo tells a program about the package it belongs to. Passed on to another cargo it looks like a changed
/// environment to build scripts that ask for it (ring's does), and half the tree is built anew.
const ABOUT_US: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// `cargo ARGS…` in the workspace, with the environment of a shell; without incremental compilation where `CI` is set:
/// a tree that is built once gains nothing from it, and pays for it with tens of gigabytes.
#[must_use]
pub fn cargo(args: impl IntoIterator<Item = impl Into<OsString>>) -> Tool {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    let ours = ours.filter(|name| is_about_us(&name.to_string_lossy()));
    let tool = Tool::new(program).args(args).dir(place::workspace());
    let tool = if std::env::var_os("CI").is_some() { tool.env("CARGO_INCREMENTAL", "0") } else { tool };
    ours.fold(tool, |tool, name| tool.without(&name))
}

fn is_about_us(name: &str) -> bool {
    name == "OUT_DIR" || ABOUT_US.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_forgotten_and_the_settings_are_kept() {
        for name in
            ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "OUT_DIR", "CARGO_BIN_EXE_x"]
        {
            assert!(is_about_us(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO", "PATH", "RUSTFLAGS"] {
            assert!(!is_about_us(name), "{name}");
        }
    }
}
