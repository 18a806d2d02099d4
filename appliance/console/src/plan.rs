//! `rackwright plan …`: what would be written, erased and kept, said so that nobody can miss it.

use fleet::view::{DataView, Holding, PlanView};

use crate::cli::{PlanArgs, PlanCommand};
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::size;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, bytes, disk_bytes, or_dash};

pub(crate) async fn plan(session: &mut Session, arguments: PlanArgs) -> Result<u8, Failure> {
    match arguments.verb {
        None => return waiting(session, arguments.exit_code).await,
        Some(PlanCommand::List) => {
            let answer = session.client.get("/v1/plans").await?;
            let now = session.now();
            session.show(&answer, |answer, look| Ok(render_plans(&answer.items()?, look, now)))?;
        }
        Some(PlanCommand::Show { plan }) => {
            let answer = session.client.get(&path(&plan)).await?;
            session.show(&answer, |answer, _| Ok(render_plan(&answer.item()?)))?;
        }
        Some(PlanCommand::Size(arguments)) => return size::size(session, *arguments).await,
    }
    Ok(exit::OK)
}

/// Every plan that waits to be applied, in full; whether there is one is the exit code, where that is wanted.
async fn waiting(session: &mut Session, exit_code: bool) -> Result<u8, Failure> {
    let answer = session.client.get("/v1/plans?state=open").await?;
    let plans = answer.items::<PlanView>()?;
    session.show(&answer, |_, _| {
        let pages = plans.iter().map(render_plan).collect::<Vec<_>>();
        Ok(if pages.is_empty() {
            "No plan waits to be applied. Make one: rackwright node plan NODE\n".to_owned()
        } else {
            pages.join("\n")
        })
    })?;
    Ok(if exit_code && !plans.is_empty() { exit::PENDING } else { exit::OK })
}

/// The path of a plan.
pub(crate) fn path(plan: &str) -> String {
    format!("/v1/plans/{}", segment(plan))
}

/// The list of plans.
pub(crate) fn render_plans(plans: &[PlanView], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["PLAN", "NODE", "KIND", "STATE", "AGE", "IMAGE", "ERASES"]);
    for plan in plans {
        table.row([
            plan.id.clone().into(),
            plan.node.clone().into(),
            plan.kind.clone().into(),
            Cell::state(&plan.state),
            ago(&plan.made, now).into(),
            plan.image.clone().into(),
            format!("{} {}", plan.disk, disk_bytes(plan.disk_bytes)).into(),
        ]);
    }
    table.render(look)
}

/// A plan: `-` is erased, `=` is kept, `+` is put there.
pub(crate) fn render_plan(plan: &PlanView) -> String {
    format!("{}\n{}\n", render_steps(plan), ending(plan))
}

/// The same without what comes next: for where the person is about to be asked.
pub(crate) fn render_steps(plan: &PlanView) -> String {
    let mut page = Page::default();
    page.line(&format!("Plan {}: {} {}", plan.id, plan.kind, plan.node));
    page.line("");
    if !plan.guests.is_empty() {
        page.line(&format!("! VIRTUAL MACHINES RUN ON IT: {}", plan.guests.join(", ")));
        page.line(if plan.guests_leave {
            "         they move to other nodes first; one that can't stops it, or is lost with --force"
        } else {
            "         it is not applied while they do, or with --force, which ends them"
        });
    }
    if plan.kind == "retire" {
        retirement(&mut page, plan);
        return page.into_text();
    }
    page.line(&format!(
        "- disk   {}  WILL BE ERASED",
        disk(&plan.disk, &plan.disk_serial, &plan.disk_model, plan.disk_bytes)
    ));
    erased(&plan.erases, &plan.erase).iter().for_each(|line| page.line(&format!("         {line}")));
    if let Some(data) = &plan.data {
        data_lines(data).iter().for_each(|line| page.line(line));
    }
    for kept in &plan.keeps {
        let what = disk(&kept.disk, &kept.serial, &kept.model, kept.bytes);
        page.line(&format!("= disk   {what}  is kept"));
    }
    let digest = plan.image_digest.get(..16).unwrap_or(&plan.image_digest);
    page.line(&format!(
        "+ image  {} ({digest}), at most {} are written",
        plan.image,
        bytes(plan.image_bytes)
    ));
    if plan.verify == "stream" {
        page.line("!        it is NOT READ BACK: what the disk says is durable is trusted");
    }
    page.line(&format!("+ roles  {}", or_dash(&plan.roles.join(", "))));
    if plan.kind == "rebuild" {
        page.line("= node   name, id, address and SSH host keys are kept");
    }
    page.into_text()
}

