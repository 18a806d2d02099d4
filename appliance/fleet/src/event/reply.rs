//! What is answered.

use protocol::{Answer, JobId, NodeId, Nonce, Task};

use crate::adopt::Invited;
use crate::plan::Plan;
use crate::power::{Errand, Line};
use crate::preflight::Preflight;
use crate::retire::Retirement;
use crate::rollout::Rollout;
use crate::tpm::Question;

/// The answer to whoever brought the event.
#[derive(Debug, Default, PartialEq)]
pub enum Reply {
    /// Done.
    #[default]
    Done,
    /// To a hello.
    Hello {
        /// Who it is.
        node: NodeId,
        /// The challenge for its key.
        nonce: Nonce,
        /// What was decided.
        standing: Standing,
        /// What its TPM is asked.
        question: Option<Box<Question>>,
    },
    /// To an agent that asks for work, or shows a receipt.
    Task(Task),
    /// Whether the job goes on.
    GoOn(bool),
    /// To whoever begins what is due for a node's power.
    Errand(Box<Errand>),
    /// To somebody who wants a node's serial console.
    Console(Box<Line>),
    /// A plan was made.
    Plan(Box<Plan>),
    /// A plan to erase and retire was made.
    Retirement(Box<Retirement>),
    /// A rollout was made, or is what it is now.
    Rollout(Box<Rollout>),
    /// A check of the network was begun, or has ended.
    Preflight(Box<Preflight>),
    /// A server is invited: the only time that the token is told.
    Invited(Box<Invited>),
    /// A job was made.
    Job(JobId),
    /// An order was given; its answer comes with a report.
    Order(u64),
    /// Answers that a report carried.
    Answers(Vec<Answer>),
}

/// Where a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet.
    Waiting(String),
    /// Approved and proven: a certificate of stage deploy is granted.
    Approved,
    /// Not wanted.
    Rejected(String),
}
