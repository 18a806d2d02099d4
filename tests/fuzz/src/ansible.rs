//! What servers and people wrote, on its way into Ansible.

use std::net::IpAddr;

use ansible_compat::{Host, inventory, kolla};
use serde_json::Value;

use crate::Reached;
use crate::input::{Input, block};

/// Every string of a server is marked as not to be evaluated, and only names that Ansible takes as they are get in.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let (name, role) = (input.text(), input.text());
    let facts: Value =
        serde_json::from_slice(input.rest()).unwrap_or(Value::from(&*String::from_utf8_lossy(input.rest())));
    let facts = [("hardware".to_owned(), facts), (name.clone().into_owned(), Value::from(&*role))];
    let host = match Host::new(&name, IpAddr::from([10, 77, 0, 9]), [role.into_owned()], facts.into()) {
        Ok(host) => host,
        Err(why) => {
            assert!(!why.to_string().chars().any(char::is_control), "{why}");
            return Reached::Refusal;
        }
    };
    let text = inventory(std::slice::from_ref(&host));
    let answer: Value = serde_json::from_str(&text).expect("an inventory is JSON");
    let hardware = answer.pointer(&format!("/_meta/hostvars/{name}/rackwright_hw")).expect("its variables");
    marked(hardware);
    let members = answer.pointer("/all/hosts").and_then(Value::as_array).expect("a group of all");
    assert_eq!(members.as_slice(), [Value::from(&*name)]);
    kolla(&[host]);
    Reached::Inside
}

/// A string stands only behind its mark; a key is a variable's name.
fn marked(value: &Value) {
    match value {
        Value::String(text) => panic!("{text:?} would be evaluated"),
        Value::Array(items) => items.iter().for_each(marked),
        Value::Object(map) => match (map.len(), map.get("__ansible_unsafe")) {
            (1, Some(Value::String(text))) => {
                assert!(!text.chars().any(char::is_control) && text.chars().count() <= 512);
            }
            _ => map.iter().for_each(|(key, item)| {
                let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                assert!(plain && key.starts_with(|c: char| c.is_ascii_alphabetic()), "{key:?}");
                marked(item);
            }),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A server that would run commands, nested facts, names that Ansible reads as something else.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |name: &str, role: &str, facts: &str| [block(name), block(role), facts.into()].concat();
    vec![
        seed("n1", "control", "{{ lookup('pipe', 'reboot') }}"),
        seed(
            "n-1",
            "gpu",
            r#"{"__ansible_vault":"$ANSIBLE_VAULT;1.1","a.b":[1,true,null,"{{x}}"],"9":{"{{k}}":"v"}}"#,
        ),
        seed("n1", "compute", &format!("{}{}", "[".repeat(40), "]".repeat(40))),
        seed("n[1:9]", "control", "1"),
        seed("n1", "all", "1"),
    ]
}
