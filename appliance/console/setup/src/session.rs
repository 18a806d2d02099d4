//! One set-up from the first question to the last confirmation: what happened in, what a front-end must do out.

mod message;

pub use message::{Action, Message, Stage};

use crate::answers::{Answer, Answers, Context};
use crate::check::check;
use crate::facts::Facts;
use crate::language::Language;
use crate::outcome::outcome;
use crate::problem::{Code, Problem, Severity};
use crate::question::Id;
use crate::table::QUESTIONS;
use crate::whole::problems;

/// A set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) answers: Answers,
    pub(crate) facts: Option<Facts>,
    pub(crate) stage: Stage,
}

impl Default for Session {
    fn default() -> Session {
        Session { answers: Answers::default(), facts: None, stage: Stage::Asking(Id::Language) }
    }
}

impl Session {
    /// The set-up that these messages made.
    #[must_use]
    pub fn replay<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Session {
        let mut session = Session::default();
        for message in messages {
            let _ = update(&mut session, message.clone());
        }
        session
    }

    /// A set-up whose questions are all answered, by a file.
    #[must_use]
    pub fn answered(answers: Answers) -> Session {
        Session { answers, facts: None, stage: Stage::Review }
    }

    /// Where it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The answers.
    #[must_use]
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The answers on this machine.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context { answers: &self.answers, facts: self.facts.as_ref() }
    }

    /// The language it goes on in.
    #[must_use]
    pub fn language(&self) -> Language {
        self.context().language()
    }

    /// The questions that everybody is asked on this way, in their order.
    pub fn path(&self) -> impl Iterator<Item = Id> + '_ {
        let context = self.context();
        QUESTIONS.iter().map(|question| question.id).filter(move |id| context.is_asked(*id))
    }

    /// The questions of the review page, in their order.
    pub fn applicable(&self) -> impl Iterator<Item = Id> + '_ {
        let context = self.context();
        QUESTIONS.iter().map(|question| question.id).filter(move |id| context.applies(*id))
    }

    /// The first question that is not answered, else the review.
    fn next(&self) -> Stage {
        let open = self.path().find(|id| self.answers.given(*id).is_none());
        open.map_or(Stage::Review, Stage::Asking)
    }

    /// Takes an answer to a question.
    fn answer(&mut self, id: Id, text: &str) -> Vec<Action> {
        let takes = text.trim().is_empty();
        let shown = self.context().value(id).unwrap_or_default();
        let kept = match check(id, if takes { &shown } else { text }, &self.context()) {
            Err(problem) => return vec![Action::Complain(vec![problem])],
            Ok(kept) => kept,
        };
        if !takes {
            self.answers.given.insert(id, Answer::Given(kept));
        } else if self.answers.given(id).is_none() {
            self.answers.given.insert(id, Answer::Proposed);
        }
        self.stage = self.next();
        vec![Action::Show]
    }

    fn back(&mut self) -> Vec<Action> {
        let before = match self.stage {
            Stage::Asking(id) => self.path().filter(|other| *other < id).last(),
            Stage::Review => self.path().last(),
            Stage::Writing | Stage::Written | Stage::Left => None,
        };
        self.stage = before.map_or(self.stage, Stage::Asking);
        vec![Action::Show]
    }

    fn confirm(&mut self) -> Vec<Action> {
        if self.stage != Stage::Review {
            return vec![Action::Show];
        }
        let context = self.context();
        let stops: Vec<Problem> =
            problems(&context).into_iter().filter(|problem| problem.severity() == Severity::Stop).collect();
        if !stops.is_empty() {
            return vec![Action::Complain(stops)];
        }
        let outcome = outcome(&context);
        self.stage = Stage::Writing;
        vec![Action::Write(outcome)]
    }

    /// A question that makes no sense any more is left.
    fn settle(&mut self) -> Vec<Action> {
        if let Stage::Asking(id) = self.stage
            && !self.context().applies(id)
        {
            self.stage = self.next();
        }
        vec![Action::Show]
    }
}

/// Takes what happened, and says what a front-end must do. No answer is ever lost: one that was given stays until another is
/// given to the same question.
pub fn update(session: &mut Session, message: Message) -> Vec<Action> {
    let stage = session.stage;
    let is_open = matches!(stage, Stage::Asking(_) | Stage::Review);
    match message {
        Message::Looked(facts) => {
            session.facts = Some(facts);
            session.settle()
        }
        Message::Earlier(answers) => {
            session.answers.earlier = answers;
            session.settle()
        }
        Message::Answer(text) => match stage {
            Stage::Asking(id) => session.answer(id, &text),
            Stage::Review | Stage::Writing | Stage::Written | Stage::Left => vec![Action::Show],
        },
        Message::Help => vec![Action::Explain],
        Message::Back => session.back(),
        Message::Jump(id) if is_open && session.context().applies(id) => {
            session.stage = Stage::Asking(id);
            vec![Action::Show]
        }
        Message::Confirm => session.confirm(),
        Message::Written if stage == Stage::Writing => {
            session.stage = Stage::Written;
            vec![Action::Show, Action::End]
        }
        Message::NotWritten(why) if stage == Stage::Writing => {
            session.stage = Stage::Review;
            vec![Action::Complain(vec![Problem::new(Code::NotWritten, None, &why, "")])]
        }
        Message::Leave if is_open => {
            session.stage = Stage::Left;
            vec![Action::Show, Action::End]
        }
        Message::Resume if matches!(stage, Stage::Writing | Stage::Left) => {
            session.stage = session.next();
            vec![Action::Show]
        }
        Message::Jump(_) | Message::Written | Message::NotWritten(_) | Message::Leave | Message::Resume => {
            vec![Action::Show]
        }
    }
}
