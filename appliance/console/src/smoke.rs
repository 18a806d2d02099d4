//! `rackwright cloud smoke`: proves that the cloud works, by using it.
//!
//! The daemon gives the way in and the guest; all else is asked of the cloud's own services. Decides in functions that ask
//! nobody: `offer` what there is to prove, `step` what makes sense after a failure, `remains` what is ours and in which order
//! it goes, `said` what the guest tells. Nothing is kept of what was made: what has our name is ours, so whatever is left
//! is found, whoever left it.

mod cloud;
mod course;
mod fault;
mod instance;
mod make;
mod offer;
mod outside;
mod remains;
mod report;
mod rest;
mod said;
mod step;
mod storage;
#[cfg(test)]
mod tests;

use fleet::view::{CloudAccess, item};
use serde_json::{json, to_value};

use crate::cli::SmokeArgs;
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::session::{Session, pretty};
use cloud::Cloud;
use course::{Course, Guest, Wish};
use report::Report;

pub(crate) async fn smoke(session: &mut Session, arguments: SmokeArgs) -> Result<u8, Failure> {
    let interrupt = || async { drop(tokio::signal::ctrl_c().await) };
    prove(session, arguments, interrupt).await
}

/// Until it is proven, or `interrupt` says that it is enough; the second time, that the removal is too.
async fn prove<I: Future<Output = ()>>(
    session: &mut Session,
    arguments: SmokeArgs,
    interrupt: impl Fn() -> I,
) -> Result<u8, Failure> {
    let guest = guest(&session.client).await?;
    let access = session.client.post("/v1/cloud/access", &json!({})).await?.item::<CloudAccess>()?;
    let SmokeArgs { keep, external, node, no_attach } = arguments;
    let wish = Wish { external, node, no_attach, keep };
    let mut course = Course::new(session, Cloud::new(access), guest, wish);
    let interrupted = tokio::select! {
        biased;
        () = interrupt() => true,
        () = course.run() => false,
    };
    if interrupted {
        course.session.note("interrupted; Ctrl-C again leaves what was made to the next run");
    }
    let began = course.session.elapsed_ms();
    let left = tokio::select! {
        biased;
        () = interrupt() => true,
        () = course.finish() => false,
    };
    if left {
        course.give_up(began);
    }
    let report = Report::new(&course.rows, &course.kept, interrupted || left);
    show(session, &report)?;
    Ok(match report.result {
        "ok" => exit::OK,
        "interrupted" => exit::INTERRUPTED,
        _ => exit::UNHEALTHY,
    })
}

/// The guest, from the daemon's boot store.
async fn guest(client: &Client) -> Result<Guest, Failure> {
    let kernel = client.get("/v1/cloud/guest?part=kernel").await?.bytes();
    let ramdisk = client.get("/v1/cloud/guest?part=ramdisk").await?.bytes();
    Ok(Guest { kernel, ramdisk })
}

fn show(session: &mut Session, report: &Report) -> Result<(), Failure> {
    let text = if session.json() {
        let request = "cloud smoke".to_owned();
        pretty(&to_value(item(report)).map_err(|source| Failure::Understanding { request, source })?)
    } else {
        report.render(&session.look)
    };
    session.print(&text)
}
