//! Looking into the disk with `image-build`, a program of its own in the ramdisk: what on it belongs to this machine alone,
//! and a view of the disk without that.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::{FOUND_MAX, Found};
use serde::Deserialize;

use crate::screen::Screen;
use crate::text::{clean, name};
use crate::tool::{self, Staying, ToolError, Until};

/// Where it is, below the root.
const PROGRAM: &str = "usr/bin/image-build";
/// A disk of many small files is walked through, stripped, and checked by its file system's own program.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// A few calls to the kernel.
const CLEARING: Duration = Duration::from_secs(20);
/// For what it says; a report lists some dozen findings of some dozen places.
const SAID_MAX: u64 = 4 << 20;
/// How it ends when something would have to be stripped and was not.
const REFUSED: i32 = 5;
/// Of a list that is told to a person.
const TOLD_MAX: usize = 8;
/// Of the places of one finding.
const PLACES_MAX: usize = 4;
/// image-build's rule about what it could not look into, which is a list of its own.
const UNSEEN: &str = "not-looked-into";

/// Why there is no view of a disk.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It said what nobody understands.
    #[error("reading what image-build says of the disk")]
    Said(#[from] serde_json::Error),
    /// It takes too long.
    #[error("image-build has not made a view of the disk in {} min", LONGEST.as_secs() / 60)]
    Late,
    /// The view is of something else.
    #[error("the view {} is not made of the disk {disk}", view.display())]
    Foreign {
        /// What image-build named.
        view: PathBuf,
        /// The disk's name now.
        disk: String,
    },
    /// Something could not be stripped, or not looked into.
    #[error(
        "not for other machines: this belongs to one, or is a secret, or nobody knows what is in it, and it could not be \
         taken out (let it into the image with --keep ID, or take the disk with all of it with --as-is): {ids}{troubles}"
    )]
    Left {
        /// The findings' names, each with where or why.
        ids: String,
        /// Why, where that is known.
        troubles: String,
    },
    /// There was nothing to strip it from.
    #[error(
        "no system was found on the disk{unseen}: nobody knows what on it belongs to this machine; take it with all of it \
         with --as-is"
    )]
    NoSystem {
        /// What could not be looked into.
        unseen: String,
    },
}

/// A view of the disk, for as long as this lives.
#[derive(Debug)]
pub(super) struct View {
    program: Staying,
    /// What to read instead of the disk.
    pub(super) path: PathBuf,
    /// What was found, and what became of it.
    pub(super) found: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    view: Option<PathBuf>,
    item: Report,
}

/// The part of `image-build`'s report that matters here.
#[derive(Debug, Default, Deserialize)]
struct Report {
    system: String,
    findings: Vec<Finding>,
    unseen: Vec<String>,
    troubles: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    what: String,
    refuses: bool,
    #[serde(default)]
    places: Vec<String>,
    places_total: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Found,
    Stripped,
    Kept,
}

/// Removes the devices that runs of `image-build` have left which were killed: they keep disks in use. What can't be removed is
/// found when the disk is asked for.
pub(super) async fn clear(root: &Path) {
    let Ok(program) = Staying::start(&root.join(PROGRAM), &["clear"]) else { return };
    let _cleared = tokio::time::timeout(CLEARING, program.end(&[0])).await;
}

/// Makes a view of the disk without what belongs to this machine alone, but for the rules in `keep`. Nobody may have the disk
/// for himself meanwhile; the view has.
///
/// # Errors
/// [`LookError`].
pub(super) async fn generalized(
    root: &Path,
    disk: &str,
    keep: impl IntoIterator<Item = &String>,
    screen: &Screen,
) -> Result<View, LookError> {
    tool::drivers(&["loop", "dm_mod", "dm_snapshot"]).await;
    let device = crate::inventory::device(root, disk);
    let device = device.to_string_lossy();
    let mut args = vec!["view", &device];
    keep.into_iter().for_each(|id| args.extend(["--keep", id]));
    let mut program = Staying::start(&root.join(PROGRAM), &args)?;
    let line = watched(program.says(Until::Line, SAID_MAX), screen).await??;
    if line.is_empty() {
        program.end(&[]).await?;
        return Err(LookError::Late);
    }
    let said: Said = serde_json::from_slice(&line)?;
    let Some(path) = said.view else {
        program.end(&[REFUSED]).await?;
        return Err(said.item.refused());
    };
    if said.item.system.is_empty() {
        return Err(said.item.refused());
    }
    let is_of_disk = std::fs::metadata(&path).is_ok_and(|view| is_made_of(root, &view, disk));
    if !is_of_disk {
        return Err(LookError::Foreign { view: path, disk: disk.to_owned() });
    }
    Ok(View { program, path, found: said.item.found() })
}

