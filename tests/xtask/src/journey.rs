//! What an operator does to bring servers up: approve what waits, plan and apply what is ready, watch the rest.
//!
//! Knows the order of the commands. Refuses to hurry: every step follows from what `node list` says now, so it can be
//! interrupted anywhere and called again.

use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::{self, Interrupted};
use crate::operator::{Job, Node, Operator, OperatorError};

/// How often the operator looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long the daemon may be away before the operator gives up.
const AWAY: Duration = Duration::from_secs(90);

/// What becomes of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name it gets.
    pub name: String,
    /// Its NIC: how the operator tells the servers of the rack apart.
    pub mac: String,
    /// What it is for.
    pub roles: Vec<String>,
    /// The image, by name or digest.
    pub image: String,
    /// The disk it is written to, as `node show` spells it: a server may have several.
    pub disk: String,
}

/// Why the servers did not get there.
#[derive(Debug, thiserror::Error)]
pub enum JourneyError {
    /// The CLI.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A node can't go on by itself.
    #[error("{node} needs attention:\n{why}")]
    Attention {
        /// Its name.
        node: String,
        /// `rackwright node why`.
        why: String,
    },
    /// It takes too long.
    #[error("{waiting} not {wanted} after {limit:?}:\n{why}")]
    Late {
        /// Who is not there yet.
        waiting: String,
        /// The state that was waited for.
        wanted: String,
        /// How long.
        limit: Duration,
        /// `rackwright node why` of each.
        why: String,
    },
    /// A stop was asked for.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What the operator sees at one look.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The wanted servers that were seen so far, under their names.
    pub nodes: Vec<Node>,
    /// Jobs that were made so far.
    pub jobs: Vec<Job>,
    /// What was done at this look, for a person.
    pub done: Vec<String>,
    /// How many servers, known already, came with a new key and were approved once more.
    pub approved_again: usize,
}

/// One look, and the next step for everyone who waits for one.
///
/// # Errors
/// The CLI said no, or a node needs attention.
pub fn advance(operator: &Operator<'_>, wanted: &[Wanted]) -> Result<Sight, JourneyError> {
    let (mut done, mut approved_again) = (Vec::new(), 0);
    let ours = || -> Result<Vec<Node>, JourneyError> {
        Ok(operator.nodes()?.into_iter().filter(|node| whose(node, wanted).is_some()).collect())
    };
    let mut nodes = ours()?;
    for node in &nodes {
        let Some(want) = whose(node, wanted) else { continue };
        match (node.state.as_str(), &node.code) {
            ("discovered", Some(code)) => {
                operator.approve(code, &want.name, &want.roles)?;
                done.push(format!(
                    "{}: approved {} ({code}) as {}",
                    want.name,
                    node.mac,
                    want.roles.join(", ")
                ));
            }
            // A ramdisk whose power was cut before it could leave its key on the disk has a new one.
            (_, Some(code)) => {
                operator.approve_again(code)?;
                approved_again += 1;
                done.push(format!("{}: approved {} again ({code})", want.name, node.mac));
            }
            ("ready", _) => {
                let plan = operator.plan(&want.name, &want.image, &want.disk)?;
                operator.apply(&plan, &want.name)?;
                done.push(format!("{}: plan {plan} applied, image {}", want.name, want.image));
            }
            ("attention", _) => {
                let why = operator.why(&node.name);
                return Err(JourneyError::Attention { node: want.name.clone(), why });
            }
            _ => {}
        }
    }
    if !done.is_empty() {
        // What was done has changed what there is to see.
        nodes = ours()?;
    }
    Ok(Sight { nodes, jobs: operator.jobs()?, done, approved_again })
}

/// Looks and acts until all of `wanted` satisfy `arrived`; `watch` sees every look.
///
/// # Errors
/// Not there within `limit`, attention, the CLI said no, or a stop was asked for.
pub fn until(
    operator: &Operator<'_>,
    wanted: &[Wanted],
    goal: &str,
    limit: Duration,
    arrived: impl Fn(&Node) -> bool,
    mut watch: impl FnMut(&Sight),
) -> Result<Sight, JourneyError> {
    let (start, mut heard) = (Instant::now(), Instant::now());
    loop {
        interrupt::check()?;
        let sight = match advance(operator, wanted) {
            Ok(sight) => Some(sight),
            // Killed daemons come back; that is what some of the tests are about.
            Err(JourneyError::Operator(error)) if error.unreachable() && heard.elapsed() < AWAY => None,
            Err(error) => return Err(error),
        };
        if let Some(sight) = sight {
            heard = Instant::now();
            watch(&sight);
            let there = |want: &&Wanted| sight.nodes.iter().any(|node| is(node, want) && arrived(node));
            let missing: Vec<&Wanted> = wanted.iter().filter(|want| !there(want)).collect();
            if missing.is_empty() {
                return Ok(sight);
            }
            if start.elapsed() > limit {
                return Err(late(operator, &missing, goal, limit));
            }
        }
        thread::sleep(LOOK);
    }
}

fn late(operator: &Operator<'_>, missing: &[&Wanted], goal: &str, limit: Duration) -> JourneyError {
    let names: Vec<&str> = missing.iter().map(|want| want.name.as_str()).collect();
    let why: Vec<String> = names.iter().map(|name| operator.why(name)).collect();
    JourneyError::Late { waiting: names.join(", "), wanted: goal.to_owned(), limit, why: why.join("\n") }
}

fn whose<'a>(node: &Node, wanted: &'a [Wanted]) -> Option<&'a Wanted> {
    wanted.iter().find(|want| is(node, want))
}

fn is(node: &Node, want: &Wanted) -> bool {
    node.mac.eq_ignore_ascii_case(&want.mac)
}
