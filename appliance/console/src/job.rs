//! `rackwright job …`

mod batch;
mod board;
#[cfg(test)]
mod board_tests;
mod screen;
mod watch;

pub(crate) use watch::watch_all;

use fleet::view::{JobRow, LaneRow};

use crate::cli::JobCommand;
use crate::failure::{Failure, exit};
use crate::follow::{self, Stage, is_capture, is_test, stage};
use crate::session::Session;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, bar, bytes, date_and_clock, duration, or_dash, seconds};

pub(crate) async fn job(session: &mut Session, verb: JobCommand) -> Result<u8, Failure> {
    match verb {
        JobCommand::List => {
            let answer = session.client.get("/v1/jobs").await?;
            let now = session.now();
            session.show(&answer, |answer, look| Ok(render_jobs(&answer.items()?, look, now)))?;
            Ok(exit::OK)
        }
        JobCommand::Show { job } => {
            let answer = session.client.get(&follow::path(&job)).await?;
            let now = session.now();
            session.show(&answer, |answer, _| Ok(render_job(&answer.item()?, now)))?;
            Ok(exit::OK)
        }
        JobCommand::Cancel { job } => {
            let path = format!("{}/cancel", follow::path(&job));
            let answer = session.client.post(&path, &serde_json::json!({})).await?;
            let now = session.now();
            session.show(&answer, |answer, _| Ok(render_job(&answer.item()?, now)))?;
            Ok(exit::OK)
        }
        JobCommand::Watch { names, timeout } => watch::watch(session, names, timeout).await,
    }
}

/// The list of jobs.
pub(crate) fn render_jobs(jobs: &[JobRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["JOB", "NODE", "STATE", "STAGE", "DONE", "TOOK", "IMAGE"]);
    for job in jobs {
        table.row([
            job.id.clone().into(),
            job.node.clone().into(),
            Cell::state(&job.state),
            if has_ended(job) { "-" } else { stage(job).word() }.into(),
            format!("{} %", job.percent).into(),
            took(job, now).into(),
            job.image.clone().into(),
        ]);
    }
    table.render(look)
}

fn has_ended(job: &JobRow) -> bool {
    matches!(job.state.as_str(), "done" | "failed")
}

/// How long it took, or has taken so far.
fn took(job: &JobRow, now: u64) -> String {
    match (seconds(&job.created), job.ended.as_deref().and_then(seconds)) {
        (Some(from), Some(to)) => duration(to.saturating_sub(from)),
        (Some(_), None) => ago(&job.created, now),
        (None, _) => "-".to_owned(),
    }
}

/// One line of a job for the status screen.
pub(crate) fn job_line(job: &JobRow) -> String {
    let stage = stage(job);
    let (done, total) = stage.bytes(job).unwrap_or_default();
    let amount = if total > 0 {
        format!("  {} of {} {}", bytes(done), bytes(total), verb(stage))
    } else {
        String::new()
    };
    format!(
        "{}  {:<10}  {}  {:>3} %{amount}",
        job.node,
        stage.word(),
        bar(job.percent.into(), 20),
        job.percent
    )
}

fn verb(stage: Stage) -> &'static str {
    match stage {
        Stage::Verifying => "read back",
        Stage::Capturing => "read",
        Stage::Erasing => "erased",
        Stage::Waiting | Stage::Testing | Stage::Imaging | Stage::Booting | Stage::Enrolling => "written",
    }
}

/// How much was done, in the words of its kind.
fn amounts(job: &JobRow) -> Vec<(&'static str, String)> {
    let done = format!("{} of {}", bytes(job.done_bytes), bytes(job.total_bytes));
    if is_test(job) {
        return vec![("done", format!("{} %", job.percent))];
    }
    match is_capture(job) {
        true => {
            vec![("read", done), ("stored before", bytes(job.same_bytes)), ("sent", bytes(job.fetched_bytes))]
        }
        false => vec![
            ("written", done),
            ("right before", bytes(job.same_bytes)),
            ("read back", bytes(job.read_back_bytes)),
            ("fetched", bytes(job.fetched_bytes)),
        ],
    }
}

/// The image's name, and by what it can always be told apart.
fn image(job: &JobRow) -> String {
    match job.image_digest.as_deref().map(|digest| digest.get(..12).unwrap_or(digest)) {
        Some(digest) => format!("{} ({digest})", job.image),
        None => job.image.clone(),
    }
}

/// Of a capture, what becomes of that by which the node is told apart.
fn identity(job: &JobRow) -> Option<String> {
    Some(match job.identity.as_deref()? {
        "as-is" => format!("in the image: it is for {} alone", job.node),
        "generalize" => "left out of the image: it is for any server".to_owned(),
        other => other.to_owned(),
    })
}

/// How an image comes, in words.
fn comes_by(lane: &LaneRow) -> String {
    let mut words = match lane.lane.as_str() {
        "others" => "fetching from other nodes".to_owned(),
        "controller" => "fetching from the controller".to_owned(),
        other => other.to_owned(),
    };
    if let Some(ppm) = lane.lost_ppm {
        words.push_str(&format!(", {}.{:02} % lost on the way", ppm / 10_000, ppm % 10_000 / 100));
    }
    if lane.multicast_bytes > 0 {
        words.push_str(&format!(", {} with the others", bytes(lane.multicast_bytes)));
    }
    if lane.peer_bytes > 0 {
        words.push_str(&format!(", {} from other nodes", bytes(lane.peer_bytes)));
    }
    if let Some(why) = &lane.why {
        words.push_str(&format!(": {why}"));
    }
    words
}

/// One job in full.
pub(crate) fn render_job(job: &JobRow, now: u64) -> String {
    let mut page = Page::default();
    page.line(&format!("job {} on {} is {}", job.id, job.node, job.state));
    let time = |time: &Option<String>| time.as_deref().map(date_and_clock).unwrap_or_default();
    let mut pairs = vec![
        ("stage", if has_ended(job) { "-" } else { stage(job).word() }.to_owned()),
        ("node is", job.node_state.clone()),
    ];
    pairs.extend(job.plan.as_ref().map(|plan| ("plan", plan.clone())));
    if is_test(job) {
        pairs.push(("what was found", format!("rackwright node test show {}", job.node)));
    } else {
        pairs.push(("image", image(job)));
    }
    pairs.extend(identity(job).map(|identity| ("keys and ids", identity)));
    pairs.extend((!is_test(job)).then(|| ("disk", job.disk.clone())));
    pairs.extend(amounts(job));
    pairs.extend([
        ("taken up", format!("{}x", job.takes)),
        ("made", date_and_clock(&job.created)),
        ("started", time(&job.started)),
        ("ended", time(&job.ended)),
        ("took", took(job, now)),
    ]);
    pairs.extend(job.lane.as_ref().map(|lane| ("comes by", comes_by(lane))));
    page.pairs(&pairs);
    if let Some(why) = &job.why {
        page.pairs(&[("why", why.clone())]);
    }
    page.next(match job.state.as_str() {
        "done" => None,
        "failed" if is_test(job) => Some(format!("rackwright node test show {}", job.node)),
        "failed" => Some(format!("rackwright node why {}", or_dash(&job.node))),
        _ => Some(format!("rackwright job watch {}", job.id)),
    });
    page.into_text()
}
