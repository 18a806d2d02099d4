//! `rackwright image scrub`: begins it, and looks on.

use fleet::view::ImageRow;
use fleet::view::image::{ScrubRow, ScrubView};
use serde_json::json;

use crate::failure::{Failure, exit};
use crate::follow::Bar;
use crate::progress::{self, Meter, Pace, percent};
use crate::session::Session;
use crate::text::bytes;

const PATH: &str = "/v1/store/scrub";

/// Reads one image through, or all.
pub(super) async fn scrub(
    session: &mut Session,
    image: Option<String>,
    no_wait: bool,
) -> Result<u8, Failure> {
    let wanted = match &image {
        None => None,
        Some(name) => Some(session.client.get(&super::path(name)).await?.item::<ImageRow>()?),
    };
    let names = wanted.as_ref().map(|row| vec![row.digest.clone()]);
    let answer = session.client.post(PATH, &json!({ "images": names })).await?;
    if no_wait {
        session.note("the scrub has begun; how far it is: the same command again, or rackwright status");
        session.show(&answer, |answer, _| Ok(render_scrub(&answer.item()?)))?;
        return Ok(exit::OK);
    }
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            session.note("the scrub goes on; how far it is: the same command again, or rackwright status");
            return Ok(exit::INTERRUPTED);
        }
        ended = wait(session) => ended?,
    }
    let answer = session.client.get(PATH).await?;
    let view = answer.item::<ScrubView>()?;
    let is_wanted = |row: &&ScrubRow| wanted.as_ref().is_none_or(|image| image.digest == row.digest);
    let found = view.found.iter().filter(is_wanted).cloned().collect::<Vec<_>>();
    let told = ScrubView { found, ..view.clone() };
    session.show(&answer, |_, _| Ok(render_scrub(&told)))?;
    match told.found.iter().find(|row| !row.bad.is_empty()) {
        None => Ok(exit::OK),
        Some(row) => Err(Failure::Damaged { image: row.image.clone(), bad: row.bad.len() }),
    }
}

async fn wait(session: &mut Session) -> Result<(), Failure> {
    let bar = Bar::new(session.terminal.err_tty);
    let (mut meter, mut pace) = (Meter::default(), Pace::default());
    loop {
        let view = session.client.get(PATH).await?.item::<ScrubView>()?;
        if !view.running {
            bar.clear();
            return Ok(());
        }
        let (done, total, now) = (view.done_bytes, view.total_bytes, session.elapsed_ms());
        meter.note(now, done);
        let line = progress::line(done, total, &meter);
        if !bar.redraws() && pace.is_due(now, percent(done, total)) {
            bar.line(session, &line);
        }
        bar.show(&line);
        tokio::time::sleep(session.pause / 4).await;
    }
}

/// What was read, and what is damaged.
pub(crate) fn render_scrub(view: &ScrubView) -> String {
    let mut text = String::new();
    for ScrubRow { image, digest, bytes: size, bad } in &view.found {
        let digest = digest.get(..12).unwrap_or(digest);
        text.push_str(&format!("{image} ({digest}): {} read and compared", bytes(*size)));
        if bad.is_empty() {
            text.push_str(", all right\n");
            continue;
        }
        text.push_str(&format!(", {} chunks are damaged, at MiB {}\n", bad.len(), ranges(bad)));
    }
    if view.running {
        let (done, total) = (bytes(view.done_bytes), bytes(view.total_bytes));
        text.push_str(&format!("{done} of {total} read so far\n"));
    }
    text
}

/// `3, 7-9`, and not more than fits a line or two.
fn ranges(windows: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for window in windows {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*window) => *last = *window,
            Some(_) | None => ranges.push((*window, *window)),
        }
    }
    let told = ranges.iter().take(12).map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let more = if ranges.len() > 12 { ", …" } else { "" };
    format!("{}{more}", told.collect::<Vec<_>>().join(", "))
}
