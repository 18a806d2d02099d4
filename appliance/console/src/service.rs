//! `rackwright service …`

use fleet::view::ServiceRow;
use serde::Deserialize;
use serde_json::json;

use crate::cli::ServiceCommand;
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::or_dash;

/// Journal lines, oldest first.
#[derive(Debug, Deserialize)]
struct Lines {
    lines: Vec<String>,
}

pub(crate) async fn service(session: &mut Session, verb: ServiceCommand) -> Result<u8, Failure> {
    match verb {
        ServiceCommand::List { node } => {
            let query = node.map(|node| format!("?node={}", segment(&node))).unwrap_or_default();
            let answer = session.client.get(&format!("/v1/services{query}")).await?;
            session.show(&answer, |answer, look| Ok(render_services(&answer.items()?, look)))?;
            Ok(exit::OK)
        }
        ServiceCommand::Start { node, unit } => order(session, &node, &unit, "start").await,
        ServiceCommand::Stop { node, unit } => order(session, &node, &unit, "stop").await,
        ServiceCommand::Restart { node, unit } => order(session, &node, &unit, "restart").await,
        ServiceCommand::Logs { node, unit, lines } => {
            let path = format!("{}?lines={lines}", path(&node, &unit, "logs"));
            let answer = session.client.get(&path).await?;
            session.show(&answer, |answer, _| Ok(render_lines(&answer.item::<Lines>()?)))?;
            Ok(exit::OK)
        }
    }
}

fn path(node: &str, unit: &str, verb: &str) -> String {
    format!("/v1/services/{}/{}/{verb}", segment(node), segment(&with_suffix(unit)))
}

/// `chrony` is `chrony.service`, as systemctl understands it.
fn with_suffix(unit: &str) -> String {
    if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") }
}

async fn order(session: &mut Session, node: &str, unit: &str, verb: &str) -> Result<u8, Failure> {
    let answer = session.client.post(&path(node, unit, verb), &json!({})).await?;
    session.show(&answer, |answer, look| Ok(render_services(&[answer.item::<ServiceRow>()?], look)))?;
    Ok(exit::OK)
}

/// The list of units.
pub(crate) fn render_services(rows: &[ServiceRow], look: &Look) -> String {
    let mut table = Table::new(&["NODE", "UNIT", "WANTED", "STATE", "SUB", "LAST LINE"]);
    for row in rows {
        table.row([
            row.node.clone().into(),
            row.unit.clone().into(),
            row.wanted.clone().into(),
            Cell::state(&row.active),
            or_dash(&row.sub).into(),
            row.log.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

fn render_lines(lines: &Lines) -> String {
    lines.lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_a_service() {
        assert_eq!(path("n1", "chrony", "start"), "/v1/services/n1/chrony.service/start");
        assert_eq!(path("n1", "var.mount", "stop"), "/v1/services/n1/var.mount/stop");
        assert_eq!(path("a/b", "../x", "stop"), "/v1/services/a%2Fb/..%2Fx/stop");
    }
}
