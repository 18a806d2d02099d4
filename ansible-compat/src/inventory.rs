//! The answer of an inventory script called with `--list`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::Host;
use crate::untrusted::{key, untrusted};

/// The roles that always have a group, so that a playbook for a role nobody has yet does not fail.
pub const BASE_ROLES: [&str; 4] = ["compute", "control", "network", "storage"];

/// The whole inventory as one JSON object: a group per role, every host in `all`, every variable under
/// `_meta.hostvars`, so that Ansible asks once (it calls a script once per host when `_meta` is missing).
///
/// Variables of a host: `ansible_host`, `ansible_python_interpreter`, `rackwright_roles`, `rackwright_hw`. They are
/// weak on purpose: the operator's own `host_vars` win (Ansible's order of precedence).
pub fn inventory(hosts: &[Host]) -> String {
    let hostvars = hosts.iter().map(|host| (host.name.clone(), variables(host))).collect::<Map<_, _>>();
    let names = hosts.iter().map(|host| host.name.as_str()).collect::<BTreeSet<_>>();
    let mut answer = Map::new();
    answer.insert("_meta".to_owned(), json!({ "hostvars": hostvars }));
    answer.insert("all".to_owned(), json!({ "hosts": names }));
    for (role, members) in groups(hosts) {
        // `{}` instead of an empty list would make a host of the group's name.
        answer.insert(role.to_owned(), json!({ "hosts": members }));
    }
    let mut text = Value::Object(answer).to_string();
    text.push('\n');
    text
}

fn groups(hosts: &[Host]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut groups = BASE_ROLES.map(|role| (role, BTreeSet::new())).into_iter().collect::<BTreeMap<_, _>>();
    for host in hosts {
        for role in &host.roles {
            groups.entry(role.as_str()).or_default().insert(host.name.as_str());
        }
    }
    groups
}

fn variables(host: &Host) -> Value {
    let hardware = host.facts.iter().map(|(name, fact)| (key(name), untrusted(fact))).collect::<Map<_, _>>();
    json!({
        "ansible_host": host.address.to_string(),
        // Discovery takes the first interpreter on the path, which may be one that lacks the system's modules.
        "ansible_python_interpreter": "/usr/bin/python3",
        "rackwright_hw": hardware,
        "rackwright_roles": host.roles,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn host(name: &str, last: u8, roles: &[&str], facts: &[(&str, Value)]) -> Host {
        let facts = facts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let roles = roles.iter().map(|role| (*role).to_owned());
        Host::new(name, IpAddr::from([10, 77, 0, last]), roles, facts).unwrap()
    }

    #[test]
    fn nobody_yet() {
        assert_eq!(
            inventory(&[]),
            concat!(
                r#"{"_meta":{"hostvars":{}},"all":{"hosts":[]},"compute":{"hosts":[]},"control":{"hosts":[]},"#,
                r#""network":{"hosts":[]},"storage":{"hosts":[]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn two_hosts_and_a_role_of_their_own() {
        let hosts = [
            host(
                "n2",
                12,
                &["compute", "gpu"],
                &[("serial", json!("{{ lookup('pipe','id') }}")), ("threads", json!(8))],
            ),
            host("n1", 11, &[], &[]),
        ];
        let text = inventory(&hosts);
        let got: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(got["all"], json!({"hosts": ["n1", "n2"]}));
        assert_eq!(got["compute"], json!({"hosts": ["n2"]}));
        assert_eq!(got["gpu"], json!({"hosts": ["n2"]}));
        assert_eq!(got["storage"], json!({"hosts": []}));
        assert_eq!(
            got["_meta"]["hostvars"]["n2"],
            json!({
                "ansible_host": "10.77.0.12",
                "ansible_python_interpreter": "/usr/bin/python3",
                "rackwright_hw": {"serial": {"__ansible_unsafe": "{{ lookup('pipe','id') }}"}, "threads": 8},
                "rackwright_roles": ["compute", "gpu"],
            })
        );
        assert_eq!(got["_meta"]["hostvars"]["n1"]["rackwright_hw"], json!({}));
    }

    /// Every `{{` of the answer stands inside a value of `__ansible_unsafe`.
    #[test]
    fn nothing_that_can_be_evaluated_is_outside_the_mark() {
        fn evaluated(value: &Value) -> bool {
            match value {
                Value::String(text) => text.contains("{{") || text.contains("{%") || text.contains("{#"),
                Value::Array(items) => items.iter().any(evaluated),
                Value::Object(map) => map.iter().any(|(name, item)| {
                    name.contains('{') || (name != "__ansible_unsafe" && evaluated(item))
                }),
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
            }
        }
        let hostile =
            json!({"{{k}}": ["{{a}}", {"{%b%}": "{%c%}"}], "__ansible_unsafe": "{{d}}", "x": "{#e#}"});
        let hosts = [host("n1", 11, &["compute"], &[("hw", hostile), ("{{y}}", json!("{{z}}"))])];
        let got: Value = serde_json::from_str(&inventory(&hosts)).unwrap();
        assert!(!evaluated(&got), "{got}");
        assert!(evaluated(&json!({"a": "{{x}}"})), "the check itself sees what it looks for");
    }
}
