//! Restore and rebuild: `rackwright-agent restore`, `zstd -d | partclone -r`, and what the machine allows.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::disk::{self, FIRST, Kind, Loop};
use super::measure::{Took, pipeline, words};
use super::{Lab, case, mega};
use crate::bench::{Row, Side};
use crate::tool::Tool;
use crate::{interrupt, say};

const PEER: &str = "zstd -d and partclone -r";
/// What the peer's rate is multiplied with, and per cent of what the machine allows.
const BARS: (f64, f64) = (1.5, 90.0);
/// Seconds of processor for 1 GB of the disk, and memory in MB beside the spool.
const COST: (f64, f64) = (1.3, 96.0);
/// The spool of `rackwright-agent restore`, in bytes.
const SPOOL: f64 = 16_777_216.0;
/// A rebuild when one chunk in [`NTH`] has changed: how much faster, per cent of the changed chunks' stored bytes that
/// are read, and of their used bytes that are written.
const REBUILD: (f64, f64, f64) = (3.0, 130.0, 110.0);
const NTH: &str = "100";

/// What fills in a part of a round.
type Turn = fn(&Lab, Kind, u64, &mut Round) -> Result<(), Box<dyn Error>>;

/// Everything of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    write: f64,
    read: f64,
    inflate: f64,
    unpack: f64,
    /// Seconds of processor for 1 GB that nothing can save: its content and both transfers.
    floor: f64,
    /// As [`Took`] by `--verify stream`: decompressed, hashed, written, flushed.
    stream: Took,
    /// The same, and read back.
    ours: Took,
    theirs: Took,
    delta: f64,
    fetched: f64,
    written: f64,
    same: f64,
    same_written: f64,
}

/// Restores what [`super::capture`] has left, onto a blank disk each time.
pub(super) fn measure(lab: &Lab, kind: Kind, used: u64) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rounds = Vec::new();
    for number in 0..lab.rounds {
        let mut round = Round::default();
        // Each is once the first of a round.
        let mut turns: [Turn; 4] = [limits, trusting, ours, theirs];
        turns.rotate_left(number % 4);
        for turn in turns {
            interrupt::check()?;
            turn(lab, kind, used, &mut round)?;
        }
        say::line(&format!(
            "    {}: restored in {:.1} s, with reading back in {:.1} s ({PEER}: {:.1} s), rebuilt in {:.1} s and {:.1} s; \
             written raw at {:.0} MB/s",
            kind.name,
            round.stream.seconds,
            round.ours.seconds,
            round.theirs.seconds,
            round.delta,
            round.same,
            round.write
        ));
        rounds.push(round);
    }
    for name in ["image", "peer"] {
        fs::remove_file(lab.path(name))?;
    }
    Ok(rows(&case(kind, lab), mega(used), &rounds))
}

fn rows(case: &str, used: f64, rounds: &[Round]) -> Vec<Row> {
    let rows = [restored(case, used, rounds), spent(case, used, rounds), rebuilt(case, rounds)];
    rows.into_iter().flatten().collect()
}

fn all(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(of).collect()
}

/// How fast, and what the machine allows.
fn restored(case: &str, used: f64, rounds: &[Round]) -> Vec<Row> {
    let all = |of: &dyn Fn(&Round) -> f64| all(rounds, of);
    let rate = all(&|round| used / round.stream.seconds);
    let proven_rate = all(&|round| used / round.ours.seconds);
    let allowed = all(&|round| round.write.min(round.inflate));
    let share = all(&|round| 100.0 * used / round.stream.seconds / round.write.min(round.inflate));
    let proven = |round: &Round| 1.0 / (1.0 / round.write.min(round.inflate) + 1.0 / round.read);
    let theirs = all(&|round| used / round.theirs.seconds);
    let rows = [
        Row::against(case, "restore", "MB/s", BARS.0, &rate, PEER, &theirs),
        Row::against(case, "restore and read back", "MB/s", BARS.0, &proven_rate, PEER, &theirs),
        Row::at_least(case, "restore, of what the machine allows", "%", BARS.1, &share)
            .map(|row| Row { limit: Row::shown("", "", "", &allowed).and_then(|row| row.ours), ..row }),
        Row::shown(
            case,
            "restore and read back, of what the machine allows",
            "%",
            &all(&|round| 100.0 * used / round.ours.seconds / proven(round)),
        ),
        Row::shown(case, "written raw", "MB/s", &all(&|round| round.write)),
        Row::shown(case, "read raw", "MB/s", &all(&|round| round.read)),
        Row::shown(case, "inflated on all cores", "MB/s", &all(&|round| round.inflate)),
        Row::shown(case, "inflated and hashed on all cores", "MB/s", &all(&|round| round.unpack)),
    ];
    rows.into_iter().flatten().collect()
}

