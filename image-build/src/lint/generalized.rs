//! A view of a disk from which everything that belongs to one machine was taken. The source stays as it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pack::disk::{self, Disk};
use serde::Serialize;

use super::leftover;
use super::mount::{Access, Loop, check};
use super::rule::{Rule, Strip};
use super::volumes::open;
use super::{LintError, Report, find, of_disk, parts, strip, survey};
use crate::files::{self, WorkFolder};
use crate::tools::{Call, ToolError};

/// How the name of a mapped device begins that is a view; that of its folder follows.
pub(super) const NAME: &str = "rackwright-";

/// Why no view of a source could be made.
#[derive(Debug, thiserror::Error)]
pub enum NoView {
    /// A disk needs the kernel's device mapper.
    #[error(
        "{} can't be generalised in place: this kernel has no device mapper to keep the changes apart from the disk; \
         capture it with --as-is, unpack that with `image-build export --format raw`, and capture the file with --generalize",
        disk.display()
    )]
    NoMapper {
        /// Which disk.
        disk: PathBuf,
        /// What dmsetup said.
        source: ToolError,
    },
    /// The kernel gave the view up, which it does when it can't keep a change.
    #[error(
        "the changes to the view of {} have no more room in {}: its folder needs more, see --work",
        disk.display(), work.display()
    )]
    Full {
        /// Which disk.
        disk: PathBuf,
        /// Where they were kept.
        work: PathBuf,
        /// What failed first.
        source: Box<LintError>,
    },
    /// A copy needs room.
    #[error("copying {} to {}", from.display(), to.display())]
    Copy {
        /// What.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
        /// What cp said.
        source: ToolError,
    },
    /// After the changes a file system is not what it should be.
    #[error(
        "{volume} is damaged after generalising; it was most likely damaged before: repair the source first"
    )]
    Damaged {
        /// Which volume.
        volume: String,
        /// What its checker said.
        source: Box<LintError>,
    },
}

/// A disk without identity, to be captured. What is kept of it goes away with this value.
#[derive(Debug)]
pub struct Generalized {
    view: View,
    report: Report,
}

impl Generalized {
    /// Makes a view of a disk or file and strips it of what the rules find, but for the rules in `keep`. Changes are kept
    /// below `work`: for a file a copy of it, sparse and shared where the file system can; for a disk what was changed.
    ///
    /// # Errors
    /// When no view can be made, see [`NoView`], or it can't be written. That something could not be stripped is no error:
    /// the report says it, and [`super::Refused::check`] whether it matters.
    pub fn of(
        source: &Path,
        work: &Path,
        rules: &[Rule],
        keep: &BTreeSet<String>,
    ) -> Result<Generalized, LintError> {
        let view = View::of(source, work)?;
        match stripped(source, view.path(), rules, keep) {
            Ok(report) => Ok(Generalized { view, report }),
            Err(error) => Err(view.explained(source, error)),
        }
    }

    /// What to capture: a file or a block device.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.view.path()
    }

    /// What was found, and what became of it.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Both in one line of JSON, for another program. A view that is refused is not named.
    ///
    /// # Errors
    /// None with what a report holds.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Line<'a> {
            api_version: &'static str,
            refused: bool,
            view: Option<&'a Path>,
            item: &'a Report,
        }
        let refused = self.report.refused();
        let view = (!refused).then(|| self.path());
        serde_json::to_string(&Line { api_version: "rackwright/v1", refused, view, item: &self.report })
    }
}

/// Strips a view of a source, and looks again at what is left.
fn stripped(
    source: &Path,
    view: &Path,
    rules: &[Rule],
    keep: &BTreeSet<String>,
) -> Result<Report, LintError> {
    let disk = Disk::open(view, disk::Access::Read)?;
    let survey = self::survey(&disk)?;
    let installed = open(view, &survey, Access::Change)?;
    let before = of_disk(source, rules, &disk, &survey, &installed);
    let troubles = strip::strip(rules, keep, &installed.system);
    installed.system.sync()?;
    drop(installed);
    wake(view, rules, keep, &disk, &survey)?;
    // A fresh look, with nothing in memory that is not on the disk.
    let survey = self::survey(&disk)?;
    let installed = open(view, &survey, Access::Read)?;
    let after = of_disk(source, rules, &disk, &survey, &installed);
    let mut report = before.after(&after).with_unseen(rules, true);
    report.troubles = troubles;
    report.keep(Some(keep));
    let devices = installed.volumes.into_iter().map(|(one, _)| (one.name, one.kind, one.device));
    let devices: Vec<(String, String, Loop)> = devices.collect();
    drop(installed.system);
    for (volume, kind, device) in devices {
        check(&kind, device.path()).map_err(|error| NoView::Damaged { volume, source: Box::new(error) })?;
    }
    Ok(report)
}

