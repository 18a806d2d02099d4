//! One set-up before a person or a file: lines in, messages to the session, what it wants done.

mod keep;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};

use setup::plain::{self, Typed};
use setup::{Action, Id, Language, Message, Session, Severity, Stage};
use setup::{file, phrase, problems, update};

use super::{Machine, SetupOptions, configured};
use crate::failure::exit;
use crate::terminal::Terminal;

/// No answer is longer, in bytes.
const LONGEST_LINE: u64 = 4096;

pub(super) struct Talk<'a> {
    options: &'a SetupOptions,
    machine: &'a mut dyn Machine,
    terminal: Terminal,
    columns: usize,
    session: Session,
    /// Whether what happens is kept for a set-up that goes on.
    records: bool,
    /// Whether the kernel was heard to refuse that.
    told: bool,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        options: &'a SetupOptions,
        machine: &'a mut dyn Machine,
        terminal: Terminal,
        columns: usize,
        session: Session,
    ) -> Talk<'a> {
        Talk { options, machine, terminal, columns, session, records: false, told: false }
    }

    /// Asks until it is written or the person leaves.
    pub(super) fn ask(&mut self, language: Language) -> io::Result<u8> {
        if let Some(code) = self.refuses(language)? {
            return Ok(code);
        }
        self.begin(language)?;
        self.look()?;
        self.lines(&plain::show(&self.session, self.columns))?;
        loop {
            write!(self.terminal.out, "> ")?;
            self.terminal.out.flush()?;
            let Some(line) = self.line()? else {
                writeln!(self.terminal.out)?;
                self.step(Message::Leave)?;
                return Ok(exit::UNCONFIRMED);
            };
            match plain::read(&self.session, &line) {
                Typed::Said(message) => self.step(message)?,
                Typed::Look => {
                    self.look()?;
                    self.lines(&plain::show(&self.session, self.columns))?;
                }
                Typed::Unknown => {
                    let what = setup::cleaned(line.trim());
                    let phrase = phrase::NOT_UNDERSTOOD.filled(self.session.language(), &[("value", &what)]);
                    self.lines(&setup::wrap(&phrase, 0, self.columns))?;
                }
            }
            match self.session.stage() {
                Stage::Written => return Ok(exit::OK),
                Stage::Left => return Ok(exit::UNCONFIRMED),
                Stage::Asking(_) | Stage::Review | Stage::Writing => {}
            }
        }
    }

    /// Does what a file's answers say, when nothing is wrong with them.
    pub(super) fn apply(&mut self, lines: &BTreeMap<Id, usize>) -> io::Result<u8> {
        let language = self.options.language.unwrap_or_else(|| self.session.language());
        if let Some(code) = self.refuses(language)? {
            return Ok(code);
        }
        let facts = self.machine.look();
        update(&mut self.session, Message::Looked(facts));
        let problems = file::located(problems(&self.session.context()), lines);
        for line in plain::complain(&problems, language, self.columns) {
            writeln!(self.terminal.err, "{line}")?;
        }
        if !problems.iter().any(|problem| problem.severity() == Severity::Stop) {
            self.step(Message::Confirm)?;
        }
        Ok(if self.session.stage() == Stage::Written { exit::OK } else { exit::GENERAL })
    }

    /// A controller is not set up again by mistake.
    fn refuses(&mut self, language: Language) -> io::Result<Option<u8>> {
        let Some(path) = self.machine.configured().filter(|_| !self.options.force) else { return Ok(None) };
        for line in plain::complain(&[configured(&path)], language, self.columns) {
            writeln!(self.terminal.err, "{line}")?;
        }
        Ok(Some(exit::CONFLICT))
    }

    /// Takes what happened and does what follows.
    fn step(&mut self, message: Message) -> io::Result<()> {
        self.keep(&message)?;
        for action in update(&mut self.session, message) {
            match action {
                Action::Show => self.lines(&plain::show(&self.session, self.columns))?,
                Action::Explain => self.lines(&plain::explain(&self.session, self.columns))?,
                Action::Complain(problems) => {
                    let language = self.session.language();
                    self.lines(&plain::complain(&problems, language, self.columns))?;
                }
                Action::Write(outcome) => self.write(&outcome)?,
                Action::End => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, outcome: &setup::Outcome) -> io::Result<()> {
        self.lines(&plain::show(&self.session, self.columns))?;
        match self.machine.write(outcome, self.options.force) {
            Ok(written) => {
                self.machine.forget();
                self.records = false;
                let language = self.session.language();
                let named = |phrase: setup::Text, path: &std::path::PathBuf| {
                    phrase.filled(language, &[("value", &setup::cleaned(&path.display().to_string()))])
                };
                let files = written.files.iter().map(|path| named(phrase::FILE, path));
                let kept = written.kept.iter().map(|path| named(phrase::KEPT, path));
                let lines: Vec<String> = kept.chain(files).collect();
                self.lines(&lines)?;
                self.step(Message::Written)
            }
            Err(why) => self.step(Message::NotWritten(why)),
        }
    }

    fn lines(&mut self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            writeln!(self.terminal.out, "{line}")?;
        }
        self.terminal.out.flush()
    }

    /// A typed line; none at the end of the input.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let length = self.terminal.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        Ok((length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
