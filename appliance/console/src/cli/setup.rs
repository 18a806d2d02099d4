//! `rackwright setup …`

use std::path::PathBuf;

use clap::Args;
use setup::Language;

use super::Global;
use crate::paths;
use crate::wizard::{SetupOptions, SetupVerb};

/// What the help of the command ends with.
pub(super) const EXAMPLES: &str = "Examples:
  rackwright setup
  rackwright setup --plain --lang zh-TW
  rackwright setup --dump
  rackwright setup --check answers.toml
  rackwright setup --answers answers.toml
  rackwright setup --answers - --root /mnt/target

Asks in English, Traditional or Simplified Chinese; ? explains a question.
Nothing is written before the last confirmation, and whatever ends a set-up
before it, the next one goes on there. Writes the configuration, the answers
beside it, and systemd-networkd's files for the cards. A configuration that is
there already is refused; with --force it is kept beside the new one.";

#[derive(Args, Clone, Debug)]
pub(crate) struct SetupArgs {
    /// Ask in plain lines even where no terminal is
    #[arg(long, conflicts_with_all = ["answers", "check", "dump", "schema"])]
    pub(crate) plain: bool,
    /// Ask nobody: take the answers from here (-: stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "dump", "schema"])]
    pub(crate) answers: Option<PathBuf>,
    /// Say what is wrong with an answers file, do nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dump", "schema"])]
    pub(crate) check: Option<PathBuf>,
    /// Print an answers file: those before, else proposed
    #[arg(long, conflicts_with = "schema")]
    pub(crate) dump: bool,
    /// Print the JSON schema of answers files
    #[arg(long)]
    pub(crate) schema: bool,
    /// Replace a configuration; a copy of it is kept
    #[arg(long)]
    pub(crate) force: bool,
    /// Begin anew instead of going on
    #[arg(long)]
    pub(crate) restart: bool,
    /// Language: en, zh-TW, zh-CN
    #[arg(long, value_name = "LANG", value_parser = language)]
    pub(crate) lang: Option<Language>,
}

impl SetupArgs {
    pub(crate) fn options(&self, global: &Global) -> SetupOptions {
        let verb = match (&self.answers, &self.check) {
            (Some(file), _) => SetupVerb::Answers(file.clone()),
            (None, Some(file)) => SetupVerb::Check(file.clone()),
            (None, None) if self.dump => SetupVerb::Dump,
            (None, None) if self.schema => SetupVerb::Schema,
            (None, None) => SetupVerb::Ask { plain: self.plain },
        };
        SetupOptions {
            root: paths::root(global.root.clone()),
            verb,
            language: self.lang,
            force: self.force,
            restart: self.restart,
            no_input: global.no_input,
        }
    }
}

pub(super) fn language(text: &str) -> Result<Language, String> {
    Language::of(text).ok_or_else(|| "one of en, zh-TW, zh-CN".to_owned())
}
