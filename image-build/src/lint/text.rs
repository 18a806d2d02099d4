//! Names off a stranger's disk, made fit for a terminal and a log.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The most characters of one name that are shown.
const SHOWN_MAX: usize = 300;

/// A name with everything escaped that is no plain printable character: line ends, terminal sequences, marks that turn the
/// direction of writing, bytes that are no UTF-8. Long ones are cut.
pub fn escaped(name: impl AsRef<OsStr>) -> String {
    let mut shown = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => shown.push(character),
                other => shown.extend(other.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
        if shown.len() > SHOWN_MAX * 4 {
            break;
        }
    }
    if shown.chars().count() > SHOWN_MAX {
        shown = shown.chars().take(SHOWN_MAX).collect();
        shown.push_str("...");
    }
    shown
}

/// So many bytes, for people.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut tenths) = ("KiB", bytes.saturating_mul(10) >> 10);
    for next in units.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        (unit, tenths) = (next, tenths >> 10);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Breaks a text into lines of at most so many characters, each begun with `indent`.
pub fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&format!("{indent}{line}\n"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless() {
        for (name, shown) in [
            (&b"plain 'name'"[..], "plain 'name'"),
            (b"a\nb\x1b[2Jc", "a\\nb\\u{1b}[2Jc"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"back\\slash", "back\\\\slash"),
            ("機器".as_bytes(), "機器"),
        ] {
            assert_eq!(escaped(OsStr::from_bytes(name)), shown);
        }
        assert_eq!(escaped("x".repeat(100_000)).len(), SHOWN_MAX + 3);
    }

    #[test]
    fn sizes_and_lines() {
        assert_eq!(size(0), "0.0 KiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(u64::MAX), "1677721.5 TiB");
        assert_eq!(wrapped("aa bb cc", "  ", 7), "  aa bb\n  cc\n");
    }
}
