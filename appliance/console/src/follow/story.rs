//! What is told of a job: a pure fold over the rows that come in.

use fleet::view::JobRow;

use crate::progress::{self, Meter, Pace, percent};
use crate::text::{bytes, duration};

/// The stages of a job in their order, as a person sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The server is not in the ramdisk yet, or has not taken the job.
    Waiting,
    /// The disk is being read.
    Capturing,
    /// Hardware is being tested.
    Testing,
    /// Disks are being erased.
    Erasing,
    /// The image is being written.
    Imaging,
    /// The disk is being read back.
    Verifying,
    /// The disk is right; the installed system starts.
    Booting,
    /// The installed system has said hello; its units start.
    Enrolling,
}

impl Stage {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Capturing => "capturing",
            Stage::Testing => "testing",
            Stage::Erasing => "erasing",
            Stage::Imaging => "imaging",
            Stage::Verifying => "verifying",
            Stage::Booting => "booting",
            Stage::Enrolling => "enrolling",
        }
    }

    /// Which it is, in a job with so many.
    fn place(self, stages: usize) -> usize {
        match self {
            Stage::Waiting => 1,
            Stage::Imaging | Stage::Capturing | Stage::Erasing | Stage::Testing => 2,
            Stage::Verifying => 3,
            Stage::Booting => stages.min(4),
            Stage::Enrolling => stages.min(5),
        }
    }

    /// As at the beginning of a line.
    fn head(self, stages: usize) -> String {
        format!("[{}/{stages}] {:<9}", self.place(stages), self.word())
    }

    /// Bytes done and to do, in the stages that have some.
    pub(crate) fn bytes(self, row: &JobRow) -> Option<(u64, u64)> {
        match self {
            Stage::Imaging | Stage::Capturing | Stage::Erasing => Some((row.done_bytes, row.total_bytes)),
            // Only samples are read back.
            Stage::Verifying if is_erasure(row) => None,
            Stage::Verifying => Some((row.read_back_bytes, row.total_bytes)),
            Stage::Waiting | Stage::Testing | Stage::Booting | Stage::Enrolling => None,
        }
        .filter(|(_, total)| *total > 0)
    }
}

/// Whether an image is taken, and not written.
pub(crate) fn is_capture(row: &JobRow) -> bool {
    row.kind == "capture"
}

/// Whether disks are erased.
pub(crate) fn is_erasure(row: &JobRow) -> bool {
    row.kind == "erase"
}

/// Whether hardware is tested.
pub(crate) fn is_test(row: &JobRow) -> bool {
    row.kind == "test"
}

/// How many stages a job has.
fn stages(row: &JobRow) -> usize {
    match row.kind.as_str() {
        "capture" | "erase" => 3,
        "test" => 2,
        _ => 5,
    }
}

