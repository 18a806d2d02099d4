//! `rackwright cloud passwords …`: how far a rotation is, and another one.

use fleet::view::PasswordsView;
use serde_json::json;

use super::AGAIN;
use crate::cli::PasswordsCommand;
use crate::client::Answer;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::terminal::Look;
use crate::text::ago;

pub(super) async fn passwords(session: &mut Session, verb: PasswordsCommand) -> Result<u8, Failure> {
    let answer = match verb {
        PasswordsCommand::Show { wait: false } => session.client.get("/v1/cloud/passwords").await?,
        PasswordsCommand::Show { wait: true } => until_over(session).await?,
        PasswordsCommand::Rotate { confirm, no_wait: true } => rotate(session, confirm).await?,
        PasswordsCommand::Rotate { confirm, no_wait: false } => {
            rotate(session, confirm).await?;
            until_over(session).await?
        }
    };
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render(&answer.item()?, look, now)))?;
    Ok(exit::OK)
}

/// Asks whoever is at a terminal; what it means is said before.
async fn rotate(session: &mut Session, confirm: Option<String>) -> Result<Answer, Failure> {
    let view = session.client.get("/v1/cloud/passwords").await?.item::<PasswordsView>()?;
    let site = &view.confirm;
    let typed = match confirm {
        Some(typed) => typed,
        None if session.terminal.asks => {
            let question = format!(
                "Every service of the cloud gets another password, the administrator too; services are away for minutes, instances \
                 run on. Type {site:?} to continue: "
            );
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if typed.trim() != site {
        return Err(Failure::Unconfirmed {
            what: format!("{typed:?} is not {site:?}; all passwords are as before"),
            next: format!("rackwright cloud passwords rotate --confirm {site}"),
        });
    }
    session.client.post("/v1/cloud/passwords/rotate", &json!({ "confirm": typed.trim() })).await
}

/// The answer that says that it is over. What it waits for is told when that changes.
async fn until_over(session: &mut Session) -> Result<Answer, Failure> {
    let mut said = None;
    loop {
        let answer = session.client.get("/v1/cloud/passwords").await?;
        let view = answer.item::<PasswordsView>()?;
        let Some(why) = view.why else { return Ok(answer) };
        if said.as_ref() != Some(&why) {
            session.note(&why);
            said = Some(why);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// How far it is, and who does not have them yet.
pub(crate) fn render(view: &PasswordsView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    let since = view.since.as_ref().map(|since| format!(", last {} ago", ago(since, now)));
    let times = match view.number {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        number => format!("{number} times"),
    };
    let mut pairs = vec![("rotated", times + &since.unwrap_or_default()), ("state", view.state.clone())];
    if view.number > 0 {
        let waiting = view.waiting.len() as u64;
        pairs.push(("have them", format!("{} of {} nodes", view.nodes.saturating_sub(waiting), view.nodes)));
    }
    page.pairs(&pairs);
    let waiting = view.waiting.iter().map(|row| [&row.node, &row.state, &row.heard, &row.why]);
    page.waiting("Without them", waiting, look, now);
    page.next(match view.why {
        Some(_) => Some("rackwright cloud passwords show --wait; it goes on by itself".to_owned()),
        None if view.number > 0 => {
            Some("rackwright cloud openrc, for the administrator's password of now".to_owned())
        }
        None => None,
    });
    page.into_text()
}
