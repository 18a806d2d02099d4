//! Everything that is wrong with a whole set of answers on a machine.

use crate::answers::{Answer, Context};
use crate::check::check;
use crate::findings::findings;
use crate::problem::{Code, Problem};
use crate::table::QUESTIONS;

/// Wrong answers, in the order of the questions; answers to questions that make no sense; what is wrong with the machine.
#[must_use]
pub fn problems(context: &Context<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for question in QUESTIONS {
        match context.value(question.id) {
            Some(value) => found.extend(check(question.id, &value, context).err()),
            None => found.extend(unused(context, question.id)),
        }
    }
    found.extend(findings(context));
    found
}

fn unused(context: &Context<'_>, id: crate::Id) -> Option<Problem> {
    match context.answers.given(id) {
        Some(Answer::Given(text)) => Some(Problem::new(Code::Unused, Some(id), text, "")),
        Some(Answer::Proposed) | None => None,
    }
}
