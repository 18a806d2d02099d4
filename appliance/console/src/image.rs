//! `rackwright image …`

mod capture;
mod portrait;
mod scrub;

use std::path::Path;

use fleet::view::ImageRow;
use fleet::view::image::{DiffRow, DiffView, PruneView};
use serde_json::json;

use crate::cli::ImageCommand;
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, bytes, disk_bytes, or_dash};
use crate::upload;

#[cfg(test)]
pub(crate) use capture::render_found;
pub(crate) use portrait::render_image;

pub(crate) async fn image(session: &mut Session, verb: ImageCommand) -> Result<u8, Failure> {
    match verb {
        ImageCommand::List => {
            let answer = session.client.get("/v1/images").await?;
            let now = session.now();
            session.show(&answer, |answer, look| Ok(render_images(&answer.items()?, look, now)))?;
            Ok(exit::OK)
        }
        ImageCommand::Show { image } => {
            let answer = session.client.get(&path(&image)).await?;
            session.show(&answer, |answer, look| Ok(render_image(&answer.item()?, look)))?;
            Ok(exit::OK)
        }
        ImageCommand::Capture(arguments) => capture::capture(session, arguments).await,
        ImageCommand::Import { file } => import(session, &file).await,
        ImageCommand::Diff { from, to } => {
            let answer = session.client.get(&format!("{}/diff/{}", path(&from), segment(&to))).await?;
            session.show(&answer, |answer, look| Ok(render_diff(&answer.item()?, look)))?;
            Ok(exit::OK)
        }
        ImageCommand::Scrub { image, all: _, no_wait } => scrub::scrub(session, image, no_wait).await,
        ImageCommand::Prune { dry_run, yes } => prune(session, dry_run, yes).await,
        ImageCommand::Delete { image, confirm } => delete(session, &image, confirm).await,
    }
}

fn path(image: &str) -> String {
    format!("/v1/images/{}", segment(image))
}

async fn import(session: &mut Session, file: &Path) -> Result<u8, Failure> {
    let answer = upload::upload(session, "/v1/images", file).await?;
    session.show(&answer, |answer, look| Ok(render_image(&answer.item()?, look)))?;
    Ok(exit::OK)
}

/// Shows what would go, asks, and deletes just that.
async fn prune(session: &mut Session, dry_run: bool, yes: bool) -> Result<u8, Failure> {
    let answer = session.client.post("/v1/store/prune", &json!({ "dryRun": true })).await?;
    let view = answer.item::<PruneView>()?;
    let now = session.now();
    if dry_run || (view.images.is_empty() && view.bytes == 0) {
        session.show(&answer, |_, look| Ok(render_prune(&view, look, now)))?;
        return Ok(exit::OK);
    }
    if !yes {
        let text = render_prune(&view, &session.look, now);
        session.note(text.trim_end());
        let agreed = match session.terminal.asks {
            true => session.ask("Delete them for good? [y/N] ")?.unwrap_or_default(),
            false => String::new(),
        };
        if !matches!(agreed.to_ascii_lowercase().as_str(), "y" | "yes") {
            return Err(Failure::Unconfirmed {
                what: format!("{} images would be deleted", view.images.len()),
                next: "nothing has been changed; to delete them: rackwright image prune --yes".to_owned(),
            });
        }
    }
    let digests = view.images.iter().map(|image| image.digest.as_str()).collect::<Vec<_>>();
    let answer = session.client.post_patiently("/v1/store/prune", &json!({ "images": digests })).await?;
    session.show(&answer, |answer, look| Ok(render_prune(&answer.item()?, look, now)))?;
    Ok(exit::OK)
}

