//! `rackwright rebuild` and `rackwright rollout …`: many nodes, a few at a time, seen before anything is touched.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::view::{RolloutStepRow, RolloutView};
use serde_json::{Value, json};

use crate::cli::{RebuildArgs, RolloutCommand, Start};
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::follow;
use crate::session::Session;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, clean_value, disk_bytes};

/// Plans, shows, asks, begins and watches.
pub(crate) async fn rebuild(session: &mut Session, arguments: RebuildArgs) -> Result<u8, Failure> {
    let RebuildArgs { nodes, role, image, canary, max_unavailable, stop_after, force, plan_only, begin } =
        arguments;
    if !plan_only && begin.confirm.is_none() && !session.terminal.asks {
        // Before plans are made: they would withdraw others for nothing.
        return Err(Failure::Unconfirmed {
            what: "rebuilding erases the system disks of all these nodes, and nobody can be asked".to_owned(),
            next: "see what would be erased: the same with --plan-only".to_owned(),
        });
    }
    let body = json!({"role": role, "nodes": nodes, "image": image, "canaries": canary,
        "max_unavailable": max_unavailable, "stop_after": stop_after, "force": force});
    let answer = session.client.post("/v1/rollouts", &body).await?;
    let made = answer.item::<RolloutView>()?;
    if plan_only {
        show(session, &answer)?;
        return Ok(exit::OK);
    }
    start(session, &made, begin).await
}

pub(crate) async fn rollout(session: &mut Session, verb: RolloutCommand) -> Result<u8, Failure> {
    let change = match verb {
        RolloutCommand::List => {
            let answer = session.client.get("/v1/rollouts").await?;
            let now = session.now();
            session.show(&answer, |answer, look| Ok(render_rollouts(&answer.items()?, look, now)))?;
            return Ok(exit::OK);
        }
        RolloutCommand::Show { rollout } => {
            let answer = session.client.get(&path(&rollout)).await?;
            show(session, &answer)?;
            return Ok(exit::OK);
        }
        RolloutCommand::Begin { rollout, begin } => {
            let made = session.client.get(&path(&rollout)).await?.item::<RolloutView>()?;
            return start(session, &made, begin).await;
        }
        RolloutCommand::Watch { rollout, timeout } => {
            return follow_it(session, &rollout, timeout).await;
        }
        RolloutCommand::Stop { rollout } => format!("{}/stop", path(&rollout)),
        RolloutCommand::Resume { rollout } => format!("{}/resume", path(&rollout)),
        RolloutCommand::Cancel { rollout } => format!("{}/cancel", path(&rollout)),
    };
    let answer = session.client.post(&change, &json!({})).await?;
    show(session, &answer)?;
    Ok(exit::OK)
}

fn path(rollout: &str) -> String {
    format!("/v1/rollouts/{}", segment(rollout))
}

fn show(session: &mut Session, answer: &crate::client::Answer) -> Result<(), Failure> {
    session.show(answer, |answer, look| Ok(render_rollout(&answer.item()?, look)))
}

/// Shows what is decided to whoever decides it now, and begins.
async fn start(session: &mut Session, made: &RolloutView, begin: Start) -> Result<u8, Failure> {
    let phrase = confirmed(session, made, begin.confirm)?;
    let begins = format!("{}/begin", path(&made.id));
    let answer = session.client.post(&begins, &json!({ "confirm": phrase })).await?;
    if begin.no_wait {
        session.note(&format!("rollout {0} has begun; rackwright rollout watch {0}", made.id));
        session.show(&answer, |_, _| Ok(format!("{}\n", made.id)))?;
        return Ok(exit::OK);
    }
    session.note(&format!("rollout {} has begun; Ctrl-C leaves it to itself", made.id));
    follow_it(session, &made.id, begin.timeout).await
}

/// How many nodes and of what, typed now or given by `--confirm`; anything else and nothing happens.
fn confirmed(session: &mut Session, made: &RolloutView, given: Option<String>) -> Result<String, Failure> {
    let phrase = &made.confirm;
    let typed = match given {
        Some(typed) => typed,
        None if session.terminal.asks => {
            let page = render_steps(made, &session.look);
            session.note(&page);
            let question = format!("This erases the system disks of {phrase}. Type {phrase:?} to continue: ");
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if typed.trim() == phrase {
        return Ok(typed.trim().to_owned());
    }
    Err(Failure::Unconfirmed {
        what: format!("{typed:?} is not {phrase:?}; nothing is erased, and the plans are still there"),
        next: format!("rackwright rollout begin {} --confirm '{phrase}'", made.id),
    })
}

/// Stays with it until it ends, the time is over or the person presses Ctrl-C; none of these touches it.
async fn follow_it(session: &mut Session, id: &str, timeout: Option<Duration>) -> Result<u8, Failure> {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            session.note(&format!("rollout {id} goes on; rackwright rollout watch {id}"));
            Ok(exit::INTERRUPTED)
        }
        ended = watch(session, id, timeout) => ended,
    }
}

async fn watch(session: &mut Session, id: &str, timeout: Option<Duration>) -> Result<u8, Failure> {
    let began = session.elapsed_ms();
    let mut told = Told::default();
    let mut last = Value::Null;
    loop {
        let answer = follow::look(session, &path(id)).await?;
        let value = clean_value(answer.value()?).get("item").cloned().unwrap_or_default();
        if session.json() && value != last {
            session.print_line(&value)?;
            last = value;
        }
        let row = answer.item::<RolloutView>()?;
        told.news(&row).iter().for_each(|line| session.note(line));
        if let Some(end) = end(&row) {
            return end;
        }
        let waited = Duration::from_millis(session.elapsed_ms().saturating_sub(began));
        if timeout.is_some_and(|limit| waited >= limit) {
            return Err(Failure::Rolling { rollout: row.id, seconds: waited.as_secs() });
        }
        tokio::time::sleep(session.pause).await;
    }
}

