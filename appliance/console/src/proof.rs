//! After the rebuild of a compute node: one instance of its own shows that it is one again.

use std::time::Duration;

use fleet::view::CloudRow;

use crate::cli::SmokeArgs;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::smoke;

/// The service that runs instances.
const RUNS_INSTANCES: &str = "nova-compute";

/// Waits until the cloud's services on the node are well, and starts an instance there. Nothing at all where the node runs no instances. Of
/// Ctrl-C and of a time that is over it says what is left to do: the node is rebuilt whatever comes of this.
pub(crate) async fn prove(session: &mut Session, node: &str, limit: Duration) -> Result<u8, Failure> {
    let wait = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Wait::Interrupted,
        wait = well(session, node, limit) => wait?,
    };
    let later = format!("rackwright cloud smoke --node {node}");
    match wait {
        Wait::RunsNone => Ok(exit::OK),
        Wait::Interrupted => {
            session.note(&format!("{node} is rebuilt; that it runs instances is not proven: {later}"));
            Ok(exit::INTERRUPTED)
        }
        Wait::TooLong => {
            session.note(&format!(
                "{node} is rebuilt, and its services are not well after {} s more: rackwright cloud status; then {later}",
                limit.as_secs()
            ));
            Ok(exit::TIMEOUT)
        }
        Wait::Well => {
            session.note(&format!("an instance proves {node}"));
            let one =
                SmokeArgs { keep: false, external: None, node: Some(node.to_owned()), no_attach: false };
            Box::pin(smoke::smoke(session, one)).await
        }
    }
}

/// How waiting for a node's services ended.
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    /// It is no compute node of a cloud.
    RunsNone,
    Well,
    TooLong,
    Interrupted,
}

async fn well(session: &mut Session, node: &str, limit: Duration) -> Result<Wait, Failure> {
    let began = session.elapsed_ms();
    let mut said = String::new();
    loop {
        let rows = session.client.get("/v1/cloud").await?.items::<CloudRow>()?;
        let own = rows.iter().filter(|row| row.node == node).collect::<Vec<_>>();
        if !own.iter().any(|row| row.service == RUNS_INSTANCES) {
            return Ok(Wait::RunsNone);
        }
        let Some(late) = own.iter().find(|row| row.state != "well") else { return Ok(Wait::Well) };
        let news =
            format!("{node} waits for {}: {}", late.service, late.why.as_deref().unwrap_or(&late.state));
        if news != said {
            session.note(&news);
            said = news;
        }
        if Duration::from_millis(session.elapsed_ms().saturating_sub(began)) >= limit {
            return Ok(Wait::TooLong);
        }
        tokio::time::sleep(session.pause).await;
    }
}
