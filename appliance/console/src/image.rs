//! `rackwright image …`

use std::path::Path;

use fleet::view::ImageRow;
use serde::Deserialize;

use crate::cli::ImageCommand;
use crate::client::segment;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::show::Page;
use crate::table::Table;
use crate::terminal::Look;
use crate::text::{ago, bytes, date_and_clock, disk_bytes, or_dash};
use crate::upload;

/// What reading an image through found.
#[derive(Debug, Deserialize)]
struct Check {
    digest: String,
    bytes: u64,
    bad: Vec<serde_json::Value>,
}

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
            session.show(&answer, |answer, _| Ok(render_image(&answer.item()?)))?;
            Ok(exit::OK)
        }
        ImageCommand::Import { file } => import(session, &file).await,
        ImageCommand::Verify { image } => verify(session, &image).await,
    }
}

fn path(image: &str) -> String {
    format!("/v1/images/{}", segment(image))
}

async fn import(session: &mut Session, file: &Path) -> Result<u8, Failure> {
    let answer = upload::upload(session, "/v1/images", file).await?;
    session.show(&answer, |answer, _| Ok(render_image(&answer.item()?)))?;
    Ok(exit::OK)
}

async fn verify(session: &mut Session, image: &str) -> Result<u8, Failure> {
    let answer = session.client.post_patiently(&format!("{}/verify", path(image))).await?;
    let check = answer.item::<Check>()?;
    session.show(&answer, |_, _| Ok(render_check(&check)))?;
    if check.bad.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::Damaged { image: check.digest, bad: check.bad.len() })
}

/// The list of images.
pub(crate) fn render_images(images: &[ImageRow], look: &Look, now: u64) -> String {
    let mut table = Table::new(&["IMAGE", "DIGEST", "AGE", "SIZE", "DISK", "ROLES", "NODES"]);
    for image in images {
        table.row([
            image.name.clone().into(),
            image.digest.get(..12).unwrap_or(&image.digest).into(),
            ago(&image.imported, now).into(),
            bytes(image.stored_bytes).into(),
            disk_bytes(image.disk_bytes).into(),
            or_dash(&image.roles.join(",")).into(),
            or_dash(&image.nodes.join(",")).into(),
        ]);
    }
    table.render(look)
}

/// One image in full.
pub(crate) fn render_image(image: &ImageRow) -> String {
    let mut page = Page::default();
    page.line(&image.name);
    page.pairs(&[
        ("digest", image.digest.clone()),
        ("roles", image.roles.join(", ")),
        ("arch", image.arch.clone()),
        ("needs a disk of", disk_bytes(image.disk_bytes)),
        ("content", bytes(image.content_bytes)),
        ("in the store", bytes(image.stored_bytes)),
        ("signed by", image.signer.clone()),
        ("imported", date_and_clock(&image.imported)),
        ("nodes", image.nodes.join(", ")),
    ]);
    page.into_text()
}

fn render_check(check: &Check) -> String {
    let digest = check.digest.get(..12).unwrap_or(&check.digest);
    let mut text = format!("{digest}: {} read and compared", bytes(check.bytes));
    match check.bad.as_slice() {
        [] => text.push_str(", all right\n"),
        bad => {
            text.push_str(&format!(", {} chunks are damaged:\n", bad.len()));
            for chunk in bad {
                let name = chunk.as_str().map_or_else(|| chunk.to_string(), str::to_owned);
                text.push_str(&format!("  {name}\n"));
            }
        }
    }
    text
}
