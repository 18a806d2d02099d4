//! What is not the asker's: every row of the data base that is about somebody else.

use std::path::Path;

use protocol::NodeId;
use rusqlite::types::Value;

const TABLES: [&str; 13] = [
    "boot",
    "burn_in",
    "capture",
    "certificate",
    "event",
    "identity",
    "image",
    "job",
    "lease",
    "node",
    "plan",
    "quarantine",
    "reservation",
];

/// Who asks: rows about this node, or this NIC, are its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker {
    pub(super) node: Option<NodeId>,
    pub(super) mac: String,
}

/// Every row but the asker's own.
pub(super) fn others(folder: &Path, asker: &Asker) -> Vec<String> {
    let own = [asker.node.map(|own| own.to_string()).unwrap_or_default(), asker.mac.clone()];
    let rows = rows(folder).into_iter().filter(|row| row.owner.is_empty() || !own.contains(&row.owner));
    rows.map(|row| row.text).collect()
}

/// What is in one and not in the other; but for an image that is new, which is what came of the asker's own capture.
pub(super) fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|row| !after.contains(row)).map(|row| format!("- {row}"));
    let new = after.iter().filter(|row| !before.contains(row) && !row.starts_with("image: "));
    let new = new.map(|row| format!("+ {row}"));
    gone.chain(new).collect()
}

/// Every row of a node without its claim. Of new nodes there are none before, and those are left out.
pub(super) fn others_but_claims(folder: &Path) -> Vec<String> {
    let rows =
        rows(folder).into_iter().filter(|row| row.table != "event" && !row.text.contains(r#""discovered"}"#));
    rows.map(|row| {
        let Some(mut body) = row.body.filter(|_| row.table == "node") else { return row.text };
        body["claim"] = serde_json::Value::Null;
        body.to_string()
    })
    .collect()
}

struct Row {
    table: &'static str,
    /// The node that it is about.
    owner: String,
    body: Option<serde_json::Value>,
    text: String,
}

fn rows(folder: &Path) -> Vec<Row> {
    let connection = crate::witness::open(folder);
    let mut all = Vec::new();
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get::<_, Value>(at)).collect();
        let read = statement.query_map([], read).unwrap().map(Result::unwrap);
        all.extend(read.map(|cells: Vec<Value>| row_of(table, &cells)));
    }
    all
}

fn row_of(table: &'static str, cells: &[Value]) -> Row {
    let text = |at: usize| match cells.get(at) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let mut body = serde_json::from_str::<serde_json::Value>(&text(1)).ok();
    let owner = match table {
        "event" => text(2),
        "node" | "identity" | "boot" | "lease" => text(0),
        _ => body.as_ref().and_then(|body| body.get("node")?.as_str()).unwrap_or_default().to_owned(),
    };
    let mut text = format!("{table}: {cells:?}");
    // Which state document a node should have follows from who else is there: it is the controller's to say.
    if let Some(body) = body.as_mut().filter(|_| table == "node") {
        body["document"] = serde_json::Value::Null;
        text = body.to_string();
    }
    Row { table, owner, body, text }
}
