//! Strings that a server or a person wrote, on their way into Ansible.

use serde_json::{Map, Value, json};

/// Characters of a string that are kept: a serial number is shorter, a novel does not belong into an inventory.
const LONGEST: usize = 512;
/// Levels of nesting that are kept.
const DEEPEST: usize = 8;
/// Entries of a list or a map that are kept.
const WIDEST: usize = 256;

/// The value with every string marked as not to be evaluated, whatever it holds.
pub(crate) fn untrusted(value: &Value) -> Value {
    marked(value, 0)
}

fn marked(value: &Value, depth: usize) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => json!({ "__ansible_unsafe": clean(text) }),
        Value::Array(_) | Value::Object(_) if depth >= DEEPEST => Value::Null,
        Value::Array(items) => items.iter().take(WIDEST).map(|item| marked(item, depth + 1)).collect(),
        Value::Object(map) => {
            let pairs = map.iter().take(WIDEST).map(|(name, item)| (key(name), marked(item, depth + 1)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

/// A name that Ansible takes for a variable and not for one of its own marks (`__ansible_vault`, `__payload__`, …).
pub(crate) fn key(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name = name.chars().take(64).map(plain).collect::<String>();
    match name.trim_start_matches('_') {
        rest if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => rest.to_owned(),
        rest => format!("x{rest}"),
    }
}

/// Without what a terminal would obey or hide: control characters, marks of writing direction, invisible joiners.
fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|c| !hidden(*c)).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_marked_and_cleaned() {
        let table = [
            ("{{ 1+1 }}", "{{ 1+1 }}"),
            ("{% for i in range(9**9) %}", "{% for i in range(9**9) %}"),
            ("\u{1b}[31mred\u{7}", "[31mred"),
            ("\u{9b}31m", "31m"),
            ("a\r\nb\0", "ab"),
            ("\u{202e}drac", "drac"),
            ("\u{2066}x\u{2069}\u{200b}", "x"),
            ("教室A", "教室A"),
            ("", ""),
        ];
        for (raw, kept) in table {
            assert_eq!(untrusted(&json!(raw)), json!({ "__ansible_unsafe": kept }), "{raw:?}");
        }
        assert_eq!(untrusted(&json!("x".repeat(9999))), json!({ "__ansible_unsafe": "x".repeat(512) }));
    }

    #[test]
    fn nested_values_and_keys_carry_no_marks_of_their_own() {
        let raw = json!({"__ansible_vault": "$ANSIBLE_VAULT;1.1", "a.b": [1, true, null, "{{x}}"], "9": {"{{k}}": "v"}});
        let unsafe_text = |text: &str| json!({ "__ansible_unsafe": text });
        assert_eq!(
            untrusted(&raw),
            json!({
                "ansible_vault": unsafe_text("$ANSIBLE_VAULT;1.1"),
                "a_b": [1, true, null, unsafe_text("{{x}}")],
                "x9": {"k__": unsafe_text("v")},
            })
        );
    }

    #[test]
    fn depth_and_width_end_somewhere() {
        let deep = (0..100).fold(json!("x"), |inner, _| json!([inner]));
        assert!(!untrusted(&deep).to_string().contains('x'));
        let wide = Value::Array(vec![json!(1); 9999]);
        assert_eq!(untrusted(&wide).as_array().map(Vec::len), Some(WIDEST));
    }
}
