//! `rackwright support bundle`: what explains a fault, in one file.

mod tar;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use fleet::view::{Item, SupportView};
use serde_json::json;

use crate::cli::{BundleArgs, SupportCommand};
use crate::failure::{Failure, exit};
use crate::session::Session;

/// Collecting asks every node's history, and journals.
const SECONDS: u64 = 240;

pub(crate) async fn support(session: &mut Session, command: SupportCommand) -> Result<u8, Failure> {
    let SupportCommand::Bundle(BundleArgs { file }) = command;
    session.note("collecting; this may take a minute");
    let answer = session.client.get_within("/v1/support", SECONDS).await?;
    // As it came: it goes into a file, and lines are part of it.
    let view = serde_json::from_value::<Item<SupportView>>(answer.value()?);
    let view =
        view.map_err(|source| Failure::Understanding { request: "GET /v1/support".to_owned(), source })?;
    let bytes = write(&file, &view.item, session.now())
        .map_err(|source| Failure::Writing { path: file.clone(), source })?;
    let names = view.item.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>();
    if session.json() {
        let item = json!({"file": file.display().to_string(), "bytes": bytes, "files": names});
        session.print_line(&json!({"apiVersion": fleet::view::API_VERSION, "item": item}))?;
    } else {
        session.print(&format!("{}\n", file.display()))?;
        session.note(&format!(
            "{} files, {bytes} bytes; look at REDACTION.txt in it before you send it",
            names.len()
        ));
    }
    Ok(exit::OK)
}

/// Writes the file, readable for nobody else, and never over another; its size.
fn write(path: &Path, view: &SupportView, now: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut packed = GzEncoder::new(file, Compression::default());
    for file in &view.files {
        packed.write_all(&tar::entry(&file.name, file.text.as_bytes(), now))?;
    }
    packed.write_all(&tar::END)?;
    let file = packed.finish()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}
