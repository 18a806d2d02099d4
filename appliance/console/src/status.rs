//! `rackwright status`: everything on one screen, the most urgent first.

use std::time::Duration;

use fleet::view::{ListenerRow, NodeRow, Status, StorageRow};

use crate::event::event_table;
use crate::failure::{Failure, exit};
use crate::follow::look;
use crate::job::job_line;
use crate::node::node_table;
use crate::progress::percent;
use crate::session::Session;
use crate::show::Page;
use crate::terminal::{Look, Tone};
use crate::text::{date_and_clock, fit, or_dash, seconds, width};

/// Between two drawings.
const REDRAW: Duration = Duration::from_secs(2);
/// Events on the screen.
const EVENTS: usize = 5;
/// Jobs on the screen; more are a number.
const JOBS: usize = 4;

pub(crate) async fn status(session: &mut Session, watch: bool, check: bool) -> Result<u8, Failure> {
    if watch {
        return tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
            ended = redraw(session) => ended,
        };
    }
    let answer = session.client.get("/v1/status").await?;
    let status = answer.item::<Status>()?;
    session.show(&answer, |_, look| Ok(render_status(&status, look)))?;
    let unhealthy = check && status.health == "attention";
    Ok(if unhealthy { exit::UNHEALTHY } else { exit::OK })
}

async fn redraw(session: &mut Session) -> Result<u8, Failure> {
    loop {
        let answer = look(session, "/v1/status").await?;
        if session.json() {
            session.print_line(&answer.value()?)?;
        } else {
            let text = render_status(&answer.item()?, &session.look);
            // Over the old picture, then what is left of it: a cleared screen would flicker on a serial line.
            let picture = match session.terminal.out_tty {
                true => format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")),
                false => format!("{text}\n"),
            };
            session.print(&picture)?;
        }
        tokio::time::sleep(REDRAW).await;
    }
}

/// The screen. On a terminal it is never longer than that is high: nodes give way, those with trouble last.
pub(crate) fn render_status(status: &Status, look: &Look) -> String {
    let now = seconds(&status.time).unwrap_or(0);
    let cut = |line: String| look.columns.map_or_else(|| line.clone(), |columns| fit(&line, columns));
    let mut page = Page::default();
    let mut health = status.health.to_uppercase();
    if look.colour {
        health = Tone::of(&status.health).paint(&health);
    }
    let (time, version) = (date_and_clock(&status.time), &status.version);
    page.line(&format!("{}  {health}  {time}  rackwright {version}", or_dash(&status.site)));
    page.line(&cut(listeners(&status.listeners)));
    problems(&status.listeners).for_each(|line| page.line(&cut(line)));
    storage(status.storage.as_ref(), look).iter().for_each(|line| page.line(line));
    status.clock.iter().flat_map(|problem| wrapped(problem, look)).for_each(|line| page.line(&line));
    if let Some((path, problem)) =
        status.copy.as_ref().and_then(|copy| Some((&copy.path, copy.problem.as_ref()?)))
    {
        page.line(&cut(format!("  copy {path}: {problem}")));
    }
    if let Some(store) = &status.images {
        store.problems.iter().for_each(|problem| page.line(&cut(format!("  {problem}"))));
        if let (true, Some(image)) = (store.scrub.running, &store.scrub.image) {
            let percent = percent(store.scrub.done_bytes, store.scrub.total_bytes);
            page.line(&cut(format!("reading images through: {image}, {percent} % of all")));
        }
    }

    let tail = tail(status, look);
    let used = page.height() + tail.lines().count() + 1;
    let room = look.rows.map(|rows| rows.saturating_sub(used + 1));
    page.line("");
    nodes(status, now, room, look).lines().for_each(|line| page.line(line));
    page.into_text() + &tail
}

/// What stands below the nodes.
fn tail(status: &Status, look: &Look) -> String {
    let cut = |line: String| look.columns.map_or_else(|| line.clone(), |columns| fit(&line, columns));
    let mut page = Page::default();
    if !status.jobs.is_empty() {
        page.line("");
        status.jobs.iter().take(JOBS).for_each(|job| page.line(&cut(job_line(job))));
        let more = status.jobs.len().saturating_sub(JOBS);
        if more > 0 {
            page.line(&format!("and {more} more: rackwright job list"));
        }
    }
    if !status.events.is_empty() {
        page.line("");
        let mut events = status.events.clone();
        events.sort_by_key(|event| event.seq);
        let last = events.split_off(events.len().saturating_sub(EVENTS));
        let bare = Look { header: false, ..*look };
        event_table(last.into_iter()).render(&bare).lines().for_each(|line| page.line(line));
    }
    page.line("");
    page.line(&cut(format!("Next: {}", status.next.as_deref().unwrap_or("nothing to do"))));
    page.into_text()
}

fn listeners(rows: &[ListenerRow]) -> String {
    let each = rows.iter().map(|row| format!("{} {}", row.name, row.answered));
    match rows {
        [] => "no listeners".to_owned(),
        _ => format!("answered: {}", each.collect::<Vec<_>>().join("  ")),
    }
}

fn problems(rows: &[ListenerRow]) -> impl Iterator<Item = String> {
    rows.iter().filter_map(|row| Some(format!("  {} {}: {}", row.name, row.address, row.problem.as_ref()?)))
}

/// The disk, when something is wrong with it; in several lines rather than cut, for it stops everything else.
fn storage(disk: Option<&StorageRow>, look: &Look) -> Vec<String> {
    let Some((path, problem)) = disk.and_then(|disk| Some((&disk.path, disk.problem.as_ref()?))) else {
        return Vec::new();
    };
    wrapped(&format!("disk {path}: {problem}"), look)
}

fn wrapped(text: &str, look: &Look) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if look.columns.is_none_or(|columns| width(line) + width(word) < columns) => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("  {word}")),
        }
    }
    lines
}

fn nodes(status: &Status, now: u64, room: Option<usize>, look: &Look) -> String {
    let mut rows = status.nodes.iter().collect::<Vec<_>>();
    if rows.is_empty() {
        return "no nodes yet\n".to_owned();
    }
    // The head takes one line, the number of those left out another.
    let head = usize::from(look.header);
    let fits = room.map_or(rows.len(), |room| room.saturating_sub(head).max(2));
    let mut more = 0;
    if rows.len() > fits {
        rows.sort_by_key(|row| (urgency(row), row.name.clone()));
        more = rows.split_off(fits.saturating_sub(1)).len();
    }
    let mut text = node_table(rows.into_iter(), now).render(look);
    if more > 0 {
        text.push_str(&format!("and {more} more: rackwright node list\n"));
    }
    text
}

/// Who gives way last when there are more nodes than lines.
fn urgency(row: &NodeRow) -> u8 {
    match (row.state.as_str(), row.health.as_str()) {
        ("attention", _) => 0,
        _ if row.code.is_some() => 1,
        (_, "silent" | "degraded") => 2,
        ("active" | "rejected", _) => 4,
        _ => 3,
    }
}
