//! The whole program but its process: words in, requests to a fake daemon, text and an exit code out.

mod burning_in;
mod checking;
mod ends;
mod flows;
mod goldens;
mod goldens_image;
mod goldens_network;
mod harmless;
mod mending;
mod passwords;
mod proving;
mod rolling;
pub(crate) mod samples;
mod sizing;
mod upgrading;

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;

use crate::Cli;
use crate::fake::Fake;
use crate::session::Session;
use crate::terminal::{Look, Terminal, Wishes};

/// Neither terminal nor colours.
pub(crate) const PIPE: Look = Look { header: true, colour: false, columns: None, rows: None };

/// What came out.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A stream whose text can be read while somebody still writes.
#[derive(Clone, Default)]
pub(crate) struct Captured(Rc<RefCell<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// A script runs it: nobody can be asked.
pub(crate) fn run(fake: &Fake, words: &str) -> Ran {
    run_with(fake, words, None)
}

/// It runs where messages can be redrawn.
pub(crate) fn run_on_terminal(fake: &Fake, words: &str) -> Ran {
    let socket = fake.socket.to_str().unwrap();
    let words = ["rackwright", "--socket", socket].into_iter().chain(words.split_whitespace());
    run_cli(Cli::try_parse_from(words).unwrap(), None, true)
}

/// A person runs it, and answers so when asked.
pub(crate) fn run_asked(fake: &Fake, words: &str, answer: &str) -> Ran {
    run_with(fake, words, Some(answer.to_owned()))
}

fn run_with(fake: &Fake, words: &str, answer: Option<String>) -> Ran {
    let socket = fake.socket.to_str().unwrap();
    let words = ["rackwright", "--socket", socket].into_iter().chain(words.split_whitespace());
    run_cli(Cli::try_parse_from(words).unwrap(), answer, false)
}

fn run_cli(cli: Cli, answer: Option<String>, err_tty: bool) -> Ran {
    let Cli { global, command } = cli;
    run_in(&global, answer, err_tty, async |session| crate::dispatch::dispatch(session, command).await)
}

/// Runs what takes a session that a script has.
pub(crate) fn run_in(
    global: &crate::cli::Global,
    answer: Option<String>,
    err_tty: bool,
    what: impl AsyncFnOnce(&mut Session) -> u8,
) -> Ran {
    let (out, err) = (Captured::default(), Captured::default());
    let terminal = Terminal {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        asks: answer.is_some(),
        input: Box::new(Cursor::new(answer.unwrap_or_default())),
        out_tty: false,
        err_tty,
        size: None,
        err_size: || None,
    };
    let mut session = Session::new(global, terminal, Wishes::default());
    session.pause = Duration::from_millis(4);
    session.absence = Duration::from_millis(40);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let code = runtime.block_on(what(&mut session));
    Ran { code, out: out.text(), err: err.text() }
}
