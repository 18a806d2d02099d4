//! `cargo xtask test`: everything CI runs, in the order in which mistakes are cheapest.

use std::time::Instant;

use xtask::artifacts::{self, Wish};
use xtask::cargo::cargo;
use xtask::prerequisites;
use xtask::say;
use xtask::tool::{self, ToolError};

use crate::Done;

pub(crate) fn run(fast: bool) -> Done {
    let start = Instant::now();
    if fast {
        prerequisites::for_building()?
    } else {
        prerequisites::ensure()?
    }
    say::step("format", || cargo(["fmt", "--all", "--check"]).show())?;
    say::step("lints", || {
        cargo(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]).show()
    })?;
    say::step("lints of the agent with libvirt", || {
        cargo(["clippy", "--locked", "-p", "agent", "--features", "libvirt", "--", "-D", "warnings"]).show()
    })?;
    say::step("documentation", || {
        cargo(["doc", "--locked", "--workspace", "--no-deps", "--quiet"])
            // The owners of a crate read its private modules too: a link to one is no mistake.
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")
            .show()
    })?;
    say::step("tests without QEMU", fast_tests)?;
    dependencies()?;
    if fast {
        say::line("--fast: the rack tests were left out; `cargo xtask test` runs them");
    } else {
        rack_tests()?;
    }
    say::line(&format!("all checks passed in {}", say::seconds(start.elapsed())));
    Ok(())
}

/// nextest where it is installed (a process per test, no waiting between crates), else what every Rust has.
fn fast_tests() -> Result<(), ToolError> {
    let tool = if tool::installed("cargo-nextest") {
        cargo([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--status-level",
            "fail",
            "--final-status-level",
            "fail",
        ])
    } else {
        cargo(["test", "--locked", "--workspace", "--quiet"])
    };
    tool.env("RACKWRIGHT_FAST", "1").show()
}

/// Licences, sources and duplicates are tested by `tests` on every run, from `cargo metadata`; advisories need the
/// tool and its database.
fn dependencies() -> Result<(), ToolError> {
    if tool::installed("cargo-deny") {
        return say::step("dependencies", || {
            cargo(["deny", "--workspace", "--all-features", "check"]).show()
        });
    }
    say::line("    skipped: advisories (cargo-deny is not installed: cargo install cargo-deny --locked)");
    Ok(())
}

fn rack_tests() -> Done {
    artifacts::build(Wish { raw: true, fresh: false })?;
    say::step("tests in the virtual rack", || {
        // One at a time: each has a whole rack, and two would only wait for each other's processors.
        cargo(["test", "--locked", "-p", "tests", "--test", "rack", "--", "--test-threads=1", "--nocapture"])
            .show()
    })?;
    Ok(())
}
