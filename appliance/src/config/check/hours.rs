//! `[[cast.hours]]`: when images may take how much of a network.

use fleet::hours::{DAY, Days, Hours};
use toml::Spanned;

use super::super::{ConfigError, raw};
use super::{At, mbit};

/// A rule for each day and each night of a week, twice over.
const MOST: usize = 32;
/// What days are called; Monday is 0.
const NAMES: [(&str, u8); 7] =
    [("mon", 0), ("tue", 1), ("wed", 2), ("thu", 3), ("fri", 4), ("sat", 5), ("sun", 6)];
/// What to write for days.
const DAYS: &str = "\"daily\", \"mon-fri\", \"sat\" or [\"mon\", \"wed-fri\"]";

pub(super) fn hours(text: &str, raw: &[raw::Hours]) -> Result<Vec<Hours>, ConfigError> {
    if let Some(more) = raw.get(MOST) {
        let at = At { text, key: "cast.hours".into() };
        let why = format!("there are {} of them", raw.len());
        return Err(at.refuse(&more.from, why, &format!("{MOST} at most")));
    }
    (1..).zip(raw).map(|(number, raw)| one(text, number, raw)).collect()
}

fn one(text: &str, number: usize, raw: &raw::Hours) -> Result<Hours, ConfigError> {
    let at = |key: &str| At { text, key: format!("cast.hours {number}.{key}") };
    let from = minute(&at("from"), &raw.from, DAY - 1)?;
    let to = minute(&at("to"), &raw.to, DAY)?;
    if from == to {
        let why = "it begins and is over at once";
        return Err(at("to").refuse(&raw.to, why, "a later time; all day is from 00:00 to 24:00"));
    }
    let cure = "for example 100; 0: nothing is sent to all, and servers fetch with a tenth of the link";
    let limit_mbit = mbit(&at("limit_mbit"), &raw.limit_mbit, cure)?;
    let days = raw.days.as_ref().map_or(Ok(Days::DAILY), |days| week(&at("days"), days))?;
    Ok(Hours { from, to, days, limit_mbit })
}

fn minute(at: &At<'_>, value: &Spanned<String>, last: u16) -> Result<u16, ConfigError> {
    let read = || {
        let (hours, minutes) = value.get_ref().split_once(':')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = matches!(hours.len(), 1 | 2) && minutes.len() == 2 && digits(hours) && digits(minutes);
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| is_time);
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        Some(hours * 60 + minutes).filter(|minute| minutes < 60 && *minute <= last)
    };
    read().ok_or_else(|| {
        let until = if last == DAY { "24:00" } else { "23:59" };
        let why = format!("{:?} is not a time of day", value.get_ref());
        at.refuse(value, why, &format!("hours and minutes up to {until}, for example \"08:00\""))
    })
}

fn week(at: &At<'_>, value: &Spanned<raw::Days>) -> Result<Days, ConfigError> {
    let words = match value.get_ref() {
        raw::Days::One(word) => std::slice::from_ref(word),
        raw::Days::Several(words) => words.as_slice(),
    };
    if words.is_empty() {
        return Err(at.refuse(value, "it names no day", DAYS));
    }
    let mut days = Days::default();
    for word in words.iter().flat_map(|word| word.split(',')) {
        let word = word.trim();
        let some = span(&word.to_ascii_lowercase());
        days = days.and(some.ok_or_else(|| at.refuse(value, format!("{word:?} is not a day"), DAYS))?);
    }
    Ok(days)
}

fn span(word: &str) -> Option<Days> {
    let day = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, day)| *day);
    if word == "daily" {
        return Some(Days::DAILY);
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(Days::span(day(first)?, day(last)?))
}
