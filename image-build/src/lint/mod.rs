//! The golden-image lint: what on a disk belongs to one machine, and must not come out on a thousand others.
//!
//! The rules are data ([`rule`], `recipes/identity.toml`). A [`tree::Tree`] is compared with them ([`find`]), and stripped
//! by them ([`strip`]). Which volumes of a disk make up its system is decided in [`volumes`]; they are mounted where
//! nobody else can go ([`mount`]). A source is never changed: [`Generalized`] works on a view of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use pack::disk::{self, Disk, DiskError};
use pack::{Part, Source, Survey};

pub mod find;
pub mod folder;
pub mod generalized;
pub mod glob;
pub mod leftover;
pub mod lvm;
pub mod mount;
pub mod report;
pub mod rule;
pub mod space;
pub mod strip;
pub mod subvolumes;
pub mod system;
pub mod text;
pub mod tree;
pub mod volumes;

pub use generalized::{Generalized, NoView};
pub use report::{Finding, Looked, Outcome, Report};
pub use rule::{Find, Rule};

use self::folder::Folder;
use self::mount::Access;
use self::system::System;
use self::text::escaped;
use self::tree::{Tree, resolve};
use self::volumes::Installed;
use crate::capture::sectors_of;
use crate::files::{self, FileError};
use crate::tools::ToolError;

/// How many of the largest folders are named.
const TOP: usize = 12;
/// How much of os-release is read, in bytes.
const RELEASE_MAX: usize = 64 << 10;

/// Why a disk could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// A file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The disk can't be had; in use, for instance.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Writing to the view of the source failed.
    #[error("writing to the copy of the source")]
    Write(#[from] io::Error),
    /// No view of the source could be made.
    #[error(transparent)]
    View(#[from] NoView),
}

/// A golden image was refused: what the report says is in it. The program's exit code is 5, for "needs confirmation".
#[derive(Debug, thiserror::Error)]
#[error(
    "{source_name} is not fit for a golden image ({}): take it out with --generalize, which leaves the source as it \
     is, or put it into the image knowingly, each with --keep ID or all with --as-is",
    ids.join(", ")
)]
pub struct Refused {
    source_name: String,
    ids: Vec<String>,
}

impl Refused {
    /// What the program ends with.
    pub const EXIT_CODE: u8 = 5;

    /// The refusal that a report asks for, if it does.
    ///
    /// # Errors
    /// Itself.
    pub fn check(report: &Report) -> Result<(), Refused> {
        let stops = report.findings.iter().filter(|finding| finding.stops());
        let ids: Vec<_> = stops.map(|finding| finding.id.clone()).collect();
        if ids.is_empty() { Ok(()) } else { Err(Refused { source_name: report.source.clone(), ids }) }
    }
}

/// Looks at a disk, a file with a disk in it, or a folder with a system in it. Nothing is changed.
///
/// # Errors
/// When it can't be read or mounted at all. What is on it is never an error: what could not be looked into is in the report.
pub fn examine(target: &Path, rules: &[Rule]) -> Result<Report, LintError> {
    let look = std::fs::metadata(target).map_err(files::named("looking at", target))?;
    if look.is_dir() {
        let root = Folder::open(target).map_err(files::named("opening", target))?;
        let mut report = of_system(target, rules, &System::of(root));
        report.unseen.extend(mounted_below(target));
        return Ok(report.with_unseen(rules, false));
    }
    let disk = Disk::open(target, disk::Access::ReadExclusive)?;
    let survey = survey(&disk)?;
    let installed = volumes::open(target, &survey, Access::Read)?;
    Ok(of_disk(target, rules, &disk, &survey, &installed).with_unseen(rules, false))
}

/// What is mounted somewhere in a folder, which is not looked into; for people.
fn mounted_below(folder: &Path) -> Vec<String> {
    let folder = std::fs::canonicalize(folder).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let (place, kind) = (Path::new(left.split(' ').nth(4)?), right.split(' ').next()?);
        let of_disk = (mount::is_known(kind) || kind == "fuseblk" || kind == "exfat")
            && place != folder
            && place.starts_with(&folder);
        of_disk.then(|| {
            format!("{} ({kind}): it is mounted there; name the disk instead of the folder", escaped(place))
        })
    });
    below.collect()
}

/// What is on a disk.
fn survey(disk: &Disk) -> Result<Survey, LintError> {
    let read = pack::survey(disk, sectors_of(disk));
    Ok(read.map_err(files::named("surveying", disk.path()))?)
}

/// Compares a disk and the system on it with the rules.
fn of_disk(
    source: &Path,
    rules: &[Rule],
    disk: &dyn Source,
    survey: &Survey,
    installed: &Installed,
) -> Report {
    let mut report = of_system(source, rules, &installed.system);
    report.unseen.splice(0..0, installed.unseen.iter().cloned());
    report.volumes = installed
        .volumes
        .iter()
        .map(|(candidate, place)| Looked {
            name: candidate.name.clone(),
            kind: escaped(&candidate.kind),
            place: place.as_ref().map(|place| format!("/{}", escaped(place))),
        })
        .collect();
    let mut raw: BTreeMap<&str, (&Rule, Vec<String>)> = BTreeMap::new();
    for (name, _, part) in parts(disk, survey) {
        match find::find_in_volume(rules, &part) {
            Ok(found) => {
                for (rule, _) in found {
                    raw.entry(&rule.id).or_insert_with(|| (rule, Vec::new())).1.push(name.clone());
                }
            }
            Err(error) => report.unseen.push(format!("{name}: {error}")),
        }
    }
    report.findings.extend(raw.into_values().map(|(rule, places)| Finding::at(rule, places)));
    if let Some(rule) = rules.iter().find(|rule| rule.find == Find::Subvolume)
        && !installed.subvolumes.is_empty()
    {
        report.findings.push(Finding::at(rule, installed.subvolumes.clone()));
    }
    let order = |finding: &Finding| rules.iter().position(|rule| rule.id == finding.id);
    report.findings.sort_by_key(order);
    report
}

/// Every volume of a disk as bytes, with its name for people and its place; the seed partition too.
fn parts<'a>(disk: &'a dyn Source, survey: &Survey) -> Vec<(String, u64, Part<'a>)> {
    let volumes = survey.volumes.iter().map(|one| match one.partition {
        0 => ("the disk".to_owned(), one.offset, one.bytes),
        number => (format!("partition {number}"), one.offset, one.bytes),
    });
    let seed = survey.seed.iter().map(|seed| ("the seed partition".to_owned(), seed.offset, seed.bytes));
    volumes
        .chain(seed)
        .filter_map(|(name, at, bytes)| Some((name, at, Part::new(disk, at, bytes)?)))
        .collect()
}

fn of_system(source: &Path, rules: &[Rule], system: &System) -> Report {
    let mut report = Report { source: escaped(source), ..Report::default() };
    if !system.has(Path::new("")) {
        return report;
    }
    let (hits, troubles) = find::find(rules, system);
    report.findings = hits.iter().map(|hit| Finding::of(hit, system)).collect();
    report.unseen = troubles;
    report.system = name(system);
    report.space = space::measure(system, Path::new(""), TOP);
    report
}

/// What the system calls itself.
fn name(system: &dyn Tree) -> String {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let found = resolve(system, Path::new(path)).ok().flatten();
        let content = found.and_then(|found| system.read(&found, RELEASE_MAX).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        if let Some(name) = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")) {
            return escaped(name.trim_matches(['"', '\'']));
        }
    }
    "a system without a name".to_owned()
}
