//! The questions that make a machine the controller, and what follows from the answers.
//!
//! One table of questions ([`QUESTIONS`]) in three languages; one function that takes what happened and says what a front-end
//! must do ([`update`]). Every front-end is made from both: plain lines ([`plain`]), the answers file ([`mod@file`]), its schema
//! ([`schema`]). What is written in the end is a value ([`Outcome`]). Knows: words, addresses, files as texts. Refuses to know:
//! terminals, disks, the network; what is true of the machine comes as [`Facts`].
#![forbid(unsafe_code)]

mod answers;
mod check;
mod default;
mod facts;
pub mod file;
mod findings;
pub mod install;
mod language;
mod outcome;
pub mod phrase;
pub mod plain;
mod problem;
mod question;
mod range;
pub mod record;
pub mod schema;
mod session;
mod table;
mod topology;
mod whole;
mod words;
mod wrap;

pub use answers::{Answer, Answers, Context};
pub use check::check;
pub use facts::{Facts, Gateway, Interface};
pub use findings::findings;
pub use language::{Language, Text};
pub use outcome::{File, OWNED, Outcome, outcome};
pub use problem::{Code, Problem, Report, Severity};
pub use question::{Choice, Id, Kind, Question};
pub use session::{Action, Message, Session, Stage, update};
pub use table::QUESTIONS;
pub use topology::{TOPOLOGIES, Topology, topology};
pub use whole::problems;
pub use wrap::{cleaned, width, wrap};
