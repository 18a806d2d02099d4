//! `rackwright key ca …`: the site CA, and another in its place.

use fleet::view::TrustView;
use serde_json::json;

use crate::cli::{CaCommand, KeyCommand, RotateArgs};
use crate::client::Answer;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::terminal::Look;
use crate::text::ago;

pub(crate) async fn key(session: &mut Session, command: KeyCommand) -> Result<u8, Failure> {
    let KeyCommand::Ca(command) = command;
    let answer = match command {
        CaCommand::Show => session.client.get("/v1/ca").await?,
        CaCommand::Rotate(RotateArgs { abort: true, .. }) => {
            session.client.post("/v1/ca/abort", &json!({})).await?
        }
        CaCommand::Rotate(RotateArgs { finish: true, force, confirm, .. }) => {
            finish(session, &force, confirm).await?
        }
        CaCommand::Rotate(_) => session.client.post("/v1/ca/rotate", &json!({})).await?,
    };
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render(&answer.item()?, look, now)))?;
    Ok(exit::OK)
}

/// What depends on the old one is seen before anybody is asked.
async fn finish(session: &mut Session, force: &[String], confirm: Option<String>) -> Result<Answer, Failure> {
    let view = session.client.get("/v1/ca").await?.item::<TrustView>()?;
    let site = &view.confirm;
    let typed = match confirm {
        Some(typed) => typed,
        None if session.terminal.asks => {
            let (look, now) = (session.look, session.now());
            session.note(&render(&view, &look, now));
            let left = if force.is_empty() {
                String::new()
            } else {
                format!(", and {} are locked out", force.join(" "))
            };
            let question = format!("The other CA is refused from now on{left}. Type {site:?} to continue: ");
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if typed.trim() != site {
        return Err(Failure::Unconfirmed {
            what: format!("{typed:?} is not {site:?}; both CAs are trusted as before"),
            next: format!("rackwright key ca rotate --finish --confirm {site}"),
        });
    }
    let body = json!({ "confirm": typed.trim(), "leave": force });
    session.client.post("/v1/ca/finish", &body).await
}

/// The CA, and who depends on the other one.
pub(crate) fn render(view: &TrustView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    let mut pairs = vec![("CA", view.ca.clone())];
    if let Some(other) = &view.other {
        pairs.push(("also trusted", other.clone()));
    }
    let since = view.since.as_ref().map(|since| format!(" for {}", ago(since, now))).unwrap_or_default();
    pairs.push(("state", format!("{}{since}", view.state)));
    if view.other.is_some() {
        let waiting = view.waiting.len() as u64;
        pairs.push(("moved", format!("{} of {} nodes", view.nodes.saturating_sub(waiting), view.nodes)));
    }
    page.pairs(&pairs);
    let waiting = view.waiting.iter().map(|row| [&row.node, &row.state, &row.heard, &row.why]);
    page.waiting("Not moved", waiting, look, now);
    page.next(match (&view.other, view.waiting.is_empty()) {
        (None, _) => None,
        (Some(_), true) => Some("rackwright key ca rotate --finish".to_owned()),
        (Some(_), false) => {
            Some("rackwright key ca show, until nobody is left; they move by themselves".to_owned())
        }
    });
    page.into_text()
}
