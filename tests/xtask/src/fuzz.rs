//! `cargo xtask fuzz`: looks for inputs that break a parser, with libFuzzer, on the pinned stable compiler.
//!
//! Knows how the program of `tests/fuzz` is compiled so that libFuzzer sees which branches an input took, and where its
//! inputs are kept. Refuses to know what the targets are: the program says.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use xtask::cargo::cargo;
use xtask::tool::{Output, Tool, ToolError};
use xtask::{place, prerequisites, say};

use crate::Done;
use crate::cli::{Fuzz, Limit};

/// Only for this platform: naming it keeps the instrumentation out of build scripts and procedural macros.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// Cargo's profile; see Cargo.toml.
const PROFILE: &str = "fuzzing";

/// What cargo-fuzz gives the compiler, without the sanitizers: those need a nightly one, and the crates that parse have
/// no `unsafe`.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input that takes longer is a bug, in seconds.
const SLOW: u32 = 10;
/// A parser that takes more memory is a bug, in MiB.
const MEMORY: u32 = 1024;

/// No number of executions takes longer, in seconds.
const DAY: u64 = 24 * 3600;

/// Runs one target, those of network boot, or all; or one target on one file.
pub(crate) fn run(wish: &Fuzz) -> Done {
    // The C++ compiler is for libFuzzer itself.
    prerequisites::for_building()?;
    let boot = wish.target == "boot";
    let program = build(if boot { Targets::Boot } else { Targets::Everything })?;
    let known = of(&program, "list").read()?;
    let known: Vec<&str> = known.lines().collect();
    let wanted: Vec<&str> = match wish.target.as_str() {
        "all" | "boot" => known,
        one if known.contains(&one) => vec![one],
        other => return Err(format!("no such target: {other}; there are: {}", known.join(", ")).into()),
    };
    if let Some(file) = &wish.input {
        for name in wanted {
            of(&program, name).arg(file).dir(place::workspace()).show()?;
        }
        return Ok(());
    }
    let broken = side_by_side(&program, &wanted, wish.limit)?;
    if broken.is_empty() { Ok(()) } else { Err(format!("broken: {}", broken.join(", ")).into()) }
}

/// Which targets are compiled: those of network boot alone take a minute, all of them twenty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Targets {
    Boot,
    Everything,
}

/// Runs every target, as many at once as there are processors; the names of those that broke.
fn side_by_side(
    program: &Path,
    names: &[&str],
    limit: Limit,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let next = AtomicUsize::new(0);
    let take = || names.get(next.fetch_add(1, Ordering::Relaxed));
    let hunter = || {
        let mut broken = Vec::new();
        while let Some(name) = take() {
            broken.extend(hunt(program, name, limit).map_err(|error| error.to_string())?);
        }
        Ok::<_, String>(broken)
    };
    let hunters = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let hunters = (0..hunters).map(|_| scope.spawn(hunter)).collect::<Vec<_>>();
        let mut broken = Vec::new();
        for hunter in hunters {
            broken.extend(hunter.join().unwrap_or_else(|_| Err("a hunter panicked".to_owned()))?);
        }
        Ok(broken)
    })
}

/// Compiles the program with its instrumentation; it has a folder of its own, so nothing else is compiled anew.
fn build(targets: Targets) -> Result<PathBuf, ToolError> {
    let fewer = (targets == Targets::Boot).then_some("--no-default-features");
    say::step("the fuzz targets, instrumented", || {
        cargo(["build", "--locked", "-p", "fuzz", "--features", "libfuzzer", "--profile", PROFILE])
            .args(fewer)
            .args(["--target", PLATFORM])
            .env("RUSTFLAGS", INSTRUMENTATION.join(" "))
            .show()
    })?;
    Ok(place::target().join(PLATFORM).join(PROFILE).join("fuzz"))
}

/// The program, about to run a target.
fn of(program: &Path, name: &str) -> Tool {
    Tool::new(program).env("FUZZ_TARGET", name)
}

/// Looks for inputs that break a target; its name when one was found.
fn hunt(program: &Path, name: &str, limit: Limit) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let home = place::target().join("fuzz").join(name);
    let (corpus, artifacts) = (home.join("corpus"), home.join("artifacts"));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let regressions = place::workspace().join("tests/fuzz/regressions").join(name);
    let (flag, patience) = match limit {
        Limit::Seconds(seconds) => (format!("-max_total_time={seconds}"), u64::from(seconds) + 600),
        Limit::Runs(runs) => (format!("-runs={runs}"), DAY),
    };
    let output = say::step(&format!("{name}: {limit}"), || {
        of(program, name)
            .env("FUZZ_SEEDS", &corpus)
            .arg(flag)
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args([format!("-timeout={SLOW}"), format!("-rss_limit_mb={MEMORY}")])
            .args(["-print_final_stats=1", "-detect_leaks=0"])
            .arg(&corpus)
            .args(regressions.is_dir().then_some(regressions))
            .deadline(Duration::from_secs(patience))
            .output()
    })?;
    let executions = field(&output, "stat::number_of_executed_units:");
    let memory = field(&output, "stat::peak_rss_mb:");
    say::line(&format!(
        "    {name}: {executions} executions, {} inputs kept, at most {memory} MiB",
        count(&corpus)
    ));
    if output.status.success() {
        return Ok(None);
    }
    explain(name, &output);
    Ok(Some(name.to_owned()))
}

/// A number that libFuzzer printed at its end.
fn field<'a>(output: &'a Output, name: &str) -> &'a str {
    output.stderr.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim)
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// What broke, and how to see it again.
fn explain(name: &str, output: &Output) {
    let panics = |line: &&str| line.contains("panicked at") || line.contains("ERROR: libFuzzer");
    let from = output.stderr.lines().position(|line| panics(&line)).unwrap_or(0);
    for line in output.stderr.lines().skip(from).take(8) {
        say::line(&format!("    | {line}"));
    }
    let written =
        |line: &str| line.split_once("Test unit written to ").map(|(_, path)| path.trim().to_owned());
    match output.stderr.lines().find_map(written) {
        Some(path) => {
            say::line(&format!("    again: cargo xtask fuzz {name} {path}"));
            say::line(&format!("    once it is mended: keep the file in tests/fuzz/regressions/{name}"));
        }
        None => say::line(&format!("    {}, and no input was written", output.status)),
    }
}
