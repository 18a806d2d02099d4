//! Everything that ends a command before its purpose: what, why, what next, and the exit code.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::text::clean;

/// Exit codes; a script may rely on them.
pub(crate) mod exit {
    pub(crate) const OK: u8 = 0;
    pub(crate) const GENERAL: u8 = 1;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const CONFLICT: u8 = 4;
    pub(crate) const UNCONFIRMED: u8 = 5;
    pub(crate) const UNREACHABLE: u8 = 6;
    pub(crate) const TIMEOUT: u8 = 7;
    pub(crate) const PARTIAL: u8 = 8;
    pub(crate) const UNHEALTHY: u8 = 9;
    pub(crate) const PENDING: u8 = 10;
    pub(crate) const PERMISSION: u8 = 11;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Why a command ended early.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("cannot start")]
    Starting { source: io::Error },
    #[error("cannot reach the rackwright daemon at {}", socket.display())]
    Connecting { socket: PathBuf, source: io::Error },
    #[error("the rackwright daemon hung up during {request}")]
    Exchanging { request: String, source: hyper::Error },
    #[error("the rackwright daemon did not answer {request} within {seconds} s")]
    Silent { request: String, seconds: u64 },
    #[error("the answer to {request} broke off or is too long")]
    Receiving { request: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the answer to {request} is not what this program understands")]
    Understanding { request: String, source: serde_json::Error },
    #[error("the daemon speaks {theirs}, this program {}", fleet::view::API_VERSION)]
    Version { theirs: String },
    /// The daemon's own words and exit code.
    #[error("{error}")]
    Refused { error: String, exit: u8 },
    #[error("not confirmed: {what}")]
    Unconfirmed { what: String, next: String },
    #[error("cannot read {}", path.display())]
    Reading { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Writing { path: PathBuf, source: io::Error },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is not a list of servers, and nothing was changed\n{}", path.display(), faults.join("\n"))]
    List { path: PathBuf, faults: Vec<String> },
    #[error("job {job} on {node} failed")]
    JobFailed { job: String, node: String, why: String },
    #[error("{node} needs attention; job {job} does not go on by itself")]
    NodeStuck { job: String, node: String },
    #[error("job {job} has not ended within {seconds} s; it goes on")]
    Waited { job: String, seconds: u64 },
    #[error("{node}: {wish} failed")]
    Power { node: String, wish: String, why: String },
    #[error("{node}: {wish} is not done within {seconds} s; it goes on")]
    Powering { node: String, wish: String, seconds: u64 },
    #[error("rollout {rollout}: {what}")]
    Rolled { rollout: String, what: String, exit: u8 },
    #[error("rollout {rollout} is not through within {seconds} s; it goes on")]
    Rolling { rollout: String, seconds: u64 },
    #[error("check {check} is not through within {seconds} s; it goes on")]
    Checking { check: String, seconds: u64 },
    #[error("{what}")]
    Checked { what: String },
    #[error("{bad} chunks of image {image} are damaged in the store")]
    Damaged { image: String, bad: usize },
    #[error("writing the output")]
    Printing { source: io::Error },
}

impl Failure {
    /// The code that the process ends with.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Failure::Connecting { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                exit::PERMISSION
            }
            Failure::Connecting { .. } | Failure::Exchanging { .. } | Failure::Silent { .. } => {
                exit::UNREACHABLE
            }
            // A refusal that calls itself a success would be a lie.
            Failure::Refused { exit: 0, .. } => exit::GENERAL,
            Failure::Refused { exit, .. } | Failure::Rolled { exit, .. } => *exit,
            Failure::Unconfirmed { .. } => exit::UNCONFIRMED,
            Failure::Reading { source, .. } if source.kind() == io::ErrorKind::NotFound => exit::NOT_FOUND,
            Failure::Reading { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                exit::PERMISSION
            }
            Failure::Writing { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                exit::PERMISSION
            }
            Failure::Waited { .. }
            | Failure::Powering { .. }
            | Failure::Rolling { .. }
            | Failure::Checking { .. } => exit::TIMEOUT,
            Failure::Checked { .. } => exit::CONFLICT,
            // `rackwright node list | head` is no failure.
            Failure::Printing { source } if source.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            Failure::Starting { .. }
            | Failure::Receiving { .. }
            | Failure::Understanding { .. }
            | Failure::Version { .. }
            | Failure::Reading { .. }
            | Failure::Writing { .. }
            | Failure::NotAFile { .. }
            | Failure::List { .. }
            | Failure::JobFailed { .. }
            | Failure::NodeStuck { .. }
            | Failure::Power { .. }
            | Failure::Damaged { .. }
            | Failure::Printing { .. } => exit::GENERAL,
        }
    }

    /// Whether the daemon was not there: asking again may find it.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Failure::Connecting { .. } => self.exit() == exit::UNREACHABLE,
            Failure::Exchanging { .. } | Failure::Silent { .. } | Failure::Receiving { .. } => true,
            Failure::Starting { .. }
            | Failure::Understanding { .. }
            | Failure::Version { .. }
            | Failure::Refused { .. }
            | Failure::Unconfirmed { .. }
            | Failure::Reading { .. }
            | Failure::Writing { .. }
            | Failure::NotAFile { .. }
            | Failure::List { .. }
            | Failure::JobFailed { .. }
            | Failure::NodeStuck { .. }
            | Failure::Waited { .. }
            | Failure::Power { .. }
            | Failure::Powering { .. }
            | Failure::Rolled { .. }
            | Failure::Rolling { .. }
            | Failure::Checking { .. }
            | Failure::Checked { .. }
            | Failure::Damaged { .. }
            | Failure::Printing { .. } => false,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Failure::Connecting { .. } if self.exit() == exit::PERMISSION => {
                "use it as root or as a member of the group rackwright"
            }
            Failure::Connecting { .. } => "see whether it runs: systemctl status rackwright.service",
            Failure::Exchanging { .. } | Failure::Silent { .. } | Failure::Receiving { .. } => {
                "see what it says: journalctl -u rackwright.service -n 20"
            }
            Failure::Understanding { .. } | Failure::Version { .. } => {
                "use the rackwright program that belongs to the daemon (rackwright --version)"
            }
            Failure::Unconfirmed { next, .. } => return Some(next.clone()),
            Failure::JobFailed { node, .. } | Failure::NodeStuck { node, .. } => {
                return Some(format!("rackwright node why {node}"));
            }
            Failure::Power { node, .. } | Failure::Powering { node, .. } => {
                return Some(format!("rackwright node power status {node}"));
            }
            Failure::Rolled { rollout, .. } => return Some(format!("rackwright rollout show {rollout}")),
            Failure::Rolling { rollout, .. } => {
                return Some(format!("rackwright rollout watch {rollout}"));
            }
            Failure::Waited { job, .. } => return Some(format!("rackwright job watch {job}")),
            Failure::Checking { .. } | Failure::Checked { .. } => "rackwright network show",
            Failure::Damaged { .. } => {
                return Some("import it again: rackwright image import FILE".to_owned());
            }
            Failure::List { .. } => "see what is expected: rackwright network import --help",
            Failure::NotAFile { .. } => "give the .rwimage file itself",
            Failure::Starting { .. }
            | Failure::Refused { .. }
            | Failure::Reading { .. }
            | Failure::Writing { .. }
            | Failure::Printing { .. } => {
                return None;
            }
        };
        Some(next.to_owned())
    }

    fn why(&self) -> Option<String> {
        if let Failure::JobFailed { why, .. } | Failure::Power { why, .. } = self {
            return Some(why.clone());
        }
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        // Some libraries repeat the inner error in the outer one's text.
        causes.dedup_by(|inner, outer| outer.ends_with(inner.as_str()));
        (!causes.is_empty()).then(|| causes.join(": "))
    }

    /// `error: WHAT`, and indented below it why and what next.
    pub(crate) fn render(&self) -> String {
        let what = self.to_string();
        let mut lines = what.lines().filter(|line| !line.trim().is_empty());
        let mut text = format!("error: {}\n", clean(lines.next().unwrap_or("refused without a reason")));
        for line in lines {
            text.push_str(&format!("  {}\n", clean(line.trim())));
        }
        for (label, line) in [("why: ", self.why()), ("next:", self.next())] {
            if let Some(line) = line {
                text.push_str(&format!("  {label} {}\n", clean(&line)));
            }
        }
        text
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
