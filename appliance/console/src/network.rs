//! `rackwright network …`

use fleet::view::{LeaseRow, Released};
use serde_json::json;

use crate::cli::NetworkCommand;
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{date_and_clock, or_dash};

pub(crate) async fn network(session: &mut Session, verb: NetworkCommand) -> Result<u8, Failure> {
    match verb {
        NetworkCommand::Leases => {
            let answer = session.client.get("/v1/leases").await?;
            session.show(&answer, |answer, look| Ok(render_leases(&answer.items()?, look)))?;
        }
        NetworkCommand::Release { lease } => {
            let path = format!("/v1/leases/{}/release", segment(&lease));
            let answer = session.client.post(&path, &json!({})).await?;
            session.show(&answer, |answer, _| Ok(render_released(&answer.item()?)))?;
        }
    }
    Ok(exit::OK)
}

/// The list of addresses.
pub(crate) fn render_leases(rows: &[LeaseRow], look: &Look) -> String {
    let mut table = Table::new(&["ADDRESS", "MAC", "NODE", "STATE", "UNTIL"]);
    for row in rows {
        let state = if row.fixed { format!("{}, fixed", row.state) } else { row.state.clone() };
        table.row([
            row.address.to_string().into(),
            or_dash(&row.mac.map(|mac| mac.to_string()).unwrap_or_default()).into(),
            or_dash(row.node.as_deref().unwrap_or_default()).into(),
            state.into(),
            date_and_clock(&row.until).into(),
        ]);
    }
    table.render(look)
}

pub(crate) fn render_released(released: &Released) -> String {
    let Released { address, mac, free_from } = released;
    match free_from {
        None => format!("{address} of {mac} is free\n"),
        Some(until) => {
            let until = date_and_clock(until);
            format!("{address} is no longer {mac}'s; free from {until},\nwhen its lease is over\n")
        }
    }
}
