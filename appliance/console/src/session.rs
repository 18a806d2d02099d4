//! One run of the program: the way to the daemon, the terminal, and how output is wanted.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::cli::{Format, Global};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::terminal::{Look, Terminal, Wishes, coloured};
use crate::text::quiet_json;
use crate::{paths, terminal};

/// What every verb has at hand.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) terminal: Terminal,
    pub(crate) format: Format,
    pub(crate) look: Look,
    /// Between two looks at something that is watched.
    pub(crate) pause: Duration,
    /// How long a daemon that is not there is looked for while a job is watched: it may be restarting.
    pub(crate) absence: Duration,
    started: Instant,
}

impl Session {
    pub(crate) fn of_process(global: &Global) -> Session {
        let terminal = Terminal::of_process(global.no_input);
        Session::new(global, terminal, Wishes::of_process())
    }

    pub(crate) fn new(global: &Global, terminal: Terminal, wishes: terminal::Wishes) -> Session {
        let look = Look {
            header: !global.no_header,
            colour: coloured(global.color, terminal.out_tty, wishes),
            columns: terminal.size.map(|(columns, _)| columns),
            rows: terminal.size.map(|(_, rows)| rows),
        };
        Session {
            client: Client::new(paths::socket(global)),
            terminal,
            format: global.output,
            look,
            pause: Duration::from_secs(1),
            absence: Duration::from_secs(60),
            started: Instant::now(),
        }
    }

    /// Data, to standard output.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.terminal.out.write_all(text.as_bytes()).and_then(|()| self.terminal.out.flush());
        written.map_err(|source| Failure::Printing { source })
    }

    /// A message, to standard error; nobody is helped by a failure to complain.
    pub(crate) fn note(&mut self, line: &str) {
        let _ = writeln!(self.terminal.err, "{line}");
    }

    /// Asks the person; `None` when nobody answers.
    pub(crate) fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        self.terminal.ask(question).map_err(|source| Failure::Printing { source })
    }

    /// The answer as JSON over several lines, or what `render` makes of it.
    pub(crate) fn show(
        &mut self,
        answer: &Answer,
        render: impl FnOnce(&Answer, &Look) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => pretty(&answer.value()?),
            Format::Table => render(answer, &self.look)?,
        };
        self.print(&text)
    }

    /// One thing on one line of JSON.
    pub(crate) fn print_line(&mut self, value: &Value) -> Result<(), Failure> {
        self.print(&format!("{}\n", quiet_json(&value.to_string())))
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Seconds since 1970 by this machine's clock, for ages.
    pub(crate) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Milliseconds since the program started: for rates and time-outs, whatever the clock is set to meanwhile.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells a failure and gives its exit code.
    pub(crate) fn report(&mut self, failure: &Failure) -> u8 {
        let exit = failure.exit();
        if exit != crate::failure::exit::OK {
            let _ = write!(self.terminal.err, "{}", failure.render());
        }
        exit
    }
}

/// JSON for a person who wants JSON.
pub(crate) fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    quiet_json(&text) + "\n"
}
