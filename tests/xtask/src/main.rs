//! `cargo xtask`: the two commands that do everything, and what stands beside them.

mod checks;
mod cli;
mod demo;
mod fuzz;
mod iso;
mod kept;

use std::error::Error;
use std::process::ExitCode;

use cli::{Command, USAGE};
use xtask::{bench, interrupt, prerequisites, say};

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    interrupt::watch();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let command = match cli::parse(&args) {
        Ok(command) => command,
        Err(complaint) => {
            eprintln!("xtask: {complaint}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            say::line(&format!("xtask: {}", say::chain(error.as_ref())));
            if interrupt::requested() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Help => println!("{USAGE}"),
        Command::Prerequisites => {
            prerequisites::ensure()?;
            println!("everything that building and the rack need is installed");
        }
        Command::Demo(options) => demo::run(options)?,
        Command::Test(depth) => checks::run(depth)?,
        Command::Fuzz(wish) => fuzz::run(&wish)?,
        Command::RackList => kept::list()?,
        Command::RackExec(argv) => return kept::exec(&argv),
        Command::RackConsole(server) => kept::console(&server)?,
        Command::RackDown => kept::down()?,
        Command::Bench { names, wish } => bench(&names, &wish)?,
        Command::Iso(wish) => iso::run(&wish)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs those that are named, or all, one after the other.
fn bench(names: &[String], wish: &bench::Wish) -> Done {
    for (name, run) in bench::BENCHES {
        if names.iter().any(|wanted| wanted == name || wanted == "all") {
            println!("{}", run(wish)?);
        }
    }
    Ok(())
}
