//! `rackwright node retire`, `erasures` and `delete`: a node's end, and what proves that nothing of it is left.

use fleet::view::{ErasureRow, NodeView, PlanView};
use serde_json::json;

use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::node::path;
use crate::plan;
use crate::session::Session;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, date_and_clock, disk_bytes, or_dash};

/// Makes the plan, and shows it.
pub(crate) async fn retire(session: &mut Session, node: &str, keep: &[String]) -> Result<u8, Failure> {
    let answer = session.client.post(&path(node, "retire"), &json!({ "keep": keep })).await?;
    session.show(&answer, |answer, _| Ok(plan::render_plan(&answer.item::<PlanView>()?)))?;
    Ok(exit::OK)
}

/// Every disk that was to be erased, and its certificate.
pub(crate) async fn erasures(session: &mut Session, of: Option<&str>) -> Result<u8, Failure> {
    let query = of.map(|of| format!("?of={}", segment(of))).unwrap_or_default();
    let answer = session.client.get(&format!("/v1/erasures{query}")).await?;
    let now = session.now();
    session.show(&answer, |answer, look| {
        let rows = answer.items::<ErasureRow>()?;
        Ok(if of.is_some() { render_certificates(&rows) } else { render_erasures(&rows, look, now) })
    })?;
    Ok(exit::OK)
}

pub(crate) fn render_erasures(rows: &[ErasureRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["NODE", "DISK", "MODEL", "SIZE", "STATE", "LEVEL", "METHOD", "AGE"]);
    for row in rows {
        let proof = row.certificate.as_ref();
        table.row([
            row.node.clone().into(),
            row.disk.clone().into(),
            or_dash(&row.model).into(),
            disk_bytes(row.bytes).into(),
            Cell::state(&row.state),
            proof.map_or("-", |proof| &proof.level).to_owned().into(),
            proof.map_or("-", |proof| &proof.method).to_owned().into(),
            proof.map_or_else(|| "-".to_owned(), |proof| ago(&proof.at, now)).into(),
        ]);
    }
    table.render(look)
}

/// Certificates in full, to be printed and kept with the disks.
pub(crate) fn render_certificates(rows: &[ErasureRow]) -> String {
    let mut page = Page::default();
    if rows.is_empty() {
        page.line("No disk of it was ever erased. Plan it: rackwright node retire NODE");
    }
    for row in rows {
        page.heading(&format!("{} of {}", row.disk, row.node));
        let mut pairs = vec![
            ("state", row.state.to_uppercase()),
            ("model", or_dash(&row.model).to_owned()),
            ("serial", or_dash(&row.serial).to_owned()),
            ("size", format!("{} ({} bytes)", disk_bytes(row.bytes), row.bytes)),
            ("plan, job", format!("{}, {}", row.plan, row.job)),
        ];
        match &row.certificate {
            None => pairs.push(("why", or_dash(row.why.as_deref().unwrap_or_default()).to_owned())),
            Some(proof) => pairs.extend([
                ("erased", date_and_clock(&proof.at)),
                ("method", format!("{} ({})", proof.method, proof.level)),
                ("firmware", or_dash(&proof.firmware).to_owned()),
                ("written", format!("{} bytes", proof.written_bytes)),
                ("canaries", format!("{} laid before, 0 found", proof.canaries)),
                ("read back", format!("{} places, {} bytes, all right", proof.samples, proof.sampled_bytes)),
                ("signed by", proof.signed_by.clone()),
                ("signature", proof.signature.clone()),
            ]),
        }
        page.pairs(&pairs);
        if let Some(proof) = &row.certificate {
            page.line("  what was signed (Ed25519):");
            proof.statement.lines().for_each(|line| page.line(&format!("    {line}")));
        }
    }
    page.into_text()
}

/// Forgets a retired or rejected node, when its name was typed.
pub(crate) async fn delete(
    session: &mut Session,
    node: &str,
    confirm: Option<String>,
) -> Result<u8, Failure> {
    let name = session.client.get(&path(node, "")).await?.item::<NodeView>()?.row.name;
    let typed = match confirm {
        Some(typed) => typed,
        None if session.terminal.asks => session
            .ask(&format!("This forgets {name} for good. Type its name to continue: "))?
            .unwrap_or_default(),
        None => String::new(),
    };
    if typed != name {
        return Err(Failure::Unconfirmed {
            what: format!("this forgets {name} for good, and {typed:?} is not its name"),
            next: format!("rackwright node delete {name} --confirm {name}"),
        });
    }
    session.client.post(&path(node, "delete"), &json!({ "confirm": typed })).await?;
    session.note(&format!(
        "{name} is forgotten; what proves its disks erased is kept: rackwright node erasures {name}"
    ));
    Ok(exit::OK)
}