/// Processor and memory of a restore.
fn spent(case: &str, used: f64, rounds: &[Round]) -> Vec<Row> {
    let all = |of: &dyn Fn(&Round) -> f64| all(rounds, of);
    let cost = |round: &Round| round.stream.cpu * 1e3 / used;
    let proven = |round: &Round| round.ours.cpu * 1e3 / used;
    let rows = [
        Row::at_most(case, "restore, processor", "s/GB", COST.0, &all(&cost)),
        Row::shown(case, "processor that no restore can save", "s/GB", &all(&|round| round.floor)),
        Row::shown(
            case,
            "restore, processor, of that",
            "%",
            &all(&|round| 100.0 * cost(round) / round.floor),
        ),
        Row::shown(case, "restore and read back, processor", "s/GB", &all(&proven)),
        Row::at_most(
            case,
            "restore, memory beside the spool",
            "MB",
            COST.1,
            &all(&|round| (round.ours.peak.max(round.stream.peak) - SPOOL) / 1e6),
        ),
    ];
    rows.into_iter().flatten().collect()
}

/// What it takes when little or nothing has changed.
fn rebuilt(case: &str, rounds: &[Round]) -> Vec<Row> {
    let all = |of: &dyn Fn(&Round) -> f64| all(rounds, of);
    let changed = format!("{case}, one chunk in {NTH} changed");
    let same = format!("{case}, nothing changed");
    let rows = [
        Row::at_least(
            &changed,
            "rebuild, faster than restore, both read back",
            "×",
            REBUILD.0,
            &all(&|round| round.ours.seconds / round.delta),
        ),
        // Reading all of it is what neither can save, and the restore writes it before.
        Row::shown(
            &changed,
            "rebuild, of what reading and writing raw allow",
            "%",
            &all(&|round| 100.0 * round.ours.seconds / round.delta / (1.0 + round.read / round.write)),
        ),
        Row::at_most(&changed, "read, of what changed", "%", REBUILD.1, &all(&|round| 100.0 * round.fetched)),
        Row::at_most(
            &changed,
            "written, of what changed",
            "%",
            REBUILD.2,
            &all(&|round| 100.0 * round.written),
        ),
        Row::shown(&same, "rebuild", "s", &all(&|round| round.same)),
        Row::at_most(&same, "written", "bytes", 0.0, &all(&|round| round.same_written)).map(|row| Row {
            ratio: None,
            side: Side::AtMost,
            ..row
        }),
    ];
    rows.into_iter().flatten().collect()
}

/// A blank disk to write to.
fn target(lab: &Lab) -> Result<PathBuf, Box<dyn Error>> {
    let file = lab.path("target");
    let _ = fs::remove_file(&file);
    disk::blank(&file, lab.disk_bytes)?;
    Ok(file)
}

/// Raw writes and reads of as many bytes, one decoder for each core, and the same with the hashes.
fn limits(lab: &Lab, _: Kind, used: u64, round: &mut Round) -> Result<(), Box<dyn Error>> {
    let device = Loop::whole(&target(lab)?)?;
    let bytes = used.to_string();
    let raw = |verb: &str| Lab::packlab(&[Path::new(verb), device.device(), Path::new(&bytes)]);
    let (written, read) = (raw("write")?, raw("read")?);
    (round.write, round.read) = (mega(used) / written("seconds"), mega(used) / read("seconds"));
    let image = lab.path("image");
    let content = |verb: &str| Lab::packlab(&[Path::new(verb), &image]);
    let (inflated, unpacked) = (content("inflate")?, content("unpack")?);
    round.inflate = inflated("bytes") / 1e6 / inflated("seconds");
    round.unpack = unpacked("bytes") / 1e6 / unpacked("seconds");
    round.floor = unpacked("processor") * 1e9 / unpacked("bytes") + written("processor") * 1e3 / mega(used);
    Ok(())
}

