//! How a machine booted from the network last: step by step, and what is likely wrong.

use fleet::view::{AttemptView, BootView, FindingRow, StepView};

use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::terminal::Look;
use crate::text::{ago, clock, date_and_clock, duration, fill, width};

/// A silence between two steps that is worth a line, in milliseconds.
const GAP_MS: u64 = 10_000;
/// Where the steps' texts begin.
const INDENT: usize = 21;

/// The boots of a card that is no node's.
pub(crate) async fn card(session: &mut Session, mac: &str) -> Result<u8, Failure> {
    let answer = session.client.get(&format!("/v1/network/trace/{}", crate::client::segment(mac))).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_card(&answer.item::<BootView>()?, look, now)))?;
    Ok(exit::OK)
}

/// A card that is no node's (yet): its boots are all there is.
pub(crate) fn render_card(boot: &BootView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    let name =
        boot.node.as_ref().map_or_else(|| "no node yet".to_owned(), |node| format!("a card of {node}"));
    page.line(&format!("{} is {name}", boot.mac));
    add(&mut page, boot, look, now);
    page.into_text()
}

/// The last attempt in full, the others in a line, and the findings.
pub(crate) fn add(page: &mut Page, boot: &BootView, look: &Look, now: u64) {
    page.heading(&format!("The last network boot ({})", boot.mac));
    let Some((last, earlier)) = boot.attempts.split_last() else {
        return page.line("  (nothing is recorded)");
    };
    if !earlier.is_empty() {
        let told = |attempt: &AttemptView| format!("{} came to {}", clock(&attempt.began), attempt.reached);
        let all = earlier.iter().rev().take(3).rev().map(told).collect::<Vec<_>>().join(", ");
        paragraph(page, "  earlier  ", &all, look);
    }
    let began = format!("{} ({} ago)", date_and_clock(&last.began), ago(&last.began, now));
    paragraph(page, "  began    ", &began, look);
    paragraph(page, "  came to  ", &last.reached, look);
    page.line("");
    steps(page, last, boot, look);
    page.heading("Likely");
    if boot.findings.is_empty() {
        page.line("  nothing looks wrong");
    }
    for finding in &boot.findings {
        add_finding(page, finding, look);
    }
}

fn steps(page: &mut Page, last: &AttemptView, boot: &BootView, look: &Look) {
    let near = |step: &&StepView| step.time >= last.began;
    let mut all: Vec<&StepView> = last.steps.iter().chain(boot.around.iter().filter(near)).collect();
    all.sort_by(|a, b| a.time.cmp(&b.time));
    let mut before: Option<u64> = None;
    for step in all {
        let after = offset(step, last);
        if let Some(gap) = before.map(|before| after.saturating_sub(before)).filter(|gap| *gap >= GAP_MS) {
            page.line(&format!("{:INDENT$}({} of silence)", "", duration(gap / 1000)));
        }
        before = Some(step.until.as_deref().and_then(|until| since(until, last)).unwrap_or(after));
        page.line(&line(step, after, look));
    }
    if last.left_out > 0 {
        page.line(&format!("{:INDENT$}({} more steps were forgotten)", "", last.left_out));
    }
}

/// Milliseconds since the attempt began; what happened beside it counts by its time.
fn offset(step: &StepView, last: &AttemptView) -> u64 {
    since(&step.time, last).unwrap_or(step.after_ms)
}

fn since(time: &str, last: &AttemptView) -> Option<u64> {
    let moment = humantime::parse_rfc3339(time).ok()?;
    let began = humantime::parse_rfc3339(&last.began).ok()?;
    u64::try_from(moment.duration_since(began).ok()?.as_millis()).ok()
}

/// `+3.600  address  REQUEST (…) -> ACK …`; on a terminal the answer is on a line of its own where both are too long.
fn line(step: &StepView, after: u64, look: &Look) -> String {
    let time = format!("+{}.{:03}", after / 1000, after % 1000);
    let head = format!("  {time:>8}  {:<7}", step.stage.as_deref().unwrap_or("-"));
    let times = if step.times > 1 { format!(", {} times", step.times) } else { String::new() };
    let arrived = format!("{}{times}", step.arrived);
    let arrow = if step.answered.is_empty() { "" } else { "-> " };
    let whole = format!("{head}  {arrived} {arrow}{}", step.answered).trim_end().to_owned();
    match look.columns {
        Some(columns) if width(&whole) > columns && !arrow.is_empty() => {
            let first = fill(&format!("{head}  "), &arrived, columns);
            first + "\n" + &fill(&format!("{:INDENT$}{arrow}", ""), &step.answered, columns)
        }
        _ => whole,
    }
}

/// What, why and what to do.
pub(crate) fn add_finding(page: &mut Page, finding: &FindingRow, look: &Look) {
    paragraph(page, &format!("  {}: ", finding.certainty), &finding.what, look);
    paragraph(page, "    why: ", &finding.why, look);
    paragraph(page, "    fix: ", &finding.fix, look);
}

/// A text after its label; on a terminal, lines that are too long go on below the text.
pub(crate) fn paragraph(page: &mut Page, label: &str, text: &str, look: &Look) {
    match look.columns {
        Some(columns) => page.line(&fill(label, text, columns)),
        None => page.line(&format!("{label}{text}")),
    }
}
