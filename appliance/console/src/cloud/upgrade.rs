//! `rackwright cloud upgrade`: what an upgrade would be. It is done by rebuilding nodes, and never by this command.

use fleet::view::{UpgradeImage, UpgradeRow, UpgradeView};

use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::or_dash;

/// What is said to whoever wants an upgrade of this command.
const NOTHING: &str = "nothing is upgraded by this command: nodes are, each by a rebuild from a newer image (rackwright node rebuild n1, or \
     rackwright rebuild --role compute); --plan says which, and in which order";

pub(super) async fn upgrade(session: &mut Session, plan: bool) -> Result<u8, Failure> {
    if !plan {
        return Err(Failure::Refused { error: NOTHING.to_owned(), exit: exit::CONFLICT });
    }
    let answer = session.client.get("/v1/cloud/upgrade").await?;
    session.show(&answer, |answer, look| Ok(render(&answer.item()?, look)))?;
    Ok(exit::OK)
}

/// The nodes in their order, what each of them takes down or loses, and the commands.
pub(crate) fn render(view: &UpgradeView, look: &Look) -> String {
    let mut page = Page::default();
    let mut table = Table::new(&["ORDER", "NODE", "ROLES", "IMAGE", "BECOMES", "PACKAGES", "WHY NOT"]);
    for row in &view.nodes {
        let packages = match row.same_packages {
            _ if row.order.is_none() => "-",
            Some(true) => "same",
            Some(false) => "others",
            None => "not known",
        };
        table.row([
            row.order.map_or_else(|| "-".to_owned(), |order| order.to_string()).into(),
            row.node.clone().into(),
            row.roles.join(",").into(),
            Cell::from(called(row.image.as_ref())),
            Cell::from(called(row.becomes.as_ref().filter(|_| row.order.is_some()))),
            packages.to_owned().into(),
            row.why.clone().unwrap_or_default().into(),
        ]);
    }
    page.table(&table, look);
    for row in view.nodes.iter().filter(|row| row.order.is_some()) {
        page.heading(&row.node);
        page.pairs(&of_node(row));
    }
    page.heading("Commands");
    if view.commands.is_empty() {
        page.line("none: every node has the image that a rebuild would take");
    }
    for command in &view.commands {
        page.line(&format!("  {command}"));
    }
    page.into_text()
}

fn of_node(row: &UpgradeRow) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("goes down", or_dash(&row.services.join(", ")).to_owned())];
    if !row.instances.is_empty() {
        pairs.push(("to be moved", row.instances.join(", ")));
    }
    if let Some(loses) = &row.loses {
        pairs.push(("LOSES", loses.clone()));
        pairs.push(("sets up anew", row.database_tasks.join(", ")));
    }
    pairs
}

fn called(image: Option<&UpgradeImage>) -> String {
    let Some(image) = image else { return "-".to_owned() };
    let short = image.digest.chars().take(12).collect::<String>();
    match &image.name {
        Some(name) => format!("{name} ({short})"),
        None => short,
    }
}
