//! `rackwright node adopt`: a server that runs Debian is invited, with its disks as they are.

use fleet::view::{InvitationRow, InvitedView};
use serde_json::{Value, json};

use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, date_and_clock, or_dash};

/// The line alone goes to the standard output: a script may take it from there. What to do with it is said beside.
pub(crate) async fn invite(session: &mut Session, body: &Value) -> Result<u8, Failure> {
    let answer = session.client.post("/v1/invitations", body).await?;
    let invited = answer.item::<InvitedView>()?;
    session.note(&format!(
        "paste this on the server, as root; it is good for one server, until {}, and whoever has it can ask to be let in:",
        date_and_clock(&invited.until)
    ));
    session.show(&answer, |answer, _| Ok(render_lines(&answer.item()?)))?;
    session.note(&format!(
        "then compare the code that is shown there, and let it in: rackwright node approve CODE --role ROLE\ntaken back by: rackwright \
         node adopt --revoke {}",
        invited.id
    ));
    Ok(exit::OK)
}

/// One line for each network, each after its name where there are several.
pub(crate) fn render_lines(invited: &InvitedView) -> String {
    match invited.lines.as_slice() {
        [one] => format!("{}\n", one.line),
        many => many.iter().map(|one| format!("on a server in {}:\n{}\n", one.subnet, one.line)).collect(),
    }
}

pub(crate) async fn list(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/invitations").await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render(&answer.items::<InvitationRow>()?, look, now)))?;
    Ok(exit::OK)
}

pub(crate) async fn revoke(session: &mut Session, id: &str) -> Result<u8, Failure> {
    let answer = session.client.post(&format!("/v1/invitations/{}/revoke", segment(id)), &json!({})).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render(&[answer.item::<InvitationRow>()?], look, now)))?;
    Ok(exit::OK)
}

/// Who was invited, and what came of it.
pub(crate) fn render(rows: &[InvitationRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["ID", "STATE", "MADE", "UNTIL", "NAME", "NODE", "WHY"]);
    for row in rows {
        table.row([
            row.id.clone().into(),
            Cell::from(row.state.clone()),
            format!("{} ago", ago(&row.made, now)).into(),
            date_and_clock(&row.until).into(),
            or_dash(row.name.as_deref().unwrap_or_default()).into(),
            or_dash(row.node.as_deref().unwrap_or_default()).into(),
            or_dash(row.why.as_deref().unwrap_or_default()).into(),
        ]);
    }
    table.render(look)
}
