//! `rackwright completion …` and `rackwright man …`

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// What the help of the first ends with.
pub(super) const COMPLETIONS: &str = "Examples:
  rackwright completion bash
  rackwright completion zsh

Into a file with >: /etc/bash_completion.d/rackwright, ~/.zfunc/_rackwright.";

/// And of the second.
pub(super) const PAGES: &str = "Examples:
  rackwright man
  rackwright man --install /usr/local/share/man/man1

Without a folder, the page of rackwright itself, for man -l - to read.";

#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionArgs {
    /// bash, zsh, fish, elvish, powershell
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: Shell,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// Write a page for every command into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) install: Option<PathBuf>,
}
