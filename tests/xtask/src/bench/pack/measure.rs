//! Programs with a clock beside them: how long, how much of the processors, how much memory.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt;

/// How often memory is looked at.
const TICK: Duration = Duration::from_millis(5);
/// Clock ticks of /proc in a second, on every machine that Linux runs on.
const TICKS: f64 = 100.0;

/// What a run cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    pub(super) seconds: f64,
    /// Of all processes, in seconds.
    pub(super) cpu: f64,
    /// The most that the first of them had, in bytes.
    pub(super) peak: f64,
}

/// One program of a pipeline.
pub(super) type Words = Vec<OsString>;

/// Words from anything.
pub(super) fn words<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Words {
    argv.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

/// Runs these, each reading what the one before it writes; what the last writes goes to `out`, and moans go to `log`. A
/// program that fails is an error with the end of what it said.
pub(super) fn pipeline(programs: &[Words], out: Stdio, log: &Path) -> Result<Took, Box<dyn Error>> {
    interrupt::check()?;
    let before = children()?;
    let begun = Instant::now();
    let mut running: Vec<Child> = Vec::new();
    let mut out = Some(out);
    File::create(log)?;
    for (at, argv) in programs.iter().enumerate() {
        let (program, arguments) = argv.split_first().ok_or("no program")?;
        let input =
            running.last_mut().and_then(|child| child.stdout.take()).map_or(Stdio::null(), Stdio::from);
        let is_last = at + 1 == programs.len();
        let output = if is_last { out.take().unwrap_or(Stdio::null()) } else { Stdio::piped() };
        let moans = File::options().append(true).open(log)?;
        let child = Command::new(program).args(arguments).stdin(input).stdout(output).stderr(moans).spawn();
        running.push(child.map_err(|error| format!("{}: {error}", program.to_string_lossy()))?);
    }
    let mut took = Took::default();
    while !all_ended(&mut running)? {
        took.peak = took.peak.max(running.first().and_then(peak).unwrap_or(0.0));
        if interrupt::requested() {
            running.iter_mut().for_each(|child| drop(child.kill()));
        }
        thread::sleep(TICK);
    }
    took.seconds = begun.elapsed().as_secs_f64();
    took.cpu = children()? - before;
    for (child, argv) in running.iter_mut().zip(programs) {
        let status = child.wait()?;
        if !status.success() {
            let said = fs::read_to_string(log).unwrap_or_default();
            let name = argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            return Err(format!("{name}: {status}: {}", said.trim()).into());
        }
    }
    Ok(took)
}

fn all_ended(running: &mut [Child]) -> std::io::Result<bool> {
    let mut all = true;
    for child in running {
        all &= child.try_wait()?.is_some();
    }
    Ok(all)
}

/// `VmHWM`; proc_pid_status(5).
fn peak(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// Seconds of processor that children took which have been waited for: fields 16 and 17 of proc_pid_stat(5).
fn children() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("a short stat")?;
    let times = rest.split_ascii_whitespace().skip(13).take(2);
    let ticks = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS)
}
