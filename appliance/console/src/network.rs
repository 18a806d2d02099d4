//! `rackwright network …`

use fleet::view::{LeaseRow, Released, ReservationRow};
use serde_json::json;

use crate::cli::NetworkCommand;
use crate::client::{Answer, segment};
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, date_and_clock, or_dash};

const LEASES: &str = "/v1/network/leases";
const RESERVATIONS: &str = "/v1/network/reservations";

pub(crate) async fn network(session: &mut Session, verb: NetworkCommand) -> Result<u8, Failure> {
    match verb {
        NetworkCommand::Leases => {
            let answer = session.client.get(LEASES).await?;
            session.show(&answer, |answer, look| Ok(render_leases(&answer.items()?, look)))?;
        }
        NetworkCommand::Release { lease } => {
            let path = format!("{LEASES}/{}/release", segment(&lease));
            let answer = session.client.post(&path, &json!({})).await?;
            session.show(&answer, |answer, _| Ok(render_released(&answer.item()?)))?;
        }
        NetworkCommand::Reservations => {
            let answer = session.client.get(RESERVATIONS).await?;
            show(session, &answer, Answer::items)?;
        }
        NetworkCommand::Reserve { mac, address } => {
            let mut body = json!({ "mac": mac });
            if let (Some(address), Some(fields)) = (address, body.as_object_mut()) {
                fields.insert("address".to_owned(), json!(address));
            }
            let answer = session.client.post(RESERVATIONS, &body).await?;
            show(session, &answer, one)?;
        }
        NetworkCommand::Unreserve { mac } => {
            let path = format!("{RESERVATIONS}/{}/unreserve", segment(&mac));
            let answer = session.client.post(&path, &json!({})).await?;
            show(session, &answer, one)?;
        }
    }
    Ok(exit::OK)
}

fn one(answer: &Answer) -> Result<Vec<ReservationRow>, Failure> {
    Ok(vec![answer.item()?])
}

fn show(
    session: &mut Session,
    answer: &Answer,
    rows: fn(&Answer) -> Result<Vec<ReservationRow>, Failure>,
) -> Result<(), Failure> {
    let now = session.now();
    session.show(answer, |answer, look| Ok(render_reservations(&rows(answer)?, look, now)))
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

/// The list; an address that was not fixed is a dash, and so is the age of what was fixed without a reservation.
pub(crate) fn render_reservations(rows: &[ReservationRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["MAC", "ADDRESS", "NODE", "RESERVED FOR"]);
    for row in rows {
        let made = row.made.as_deref().map(|made| ago(made, now));
        table.row([
            row.mac.clone().into(),
            or_dash(&row.address.map(|address| address.to_string()).unwrap_or_default()).into(),
            or_dash(row.node.as_deref().unwrap_or_default()).into(),
            or_dash(&made.unwrap_or_default()).into(),
        ]);
    }
    table.render(look)
}
