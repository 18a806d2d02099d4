//! `rackwright ansible inventory`: the daemon's inventory as it is. Silent on standard error: Ansible shows that as an
//! error even when all is well.

use serde_json::{Value, json};

use crate::failure::{Failure, exit};
use crate::session::{Session, pretty};

pub(crate) async fn inventory(session: &mut Session, host: Option<String>) -> Result<u8, Failure> {
    let inventory = session.client.get("/v1/ansible/inventory").await?.value()?;
    let text = match host {
        None => pretty(&inventory),
        Some(host) => pretty(&variables(&inventory, &host)),
    };
    session.print(&text)?;
    Ok(exit::OK)
}

/// The variables of one host; `{}` for a host that is not there, as the protocol wants it.
fn variables(inventory: &Value, host: &str) -> Value {
    let all = inventory.get("_meta").and_then(|meta| meta.get("hostvars"));
    all.and_then(|all| all.get(host)).cloned().unwrap_or_else(|| json!({}))
}
