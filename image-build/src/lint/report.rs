//! What was found, for people in 80 columns and for programs in JSON.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::find::Hit;
use super::rule::{Class, Find, Rule, Strip};
use super::space::{Space, measure};
use super::text::{escaped, size, wrapped};
use super::tree::Tree;

/// How many places of one finding are listed.
const LISTED_MAX: usize = 20;
/// How many of those people are shown.
const SHOWN_MAX: usize = 4;
const WIDTH: usize = 80;

/// What happened to what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is there.
    Found,
    /// It was stripped: the image does not have it.
    Stripped,
    /// It is in the image, because the operator said so.
    Kept,
}

/// Something that must not be in a golden image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub id: String,
    /// What was found.
    pub what: String,
    /// Why no image should have it.
    pub why: String,
    /// What kind of thing it is.
    pub class: Class,
    /// Whether a capture is refused because of it, unless it is stripped or kept.
    pub refuses: bool,
    /// Where: paths, or a volume; fit for a terminal. At most 20; none for what is in [`Report::unseen`].
    pub places: Vec<String>,
    /// How many places there are.
    pub places_total: usize,
    /// What it takes, in bytes.
    pub allocated_bytes: u64,
    /// What generalising does about it.
    pub strip: Strip,
    /// What happened to it.
    pub outcome: Outcome,
    /// Who says that it must not be there.
    pub reference: String,
}

impl Finding {
    /// A finding at paths of a tree.
    #[must_use]
    pub fn of(hit: &Hit<'_>, tree: &dyn Tree) -> Finding {
        let places = hit.paths.iter().take(LISTED_MAX).map(|path| format!("/{}", escaped(path))).collect();
        let sizes = hit.paths.iter().map(|path| measure(tree, path, 0).allocated_bytes);
        let allocated_bytes = sizes.fold(0, u64::saturating_add);
        Finding { places_total: hit.paths.len(), allocated_bytes, ..Finding::at(hit.rule, places) }
    }

    /// A finding at places that have names of their own.
    #[must_use]
    pub fn at(rule: &Rule, mut places: Vec<String>) -> Finding {
        let places_total = places.len();
        places.truncate(LISTED_MAX);
        Finding {
            id: rule.id.clone(),
            what: rule.what.clone(),
            why: rule.why.clone(),
            class: rule.class,
            refuses: rule.refuses,
            places_total,
            places,
            allocated_bytes: 0,
            strip: rule.strip,
            outcome: if rule.strip == Strip::LeftOut { Outcome::Stripped } else { Outcome::Found },
            reference: rule.reference.clone(),
        }
    }

    /// Whether a capture is refused because of it.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.refuses && self.outcome == Outcome::Found
    }
}

/// What is on a volume, and whether it was looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// `partition 2`, `volume vg/root`.
    pub name: String,
    /// blkid's name of its file system.
    pub kind: String,
    /// Where it was mounted; none when it is not a part of the system.
    pub place: Option<String>,
}

/// Everything that was found on one disk, file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was looked at.
    pub source: String,
    /// Which system is on it; empty when none was found.
    pub system: String,
    /// The volumes that were looked at.
    pub volumes: Vec<Looked>,
    /// What was found, in the order of the rules.
    pub findings: Vec<Finding>,
    /// What could not be looked into, and why.
    pub unseen: Vec<String>,
    /// What could not be stripped, and why.
    pub troubles: Vec<String>,
    /// Where the space goes.
    pub space: Space,
}

