//! What goes into a set-up and what comes out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::outcome::Outcome;
use crate::problem::Problem;
use crate::question::Id;

/// Where a set-up is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// At a question.
    Asking(Id),
    /// Everything is answered and shown.
    #[default]
    Review,
    /// It was confirmed; the shell writes.
    Writing,
    /// It is written.
    Written,
    /// Somebody left; nothing was written.
    Left,
}

/// What happened. All of a set-up is the list of these: [`crate::record`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The machine was looked at.
    Looked(Facts),
    /// Answers of an earlier set-up were found; they are proposed.
    Earlier(BTreeMap<Id, String>),
    /// Somebody answered the question that is asked; with nothing: took what is shown.
    Answer(String),
    /// Somebody wants to know more.
    Help,
    /// Somebody wants the question before.
    Back,
    /// Somebody wants this question.
    Jump(Id),
    /// Somebody has seen the review and wants it done.
    Confirm,
    /// It was written.
    Written,
    /// It could not be written.
    NotWritten(String),
    /// Somebody wants to stop here.
    Leave,
    /// A set-up that ended somewhere goes on.
    Resume,
}

/// What a front-end must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show where the set-up is.
    Show,
    /// Explain it.
    Explain,
    /// Say what is wrong.
    Complain(Vec<Problem>),
    /// Write this, and tell whether it was done.
    Write(Outcome),
    /// End.
    End,
}
