//! `rackwright event …`

use std::collections::BTreeSet;

use fleet::view::EventRow;

use crate::cli::EventCommand;
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{clock, fit, or_dash};
use crate::{journal, watch};

pub(crate) async fn event(session: &mut Session, verb: EventCommand) -> Result<u8, Failure> {
    match verb {
        EventCommand::List { journal: true, limit, node } => {
            journal::list(session, limit, node.as_deref()).await
        }
        EventCommand::Verify => journal::verify(session).await,
        EventCommand::Head => journal::head(session).await,
        EventCommand::List { journal: false, limit, node } => {
            let answer = session.client.get(&events_path(0, limit, node.as_deref(), 0)).await?;
            session.show(&answer, |answer, look| Ok(render_events(answer.items()?, look)))?;
            Ok(exit::OK)
        }
        EventCommand::Watch { limit, node } => watch::events(session, limit, node).await,
    }
}

/// Events after a number; after 0 the newest. The daemon holds an empty answer back so many seconds.
pub(crate) fn events_path(after: u64, limit: u32, node: Option<&str>, wait_seconds: u64) -> String {
    let node = node.map(|node| format!("&node={}", segment(node))).unwrap_or_default();
    let wait = if wait_seconds > 0 { format!("&wait={wait_seconds}") } else { String::new() };
    format!("/v1/events?after={after}&limit={limit}{node}{wait}")
}

/// Events, oldest first.
pub(crate) fn render_events(mut rows: Vec<EventRow>, look: &Look) -> String {
    rows.sort_by_key(|row| row.seq);
    event_table(rows.into_iter()).render(look)
}

/// The date is in its own line of thought: a column only when the events are of more than one day.
pub(crate) fn event_table(rows: impl Iterator<Item = EventRow>) -> Table {
    let rows = rows.collect::<Vec<_>>();
    let days = rows.iter().filter_map(|row| row.time.get(..10)).collect::<BTreeSet<_>>();
    let time = |row: &EventRow| match row.time.get(5..10) {
        Some(day) if days.len() > 1 => format!("{day} {}", clock(&row.time)),
        _ => clock(&row.time),
    };
    let named = rows.iter().any(|row| !row.node.is_empty());
    let mut table = match named {
        true => Table::new(&["UTC", "NODE", "KIND", "WHAT"]),
        false => Table::new(&["UTC", "KIND", "WHAT"]),
    };
    for row in &rows {
        let (kind, text) = (Cell::state(&row.kind), Cell::from(row.text.as_str()));
        match named {
            true => table.row([time(row).into(), or_dash(&row.node).into(), kind, text]),
            false => table.row([time(row).into(), kind, text]),
        }
    }
    table
}

/// One event on one line of a stream, whose columns can't wait for what comes.
pub(crate) fn event_line(row: &EventRow, look: &Look) -> String {
    let line = format!("{}  {:<12}  {:<12}  {}", clock(&row.time), or_dash(&row.node), row.kind, row.text);
    look.columns.map_or_else(|| line.clone(), |columns| fit(&line, columns)) + "\n"
}
