//! `rackwright node …`: the verbs, and the list.

mod show;

use fleet::view::{NodeRow, NodeView};
use serde_json::{Value, json};

use crate::cli::{Choice, NodeCommand, RoleCommand, Turn};
use crate::client::{Answer, segment};
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, or_dash};
use crate::{adopt, apply, burn_in, erasure, plan, power, replace, rescue, serial, watch, why};

pub(crate) use show::{headline, render_node};

pub(crate) async fn node(session: &mut Session, verb: NodeCommand) -> Result<u8, Failure> {
    match verb {
        NodeCommand::List => list(session).await,
        NodeCommand::Show { node } => show_one(session, &node).await,
        NodeCommand::Watch { node } => watch::nodes(session, node).await,
        NodeCommand::Approve { node, name, role, moved, yes } => {
            let moved = moved.then_some(Value::Bool(true));
            let terms =
                given([("name", name.map(Value::from)), ("roles", unless_empty(&role)), ("moved", moved)]);
            approve(session, &node, &terms, yes).await
        }
        NodeCommand::Adopt { list: true, .. } => adopt::list(session).await,
        NodeCommand::Adopt { revoke: Some(id), .. } => adopt::revoke(session, &id).await,
        NodeCommand::Adopt { name, period, list: false, revoke: None } => {
            let body = given([("name", name.map(Value::from)), ("seconds", Some(json!(period.as_secs())))]);
            adopt::invite(session, &body).await
        }
        NodeCommand::Reject { node, why } => tell(session, &node, "reject", &json!({ "why": why })).await,
        NodeCommand::Rename { node, new } => tell(session, &node, "rename", &json!({ "name": new })).await,
        NodeCommand::Role(RoleCommand::Set { node, roles }) => {
            tell(session, &node, "roles", &json!({ "roles": roles })).await
        }
        NodeCommand::Plan { node, choice } => show_plan(session, &node, &choice).await,
        NodeCommand::Rebuild { node, choice, word, course } => {
            apply::rebuild(session, &node, &choice, word, course).await
        }
        NodeCommand::Power(verb) => power::power(session, verb).await,
        NodeCommand::Boot { node, device, waiting } => power::boot(session, &node, device, waiting).await,
        NodeCommand::Bmc(verb) => power::bmc(session, verb).await,
        NodeCommand::Console { node, read, take } => serial::console(session, &node, read, take).await,
        NodeCommand::Test(arguments) => burn_in::test(session, arguments).await,
        NodeCommand::Retire { node, keep } => erasure::retire(session, &node, &keep).await,
        NodeCommand::Erasures { of } => erasure::erasures(session, of.as_deref()).await,
        NodeCommand::Delete { node, confirm } => erasure::delete(session, &node, confirm).await,
        NodeCommand::Why { node } => why::why(session, &node).await,
        NodeCommand::Retry { node } => tell(session, &node, "retry", &json!({})).await,
        NodeCommand::Replace { old, new, force, confirm } => {
            replace::replace(session, (&old, &new), force, confirm).await
        }
        NodeCommand::Hold { node, why } => tell(session, &node, "hold", &json!({ "why": why })).await,
        NodeCommand::Release { node } => tell(session, &node, "release", &json!({})).await,
        NodeCommand::Rescue { node, end: true, .. } => tell(session, &node, "rescue-end", &json!({})).await,
        NodeCommand::Rescue { node, ssh_key, word, end: false } => {
            rescue::rescue(session, &node, ssh_key.as_deref(), word).await
        }
        NodeCommand::Service { node, turn: Turn::On, why } => {
            tell(session, &node, "service", &given([("why", why.map(Value::from))])).await
        }
        NodeCommand::Service { node, turn: Turn::Off, .. } => {
            tell(session, &node, "service-end", &json!({})).await
        }
        NodeCommand::SetAddress { node, address, mac } => {
            let body = given([("address", Some(json!(address))), ("mac", mac.map(Value::from))]);
            tell(session, &node, "address", &body).await
        }
    }
}

async fn show_one(session: &mut Session, node: &str) -> Result<u8, Failure> {
    let answer = session.client.get(&path(node, "")).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_node(&answer.item::<NodeView>()?, look, now)))?;
    Ok(exit::OK)
}

async fn show_plan(session: &mut Session, node: &str, choice: &Choice) -> Result<u8, Failure> {
    let answer = make_plan(session, node, choice).await?;
    session.show(&answer, |answer, _| Ok(plan::render_plan(&answer.item()?)))?;
    Ok(exit::OK)
}

/// The path of a node, or of something that is done to it.
pub(crate) fn path(node: &str, verb: &str) -> String {
    let slash = if verb.is_empty() { "" } else { "/" };
    format!("/v1/nodes/{}{slash}{verb}", segment(node))
}

