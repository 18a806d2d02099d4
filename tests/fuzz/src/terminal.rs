//! Texts on their way to a terminal, and JSON on its way to one.

use console::fuzzing::{ago, clean, clean_value, date_and_clock, fit, is_hostile, quiet_json, width};
use serde_json::Value;

use crate::Reached;

/// Nothing that a terminal obeys is left, and a parser reads the same JSON.
pub(crate) fn run(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let cleaned = clean(&text);
    assert!(!cleaned.chars().any(is_hostile), "{cleaned:?}");
    assert_eq!(clean(&cleaned), cleaned, "cleaned twice");
    assert_eq!(cleaned.chars().count(), text.chars().count(), "what was there stays visible");
    for cells in [0, 1, 3, 8, 40] {
        let fitted = fit(&cleaned, cells);
        assert!(width(&fitted) <= cells, "{fitted:?} in {cells}");
    }
    ago(&text, 1_800_000_000);
    date_and_clock(&text);
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return Reached::Refusal };
    for written in [value.to_string(), serde_json::to_string_pretty(&value).unwrap_or_default()] {
        let quiet = quiet_json(&written);
        assert!(!quiet.chars().any(|c| c != '\n' && is_hostile(c)), "{quiet:?}");
        // Not with `value` itself: JSON's fractions do not survive every journey to the last bit.
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert_eq!(read(&quiet), read(&written));
    }
    let cleaned = clean_value(value).to_string();
    assert!(!cleaned.chars().any(is_hostile), "{cleaned:?}");
    Reached::Inside
}

/// Terminal sequences, marks of direction, wide and invisible characters; as text and in JSON.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "\u{1b}[31mred\u{202e}\n\t教室A e\u{301} \u{200b}\u{feff}",
        "2026-11-20T14:31:02.123Z",
        "2026-11-20é14:31:02",
        "{\"a\\u001b[2J\":[\"\\u009b31m\",\"\u{202e}x\",1e300,null,{\"\":\"教室\"}]}",
        "[\"\u{e0041}\u{ad}\u{3164}\", -0.0, 18446744073709551615]",
    ];
    texts.map(Into::into).into()
}
