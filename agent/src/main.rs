//! `rackwright-agent`: one program, two lives, and a hand tool.

use std::error::Error;
use std::process::ExitCode;

use agent::chain::Chain;
use agent::{adopt, deploy, inventory, restore, serve};

const HELP: &str = "\
rackwright-agent: the part of Rackwright that runs on the servers

usage:
  rackwright-agent deploy               in the boot ramdisk: enrol, take an image, restart
  rackwright-agent serve                on the installed node: enrol, make the state document true, report
                                        [--root DIR] [--seed PATH]
  rackwright-agent adopt                on a server that runs Debian: join with its disks as they are
                                        (run by the line that `rackwright node adopt` prints)
  rackwright-agent inventory [-o json]  print what this server is made of
  rackwright-agent restore              write an image file onto a disk: --image FILE --disk DEVICE
                                        [--help for all of it]
  rackwright-agent --help | --version
";

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let done = match words.as_slice() {
        ["deploy"] => deploy::run().map_err(Box::from),
        ["serve", rest @ ..] => match run_serve(rest) {
            Ok(serve::End::Told) => Ok(()),
            Ok(serve::End::Unwanted) => return ExitCode::from(serve::UNWANTED),
            Err(error) => Err(error),
        },
        ["restore", rest @ ..] => return restore::main(rest),
        ["adopt", rest @ ..] => return adopt::main(rest),
        ["inventory"] | ["inventory", "-o", "json"] => print_inventory(),
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            Ok(())
        }
        ["--version" | "-V"] => {
            println!("rackwright-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rackwright-agent: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run_serve(words: &[&str]) -> Result<serve::End, Box<dyn Error>> {
    Ok(serve::run(serve::Options::parse(words)?)?)
}

fn print_inventory() -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string_pretty(&inventory::take(std::path::Path::new("/")))?);
    Ok(())
}