/// `rackwright-agent restore`; gives its receipt.
fn restore(lab: &Lab, device: &Loop, verify: &str) -> Result<(Took, serde_json::Value), Box<dyn Error>> {
    // A loop device has no serial number: its name confirms it.
    let name = device.device().file_name().ok_or("a device without a name")?;
    let mut argv = words([Lab::program("rackwright-agent")]);
    argv.extend(words(["restore", "-o", "json", "--trust", &signer(lab)?, "--image"]));
    argv.extend([lab.path("image").into(), "--disk".into(), device.device().into()]);
    argv.extend(["--confirm".into(), name.to_owned(), "--verify".into(), verify.into()]);
    let said = lab.path("said");
    let took = pipeline(&[argv], fs::File::create(&said)?.into(), &lab.path("log"))?;
    Ok((took, serde_json::from_slice(&fs::read(said)?)?))
}

/// Whose key has signed the image: the bench's own.
fn signer(lab: &Lab) -> Result<String, Box<dyn Error>> {
    let shown = Tool::new(Lab::program("image-build")).arg("show").arg(lab.path("image")).read()?;
    let line = shown.lines().find_map(|line| line.strip_prefix("signed by"));
    Ok(line.ok_or("an image without a signer")?.trim().to_owned())
}

/// A full restore that trusts the disk.
fn trusting(lab: &Lab, kind: Kind, _: u64, round: &mut Round) -> Result<(), Box<dyn Error>> {
    let file = target(lab)?;
    let device = Loop::whole(&file)?;
    round.stream = restore(lab, &device, "stream")?.0;
    let _chunks = Lab::packlab(&[Path::new("check"), &lab.path("image"), device.device()])?;
    disk::check(&file, kind)
}

/// A full restore that is read back, then a rebuild of a disk that has changed a little, then one of a disk that has not
/// changed.
fn ours(lab: &Lab, kind: Kind, _: u64, round: &mut Round) -> Result<(), Box<dyn Error>> {
    let (file, image) = (target(lab)?, lab.path("image"));
    let device = Loop::whole(&file)?;
    round.ours = restore(lab, &device, "readback")?.0;
    let check = || Lab::packlab(&[Path::new("check"), &image, device.device()]);
    let _chunks = check()?;
    disk::check(&file, kind)?;

    let changed = Lab::packlab(&[Path::new("dirty"), &image, device.device(), Path::new(NTH)])?;
    device.forget()?;
    let before = device.written()?;
    let (took, receipt) = restore(lab, &device, "readback")?;
    let fetched = receipt.get("fetchedBytes").and_then(serde_json::Value::as_f64);
    let fetched = fetched.ok_or("the receipt does not say what was fetched")?;
    round.delta = took.seconds;
    round.fetched = fetched / changed("stored");
    round.written = mega(device.written()? - before) * 1e6 / changed("used");
    let _chunks = check()?;

    let before = device.written()?;
    round.same = restore(lab, &device, "readback")?.0.seconds;
    round.same_written = mega(device.written()? - before) * 1e6;
    Ok(())
}

fn theirs(lab: &Lab, kind: Kind, _: u64, round: &mut Round) -> Result<(), Box<dyn Error>> {
    let file = target(lab)?;
    let device = Loop::partition(&file)?;
    let unpacks = words(["zstd".into(), "-q".into(), "-dc".into(), lab.path("peer")]);
    let mut writes = words([kind.partclone, "-r", "-s", "-", "-o"]);
    writes.extend([device.device().into(), "-L".into(), lab.path("partclone.log").into()]);
    round.theirs = pipeline(&[unpacks, writes], Stdio::null(), &lab.path("log"))?;
    // Ours has flushed when it ends.
    let flush = [words(["sync".into(), device.device().to_owned()])];
    round.theirs.seconds += pipeline(&flush, Stdio::null(), &lab.path("log"))?.seconds;
    disk::check(&file, kind)?;
    let whole = Loop::whole(&file)?;
    let span = [FIRST, fs::metadata(&file)?.len() - disk::TAIL].map(|byte| byte.to_string());
    let [from, end] = span.each_ref().map(Path::new);
    Lab::packlab(&[Path::new("check"), &lab.path("image"), whole.device(), from, end]).map(drop)
}
