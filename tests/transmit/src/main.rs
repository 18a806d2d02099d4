//! Both ends of an image transmission, for `cargo xtask bench cast`: what the controller runs and what an agent runs, without
//! what comes before it. Who may join, and the bytes that are fetched, come over a plain TCP connection here.

mod counter;
mod disk;
#[cfg(test)]
mod groups;
mod pack;
mod receive;
mod send;

use std::process::ExitCode;

const HELP: &str = "\
Both ends of an image transmission, for the bench of it.

  transmit pack --file FILE --out FILE.rwimage
  transmit send --image FILE --work DIR --local IP --port N --mbit N
  transmit receive --image FILE --sink FILE --local IP --server IP:PORT --node N --company N --spool MIB
                   [--disk-kib N]     its disk takes so many KiB a second
                   [--go FILE]        begins when this file is there, as a booted node waits for its job
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["pack", rest @ ..] => pack::main(rest),
        ["send", rest @ ..] => send::main(rest),
        ["receive", rest @ ..] => receive::apart(rest),
        ["receive-apart", rest @ ..] => receive::main(rest),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(one) = cause {
                text = format!("{text}: {one}");
                cause = one.source();
            }
            eprintln!("transmit: {text}");
            ExitCode::FAILURE
        }
    }
}

/// The value of `--NAME VALUE` among the words.
fn option<'a>(words: &[&'a str], name: &str) -> Result<&'a str, String> {
    let at = words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
    at.copied().ok_or_else(|| format!("{name} is missing\n{HELP}"))
}
