//! `rackwright job watch`: one job until it ends, or a whole batch on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use fleet::view::JobRow;
use serde_json::Value;

use super::batch::Batch;
use super::board::{self, Face, Room};
use super::screen::redraw;
use crate::client::Answer;
use crate::failure::{Failure, exit};
use crate::follow::{self, End, Stream};
use crate::progress::Pace;
use crate::session::Session;

/// All jobs.
const JOBS: &str = "/v1/jobs";
/// Every screen has so many columns and rows.
const USUAL: (usize, usize) = (80, 24);
/// What a person is told once.
const AWAY: &str = "the daemon does not answer; looking for it again";

/// Watches what is named, or all that runs; none of this touches a job.
pub(super) async fn watch(
    session: &mut Session,
    names: Vec<String>,
    timeout: Option<Duration>,
) -> Result<u8, Failure> {
    let mut ids = BTreeSet::new();
    for name in &names {
        ids.extend(resolve(session, name).await?);
    }
    if let (1, Some(job)) = (names.len(), ids.first().filter(|_| ids.len() == 1)) {
        let stream = if session.json() { Stream::Changes } else { Stream::Nothing };
        return follow::follow(session, &job.clone(), timeout, stream).await;
    }
    let mut watching = Watching { ids: (!names.is_empty()).then_some(ids), ..Watching::default() };
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => None,
        ended = watching.run(session, timeout) => Some(ended),
    };
    let Some(ended) = ended else {
        session.note("the jobs go on; rackwright job watch");
        return Ok(exit::INTERRUPTED);
    };
    ended?;
    let Some(bad) = watching.batch.bad_end() else { return Ok(exit::OK) };
    let (job, node) = (bad.row.id.clone(), bad.row.node.clone());
    Err(match bad.end.clone() {
        Some((End::Failed(why), _)) => Failure::JobFailed { job, node, why },
        Some((End::Done | End::Stuck, _)) | None => Failure::NodeStuck { job, node },
    })
}

/// Watches these jobs until the last one is over; none of this touches a job.
pub(crate) async fn watch_all(session: &mut Session, jobs: Vec<String>) -> Result<u8, Failure> {
    watch(session, jobs, None).await
}

/// The jobs that a person means: one by its id, or those that a node of this name has now.
async fn resolve(session: &mut Session, name: &str) -> Result<Vec<String>, Failure> {
    // A job that is not there is told at once, not looked for.
    let no_job = match session.client.get(&follow::path(name)).await {
        Ok(answer) => return Ok(vec![answer.item::<JobRow>()?.id]),
        Err(failure) if failure.exit() == exit::NOT_FOUND => failure,
        Err(failure) => return Err(failure),
    };
    let rows = session.client.get(JOBS).await?.items::<JobRow>()?;
    let own = rows.iter().filter(|row| row.node == name && follow::end(row).is_none());
    let ids = own.map(|row| row.id.clone()).collect::<Vec<_>>();
    if ids.is_empty() { Err(no_job) } else { Ok(ids) }
}

/// What is watched and what was shown of it.
#[derive(Default)]
struct Watching {
    /// The jobs' ids; none: all that run.
    ids: Option<BTreeSet<String>>,
    batch: Batch,
    /// The lines on the terminal.
    shown: Vec<String>,
    /// Columns and rows that it was drawn for.
    size: Option<(usize, usize)>,
    faces: BTreeMap<String, Face>,
    pace: Pace,
    /// The rows as they were printed.
    printed: BTreeMap<String, JobRow>,
}