/// What a retirement erases, and what it leaves.
fn retirement(page: &mut Page, plan: &PlanView) {
    for doomed in &plan.disks {
        let what = disk(&doomed.disk, &doomed.serial, &doomed.model, doomed.bytes);
        page.line(&format!("- disk   {what}  WILL BE ERASED FOR GOOD"));
        erased(&doomed.holds, &[]).iter().for_each(|line| page.line(&format!("         {line}")));
        if doomed.own {
            page.line("         AND WHAT THE NODE HAS WRITTEN TO IT SINCE");
        }
    }
    for kept in &plan.keeps {
        let what = disk(&kept.disk, &kept.serial, &kept.model, kept.bytes);
        page.line(&format!("= disk   {what}  is kept, as it is"));
    }
    page.line("- node   its certificates and its address; nothing comes back from this");
}

/// What is on the disk, in capitals; labels as they are written there.
fn erased(holds: &[Holding], named: &[String]) -> Vec<String> {
    if holds.is_empty() {
        return vec!["NOTHING IS RECOGNISED ON IT".to_owned()];
    }
    let mut lines = vec!["ON IT NOW:".to_owned()];
    lines.extend(holds.iter().map(|holding| {
        let place = match holding.partition {
            0 => "WHOLE DISK".to_owned(),
            partition => format!("PARTITION {partition}"),
        };
        let is_place = ["gpt", "mbr", "partition"].contains(&holding.kind.as_str());
        let uuid = Some(&holding.uuid).filter(|_| !is_place);
        let name = [Some(&holding.label), uuid].into_iter().flatten().find(|name| !name.is_empty());
        let label = name.map(|name| format!("  \"{name}\"")).unwrap_or_default();
        let size = holding.bytes.map(|count| format!("  {}", disk_bytes(count))).unwrap_or_default();
        format!("  {place}  {}{label}{size}", holding.kind.to_uppercase())
    }));
    if !named.is_empty() {
        lines.push("ERASED BECAUSE YOU NAMED IT:".to_owned());
        lines.extend(named.iter().map(|mark| format!("  {mark}")));
    }
    lines
}

/// A disk by its name and by what is printed on it: a WWN is seldom, a serial number always is.
fn disk(id: &str, serial: &str, model: &str, count: u64) -> String {
    let printed = if serial.is_empty() || id.strip_prefix("serial:") == Some(serial) {
        String::new()
    } else {
        format!(" (serial {serial})")
    };
    format!("{id}{printed}  {}  {}", or_dash(model), disk_bytes(count))
}

/// The data disk: what the node makes of it is as final as an image.
fn data_lines(data: &DataView) -> Vec<String> {
    let disk = disk(&data.disk, &data.serial, &data.model, data.bytes);
    if data.kept {
        return vec![format!("= data   {disk}  is kept, as {}", data.group)];
    }
    vec![
        format!("- data   {disk}  WILL BE WRITTEN TO"),
        "         NOTHING IS RECOGNISED ON IT".to_owned(),
        format!("         it becomes the volume group {}", data.group),
    ]
}

fn ending(plan: &PlanView) -> String {
    let note = plan.note.as_deref().unwrap_or_default();
    match plan.state.as_str() {
        "open" => format!("Nothing has been changed. Apply: rackwright apply {}", plan.id),
        "applied" => match note.strip_prefix("job ") {
            Some(job) => format!("It was applied as job {job}. Watch: rackwright job watch {job}"),
            None => format!("It was applied. {note}").trim_end().to_owned(),
        },
        state => format!("It is {state}: {}. Plan again: rackwright node plan {}", or_dash(note), plan.node),
    }
}
