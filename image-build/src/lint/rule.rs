//! The rules as data: what is looked for, and what generalising does about it.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::glob::Glob;

/// The rules that are shipped.
const SHIPPED: &str = include_str!("../../recipes/identity.toml");
/// How large a compiled pattern may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a list of rules can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not TOML, or has fields that nobody knows.
    #[error("the list of rules")]
    Parse(#[from] toml::de::Error),
    /// A rule contradicts itself.
    #[error("rule {id:?}: {why}")]
    Senseless {
        /// Which.
        id: String,
        /// What is wrong.
        why: String,
    },
}

/// What kind of thing must not be in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Tells one machine from another.
    Identity,
    /// Opens something.
    Secret,
    /// Works on this hardware only.
    Binding,
    /// Takes room and tells of the past.
    Residue,
}

/// When a path counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Find {
    /// It is there.
    Exists,
    /// It is there and not empty.
    Filled,
    /// It is a file with such content.
    Matches,
    /// Not a path: a volume with such bytes.
    Volume,
    /// Not a path: a subvolume of a file system of the system that is not looked into.
    Subvolume,
    /// Not a path: whatever could not be looked into.
    Unseen,
}

/// What generalising does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strip {
    /// Removes the file, or the folder with all that is in it.
    Remove,
    /// Leaves an empty file.
    Truncate,
    /// Removes all that is in the folder.
    Empty,
    /// Writes [`Rule::text`].
    Write,
    /// Puts [`Rule::text`] in the place of every match.
    Replace,
    /// Makes an empty swap space of one that a system sleeps in.
    Wake,
    /// Nothing, because no image has it anyway.
    LeftOut,
    /// Nothing, because a person must decide.
    Nothing,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    rule: Vec<Text>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    id: String,
    what: String,
    why: String,
    class: Class,
    refuses: bool,
    #[serde(default)]
    paths: Vec<String>,
    find: Find,
    pattern: Option<String>,
    except: Option<String>,
    #[serde(default)]
    marks: Vec<MarkText>,
    strip: Strip,
    text: Option<String>,
    applies: String,
    reference: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkText {
    at: u64,
    text: Option<String>,
    hex: Option<String>,
}

/// Bytes at a place of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// First byte, counted from the volume's start.
    pub at: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

/// One rule, ready for use.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What was found, as half a sentence.
    pub what: String,
    /// Why no image should have it.
    pub why: String,
    /// What kind of thing it is.
    pub class: Class,
    /// Whether a capture is refused that was not told what to do about it.
    pub refuses: bool,
    /// When a path counts.
    pub find: Find,
    /// What generalising does.
    pub strip: Strip,
    /// What it writes.
    pub text: String,
    /// Which systems or services it is about.
    pub applies: String,
    /// Who says so.
    pub reference: String,
    pub(super) globs: Vec<Glob>,
    pub(super) pattern: Option<Regex>,
    pub(super) except: Option<Regex>,
    pub(super) marks: Vec<Mark>,
}

impl Rule {
    /// Whether it is about paths of a system.
    #[must_use]
    pub fn is_about_paths(&self) -> bool {
        !self.globs.is_empty()
    }

    /// The bytes that a volume is known by; none for a rule about paths.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }
}

/// The rules that are shipped.
///
/// # Errors
/// None in a program that was tested.
pub fn shipped() -> Result<Vec<Rule>, RuleError> {
    parse(SHIPPED)
}

/// Rules from TOML, in its order.
///
/// # Errors
/// When the text has unknown or missing fields, or a rule contradicts itself.
pub fn parse(text: &str) -> Result<Vec<Rule>, RuleError> {
    let list: List = toml::from_str(text)?;
    let mut seen = BTreeSet::new();
    list.rule
        .into_iter()
        .map(|text| {
            let id = text.id.clone();
            let again = !seen.insert(id.clone());
            let rule = if again { Err("there is another of this name".to_owned()) } else { compile(text) };
            rule.map_err(|why| RuleError::Senseless { id, why })
        })
        .collect()
}

fn compile(text: Text) -> Result<Rule, String> {
    check(&text)?;
    Ok(Rule {
        globs: text.paths.iter().map(|path| Glob::parse(path)).collect::<Result<Vec<_>, _>>()?.concat(),
        pattern: text.pattern.as_deref().map(regex).transpose()?,
        except: text.except.as_deref().map(regex).transpose()?,
        marks: text.marks.iter().map(mark).collect::<Result<_, _>>()?,
        id: text.id,
        what: text.what,
        why: text.why,
        class: text.class,
        refuses: text.refuses,
        find: text.find,
        strip: text.strip,
        text: text.text.unwrap_or_default(),
        applies: text.applies,
        reference: text.reference,
    })
}

