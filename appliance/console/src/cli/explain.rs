//! `rackwright explain …`

use clap::Args;
use setup::Language;

use super::setup::language;

/// What the help of the command ends with.
pub(super) const EXAMPLES: &str = "Examples:
  rackwright explain
  rackwright explain RK-SET-0201
  rackwright explain RK-SET-0201 --lang zh-TW";

#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The code; without one, all of them
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Language: en, zh-TW, zh-CN
    #[arg(long, value_name = "LANG", value_parser = language)]
    pub(crate) lang: Option<Language>,
}
