//! The command line of image-build.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use image_build::{cli, lint, verbs};

fn main() -> ExitCode {
    match verbs::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image-build: {}", chain(error.as_ref()));
            let refused = error.is::<lint::Refused>();
            if refused { ExitCode::from(lint::Refused::EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}

/// The error and all its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