impl View {
    /// Lets the view go, and waits until it is gone.
    pub(super) async fn end(self) {
        // There is nothing that somebody could do about it, and the image is whole.
        let _gone = self.program.end(&[0]).await;
    }
}

/// What on the disk belongs to this machine alone, as well as that can be told: nothing depends on it.
pub(super) async fn found(root: &Path, disk: &str, screen: &Screen) -> Vec<Found> {
    tool::drivers(&["loop"]).await;
    let device = crate::inventory::device(root, disk);
    let look = async {
        let args = ["lint", &device.to_string_lossy(), "--output", "json"];
        let mut program = Staying::start(&root.join(PROGRAM), &args)?;
        let said = watched(program.says(Until::End, SAID_MAX), screen).await??;
        program.end(&[0, REFUSED]).await?;
        Ok::<Said, LookError>(serde_json::from_slice(&said)?)
    };
    match look.await {
        Ok(said) => said.item.found(),
        Err(error) => {
            let why = crate::chain::Chain(&error).to_string();
            vec![note(UNSEEN, &format!("the disk: {why}"), 1)]
        }
    }
}

/// Waits for a program, and says for how long already.
async fn watched<T>(work: impl Future<Output = T>, screen: &Screen) -> Result<T, LookError> {
    let begun = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) if begun.elapsed() > LONGEST => return Err(LookError::Late),
            Err(_) => {
                let so_far = begun.elapsed().as_secs();
                let words = format!("looking for what belongs to this machine alone ({so_far} s)");
                screen.state("capturing", &words);
            }
        }
    }
}

/// Whether what was named is made of the disk, by what the kernel says of a device; a file is, because nobody but
/// image-build made it.
fn is_made_of(root: &Path, view: &Metadata, disk: &str) -> bool {
    if !view.file_type().is_block_device() {
        return view.is_file();
    }
    let number = view.rdev();
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    root.join("sys/dev/block").join(number).join("slaves").join(disk).exists()
}

impl Report {
    /// In the protocol's words and bounds.
    fn found(&self) -> Vec<Found> {
        let one = |finding: &Finding| Found {
            rule: name(&finding.id),
            what: name(&finding.what),
            places: finding.places_total,
            kept: finding.outcome != Outcome::Stripped,
        };
        let findings = self.findings.iter().filter(|one| one.id != UNSEEN);
        let mut found = findings.take(FOUND_MAX - 1).map(one).collect::<Vec<_>>();
        let room = FOUND_MAX - found.len();
        let fit = if self.unseen.len() > room { room - 1 } else { room };
        let (told, rest) = self.unseen.split_at(fit.min(self.unseen.len()));
        found.extend(told.iter().map(|why| note(UNSEEN, why, 1)));
        if !rest.is_empty() {
            let more = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            found.push(note(UNSEEN, &format!("and {more} more: see image-build lint"), more));
        }
        found
    }

    /// Why there is no view, or none that anybody wants.
    fn refused(&self) -> LookError {
        if self.system.is_empty() {
            return LookError::NoSystem { unseen: aside(&self.unseen, TOLD_MAX) };
        }
        let stops = self.findings.iter().filter(|one| one.refuses && one.outcome == Outcome::Found);
        let told = |one: &Finding| match one.id.as_str() {
            UNSEEN => format!("{UNSEEN}{}", aside(&self.unseen, TOLD_MAX)),
            id => format!("{}{}", name(id), aside(&one.places, PLACES_MAX)),
        };
        let ids = stops.map(told).collect::<Vec<_>>().join(", ");
        LookError::Left { ids, troubles: aside(&self.troubles, TOLD_MAX) }
    }
}

