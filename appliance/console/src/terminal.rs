//! The terminal: what is one, how wide it is, whether it is coloured, and questions to the person before it.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::cli::ColorChoice;

/// What a word tells, besides its letters; a person without colours reads the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Bad,
}

impl Tone {
    /// The tone of a state, a health or a unit's state.
    pub(crate) fn of(word: &str) -> Tone {
        match word {
            "active" | "ok" | "running" | "done" | "verified" | "passed" | "well" => Tone::Good,
            "faulty" | "died" | "attention" | "fail" | "failed" | "stopped" | "silent" | "rejected"
            | "degraded" | "ill" => Tone::Bad,
            "discovered" | "inspecting" | "testing" | "suspicious" | "imaging" | "verifying" | "booting"
            | "enrolling" | "draining" | "rescue" | "servicing" | "returning" | "busy" | "underway"
            | "warn" | "activating" | "deactivating" | "reloading" | "waiting" | "coming" | "held" => {
                Tone::Busy
            }
            _ => Tone::Plain,
        }
    }

    /// The text in this tone: three of the eight colours that every terminal has.
    pub(crate) fn paint(self, text: &str) -> String {
        let code = match self {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Busy => 33,
            Tone::Bad => 31,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// How output is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether tables have a head.
    pub(crate) header: bool,
    /// Whether words are coloured.
    pub(crate) colour: bool,
    /// Cells of a line, where there is a terminal; lines are cut there.
    pub(crate) columns: Option<usize>,
    /// Lines of the screen, where there is a terminal.
    pub(crate) rows: Option<usize>,
}

/// The three standard streams and what is known of them.
pub(crate) struct Terminal {
    /// Data.
    pub(crate) out: Box<dyn Write>,
    /// Messages.
    pub(crate) err: Box<dyn Write>,
    /// Answers of a person.
    pub(crate) input: Box<dyn BufRead>,
    /// Whether standard output is a terminal.
    pub(crate) out_tty: bool,
    /// Whether standard error is one that obeys: progress bars are drawn there.
    pub(crate) err_tty: bool,
    /// Whether somebody can be asked.
    pub(crate) asks: bool,
    /// Columns and rows.
    pub(crate) size: Option<(usize, usize)>,
    /// Columns and rows of standard error, now.
    pub(crate) err_size: fn() -> Option<(usize, usize)>,
}

impl Terminal {
    /// This process's.
    pub(crate) fn of_process(no_input: bool) -> Terminal {
        let (out_tty, err_tty) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Terminal {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            out_tty,
            err_tty: err_tty && !Wishes::of_process().dumb,
            // The question is written to standard error: nobody could read it elsewhere.
            asks: io::stdin().is_terminal() && err_tty && !no_input,
            size: if out_tty { window(io::stdout()) } else { None },
            err_size: || window(io::stderr()),
        }
    }

    /// Writes the question and reads one line; `None` when nobody answers.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<Option<String>> {
        write!(self.err, "{question}")?;
        self.err.flush()?;
        let mut line = String::new();
        let length = self.input.read_line(&mut line)?;
        Ok((length > 0).then(|| line.trim().to_owned()))
    }
}

/// A serial console says 0 by 0: then the size that every screen has.
fn window(terminal: impl std::os::fd::AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    let or = |count: u16, usual: usize| if count == 0 { usual } else { usize::from(count) };
    Some((or(size.ws_col, 80), or(size.ws_row, 24)))
}

/// The environment's wishes about colour (<https://no-color.org>, CLICOLOR, `TERM=dumb`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    no_color: bool,
    clicolor_off: bool,
    dumb: bool,
}

impl Wishes {
    pub(crate) fn of_process() -> Wishes {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Wishes {
            no_color: set("NO_COLOR").is_some(),
            clicolor_off: set("CLICOLOR").is_some_and(|value| value == "0"),
            dumb: set("TERM").is_some_and(|value| value == "dumb"),
        }
    }
}

/// Whether to colour.
pub(crate) fn coloured(choice: ColorChoice, tty: bool, wishes: Wishes) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => tty && !wishes.no_color && !wishes.clicolor_off && !wishes.dumb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let none = Wishes::default();
        let table = [
            (ColorChoice::Auto, true, none, true),
            (ColorChoice::Auto, false, none, false),
            (ColorChoice::Auto, true, Wishes { no_color: true, ..none }, false),
            (ColorChoice::Auto, true, Wishes { clicolor_off: true, ..none }, false),
            (ColorChoice::Auto, true, Wishes { dumb: true, ..none }, false),
            (ColorChoice::Always, false, Wishes { no_color: true, ..none }, true),
            (ColorChoice::Never, true, none, false),
        ];
        for (choice, tty, wishes, is) in table {
            assert_eq!(coloured(choice, tty, wishes), is, "{choice:?} {tty} {wishes:?}");
        }
    }

    #[test]
    fn a_tone_never_replaces_the_word() {
        for word in ["active", "attention", "imaging", "whatever"] {
            assert!(Tone::of(word).paint(word).contains(word));
        }
        assert_eq!(Tone::of("whatever").paint("whatever"), "whatever");
    }
}
