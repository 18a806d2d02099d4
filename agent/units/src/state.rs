//! What systemd says about a unit, in our words. Knows every state of today's systemd and keeps the text of those
//! to come; refuses nothing, because a state we have never heard of is still the truth about the machine.

use serde::{Deserialize, Serialize};

use crate::UnitName;

/// The coarse state of a unit (`ActiveState` in org.freedesktop.systemd1(5)). Serialised as systemd's own word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Active {
    /// Up.
    Active,
    /// Up, and reading its configuration again.
    Reloading,
    /// Down, and not because of a failure.
    Inactive,
    /// Down after a failure, see [`UnitState::result`].
    Failed,
    /// On its way up; also while systemd waits to restart it (sub-state `auto-restart`).
    Activating,
    /// On its way down.
    Deactivating,
    /// Up, and its mounts are being refreshed (since systemd 257).
    Refreshing,
    /// Held by an operation on its files.
    Maintenance,
    /// A state of a systemd newer than this program.
    Other(String),
}

impl Active {
    /// Whether the unit does its work now: active, reloading or refreshing.
    pub fn is_up(&self) -> bool {
        matches!(self, Active::Active | Active::Reloading | Active::Refreshing)
    }

    /// Whether nothing of the unit runs and nothing is under way: inactive or failed.
    pub fn is_down(&self) -> bool {
        matches!(self, Active::Inactive | Active::Failed)
    }

    /// systemd's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Active::Active => "active",
            Active::Reloading => "reloading",
            Active::Inactive => "inactive",
            Active::Failed => "failed",
            Active::Activating => "activating",
            Active::Deactivating => "deactivating",
            Active::Refreshing => "refreshing",
            Active::Maintenance => "maintenance",
            Active::Other(word) => word,
        }
    }
}

impl From<String> for Active {
    fn from(word: String) -> Self {
        match word.as_str() {
            "active" => Active::Active,
            "reloading" => Active::Reloading,
            "inactive" => Active::Inactive,
            "failed" => Active::Failed,
            "activating" => Active::Activating,
            "deactivating" => Active::Deactivating,
            "refreshing" => Active::Refreshing,
            "maintenance" => Active::Maintenance,
            _ => Active::Other(word),
        }
    }
}

impl From<Active> for String {
    fn from(active: Active) -> String {
        active.as_str().to_owned()
    }
}

impl std::fmt::Display for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reading of a unit. A unit that does not exist has a state too: `load` is `not-found`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The name it was asked by; an alias stays the alias.
    pub name: UnitName,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`, …
    pub load: String,
    /// Coarse state.
    pub active: Active,
    /// Fine state, its words depend on the kind of unit: `running`, `exited`, `dead`, `auto-restart`, …
    pub sub: String,
    /// How its last run ended: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`, …; empty for targets.
    pub result: String,
    /// `enabled`, `disabled`, `static`, `masked`, `generated`, `transient`, …; empty when there is no file.
    pub file_state: String,
    /// Main process of a service, 0 when none runs.
    pub main_pid: u32,
    /// The id of this run, 32 hexadecimal digits; `None` when it never ran since it was loaded.
    pub invocation: Option<String>,
    /// When the unit last changed state: microseconds since 1970 (wall clock), 0 when it never did.
    pub since_usec: u64,
}

impl UnitState {
    /// Whether the unit exists on this machine at all.
    pub fn exists(&self) -> bool {
        self.load != "not-found"
    }
}

/// A row of a list of loaded units; the name is free text, because lists hold kinds [`UnitName`] refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Full unit name.
    pub name: String,
    /// Its `Description=`.
    pub description: String,
    /// As [`UnitState::load`].
    pub load: String,
    /// Coarse state.
    pub active: Active,
    /// Fine state.
    pub sub: String,
}

/// How systemd ended a job (the result in its `JobRemoved` signal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum JobOutcome {
    /// The job did what it says. For a start: the unit came up *as systemd sees it* at that moment.
    Done,
    /// Another job or a person took its place.
    Canceled,
    /// It took longer than the unit allows.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit it needs failed.
    Dependency,
    /// Nothing to do in the unit's present state.
    Skipped,
    /// A result without a name of its own here: `invalid`, `assert`, `unsupported`, `once`, …
    Other(String),
}

impl JobOutcome {
    /// systemd's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            JobOutcome::Done => "done",
            JobOutcome::Canceled => "canceled",
            JobOutcome::Timeout => "timeout",
            JobOutcome::Failed => "failed",
            JobOutcome::Dependency => "dependency",
            JobOutcome::Skipped => "skipped",
            JobOutcome::Other(word) => word,
        }
    }
}

impl From<String> for JobOutcome {
    fn from(word: String) -> Self {
        match word.as_str() {
            "done" => JobOutcome::Done,
            "canceled" => JobOutcome::Canceled,
            "timeout" => JobOutcome::Timeout,
            "failed" => JobOutcome::Failed,
            "dependency" => JobOutcome::Dependency,
            "skipped" => JobOutcome::Skipped,
            _ => JobOutcome::Other(word),
        }
    }
}

impl From<JobOutcome> for String {
    fn from(outcome: JobOutcome) -> String {
        outcome.as_str().to_owned()
    }
}

impl std::fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a "make it so" call did, with the state it left. `Already` is success: every verb may be retried blindly.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// It was so before, nothing was done.
    Already(T),
    /// It was made so.
    Made(T),
}

impl<T> Change<T> {
    /// Whether anything was done.
    pub fn changed(&self) -> bool {
        matches!(self, Change::Made(_))
    }

    /// The state, whoever brought it about.
    pub fn get(&self) -> &T {
        match self {
            Change::Already(state) | Change::Made(state) => state,
        }
    }

    /// Like [`Change::get`], by value.
    pub fn into_inner(self) -> T {
        match self {
            Change::Already(state) | Change::Made(state) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way_there_and_back() {
        for word in [
            "active",
            "reloading",
            "inactive",
            "failed",
            "activating",
            "deactivating",
            "refreshing",
            "maintenance",
            "levitating",
            "",
        ] {
            let json = serde_json::to_string(&Active::from(word.to_owned())).unwrap();
            assert_eq!(json, format!("{word:?}"));
            assert_eq!(serde_json::from_str::<Active>(&json).unwrap().as_str(), word);
        }
        for word in ["done", "canceled", "timeout", "failed", "dependency", "skipped", "once"] {
            assert_eq!(JobOutcome::from(word.to_owned()).as_str(), word);
        }
        assert_eq!(Active::from("levitating".to_owned()), Active::Other("levitating".to_owned()));
    }

    #[test]
    fn up_and_down_leave_room_between() {
        for (word, up, down) in [
            ("active", true, false),
            ("refreshing", true, false),
            ("reloading", true, false),
            ("failed", false, true),
            ("inactive", false, true),
            ("activating", false, false),
            ("levitating", false, false),
        ] {
            let active = Active::from(word.to_owned());
            assert_eq!((active.is_up(), active.is_down()), (up, down), "{word}");
        }
    }
}
