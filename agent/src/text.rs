//! Text from firmware, drives and networks, made fit for a screen and a message.

/// The longest name that is passed on.
pub const NAME_MAX: usize = 128;

/// One line of at most `most` characters: control characters are dropped (an escape sequence in a serial number must
/// not reach a terminal), runs of white space become one blank, the ends are trimmed.
pub fn clean(raw: &str, most: usize) -> String {
    let shown = |c: char| if c.is_whitespace() { ' ' } else { c };
    let mut out = String::new();
    let mut length = 0;
    for c in raw.chars().map(shown).filter(|c| !c.is_control() && !is_invisible(*c)) {
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if length == most {
            break;
        }
        out.push(c);
        length += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// [`clean`] at the usual length.
pub fn name(raw: &str) -> String {
    clean(raw, NAME_MAX)
}

/// [`clean`] for bytes that may not be UTF-8, up to the first NUL.
pub fn name_of_bytes(raw: &[u8]) -> String {
    let text = raw.split(|&b| b == 0).next().unwrap_or_default();
    name(&String::from_utf8_lossy(text))
}

/// Marks that change how the text around them reads: bidirectional controls, zero-width characters, the BOM.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::{clean, name, name_of_bytes};

    #[test]
    fn hostile_names_become_one_harmless_line() {
        let table = [
            ("  QEMU  HARDDISK  ", "QEMU HARDDISK"),
            ("a\x1b[2Jb", "a[2Jb"),
            ("a\nb\r\nc\td", "a b c d"),
            ("\x00\x07\x7f", ""),
            ("a\u{202e}b\u{200b}c\u{feff}", "abc"),
            ("\u{9b}31m", "31m"),
            ("größe", "größe"),
        ];
        for (raw, want) in table {
            assert_eq!(name(raw), want, "{raw:?}");
        }
    }

    #[test]
    fn length_is_capped_in_characters() {
        assert_eq!(clean(&"ß".repeat(1000), 5), "ßßßßß");
        assert_eq!(clean("abc def", 4), "abc");
    }

    #[test]
    fn bytes_end_at_nul_and_need_not_be_text() {
        assert_eq!(name_of_bytes(b"root\0garbage"), "root");
        assert_eq!(name_of_bytes(b"a\xff\xfeb"), "ab");
    }
}