/// What was said already.
#[derive(Default)]
struct Told {
    states: BTreeMap<String, String>,
    note: Option<String>,
}

impl Told {
    /// The lines that are to be said now.
    fn news(&mut self, row: &RolloutView) -> Vec<String> {
        let mut lines = Vec::new();
        let over =
            row.steps.iter().filter(|step| step.state != "waiting" && step.state != "underway").count();
        for step in &row.steps {
            let known = self.states.insert(step.plan.clone(), step.state.clone());
            let is_news = known.as_ref() != Some(&step.state) && step.state != "waiting";
            // What was over before anybody looked is in the count.
            if is_news && (known.is_some() || step.state == "underway") {
                lines.push(format!("{}  {}  ({over} of {} over)", step.node, said(step), row.steps.len()));
            }
        }
        if row.state == "running" && self.note != row.note {
            lines.extend(row.note.iter().map(|note| format!("  {note}")));
        }
        self.note.clone_from(&row.note);
        lines
    }
}

fn said(step: &RolloutStepRow) -> String {
    let detail = detail(step);
    if detail.is_empty() { step.state.clone() } else { format!("{}: {detail}", step.state) }
}

/// How it ended, when it has.
fn end(row: &RolloutView) -> Option<Result<u8, Failure>> {
    let bad = row.steps.iter().filter(|step| ["failed", "dropped"].contains(&step.state.as_str())).count();
    let total = row.steps.len();
    let (what, exit) = match row.state.as_str() {
        "done" if bad == 0 => return Some(Ok(exit::OK)),
        "done" => (format!("{bad} of {total} nodes did not come through"), exit::PARTIAL),
        "stopped" => {
            let why = row.note.as_deref().unwrap_or("nobody says why");
            (format!("it has stopped: {why}"), exit::PARTIAL)
        }
        "withdrawn" => (row.note.clone().unwrap_or_else(|| "it was cancelled".to_owned()), exit::CONFLICT),
        "open" => ("it has not begun".to_owned(), exit::CONFLICT),
        _ => return None,
    };
    Some(Err(Failure::Rolled { rollout: row.id.clone(), what, exit }))
}

/// The list of rollouts.
pub(crate) fn render_rollouts(rollouts: &[RolloutView], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["ROLLOUT", "STATE", "AGE", "OF", "DONE", "DETAIL"]);
    for row in rollouts {
        let done = row.steps.iter().filter(|step| step.state == "done").count();
        table.row([
            row.id.clone().into(),
            Cell::state(&row.state),
            ago(&row.made, now).into(),
            row.group.clone().into(),
            format!("{done}/{}", row.steps.len()).into(),
            row.note.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

/// A rollout, and what comes next.
pub(crate) fn render_rollout(row: &RolloutView, look: &Look) -> String {
    let mut page = render_steps(row, look);
    if let Some(next) = next(row) {
        page.push_str(&format!("\nNext: {next}\n"));
    }
    page
}

fn next(row: &RolloutView) -> Option<String> {
    let id = &row.id;
    match row.state.as_str() {
        "open" => Some(format!("rackwright rollout begin {id}")),
        "running" => Some(format!("rackwright rollout watch {id}")),
        "stopped" => {
            let failed = row.steps.iter().find(|step| step.state == "failed");
            let look = failed.map(|step| format!("rackwright node why {}; then ", step.node));
            Some(format!("{}rackwright rollout resume {id}", look.unwrap_or_default()))
        }
        _ => None,
    }
}

/// Each node, and by which rules: for where the person is about to be asked too.
fn render_steps(row: &RolloutView, look: &Look) -> String {
    let mut page = Page::default();
    page.line(&format!("Rollout {}: rebuild {} ({})", row.id, row.confirm, row.state));
    page.line("");
    let mut table = Table::new(&["NODE", "STATE", "IMAGE", "ERASES", "DETAIL"]);
    for step in &row.steps {
        table.row([
            step.node.clone().into(),
            Cell::state(&step.state),
            step.image.clone().into(),
            format!("{} {}", step.disk, disk_bytes(step.disk_bytes)).into(),
            detail(step).into(),
        ]);
    }
    page.table(&table, look);
    page.line("");
    if row.state == "open" {
        page.line("- THE SYSTEM DISKS OF ALL THESE NODES WILL BE ERASED");
        page.line("= names, ids, addresses and SSH host keys are kept");
    }
    page.line(&format!(
        "At most {} of {} down at a time; stops after {} failed, or one canary.",
        row.max_unavailable, row.group, row.stop_after
    ));
    for skip in &row.skips {
        page.line(&format!("Left alone: {}: {}", skip.node, skip.why));
    }
    if let Some(note) = &row.note {
        let mut letters = note.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        page.line(&format!("{first}{}", letters.as_str()));
    }
    page.into_text()
}

fn detail(step: &RolloutStepRow) -> String {
    let canary = step.canary.then(|| "canary".to_owned());
    let job = step.job.as_ref().filter(|_| step.state == "underway").map(|job| format!("job {job}"));
    canary.into_iter().chain(job).chain(step.note.clone()).collect::<Vec<_>>().join(", ")
}
