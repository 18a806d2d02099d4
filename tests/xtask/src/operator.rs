//! The operator of the rack: the CLI, typed.
//!
//! Knows the commands and the keys of `-o json` that the harness needs, read from outside as any script would.
//! Refuses to know the daemon's own types: a key that was renamed is a failing test, not a silent success.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::rack::controller::{Controller, ControllerError};

/// The version word of every answer.
const API: &str = "rackwright/v1";
/// An image of a gigabyte is read, hashed and stored in this time even where all is emulated.
const IMPORT: Duration = Duration::from_secs(600);

/// Why the CLI gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It could not be called, or said no.
    #[error(transparent)]
    Call(#[from] ControllerError),
    /// Its output is not what the contract says.
    #[error("reading the output of `rackwright {command}`: {text}")]
    Format {
        /// The command as typed.
        command: String,
        /// The beginning of what it printed.
        text: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Another contract.
    #[error("`rackwright {command}` speaks {found}, not {API}")]
    Version {
        /// The command as typed.
        command: String,
        /// Its `apiVersion`.
        found: String,
    },
    /// Nothing imported fits.
    #[error("no image was imported that carries {roles}")]
    NoImage {
        /// What it should carry.
        roles: String,
    },
}

impl OperatorError {
    /// True when the daemon could not be reached (exit code 6): it may be on its way back.
    #[must_use]
    pub fn unreachable(&self) -> bool {
        matches!(self, OperatorError::Call(ControllerError::Refused { status, .. }) if status.code() == Some(6))
    }
}

/// A row of `node list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Host name.
    pub name: String,
    /// Its id for life.
    pub id: String,
    /// One word.
    pub state: String,
    /// Its fixed address.
    pub address: String,
    /// Its NIC.
    pub mac: String,
    /// What it is for.
    pub roles: Vec<String>,
    /// The code to compare, while it waits for approval.
    pub code: Option<String>,
    /// What it waits for.
    pub waiting: Option<String>,
    /// `ok`, `degraded`, `silent`, `attention` or empty.
    #[serde(default)]
    pub health: String,
    /// Percent of its job.
    pub percent: Option<u8>,
}

/// A row of `job list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// `waiting`, `running`, `verified`, `done`, `failed`.
    pub state: String,
    /// `disarm`, `write`, `read_back`, `arm`.
    pub phase: Option<String>,
    /// Bytes of the image on the disk.
    pub done_bytes: u64,
    /// Of these, right already when looked at.
    pub same_bytes: u64,
    /// Bytes read back.
    pub read_back_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// Compressed bytes fetched.
    pub fetched_bytes: u64,
    /// Percent of writing and reading back together.
    pub percent: u8,
    /// How often an agent took it.
    pub takes: u32,
    /// How the image comes, while it is written.
    pub lane: Option<Lane>,
}

/// How an image comes to a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// `multicast` or `fetch`.
    pub lane: String,
    /// Compressed bytes that came by multicast.
    pub multicast_bytes: u64,
    /// Of a million packets, so many did not arrive of late.
    pub lost_ppm: Option<u32>,
}

/// A row of `event list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Ascending.
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    /// The node's name, its MAC while it has none, or empty.
    pub node: String,
    /// A stable word.
    pub kind: String,
    /// For a person.
    pub text: String,
}

impl Event {
    /// When, or `None` for a time that is not RFC 3339.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339_weak(&self.time).ok()
    }
}

/// A row of `image list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Roles it carries.
    pub roles: Vec<String>,
}

/// A row of `service list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// The node's name, or `controller`.
    pub node: String,
    /// The unit.
    pub unit: String,
    /// `running` or `stopped`.
    pub wanted: String,
    /// `ActiveState`, or `unknown`.
    pub active: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    api_version: String,
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PlanId {
    id: String,
}

/// `{"item": {…}}` or the thing itself beside the version.
#[derive(Deserialize)]
#[serde(untagged)]
enum One<T> {
    Wrapped { item: T },
    Bare(T),
}

/// The CLI of one controller.
#[derive(Debug, Clone, Copy)]
pub struct Operator<'a> {
    controller: &'a Controller,
}

impl<'a> Operator<'a> {
    /// Works through `rackwright` on `controller`.
    #[must_use]
    pub fn on(controller: &'a Controller) -> Operator<'a> {
        Operator { controller }
    }

    /// All nodes.
    ///
    /// # Errors
    /// The CLI said no, or something else than the contract.
    pub fn nodes(&self) -> Result<Vec<Node>, OperatorError> {
        self.list(&["node", "list"])
    }

    /// All jobs.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn jobs(&self) -> Result<Vec<Job>, OperatorError> {
        self.list(&["job", "list"])
    }

