//! `rackwright backup key` and `backup create`; what needs no daemon is elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fleet::view::backup::KitView;
use serde_json::json;

use crate::cli::BackupCommand;
use crate::failure::{Failure, exit};
use crate::session::Session;

pub(crate) async fn backup(session: &mut Session, verb: BackupCommand) -> Result<u8, Failure> {
    match verb {
        BackupCommand::Key { replace } => {
            let answer = session.client.post("/v1/backup/key", &json!({"replace": replace})).await?;
            let view = answer.item::<KitView>()?;
            // As it is: what is typed back must be what was printed.
            session.show(&answer, |_, _| Ok(view.page.iter().map(|line| format!("{line}\n")).collect()))?;
            Ok(exit::OK)
        }
        BackupCommand::Create { file } => create(session, &file).await,
        // `parse` hands this one to what needs no daemon.
        BackupCommand::Verify { .. } => Ok(exit::GENERAL),
    }
}

async fn create(session: &mut Session, path: &Path) -> Result<u8, Failure> {
    let writing = |source| Failure::Writing { path: path.to_owned(), source };
    let mut out = Part::begin(path).map_err(writing)?;
    let mut bytes = 0u64;
    let received = session.client.download("/v1/backup", |piece| {
        bytes += u64::try_from(piece.len()).unwrap_or(0);
        out.file.write_all(piece).map_err(writing)
    });
    received.await?;
    out.end().map_err(writing)?;
    if session.json() {
        let told = json!({"file": path.display().to_string(), "bytes": bytes});
        session.print_line(&json!({"apiVersion": fleet::view::API_VERSION, "item": told}))?;
    } else {
        session.print(&format!("{bytes} bytes in {}\n", path.display()))?;
        session.note(&format!("see whether it is good: rackwright backup verify {}", path.display()));
    }
    Ok(exit::OK)
}

/// A file that gets its name when it is whole; what there is of it goes otherwise.
struct Part {
    file: File,
    path: PathBuf,
    wanted: PathBuf,
}

impl Part {
    fn begin(wanted: &Path) -> io::Result<Part> {
        let mut name = std::ffi::OsString::from(".");
        name.push(wanted.file_name().ok_or(io::ErrorKind::IsADirectory)?);
        name.push(format!(".{}", std::process::id()));
        let path = wanted.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Part { file, path, wanted: wanted.to_owned() })
    }

    fn end(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.wanted)?;
        let folder = self.wanted.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed already, when all went well.
        drop(fs::remove_file(&self.path));
    }
}
