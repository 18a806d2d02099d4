//! The last look at a text that leaves: known secrets in any of their spellings, and what looks like one.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXUPPER};

/// Shorter things are words, and found everywhere.
const SHORTEST: usize = 8;
const SECRET: &str = "(secret)";
/// Words before a value that nobody else is to know.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "api_key",
    "apikey",
    "credential",
];

/// Secrets that are known.
#[derive(Debug, Default)]
pub(super) struct Needles(BTreeSet<String>);

impl Needles {
    /// A text, and what it looks like when it was coded.
    pub(super) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return;
        }
        self.0.insert(secret.to_owned());
        let bytes = secret.as_bytes();
        for coded in [
            BASE64.encode(bytes),
            BASE64_NOPAD.encode(bytes),
            HEXLOWER.encode(bytes),
            HEXUPPER.encode(bytes),
            // As it stands in JSON.
            serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
        ] {
            self.0.insert(coded);
        }
    }

    /// A file's bytes: each line of text, or all of it.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                text.lines().filter(|line| !line.contains("-----")).for_each(|line| self.add_line(line))
            }
            Err(_) => {
                for coded in [BASE64.encode(bytes), HEXLOWER.encode(bytes)] {
                    self.0.insert(coded);
                }
            }
        }
    }

    /// A file in base64, as nodes hand it in.
    pub(super) fn add_file(&mut self, content: &str) {
        self.add(content);
        if let Ok(bytes) = BASE64.decode(content.as_bytes()) {
            self.add_bytes(&bytes);
        }
    }

    /// A line, and each quoted text in it: a file of credentials may be JSON.
    fn add_line(&mut self, line: &str) {
        self.add(line);
        line.split('"').skip(1).step_by(2).for_each(|quoted| self.add(quoted));
    }
}

/// The text without secrets, and how many places were changed.
pub(super) fn redact(text: &str, needles: &Needles) -> (String, usize) {
    let mut found = 0;
    let mut text = text.to_owned();
    // Longest first: a line of a key before the piece of it that is also known.
    let mut needles = needles.0.iter().collect::<Vec<_>>();
    needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    for needle in needles {
        let places = text.matches(needle.as_str()).count();
        if places > 0 {
            found += places;
            text = text.replace(needle.as_str(), SECRET);
        }
    }
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY");
        if begins || in_key {
            // A key may stand on one line, with its ends escaped.
            in_key = !line.contains("-----END");
            found += usize::from(begins);
            clean.push_str(if begins { "(a private key)\n" } else { "" });
            continue;
        }
        let (line, places) = looks(line);
        found += places;
        clean.push_str(&line);
    }
    (clean, found)
}

/// A line without values that follow a telling word, and without passwords in addresses.
fn looks(line: &str) -> (String, usize) {
    let (mut line, mut found) = (line.to_owned(), 0);
    for word in WORDS {
        let mut from = 0;
        // ASCII lower case leaves every byte where it is.
        while let Some(at) = line.to_ascii_lowercase().get(from..).and_then(|rest| rest.find(word)) {
            let end = from + at + word.len();
            from = end;
            if let Some((start, stop)) = value(&line, end) {
                line.replace_range(start..stop, SECRET);
                found += 1;
                from = start + SECRET.len();
            }
        }
    }
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find("://")) {
        let start = from + at + 3;
        let rest = line.get(start..).unwrap_or_default();
        let host =
            rest.find(|c: char| c.is_whitespace() || ['/', '"', '?'].contains(&c)).unwrap_or(rest.len());
        from = start;
        if let Some(sign) = rest.get(..host).and_then(|authority| authority.rfind('@')) {
            line.replace_range(start..start + sign, SECRET);
            found += 1;
        }
    }
    (line, found)
}

/// Where the value stands that follows at `from`, after `=` or `:` and quotes.
fn value(line: &str, from: usize) -> Option<(usize, usize)> {
    let rest = line.get(from..)?;
    let gap = rest.find(|c: char| !(c.is_whitespace() || ['"', '\'', '\\', '_'].contains(&c)))?;
    let sign = rest.get(gap..)?.chars().next().filter(|sign| ['=', ':'].contains(sign))?;
    let after = from + gap + sign.len_utf8();
    let rest = line.get(after..)?;
    let lead = rest.find(|c: char| !(c.is_whitespace() || ['"', '\'', '\\'].contains(&c)))?;
    let start = after + lead;
    let rest = line.get(start..)?;
    // "Bearer" and "Basic" are no value yet.
    let scheme =
        ["Bearer ", "bearer ", "Basic ", "basic "].into_iter().find(|scheme| rest.starts_with(scheme));
    let start = start + scheme.map_or(0, str::len);
    let rest = line.get(start..)?;
    let length = rest.find(|c: char| c.is_whitespace() || ['"', '\'', ',', ';', '}', '\\'].contains(&c));
    let stop = start + length.unwrap_or(rest.len());
    (stop > start && line.get(start..stop) != Some(SECRET)).then_some((start, stop))
}

#[cfg(test)]
mod tests {
    use super::{Needles, redact};

    fn clean(text: &str) -> String {
        redact(text, &Needles::default()).0
    }

    #[test]
    fn what_looks_like_a_secret_is_none_any_more() {
        for (text, expected) in [
            ("password=hunter2 rest", "password=(secret) rest"),
            ("Password: \"hunter2\", next", "Password: \"(secret)\", next"),
            (r#"{"bmc_password":"hunter2","x":1}"#, r#"{"bmc_password":"(secret)","x":1}"#),
            (r#"{\"token\":\"hunter2\"}"#, r#"{\"token\":\"(secret)\"}"#),
            ("Authorization: Bearer hunter2\n", "Authorization: Bearer (secret)\n"),
            ("get https://me:hunter2@host/path", "get https://(secret)@host/path"),
            ("a ://b@ c", "a ://(secret)@ c"),
            ("the password was wrong", "the password was wrong"),
            ("password=", "password="),
            ("secret", "secret"),
            ("token=a token=b", "token=(secret) token=(secret)"),
            ("é password=ü", "é password=(secret)"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(clean(text), expected);
        }
        let key = "a\n-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(clean(key), "a\n(a private key)\nb\n");
        let one = r#"{"k":"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----"}"#;
        assert_eq!(clean(&format!("{one}\nb\n")), "(a private key)\nb\n");
    }

    #[test]
    fn a_known_secret_is_found_in_every_spelling() {
        let mut needles = Needles::default();
        needles.add("hunter2-hunter2\"x");
        needles.add_bytes(b"{\"n1\": \"bmc-password-1\"}\nshort\n");
        needles.add_bytes(&[0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7]);
        let text = "hunter2-hunter2\"x aHVudGVyMi1odW50ZXIyIng= 68756e746572322d68756e746572322278 \
                    hunter2-hunter2\\\"x bmc-password-1 short fffe01020304050607";
        let (clean, found) = redact(text, &needles);
        assert_eq!(found, 6, "{clean}");
        assert!(clean.contains("short") && !clean.contains("hunter") && !clean.contains("bmc-"), "{clean}");
    }
}
