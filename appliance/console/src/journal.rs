//! `rackwright event list --journal`, `event verify` and `event head`

use fleet::view::journal::{JournalCheck, JournalHead, JournalRow};
use serde_json::Value;

use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{date_and_clock, or_dash};

/// The newest records, oldest of them first.
pub(crate) async fn list(session: &mut Session, limit: u32, node: Option<&str>) -> Result<u8, Failure> {
    let node = node.map(|node| format!("&node={}", segment(node))).unwrap_or_default();
    let answer = session.client.get(&format!("/v1/journal?limit={limit}{node}")).await?;
    session.show(&answer, |answer, look| Ok(render(answer.items()?, look)))?;
    Ok(exit::OK)
}

/// Walks the chain; 9 when it is not what was written.
pub(crate) async fn verify(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get_patiently("/v1/journal/check").await?;
    let check = answer.item::<JournalCheck>()?;
    session.show(&answer, |_, _| Ok(verdict(&check)))?;
    Ok(if check.sound { exit::OK } else { exit::UNHEALTHY })
}

/// The newest signed head, one line to be kept elsewhere.
pub(crate) async fn head(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/journal/head").await?;
    let found = answer.item::<JournalHead>()?;
    session.show(&answer, |_, _| {
        let head = found.head.as_ref().map_or_else(|| "nothing was signed yet".to_owned(), Value::to_string);
        Ok(format!("{head}\nkey {}\n", found.key))
    })?;
    Ok(exit::OK)
}

/// What a check found, in a few lines.
pub(crate) fn verdict(check: &JournalCheck) -> String {
    let JournalCheck { records, heads, signed, .. } = check;
    match &check.fault {
        None => format!(
            "the journal is whole: {records} records, {heads} signed heads, the last one of record {signed}\n"
        ),
        Some(fault) => format!(
            "THE JOURNAL IS NOT WHAT WAS WRITTEN: {} ({})\n{records} records before that are whole\n\
             next: keep the data base as it is (cp -a), and compare it with the last backup:\n      \
             rackwright backup verify FILE\n",
            fault.why, fault.kind
        ),
    }
}

fn render(rows: Vec<JournalRow>, look: &Look) -> String {
    let mut table = Table::new(&["SEQ", "UTC", "WHO", "KIND", "NODE", "WHAT"]);
    for row in &rows {
        table.row([
            row.seq.to_string().into(),
            date_and_clock(&row.time).into(),
            who(&row.actor).into(),
            row.kind.as_str().into(),
            or_dash(&row.node_name).into(),
            what(row).into(),
        ]);
    }
    table.render(look)
}

/// `root`, `root (ann)`, `agent`, `controller`.
fn who(actor: &Value) -> String {
    let word = |name: &str| actor.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| actor.get(name).and_then(Value::as_u64).map(|number| number.to_string());
    if word("is").as_deref() != Some("operator") {
        return word("is").unwrap_or_default();
    }
    let user = word("user").or_else(|| number("uid")).unwrap_or_default();
    match word("login_user").or_else(|| number("login")) {
        Some(login) => format!("{user} ({login})"),
        None => user,
    }
}

/// What was asked for, without what goes without saying; all else as it is kept.
fn what(row: &JournalRow) -> String {
    let Some(route) = row.body.get("route").and_then(Value::as_str) else { return row.body.to_string() };
    let route = route.trim_start_matches("/v1/");
    let arguments =
        row.body.get("arguments").filter(|value| value.as_object().is_some_and(|map| !map.is_empty()));
    let arguments = arguments.map(|value| format!(" {value}")).unwrap_or_default();
    let why = row.body.get("why").and_then(Value::as_str).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{route}{arguments}{why}")
}
