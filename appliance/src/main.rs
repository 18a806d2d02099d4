//! `rackwright`: the daemon (`serve`), and the command line that talks to it.

use std::process::ExitCode;

use console::{Invocation, ServeOptions};

fn main() -> ExitCode {
    match console::parse() {
        Invocation::Cli(cli) => console::run(*cli),
        Invocation::Offline(offline) => appliance::offline::run(&offline),
        Invocation::Setup(options) => {
            let mut machine = appliance::machine::Live::under(options.root.as_deref());
            ExitCode::from(console::wizard::run(&options, &mut machine))
        }
        Invocation::Install(options) => {
            ExitCode::from(console::install::run(&options, &mut appliance::install::Bench))
        }
        Invocation::Serve(ServeOptions { root }) => {
            let filter = tracing_subscriber::EnvFilter::try_from_env("RACKWRIGHT_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
            // The journal has its own time stamps.
            let log = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
            log.with_writer(std::io::stderr).init();
            match appliance::daemon::serve(root.as_deref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(why) => {
                    eprintln!("rackwright: {why}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
