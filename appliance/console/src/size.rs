//! `rackwright plan size`: how many servers a cloud needs, with every sum, and what the rack that is there lacks for it.
//!
//! It is counted here, without the daemon, unless nodes are looked at: before the first server is bought there is no daemon.

use fleet::sizing::{Check, Estimate, Instances, Member, Server, Sum, Topology, gib};
use fleet::view::{API_VERSION, Item, SizingView, sizing_view};
use serde_json::to_value;

use crate::cli::SizeArgs;
use crate::failure::{Failure, exit};
use crate::session::{Session, pretty};
use crate::show::Page;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{fill, or_dash};

/// Where there is no terminal.
const COLUMNS: usize = 80;

pub(crate) async fn size(session: &mut Session, arguments: SizeArgs) -> Result<u8, Failure> {
    let mut members = Vec::<Member>::new();
    if arguments.check || arguments.from.is_some() {
        members = session.client.get("/v1/capacity").await?.items()?;
    }
    let server = match &arguments.from {
        Some(name) => Some(like(&members, name)?),
        None => arguments.server.clone(),
    };
    let there = arguments.check.then_some(members.as_slice());
    let (instances, terms) = (arguments.instances(), arguments.terms());
    let view = sizing_view(instances, server, there, terms, arguments.topology);
    let view = view.map_err(|why| Failure::Refused { error: why.to_string(), exit: exit::GENERAL })?;
    let shown = shown(&view.estimates, arguments.topology);
    let text = if session.json() {
        let item = Item { api_version: API_VERSION.to_owned(), item: &view };
        let request = "plan size".to_owned();
        pretty(&to_value(item).map_err(|source| Failure::Understanding { request, source })?)
    } else {
        render_sizing(&view, shown, &session.look)
    };
    session.print(&text)?;
    let enough = match &view.check {
        Some(check) => check.enough,
        None => shown.is_some_and(|estimate| estimate.nodes.is_some()),
    };
    Ok(if enough { exit::OK } else { exit::UNHEALTHY })
}

/// The kind of server that a node is.
fn like(members: &[Member], name: &str) -> Result<Server, Failure> {
    let member = members.iter().find(|member| member.node == name);
    member.map(|member| member.server.clone()).ok_or_else(|| Failure::Refused {
        error: format!("there is no node {name:?}: see rackwright node list"),
        exit: exit::NOT_FOUND,
    })
}

/// The shape whose sums are shown: the one that was named, or the first that can be built.
fn shown(estimates: &[Estimate], named: Option<Topology>) -> Option<&Estimate> {
    let is_named = |estimate: &&Estimate| Some(estimate.topology) == named;
    let can_be = |estimate: &&Estimate| named.is_none() && estimate.nodes.is_some();
    let estimate = estimates.iter().find(is_named).or_else(|| estimates.iter().find(can_be));
    estimate.or_else(|| estimates.first())
}

/// The whole answer.
pub(crate) fn render_sizing(view: &SizingView, shown: Option<&Estimate>, look: &Look) -> String {
    let mut page = Page::default();
    let columns = look.columns.unwrap_or(COLUMNS);
    page.line(&fill("", &asked(&view.instances), columns));
    if let (Some(server), Some(shown)) = (&view.server, shown) {
        page.line(&fill("", &kind(server), columns));
        page.line("");
        shapes(&view.estimates, look).lines().for_each(|line| page.line(line));
        page.line("NICS: in a control, network, compute node");
        for (topology, why) in view.estimates.iter().filter_map(|one| Some((one.topology, one.why.as_ref()?)))
        {
            page.line(&fill(&format!("{topology} is no way: "), why, columns));
        }
        page.heading(&format!("The sums of {}", shown.topology));
        sums(&mut page, &shown.sums, columns);
    }
    if let Some(check) = &view.check {
        rack(&mut page, check, look);
    }
    page.into_text()
}

fn asked(instances: &Instances) -> String {
    let Instances { count, vcpus, memory_bytes, disk_bytes, volume_bytes, mbps } = *instances;
    let mut each = vec![format!("{vcpus} vCPU"), format!("{} memory", gib(memory_bytes))];
    let sizes = [(disk_bytes, "disk"), (volume_bytes, "volume")];
    each.extend(
        sizes.iter().filter(|(size, _)| *size > 0).map(|(size, what)| format!("{} {what}", gib(*size))),
    );
    each.push(format!("{mbps} Mb/s"));
    format!("{count} instances, each with {}", each.join(", "))
}

fn kind(server: &Server) -> String {
    let cores = if server.cores == 0 { String::new() } else { format!("{} cores, ", server.cores) };
    let disks = server.disks_bytes.iter().map(|bytes| gib(*bytes)).collect::<Vec<_>>();
    let nics = server.nics_mbps.iter().map(|speed| match speed {
        0 => "unknown".to_owned(),
        speed => format!("{speed} Mb/s"),
    });
    format!(
        "on servers with {cores}{} threads, {} memory, disks: {}, NICs: {}",
        server.threads,
        gib(server.memory_bytes),
        or_dash(&disks.join(" + ")),
        or_dash(&nics.collect::<Vec<_>>().join(" + "))
    )
}

fn shapes(estimates: &[Estimate], look: &Look) -> String {
    let head = ["TOPOLOGY", "CONTROL", "NETWORK", "COMPUTE", "STORAGE", "SERVERS", "NICS", "DECIDED BY"];
    let mut table = Table::new(&head);
    let number = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
    for estimate in estimates {
        let nics = estimate.nics;
        let nics = [nics.control, nics.network, nics.compute].map(number).join("/");
        let nodes = estimate.nodes.unwrap_or_default();
        let limit = estimate.limit.map_or("-", |limit| limit.word());
        table.row([
            estimate.topology.word().into(),
            number(nodes.control).into(),
            number(nodes.network).into(),
            number(nodes.compute).into(),
            number(nodes.storage).into(),
            number(nodes.servers).into(),
            nics.into(),
            limit.into(),
        ]);
    }
    table.render(look)
}

fn sums(page: &mut Page, sums: &[Sum], columns: usize) {
    let widest = sums.iter().map(|sum| sum.of.chars().count()).max().unwrap_or(0);
    for sum in sums {
        page.line(&fill(&format!("  {:<widest$}  ", sum.of), &sum.text, columns));
    }
}

/// The rack that is there.
fn rack(page: &mut Page, check: &Check, look: &Look) {
    let columns = look.columns.unwrap_or(COLUMNS);
    let verdict = if check.enough { "it is enough" } else { "something is missing" };
    page.heading(&format!("The rack that is there, as {}: {verdict}", check.topology));
    for role in &check.roles {
        let nodes = role.nodes.join(", ");
        page.line(&fill(&format!("  {}: ", role.role), or_dash(&nodes), columns));
        let widest = role.sums.iter().map(|sum| sum.of.chars().count()).max().unwrap_or(0);
        for sum in &role.sums {
            page.line(&fill(&format!("    {:<widest$}  ", sum.of), &sum.text, columns));
        }
        if let Some(missing) = &role.missing {
            page.line(&fill("    MISSING: ", missing, columns));
        }
    }
    if !check.free.is_empty() {
        page.line(&fill("  ready, without a role: ", &check.free.join(", "), columns));
    }
    for one in &check.uncounted {
        page.line(&fill(&format!("  not counted: {}: ", one.node), &one.why, columns));
    }
}
