//! Secrets that must be found nowhere, in every spelling in which one could get somewhere by accident.
//!
//! Knows bytes and files. Refuses to know what a secret is for, and where it may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Shorter ones are found by chance.
const LEAST: usize = 12;
/// Read at once.
const WINDOW: usize = 1 << 20;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_ADDRESSES: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Where something was found: which secret, and how it was spelt.
pub type Found = BTreeSet<(String, &'static str)>;

/// Secrets, ready to be looked for.
#[derive(Debug, Default)]
pub struct Needles {
    names: BTreeSet<String>,
    spelt: Vec<(Vec<u8>, String, &'static str)>,
    /// Which of them begin with these two bytes.
    begins: BTreeMap<[u8; 2], Vec<usize>>,
    longest: usize,
}

impl Needles {
    /// Adds a secret under a name; false when it is too short to be told from chance.
    pub fn add(&mut self, name: &str, secret: &[u8]) -> bool {
        if secret.len() < LEAST {
            return false;
        }
        for (how, spelling) in spellings(secret) {
            let (Some(begin), number) = (spelling.first_chunk::<2>(), self.spelt.len()) else { continue };
            self.begins.entry(*begin).or_default().push(number);
            self.longest = self.longest.max(spelling.len());
            self.spelt.push((spelling, name.to_owned(), how));
        }
        self.names.insert(name.to_owned())
    }

    /// How many secrets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Which of them are in these bytes.
    #[must_use]
    pub fn in_bytes(&self, hay: &[u8]) -> Found {
        let mut found = Found::new();
        // One look at a table for each byte: most of them begin nothing.
        let mut table = vec![false; 1 << 16];
        for begin in self.begins.keys() {
            if let Some(place) = table.get_mut(usize::from(u16::from_be_bytes(*begin))) {
                *place = true;
            }
        }
        for (at, pair) in hay.windows(2).enumerate() {
            let Ok(pair) = <[u8; 2]>::try_from(pair) else { continue };
            if !table.get(usize::from(u16::from_be_bytes(pair))).is_some_and(|is| *is) {
                continue;
            }
            let rest = hay.get(at..).unwrap_or_default();
            for number in self.begins.get(&pair).into_iter().flatten() {
                let Some((spelling, name, how)) = self.spelt.get(*number) else { continue };
                if rest.starts_with(spelling) {
                    found.insert((name.clone(), how));
                }
            }
        }
        found
    }

    /// Which of them are in a file, of whatever size.
    ///
    /// # Errors
    /// It can't be read.
    pub fn in_file(&self, path: &Path) -> io::Result<Found> {
        let (mut file, mut found, mut window) = (File::open(path)?, Found::new(), Vec::new());
        loop {
            let had = window.len();
            let most = u64::try_from(WINDOW).unwrap_or(u64::MAX);
            (&mut file).take(most).read_to_end(&mut window)?;
            if window.len() == had {
                return Ok(found);
            }
            found.extend(self.in_bytes(&window));
            // One that lies across two windows.
            let keeps = window.len().min(self.longest.saturating_sub(1));
            window.drain(..window.len() - keeps);
        }
    }
}

/// Every way in which a secret could be written down by something that was not told that it is one.
fn spellings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |with: &dyn Fn(u8) -> String| secret.iter().map(|byte| with(*byte)).collect::<String>();
    let mut spelt = vec![
        ("as it is", secret.to_vec()),
        ("in hexadecimal", each(&|byte| format!("{byte:02x}")).into_bytes()),
        ("in hexadecimal", each(&|byte| format!("{byte:02X}")).into_bytes()),
        ("percent-encoded", each(&|byte| format!("%{byte:02x}")).into_bytes()),
        ("percent-encoded", each(&|byte| format!("%{byte:02X}")).into_bytes()),
        ("percent-encoded", each(&escaped).into_bytes()),
        ("in UTF-16", secret.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("in UTF-16", secret.iter().flat_map(|byte| [0, *byte]).collect()),
    ];
    for alphabet in [STANDARD, FOR_ADDRESSES] {
        spelt.extend((0..3).map(|shift| ("in base64", base64(secret, shift, alphabet))));
    }
    spelt.sort();
    spelt.dedup_by(|one, other| one.1 == other.1);
    spelt
}

/// As in an address: what is no letter, digit or one of four signs is a number (RFC 3986, 2.3).
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// The letters of the base64 of something with the secret in it, so many bytes after a whole group, that are the same whatever is
/// before and behind it.
fn base64(secret: &[u8], shift: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let padded = [&vec![0; shift], secret].concat();
    let bit = |at: usize| padded.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    // The first letter with no bit of what is before, and the last with none of what is behind.
    let (first, end) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
    let letter = |at: usize| (0..6).fold(0, |value, place| value << 1 | usize::from(bit(at * 6 + place)));
    (first..end).filter_map(|at| alphabet.get(letter(at)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"correct horse/battery+staple";

    fn needles() -> Needles {
        let mut needles = Needles::default();
        assert!(needles.add("planted", SECRET) && needles.add("other", &[0xfb, 0xef, 0xbe].repeat(9)));
        needles
    }

    fn how(hay: &[u8]) -> Vec<&'static str> {
        needles()
            .in_bytes(hay)
            .into_iter()
            .map(|(name, how)| (name == "planted").then_some(how).unwrap())
            .collect()
    }

    /// A scanner that finds nothing proves nothing: it finds every spelling, wherever it lies.
    #[test]
    fn every_spelling_is_found_wherever_it_lies() {
        let wide = |first: usize| {
            let mut wide = vec![0; 2 * SECRET.len()];
            wide.iter_mut().skip(first).step_by(2).zip(SECRET).for_each(|(to, from)| *to = *from);
            wide
        };
        let table: [(&str, Vec<u8>); 10] = [
            ("as it is", SECRET.to_vec()),
            ("in hexadecimal", b"636f727265637420686f7273652f626174746572792b737461706c65".to_vec()),
            ("in hexadecimal", b"636F727265637420686F7273652F626174746572792B737461706C65".to_vec()),
            ("percent-encoded", b"correct%20horse%2Fbattery%2Bstaple".to_vec()),
            ("in UTF-16", wide(0)),
            ("in UTF-16", wide(1)),
            // As `base64` prints it alone, behind one byte, behind two, and with something behind it.
            ("in base64", b"Y29ycmVjdCBob3JzZS9iYXR0ZXJ5K3N0YXBsZQ==".to_vec()),
            ("in base64", b"eGNvcnJlY3QgaG9yc2UvYmF0dGVyeStzdGFwbGU=".to_vec()),
            ("in base64", b"eHhjb3JyZWN0IGhvcnNlL2JhdHRlcnkrc3RhcGxl".to_vec()),
            ("in base64", b"Y29ycmVjdCBob3JzZS9iYXR0ZXJ5K3N0YXBsZXh4eHg=".to_vec()),
        ];
        for (want, spelt) in &table {
            for before in [0, 1, 2, 7] {
                let hay = [&vec![b'%'; before], &spelt[..], b"&more"].concat();
                assert_eq!(how(&hay), [*want], "{} behind {before}", String::from_utf8_lossy(spelt));
            }
            assert_eq!(how(&spelt[..spelt.len() / 2]), [""; 0], "half of it is not it");
        }
        assert_eq!(how(b""), [""; 0]);
    }

    #[test]
    fn one_across_two_windows_is_found_and_a_short_one_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for begin in [0, WINDOW - 40, WINDOW - 28, WINDOW - 5, WINDOW - 1, WINDOW, 2 * WINDOW - 3] {
            let hay = [&vec![b'.'; begin], SECRET].concat();
            std::fs::write(file.path(), hay).unwrap();
            let found = needles().in_file(file.path()).unwrap();
            assert_eq!(found, [("planted".to_owned(), "as it is")].into(), "at {begin}");
        }
        assert!(!Needles::default().add("short", b"12345678901"));
        assert_eq!(needles().count(), 2);
    }

    /// A letter of base64 that depends on what is beside the secret is none of the secret's.
    #[test]
    fn base64_is_of_the_secret_alone() {
        assert_eq!(base64(b"abc", 0, STANDARD), b"YWJj");
        assert_eq!(base64(b"abc", 1, STANDARD), b"FiY");
        assert_eq!(base64(b"abc", 2, STANDARD), b"hYm");
        assert_eq!(base64(b"\xfb\xef\xbe", 0, FOR_ADDRESSES), b"----");
    }
}
