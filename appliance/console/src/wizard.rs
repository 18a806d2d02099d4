//! `rackwright setup`: questions and answers on a terminal, or answers from a file.
//!
//! Knows how lines go in and out. Refuses to know questions (`setup` has them) and the machine, which is a [`Machine`].

mod machine;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use setup::{Code, Context, Id, Language, Message, Problem, Session, Severity};
use setup::{file, phrase, plain, schema, update};

pub use machine::{Machine, Written};

use crate::failure::exit;
use crate::session::pretty;
use crate::terminal::Terminal;
use talk::Talk;

/// Lines are no longer than this, however wide the screen is.
const COLUMNS: usize = 80;

/// How a set-up shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupOptions {
    /// As [`crate::ServeOptions::root`].
    pub root: Option<PathBuf>,
    /// What is wanted.
    pub verb: SetupVerb,
    /// The language to begin in.
    pub language: Option<Language>,
    /// Whether a configuration may be replaced.
    pub force: bool,
    /// Whether to begin anew.
    pub restart: bool,
    /// Whether nobody may be asked.
    pub no_input: bool,
}

/// What is wanted of set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupVerb {
    /// To be asked; in plain lines whatever the streams are.
    Ask {
        /// Also where no terminal is.
        plain: bool,
    },
    /// To take a file's answers.
    Answers(PathBuf),
    /// To look at a file.
    Check(PathBuf),
    /// To print an answers file.
    Dump,
    /// To print the schema of answers files.
    Schema,
}

/// Does what was asked for; gives the exit code.
pub fn run(options: &SetupOptions, machine: &mut dyn Machine) -> u8 {
    let terminal = Terminal::of_process(options.no_input);
    carry_out(options, machine, terminal).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        exit::GENERAL
    })
}

fn carry_out(options: &SetupOptions, machine: &mut dyn Machine, mut terminal: Terminal) -> io::Result<u8> {
    let language = options.language.or_else(of_environment).unwrap_or_default();
    let columns = terminal.size.map_or(COLUMNS, |(columns, _)| columns.min(COLUMNS));
    match &options.verb {
        SetupVerb::Schema => {
            terminal.out.write_all(pretty(&schema::schema()).as_bytes())?;
            Ok(exit::OK)
        }
        SetupVerb::Dump => {
            let mut session = Session::default();
            update(&mut session, Message::Earlier(earlier(machine, options.language, language)));
            update(&mut session, Message::Looked(machine.look()));
            terminal.out.write_all(file::write(&session.context()).as_bytes())?;
            Ok(exit::OK)
        }
        SetupVerb::Check(path) => check(path, language, columns, &mut terminal),
        SetupVerb::Answers(path) => {
            let (answers, lines) = match file::read(&bounded(path)?) {
                Ok(read) => read,
                Err(problems) => return complain(&problems, language, columns, &mut terminal),
            };
            let mut talk = Talk::new(options, machine, terminal, columns, Session::answered(answers));
            talk.apply(&lines)
        }
        SetupVerb::Ask { plain } => {
            if !(terminal.asks || *plain && !options.no_input) {
                writeln!(terminal.err, "{}", phrase::NOBODY.of(language))?;
                return Ok(exit::UNCONFIRMED);
            }
            let mut talk = Talk::new(options, machine, terminal, columns, Session::default());
            talk.ask(language)
        }
    }
}

/// What is wrong with a file in itself: the machine that it is for may be another.
fn check(path: &Path, language: Language, columns: usize, terminal: &mut Terminal) -> io::Result<u8> {
    let read = file::read(&bounded(path)?);
    let problems = read.map_or_else(
        |problems| problems,
        |(answers, lines)| {
            file::located(setup::problems(&Context { answers: &answers, facts: None }), &lines)
        },
    );
    let code = complain(&problems, language, columns, terminal)?;
    if code == exit::OK {
        let said = phrase::FILE_GOOD.filled(language, &[("value", &path.display().to_string())]);
        for line in setup::wrap(&said, 0, columns) {
            writeln!(terminal.out, "{line}")?;
        }
    }
    Ok(code)
}

/// Says what is wrong; the code is the one for what stops set-up.
fn complain(
    problems: &[Problem],
    language: Language,
    columns: usize,
    terminal: &mut Terminal,
) -> io::Result<u8> {
    for line in plain::complain(problems, language, columns) {
        writeln!(terminal.err, "{line}")?;
    }
    let stops = problems.iter().any(|problem| problem.severity() == Severity::Stop);
    Ok(if stops { exit::GENERAL } else { exit::OK })
}

/// The answers that are proposed: of the set-up before. Its language too, unless the person says another.
fn earlier(machine: &dyn Machine, asked: Option<Language>, usual: Language) -> BTreeMap<Id, String> {
    let answers = machine.earlier().and_then(|text| file::read(&text).ok());
    let mut earlier = answers.map(|(answers, _)| answers.words()).unwrap_or_default();
    let kept = earlier.get(&Id::Language).and_then(|tag| Language::of(tag));
    earlier.insert(Id::Language, asked.or(kept).unwrap_or(usual).tag().to_owned());
    earlier
}

/// A file of a person, `-` for standard input, as far as it is believed to be one.
fn bounded(path: &Path) -> io::Result<String> {
    let most = u64::try_from(file::MAX_BYTES + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        File::open(path).map_err(named)?.take(most).read_to_end(&mut bytes).map_err(named)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The language of the environment, in the order of locale(7).
pub(crate) fn of_environment() -> Option<Language> {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set)?;
    Language::of(&name)
}

/// What is said of a configuration that is there.
fn configured(path: &Path) -> Problem {
    Problem::new(Code::Configured, None, &path.display().to_string(), "")
}
