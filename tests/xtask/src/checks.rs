//! `cargo xtask test`: everything CI runs, in the order in which mistakes are cheapest.

use std::time::Instant;

use xtask::artifacts::{self, Artifacts, RECIPES, Wish};
use xtask::cargo::cargo;
use xtask::mounted::Mounted;
use xtask::rack::gpt;
use xtask::say;
use xtask::tool::{self, Tool, ToolError};
use xtask::{place, prerequisites};

use crate::Done;
use crate::cli::{Depth, Fuzz};

/// What a whole run in a fresh clone puts below `target/`, about, in bytes; with `--fast` a quarter of it.
const ROOM: u64 = 20_000_000_000;

/// All of the workspace: for one crate alone cargo takes other features of what it needs, and compiles most of it once more.
const LIBVIRT: [&str; 3] = ["--workspace", "--features", "agent/libvirt"];

pub(crate) fn run(depth: Depth) -> Done {
    let start = Instant::now();
    match depth {
        Depth::Fast => {
            tell_room(ROOM / 4);
            prerequisites::for_tests()?
        }
        Depth::Usual | Depth::Long => {
            tell_room(ROOM);
            prerequisites::ensure()?
        }
    }
    sources()?;
    say::step("tests without QEMU", fast_tests)?;
    say::step("tests of the agent with libvirt", || {
        // What asks libvirt, at its own test driver; all else of the agent was just tested without it.
        cargo(["test", "--locked", "--lib", "--quiet"])
            .args(LIBVIRT)
            .args(["--", "serve::drain", "serve::hypervisor"])
            .show()
    })?;
    dependencies()?;
    match depth {
        Depth::Fast => {
            say::line("--fast: the rack tests were left out; `cargo xtask test` runs them");
        }
        Depth::Usual => rack_tests(depth)?,
        Depth::Long => {
            say::step("fuzzing network boot, briefly", || crate::fuzz::run(&Fuzz::briefly("boot")))?;
            rack_tests(depth)?;
        }
    }
    say::line(&format!("all checks passed in {}", say::seconds(start.elapsed())));
    Ok(())
}

/// What reading finds, without running anything.
fn sources() -> Result<(), ToolError> {
    say::step("format", || cargo(["fmt", "--all", "--check"]).show())?;
    say::step("lints", || {
        cargo(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]).show()
    })?;
    say::step("lints of the agent with libvirt", || {
        cargo(["clippy", "--locked"]).args(LIBVIRT).args(["--", "-D", "warnings"]).show()
    })?;
    say::step("documentation", || {
        cargo(["doc", "--locked", "--workspace", "--no-deps", "--quiet"])
            // The owners of a crate read its private modules too: a link to one is no mistake.
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")
            .show()
    })
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

fn fast_tests() -> Result<(), ToolError> {
    tests(&["--test-threads", &at_once()], &["--quiet"]).env("RACKWRIGHT_FAST", "1").show()
}

/// nextest with the one list of words where it is installed (a process per test, no waiting between crates), else what every Rust has with
/// the other. All that fails is told, not the first alone. What fails is run once more: these tests have real disks, ports and clocks on a
/// machine that may be busy. What passes then is told as flaky, to be mended.
fn tests(nextest: &[&str], plain: &[&str]) -> Tool {
    // All of the workspace: with fewer crates cargo takes other features of what they need, and compiles most of it once more.
    let whole = ["--locked", "--workspace"];
    if !tool::installed("cargo-nextest") {
        return cargo(["test"]).args(whole).args(plain);
    }
    let told =
        ["--no-fail-fast", "--retries", "1", "--status-level", "retry", "--final-status-level", "flaky"];
    cargo(["nextest", "run"]).args(whole).args(told).args(nextest)
}

/// How many tests run at once: half of their time they wait, for a clock, a disk or a peer.
fn at_once() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors + 1).to_string()
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
fn rack_tests(depth: Depth) -> Done {
    let artifacts = artifacts::build(Wish { raw: true, fresh: false })?;
    say::step("tests under a real systemd", || under_systemd(&artifacts))?;
    say::step("two builds of the same inputs", || artifacts.reproducible(depth == Depth::Long))?;
    say::step("tests in the virtual rack", || {
        // One at a time: each has a whole rack, and two would only wait for each other's processors.
        let stories = cargo(["test", "--locked", "--workspace", "--test", "rack", "--"]);
        let stories = stories.args(["--test-threads=1", "--nocapture"]);
        if depth == Depth::Long {
            // The ISO has a command of its own: it has to be built first.
            stories.args(["--include-ignored", "--skip", "iso::"]).env("RACKWRIGHT_LONG", "1").show()
        } else {
            stories.show()
        }
    })?;
    Ok(())
}

/// The tests that boot a container bring their own agent; the root file system is a node image's.
fn under_systemd(artifacts: &Artifacts) -> Done {
    let disk = artifacts.raw(RECIPES[0].name);
    let root = gpt::partition(&disk, "rackwright-root")?;
    let mounted = Mounted::read_only(&disk, root, place::target().join("nspawn-root"))?;
    let tests = tests(
        &["--no-capture", "--run-ignored", "only", "-E", "test(a_real_systemd)"],
        &["--tests", "--quiet", "--", "--ignored", "a_real_systemd", "--nocapture", "--test-threads=1"],
    );
    // The daemon gives a server that is adopted the agent that ships.
    let tests = tests.env("RACKWRIGHT_AGENT", artifacts.static_agent());
    Ok(tests.env("RACKWRIGHT_NSPAWN_ROOT", mounted.place()).show()?)
}