impl Watching {
    async fn run(&mut self, session: &mut Session, timeout: Option<Duration>) -> Result<(), Failure> {
        let began = session.elapsed_ms();
        loop {
            let rows = self.look(session).await?.items::<JobRow>()?;
            let now = session.elapsed_ms();
            let is_watched = |row: &JobRow| match &self.ids {
                Some(ids) => ids.contains(&row.id),
                None => follow::end(row).is_none(),
            };
            self.batch.look(&rows, is_watched, now);
            self.show(session, now)?;
            if self.batch.is_over() {
                if self.batch.whole().jobs == 0 && !session.json() {
                    session.note("no job runs");
                }
                return Ok(());
            }
            let waited = Duration::from_millis(now.saturating_sub(began));
            if timeout.is_some_and(|limit| waited >= limit) {
                let open = self.batch.by_name().into_iter().find(|member| member.end.is_none());
                let job = open.map(|member| member.row.id.clone()).unwrap_or_default();
                return Err(Failure::Waited { job, seconds: waited.as_secs() });
            }
            tokio::time::sleep(session.pause).await;
        }
    }

    /// Asks, and for a while again when nobody is there: a daemon that restarts takes its jobs up where they were.
    async fn look(&mut self, session: &mut Session) -> Result<Answer, Failure> {
        let began = session.elapsed_ms();
        let mut told = false;
        loop {
            match session.client.get(JOBS).await {
                Err(failure) if failure.is_absence() => {
                    let waited = Duration::from_millis(session.elapsed_ms().saturating_sub(began));
                    if waited >= session.absence {
                        return Err(failure);
                    }
                    if !std::mem::replace(&mut told, true) {
                        self.tell_absence(session);
                    }
                    tokio::time::sleep(session.pause).await;
                }
                answer => return answer,
            }
        }
    }

    fn tell_absence(&mut self, session: &mut Session) {
        if session.terminal.err_tty {
            let mut lines = self.shown.clone();
            lines.pop();
            lines.push(AWAY.to_owned());
            self.draw(session, lines);
        } else {
            session.note(AWAY);
        }
    }

    fn show(&mut self, session: &mut Session, now_ms: u64) -> Result<(), Failure> {
        if session.json() {
            return self.print(session);
        }
        if session.terminal.err_tty {
            let here = (session.terminal.err_size)();
            let (columns, rows) = here.or(session.look.columns.zip(session.look.rows)).unwrap_or(USUAL);
            if self.size.replace((columns, rows)).is_some_and(|before| before != (columns, rows)) {
                // The terminal has wrapped anew what was there.
                self.shown.clear();
            }
            let room = Room { columns, rows, header: session.look.header, colour: session.look.colour };
            let lines = board::screen(&self.batch, room, now_ms);
            self.draw(session, lines);
        } else {
            self.tell(session, now_ms);
        }
        Ok(())
    }

    fn draw(&mut self, session: &mut Session, lines: Vec<String>) {
        // Nobody is helped by a failure to complain.
        let _ = session.terminal.err.write_all(redraw(&self.shown, &lines).as_bytes());
        let _ = session.terminal.err.flush();
        self.shown = lines;
    }

    /// A line for each node that has changed, and now and then one for the whole.
    fn tell(&mut self, session: &mut Session, now_ms: u64) {
        for member in self.batch.by_name() {
            let face = Face::of(member);
            if self.faces.get(&member.row.id) != Some(&face) {
                session.note(&board::change(member));
                self.faces.insert(member.row.id.clone(), face);
            }
        }
        let whole = self.batch.whole();
        if whole.jobs > 1 && self.pace.is_due(now_ms, whole.percent) {
            session.note(&board::whole(&whole));
        }
    }

    /// One line of JSON for each job that has changed, with what can only be known by whoever watches.
    fn print(&mut self, session: &mut Session) -> Result<(), Failure> {
        for member in self.batch.by_name() {
            // That alone changes every second.
            let row = JobRow { silent_seconds: None, ..member.row.clone() };
            if self.printed.get(&row.id) == Some(&row) {
                continue;
            }
            let mut value = serde_json::to_value(&member.row).unwrap_or(Value::Null);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("bytesPerSecond".to_owned(), member.rate().into());
                fields.insert("leftSeconds".to_owned(), member.left().into());
                fields.insert("slow".to_owned(), member.slow.as_ref().map(ToString::to_string).into());
            }
            session.print_line(&value)?;
            self.printed.insert(row.id.clone(), row);
        }
        Ok(())
    }
}