/// Makes empty swap spaces of those that a system sleeps in: the mark gives way to that of a swap space.
fn wake(
    path: &Path,
    rules: &[Rule],
    keep: &BTreeSet<String>,
    disk: &Disk,
    survey: &pack::Survey,
) -> Result<(), LintError> {
    let mut places = Vec::new();
    for (_, offset, part) in parts(disk, survey) {
        let found = find::find_in_volume(rules, &part)?;
        let asleep = found.iter().filter(|(rule, _)| rule.strip == Strip::Wake && !keep.contains(&rule.id));
        places.extend(asleep.map(|(_, mark)| offset + mark.at));
    }
    if places.is_empty() {
        return Ok(());
    }
    let file = File::options().write(true).open(path).map_err(files::named("opening", path))?;
    for place in places {
        file.write_all_at(b"SWAPSPACE2", place)?;
    }
    Ok(file.sync_all()?)
}

#[derive(Debug)]
enum View {
    Copy {
        path: PathBuf,
        _work: WorkFolder,
    },
    /// In this order: the device is closed before what it is made of.
    Snapshot {
        path: PathBuf,
        name: String,
        _open: File,
        _changes: Loop,
        work: WorkFolder,
    },
}

impl View {
    fn of(source: &Path, work: &Path) -> Result<View, LintError> {
        leftover::clear();
        let folder = WorkFolder::make(work)?;
        let is_file = std::fs::metadata(source).map_err(files::named("looking at", source))?.is_file();
        if is_file { View::copy(source, folder) } else { View::snapshot(source, folder) }
    }

    fn path(&self) -> &Path {
        match self {
            View::Copy { path, .. } | View::Snapshot { path, .. } => path,
        }
    }

    fn copy(source: &Path, work: WorkFolder) -> Result<View, LintError> {
        let path = work.path().join("disk");
        let call = Call::new("cp").args(["--reflink=auto", "--sparse=always", "--"]).arg(source).arg(&path);
        if let Err(error) = call.run() {
            return Err(NoView::Copy { from: source.to_owned(), to: path, source: error }.into());
        }
        files::set_mode(&path, 0o600)?;
        Ok(View::Copy { path, _work: work })
    }

    /// The disk below, and a sparse file for what changes.
    fn snapshot(disk: &Path, work: WorkFolder) -> Result<View, LintError> {
        let missing = |source| NoView::NoMapper { disk: disk.to_owned(), source };
        mapper(&["version"]).run().map_err(missing)?;
        let bytes = pack::Source::bytes(&Disk::open(disk, disk::Access::ReadExclusive)?);
        let changes = work.path().join("changes");
        let file = files::create(&changes)?;
        file.set_len(bytes.saturating_add(bytes / 64)).map_err(files::named("sizing", &changes))?;
        let changes = Loop::attach(&changes, 0, bytes.saturating_add(bytes / 64), Access::Change)?;
        let name = format!("{NAME}{}", work.path().file_name().unwrap_or_default().to_string_lossy());
        let (disk, cow) = (disk.display(), changes.path().display());
        // Not persistent, in pieces of 8 sectors: Documentation/admin-guide/device-mapper/snapshot.rst. The kernel opens the
        // disk for reading only, and alone.
        let table = format!("0 {} snapshot {disk} {cow} N 8", bytes / 512);
        mapper(&["create", &name, "--table", &table]).run()?;
        let opened = mapped(&name)
            .and_then(|path| Ok((File::open(&path).map_err(files::named("opening", &path))?, path)));
        // It goes when its last user goes, however that ends.
        mapper(&["remove", "--deferred", &name]).run()?;
        let (open, path) = opened?;
        Ok(View::Snapshot { path, name, _open: open, _changes: changes, work })
    }

    /// Why something failed on this view, if the view itself is why: dmsetup says `Invalid` or `Overflow` of one whose changes
    /// could not be kept.
    fn explained(&self, source: &Path, error: LintError) -> LintError {
        let View::Snapshot { name, work, .. } = self else { return error };
        let status = mapper(&["status", name]).run().unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        if !status.contains("Invalid") && !status.contains("Overflow") {
            return error;
        }
        let (disk, work) = (source.to_owned(), work.path().to_owned());
        NoView::Full { disk, work, source: Box::new(error) }.into()
    }
}

/// A run of dmsetup(8) that waits for no udev: there may be none, and one that runs has no business with a view.
pub(super) fn mapper(args: &[&str]) -> Call {
    Call::new("dmsetup").args(args).args(["--noudevrules", "--noudevsync"])
}

/// The kernel's own name of a mapped device: the one below `/dev/mapper` is udev's work.
fn mapped(name: &str) -> Result<PathBuf, LintError> {
    let said = mapper(&["info", "--columns", "--noheadings", "--options", "blkdevname", name]).run()?;
    Ok(Path::new("/dev").join(String::from_utf8_lossy(&said).trim()))
}
