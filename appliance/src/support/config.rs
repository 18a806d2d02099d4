//! A configuration without what may be a secret: of a key that is not known to be harmless only its name is shown.

use toml::Value;

/// Keys whose values say nothing that must stay here.
const HARMLESS: &[&str] = &[
    "site",
    "interface",
    "vlan",
    "address",
    "pool",
    "dhcp",
    "foreign",
    "router",
    "dns",
    "answer_ipv6",
    "subnet",
    "relay",
    "via",
    "port",
    "image_keys",
    "scrub_days",
    "limit_mbit",
    "flooding",
    "querier",
    "yields",
    "from",
    "to",
    "days",
    "admin",
    "operator",
    "viewer",
    "rebuilds_per_hour",
    "test",
    "listen",
    "secret_file",
    "messages_per_hour",
];
/// What stands in place of a value.
const WITHHELD: &str = "(left out)";

/// The configuration for a bundle.
pub(super) fn harmless(text: &str) -> String {
    let Ok(mut value) = toml::from_str::<Value>(text) else {
        return "# it is no TOML, and so nothing of it is shown\n".to_owned();
    };
    walk(&mut value, None, &mut |value| *value = Value::String(WITHHELD.to_owned()));
    toml::to_string(&value).unwrap_or_else(|why| format!("# {why}\n"))
}

/// The values that are not shown.
pub(super) fn withheld(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(mut value) = toml::from_str::<Value>(text) {
        walk(&mut value, None, &mut |value| {
            if let Value::String(text) = value {
                found.push(text.clone());
            }
        });
    }
    found
}

/// Visits every value whose key is not harmless.
fn walk(value: &mut Value, key: Option<&str>, visit: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Table(table) => {
            for (key, inner) in table.iter_mut() {
                let key = key.clone();
                walk(inner, Some(&key), visit);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| walk(inner, key, visit)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            if key.is_none_or(|key| !HARMLESS.contains(&key)) {
                visit(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{harmless, withheld};

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let text = "site = \"lab\"\n[[provision]]\ninterface = \"eno2\"\ndns = [\"10.0.0.1\"]\n\
                    [bmc]\npassword = \"hunter2hunter2\"\nlist = [\"s3cret-one\", \"s3cret-two\"]\npin = 1234\n";
        let shown = harmless(text);
        for kept in ["\"lab\"", "\"eno2\"", "10.0.0.1", "password", "(left out)"] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        for secret in ["hunter2", "s3cret", "1234"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert_eq!(withheld(text), ["s3cret-one", "s3cret-two", "hunter2hunter2"]);
        assert!(harmless("password = hunter2").starts_with("# it is no TOML"));
    }
}
