//! The text in which LVM2 describes a volume group: sections, numbers, strings and lists (lvm.conf(5) has the grammar).

use std::collections::BTreeMap;

/// A group of ten thousand volumes has fewer.
const VALUES_MAX: usize = 200_000;
/// Group, volumes, volume, segment; nothing lies deeper.
const DEPTH_MAX: u8 = 8;

/// What a name stands for. Strings are as written: escapes occur in remarks only, which nobody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(i64),
    Text(&'a str),
    List(Vec<Value<'a>>),
    Section(Section<'a>),
}

/// Names and what they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section<'a>(BTreeMap<&'a str, Value<'a>>);

impl<'a> Section<'a> {
    /// Parses a whole text. The error says what is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Section<'a>, String> {
        let mut parser = Parser { text, rest: text, values: 0 };
        parser.section(0)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(_) | Value::List(_) | Value::Section(_) => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::List(_) | Value::Section(_) => None,
        }
    }

    /// The values of a list; a single value is a list of one, as LVM has it.
    pub(super) fn list(&self, name: &str) -> &[Value<'a>] {
        self.0.get(name).map(Value::list).unwrap_or_default()
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        match self.0.get(name)? {
            Value::Section(section) => Some(section),
            Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The sections within, by name.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&'a str, &Section<'a>)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((*name, section)),
            Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        })
    }

    /// All values that are no sections, by name.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'a str, &[Value<'a>])> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(_) => None,
            Value::Number(_) | Value::Text(_) | Value::List(_) => Some((*name, value.list())),
        })
    }
}

impl<'a> Value<'a> {
    fn list(&self) -> &[Value<'a>] {
        match self {
            Value::List(values) => values,
            Value::Number(_) | Value::Text(_) | Value::Section(_) => std::slice::from_ref(self),
        }
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::List(_) | Value::Section(_) => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(_) | Value::List(_) | Value::Section(_) => None,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    values: usize,
}

impl<'a> Parser<'a> {
    /// The names up to the closing brace, or at depth 0 to the end.
    fn section(&mut self, depth: u8) -> Result<Section<'a>, String> {
        let mut section = Section::default();
        if depth > DEPTH_MAX {
            return self.wrong("sections lie too deep");
        }
        loop {
            self.skip();
            if depth > 0 && self.take('}') || depth == 0 && self.rest.is_empty() {
                return Ok(section);
            }
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-+./#".contains(letter);
            let name = self.while_(is_name);
            if name.is_empty() {
                return self.wrong("a name is missing");
            }
            self.skip();
            let value = if self.take('{') {
                self.count()?;
                Value::Section(self.section(depth + 1)?)
            } else if self.take('=') {
                self.value()?
            } else {
                return self.wrong("a name stands for nothing");
            };
            if section.0.insert(name, value).is_some() {
                return self.wrong("a name stands for two things");
            }
        }
    }

    fn value(&mut self) -> Result<Value<'a>, String> {
        self.skip();
        if !self.take('[') {
            return self.single();
        }
        let mut values = Vec::new();
        loop {
            self.skip();
            if self.take(']') {
                return Ok(Value::List(values));
            }
            values.push(self.single()?);
            self.skip();
            if !self.take(',') && !self.rest.starts_with(']') {
                return self.wrong("a list does not end");
            }
        }
    }

    fn single(&mut self) -> Result<Value<'a>, String> {
        self.count()?;
        if self.take('"') {
            return self.string();
        }
        let digits = self.while_(|letter| letter.is_ascii_digit() || letter == '-');
        match digits.parse() {
            Ok(number) if !self.rest.starts_with('.') => Ok(Value::Number(number)),
            Ok(_) | Err(_) => self.wrong("a value is neither number nor string"),
        }
    }

    fn string(&mut self) -> Result<Value<'a>, String> {
        let mut is_escaped = false;
        for (at, letter) in self.rest.char_indices() {
            match letter {
                '"' if !is_escaped => {
                    let (text, rest) = self.rest.split_at(at);
                    self.rest = rest.get(1..).unwrap_or_default();
                    return Ok(Value::Text(text));
                }
                _ => is_escaped = letter == '\\' && !is_escaped,
            }
        }
        self.wrong("a string does not end")
    }

    fn count(&mut self) -> Result<(), String> {
        self.values += 1;
        if self.values > VALUES_MAX { self.wrong("it has too many values") } else { Ok(()) }
    }

    /// Spaces and remarks.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\0']);
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn take(&mut self, letter: char) -> bool {
        let rest = self.rest.strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn while_(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(end);
        self.rest = rest;
        part
    }

    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at its byte {}", self.text.len() - self.rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUP: &str = r#"
vg0 { # the group
    id = "SBVtSK"
    seqno = 5	# a number
    status = ["RESIZEABLE", "READ"]
    flags = []
    pv0 { stripes = [ "pv0", 0, "pv1", -3 ] }
}
description = "say \"hi\" \\"
"#;

    #[test]
    fn a_group() {
        let all = Section::parse(GROUP).unwrap();
        let group = all.section("vg0").unwrap();
        assert_eq!((group.text("id"), group.number("seqno")), (Some("SBVtSK"), Some(5)));
        let words = group.list("status").iter().filter_map(Value::as_text).collect::<Vec<_>>();
        assert_eq!(words, ["RESIZEABLE", "READ"]);
        assert_eq!((group.list("flags").len(), group.list("nothing").len()), (0, 0));
        let stripes = group.section("pv0").unwrap().list("stripes");
        assert_eq!(stripes.iter().map(Value::as_number).collect::<Vec<_>>(), [None, Some(0), None, None]);
        assert_eq!(all.text("description"), Some(r#"say \"hi\" \\"#));
        assert_eq!(all.sections().map(|(name, _)| name).collect::<Vec<_>>(), ["vg0"]);
    }

    #[test]
    fn what_is_no_description() {
        let deep = "a {".repeat(100);
        let many = "a = [".to_owned() + &"1,".repeat(VALUES_MAX + 1);
        for (text, why) in [
            ("a {", "a name is missing at its byte 3"),
            ("a = ", "a value is neither number nor string at its byte 4"),
            ("a", "a name stands for nothing at its byte 1"),
            ("a = [1", "a list does not end at its byte 6"),
            ("a = \"\\\"", "a string does not end at its byte 5"),
            ("a = 1\na = 2", "a name stands for two things at its byte 11"),
            ("a = 1.5", "a value is neither number nor string at its byte 5"),
            ("a = 99999999999999999999", "a value is neither number nor string at its byte 24"),
            ("}", "a name is missing at its byte 0"),
            (deep.as_str(), "sections lie too deep at its byte 27"),
            (many.as_str(), "it has too many values at its byte 400005"),
        ] {
            assert_eq!(Section::parse(text).unwrap_err(), why);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall(at in 0..GROUP.len(), byte in "[ -~\n\u{e4}]", text in ".{0,80}") {
            let mut changed = GROUP.to_owned();
            changed.replace_range(at..=at, &byte);
            let _ = Section::parse(&changed);
            let _ = Section::parse(&text);
        }
    }
}
