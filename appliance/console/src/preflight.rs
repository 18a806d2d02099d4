//! `rackwright network check`, `show` and `map`: the network between nodes.

use std::time::Duration;

use fleet::view::{CheckFinding, MapRow, PreflightView};
use serde_json::json;

use crate::cli::CheckArgs;
use crate::client::Answer;
use crate::failure::{Failure, exit};
use crate::follow;
use crate::network::render_networks;
use crate::session::Session;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::{Look, Tone};
use crate::text::{ago, duration, fill, fit, or_dash, seconds};

const CHECK: &str = "/v1/network/check";
/// Cells of a switch's name in the map: with node, link and port it has to fit into 80.
const SWITCH_CELLS: usize = 20;

/// Begins a check and watches it to its end.
pub(crate) async fn check(session: &mut Session, arguments: CheckArgs) -> Result<u8, Failure> {
    let CheckArgs { nodes, role, no_throughput, transfer_seconds, beside_jobs, no_wait, timeout, .. } =
        arguments;
    let mut body = json!({"nodes": nodes, "role": role, "besideJobs": beside_jobs});
    let transfers = if no_throughput { Some(0) } else { transfer_seconds };
    if let (Some(seconds), Some(fields)) = (transfers, body.as_object_mut()) {
        fields.insert("transferSeconds".to_owned(), json!(seconds));
    }
    let answer = session.client.post(CHECK, &body).await?;
    let begun = answer.item::<PreflightView>()?;
    if no_wait {
        session.note(&format!("check {} has begun; rackwright network show", begun.id));
        session.show(&answer, |_, _| Ok(format!("{}\n", begun.id)))?;
        return Ok(exit::OK);
    }
    let many = begun.nodes.len();
    session.note(&format!("check {} of {many} nodes has begun; Ctrl-C leaves it to itself", begun.id));
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            session.note(&format!(
                "check {} goes on; rackwright network show, or rackwright network stop", begun.id));
            Ok(exit::INTERRUPTED)
        }
        ended = watch(session, &begun.id, timeout) => ended,
    }
}

/// The last check, as it is or as it ended.
pub(crate) async fn show(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get(CHECK).await?;
    finish(session, &answer)
}

/// Ends the check that runs.
pub(crate) async fn stop(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.post(&format!("{CHECK}/stop"), &json!({})).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_preflight(&answer.item()?, look, now)))?;
    Ok(exit::OK)
}

/// Which link is at which port of which switch.
pub(crate) async fn map(session: &mut Session) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/network/map").await?;
    session.show(&answer, |answer, look| Ok(render_map(&answer.items()?, look)))?;
    Ok(exit::OK)
}

async fn watch(session: &mut Session, id: &str, timeout: Option<Duration>) -> Result<u8, Failure> {
    let began = session.elapsed_ms();
    let mut told = None;
    loop {
        let answer = follow::look(session, CHECK).await?;
        let row = answer.item::<PreflightView>()?;
        if row.id != id {
            let what = format!("check {id} is over, and {} was begun since", row.id);
            return Err(Failure::Checked { what });
        }
        if row.state != "running" {
            return finish(session, &answer);
        }
        let now = doing(&row);
        if told.as_ref() != Some(&now) {
            session.note(&now);
            told = Some(now);
        }
        let waited = Duration::from_millis(session.elapsed_ms().saturating_sub(began));
        if timeout.is_some_and(|limit| waited >= limit) {
            return Err(Failure::Checking { check: row.id, seconds: waited.as_secs() });
        }
        tokio::time::sleep(session.pause).await;
    }
}

/// What is being done, in a line.
fn doing(row: &PreflightView) -> String {
    match row.stage.as_deref() {
        Some("gathering") => "waiting for all nodes to say that they are there".to_owned(),
        Some("opening") => "all nodes begin to answer".to_owned(),
        Some("reaching") => "every node asks every other, with packets of all sizes".to_owned(),
        Some("transferring") => {
            format!("transfers, round {} of {}, {} s each", row.round, row.rounds, row.transfer_seconds)
        }
        Some("closing") => "all nodes tell what they have heard".to_owned(),
        Some(other) => other.to_owned(),
        None => "about to begin".to_owned(),
    }
}

fn finish(session: &mut Session, answer: &Answer) -> Result<u8, Failure> {
    let row = answer.item::<PreflightView>()?;
    let now = session.now();
    session.show(answer, |_, look| Ok(render_preflight(&row, look, now)))?;
    Ok(match row.state.as_str() {
        "done" if !row.healthy => exit::UNHEALTHY,
        "stopped" => exit::CONFLICT,
        _ => exit::OK,
    })
}

