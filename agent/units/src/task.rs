//! Guarded tasks: programs that run once, in a unit of their own, under systemd's eye. Knows how such a unit is made,
//! read and cleared away; refuses to run two of one name at a time, and to hand argv to a shell or to systemd's own
//! `$` and `%` expansion.
//!
//! The unit is a `oneshot` that *remains after exit*: an ordinary one is forgotten the moment it succeeds, and its
//! exit status with it. So it stays until the outcome has been read, even past a restart of this
//! program or a lost connection; [`Systemd::collect`] finds it then.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use systemd_zbus::Mode;
use thiserror::Error;
use zbus::zvariant::Value;

use crate::link::Link;
use crate::read::{self, MainExit, Reading};
use crate::systemd::wait;
use crate::{Active, Systemd, UnitError, UnitName, journal};

/// Log lines kept in an outcome.
const LOG_LINES: usize = 200;

/// The name of a task: 1 to 64 of `a-z 0-9 -`, not beginning or ending with `-`. Its unit is
/// `rackwright-task-NAME.service`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName(String);

/// A text that is not the name of a task.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("reading task name {0:?}: it must be 1 to 64 of a-z, 0-9 and -, with no - at its ends")]
pub struct TaskNameError(String);

impl TaskName {
    /// Reads a task name.
    pub fn parse(text: &str) -> Result<Self, TaskNameError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = (1..=64).contains(&text.len()) && text.chars().all(fits);
        if !good || text.starts_with('-') || text.ends_with('-') {
            return Err(TaskNameError(text.to_owned()));
        }
        Ok(TaskName(text.to_owned()))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unit such a task runs in.
    pub fn unit(&self) -> UnitName {
        UnitName::of_task(self)
    }
}

impl TryFrom<String> for TaskName {
    type Error = TaskNameError;
    fn try_from(text: String) -> Result<Self, TaskNameError> {
        Self::parse(&text)
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> String {
        name.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskName({})", self.0)
    }
}

/// A program to run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// One task of a name runs at a time.
    pub name: TaskName,
    /// Program by absolute path, then its arguments, passed on to the letter.
    pub argv: Vec<String>,
    /// Added to the bare environment systemd gives a service.
    pub env: BTreeMap<String, String>,
    /// System user to run as; root when `None`.
    pub user: Option<String>,
    /// After this it is killed (SIGTERM, then SIGKILL) and its result is `timeout`.
    pub timeout: Duration,
}

impl Task {
    /// A task that runs as root with a bare environment.
    pub fn new(name: TaskName, argv: impl IntoIterator<Item = impl Into<String>>, timeout: Duration) -> Task {
        let argv = argv.into_iter().map(Into::into).collect();
        Task { name, argv, env: BTreeMap::new(), user: None, timeout }
    }
}

/// How the program of a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this status. systemd's own failures before the program ran have 200 and up (systemd.exec(5)).
    Status(i32),
    /// This signal killed it.
    Signal(i32),
    /// It never ran.
    None,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOutcome {
    /// How the program ended.
    pub exit: Exit,
    /// systemd's word: `success`, `exit-code`, `signal`, `core-dump`, `timeout`, `resources`, …
    pub result: String,
    /// The last 200 lines it wrote, cleaned for printing.
    pub log: Vec<String>,
}

impl TaskOutcome {
    /// Whether it ran and did what it is for.
    pub fn success(&self) -> bool {
        self.result == "success" && self.exit == Exit::Status(0)
    }
}

impl Systemd {
    /// Runs the task and waits for its end; a task that fails is an outcome, not an error.
    ///
    /// [`UnitError::TaskRunning`] when one of that name runs already. What an earlier run left behind is cleared away
    /// unread; take it first with [`Systemd::collect`] where it matters. After [`UnitError::BusLost`] the task goes
    /// on: `collect` gives its outcome later.
    pub async fn run(&self, task: &Task) -> Result<TaskOutcome, UnitError> {
        let outcome = self.run_kept(task).await?;
        self.forget(&task.name).await?;
        Ok(outcome)
    }

