use serde_json::json;

use super::*;
use crate::hostile::HOSTILE;

#[test]
fn nothing_hostile_is_left() {
    for raw in HOSTILE {
        let kept = clean(raw);
        assert!(!kept.chars().any(is_hostile), "{raw:?} became {kept:?}");
        assert_eq!(kept.chars().count(), raw.chars().count(), "what was there stays visible");
        let json = quiet_json(&json!({ "x": raw }).to_string());
        assert!(!json.chars().any(is_hostile), "{raw:?} became {json:?}");
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            json!({ "x": raw }),
            "a parser reads the same"
        );
    }
    assert_eq!(clean("\u{1b}[31mred\u{202e}\n"), "?[31mred? ");
    assert_eq!(clean("Straße 教室A é"), "Straße 教室A é");
    assert_eq!(clean_value(json!({"a\u{7}": ["\u{9b}", 1, null]})), json!({"a?": ["?", 1, null]}));
    assert_eq!(quiet_json("{\n  \"a\": \"\u{e0041}\"\n}"), "{\n  \"a\": \"\\udb40\\udc41\"\n}");
}

#[test]
fn texts_fit() {
    let table = [
        ("abc", 3, "abc"),
        ("abcdef", 5, "ab..."),
        ("ab cdef", 6, "ab..."),
        ("教室教室", 8, "教室教室"),
        ("教室教室", 7, "教室..."),
        ("教室教室", 6, "教..."),
        ("abcdef", 2, ".."),
        ("abcdef", 0, ""),
        ("1\u{fe0f}1\u{fe0f}1\u{fe0f}x", 5, "1\u{fe0f}..."),
    ];
    for (text, cells, fitted) in table {
        assert_eq!(fit(text, cells), fitted);
        assert!(width(&fit(text, cells)) <= cells, "{text} in {cells}");
    }
}

#[test]
fn sizes() {
    let table = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10 << 20, "10 MiB"),
        ((10 << 20) + 600_000, "10 MiB"),
        (64 << 30, "64 GiB"),
        (u64::MAX, "15 EiB"),
    ];
    for (count, text) in table {
        assert_eq!(bytes(count), text);
    }
    assert_eq!(disk_bytes(480_103_981_056), "480 GB");
    assert_eq!(disk_bytes(2_400_000_000_000), "2.4 TB");
    assert_eq!(disk_bytes(u64::MAX), "18 EB");
}

#[test]
fn times() {
    for (seconds, long, short) in [
        (0, "0s", "0s"),
        (59, "59s", "59s"),
        (60, "1m", "1m"),
        (200, "3m20s", "3m"),
        (3600, "1h", "1h"),
        (7500, "2h5m", "2h"),
        (86_400, "1d", "1d"),
        (100_000, "1d3h", "1d"),
    ] {
        assert_eq!((duration(seconds).as_str(), age(seconds).as_str()), (long, short));
    }
    assert_eq!(seconds("1970-01-01T00:01:02.500Z"), Some(62));
    assert_eq!(ago("1970-01-01T00:01:02.500Z", 100), "38s");
    assert_eq!(ago("1970-01-01T00:01:02Z", 1), "0s", "a clock that was set back is not a crash");
    assert_eq!(ago("", 1), "-");
    assert_eq!(clock("2026-11-20T14:31:02.123Z"), "14:31:02");
    assert_eq!(date_and_clock("2026-11-20T14:31:02.123Z"), "2026-11-20 14:31:02 UTC");
    for odd in ["", "教室教室教室教室教室", "2026"] {
        assert_eq!((clock(odd), date_and_clock(odd)), (odd.to_owned(), odd.to_owned()));
    }
}

#[test]
fn bars() {
    assert_eq!(bar(0, 4), "[----]");
    assert_eq!(bar(50, 4), "[##--]");
    assert_eq!(bar(100, 4), "[####]");
    assert_eq!(bar(250, 4), "[####]");
    assert_eq!(bar(50, 0), "[]");
}
