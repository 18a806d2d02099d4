//! `rackwright node show`

use fleet::view::{NodeRow, NodeView, ReceiptView};
use serde::Serialize;
use serde_json::Value;

use crate::burn_in::summary;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, bytes, date_and_clock, disk_bytes, or_dash};
use crate::why::next_command;

/// One node in full.
pub(crate) fn render_node(node: &NodeView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    page.line(&headline(&node.row, now));
    page.pairs(&life(node, now));
    if let Some(rescue) = &node.rescue {
        page.heading("Rescue");
        page.pairs(&crate::rescue::way_in(rescue, now));
    }
    page.heading("Hardware");
    page.pairs(&hardware(node));
    page.heading("Disks");
    page.table(&disks(node), look);
    page.heading("Network");
    page.table(&nics(node), look);
    if node.image.is_some() || !node.units.is_empty() {
        page.heading("Installed");
        page.pairs(&installed(node));
    }
    if let Some(receipt) = &node.receipt {
        page.heading("Receipt");
        page.pairs(&proven(receipt, now));
    }
    if let Some(test) = &node.test {
        page.heading("Test");
        page.pairs(&summary(test, now));
    }
    if !node.units.is_empty() {
        page.heading("Units");
        page.table(&units(node), look);
    }
    for unit in node.units.iter().filter(|unit| !unit.log.is_empty()) {
        page.line(&format!("  {}:", unit.name));
        unit.log.iter().for_each(|line| page.line(&format!("    {line}")));
    }
    if !node.tasks.is_empty() {
        page.heading("Tasks");
        page.table(&tasks(node), look);
    }
    page.next(next_command(&node.row));
    page.into_text()
}

/// `n1 is active for 3m: degraded`
pub(crate) fn headline(row: &NodeRow, now: u64) -> String {
    let health = if matches!(row.health.as_str(), "" | "attention") {
        String::new()
    } else {
        format!(": {}", row.health)
    };
    format!("{} is {} for {}{health}", row.name, row.state, ago(&row.since, now))
}

fn life(node: &NodeView, now: u64) -> Vec<(&'static str, String)> {
    let row = &node.row;
    let mut pairs = vec![
        ("id", row.id.clone()),
        ("address", row.address.to_string()),
        ("mac", row.mac.to_string()),
        ("roles", row.roles.join(", ")),
    ];
    if let Some(code) = &row.code {
        pairs.push(("code", format!("{code} (compare it with the server's own screen)")));
    }
    pairs.push(("evidence", evidence(node)));
    if let Some(percent) = row.percent {
        pairs.push(("job", format!("{percent} %")));
    }
    if let Some(adopted) = &node.adopted {
        let since = date_and_clock(&adopted.at);
        pairs.push(("adopted", format!("{since}, with {} and its disks as they were", adopted.system)));
    }
    if let Some(waiting) = &row.waiting {
        pairs.push(("waits for", waiting.clone()));
    }
    let times = |time: &str| format!("{} ({} ago)", date_and_clock(time), ago(time, now));
    pairs.extend([("first seen", times(&node.discovered)), ("last heard", times(&node.heard))]);
    pairs
}

/// The word, and what it stands on.
fn evidence(node: &NodeView) -> String {
    let word = or_dash(&node.row.evidence).to_owned();
    match (&node.tpm.tpm, &node.tpm.lacks) {
        (Some(ek), _) => format!("{word} (endorsement key {ek})"),
        (None, Some(why)) => format!("{word} (no TPM: {why})"),
        (None, None) => word,
    }
}

fn hardware(node: &NodeView) -> Vec<(&'static str, String)> {
    vec![
        ("product", node.product.clone()),
        ("serial", node.serial.clone()),
        ("cpu", format!("{}, {} threads", or_dash(&node.cpu), node.threads)),
        ("memory", bytes(node.memory_bytes)),
        ("firmware", firmware(node)),
        ("bmc", if node.bmc { "seen" } else { "none seen" }.to_owned()),
    ]
}

fn firmware(node: &NodeView) -> String {
    let by = node.loader.as_deref().map_or_else(String::new, |loader| format!(" with {loader}"));
    format!("{}, booted as {}{by}", or_dash(&node.firmware), or_dash(&node.boot_path))
}

