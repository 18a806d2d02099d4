//! A batch as text: a screen of 80 columns with a bar for each node, or single lines where nothing can be redrawn.

use fleet::view::Slow;

use super::batch::{Batch, Member, Whole, mean_percent};
use crate::follow::{End, Stage, waits_for};
use crate::terminal::Tone;
use crate::text::{bar, bytes, duration, fit, width};

/// Cells of a bar.
const BAR: usize = 10;
/// Where what is said of a node begins.
const INDENT: usize = 13;

/// How much room there is, and whether words may be coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) header: bool,
    pub(super) colour: bool,
}

/// The whole screen: one line less than there are, because the cursor stands on the last one. Where there are more nodes than
/// lines, those that need longest are shown.
pub(super) fn screen(batch: &Batch, room: Room, now_ms: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if room.header {
        lines.push(header());
    }
    // For the whole, and for the cursor.
    let free = room.rows.saturating_sub(lines.len() + 2).max(1);
    let all = batch.by_name();
    if all.iter().map(|member| height(member)).sum::<usize>() <= free {
        all.iter().for_each(|member| lines.extend(entry(member, room, now_ms)));
    } else {
        let mut left = free.saturating_sub(1);
        let sorted = batch.slowest_first();
        let fits = |member: &&&Member| {
            let fits = height(member) <= left;
            left = left.saturating_sub(height(member));
            fits
        };
        let shown = sorted.iter().take_while(fits).count();
        sorted.iter().take(shown).for_each(|member| lines.extend(entry(member, room, now_ms)));
        let others = sorted.get(shown..).unwrap_or_default();
        let percent = mean_percent(others.iter().copied());
        lines.push(format!("and {} others, {percent} %", others.len()));
    }
    lines.push(whole(&batch.whole()));
    // The last column stays free: some consoles begin a new line there.
    lines.iter().map(|line| paint(line, room)).collect()
}

/// One line of the whole: how far, how fast, how long until all have written.
pub(super) fn whole(whole: &Whole) -> String {
    let Whole { jobs, done, failed, slow, percent, rate, left } = *whole;
    let mut line = format!("{} {percent:>3} %  {done} of {jobs} done", bar(percent, BAR));
    let mut add = |words: String| {
        line.push_str("  ");
        line.push_str(&words);
    };
    if rate > 0 {
        add(format!("{}/s", bytes(rate)));
    }
    if let Some(left) = left {
        add(format!("{} left", duration(left)));
    }
    for (count, word) in [(failed, "failed"), (slow, "slow")] {
        if count > 0 {
            add(format!("{count} {word}"));
        }
    }
    line
}

fn header() -> String {
    format!(
        "{:<12} {:<9} {:<12} {:>5} {:>10} {:>6} {:<10} {:>6}",
        "NODE", "STAGE", "", "DONE", "RATE", "LEFT", "COMES BY", "LOST"
    )
}

fn height(member: &Member) -> usize {
    1 + usize::from(member.slow.is_some())
}

fn entry(member: &Member, room: Room, now_ms: u64) -> Vec<String> {
    let mut lines = vec![line(member, now_ms)];
    if let Some(slow) = &member.slow {
        lines.push(format!("{:INDENT$}^ {slow}", ""));
    }
    lines.iter().map(|line| fit(line, room.columns.saturating_sub(1))).collect()
}

/// `n1           imaging   [######----]  63 %   95 MiB/s  1m20s multicast   0.4 %`
fn line(member: &Member, now_ms: u64) -> String {
    let name = padded(&fit(&member.row.node, 12), 12);
    let head = |word: &str| format!("{name} {word:<9} ");
    if let Some((end, at)) = &member.end {
        let took = duration(at.saturating_sub(member.seen) / 1000);
        return match end {
            End::Done => format!("{}{} 100 %  watched for {took}", head("done"), bar(100, BAR)),
            End::Failed(why) => format!("{}{why}", head("failed")),
            End::Stuck => format!("{}see rackwright node why {}", head("attention"), member.row.node),
        };
    }
    let head = head(member.stage.word());
    if member.stage.bytes(&member.row).is_none() {
        let waited = duration(now_ms.saturating_sub(member.since) / 1000);
        return format!("{head}{}  {waited}", waits_for(member.stage, &member.row));
    }
    let percent = member.percent();
    let rate = member.rate().map(|rate| format!("{}/s", bytes(rate))).unwrap_or_default();
    let left = member.left().map(duration).unwrap_or_default();
    let (lane, lost) = lane(member);
    let text =
        format!("{head}{} {percent:>3} % {rate:>10} {left:>6} {lane:<10} {lost:>6}", bar(percent, BAR));
    text.trim_end().to_owned()
}

/// How the image comes, and how much of it does not.
fn lane(member: &Member) -> (&str, String) {
    let Some(lane) = member.lane() else { return ("", String::new()) };
    let lost = lane.lost_ppm.map(|ppm| match ppm {
        0..100_000 => format!("{}.{} %", ppm / 10_000, ppm % 10_000 / 1_000),
        _ => format!("{} %", ppm / 10_000),
    });
    (&lane.lane, lost.unwrap_or_default())
}

/// What is said of a node where lines pile up.
pub(super) fn change(member: &Member) -> String {
    let name = &member.row.node;
    if let Some((end, _)) = &member.end {
        return match end {
            End::Done => format!("{name}  done"),
            End::Failed(why) => format!("{name}  failed  {why}"),
            End::Stuck => format!("{name}  needs attention  rackwright node why {name}"),
        };
    }
    let mut parts = vec![name.clone(), member.stage.word().to_owned()];
    if member.stage.bytes(&member.row).is_none() {
        parts.push(waits_for(member.stage, &member.row).to_owned());
        return parts.join("  ");
    }
    parts.push(format!("{} %", member.percent()));
    parts.extend(member.rate().map(|rate| format!("{}/s", bytes(rate))));
    parts.extend(member.left().map(|left| format!("{} left", duration(left))));
    let (lane, lost) = lane(member);
    parts.extend([lane.to_owned()].into_iter().filter(|lane| !lane.is_empty()));
    parts.extend([lost].into_iter().filter(|lost| !lost.is_empty()).map(|lost| format!("{lost} lost")));
    parts.extend(member.slow.as_ref().map(|slow| format!("slow: {slow}")));
    parts.join("  ")
}

/// What is worth a line when it changes: every tenth percent, not every one; the reason, not its figures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Face {
    stage: Stage,
    tenth: u64,
    lane: String,
    slow: Option<std::mem::Discriminant<Slow>>,
    ended: bool,
}

impl Face {
    pub(super) fn of(member: &Member) -> Face {
        Face {
            stage: member.stage,
            tenth: member.percent() / 10,
            lane: lane(member).0.to_owned(),
            slow: member.slow.as_ref().map(std::mem::discriminant),
            ended: member.end.is_some(),
        }
    }
}

fn padded(text: &str, cells: usize) -> String {
    format!("{text}{}", " ".repeat(cells.saturating_sub(width(text))))
}

/// Reasons and bad ends in a colour, where there are colours. Their words say the same.
fn paint(line: &str, room: Room) -> String {
    let fitted = fit(line, room.columns.saturating_sub(1));
    let is_reason = fitted.trim_start().starts_with('^');
    let word = fitted.get(INDENT..).and_then(|rest| rest.split(' ').next());
    match word {
        _ if !room.colour => fitted,
        _ if is_reason => Tone::Busy.paint(&fitted),
        Some("failed" | "attention") => Tone::Bad.paint(&fitted),
        _ => fitted,
    }
}
