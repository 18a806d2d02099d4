//! The server's own screens: every console the kernel writes to shows who this is and what it waits for.
//!
//! Knows terminals. Refuses to hold anything up: each console has a thread of its own and a short queue, so that a
//! stopped serial line costs lines, never the work.

mod console;
mod font;
mod layout;

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

pub use console::{Door, Kind, Sink};
pub use layout::{Bar, Status, line, page};

use protocol::Code;

use crate::text::clean;

const QUEUE: usize = 64;

/// What a console is told.
#[derive(Clone, Debug)]
enum News {
    /// This is how things are now.
    Status(Box<Status>),
    /// This has happened; on serial lines, where harnesses and log collectors look for it.
    Milestone(String),
}

/// All consoles of this server.
#[derive(Debug, Default)]
pub struct Screen {
    status: Mutex<Status>,
    consoles: Vec<SyncSender<News>>,
    doors: Vec<Door>,
}

impl Screen {
    /// Every console in `/sys/class/tty/console/active`, below `root`.
    pub fn open(root: &Path) -> Self {
        Self::onto(console::open_all(root))
    }

    /// These consoles. With none it swallows everything.
    pub fn onto(sinks: Vec<Sink>) -> Self {
        let doors = sinks.iter().filter_map(Sink::door).collect();
        let consoles = sinks.into_iter().map(|sink| {
            let (tell, told) = sync_channel(QUEUE);
            std::thread::spawn(move || sink.show(&told));
            tell
        });
        Self { status: Mutex::default(), consoles: consoles.collect(), doors }
    }

    /// The consoles that somebody can sit at.
    pub fn doors(&self) -> Vec<Door> {
        self.doors.clone()
    }

    /// Changes what is shown.
    pub fn set(&self, change: impl FnOnce(&mut Status)) {
        let mut status = match self.status.lock() {
            Ok(status) => status,
            Err(poisoned) => poisoned.into_inner(),
        };
        let before = status.clone();
        change(&mut status);
        if *status != before {
            self.tell(&News::Status(Box::new(status.clone())));
        }
    }

    /// What is going on, and why it goes no further.
    pub fn state(&self, state: &str, reason: &str) {
        self.set(|s| {
            s.state = clean(state, 80);
            s.reason = clean(reason, 400);
        });
    }

    /// The code that a person compares; `None` takes it off.
    pub fn code(&self, code: Option<&Code>) {
        let mut is_new = false;
        self.set(|s| {
            is_new = s.code.as_ref() != code;
            s.code = code.cloned();
        });
        if let Some(code) = code.filter(|_| is_new) {
            self.milestone(&format!("code {code}"));
        }
    }

    /// How far the work is; `None` takes it off.
    pub fn progress(&self, bar: Option<Bar>) {
        self.set(|s| s.progress = bar);
    }

    /// Something has happened that is worth a line: `hello`, `approved`, `verified`.
    pub fn milestone(&self, words: &str) {
        self.tell(&News::Milestone(clean(words, 200)));
    }

    fn tell(&self, news: &News) {
        for console in &self.consoles {
            // A full queue is a console that stands still: it will get the next news.
            let _dropped = console.try_send(news.clone());
        }
    }
}