/// The image's name, typed now or given by `--confirm`; anything else and nothing happens.
async fn delete(session: &mut Session, image: &str, confirm: Option<String>) -> Result<u8, Failure> {
    let row = session.client.get(&path(image)).await?.item::<ImageRow>()?;
    let name = match confirm {
        Some(name) => name,
        None if session.terminal.asks => {
            let digest = row.digest.get(..12).unwrap_or(&row.digest);
            let question =
                format!("This deletes image {} ({digest}) for good. Type its name to continue: ", row.name);
            session.ask(&question)?.unwrap_or_default()
        }
        None => String::new(),
    };
    if name != row.name {
        return Err(Failure::Unconfirmed {
            what: format!("this deletes image {} for good", row.name),
            next: format!("nothing has been changed; give its name: --confirm={}", row.name),
        });
    }
    let path = format!("{}/delete", path(&row.digest));
    let answer = session.client.post_patiently(&path, &json!({ "confirm": name })).await?;
    let now = session.now();
    session.show(&answer, |answer, look| Ok(render_prune(&answer.item()?, look, now)))?;
    Ok(exit::OK)
}

/// The list of images.
pub(crate) fn render_images(images: &[ImageRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["IMAGE", "DIGEST", "AGE", "SIZE", "DISK", "FOR", "ROLES", "NODES"]);
    for image in images {
        table.row([
            image.name.clone().into(),
            image.digest.get(..12).unwrap_or(&image.digest).into(),
            ago(&image.imported, now).into(),
            bytes(image.stored_bytes).into(),
            disk_bytes(image.disk_bytes).into(),
            image.only_for.as_deref().unwrap_or("any").into(),
            or_dash(&image.roles.join(",")).into(),
            or_dash(&image.nodes.join(",")).into(),
        ]);
    }
    let mut text = table.render(look);
    for image in images {
        if let Some(damage) = &image.damage {
            text.push_str(&format!("{}: {damage}; import it again\n", image.name));
        }
    }
    text
}

/// What a prune or a deletion did, or would do.
pub(crate) fn render_prune(view: &PruneView, look: &Look, now: u64) -> String {
    let mut page = Page::default();
    if !view.images.is_empty() {
        let mut table = Table::new(&["IMAGE", "DIGEST", "AGE", "ONLY ITS OWN"]);
        for image in &view.images {
            table.row([
                image.name.clone().into(),
                image.digest.get(..12).unwrap_or(&image.digest).into(),
                ago(&image.imported, now).into(),
                bytes(image.bytes).into(),
            ]);
        }
        table.render(look).lines().for_each(|line| page.line(line));
    }
    let count = match view.images.len() {
        0 => "no image".to_owned(),
        1 => "1 image".to_owned(),
        count => format!("{count} images"),
    };
    let free = bytes(view.bytes);
    page.line(&match view.done {
        true => format!("{count} deleted, {free} are free now"),
        false => format!("{count} can be deleted; {free} would become free"),
    });
    page.into_text()
}

/// The difference between two images.
pub(crate) fn render_diff(diff: &DiffView, look: &Look) -> String {
    let mut page = Page::default();
    let called = |name: &str, digest: &str| format!("{name} ({})", digest.get(..12).unwrap_or(digest));
    page.line("Images");
    page.pairs(&[
        ("from", called(&diff.from, &diff.from_digest)),
        ("to", called(&diff.to, &diff.to_digest)),
        ("a node fetches", format!("{} at most", bytes(diff.whole.fetch_bytes))),
    ]);
    if let Some(obstacle) = &diff.obstacle {
        page.line(&format!("No disk goes from one to the other: {obstacle}"));
    }
    page.line("");
    let mut table = Table::new(&["WHERE", "SAME", "CHANGED", "ONLY FROM", "ONLY TO", "FETCHED"]);
    for volume in &diff.volumes {
        table.row(cells(&volume.place, &volume.row));
    }
    table.row(cells("all", &diff.whole));
    page.table(&table, look);
    page.into_text()
}

fn cells(place: &str, row: &DiffRow) -> [crate::table::Cell; 6] {
    let amount = |amount: &fleet::view::image::Amount| match amount.chunks {
        0 => "-".to_owned(),
        _ => bytes(amount.bytes),
    };
    [
        place.into(),
        amount(&row.same).into(),
        amount(&row.changed).into(),
        amount(&row.only_from).into(),
        amount(&row.only_to).into(),
        bytes(row.fetch_bytes).into(),
    ]
}
