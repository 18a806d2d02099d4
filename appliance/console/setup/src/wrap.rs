//! Text in cells of a terminal: measured, broken into lines, and cleaned where somebody else wrote it.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Chinese punctuation that must not begin a line.
const CLOSING: &str = "，。、；：？！）」』》】";

/// Cells of a terminal that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// Whether a terminal only shows it: no control characters, none that are invisible or turn the line around.
pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(is_shown)
}

fn is_shown(c: char) -> bool {
    !c.is_control() && c.width().is_some_and(|cells| cells > 0)
}

/// The text with everything that a terminal would obey or hide as `?`.
#[must_use]
pub fn cleaned(text: &str) -> String {
    text.chars().map(|c| if is_shown(c) { c } else { '?' }).collect()
}

/// At most so many cells of a text that a stranger wrote, cleaned.
pub(crate) fn quoted(text: &str, cells: usize) -> String {
    let mut used = 0;
    let mut kept = String::new();
    for c in cleaned(text).chars() {
        used += c.width().unwrap_or(1);
        if used > cells {
            kept.push_str("...");
            break;
        }
        kept.push(c);
    }
    kept
}

/// The text in lines of at most so many cells, each after `indent` spaces; broken at spaces and between Chinese characters,
/// never before closing punctuation. A word that is longer than a line is cut. Line breaks stay; whatever else a terminal would
/// obey or hide is `?`.
#[must_use]
pub fn wrap(text: &str, indent: usize, columns: usize) -> Vec<String> {
    // Two cells are the least that every character fits in; on a screen that narrow the indent goes.
    let indent = if columns >= indent + 10 { indent } else { 0 };
    let room = columns.saturating_sub(indent).max(2);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for piece in pieces(&cleaned(paragraph)) {
            if !line.is_empty() && line.width() + piece.trim_end().width() > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { piece.trim_start() } else { piece });
            while line.trim_end().width() > room {
                let (head, tail) = cut(&line, room);
                lines.push(head.to_owned());
                line = tail.to_owned();
            }
        }
        lines.push(line);
    }
    lines.iter().map(|line| format!("{}{}", " ".repeat(indent), line.trim_end())).collect()
}

/// What is never parted: a word with the spaces behind it, a wide character with the punctuation that closes it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let is_wide = |c: char| c.width() == Some(2);
        let parts = before.is_some_and(|b| (b == ' ' && c != ' ') || is_wide(b) || (is_wide(c) && b != ' '));
        let begins = parts && c != ' ' && !CLOSING.contains(c);
        if begins && at > start {
            pieces.extend(text.get(start..at));
            start = at;
        }
        before = Some(c);
    }
    pieces.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    pieces
}

/// At least one character, at most so many cells; and the rest.
fn cut(text: &str, cells: usize) -> (&str, &str) {
    let mut used = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > cells && at > 0 {
            break;
        }
        end = at + c.len_utf8();
    }
    text.split_at_checked(end).unwrap_or((text, ""))
}
