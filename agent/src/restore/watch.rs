//! What a person sees meanwhile, and how they stop it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::deploy::imaging::deliver::Watcher;
use crate::deploy::imaging::hold::HoldError;
use crate::restore::RestoreError;
use crate::screen::Bar;

/// Where nobody looks at one line that changes, so often there is a new one.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Standard error, and the signals that end a program.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<OnceLock<&'static str>>,
    words: OnceLock<String>,
    terminal: bool,
    /// What was last said, and when.
    said: Mutex<Option<(&'static str, Instant)>>,
}

impl Watch {
    /// Begins to listen for signals. `quiet` says nothing of engines.
    pub(super) fn begin(quiet: bool) -> Result<Self, RestoreError> {
        let stop = Arc::new(OnceLock::new());
        for (kind, words) in [(SignalKind::interrupt(), "Ctrl-C"), (SignalKind::terminate(), "SIGTERM")] {
            let mut heard = signal(kind).map_err(RestoreError::Runtime)?;
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                heard.recv().await;
                // The first word counts.
                let _second = stop.set(words);
            });
        }
        let terminal = std::io::stderr().is_terminal() && !quiet;
        Ok(Self { stop, words: OnceLock::new(), terminal, said: Mutex::default() })
    }

    /// What does the I/O, as it was told.
    pub(super) fn words(&self) -> String {
        self.words.get().cloned().unwrap_or_default()
    }

    /// Ends the line that changes.
    pub(super) fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}

impl Watcher for Watch {
    fn engine(&self, words: &str) {
        eprintln!("{words}");
        let _once = self.words.set(words.to_owned());
    }

    fn show(&self, bar: Bar, _: &cast::Progress) {
        let percent = bar.done.saturating_mul(100).checked_div(bar.total).unwrap_or(0);
        let line = format!(
            "{:<12} {percent:>3} %  {} of {} MiB  {} MiB/s",
            bar.what,
            bar.done >> 20,
            bar.total >> 20,
            bar.rate >> 20
        );
        if self.terminal {
            let mut err = std::io::stderr().lock();
            // A terminal that is gone must not end the work.
            let _gone = write!(err, "\r{line:<70}").and_then(|()| err.flush());
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|(what, at)| what != bar.what || at.elapsed() >= LINE_EVERY) {
            *said = Some((bar.what, Instant::now()));
            let _gone = writeln!(std::io::stderr(), "{line}");
        }
    }

    fn stop(&self) -> Option<String> {
        self.stop.get().map(|&words| words.to_owned())
    }

    fn alarm(&self) -> Option<Arc<HoldError>> {
        None
    }
}