fn note(rule: &str, what: &str, places: u64) -> Found {
    Found { rule: rule.to_owned(), what: name(what), places, kept: true }
}

/// The first so many of a list, in parentheses; nothing when it is empty.
fn aside(list: &[String], most: usize) -> String {
    if list.is_empty() {
        return String::new();
    }
    let mut told = list.iter().take(most).map(|why| clean(why, 120)).collect::<Vec<_>>();
    if list.len() > most {
        told.push(format!("and {} more", list.len() - most));
    }
    format!(" ({})", told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{FOUND_MAX, Said};

    /// As `image-build view` writes it; its own tests compare with the same words.
    const LINE: &str = include_str!("../../../../image-build/tests/it/lint/view.json");

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let said: Said = serde_json::from_str(LINE).unwrap();
        assert_eq!(said.view.unwrap().to_str(), Some("/dev/mapper/rackwright-view"));
        let found = said.item.found();
        let words = |rule: &str| found.iter().find(|one| one.rule == rule).map(|one| (one.places, one.kept));
        assert_eq!(words("machine-id"), Some((2, false)));
        assert_eq!(words("shell-history"), Some((1, true)));
        assert_eq!(words("not-looked-into"), Some((1, true)));
    }

    #[test]
    fn whatever_it_says_stays_within_bounds() {
        let mut said: Said = serde_json::from_str(LINE).unwrap();
        let long = "x".repeat(100_000);
        said.item.unseen = vec![long.clone(); 1000];
        said.item.troubles = vec![long; 1000];
        let mut many = Vec::new();
        for _ in 0..1000 {
            let one: Said = serde_json::from_str(LINE).unwrap();
            many.extend(one.item.findings);
        }
        said.item.findings = many;
        let found = said.item.found();
        assert!(found.len() <= FOUND_MAX);
        let texts = found.iter().flat_map(|one| [&one.rule, &one.what]);
        assert!(texts.into_iter().all(|text| text.len() <= protocol::TEXT_BYTES_MAX));
        assert!(said.item.refused().to_string().contains("--keep ID"));
    }

    #[test]
    fn all_reasons_why_something_was_not_looked_into_are_told() {
        let mut said: Said = serde_json::from_str(LINE).unwrap();
        said.item.unseen = (0..40).map(|number| format!("volume {number}: no")).collect();
        let reasons = |said: &Said| {
            let found = said.item.found().into_iter().filter(|one| one.rule == "not-looked-into");
            found.map(|one| (one.what, one.places)).collect::<Vec<_>>()
        };
        let wanted = (0..40).map(|number| (format!("volume {number}: no"), 1)).collect::<Vec<_>>();
        assert_eq!(reasons(&said), wanted, "each once, and the finding itself is none beside them");
        said.item.unseen = vec!["a".to_owned(); 1000];
        assert_eq!(said.item.found().len(), FOUND_MAX);
        assert_eq!(
            reasons(&said).iter().map(|(_, places)| places).sum::<u64>(),
            1000,
            "the last says how many more"
        );
    }

    #[test]
    fn a_refusal_names_what_and_where_and_what_to_do() {
        let mut said: Said = serde_json::from_str(LINE).unwrap();
        for one in &mut said.item.findings {
            one.outcome = super::Outcome::Found;
        }
        said.item.unseen = (0..10).map(|number| format!("volume {number}: no")).collect();
        let told = said.item.refused().to_string();
        for words in [
            "--keep ID",
            "machine-id (/etc/machine-id; /var/lib/dbus/machine-id), not-looked-into (volume 0: no; ",
            "volume 7: no; and 2 more)",
        ] {
            assert!(told.contains(words), "{told}");
        }
        assert!(!told.contains("shell-history"), "it refuses nothing: {told}");
        said.item.system.clear();
        assert!(
            said.item.refused().to_string().starts_with("no system was found on the disk (volume 0: no; ")
        );
    }
}
