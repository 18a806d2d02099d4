//! What the files of the catalog may say: their keys and types.

use serde::Deserialize;

/// What a node can be for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Services in the order they start.
    pub services: Vec<String>,
    /// What it runs beside these where the rack is a cloud.
    #[serde(default)]
    pub cloud: Vec<String>,
    /// What it runs on top of that where the operator asks for it.
    #[serde(default)]
    pub optional: Vec<String>,
}

/// One base or cloud component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Debian packages that the image carries for it.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Services that must be well, on whichever node, before anything of this one is done.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Services that come before it where the same node has them, and that it does without elsewhere.
    #[serde(default)]
    pub after: Vec<String>,
    /// What an operator asks for to have this one, where that has several services; none: it is asked for by its own name.
    pub part_of: Option<String>,
    /// The name under which the database and keystone know it; its password is `${secret.NAME}`.
    pub account: Option<String>,
    /// Databases of that account.
    #[serde(default)]
    pub databases: Vec<String>,
    /// What keystone tells its clients of it.
    pub identity: Option<Identity>,
    /// Configuration files.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Units in start order.
    #[serde(default)]
    pub units: Vec<UnitEntry>,
    /// Guarded commands.
    #[serde(default)]
    pub tasks: Vec<TaskEntry>,
    /// How to tell that it is well, beside that its units are up.
    pub check: Option<CheckEntry>,
    /// What gives its work to other nodes before its machine goes down.
    pub leave: Option<LeaveEntry>,
}

/// A row of keystone's catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `compute`: the type, from OpenStack's list of service types.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub url: String,
}

/// One file, made from a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Absolute path.
    pub path: String,
    /// Octal permission bits.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// The name of a file in the service's folder.
    pub template: String,
    /// Other services whose units are restarted too when it changes, where the node runs them.
    #[serde(default)]
    pub restarts: Vec<String>,
}

/// One unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitEntry {
    /// `chrony.service`.
    pub name: String,
    /// Started by the next boot.
    pub enabled: bool,
    /// Running now.
    pub running: bool,
}

/// One guarded command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEntry {
    /// Unique among all services.
    pub name: String,
    /// Exit status 0: done already.
    pub guard: Vec<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Killed after so many seconds.
    pub timeout_seconds: u32,
    /// Before the units, or after the check holds.
    pub before_units: bool,
}

/// How a service gives its work away, and takes part again; see [`protocol::Leave`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveEntry {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The same for the way back.
    pub back: Vec<String>,
    /// Killed after so many seconds.
    pub timeout_seconds: u32,
}

/// What is tried; exactly one of the three.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckEntry {
    /// `http://ADDRESS:PORT/PATH` answers.
    pub http: Option<String>,
    /// `ADDRESS:PORT` takes a connection.
    pub tcp: Option<String>,
    /// This program ends with status 0.
    pub command: Option<Vec<String>>,
    /// How long that may be in vain after the units are up.
    pub within_seconds: u32,
}

impl CheckEntry {
    /// How many of the three there are.
    pub(super) fn kinds(&self) -> usize {
        [self.http.is_some(), self.tcp.is_some(), self.command.is_some()].into_iter().filter(|is| *is).count()
    }
}