impl Report {
    /// Whether a capture must be refused.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.findings.iter().any(Finding::stops)
    }

    /// Lets everything into the image that these names call, or everything at all.
    pub fn keep(&mut self, keep: Option<&BTreeSet<String>>) {
        let kept = |finding: &&mut Finding| {
            finding.outcome == Outcome::Found && keep.is_none_or(|keep| keep.contains(&finding.id))
        };
        self.findings.iter_mut().filter(kept).for_each(|finding| finding.outcome = Outcome::Kept);
    }

    /// The names of what is in the image though it should not be.
    #[must_use]
    pub fn kept(&self) -> Vec<&str> {
        let kept = self.findings.iter().filter(|finding| finding.outcome != Outcome::Stripped);
        kept.map(|finding| finding.id.as_str()).collect()
    }

    /// Takes in what was found after stripping: what is not there any more was stripped.
    #[must_use]
    pub fn after(mut self, after: &Report) -> Report {
        for finding in &mut self.findings {
            match after.findings.iter().find(|left| left.id == finding.id) {
                Some(left) => *finding = left.clone(),
                None => finding.outcome = Outcome::Stripped,
            }
        }
        let is_new = |one: &&Finding| self.findings.iter().all(|known| known.id != one.id);
        let news = after.findings.iter().filter(is_new).cloned().collect::<Vec<_>>();
        self.findings.extend(news);
        self.unseen.clone_from(&after.unseen);
        self.space = after.space.clone();
        self
    }

    /// Makes a finding of what could not be looked into, of the rule about that. `golden` says that an image shall come of it
    /// that has nothing of one machine: then it refuses. Else it does when there is a system, and a disk without one is data.
    #[must_use]
    pub fn with_unseen(mut self, rules: &[Rule], golden: bool) -> Report {
        let rule = rules.iter().find(|rule| rule.find == Find::Unseen);
        if let Some(rule) = rule.filter(|_| !self.unseen.is_empty()) {
            let refuses = rule.refuses && (golden || !self.system.is_empty());
            let places_total = self.unseen.len();
            self.findings.push(Finding { refuses, places_total, ..Finding::at(rule, Vec::new()) });
        }
        self
    }

    /// For programs.
    ///
    /// # Errors
    /// None with what a report holds.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned<'a> {
            api_version: &'static str,
            refused: bool,
            item: &'a Report,
        }
        let whole = Versioned { api_version: "rackwright/v1", refused: self.refused(), item: self };
        serde_json::to_string_pretty(&whole)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let system = if self.system.is_empty() { "no system was found" } else { &self.system };
        f.write_str(&wrapped(&format!("{}: {system}", self.source), "", WIDTH))?;
        for volume in &self.volumes {
            let place =
                volume.place.as_ref().map_or("no part of the system".to_owned(), |at| format!("is {at}"));
            f.write_str(&wrapped(&format!("{} ({}) {place}", volume.name, volume.kind), "  ", WIDTH))?;
        }
        for finding in &self.findings {
            show(finding, f)?;
        }
        for (title, list) in [("Not looked into:", &self.unseen), ("Not stripped:", &self.troubles)] {
            if !list.is_empty() {
                writeln!(f, "\n{title}")?;
            }
            for why in list.iter().take(LISTED_MAX) {
                f.write_str(&wrapped(why, "  ", WIDTH))?;
            }
            if list.len() > LISTED_MAX {
                writeln!(f, "  and {} more", list.len() - LISTED_MAX)?;
            }
        }
        show_space(&self.space, f)?;
        write!(f, "\n{}", self.verdict())
    }
}

impl Report {
    fn verdict(&self) -> String {
        let stops: Vec<_> =
            self.findings.iter().filter(|one| one.stops()).map(|one| one.id.as_str()).collect();
        if !stops.is_empty() {
            return wrapped(&format!("Not fit for a golden image: {}", stops.join(", ")), "", WIDTH);
        }
        let kept: Vec<_> = self.findings.iter().filter(|one| one.outcome == Outcome::Kept).collect();
        if kept.is_empty() && self.system.is_empty() {
            return "Nobody knows whether it is fit for a golden image: no system was found.\n".to_owned();
        }
        if kept.is_empty() && !self.unseen.is_empty() {
            return "Fit for a golden image, but for what was not looked into.\n".to_owned();
        }
        if kept.is_empty() {
            return "Fit for a golden image.\n".to_owned();
        }
        let kept: Vec<_> = kept.iter().map(|one| one.id.as_str()).collect();
        wrapped(&format!("In the image, because you said so: {}", kept.join(", ")), "", WIDTH)
    }
}

fn show(finding: &Finding, f: &mut Formatter<'_>) -> fmt::Result {
    let mark = match (finding.outcome, finding.refuses) {
        (Outcome::Found, true) => "REFUSED",
        (Outcome::Found, false) => "found",
        (Outcome::Stripped, _) => "stripped",
        (Outcome::Kept, _) => "KEPT",
    };
    let room = match finding.allocated_bytes {
        0 => String::new(),
        bytes => format!(", {}", size(bytes)),
    };
    let title = format!("{mark:<9} {}: {}{room}", finding.id, finding.what);
    write!(f, "\n{}", wrapped(&title, "", WIDTH))?;
    f.write_str(&wrapped(&finding.why, "          ", WIDTH))?;
    for place in finding.places.iter().take(SHOWN_MAX) {
        writeln!(f, "          {place}")?;
    }
    match finding.places_total.saturating_sub(SHOWN_MAX) {
        more if more == 0 || finding.places.is_empty() => Ok(()),
        more => writeln!(f, "          and {more} more"),
    }
}

fn show_space(space: &Space, f: &mut Formatter<'_>) -> fmt::Result {
    let short = if space.incomplete { ", and more that could not be counted" } else { "" };
    writeln!(f, "\n{} in {} files and folders{short}", size(space.allocated_bytes), space.entries)?;
    for place in &space.folders {
        writeln!(f, "{:>11}  {}", size(place.allocated_bytes), place.path)?;
    }
    Ok(())
}
