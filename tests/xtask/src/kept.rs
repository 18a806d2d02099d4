//! Racks that were left up: looking into them and taking them down.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::thread;

use rustix::termios::{self, LocalModes, OptionalActions};
use xtask::rack::container;
use xtask::rack::ledger::{self, Ledger};
use xtask::say;

use crate::Done;

/// Ctrl-], as with telnet.
const LEAVE: u8 = 0x1d;

pub(crate) fn list() -> Done {
    for ledger in Ledger::all()? {
        let whose = match ledger.owner {
            None => "kept".to_owned(),
            Some(owner) if owner.alive() => format!("of process {}", owner.pid),
            Some(_) => "its owner died; swept at the next start".to_owned(),
        };
        let names: Vec<&str> = ledger.processes.iter().map(|(name, _)| name.as_str()).collect();
        println!("{}  {whose}  {}  {}", ledger.id, names.join(","), ledger.dir.display());
    }
    Ok(())
}

/// Runs a command on the controller; its exit code is ours.
pub(crate) fn exec(argv: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let ledger = kept()?;
    let outer = ledger.processes.iter().find(|(name, _)| name == "controller");
    let leader = outer.and_then(|(_, identity)| container::leader_of(identity.pid));
    let leader = leader.ok_or("the kept rack's controller does not run")?;
    // Not through `Tool`: this one has our terminal.
    let status = Command::new("nsenter")
        .args(["-t", &leader.to_string(), "-m", "-u", "-i", "-n", "-p", "--"])
        .args(argv)
        .status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Joins our terminal and a server's serial port.
pub(crate) fn console(server: &str) -> Done {
    let socket = kept()?.run_dir().join(format!("{server}.console"));
    let mut port =
        UnixStream::connect(&socket).map_err(|error| format!("no console of {server}: {error}"))?;
    say::line(&format!("console of {server}; Ctrl-] leaves"));
    let mut out = port.try_clone()?;
    thread::spawn(move || {
        // Ends with the process, or when the server goes off.
        let _ = io::copy(&mut port, &mut io::stdout());
    });
    let _raw = Raw::on();
    let mut byte = [0_u8];
    while io::stdin().read(&mut byte)? == 1 && byte != [LEAVE] {
        out.write_all(&byte)?;
    }
    Ok(())
}

/// Takes down every rack that was kept.
pub(crate) fn down() -> Done {
    for id in ledger::sweep_orphans()? {
        say::line(&format!("{id}: down (its owner had died)"));
    }
    for ledger in Ledger::all()?.into_iter().filter(|ledger| ledger.owner.is_none()) {
        ledger.sweep();
        say::line(&format!("{}: down", ledger.id));
    }
    Ok(())
}

fn kept() -> Result<Ledger, Box<dyn Error>> {
    let found = Ledger::all()?.into_iter().rev().find(|ledger| ledger.owner.is_none());
    Ok(found.ok_or("no rack was kept; `cargo xtask demo --keep` leaves one up")?)
}

/// The terminal passes every key on, until dropped.
struct Raw(Option<termios::Termios>);

impl Raw {
    fn on() -> Raw {
        let stdin = io::stdin();
        // Not a terminal: nothing to switch, nothing to restore.
        let Ok(before) = termios::tcgetattr(stdin.as_fd()) else { return Raw(None) };
        let mut raw = before.clone();
        raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        let _ = termios::tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw);
        Raw(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, before);
        }
    }
}
