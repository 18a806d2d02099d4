//! The answers file: TOML, a key for every question, all of them texts.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::answers::{Answers, Context};
use crate::problem::{Code, Problem};
use crate::question::Id;
use crate::table::QUESTIONS;

/// No answers file that a person wrote is longer, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// Words that are less alike than this were not misspelt (Jaro-Winkler, 1 is the same word).
const ALIKE: f64 = 0.8;

/// A table's values, or those of the table that its key names.
type Pairs<'a> = Vec<(String, usize, &'a DeValue<'a>)>;

/// Reads an answers file. The values themselves are looked at by [`crate::problems`].
///
/// # Errors
/// Everything that keeps it from being read, with its line.
pub fn read(text: &str) -> Result<(Answers, BTreeMap<Id, usize>), Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![Problem::new(Code::TooLarge, None, &MAX_BYTES.to_string(), "")]);
    }
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let at = error.span().map_or(0, |span| span.start);
        vec![Problem::new(Code::NotToml, None, &message, "").at(line_of(text, at))]
    })?;
    let (mut answers, mut lines, mut wrong) = (Answers::default(), BTreeMap::new(), Vec::new());
    for (key, at, value) in pairs(table.get_ref()) {
        let line = line_of(text, at);
        match one(&key, value) {
            Ok((id, answer)) => {
                answers.give(id, &answer);
                lines.insert(id, line);
            }
            Err(problem) => wrong.push(problem.at(line)),
        }
    }
    wrong.sort_by_key(|problem| problem.line);
    if wrong.is_empty() { Ok((answers, lines)) } else { Err(wrong) }
}

/// The same problems, each with its line where it is about an answer of the file.
#[must_use]
pub fn located(problems: Vec<Problem>, lines: &BTreeMap<Id, usize>) -> Vec<Problem> {
    let line = |problem: &Problem| lines.get(&problem.id?).copied();
    problems.into_iter().map(|p| line(&p).map_or(p.clone(), |line| p.at(line))).collect()
}

fn pairs<'a>(table: &'a DeTable<'a>) -> Pairs<'a> {
    let mut pairs = Vec::new();
    for (key, value) in table {
        match value.get_ref() {
            // Its head alone says nothing.
            DeValue::Table(inner) if inner.is_empty() && is_table(key.get_ref()) => {}
            DeValue::Table(inner) if !inner.is_empty() => {
                let name = |inner: &Spanned<DeString<'_>>| format!("{}.{}", key.get_ref(), inner.get_ref());
                pairs.extend(inner.iter().map(|(k, v)| (name(k), k.span().start, v.get_ref())));
            }
            DeValue::Table(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                pairs.push((key.get_ref().to_string(), key.span().start, value.get_ref()));
            }
        }
    }
    pairs
}

fn is_table(name: &str) -> bool {
    QUESTIONS.iter().any(|question| question.key.split_once('.').is_some_and(|(table, _)| table == name))
}

fn one(key: &str, value: &DeValue<'_>) -> Result<(Id, String), Problem> {
    let id = Id::of(key).ok_or_else(|| match nearest(key) {
        Some(known) => Problem::new(Code::MisspeltKey, None, key, known),
        None => Problem::new(Code::UnknownKey, None, key, ""),
    })?;
    match value {
        DeValue::String(text) => Ok((id, text.to_string())),
        DeValue::Integer(number) => Ok((id, number.to_string())),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err(Problem::new(Code::WrongType, Some(id), value.type_str(), "")),
    }
}

/// The key that was meant, if one is near.
fn nearest(key: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        let whole = strsim::jaro_winkler(key, known);
        // A key without its table, or in another: `pool`, `network.pool`.
        if last(key) == last(known) { whole.max(ALIKE) } else { whole }
    };
    let known = QUESTIONS.iter().map(|question| (likeness(question.key), question.key));
    let best = known.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, key)| key)
}

/// The line of a byte, counted from one.
fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|b| *b == b'\n').count()
}

/// The answers file of these answers: all that make sense, with what is proposed where nothing was answered.
#[must_use]
pub fn write(context: &Context<'_>) -> String {
    let language = context.language();
    let mut text = "# Answers for rackwright setup. See rackwright setup --help\n".to_owned();
    let mut table = "";
    for question in QUESTIONS {
        let Some(value) = context.value(question.id) else { continue };
        let (inside, name) = question.key.split_once('.').unwrap_or(("", question.key));
        if inside != table {
            table = inside;
            text.push_str(&format!("\n[{table}]\n"));
        }
        text.push_str(&format!("# {}\n{name} = {}\n", question.title.of(language), quoted(&value)));
    }
    text
}

/// A text in TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
