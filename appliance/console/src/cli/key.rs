//! `rackwright key …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// The site CA, which every node trusts
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright key ca show
  rackwright key ca rotate"
    )]
    Ca(CaCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// The site CA; while it is changed, who has not moved and why
    #[command(after_help = "Examples:
  rackwright key ca show
  rackwright key ca show -o json")]
    Show,
    /// Put another CA in its place, while everything runs
    #[command(after_help = "Examples:
  rackwright key ca rotate
  rackwright key ca rotate --finish
  rackwright key ca rotate --finish --force n7 --confirm lab
  rackwright key ca rotate --abort

The first makes a new CA; both are trusted from then on, and nodes move to the
new one by themselves within minutes, those that are off when they are back;
key ca show says who has not.
--finish refuses the old one, and is refused as long as a node depends on it.
Nodes that are gone for good are left behind with --force. Nothing that runs is
disturbed: images are written on, and servers boot.")]
    Rotate(RotateArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RotateArgs {
    /// Refuse the old CA, now that every node has moved
    #[arg(long, conflicts_with = "abort")]
    pub(crate) finish: bool,
    /// Go back to the CA of before
    #[arg(long)]
    pub(crate) abort: bool,
    /// Leave this node behind: it is locked out
    #[arg(long, value_name = "NODE", value_delimiter = ',', requires = "finish")]
    pub(crate) force: Vec<String>,
    /// The site's name, instead of typing it
    #[arg(long, value_name = "SITE", requires = "finish")]
    pub(crate) confirm: Option<String>,
}
