//! `rackwright image capture`: an image of what is on a node's disk.

use fleet::view::{JobRow, NodeView};
use serde_json::{Value, json};

use crate::cli::{CaptureArgs, Waiting};
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::follow::{self, Stream};
use crate::session::Session;
use crate::show::Page;
use crate::table::Table;
use crate::terminal::Look;

/// Asks, begins it, and stays until the image is in the store and the node back where it was.
pub(super) async fn capture(session: &mut Session, arguments: CaptureArgs) -> Result<u8, Failure> {
    let node = format!("/v1/nodes/{}", segment(&arguments.node));
    let row = session.client.get(&node).await?.item::<NodeView>()?.row;
    let runs = row.state == "active";
    let name = if runs { Some(confirmed(session, &row.name, arguments.word.confirm.clone())?) } else { None };
    let body = request(&arguments, name.as_deref());
    let answer = session.client.post(&format!("{node}/capture"), &body).await?;
    let job = answer.item::<JobRow>()?;
    let Waiting { no_wait, timeout } = arguments.waiting;
    if no_wait {
        session.note(&format!("job {} has begun; rackwright job watch {}", job.id, job.id));
        session.show(&answer, |_, _| Ok(format!("{}\n", job.id)))?;
        return Ok(exit::OK);
    }
    session.note(&format!("job {} has begun; Ctrl-C leaves it to itself", job.id));
    let code = follow::follow(session, &job.id, Some(timeout), Stream::Nothing).await?;
    if code == exit::OK {
        let last = session.client.get(&follow::path(&job.id)).await?;
        session.show(&last, |last, look| Ok(render_found(&last.item::<JobRow>()?, look)))?;
    }
    Ok(code)
}

fn request(arguments: &CaptureArgs, confirm: Option<&str>) -> Value {
    let mut body = json!({ "name": arguments.name, "disk": arguments.disk, "confirm": confirm, "force": arguments.word.force });
    if let Some(map) = body.as_object_mut() {
        match arguments.generalize {
            true => {
                map.insert("identity".to_owned(), "generalize".into());
                map.insert("keep".to_owned(), json!(arguments.keep));
            }
            false => drop(map.insert("identity".to_owned(), "as-is".into())),
        }
        if !arguments.role.is_empty() {
            map.insert("roles".to_owned(), json!(arguments.role));
        }
    }
    body
}

/// The node's name, typed now or given by `--confirm`; anything else and nothing happens.
fn confirmed(session: &mut Session, node: &str, given: Option<String>) -> Result<String, Failure> {
    let what = format!("this restarts {node}, and what it runs stands still until the image is taken");
    let typed = match given {
        Some(name) => name,
        None if session.terminal.asks => {
            let question = format!(
                "This restarts {node}, and what it runs stands still until the image is taken.\n\
                 Type the node's name to continue: "
            );
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if typed == node {
        return Ok(typed);
    }
    let next = format!("nothing has been changed; give its name: --confirm={node}");
    Err(Failure::Unconfirmed { what, next })
}

/// What of the node was found on its disk, and what became of it.
pub(crate) fn render_found(job: &JobRow, look: &Look) -> String {
    let mut page = Page::default();
    page.line(&format!("image {} of {} is in the store", job.image, job.node));
    if job.identity.as_deref() == Some("as-is") {
        page.line(&format!("It has the keys and ids of {}, and is for {} alone.", job.node, job.node));
    }
    if !job.found.is_empty() {
        let mut table = Table::new(&["RULE", "PLACES", "IMAGE", "WHAT"]);
        for found in &job.found {
            let image = if found.kept { "has it" } else { "without" };
            table.row([
                found.rule.clone().into(),
                found.places.to_string().into(),
                image.into(),
                found.what.clone().into(),
            ]);
        }
        page.heading("Found on its disk");
        page.table(&table, look);
    }
    page.next(Some(format!("rackwright image show {}", job.image)));
    page.into_text()
}
