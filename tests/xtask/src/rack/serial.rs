//! A server's serial line, as lines with the time at which each began.
//!
//! Knows the log file that QEMU appends to. Refuses to sit between QEMU and the file: the log is whole even when
//! we die.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::interrupt::{self, Interrupted};

/// How often the log is looked at: the accuracy of the time stamps.
const LOOK: Duration = Duration::from_millis(50);

/// One line of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first byte was seen.
    pub at: SystemTime,
    /// Without escape sequences and line end.
    pub text: String,
}

/// Why a pattern did not come.
#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    /// The deadline passed.
    #[error("{name}: none of {wanted:?} on the serial line within {limit:?}; it ends with:\n{tail}")]
    Silent {
        /// The server.
        name: String,
        /// What was waited for.
        wanted: Vec<String>,
        /// How long.
        limit: Duration,
        /// The last lines.
        tail: String,
    },
    /// A stop was asked for.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<Line>,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    at: SystemTime,
    bytes: Vec<u8>,
}

impl Seen {
    /// Takes bytes as they come, in pieces of any size.
    fn push(&mut self, at: SystemTime, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = self.partial.take().unwrap_or(Partial { at, bytes: Vec::new() });
                self.lines.push(Line { at: line.at, text: plain(&line.bytes) });
            } else {
                self.partial.get_or_insert_with(|| Partial { at, bytes: Vec::new() }).bytes.push(byte);
            }
        }
    }

    /// All lines, the unfinished one too (a prompt has no line end).
    fn all(&self) -> impl Iterator<Item = Line> + '_ {
        let partial =
            self.partial.as_ref().map(|partial| Line { at: partial.at, text: plain(&partial.bytes) });
        self.lines.iter().cloned().chain(partial)
    }
}

/// Text without CR and ANSI escape sequences (ECMA-48 CSI, ECMA-35 nF, and two-byte ones).
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '\u{1b}' => match chars.next() {
                // Parameters and intermediates, up to and with the final byte.
                Some('[') => while chars.next().is_some_and(|part| !('\u{40}'..='\u{7e}').contains(&part)) {},
                Some('\u{20}'..='\u{2f}') => {
                    while chars.next().is_some_and(|part| ('\u{20}'..='\u{2f}').contains(&part)) {}
                }
                Some(_) | None => {}
            },
            '\r' | '\0' => {}
            other => out.push(other),
        }
    }
    out
}

/// Follows one log file until dropped.
#[derive(Debug)]
pub struct Serial {
    name: String,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Serial {
    /// Follows `log` (it need not exist yet); `stamped` gets every finished line with seconds since `start`.
    #[must_use]
    pub fn follow(name: &str, log: &Path, stamped: &Path) -> Serial {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let tail = Tail { log: log.to_path_buf(), seen: Arc::clone(&seen), stop: Arc::clone(&stop) };
        let stamped = File::options().create(true).append(true).open(stamped).ok();
        let reader = Some(thread::spawn(move || tail.run(stamped)));
        Serial { name: name.to_owned(), seen, stop, reader }
    }

    /// Everything so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).all().collect()
    }

    /// How many lines there are: pass it to [`Serial::wait`] to look only at what comes later.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).lines.len()
    }

    /// The first line at or after `mark` that holds one of `wanted`, waiting up to `limit` for it.
    ///
    /// # Errors
    /// It did not come in time (with the end of the log), or a stop was asked for.
    pub fn wait(&self, mark: usize, wanted: &[&str], limit: Duration) -> Result<Line, SerialError> {
        let start = Instant::now();
        loop {
            let found = self.find(mark, wanted);
            if let Some(line) = found {
                return Ok(line);
            }
            interrupt::check()?;
            if start.elapsed() > limit {
                let wanted = wanted.iter().map(|&text| text.to_owned()).collect();
                return Err(SerialError::Silent {
                    name: self.name.clone(),
                    wanted,
                    limit,
                    tail: self.tail(30),
                });
            }
            thread::sleep(LOOK);
        }
    }

    /// The first line at or after `mark` that holds one of `wanted`, if it is there already.
    #[must_use]
    pub fn find(&self, mark: usize, wanted: &[&str]) -> Option<Line> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.all().skip(mark).find(|line| wanted.iter().any(|text| line.text.contains(text)))
    }

    /// The last `count` lines, for an error or a report.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        let from = lines.len().saturating_sub(count);
        let last = lines.get(from..).unwrap_or_default();
        last.iter().map(|line| format!("    | {}", line.text)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

struct Tail {
    log: PathBuf,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Tail {
    fn run(self, mut stamped: Option<File>) {
        let mut file = None;
        let mut written = 0;
        // Looks once more after the stop, for what came last.
        let mut last_look = false;
        while !last_look {
            last_look = self.stop.load(Ordering::Relaxed);
            if file.is_none() {
                file = File::open(&self.log).ok();
            }
            let mut bytes = Vec::new();
            if let Some(file) = &mut file {
                // The file offset stays at the old end, so the next look reads only what is new.
                let _ = file.read_to_end(&mut bytes);
            }
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(SystemTime::now(), &bytes);
            if let Some(stamped) = &mut stamped {
                for line in seen.lines.iter().skip(written) {
                    // A full disk shows elsewhere; the lines in memory are what decides.
                    let _ = writeln!(stamped, "{} {}", humantime::format_rfc3339_millis(line.at), line.text);
                }
                written = seen.lines.len();
            }
            drop(seen);
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_paint_becomes_text() {
        let table: &[(&[u8], &str)] = &[
            (b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading\r", "BdsDxe: loading"),
            (b"plain", "plain"),
            (b"\x1b", ""),
            (b"\x1b[", ""),
            (b"\x1b[31", ""),
            (b"a\x1b[0;1;33;44mb\x1b(Bc", "abc"),
            (b"\xff\xfe!", "\u{fffd}\u{fffd}!"),
        ];
        for (bytes, text) in table {
            assert_eq!(plain(bytes), *text, "{bytes:?}");
        }
    }

    #[test]
    fn lines_are_found_across_reads_and_without_a_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let serial = Serial::follow("n1", &log, &dir.path().join("stamped"));
        let mut file = File::create(&log).unwrap();
        file.write_all(b"first li").unwrap();
        serial.wait(0, &["first"], Duration::from_secs(20)).unwrap();
        file.write_all(b"ne\nlogin: ").unwrap();
        let line = serial.wait(1, &["nothing", "login:"], Duration::from_secs(20)).unwrap();
        assert_eq!(line.text, "login: ");
        assert!(serial.find(1, &["first"]).is_none());
        let error = serial.wait(0, &["never"], Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("first line"), "{error}");
    }
}
