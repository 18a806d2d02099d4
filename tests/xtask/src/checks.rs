//! `cargo xtask test`: everything CI runs, in the order in which mistakes are cheapest.

use std::time::Instant;

use xtask::artifacts::{self, Artifacts, RECIPES, Wish};
use xtask::cargo::cargo;
use xtask::mounted::Mounted;
use xtask::rack::gpt;
use xtask::say;
use xtask::tool::{self, ToolError};
use xtask::{place, prerequisites};

use crate::Done;
use crate::cli::Fuzz;

/// What a whole run in a fresh clone puts below `target/`, about, in bytes; with `--fast` a quarter of it.
const ROOM: u64 = 20_000_000_000;

pub(crate) fn run(fast: bool) -> Done {
    let start = Instant::now();
    tell_room(if fast { ROOM / 4 } else { ROOM });
    if fast {
        prerequisites::for_tests()?
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
    say::step("tests of the agent with libvirt", || {
        // What asks libvirt, at its own test driver; all else of the agent was just tested without it.
        cargo(["test", "--locked", "-p", "agent", "--features", "libvirt", "--lib", "--quiet"])
            .args(["--", "serve::drain", "serve::hypervisor"])
            .show()
    })?;
    dependencies()?;
    if fast {
        say::line("--fast: the rack tests were left out; `cargo xtask test` runs them");
    } else {
        say::step("fuzzing network boot, briefly", || crate::fuzz::run(&Fuzz::briefly("boot")))?;
        rack_tests()?;
    }
    say::line(&format!("all checks passed in {}", say::seconds(start.elapsed())));
    Ok(())
}

/// A disk that is full ends a run after half an hour, with an error that is about something else.
fn tell_room(need: u64) {
    let Ok(disk) = rustix::fs::statvfs(place::workspace()) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < need {
        say::line(&format!(
            "note: {} GB are free here; a run from nothing takes about {} GB (cargo clean gives room)",
            free / 1_000_000_000,
            need / 1_000_000_000
        ));
    }
}

/// nextest where it is installed (a process per test, no waiting between crates), else what every Rust has. All that fails is told, not
/// the first alone. What fails is run once more: these tests have real disks, ports and clocks on a machine that may be busy. What passes
/// then is told as flaky, to be mended.
fn fast_tests() -> Result<(), ToolError> {
    let tool = if tool::installed("cargo-nextest") {
        cargo([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--retries",
            "1",
            "--status-level",
            "retry",
            "--final-status-level",
            "flaky",
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

/// What needs images: the same inputs give the same bytes, the installed agent under a real systemd, the rack.
fn rack_tests() -> Done {
    let artifacts = artifacts::build(Wish { raw: true, fresh: false })?;
    say::step("tests under a real systemd", || under_systemd(&artifacts))?;
    say::step("two builds of the same inputs", || artifacts.reproducible())?;
    say::step("tests in the virtual rack", || {
        // One at a time: each has a whole rack, and two would only wait for each other's processors.
        cargo(["test", "--locked", "-p", "tests", "--test", "rack", "--", "--test-threads=1", "--nocapture"])
            .show()
    })?;
    Ok(())
}

/// The tests that boot a container bring their own agent; the root file system is a node image's.
fn under_systemd(artifacts: &Artifacts) -> Done {
    let disk = artifacts.raw(RECIPES[0].name);
    let root = gpt::partition(&disk, "rackwright-root")?;
    let mounted = Mounted::read_only(&disk, root, place::target().join("nspawn-root"))?;
    let which = ["--ignored", "a_real_systemd", "--nocapture", "--test-threads=1"];
    // All of the workspace: with fewer crates cargo takes other features of what they need, and compiles most of it once more.
    let tests = cargo(["test", "--locked", "--workspace", "--tests", "--quiet", "--"]);
    // The daemon gives a server that is adopted the agent that ships.
    let tests = tests.args(which).env("RACKWRIGHT_AGENT", artifacts.static_agent());
    Ok(tests.env("RACKWRIGHT_NSPAWN_ROOT", mounted.place()).show()?)
}
