//! What can be wrong: a code, and in three languages what it is, why it matters and what to do.

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::question::Id;
use crate::words;
use crate::wrap;

/// What is quoted of somebody's input, in cells.
const QUOTED: usize = 60;

/// Whether set-up can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can; a person should know.
    Warning,
    /// It cannot.
    Stop,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What.
    pub code: Code,
    /// The question it is about, where it is about one.
    pub id: Option<Id>,
    /// What was answered or found.
    pub value: String,
    /// What it is at odds with.
    pub other: String,
    /// The line of the answers file, counted from one.
    pub line: Option<usize>,
}

impl Problem {
    /// What is quoted is made fit for a terminal here, once.
    #[must_use]
    pub fn new(code: Code, id: Option<Id>, value: &str, other: &str) -> Problem {
        let quoted = |text: &str| wrap::quoted(text, QUOTED);
        Problem { code, id, value: quoted(value), other: quoted(other), line: None }
    }

    /// The same, in a file.
    #[must_use]
    pub fn at(self, line: usize) -> Problem {
        Problem { line: Some(line), ..self }
    }

    /// Whether set-up can go on.
    #[must_use]
    pub fn severity(&self) -> Severity {
        words::words(self.code).severity
    }

    /// In words.
    #[must_use]
    pub fn report(&self, language: Language) -> Report {
        let values = [self.id.map_or("", Id::key), &self.value, &self.other];
        Report { line: self.line, ..self.code.report(language, values) }
    }
}

impl Code {
    /// As it is looked up: `RK-SET-0107`.
    #[must_use]
    pub fn number(self) -> &'static str {
        words::words(self).number
    }

    /// The one of this number, in letters of any case.
    #[must_use]
    pub fn of(number: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.number().eq_ignore_ascii_case(number.trim()))
    }

    /// What it is whenever it comes up, with `KEY`, `VALUE` and `OTHER` for what differs.
    #[must_use]
    pub fn explained(self, language: Language) -> Report {
        self.report(language, ["KEY", "VALUE", "OTHER"])
    }

    fn report(self, language: Language, [key, value, other]: [&str; 3]) -> Report {
        let words = words::words(self);
        let values = [("key", key), ("value", value), ("other", other)];
        Report {
            number: words.number,
            severity: words.severity,
            line: None,
            what: words.what.filled(language, &values),
            why: words.why.filled(language, &values),
            fix: words.fix.filled(language, &values),
        }
    }
}

/// A problem in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The code, as it is looked up: `RK-SET-0107`.
    pub number: &'static str,
    /// Whether set-up can go on.
    pub severity: Severity,
    /// The line of the answers file, counted from one.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// What can be wrong; the words are beside it in `words`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Code {
    /// No answer, and nothing to propose.
    Needed,
    /// Too long, or with characters that a terminal obeys.
    Unprintable,
    /// None of the choices.
    NotAChoice,
    /// No DNS label.
    BadSite,
    /// No name of an interface.
    BadInterface,
    /// Both networks on one card, untagged.
    SameInterface,
    /// No address with a prefix.
    NoPrefix,
    /// A prefix that leaves no room, or is nobody's.
    BadPrefix,
    /// The network's own or its broadcast address.
    NobodysAddress,
    /// An address that nobody can reach.
    Nowhere,
    /// A network with an address of a machine in it.
    NotANetwork,
    /// Two networks that share addresses.
    Overlap,
    /// No address.
    NoAddress,
    /// An address that is not in the network.
    OutsideAddress,
    /// This machine's own address.
    OwnAddress,
    /// No range of addresses.
    NoRange,
    /// A range that ends before it begins.
    Backwards,
    /// A range that is not in the network.
    OutsideRange,
    /// A range with the network's own or its broadcast address.
    WholeNetwork,
    /// A range with an address that somebody has.
    TakenInRange,
    /// No VLAN.
    BadVlan,
    /// Two networks in one VLAN.
    SameVlan,
    /// No list of addresses.
    BadAddresses,
    /// A file that is no TOML.
    NotToml,
    /// A key that there is not.
    UnknownKey,
    /// A key that there is not, but nearly.
    MisspeltKey,
    /// A value that is no text.
    WrongType,
    /// A file that nobody wrote by hand.
    TooLarge,
    /// An answer to a question that is not asked.
    Unused,
    /// No such card in this machine.
    InterfaceMissing,
    /// No card at all.
    NoCards,
    /// No cable, or nobody at its other end.
    NoLink,
    /// No room for the state.
    DiskSmall,
    /// Little room for images.
    DiskTight,
    /// Little memory.
    MemoryLow,
    /// A way out that does not answer.
    GatewayDead,
    /// Another DHCP server where servers boot.
    ForeignDhcp,
    /// A clock that has lost its battery.
    ClockWrong,
    /// A configuration that is there already.
    Configured,
    /// What was decided could not be written.
    NotWritten,
}