/// An object of what was given; what was not is left out, and the daemon decides.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn unless_empty(words: &[String]) -> Option<Value> {
    (!words.is_empty()).then(|| json!(words))
}

async fn list(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/nodes").await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_nodes(&answer.items::<NodeRow>()?, look, now)))?;
    Ok(exit::OK)
}

async fn tell(session: &mut Session, node: &str, verb: &str, body: &Value) -> Result<u8, Failure> {
    let answer = session.client.post(&path(node, verb), body).await?;
    show_row(session, &answer)
}

pub(crate) fn show_row(session: &mut Session, answer: &Answer) -> Result<u8, Failure> {
    let now = session.now();
    session.show(answer, |answer, look| Ok(render_nodes(&[answer.item::<NodeRow>()?], look, now)))?;
    Ok(exit::OK)
}

/// Makes a plan; nothing is changed by it.
pub(crate) async fn make_plan(session: &Session, node: &str, choice: &Choice) -> Result<Answer, Failure> {
    let body = given([
        ("image", choice.image.clone().map(Value::from)),
        ("disk", choice.disk.clone().map(Value::from)),
        ("data", choice.data_disk.clone().map(Value::from)),
        ("roles", unless_empty(&choice.role)),
        ("erase", unless_empty(&choice.erase)),
        ("verify", choice.verify.clone().map(Value::from)),
    ]);
    session.client.post(&path(node, "plan"), &body).await
}

/// Approves the code that the person saw, not the node it stood beside: another key that came meanwhile has another
/// code, and is refused.
async fn approve(session: &mut Session, node: &str, terms: &Value, yes: bool) -> Result<u8, Failure> {
    let seen = session.client.get(&path(node, "")).await?.item::<NodeView>()?.row;
    let code = seen.code.as_ref().map(ToString::to_string);
    if let Some(code) = &code {
        let board = format!("{}  {}  {}  {}", seen.name, seen.mac, seen.address, seen.hardware);
        session.note(&format!("approving code {code}\n  {board}"));
        if session.terminal.asks && !yes && !asked(session, code)? {
            return Err(Failure::Unconfirmed {
                what: format!("{} is not let in", seen.name),
                next: format!(
                    "if its screen shows another code, keep it out: rackwright node reject {}",
                    seen.name
                ),
            });
        }
    }
    let answer = session.client.post(&path(code.as_deref().unwrap_or(node), "approve"), terms).await?;
    show_row(session, &answer)
}

fn asked(session: &mut Session, code: &str) -> Result<bool, Failure> {
    let answer = session.ask(&format!("Does the server's own screen show {code}? [y/N] "))?;
    Ok(answer.is_some_and(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
}

/// The list of nodes; 80 columns hold everything but long reasons.
pub(crate) fn render_nodes(rows: &[NodeRow], look: &Look, now: u64) -> String {
    node_table(rows.iter(), now).render(look)
}

pub(crate) fn node_table<'a>(rows: impl Iterator<Item = &'a NodeRow>, now: u64) -> Table {
    let mut table = Table::new(&["NAME", "STATE", "FOR", "ADDRESS", "ROLES", "DETAIL"]);
    for row in rows {
        table.row([
            row.name.clone().into(),
            Cell::state(&row.state),
            ago(&row.since, now).into(),
            row.address.to_string().into(),
            or_dash(&row.roles.join(",")).into(),
            detail(row).into(),
        ]);
    }
    table
}

/// What matters most about a node now, in a few words.
pub(crate) fn detail(row: &NodeRow) -> String {
    let mut words = Vec::new();
    if let Some(why) = &row.held {
        return format!("held: {why}");
    }
    if let Some(code) = &row.code {
        words.push(format!("code {code}"));
        if row.evidence == "tpm" {
            words.push("tpm".to_owned());
        }
    }
    if let Some(percent) = row.percent {
        words.push(format!("{percent} %"));
    }
    if let (Some(up), Some(all)) = (row.units_up, row.units) {
        words.push(format!("{up}/{all} up"));
    }
    if !matches!(row.health.as_str(), "" | "ok" | "attention") {
        words.push(row.health.clone());
    }
    let busy = row.percent.is_some() || row.code.is_some();
    match &row.waiting {
        Some(waiting) if !busy => words.push(match waiting.strip_prefix("you: ") {
            // What is safe to do about it is told by `why`.
            Some(cause) => cause.split(" (safe now").next().unwrap_or(cause).to_owned(),
            None => format!("waits for {waiting}"),
        }),
        _ => {}
    }
    words.join(", ")
}
