//! What a person sends to somebody who helps: everything about this controller that explains a fault, and no secret.
//!
//! Twice over: nothing is collected but what people see anyway (`fleet::view`) and the configuration's known keys; and
//! then every text is searched for what must not be in it, see `redact`.

mod config;
mod redact;

use std::path::{Path, PathBuf};

use protocol::IdentityFile;

use redact::Needles;

/// Lines of the event log in it.
pub const EVENTS: u32 = 2000;
/// Lines of each own unit's journal.
pub const JOURNAL_LINES: usize = 1000;
/// No file of secrets is larger, in bytes.
const SECRET_FILE: u64 = 64 << 10;
/// Folders of the state directory without secrets, and too large to be looked through.
const PUBLIC: [&str; 3] = ["images", "boot", "journal"];

/// Where the daemon's own files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration.
    pub config: PathBuf,
    /// The state directory.
    pub state: PathBuf,
}

/// One text of a bundle, before it is searched.
#[derive(Clone, Debug)]
pub struct Page {
    /// The name of the file.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Page {
    /// A page.
    pub fn new(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into() }
    }
}

impl Places {
    /// The configuration, with the values of keys that are known to be harmless.
    pub fn config(&self) -> Page {
        let text = match std::fs::read_to_string(&self.config) {
            Ok(text) => config::harmless(&text),
            Err(why) => format!("{} can't be read: {why}\n", self.config.display()),
        };
        Page::new("rackwright.toml", text)
    }

    /// What each file system of the state has.
    pub fn disks(&self) -> Page {
        let row = |folder: &Path| match crate::space::Room::of(folder) {
            Ok(room) => format!("{}: {} bytes, {} free\n", folder.display(), room.total, room.free),
            Err(why) => format!("{}: {why}\n", folder.display()),
        };
        let mut text = row(&self.state);
        for folder in PUBLIC.map(|name| self.state.join(name)) {
            if folder.exists() {
                text.push_str(&row(&folder));
            }
        }
        Page::new("disks.txt", text)
    }

    /// Takes out of every page what is a secret, and says in a page of its own how much that was. `identities` are the
    /// files that make nodes themselves.
    pub fn searched(&self, pages: Vec<Page>, identities: &[IdentityFile]) -> Vec<Page> {
        let mut needles = Needles::default();
        self.secrets(&self.state, 0, &mut needles);
        if let Ok(text) = std::fs::read_to_string(&self.config) {
            config::withheld(&text).iter().for_each(|value| needles.add(value));
        }
        identities.iter().for_each(|file| needles.add_file(&file.content));
        let mut report = String::from("What was taken out of each file, as a precaution:\n");
        let mut pages = pages;
        for page in &mut pages {
            let (text, found) = redact::redact(&page.text, &needles);
            report.push_str(&format!("{}: {found}\n", page.name));
            page.text = text;
        }
        pages.push(Page::new("REDACTION.txt", report));
        pages
    }

    /// Every line of every small file of the state directory that is no data base: whatever keeps a key keeps it there.
    fn secrets(&self, folder: &Path, depth: u32, needles: &mut Needles) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let Ok(meta) = entry.metadata() else { continue };
            let is_public = path == self.config || name.starts_with("state.db");
            if meta.is_dir() && depth < 4 && !(depth == 0 && PUBLIC.contains(&name.as_ref())) {
                self.secrets(&path, depth + 1, needles);
            } else if meta.is_file()
                && meta.len() <= SECRET_FILE
                && !is_public
                && let Ok(bytes) = std::fs::read(&path)
            {
                needles.add_bytes(&bytes);
            }
        }
    }
}