fn check(text: &Text) -> Result<(), String> {
    let demand = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
    let volume = text.find == Find::Volume;
    let unseen = matches!(text.find, Find::Subvolume | Find::Unseen);
    demand(text.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "its name")?;
    demand(
        (volume || unseen) == text.paths.is_empty(),
        "paths are for what is in a file system, and needed there",
    )?;
    demand(volume != text.marks.is_empty(), "marks are for volumes, and needed there")?;
    let matches = text.find == Find::Matches;
    demand(matches == text.pattern.is_some(), "a pattern is for `matches`, and needed there")?;
    demand(matches || text.except.is_none(), "an exception is for `matches`")?;
    let writes = matches!(text.strip, Strip::Write | Strip::Replace);
    demand(writes == text.text.is_some(), "a text is for `write` and `replace`, and needed there")?;
    demand(text.strip != Strip::Replace || matches, "`replace` needs a pattern")?;
    let raw = matches!(text.strip, Strip::Wake | Strip::LeftOut | Strip::Nothing);
    demand(!unseen || text.strip == Strip::Nothing, "a person must decide about it")?;
    demand(!volume || raw, "a volume can be woken, left out or left alone")?;
    demand(
        volume || !matches!(text.strip, Strip::Wake | Strip::LeftOut),
        "only a volume can be woken or left out",
    )
}

/// Bytes, not characters: nobody says how a file is encoded. `^` and `$` are those of lines.
fn regex(pattern: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.multi_line(true).unicode(false).size_limit(PATTERN_BYTES_MAX);
    builder.build().map_err(|error| error.to_string())
}

fn mark(mark: &MarkText) -> Result<Mark, String> {
    let bytes = match (&mark.text, &mark.hex) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(hex)) => data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(|why| why.to_string())?,
        (Some(_), Some(_)) | (None, None) => return Err("a mark has either text or hex".to_owned()),
    };
    if bytes.is_empty() || bytes.len() > 64 {
        return Err("a mark has 1 to 64 bytes".to_owned());
    }
    Ok(Mark { at: mark.at, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "[[rule]]\nid = 'x'\nwhat = 'w'\nwhy = 'y'\nclass = 'secret'\nrefuses = true\n\
                        applies = 'all'\nreference = 'r'\n";

    #[test]
    fn the_shipped_rules_are_valid_and_say_everything() {
        let rules = shipped().unwrap();
        assert!(rules.len() > 50);
        for rule in rules {
            for text in [&rule.what, &rule.why, &rule.applies, &rule.reference] {
                assert!(text.len() > 1 && !text.ends_with('.'), "{}: {text:?}", rule.id);
            }
            assert!(rule.what.len() < 90, "{}", rule.id);
        }
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_refused() {
        for (rest, why) in [
            ("find = 'exists'\nstrip = 'remove'\n", "paths are"),
            ("find = 'exists'\nstrip = 'remove'\npaths = ['a']\n", "absolute"),
            ("find = 'exists'\nstrip = 'remove'\npaths = ['/a/../b']\n", "absolute"),
            ("find = 'matches'\nstrip = 'remove'\npaths = ['/a']\n", "pattern"),
            ("find = 'matches'\npattern = '('\nstrip = 'remove'\npaths = ['/a']\n", "regex"),
            ("find = 'exists'\nstrip = 'write'\npaths = ['/a']\n", "text"),
            ("find = 'exists'\nstrip = 'replace'\ntext = ''\npaths = ['/a']\n", "pattern"),
            ("find = 'volume'\nstrip = 'nothing'\n", "marks"),
            ("find = 'volume'\nstrip = 'nothing'\nmarks = [{ at = 1 }]\n", "either"),
            ("find = 'volume'\nstrip = 'remove'\nmarks = [{ at = 1, hex = '00' }]\n", "volume"),
            ("find = 'subvolume'\nstrip = 'wake'\n", "person"),
            ("find = 'unseen'\nstrip = 'wake'\n", "person"),
            ("find = 'subvolume'\nstrip = 'nothing'\npaths = ['/a']\n", "paths are"),
            ("find = 'exists'\nstrip = 'wake'\npaths = ['/a']\n", "woken"),
        ] {
            let error = parse(&format!("{RULE}{rest}")).unwrap_err().to_string();
            assert!(error.contains(why), "{rest}: {error}");
        }
        assert!(
            parse(&format!("{RULE}find = 'exists'\nstrip = 'remove'\npaths = ['/a']\nmore = 1")).is_err()
        );
        let good = format!("{RULE}find = 'exists'\nstrip = 'remove'\npaths = ['/a']\n");
        assert!(parse(&good).is_ok());
        assert!(parse(&format!("{good}{good}")).unwrap_err().to_string().contains("another"));
    }
}
