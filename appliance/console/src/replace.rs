//! `rackwright node replace`: both servers side by side, and the name of the old one typed.

use fleet::view::NodeView;
use serde_json::json;

use crate::failure::{Failure, exit};
use crate::node::path;
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, bytes, disk_bytes, or_dash};

/// Shows both, asks, and puts the new server in the place of the old.
pub(crate) async fn replace(
    session: &mut Session,
    (old, new): (&str, &str),
    force: bool,
    confirm: Option<String>,
) -> Result<u8, Failure> {
    let before = session.client.get(&path(old, "")).await?.item::<NodeView>()?;
    let fresh = session.client.get(&path(new, "")).await?.item::<NodeView>()?;
    let (now, look) = (session.now(), session.look);
    session.note(&side_by_side(&before, &fresh, &look, now));
    let name = before.row.name.clone();
    let typed = match confirm {
        Some(typed) => typed,
        None if session.terminal.asks => {
            let question = format!("{} becomes {name}. Type {name} to continue: ", fresh.row.name);
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if typed != name {
        return Err(Failure::Unconfirmed {
            what: format!("{} would become {name}, and {typed:?} is not its name", fresh.row.name),
            next: format!("rackwright node replace {name} {} --confirm {name}", fresh.row.name),
        });
    }
    let body = json!({ "new": fresh.row.id, "force": force, "confirm": typed });
    let answer = session.client.post(&path(&before.row.id, "replace"), &body).await?;
    session.show(&answer, |answer, look| Ok(crate::node::render_nodes(&[answer.item()?], look, now)))?;
    Ok(exit::OK)
}

/// What each of the two is, line by line.
pub(crate) fn side_by_side(old: &NodeView, new: &NodeView, look: &Look, now: u64) -> String {
    let mut table = Table::new(&["", "OLD", "NEW"]);
    let mut line = |what: &str, of: &dyn Fn(&NodeView) -> String| {
        table.row([what.to_owned().into(), of(old).into(), of(new).into()]);
    };
    line("name", &|node| node.row.name.clone());
    line("state", &|node| node.row.state.clone());
    line("last heard", &|node| format!("{} ago", ago(&node.heard, now)));
    line("product", &|node| or_dash(&node.product).to_owned());
    line("serial", &|node| or_dash(&node.serial).to_owned());
    line("MAC", &|node| node.row.mac.to_string());
    line("address", &|node| node.row.address.to_string());
    line("processor", &|node| format!("{} ({} threads)", or_dash(&node.cpu), node.threads));
    line("memory", &|node| bytes(node.memory_bytes));
    line("NICs", &|node| node.nics.len().to_string());
    line("disks", &|node| {
        let disks = node.disks.iter().map(|disk| disk_bytes(disk.facts.bytes)).collect::<Vec<_>>();
        or_dash(&disks.join(" + ")).to_owned()
    });
    line("roles", &|node| or_dash(&node.row.roles.join(", ")).to_owned());
    table.render(look)
}