/// Where a job is.
pub(crate) fn stage(row: &JobRow) -> Stage {
    if is_test(row) {
        return if row.state == "waiting" { Stage::Waiting } else { Stage::Testing };
    }
    if is_erasure(row) {
        return match (row.state.as_str(), row.phase.as_deref()) {
            ("running", Some("prove")) | ("done", _) => Stage::Verifying,
            ("running", _) => Stage::Erasing,
            _ => Stage::Waiting,
        };
    }
    if is_capture(row) {
        return match (row.state.as_str(), row.node_state.as_str()) {
            // It stays in the ramdisk.
            ("done", "ready") | ("running", _) => Stage::Capturing,
            ("verified" | "done", _) => Stage::Booting,
            _ => Stage::Waiting,
        };
    }
    match (row.state.as_str(), row.node_state.as_str(), row.phase.as_deref()) {
        ("verified" | "done", "enrolling" | "active", _) => Stage::Enrolling,
        ("verified" | "done", _, _) => Stage::Booting,
        ("running", _, Some("read_back" | "arm")) => Stage::Verifying,
        ("running", _, _) => Stage::Imaging,
        _ => Stage::Waiting,
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The node is active.
    Done,
    /// It failed, and why.
    Failed(String),
    /// The job is whole, the node is not.
    Stuck,
}

/// What is to be said after one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Lines that stay.
    pub(crate) lines: Vec<String>,
    /// The line that is redrawn.
    pub(crate) progress: String,
    /// Set when there is nothing more to watch.
    pub(crate) end: Option<End>,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Story {
    stage: Option<(Stage, u64)>,
    stages: usize,
    wrote: Option<(u64, u64)>,
    meter: Meter,
    pace: Pace,
}

impl Story {
    /// Takes a look at the job. Where lines are not `redrawn`, progress comes as lines now and then.
    pub(crate) fn tell(&mut self, row: &JobRow, now_ms: u64, redrawn: bool) -> Told {
        let mut told = Told { end: end(row), ..Told::default() };
        let stage = stage(row);
        self.stages = stages(row);
        if matches!(told.end, Some(End::Failed(_) | End::Stuck)) {
            return told;
        }
        if self.stage.is_none_or(|(before, _)| before != stage) {
            told.lines.extend(self.ended(now_ms));
            self.stage = Some((stage, now_ms));
            (self.meter, self.pace) = (Meter::default(), Pace::default());
        }
        if told.end == Some(End::Done) {
            told.lines.extend(self.ended(now_ms));
            return told;
        }
        if matches!(stage, Stage::Imaging | Stage::Capturing | Stage::Erasing) {
            self.wrote = Some((row.total_bytes, row.same_bytes));
        }
        told.progress = self.progress(stage, row, now_ms, redrawn);
        let whole = if stage == Stage::Testing { row.percent.into() } else { 0 };
        let percent = stage.bytes(row).map_or(whole, |(done, total)| percent(done, total));
        if !redrawn && self.pace.is_due(now_ms, percent) {
            told.lines.push(told.progress.clone());
        }
        told
    }

    fn progress(&mut self, stage: Stage, row: &JobRow, now_ms: u64, redrawn: bool) -> String {
        // Where lines pile up, several jobs may write to one log; where they are redrawn, 80 columns are full.
        let name = if redrawn { String::new() } else { format!("{}  ", row.node) };
        let head = format!("{}  {name}", stage.head(self.stages));
        if stage == Stage::Testing {
            let part = row.phase.as_deref().unwrap_or("begins");
            return format!("{head}{:>3} %  {part}", row.percent);
        }
        if let Some((done, total)) = stage.bytes(row) {
            self.meter.note(now_ms, done);
            return format!("{head}{}", progress::line(done, total, &self.meter));
        }
        let since = self.stage.map_or(now_ms, |(_, since)| since);
        let waited = match now_ms.saturating_sub(since) / 1000 {
            0 => String::new(),
            seconds => format!("  {}", duration(seconds)),
        };
        format!("{head}{}{waited}", waits_for(stage, row))
    }

    /// The line for the stage that is over.
    fn ended(&self, now_ms: u64) -> Option<String> {
        let (stage, since) = self.stage?;
        let wrote = match (stage, self.wrote) {
            (Stage::Imaging | Stage::Capturing | Stage::Erasing, Some((total, 0))) => {
                format!("  {}", bytes(total))
            }
            (Stage::Imaging, Some((total, same))) => {
                format!("  {}, {} were right already", bytes(total), bytes(same))
            }
            (Stage::Capturing, Some((total, same))) => {
                format!("  {}, {} were in the store already", bytes(total), bytes(same))
            }
            _ => String::new(),
        };
        let took = duration(now_ms.saturating_sub(since) / 1000);
        Some(format!("{}  done  {took}{wrote}", stage.head(self.stages)))
    }
}

/// What it waits for, in a stage without bytes.
pub(crate) fn waits_for(stage: Stage, row: &JobRow) -> &'static str {
    match stage {
        Stage::Waiting if row.node_state == "draining" => "restarts into the ramdisk",
        Stage::Waiting => "its agent has not taken the job yet",
        Stage::Capturing => "looks at what is on the disk",
        Stage::Testing => "computes, reads and measures",
        Stage::Erasing => "looks at its disks",
        Stage::Imaging => "prepares the disk",
        Stage::Verifying => "reads the disk back",
        Stage::Booting => "starts from its disk",
        Stage::Enrolling => "starts its units",
    }
}

/// How it has ended; none while it goes on.
pub(crate) fn end(row: &JobRow) -> Option<End> {
    match (row.state.as_str(), row.node_state.as_str()) {
        ("failed", _) => {
            Some(End::Failed(row.why.clone().unwrap_or_else(|| "no reason was given".to_owned())))
        }
        ("done", _) => Some(End::Done),
        (_, "attention") => Some(End::Stuck),
        _ => None,
    }
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
