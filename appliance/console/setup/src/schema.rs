//! The answers file for programs: a JSON schema made of the table.

use serde_json::{Map, Value, json};

use crate::language::Language;
use crate::question::{Kind, Question};
use crate::table::QUESTIONS;

/// The schema (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    let mut top = Map::new();
    for question in QUESTIONS {
        match question.key.split_once('.') {
            None => {
                top.insert(question.key.to_owned(), property(question));
            }
            Some((table, name)) => {
                let inner = top.entry(table).or_insert_with(|| object(Map::new()));
                if let Some(properties) = inner.get_mut("properties").and_then(Value::as_object_mut) {
                    properties.insert(name.to_owned(), property(question));
                }
            }
        }
    }
    let mut schema = object(top);
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!("Answers for rackwright setup"));
    }
    schema
}

fn object(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn property(question: &Question) -> Value {
    let kind = match question.kind {
        Kind::Choice(choices) => {
            json!({"enum": choices.iter().map(|choice| choice.word).collect::<Vec<_>>()})
        }
        Kind::Site => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"}),
        Kind::Interface { .. } => json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,14}$"}),
        Kind::Host | Kind::Network => json!({"type": "string", "pattern": "^[0-9.]+/[0-9]+$"}),
        Kind::Neighbour(_) => json!({"type": "string", "format": "ipv4"}),
        Kind::Pool(_) => json!({"type": "string", "pattern": "^[0-9.]+ *- *[0-9.]+$"}),
        Kind::Vlan { optional: true } => {
            json!({"anyOf": [{"const": "none"}, {"type": ["string", "integer"], "pattern": "^[0-9]+$"}]})
        }
        Kind::Vlan { optional: false } => json!({"type": ["string", "integer"], "pattern": "^[0-9]+$"}),
        Kind::Addresses => json!({"type": "string", "pattern": "^(none|[0-9., ]+)$"}),
    };
    let mut property = json!({
        "title": question.title.of(Language::English),
        "description": question.help.of(Language::English),
    });
    if let (Some(property), Value::Object(kind)) = (property.as_object_mut(), kind) {
        property.extend(kind);
    }
    property
}
