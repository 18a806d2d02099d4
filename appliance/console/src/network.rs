//! `rackwright network …`

use fleet::view::ReservationRow;
use serde_json::json;

use crate::cli::NetworkCommand;
use crate::client::{Answer, segment};
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, or_dash};

const PATH: &str = "/v1/network/reservations";

pub(crate) async fn network(session: &mut Session, verb: NetworkCommand) -> Result<u8, Failure> {
    match verb {
        NetworkCommand::Reservations => {
            let answer = session.client.get(PATH).await?;
            show(session, &answer, Answer::items)
        }
        NetworkCommand::Reserve { mac, address } => {
            let mut body = json!({ "mac": mac });
            if let (Some(address), Some(fields)) = (address, body.as_object_mut()) {
                fields.insert("address".to_owned(), json!(address));
            }
            let answer = session.client.post(PATH, &body).await?;
            show(session, &answer, one)
        }
        NetworkCommand::Release { mac } => {
            let path = format!("{PATH}/{}/release", segment(&mac));
            let answer = session.client.post(&path, &json!({})).await?;
            show(session, &answer, one)
        }
    }
}

fn one(answer: &Answer) -> Result<Vec<ReservationRow>, Failure> {
    Ok(vec![answer.item()?])
}

fn show(
    session: &mut Session,
    answer: &Answer,
    rows: fn(&Answer) -> Result<Vec<ReservationRow>, Failure>,
) -> Result<u8, Failure> {
    let now = session.now();
    session.show(answer, |answer, look| Ok(render_reservations(&rows(answer)?, look, now)))?;
    Ok(exit::OK)
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
