//! The command line, for shells and for man(1): both from the same table as the help.

use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::Cli;
use crate::cli::{CompletionArgs, ManArgs};
use crate::failure::{Failure, exit};
use crate::session::Session;

/// The program, as it is typed.
const NAME: &str = "rackwright";

pub(crate) fn completion(session: &mut Session, wish: &CompletionArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(wish.shell, &mut Cli::command(), NAME, &mut script);
    session.print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

pub(crate) fn man(session: &mut Session, wish: &ManArgs) -> Result<u8, Failure> {
    let command = Cli::command();
    match &wish.install {
        Some(folder) => install(command, folder)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(|why| refused(&why))?;
            session.print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(exit::OK)
}

fn install(command: Command, folder: &Path) -> Result<(), Failure> {
    let done = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    done.map_err(|why| refused(&format!("writing pages to {}: {why}", folder.display())))
}

fn refused(why: &dyn std::fmt::Display) -> Failure {
    Failure::Refused { error: why.to_string(), exit: exit::GENERAL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_knows_the_verbs() {
        let folder = tempfile::tempdir().unwrap();
        install(Cli::command(), folder.path()).unwrap();
        let pages = std::fs::read_dir(folder.path()).unwrap().flatten();
        let pages = pages.map(|page| page.file_name().into_string().unwrap()).collect::<Vec<_>>();
        for page in ["rackwright.1", "rackwright-node.1", "rackwright-node-rebuild.1", "rackwright-install.1"]
        {
            assert!(pages.iter().any(|name| name == page), "no {page} in {pages:?}");
        }
        let text = std::fs::read_to_string(folder.path().join("rackwright-install.1")).unwrap();
        assert!(text.contains("Examples:") && text.contains("confirm"), "{text}");
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("rebuild") && script.contains("max-unavailable"), "{shell}");
        }
    }
}
