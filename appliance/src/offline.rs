//! Commands that need no daemon: what becomes of a backup.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use console::{Offline, OfflineVerb};
use fleet::view::API_VERSION;
use serde::Serialize;

use crate::backup::{BackupError, Kit, KitError, Verified, kit, verify};
use crate::config::Paths;
use crate::journal::Peer;
use crate::restore::{RestoreError, restore};

/// Exit codes, as the command line has them.
const CONFLICT: u8 = 4;
const UNCONFIRMED: u8 = 5;
const UNHEALTHY: u8 = 9;

/// Does what was asked for; tells what went wrong and gives the exit code.
pub fn run(offline: &Offline) -> ExitCode {
    match carry_out(offline) {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("error: {}", crate::chain(&error));
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &RestoreError) -> u8 {
    match error {
        RestoreError::Unconfirmed { .. } => UNCONFIRMED,
        RestoreError::Lock(crate::lock::LockError::Held { .. })
        | RestoreError::Unfinished { .. }
        | RestoreError::Backup(BackupError::NoKit | BackupError::Kit(_)) => CONFLICT,
        RestoreError::Backup(BackupError::Seal(_) | BackupError::Content(_)) => UNHEALTHY,
        RestoreError::Lock(_)
        | RestoreError::Backup(_)
        | RestoreError::Store(_)
        | RestoreError::Config(_)
        | RestoreError::File { .. } => 1,
    }
}

fn carry_out(offline: &Offline) -> Result<String, RestoreError> {
    let paths = Paths::chosen(offline.root.as_deref());
    match &offline.what {
        OfflineVerb::Verify { kit: given } => {
            let kit = match given {
                Some(path) => typed(path)?,
                None => own(&paths)?,
            };
            let (_, verified) = verify(&offline.file, &kit)?;
            Ok(if offline.json { json(&verified) } else { told(&offline.file, &verified) })
        }
        OfflineVerb::Restore { kit, confirm } => {
            let kit = typed(kit)?;
            let (content, verified) = verify(&offline.file, &kit)?;
            let peer = Peer::own();
            let mut done = restore(&paths, &content, &kit, confirm.as_deref(), &peer);
            if let (Err(RestoreError::Unconfirmed { .. }), None) = (&done, confirm)
                && let Some(name) = ask(offline, &paths, &verified)
            {
                done = restore(&paths, &content, &kit, Some(&name), &peer);
            }
            let epoch = done?;
            let manifest = &verified.manifest;
            if offline.json {
                let item = serde_json::json!({"site": manifest.site, "made": manifest.made, "epoch": epoch,
                    "nodes": manifest.nodes, "images": manifest.images});
                return Ok(json(&item));
            }
            Ok(format!(
                "site {} is restored as of {}: {} nodes, reign {epoch}\n{}\
                 next: look at {} (interfaces may have other names here), then systemctl start rackwright\n",
                manifest.site,
                manifest.made,
                manifest.nodes,
                images(&verified),
                paths.config.display()
            ))
        }
    }
}

/// The name that a person types, where one can.
fn ask(offline: &Offline, paths: &Paths, verified: &Verified) -> Option<String> {
    if offline.no_input || !std::io::stdin().is_terminal() {
        return None;
    }
    let site = &verified.manifest.site;
    eprint!("This replaces the state in {}. Type the site's name ({site}): ", paths.state.display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

/// A kit from a file, or as it is typed.
fn typed(path: &Path) -> Result<Kit, BackupError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().take(1 << 16).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_string(&mut text)),
    };
    read.map_err(|error| KitError::Read(path.display().to_string(), error.to_string()))?;
    Ok(Kit::parse(&text)?)
}

fn own(paths: &Paths) -> Result<Kit, BackupError> {
    let path = paths.state.join(kit::FILE);
    let missing = || {
        let why = "there is none here; give the printed one: --kit FILE, or --kit - to type it";
        KitError::Read(path.display().to_string(), why.to_owned())
    };
    Ok(Kit::stored(&path)?.ok_or_else(missing)?)
}

fn told(file: &Path, verified: &Verified) -> String {
    let Verified { manifest, bytes, check, .. } = verified;
    format!(
        "{} is good: site {}, made {} by rackwright {}, {bytes} bytes\n\
         {} nodes, {} journal records with {} signed heads, every one in its place\n{}",
        file.display(),
        manifest.site,
        manifest.made,
        manifest.version,
        manifest.nodes,
        check.records,
        check.heads,
        images(verified)
    )
}

fn images(verified: &Verified) -> String {
    let images = &verified.manifest.images;
    if images.is_empty() {
        return String::new();
    }
    let mut text =
        "images are not in a backup; import these again (rackwright image import FILE):\n".to_owned();
    for image in images {
        text.push_str(&format!("  {}  {}\n", image.name, image.digest.chars().take(16).collect::<String>()));
    }
    text
}

fn json<T: Serialize>(item: &T) -> String {
    let value = serde_json::json!({"apiVersion": API_VERSION, "item": item});
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}