/// A check: where, what is wrong, what to do next.
pub(crate) fn render_preflight(row: &PreflightView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    let took = row.ended.as_deref().and_then(seconds).zip(seconds(&row.begun));
    let took = took.map(|(ended, begun)| format!(", took {}", duration(ended.saturating_sub(begun))));
    page.line(&format!(
        "Check {} of {} nodes: {}, begun {} ago{}",
        row.id,
        row.nodes.len(),
        row.state,
        ago(&row.begun, now),
        took.unwrap_or_default()
    ));
    if row.state == "running" {
        page.line(&format!("  {}", doing(row)));
    }
    if !row.networks.is_empty() {
        page.line("");
        page.table(&networks(row), look);
    }
    if row.state == "done" {
        page.line("");
        row.findings.iter().for_each(|finding| add(&mut page, finding, look));
        if row.findings.is_empty() {
            page.line("Everything that was tried is as it should be.");
        }
        if row.networks.is_empty() {
            page.line("No two nodes were there that have addresses in one network: no pair was tried.");
        }
    }
    for left in &row.absent {
        page.line(&format!("Left out: {} {}", left.node, left.why.as_deref().unwrap_or_default()));
    }
    let other = row.provision.iter().filter(|network| network.advice.is_some()).cloned().collect::<Vec<_>>();
    if !other.is_empty() {
        page.heading("Other DHCP servers");
        page.line(render_networks(&other, look, now).trim_end());
    }
    page.next(next(row));
    page.into_text()
}

fn next(row: &PreflightView) -> Option<String> {
    match row.state.as_str() {
        "running" => Some("rackwright network show".to_owned()),
        "stopped" => Some("rackwright network check".to_owned()),
        _ if row.healthy => None,
        _ => Some("rackwright network map; when it is mended, rackwright network check".to_owned()),
    }
}

fn networks(row: &PreflightView) -> Table {
    let mut table = Table::new(&["NETWORK", "NODES", "REACHED", "TRANSFERS", "MIDDLE"]);
    for network in &row.networks {
        let median = network.median_bits_per_second.map(rate);
        table.row([
            network.subnet.clone().into(),
            network.nodes.to_string().into(),
            format!("{}/{}", network.arrived, network.ways).into(),
            network.transfers.to_string().into(),
            or_dash(&median.unwrap_or_default()).into(),
        ]);
    }
    table
}

fn add(page: &mut Page, finding: &CheckFinding, look: &Look) {
    let word = format!("{:<7}", format!("[{}]", finding.severity));
    let mut lines = vec![(word, finding.text.as_str())];
    if !finding.next.is_empty() {
        lines.push(("        next: ".to_owned(), finding.next.as_str()));
    }
    for (label, text) in lines {
        let text = match look.columns {
            Some(columns) => fill(&label, text, columns),
            None => format!("{label}{text}"),
        };
        let plain = &finding.severity;
        let painted = if look.colour && label.starts_with('[') {
            text.replacen(plain.as_str(), &Tone::of(plain).paint(plain), 1)
        } else {
            text
        };
        page.line(&painted);
    }
}

fn rate(bits: u64) -> String {
    match bits {
        0..1_000_000 => format!("{} kbit/s", bits / 1000),
        1_000_000..10_000_000_000 => format!("{} Mbit/s", bits / 1_000_000),
        _ => format!("{}.{} Gbit/s", bits / 1_000_000_000, bits / 100_000_000 % 10),
    }
}

/// One line for each end of a cable; what is known of the other end is at the end of the line.
pub(crate) fn render_map(rows: &[MapRow], look: &Look) -> String {
    let mut table = Table::new(&["NODE", "LINK", "MBIT/S", "MTU", "VLAN", "SWITCH", "PORT"]);
    let mut before = None;
    for row in rows {
        let is_first = before.replace(&row.node) != Some(&row.node);
        let speed = if row.carrier {
            row.speed_mbps.map(|mbps| mbps.to_string())
        } else {
            Some("no link".to_owned())
        };
        let port = row.port.clone().map(|port| match &row.port_description {
            Some(called) if *called != port => format!("{port} ({called})"),
            _ => port,
        });
        let switch = row.switch.as_deref().unwrap_or_default();
        let switch = if look.columns.is_some() { fit(switch, SWITCH_CELLS) } else { switch.to_owned() };
        table.row([
            if is_first { row.node.clone().into() } else { Cell::from("") },
            row.link.clone().into(),
            or_dash(&speed.unwrap_or_default()).into(),
            row.mtu.to_string().into(),
            or_dash(&row.vlan.map(|vlan| vlan.to_string()).unwrap_or_default()).into(),
            or_dash(&switch).into(),
            or_dash(&port.unwrap_or_default()).into(),
        ]);
    }
    let mut text = table.render(look);
    if rows.is_empty() {
        text.push_str("No node has told of its links yet: rackwright node list\n");
    } else if rows.iter().all(|row| row.switch.is_none()) {
        let why = "No switch says by LLDP who it is: switch it on there (lldp transmit), and off in cards whose firmware \
                   keeps it to itself. It is said every 30 s.";
        text.push('\n');
        text.push_str(&look.columns.map_or_else(|| why.to_owned(), |columns| fill("", why, columns)));
        text.push('\n');
    }
    text
}
