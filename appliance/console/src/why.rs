//! `rackwright node why`: the chain of facts, what is waited for, until when, and the next command.

use fleet::view::{EventRow, NodeRow, Why};

use crate::boot;
use crate::event::event_table;
use crate::failure::{Failure, exit};
use crate::node::{headline, path};
use crate::session::Session;
use crate::show::Page;
use crate::terminal::Look;
use crate::text::{date_and_clock, duration, seconds};

pub(crate) async fn why(session: &mut Session, node: &str) -> Result<u8, Failure> {
    let answer = match session.client.get(&path(node, "why")).await {
        // A machine that is no node yet may have tried to boot all the same.
        Err(Failure::Refused { error, exit: exit::NOT_FOUND }) if is_mac(node) => {
            return match boot::card(session, node).await {
                Err(Failure::Refused { exit: exit::NOT_FOUND, .. }) => {
                    Err(Failure::Refused { error, exit: exit::NOT_FOUND })
                }
                told => told,
            };
        }
        answer => answer?,
    };
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_why(&answer.item::<Why>()?, look, now)))?;
    Ok(exit::OK)
}

/// Whether a word can only be a MAC, in one of the four spellings.
fn is_mac(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_hexdigit).count();
    digits == 12 && word.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '-' | '.'))
}

/// Why a node is where it is.
pub(crate) fn render_why(why: &Why, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    page.line(&headline(&why.node, now));
    page.pairs(&[
        ("waits for", why.waiting.clone().unwrap_or_else(|| "nothing".to_owned())),
        ("until", until(why, now)),
    ]);
    page.heading("How it came here");
    if why.facts.is_empty() {
        page.line("  (nothing is recorded)");
    } else {
        page.table(&event_table(why.facts.iter().map(without_node)), look);
    }
    if let Some(boot) = &why.boot {
        boot::add(&mut page, boot, look, now);
    }
    page.next(next_command(&why.node));
    page.into_text()
}

fn without_node(event: &EventRow) -> EventRow {
    EventRow { node: String::new(), ..event.clone() }
}

fn until(why: &Why, now: u64) -> String {
    match (&why.until, &why.waiting) {
        (Some(until), _) => match seconds(until) {
            Some(at) if at > now => format!("{} (in {})", date_and_clock(until), duration(at - now)),
            _ => format!("{} (that is over)", date_and_clock(until)),
        },
        (None, Some(_)) => "it may wait for ever".to_owned(),
        (None, None) => String::new(),
    }
}

/// What a person would type now; nothing when there is nothing to do but wait or be glad.
pub(crate) fn next_command(row: &NodeRow) -> Option<String> {
    let name = &row.name;
    if row.code.is_some() {
        return Some(format!("compare the code, then: rackwright node approve {name}"));
    }
    // The daemon knows the plan's id: its own words go first.
    if let Some(command) = row.waiting.as_deref().and_then(command_in) {
        return Some(command.to_owned());
    }
    match row.state.as_str() {
        "ready" => Some(format!("rackwright node plan {name}")),
        "planned" => Some("rackwright plan list".to_owned()),
        "retired" => Some(format!("rackwright node erasures {name}")),
        "inspecting" | "testing" | "imaging" | "verifying" | "booting" | "enrolling" | "draining"
        | "retiring" | "returning" => Some(format!("rackwright node watch {name}")),
        "attention" => Some(format!("when the cause is gone: rackwright node retry {name}")),
        "active" if row.health == "degraded" => Some(format!("rackwright service list --node {name}")),
        "active" if row.health == "silent" => Some(format!("look at the screen of {name}")),
        _ => None,
    }
}

/// The command that a reason ends with: `… (rackwright apply p-8f31)`.
fn command_in(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("(rackwright ")?;
    let (arguments, _) = rest.split_once(')')?;
    let start = reason.len() - rest.len() - "rackwright ".len();
    reason.get(start..start + "rackwright ".len() + arguments.len())
}