    /// [`Systemd::run`], whose outcome stays until it is [forgotten](Systemd::forget): whoever ends before he has written down what
    /// came of it finds that with [`Systemd::outcome`] in his next life.
    pub async fn run_kept(&self, task: &Task) -> Result<TaskOutcome, UnitError> {
        let doing = format!("running task {}", task.name);
        if !task.argv.first().is_some_and(|program| program.starts_with('/')) {
            let program = task.argv.first().cloned().unwrap_or_default();
            return Err(UnitError::TaskProgram { doing, program });
        }
        let link = self.link(&doing).await?;
        let unit = task.name.unit();
        if let Some(left) = read::look(&link, &unit, &doing).await? {
            self.clear(&link, &unit, &left, &doing).await?;
        }
        let mut ends = link.hub.jobs();
        let job = link
            .manager
            .start_transient_unit(unit.as_str(), Mode::Fail, &properties(task, &log_name(task)), &[])
            .await
            .map_err(|e| already_there(UnitError::from_wire(&doing, e)))?;
        wait(&job, &mut ends, &doing).await?;
        let after = read::load(&link, &unit, &doing).await?;
        self.gather(&link, &unit, &after, &doing).await
    }

    /// The outcome of a task of this name that ended while nobody waited, and clears it away; `None` when there is
    /// none, [`UnitError::TaskRunning`] while it runs.
    pub async fn collect(&self, name: &TaskName) -> Result<Option<TaskOutcome>, UnitError> {
        let outcome = self.outcome(name).await?;
        if outcome.is_some() {
            self.forget(name).await?;
        }
        Ok(outcome)
    }

    /// [`Systemd::collect`], which leaves it there.
    pub async fn outcome(&self, name: &TaskName) -> Result<Option<TaskOutcome>, UnitError> {
        let doing = format!("collecting task {name}");
        let link = self.link(&doing).await?;
        let unit = name.unit();
        match read::look(&link, &unit, &doing).await? {
            Some(left) if left.state.load == "not-found" => Ok(None),
            Some(left) if left.state.active == Active::Inactive && !left.job => Ok(None),
            Some(left) if is_running(&left) => Err(UnitError::TaskRunning { doing }),
            Some(left) => Ok(Some(self.gather(&link, &unit, &left, &doing).await?)),
            None => Ok(None),
        }
    }

    /// Clears away what a task of this name has left. Nothing left is no error.
    pub async fn forget(&self, name: &TaskName) -> Result<(), UnitError> {
        let doing = format!("forgetting task {name}");
        let link = self.link(&doing).await?;
        match read::look(&link, &name.unit(), &doing).await? {
            Some(left) => self.clear(&link, &name.unit(), &left, &doing).await,
            None => Ok(()),
        }
    }

    /// Reads all there is to know about a task that is over.
    async fn gather(
        &self,
        link: &Link,
        unit: &UnitName,
        over: &Reading,
        doing: &str,
    ) -> Result<TaskOutcome, UnitError> {
        let exit = exit(read::main_exit(link, unit, doing).await?);
        let name = read::log_name(link, unit, doing).await?;
        let log = journal::written_as(unit, &name, LOG_LINES, doing).await?;
        Ok(TaskOutcome { exit, result: over.state.result.clone(), log })
    }

    async fn clear(
        &self,
        link: &Link,
        unit: &UnitName,
        left: &Reading,
        doing: &str,
    ) -> Result<(), UnitError> {
        if is_running(left) {
            return Err(UnitError::TaskRunning { doing: doing.to_owned() });
        }
        if left.state.active == Active::Failed {
            return gone(link.manager.reset_failed_unit(unit.as_str()).await, doing);
        }
        if left.state.active == Active::Inactive {
            return Ok(());
        }
        let mut ends = link.hub.jobs();
        match link.manager.stop_unit(unit.as_str(), Mode::Replace).await {
            Ok(job) => wait(&job, &mut ends, doing).await.map(drop),
            Err(error) => gone(Err(error), doing),
        }
    }
}

