//! A job, watched until it ends: told stage by stage, on a terminal with a bar that is redrawn, else line by line.

mod story;

use std::time::Duration;

use fleet::view::JobRow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::text::clean_value;

pub(crate) use story::{End, Stage, Story, end, is_capture, is_erasure, is_test, stage, waits_for};

/// What goes to standard output while the job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Nothing: the end is printed once.
    Nothing,
    /// Every change, as one line of JSON.
    Changes,
}

/// The path of a job.
pub(crate) fn path(job: &str) -> String {
    format!("/v1/jobs/{}", segment(job))
}

/// Stays with the job until it ends, the time is over or the person presses Ctrl-C; none of these touches the job.
pub(crate) async fn follow(
    session: &mut Session,
    job: &str,
    timeout: Option<Duration>,
    stream: Stream,
) -> Result<u8, Failure> {
    let bar = Bar::new(session.terminal.err_tty);
    let end = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => None,
        end = watch(session, job, timeout, stream, &bar) => Some(end),
    };
    bar.clear();
    let Some(end) = end else {
        session.note(&format!("job {job} goes on; rackwright job watch {job}"));
        return Ok(exit::INTERRUPTED);
    };
    let (row, story) = end?;
    match story {
        End::Done => {
            // Of a capture there is more to say, and whoever began it says it.
            if stream == Stream::Nothing && is_test(&row) {
                session.note(&format!(
                    "{0} passed its test; what was measured: rackwright node test show {0}",
                    row.node
                ));
            } else if stream == Stream::Nothing && is_erasure(&row) {
                session
                    .note(&format!("{0} is retired; what proves it: rackwright node erasures {0}", row.node));
            } else if stream == Stream::Nothing && !is_capture(&row) {
                session.note(&format!("{} is active", row.node));
            }
            Ok(exit::OK)
        }
        End::Failed(why) => Err(Failure::JobFailed { job: row.id, node: row.node, why }),
        End::Stuck => Err(Failure::NodeStuck { job: row.id, node: row.node }),
    }
}

async fn watch(
    session: &mut Session,
    job: &str,
    timeout: Option<Duration>,
    stream: Stream,
    bar: &Bar,
) -> Result<(JobRow, End), Failure> {
    let began = session.elapsed_ms();
    let mut story = Story::default();
    let mut last = Value::Null;
    loop {
        let answer = look(session, &path(job)).await?;
        let value = clean_value(answer.value()?).get("item").cloned().unwrap_or_default();
        if stream == Stream::Changes && value != last {
            session.print_line(&value)?;
            last = value;
        }
        let row = answer.item::<JobRow>()?;
        let now = session.elapsed_ms();
        let told = story.tell(&row, now, bar.redraws());
        told.lines.iter().for_each(|line| bar.line(session, line));
        bar.show(&told.progress);
        if let Some(end) = told.end {
            return Ok((row, end));
        }
        let waited = Duration::from_millis(now.saturating_sub(began));
        if timeout.is_some_and(|limit| waited >= limit) {
            return Err(Failure::Waited { job: row.id, seconds: waited.as_secs() });
        }
        tokio::time::sleep(session.pause).await;
    }
}

/// Asks, and asks again for a while when nobody is there: a daemon that restarts takes the job up where it was.
pub(crate) async fn look(session: &mut Session, path: &str) -> Result<crate::client::Answer, Failure> {
    look_within(session, path, 0).await
}

/// The same for an answer that may be held back.
pub(crate) async fn look_within(
    session: &mut Session,
    path: &str,
    wait_seconds: u64,
) -> Result<crate::client::Answer, Failure> {
    let began = session.elapsed_ms();
    let mut told = false;
    loop {
        match session.client.get_within(path, wait_seconds).await {
            Err(failure) if failure.is_absence() => {
                let waited = Duration::from_millis(session.elapsed_ms().saturating_sub(began));
                if waited >= session.absence {
                    return Err(failure);
                }
                if !told {
                    session.note("the daemon does not answer; looking for it again");
                    told = true;
                }
                tokio::time::sleep(session.pause).await;
            }
            answer => return answer,
        }
    }
}

/// The line at the bottom of the terminal.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar where there is a terminal to redraw; nothing elsewhere.
    pub(crate) fn new(tty: bool) -> Bar {
        if !tty {
            return Bar(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The text is ours: glyphs of the usual bars are two cells wide on some terminals.
        bar.set_style(
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Bar(Some(bar))
    }

    /// Whether lines are replaced instead of piling up.
    pub(crate) fn redraws(&self) -> bool {
        self.0.is_some()
    }

    /// Replaces the line.
    pub(crate) fn show(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// Writes a line that stays.
    pub(crate) fn line(&self, session: &mut Session, text: &str) {
        match &self.0 {
            Some(bar) => bar.println(text),
            None => session.note(text),
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