    /// The event log, oldest first.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn events(&self) -> Result<Vec<Event>, OperatorError> {
        let mut events: Vec<Event> = self.list(&["event", "list", "--limit", "10000"])?;
        events.sort_by_key(|event| event.seq);
        Ok(events)
    }

    /// All images.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn images(&self) -> Result<Vec<Image>, OperatorError> {
        self.list(&["image", "list"])
    }

    /// The digest of the newest image that carries all of `roles`.
    ///
    /// # Errors
    /// As [`Operator::nodes`]; and when there is none.
    pub fn image_for(&self, roles: &[String]) -> Result<String, OperatorError> {
        let fits = |image: &Image| roles.iter().all(|role| image.roles.contains(role));
        let found = self.images()?.into_iter().rev().find(fits);
        found.map(|image| image.digest).ok_or_else(|| OperatorError::NoImage { roles: roles.join(", ") })
    }

    /// Every unit that somebody answers for.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn services(&self) -> Result<Vec<Service>, OperatorError> {
        self.list(&["service", "list"])
    }

    /// Takes an image in; `file` is a path on the controller.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn import(&self, file: &str) -> Result<String, OperatorError> {
        Ok(self.controller.run_for(&["rackwright", "image", "import", file], IMPORT)?)
    }

    /// Approves the node that shows `code`.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn approve(&self, code: &str, name: &str, roles: &[String]) -> Result<String, OperatorError> {
        let roles = roles.join(",");
        Ok(self
            .controller
            .rackwright(&["node", "approve", code, "--name", name, "--role", &roles, "--yes"])?)
    }

    /// Approves the new key of a node that is known already: it was compared like the first one.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn approve_again(&self, code: &str) -> Result<String, OperatorError> {
        Ok(self.controller.rackwright(&["node", "approve", code, "--yes"])?)
    }

    /// Plans `node`; returns the plan's id.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn plan(&self, node: &str, image: &str, disk: &str) -> Result<String, OperatorError> {
        let args = ["node", "plan", node, "--image", image, "--disk", disk, "-o", "json"];
        let plan: One<PlanId> = parse(&args, &self.controller.rackwright(&args)?)?;
        let (One::Wrapped { item: plan } | One::Bare(plan)) = plan;
        Ok(plan.id)
    }

    /// Applies a plan for `node` and does not wait for its end.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn apply(&self, plan: &str, node: &str) -> Result<String, OperatorError> {
        Ok(self.controller.rackwright(&["apply", plan, "--confirm", node, "--no-wait"])?)
    }

    /// Has `node` written anew with this image, same identity, and does not wait for its end.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn rebuild(&self, node: &str, image: &str) -> Result<String, OperatorError> {
        let args = ["node", "rebuild", node, "--image", image, "--confirm", node, "--no-wait"];
        Ok(self.controller.rackwright(&args)?)
    }

    /// Begins to take an image of `node`, `--generalize` or `--as-is`; returns the job's id.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn capture(&self, node: &str, image: &str, how: &str) -> Result<String, OperatorError> {
        let args = ["image", "capture", node, "--name", image, how, "--confirm", node, "--no-wait"];
        Ok(self.controller.rackwright(&args)?.trim().to_owned())
    }

    /// What `rackwright job show` shows a person.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn job(&self, job: &str) -> Result<String, OperatorError> {
        Ok(self.controller.rackwright(&["job", "show", job])?)
    }

    /// Why `node` is where it is, for an error message.
    #[must_use]
    pub fn why(&self, node: &str) -> String {
        self.controller.rackwright(&["node", "why", node]).unwrap_or_else(|error| crate::say::chain(&error))
    }

    /// What `rackwright status` shows a person.
    ///
    /// # Errors
    /// As [`Operator::nodes`].
    pub fn status(&self) -> Result<String, OperatorError> {
        Ok(self.controller.rackwright(&["status"])?)
    }

    fn list<T: DeserializeOwned>(&self, noun_verb: &[&str]) -> Result<Vec<T>, OperatorError> {
        let args: Vec<&str> = noun_verb.iter().copied().chain(["-o", "json"]).collect();
        let items: Items<T> = parse(&args, &self.controller.rackwright(&args)?)?;
        Ok(items.items)
    }
}

fn parse<T: DeserializeOwned>(args: &[&str], text: &str) -> Result<T, OperatorError> {
    let command = || args.join(" ");
    let format = |source| {
        let text = text.chars().take(300).collect();
        OperatorError::Format { command: command(), text, source }
    };
    let version: Versioned = serde_json::from_str(text).map_err(format)?;
    if version.api_version != API {
        return Err(OperatorError::Version { command: command(), found: version.api_version });
    }
    serde_json::from_str(text).map_err(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_another_version_or_shape_are_refused() {
        let good =
            r#"{"apiVersion":"rackwright/v1","items":[{"name":"control","digest":"d","roles":[],"new":1}]}"#;
        let items: Items<Image> = parse(&["image", "list"], good).unwrap();
        assert_eq!(items.items.len(), 1);
        let table = [
            ("", "reading the output of `rackwright image list`"),
            ("[]", "reading the output of `rackwright image list`"),
            (r#"{"apiVersion":"rackwright/v2","items":[]}"#, "speaks rackwright/v2"),
            (r#"{"apiVersion":"rackwright/v1","items":[{"name":7}]}"#, "reading the output"),
            (r#"{"apiVersion":"rackwright/v1"}"#, "reading the output"),
        ];
        for (text, said) in table {
            let error = parse::<Items<Image>>(&["image", "list"], text).err().unwrap().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_plan_is_found_wrapped_or_bare() {
        for text in [
            r#"{"apiVersion":"rackwright/v1","item":{"id":"p-1"}}"#,
            r#"{"apiVersion":"rackwright/v1","id":"p-1","node":"n1"}"#,
        ] {
            let plan: One<PlanId> = parse(&["plan"], text).unwrap();
            let (One::Wrapped { item: plan } | One::Bare(plan)) = plan;
            assert_eq!(plan.id, "p-1");
        }
    }
}
