//! `rackwright node test`: servers under load, and what came of it.

mod show;

use fleet::view::{JobRow, TestView};
use serde_json::{Value, json};

use crate::cli::{TestArgs, TestCommand};
use crate::failure::{Failure, exit};
use crate::job;
use crate::node::path;
use crate::session::Session;

pub(crate) use show::{render_tests, summary};

pub(crate) async fn test(session: &mut Session, arguments: TestArgs) -> Result<u8, Failure> {
    match &arguments.verb {
        Some(TestCommand::Show { node }) => show(session, node).await,
        Some(TestCommand::Stop { nodes }) => stop(session, nodes).await,
        None => begin(session, &arguments).await,
    }
}

async fn show(session: &mut Session, node: &str) -> Result<u8, Failure> {
    let answer = session.client.get(&path(node, "tests")).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_tests(node, &answer.items::<TestView>()?, look, now)))?;
    Ok(exit::OK)
}

/// One that can't be stopped keeps no other from being stopped.
async fn stop(session: &mut Session, nodes: &[String]) -> Result<u8, Failure> {
    let mut wrong = None;
    for node in nodes {
        match session.client.post(&path(node, "test-stop"), &json!({})).await {
            Ok(answer) => session.show(&answer, |answer, _| {
                let row = answer.item::<JobRow>()?;
                Ok(format!(
                    "{0} is {1}; what was found: rackwright node test show {0}\n",
                    row.node, row.node_state
                ))
            })?,
            Err(failure) => wrong = Some(tell_all_but_the_last(session, wrong, failure)),
        }
    }
    wrong.map_or(Ok(exit::OK), Err)
}

/// Begins them all, then stays until the last one is over. One that can't begin keeps no other from it.
async fn begin(session: &mut Session, arguments: &TestArgs) -> Result<u8, Failure> {
    let (mut jobs, mut wrong) = (Vec::new(), None);
    let body = wish(arguments);
    for node in &arguments.nodes {
        match session.client.post(&path(node, "test"), &body).await {
            Ok(answer) => {
                let row = answer.item::<JobRow>()?;
                session.note(&format!("{}: job {} has begun", row.node, row.id));
                if arguments.no_wait {
                    session.show(&answer, |_, _| Ok(format!("{}\n", row.id)))?;
                }
                jobs.push(row.id);
            }
            Err(failure) => wrong = Some(tell_all_but_the_last(session, wrong, failure)),
        }
    }
    if !arguments.no_wait && !jobs.is_empty() {
        session.note("Ctrl-C leaves it to itself");
        let watched = job::watch_all(session, jobs).await;
        return match (watched, wrong) {
            (Ok(code), None) => Ok(code),
            (Ok(_), Some(failure)) => Err(failure),
            (Err(failure), before) => Err(tell_all_but_the_last(session, before, failure)),
        };
    }
    wrong.map_or(Ok(exit::OK), Err)
}

/// The last failure is told by whoever ends the program.
fn tell_all_but_the_last(session: &mut Session, before: Option<Failure>, last: Failure) -> Failure {
    if let Some(before) = before {
        session.report(&before);
    }
    last
}

fn wish(arguments: &TestArgs) -> Value {
    let TestArgs { cpu, memory, disk, network, time, .. } = arguments;
    let named = [(cpu, "cpu"), (memory, "memory"), (disk, "disk"), (network, "network")];
    let parts = named.iter().filter(|(is_named, _)| **is_named).map(|(_, part)| *part).collect::<Vec<_>>();
    json!({ "parts": parts, "seconds": time.as_secs() })
}
