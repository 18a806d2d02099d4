//! `rackwright node watch` and `rackwright event watch`: endless, until Ctrl-C.

use std::collections::BTreeMap;

use fleet::view::{EventRow, NodeRow};
use serde_json::Value;

use crate::client::Answer;
use crate::event::{event_line, events_path};
use crate::failure::{Failure, exit};
use crate::follow::look_within;
use crate::node::detail;
use crate::session::Session;
use crate::text::{clock, fit, or_dash};

/// Seconds for which the daemon may hold an answer back.
const WAIT_SECONDS: u64 = 20;
/// The same where something is looked at that moves without events: percent of a job.
const GLANCE_SECONDS: u64 = 3;
/// Events fetched at once.
const BATCH: u32 = 200;

/// Ctrl-C is the way out, and says so.
async fn until_interrupted<F>(watching: F) -> Result<u8, Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
        ended = watching => ended.map(|()| exit::OK),
    }
}

/// Events as they happen, after a few old ones.
pub(crate) async fn events(session: &mut Session, limit: u32, node: Option<String>) -> Result<u8, Failure> {
    until_interrupted(watch_events(session, limit, node.as_deref())).await
}

async fn watch_events(session: &mut Session, limit: u32, node: Option<&str>) -> Result<(), Failure> {
    let newest = session.client.get(&events_path(0, limit.max(1), node, 0)).await?;
    let mut seen = if limit > 0 { print_events(session, &newest, 0)? } else { last_of(&newest)? };
    loop {
        let path = events_path(seen, BATCH, node, WAIT_SECONDS);
        let answer = look_within(session, &path, WAIT_SECONDS).await?;
        let last = print_events(session, &answer, seen)?;
        if last == seen {
            tokio::time::sleep(session.pause).await;
        }
        seen = last;
    }
}

fn last_of(answer: &Answer) -> Result<u64, Failure> {
    Ok(answer.items::<EventRow>()?.iter().map(|row| row.seq).max().unwrap_or(0))
}

/// Prints what is newer than `seen`; gives the newest number.
fn print_events(session: &mut Session, answer: &Answer, seen: u64) -> Result<u64, Failure> {
    let mut rows = answer.items::<EventRow>()?;
    rows.sort_by_key(|row| row.seq);
    for row in rows.iter().filter(|row| row.seq > seen) {
        print_row(session, row, |session| event_line(row, &session.look))?;
    }
    Ok(rows.last().map_or(seen, |row| row.seq.max(seen)))
}

fn print_row(
    session: &mut Session,
    row: &impl serde::Serialize,
    render: impl FnOnce(&Session) -> String,
) -> Result<(), Failure> {
    if session.json() {
        return session.print_line(&serde_json::to_value(row).unwrap_or(Value::Null));
    }
    let line = render(session);
    session.print(&line)
}

/// Nodes whenever something about them changes.
pub(crate) async fn nodes(session: &mut Session, node: Option<String>) -> Result<u8, Failure> {
    until_interrupted(watch_nodes(session, node.as_deref())).await
}

async fn watch_nodes(session: &mut Session, node: Option<&str>) -> Result<(), Failure> {
    let mut id = None;
    if let Some(node) = node {
        // Once, so that a name that is not there is told, and one that changes is followed.
        let row =
            session.client.get(&crate::node::path(node, "")).await?.item::<fleet::view::NodeView>()?.row;
        id = Some(row.id);
    }
    let mut known = BTreeMap::new();
    let mut seen = last_of(&session.client.get(&events_path(0, 1, None, 0)).await?)?;
    loop {
        let answer = look_within(session, "/v1/nodes", 0).await?;
        for row in answer.items::<NodeRow>()? {
            if id.as_ref().is_none_or(|id| *id == row.id) {
                tell_change(session, &mut known, &row)?;
            }
        }
        let path = events_path(seen, BATCH, None, GLANCE_SECONDS);
        let events = look_within(session, &path, GLANCE_SECONDS).await?;
        let last = last_of(&events)?.max(seen);
        if last == seen {
            tokio::time::sleep(session.pause).await;
        }
        seen = last;
    }
}

fn tell_change(
    session: &mut Session,
    known: &mut BTreeMap<String, NodeRow>,
    row: &NodeRow,
) -> Result<(), Failure> {
    let before = known.insert(row.id.clone(), row.clone());
    if before.as_ref().is_some_and(|before| face(before) == face(row)) {
        return Ok(());
    }
    let since = row.since.clone();
    print_row(session, row, |session| {
        let line = node_line(before.as_ref(), row, &since);
        session.look.columns.map_or_else(|| line.clone(), |columns| fit(&line, columns)) + "\n"
    })
}

/// What is worth a line when it changes: every tenth percent, not every one.
fn face(row: &NodeRow) -> impl PartialEq {
    let tenth = row.percent.map(|percent| percent / 10);
    let code = row.code.as_ref().map(ToString::to_string);
    (
        row.state.clone(),
        row.name.clone(),
        row.health.clone(),
        row.waiting.clone(),
        code,
        tenth,
        row.units_up,
        row.address,
    )
}

fn node_line(before: Option<&NodeRow>, row: &NodeRow, time: &str) -> String {
    let state = match before {
        Some(before) if before.state != row.state => format!("{} -> {}", before.state, row.state),
        _ => row.state.clone(),
    };
    let line = format!("{}  {:<12}  {state:<24}  {}", clock(time), or_dash(&row.name), detail(row));
    line.trim_end().to_owned()
}