fn disks(node: &NodeView) -> Table {
    let mut table = Table::new(&["DISK", "MODEL", "SIZE", "BUS", "HOLDS"]);
    for disk in &node.disks {
        let facts = &disk.facts;
        let holds = facts.holds.iter().map(|holding| match holding.label.as_str() {
            "" => holding.kind.clone(),
            label => format!("{} \"{label}\"", holding.kind),
        });
        let mut holds = holds.collect::<Vec<_>>();
        if node.system_disk.is_some() && node.system_disk == disk.disk {
            holds.insert(0, "system disk".to_owned());
        }
        table.row([
            disk.disk.clone().unwrap_or_else(|| format!("{} (can't be named)", facts.name)).into(),
            or_dash(&facts.model).into(),
            disk_bytes(facts.bytes).into(),
            word(&facts.bus).into(),
            or_dash(&holds.join(", ")).into(),
        ]);
    }
    table
}

fn nics(node: &NodeView) -> Table {
    let mut table = Table::new(&["NIC", "MAC", "ADDRESS", "LINK", "SPEED", "DRIVER"]);
    for nic in &node.nics {
        table.row([
            nic.name.clone().into(),
            nic.mac.to_string().into(),
            node.addresses.get(&nic.mac).map_or_else(|| "-".to_owned(), ToString::to_string).into(),
            if nic.carrier { "up" } else { "down" }.into(),
            nic.speed_mbps.map_or_else(|| "-".to_owned(), |speed| format!("{speed} Mb/s")).into(),
            or_dash(&nic.driver).into(),
        ]);
    }
    table
}

fn installed(node: &NodeView) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("image", node.image.clone().unwrap_or_default()),
        ("system disk", node.system_disk.clone().unwrap_or_default()),
    ];
    let applied = node.applied.map_or_else(|| "none".to_owned(), |generation| generation.to_string());
    pairs.push(("state document", format!("{} wanted, {applied} applied", node.generation)));
    let Some(facts) = &node.facts else { return pairs };
    pairs.push(("host", format!("{}, kernel {}", or_dash(&facts.hostname), or_dash(&facts.kernel))));
    let (free, all) = (bytes(facts.root_free_bytes), bytes(facts.root_bytes));
    pairs.push(("root", format!("{free} of {all} free")));
    pairs.push(("up", crate::text::duration(facts.uptime_seconds)));
    if let Some(hypervisor) = &facts.hypervisor {
        pairs.push((
            "hypervisor",
            match &hypervisor.error {
                Some(error) => error.clone(),
                None => format!(
                    "{}, {} threads, {}, {} domains",
                    or_dash(&hypervisor.version),
                    hypervisor.threads,
                    bytes(hypervisor.memory_bytes),
                    hypervisor.domains.len()
                ),
            },
        ));
    }
    pairs
}

/// What is proven of the disk, and who says so.
fn proven(receipt: &ReceiptView, now: u64) -> Vec<(&'static str, String)> {
    let (read, written) = (bytes(receipt.total_bytes), bytes(receipt.written_bytes));
    let proof = if receipt.verify == "stream" { "trusted" } else { "read back" };
    let mut pairs = vec![
        (proof, format!("{read} at {} ({} ago)", date_and_clock(&receipt.at), ago(&receipt.at, now))),
        ("written", format!("{written}; {} were right already", bytes(receipt.same_bytes))),
        ("image", receipt.image.clone()),
        ("disk", receipt.disk.clone()),
    ];
    let Some(proof) = &receipt.proof else {
        pairs.push(("signed by", "nobody: its agent is older than signed receipts".to_owned()));
        return pairs;
    };
    pairs.extend([
        ("serial", or_dash(&proof.serial).to_owned()),
        ("wwn", or_dash(&proof.wwn).to_owned()),
        ("root", proof.root.clone()),
        ("signed by", proof.signed_by.clone()),
    ]);
    pairs
}

fn units(node: &NodeView) -> Table {
    let mut table = Table::new(&["UNIT", "STATE", "SUB", "RESULT"]);
    for unit in &node.units {
        table.row([
            unit.name.clone().into(),
            Cell::state(&unit.active),
            unit.sub.clone().into(),
            unit.result.clone().into(),
        ]);
    }
    table
}

fn tasks(node: &NodeView) -> Table {
    let mut table = Table::new(&["TASK", "RESULT", "WHY"]);
    for task in &node.tasks {
        let value = serde_json::to_value(&task.result).unwrap_or_default();
        let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        table.row([task.name.clone().into(), Cell::state(&field("result")), field("why").into()]);
    }
    table
}

/// The word that stands for it in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
