//! Text on its way to a person: cleaned, measured, shortened; sizes, rates, ages.
//!
//! Knows what a terminal obeys or hides. Refuses to know where the text came from: it is all treated alike, because a
//! disk label, a unit's journal line and an image's name can each be written by somebody else.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a terminal would obey this character, or draw nothing for it, or turn the line around.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line that a terminal only shows: white space becomes a space, everything hostile a visible `?`.
pub fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_hostile(c) => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Cleans every string of an answer, names of fields too: what is read from it needs no second thought.
pub fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(map) => map.into_iter().map(|(key, item)| (clean(&key), clean_value(item))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// The same JSON with everything hostile written as `\uXXXX`: a parser reads the same, a terminal obeys nothing.
///
/// The line breaks of pretty printing stay: inside strings JSON has escaped them already.
pub fn quiet_json(text: &str) -> String {
    let mut quiet = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_hostile(c) {
            quiet.push(c);
            continue;
        }
        let mut units = [0u16; 2];
        for unit in c.encode_utf16(&mut units) {
            quiet.push_str(&format!("\\u{unit:04x}"));
        }
    }
    quiet
}

/// Cells of a terminal that the text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many cells, with `...` where something is missing.
pub fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let room = cells.saturating_sub(3);
    let mut used = 0;
    let mut kept = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        kept.push(c);
    }
    // A selector makes the character before it wider (1 and U+FE0F take two cells), which no character alone tells.
    while width(&kept) > room {
        kept.pop();
    }
    kept.truncate(kept.trim_end().len());
    kept.extend(std::iter::repeat_n('.', cells.min(3)));
    kept
}

/// Bytes in binary units, as memory and images are counted: `512 B`, `1.5 MiB`, `64 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Bytes in decimal units, as disks are sold: `480 GB`, `2.4 TB`.
pub(crate) fn disk_bytes(count: u64) -> String {
    scaled(count, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn scaled(count: u64, step: u64, units: &[&str]) -> String {
    let mut scale = 1u64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if count / scale < step {
            break;
        }
        (scale, unit) = (scale.saturating_mul(step), larger);
    }
    // Two digits are enough to compare by; a third would change on every redraw.
    let tenths = u128::from(count) * 10 / u128::from(scale);
    if scale == 1 || tenths >= 100 || tenths % 10 == 0 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A text after its label in lines of at most so many cells; the lines after the first begin where the text does. A word
/// that is longer than a line has one to itself.
pub(crate) fn fill(label: &str, text: &str, cells: usize) -> String {
    let indent = width(label);
    let mut lines = vec![label.to_owned()];
    let mut used = indent;
    for word in text.split(' ') {
        let (room, begun) = (cells.saturating_sub(used), used > indent);
        if begun && width(word) + 1 > room {
            lines.push(" ".repeat(indent));
            used = indent;
        }
        let Some(line) = lines.last_mut() else { break };
        if used > indent {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += width(word);
    }
    lines.join("\n")
}

/// Seconds in the two largest units: `8s`, `3m20s`, `2h5m`, `4d`.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => pair(minutes, 'm', seconds % 60, 's'),
        3600..86_400 => pair(hours, 'h', minutes % 60, 'm'),
        _ => pair(days, 'd', hours % 24, 'h'),
    }
}

/// Seconds in one unit, for a narrow column: `8s`, `3m`, `2h`, `4d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds since 1970 of an RFC 3339 time; `None` when it is none.
pub(crate) fn seconds(rfc3339: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(rfc3339).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// How long ago that was, in a narrow column; `-` when it can't be told.
pub fn ago(rfc3339: &str, now: u64) -> String {
    seconds(rfc3339).map_or_else(|| "-".to_owned(), |at| age(now.saturating_sub(at)))
}

/// `14:31:02` of an RFC 3339 time (UTC, as it came).
pub(crate) fn clock(rfc3339: &str) -> String {
    rfc3339.get(11..19).unwrap_or(rfc3339).to_owned()
}

/// `2026-11-20 14:31:02 UTC` of an RFC 3339 time.
pub fn date_and_clock(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(date), Some(clock)) => format!("{date} {clock} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// The text, or `-` where it is empty.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// `[####------]` with so many cells between the brackets.
pub(crate) fn bar(percent: u64, cells: usize) -> String {
    let full = usize::try_from(percent.min(100)).unwrap_or(100) * cells / 100;
    format!("[{}{}]", "#".repeat(full), "-".repeat(cells.saturating_sub(full)))
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
