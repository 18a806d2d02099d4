//! Consoles: a page on a terminal, lines on a serial line.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::screen::{News, Status, layout};

const REDRAW_AT_MOST: Duration = Duration::from_secs(1);
/// The kernel prints onto the same screen: draw it again though nothing changed.
const REDRAW_AT_LEAST: Duration = Duration::from_secs(10);
/// On a serial line, progress is a line per so many percent.
const PERCENT_STEP: u64 = 5;

/// What can be done with a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Clear it and draw.
    Terminal,
    /// Lines, one under the other.
    Serial,
}

/// One console.
pub struct Sink {
    kind: Kind,
    out: Box<dyn Write + Send>,
    root: PathBuf,
    door: Option<Door>,
}

/// A console that somebody can sit at: where it is opened, and whether it is theirs for now.
#[derive(Clone, Debug)]
pub struct Door {
    /// The device.
    pub path: PathBuf,
    /// What can be done with it.
    pub kind: Kind,
    taken: Arc<AtomicBool>,
}

/// Somebody has the console; nothing is shown there as long as this lives.
#[derive(Debug)]
pub struct Theirs(Arc<AtomicBool>);

impl Door {
    /// Gives the console to whoever sits at it.
    pub fn theirs(&self) -> Theirs {
        self.taken.store(true, Ordering::Relaxed);
        Theirs(Arc::clone(&self.taken))
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// `tty0 ttyS0`: `tty0` is whatever is in front, which is `tty1` unless somebody switched; names that are none are
/// left out.
pub(super) fn consoles(active: &str) -> Vec<(String, Kind)> {
    let is_name = |n: &&str| n.len() <= 32 && n.bytes().all(|b| b.is_ascii_alphanumeric());
    let mut out = active
        .split_ascii_whitespace()
        .filter(is_name)
        .map(|name| match name.strip_prefix("tty") {
            Some("0") => ("tty1".to_owned(), Kind::Terminal),
            Some(n) if n.bytes().all(|b| b.is_ascii_digit()) => (name.to_owned(), Kind::Terminal),
            Some(_) | None => (name.to_owned(), Kind::Serial),
        })
        .collect::<Vec<_>>();
    if !out.iter().any(|(name, _)| name == "tty1") {
        out.push(("tty1".to_owned(), Kind::Terminal));
    }
    out.truncate(8);
    out
}

pub(super) fn open_all(root: &Path) -> Vec<Sink> {
    let active = std::fs::read_to_string(root.join("sys/class/tty/console/active")).unwrap_or_default();
    let open = |(name, kind): (String, Kind)| {
        let path = root.join("dev").join(name);
        let out = OpenOptions::new().write(true).open(&path).ok()?;
        Some(Sink::new(kind, Box::new(out), root).at(&path))
    };
    consoles(&active).into_iter().filter_map(open).collect()
}

impl Sink {
    /// A console that writes here; `root` is where `/proc/uptime` is read for the times of lines.
    pub fn new(kind: Kind, out: Box<dyn Write + Send>, root: &Path) -> Self {
        Self { kind, out, root: root.to_owned(), door: None }
    }

    /// The same, which somebody can sit at: it is read from there.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        let (path, kind) = (path.to_owned(), self.kind);
        self.door = Some(Door { path, kind, taken: Arc::default() });
        self
    }

    pub(super) fn door(&self) -> Option<Door> {
        self.door.clone()
    }

    /// Shows news until there will be no more.
    pub(super) fn show(mut self, told: &Receiver<News>) {
        match self.kind {
            Kind::Terminal => self.show_pages(told),
            Kind::Serial => self.show_lines(told),
        }
    }

    fn show_pages(&mut self, told: &Receiver<News>) {
        let mut status = Status::default();
        loop {
            match told.recv_timeout(REDRAW_AT_LEAST) {
                Ok(news) => status = latest(news, told, status),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let begun = Instant::now();
            // Home, each line cleared to its end, the rest of the screen cleared, no cursor: nothing flickers.
            let lines = layout::page(&status).join("\x1b[K\r\n");
            self.write(&format!("\x1b[?25l\x1b[H{lines}\x1b[K\x1b[J"));
            std::thread::sleep(REDRAW_AT_MOST.saturating_sub(begun.elapsed()));
        }
    }

    fn show_lines(&mut self, told: &Receiver<News>) {
        let mut lines = Lines::default();
        while let Ok(news) = told.recv() {
            for text in lines.of(&news) {
                let seconds = clock::uptime_seconds(&self.root);
                self.write(&format!("[{seconds:>5}] rackwright-agent: {text}\r\n"));
            }
        }
    }

    /// A console that is gone is no reason to stop.
    fn write(&mut self, text: &str) {
        if self.door.as_ref().is_some_and(|door| door.taken.load(Ordering::Relaxed)) {
            return;
        }
        let _gone = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn latest(news: News, told: &Receiver<News>, mut status: Status) -> Status {
    for news in std::iter::once(news).chain(told.try_iter()) {
        match news {
            News::Status(now) => status = *now,
            News::Milestone(_) => {}
        }
    }
    status
}

/// Which lines are worth writing: each milestone, each change of state or reason, progress in steps.
#[derive(Debug, Default)]
struct Lines {
    said: String,
    step: Option<(&'static str, u64)>,
}

impl Lines {
    fn of(&mut self, news: &News) -> Vec<String> {
        let status = match news {
            News::Milestone(words) => return vec![words.clone()],
            News::Status(status) => status,
        };
        let mut out = Vec::new();
        let line = layout::line(status);
        if line != self.said && !status.state.is_empty() {
            self.said.clone_from(&line);
            out.push(line);
        }
        if let Some(bar) = &status.progress {
            let step = (bar.what, bar.percent() / PERCENT_STEP);
            if self.step != Some(step) {
                self.step = Some(step);
                out.push(format!("{} {}", bar.what, bar.words()));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Lines, consoles};
    use crate::screen::{Bar, News, Status};

    #[test]
    fn consoles_by_name() {
        let names = |active: &str| {
            consoles(active).into_iter().map(|(n, k)| (n, k == Kind::Serial)).collect::<Vec<_>>()
        };
        let tty1 = ("tty1".to_owned(), false);
        assert_eq!(names("tty0 ttyS0\n"), [tty1.clone(), ("ttyS0".to_owned(), true)]);
        assert_eq!(names("hvc0"), [("hvc0".to_owned(), true), tty1.clone()]);
        assert_eq!(names(""), std::slice::from_ref(&tty1));
        assert_eq!(names("../../etc/passwd tty/../x \x1b"), [tty1]);
        assert!(names(&"ttyS1 ".repeat(100)).len() <= 8);
    }

    #[test]
    fn a_serial_line_is_told_each_thing_once() {
        let mut lines = Lines::default();
        let status = |reason: &str, done| {
            let progress = Some(Bar { what: "imaging", done, total: 100, rate: 0 });
            let (state, reason) = ("imaging".to_owned(), reason.to_owned());
            News::Status(Box::new(Status {
                name: "n1".to_owned(),
                state,
                reason,
                progress,
                ..Status::default()
            }))
        };
        assert_eq!(lines.of(&News::Milestone("hello".to_owned())), ["hello"]);
        assert_eq!(lines.of(&status("", 0)), ["n1: imaging", "imaging 0%"]);
        assert!(lines.of(&status("", 1)).is_empty());
        assert_eq!(lines.of(&status("", 5)), ["imaging 5%"]);
        assert_eq!(lines.of(&status("a chunk was damaged", 6)), ["n1: imaging: a chunk was damaged"]);
        assert_eq!(lines.of(&status("a chunk was damaged", 42)), ["imaging 42%"]);
    }
}