/// A unit systemd forgot meanwhile is as cleared as can be.
fn gone(answer: zbus::Result<()>, doing: &str) -> Result<(), UnitError> {
    match answer.map_err(|e| UnitError::from_wire(doing, e)) {
        Err(UnitError::NoSuchUnit { .. }) => Ok(()),
        other => other,
    }
}

fn already_there(error: UnitError) -> UnitError {
    if let UnitError::Refused { doing, code, .. } = &error
        && code == "org.freedesktop.systemd1.UnitExists"
    {
        return UnitError::TaskRunning { doing: doing.clone() };
    }
    error
}

/// A task that is over is active (exited) or failed.
fn is_running(reading: &Reading) -> bool {
    reading.job || !(reading.state.active.is_down() || reading.state.sub == "exited")
}

/// waitid(2): 1 = CLD_EXITED, 2 = CLD_KILLED, 3 = CLD_DUMPED.
fn exit(main: MainExit) -> Exit {
    match main.code {
        1 => Exit::Status(main.status),
        2 | 3 => Exit::Signal(main.status),
        _ => Exit::None,
    }
}

/// A name for the journal that no other run of the task bears.
fn log_name(task: &Task) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("rackwright-task-{}-{:x}", task.name, now.as_micros())
}

fn properties(task: &Task, log_name: &str) -> Vec<(&'static str, Value<'static>)> {
    let program = task.argv.first().cloned().unwrap_or_default();
    let timeout = u64::try_from(task.timeout.as_micros()).unwrap_or(u64::MAX);
    let env: Vec<String> = task.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut all = vec![
        ("Description", Value::from(format!("Rackwright task {}", task.name))),
        ("Type", Value::from("oneshot")),
        ("RemainAfterExit", Value::from(true)),
        // The extended form, for its flag: without it systemd would expand `$NAME` in the arguments.
        ("ExecStartEx", Value::from(vec![(program, task.argv.clone(), vec!["no-env-expand".to_owned()])])),
        ("TimeoutStartUSec", Value::from(timeout)),
        ("StandardOutput", Value::from("journal")),
        ("StandardError", Value::from("journal")),
        ("SyslogIdentifier", Value::from(log_name.to_owned())),
    ];
    if !env.is_empty() {
        all.push(("Environment", Value::from(env)));
    }
    if let Some(user) = &task.user {
        all.push(("User", Value::from(user.clone())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_names_make_unit_names_and_nothing_else() {
        for text in ["db-sync", "a", "0", "keystone-bootstrap", &"x".repeat(64)] {
            let name = TaskName::parse(text).unwrap_or_else(|e| panic!("{e}"));
            let unit = name.unit();
            assert_eq!(unit.as_str(), format!("rackwright-task-{text}.service"));
            assert_eq!(UnitName::parse(unit.as_str()).as_ref(), Ok(&unit));
        }
        for text in
            ["", "-", "-a", "a-", "A", "a b", "a/b", "../x", "a@b", "a.service", "ü", "a\n", &"x".repeat(65)]
        {
            assert!(TaskName::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn waitid_codes_are_told_apart() {
        for (code, status, told) in [
            (0, 0, Exit::None),
            (1, 0, Exit::Status(0)),
            (1, 7, Exit::Status(7)),
            (2, 9, Exit::Signal(9)),
            (3, 11, Exit::Signal(11)),
        ] {
            assert_eq!(exit(MainExit { code, status }), told);
        }
    }

    #[test]
    fn only_a_clean_exit_is_a_success() {
        let of = |exit, result: &str| TaskOutcome { exit, result: result.to_owned(), log: vec![] }.success();
        assert!(of(Exit::Status(0), "success"));
        assert!(!of(Exit::Status(1), "exit-code"));
        assert!(!of(Exit::None, "success"));
        assert!(!of(Exit::Status(0), "timeout"));
    }
}
