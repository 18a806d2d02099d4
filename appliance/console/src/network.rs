//! `rackwright network …`

mod import;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use fleet::view::{LeaseRow, NetworkRow, Released, ReservationRow};
use serde_json::json;

use crate::cli::{CheckArgs, NetworkCommand};
use crate::client::{Answer, segment};
use crate::failure::{Failure, exit};
use crate::preflight;
use crate::session::Session;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, date_and_clock, or_dash};

const NETWORKS: &str = "/v1/networks";
const LEASES: &str = "/v1/network/leases";
const RESERVATIONS: &str = "/v1/network/reservations";

pub(crate) async fn network(session: &mut Session, verb: NetworkCommand) -> Result<u8, Failure> {
    match verb {
        NetworkCommand::List => {
            let answer = session.client.get(NETWORKS).await?;
            let now = session.now();
            session.show(&answer, |answer, look| Ok(render_networks(&answer.items()?, look, now)))?;
        }
        NetworkCommand::Check(CheckArgs { interface: Some(interface), .. }) => {
            return check(session, &interface).await;
        }
        NetworkCommand::Check(arguments) => return preflight::check(session, arguments).await,
        NetworkCommand::Show => return preflight::show(session).await,
        NetworkCommand::Stop => return preflight::stop(session).await,
        NetworkCommand::Map => return preflight::map(session).await,
        NetworkCommand::Import { file, dry_run } => import(session, &file, dry_run).await?,
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

/// Looks for other DHCP servers on one network.
async fn check(session: &mut Session, interface: &str) -> Result<u8, Failure> {
    let body = json!({ "interface": interface });
    let answer = session.client.post(&format!("{NETWORKS}/check"), &body).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_networks(&answer.items()?, look, now)))?;
    let rows: Vec<NetworkRow> = answer.items()?;
    let fine = rows.iter().all(|row| row.advice.is_none());
    Ok(if fine { exit::OK } else { exit::UNHEALTHY })
}

async fn import(session: &mut Session, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let reading = |source| Failure::Reading { path: file.to_owned(), source };
    let mut octets = Vec::new();
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(File::open(file).map_err(reading)?),
    };
    source.take(import::LONGEST + 1).read_to_end(&mut octets).map_err(reading)?;
    let list = |faults: Vec<String>| Failure::List { path: file.to_owned(), faults };
    if u64::try_from(octets.len()).is_ok_and(|length| length > import::LONGEST) {
        return Err(list(vec![format!("it is longer than {} MiB", import::LONGEST >> 20)]));
    }
    // Names of rooms in another encoding are none of our columns.
    let rows = import::parse(&String::from_utf8_lossy(&octets)).map_err(list)?;
    let answer = session
        .client
        .post(&format!("{RESERVATIONS}/import"), &json!({ "rows": rows, "dryRun": dry_run }))
        .await?;
    show(session, &answer, Answer::items)
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

/// The networks, each with the other servers on it under it.
pub(crate) fn render_networks(rows: &[NetworkRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["INTERFACE", "SUBNET", "DHCP", "STATE", "LOOKED"]);
    for row in rows {
        let looked = row.looked.as_deref().map(|looked| format!("{} ago", ago(looked, now)));
        for (number, subnet) in row.subnets.iter().enumerate() {
            let first = |text: &str| if number == 0 { text.to_owned() } else { String::new() };
            table.row([
                first(&row.interface).into(),
                subnet.clone().into(),
                first(&row.dhcp).into(),
                first(&row.state).into(),
                first(&looked.clone().unwrap_or_else(|| "not yet".to_owned())).into(),
            ]);
        }
    }
    let mut text = table.render(look);
    for row in rows {
        for other in &row.others {
            let what = match &other.site {
                Some(site) => format!("another Rackwright controller, of site {site}"),
                None if other.boots => "a DHCP server that also says what to boot".to_owned(),
                None => "a DHCP server".to_owned(),
            };
            let (first, last) = (ago(&other.first, now), ago(&other.last, now));
            text.push_str(&format!("\n{} on {}: {what}\n", other.address, row.interface));
            text.push_str(&format!("  {}; first {first} ago, last {last} ago\n", other.noticed));
        }
        if let Some(advice) = &row.advice {
            text.push_str(&match look.columns {
                Some(columns) => format!("{}\n", crate::text::fill("  ", advice, columns)),
                None => format!("  {advice}\n"),
            });
        }
    }
    text
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
    match (mac, free_from) {
        (None, _) => format!("{address} is free\n"),
        (Some(mac), None) => format!("{address} of {mac} is free\n"),
        (Some(mac), Some(until)) => {
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
