//! Answers, and what they are worth together with what is proposed.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::check::check;
use crate::facts::Facts;
use crate::language::Language;
use crate::question::Id;

/// The word for "there is none".
pub(crate) const NONE: &str = "none";

/// How a question was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// By taking what was proposed; it follows when what it was made of changes.
    Proposed,
    /// In these words.
    Given(String),
}

/// All answers so far, and those of an earlier set-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub(crate) given: BTreeMap<Id, Answer>,
    pub(crate) earlier: BTreeMap<Id, String>,
}

impl Answers {
    /// How this question was answered.
    #[must_use]
    pub fn given(&self, id: Id) -> Option<&Answer> {
        self.given.get(&id)
    }

    /// Answers a question. What is not right is told by [`crate::problems`], not here.
    pub fn give(&mut self, id: Id, text: &str) {
        self.given.insert(id, Answer::Given(text.to_owned()));
    }

    /// All that were given in words.
    #[must_use]
    pub fn words(&self) -> BTreeMap<Id, String> {
        let word = |(id, answer): (&Id, &Answer)| match answer {
            Answer::Given(text) => Some((*id, text.clone())),
            Answer::Proposed => None,
        };
        self.given.iter().filter_map(word).collect()
    }
}

/// Answers on a machine. Without facts nothing about the machine is complained of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The answers.
    pub answers: &'a Answers,
    /// The machine.
    pub facts: Option<&'a Facts>,
}

impl Context<'_> {
    /// Whether this question makes sense.
    #[must_use]
    pub fn applies(&self, id: Id) -> bool {
        (id.question().applies)(self)
    }

    /// Whether everybody is asked this.
    #[must_use]
    pub fn is_asked(&self, id: Id) -> bool {
        self.applies(id) && (id.question().asked)(self)
    }

    /// What holds: what was answered, else what is proposed. None where the question makes no sense.
    #[must_use]
    pub fn value(&self, id: Id) -> Option<String> {
        if !self.applies(id) {
            return None;
        }
        match self.answers.given(id) {
            Some(Answer::Given(text)) => Some(text.clone()),
            Some(Answer::Proposed) | None => Some(self.proposed(id)),
        }
    }

    /// What is proposed: the answer of an earlier set-up while it is right, else what is right for most. May be empty.
    #[must_use]
    pub fn proposed(&self, id: Id) -> String {
        let earlier = self.answers.earlier.get(&id).and_then(|text| check(id, text, self).ok());
        earlier.unwrap_or_else(|| (id.question().default)(self))
    }

    /// The language of the answers.
    #[must_use]
    pub fn language(&self) -> Language {
        self.value(Id::Language).and_then(|tag| Language::of(&tag)).unwrap_or_default()
    }

    /// What holds, where it is something and not "none".
    pub(crate) fn some(&self, id: Id) -> Option<String> {
        self.value(id).filter(|text| !text.is_empty() && text != NONE)
    }

    /// The network in an answer, with the address that was written.
    pub(crate) fn net(&self, id: Id) -> Option<Ipv4Net> {
        self.value(id)?.parse().ok()
    }

    /// Whether the answer is this word.
    pub(crate) fn is(&self, id: Id, word: &str) -> bool {
        self.value(id).is_some_and(|text| text == word)
    }
}
