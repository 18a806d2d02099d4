//! `rackwright install` and `rackwright update`: a controller on a disk of its own.
//!
//! Knows what is asked and said. Refuses to know disks and media, which are a [`Workbench`]'s, and what a disk becomes, which is
//! `setup::install`'s.

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use setup::install::{Disk, Environment, Layout, Slot, chosen};

use crate::failure::exit;
use crate::progress::{Meter, Pace, line, percent};
use crate::session::pretty;
use crate::terminal::Terminal;
use crate::text::{clean, disk_bytes, fit};

/// How it shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallOptions {
    /// What is wanted.
    pub verb: InstallVerb,
    /// Whether the outcome is wanted as JSON.
    pub json: bool,
    /// Whether nobody may be asked.
    pub no_input: bool,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallVerb {
    /// To see the disks.
    List,
    /// To be on a disk.
    Install {
        /// Its name; asked for without.
        disk: Option<String>,
        /// The same once more; asked for without.
        confirm: Option<String>,
        /// Whether it must be empty.
        empty: bool,
        /// Whether to restart then.
        restart: bool,
    },
    /// To know which slot is which.
    Status,
    /// To have a newer medium in the other slot.
    Update {
        /// The ISO.
        file: PathBuf,
        /// Whether it may be older.
        older: bool,
        /// Whether to restart then.
        restart: bool,
    },
    /// To stay with the slot that runs.
    Keep,
}

/// An installed controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The slot that runs.
    pub runs: Slot,
    /// Which is started next.
    pub next: Environment,
}

/// How far something is: what, bytes done, bytes in all.
pub type Told<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// The machine that it is done on. Errors are sentences for a person: what, why, what to do.
pub trait Workbench {
    /// Its disks.
    ///
    /// # Errors
    /// Why they are not known.
    fn disks(&mut self) -> Result<Vec<Disk>, String>;

    /// How large the medium is that this live system came from, in bytes.
    ///
    /// # Errors
    /// This is no live system, or its medium is not there.
    fn medium(&mut self) -> Result<u64, String>;

    /// Writes everything onto the disk.
    ///
    /// # Errors
    /// Why not; then the disk boots nothing.
    fn install(&mut self, disk: &Disk, layout: Layout, told: Told<'_>) -> Result<(), String>;

    /// Which slot runs.
    ///
    /// # Errors
    /// It is not installed.
    fn installed(&mut self) -> Result<Installed, String>;

    /// Writes a medium into the slot that does not run, and has it started once.
    ///
    /// # Errors
    /// Why not; then the slot that runs is what is started next.
    fn update(&mut self, file: &Path, older: bool, told: Told<'_>) -> Result<Slot, String>;

    /// Has the slot that runs started from now on, as soon as the controller in it is well.
    ///
    /// # Errors
    /// It is not well, or that could not be written.
    fn keep(&mut self) -> Result<Slot, String>;

    /// Restarts the machine.
    ///
    /// # Errors
    /// Why not.
    fn restart(&mut self) -> Result<(), String>;
}

/// Does what was asked for; gives the exit code.
pub fn run(options: &InstallOptions, bench: &mut dyn Workbench) -> u8 {
    let mut desk = Desk { terminal: Terminal::of_process(options.no_input), json: options.json };
    desk.carry_out(&options.verb, bench)
}

/// Where a person sits.
struct Desk {
    terminal: Terminal,
    json: bool,
}

/// Why it ended, and the exit code.
struct End(u8, String);

impl From<String> for End {
    fn from(why: String) -> End {
        End(exit::GENERAL, why)
    }
}

impl From<io::Error> for End {
    fn from(why: io::Error) -> End {
        End(exit::GENERAL, why.to_string())
    }
}

impl Desk {
    fn carry_out(&mut self, verb: &InstallVerb, bench: &mut dyn Workbench) -> u8 {
        let done = match verb {
            InstallVerb::List => self.list(bench),
            InstallVerb::Install { disk, confirm, empty, restart } => {
                self.install(bench, (disk.as_deref(), confirm.as_deref()), *empty, *restart)
            }
            InstallVerb::Status => self.status(bench),
            InstallVerb::Update { file, older, restart } => self.update(bench, file, *older, *restart),
            InstallVerb::Keep => self.keep(bench),
        };
        match done {
            Ok(()) => exit::OK,
            Err(End(code, why)) => {
                // Nobody can be told that nobody can be told.
                let _ = writeln!(self.terminal.err, "error: {why}");
                code
            }
        }
    }

    fn list(&mut self, bench: &mut dyn Workbench) -> Result<(), End> {
        let disks = bench.disks()?;
        if self.json {
            return self.print(&json!({"items": disks}));
        }
        let text = disks.iter().flat_map(|disk| described(disk, None)).collect::<Vec<_>>().join("\n");
        Ok(writeln!(
            self.terminal.out,
            "{}",
            if text.is_empty() { "this machine has no disk" } else { &text }
        )?)
    }

    fn install(
        &mut self,
        bench: &mut dyn Workbench,
        (disk, confirm): (Option<&str>, Option<&str>),
        empty: bool,
        restart: bool,
    ) -> Result<(), End> {
        let medium = bench.medium()?;
        let disks = bench.disks()?;
        let name = match disk {
            Some(name) => name.to_owned(),
            None => self.ask_which(&disks)?,
        };
        let (disk, layout) = chosen(&disks, &name, medium).map_err(|why| why.to_string())?;
        if empty && !disk.content.is_empty() {
            let why = format!(
                "{name} is not empty, and --empty was said: nothing was written. On it: {}",
                disk.content.join(", ")
            );
            return Err(End(exit::CONFLICT, clean(&why)));
        }
        self.confirm(disk, layout, &name, confirm)?;
        let begun = Instant::now();
        let mut progress = Progress::default();
        bench.install(disk, layout, &mut |what, done, total| {
            progress.tell(&mut self.terminal, what, done, total)
        })?;
        progress.end(&mut self.terminal);
        let seconds = begun.elapsed().as_secs();
        if self.json {
            self.print(&json!({"item": {"disk": disk.name, "seconds": seconds, "restarts": restart}}))?;
        } else {
            writeln!(
                self.terminal.out,
                "Installed on {name} in {seconds} s. Take the medium out and restart: systemctl reboot\n\
                 The controller is stopped until then: it would learn what would be lost."
            )?;
        }
        self.restart_if(restart, bench)
    }

    /// The disk that a person chooses, by number.
    fn ask_which(&mut self, disks: &[Disk]) -> Result<String, End> {
        if !self.terminal.asks {
            return Err(unconfirmed(
                "say which disk: --disk NAME --confirm NAME; rackwright install --list shows all",
            ));
        }
        let open = disks.iter().filter(|disk| disk.hindrance.is_none()).collect::<Vec<_>>();
        for (number, disk) in open.iter().enumerate() {
            self.say(&described(disk, Some(number + 1)))?;
        }
        for disk in disks.iter().filter(|disk| disk.hindrance.is_some()) {
            self.say(&described(disk, None))?;
        }
        if open.is_empty() {
            return Err(End(exit::NOT_FOUND, "no disk of this machine can be used".to_owned()));
        }
        loop {
            let answer =
                self.terminal.ask(&format!("Which disk becomes the controller's? 1-{}: ", open.len()))?;
            let answer = answer.ok_or_else(|| unconfirmed("no disk was chosen; nothing was written"))?;
            let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            match number.and_then(|number| open.get(number)).and_then(|disk| disk.name.clone()) {
                Some(name) => return Ok(name),
                None => self.say(&[format!("{:?} is none of these numbers", clean(&answer))])?,
            }
        }
    }

    /// Shows what becomes of the disk, and has it confirmed.
    fn confirm(&mut self, disk: &Disk, layout: Layout, name: &str, given: Option<&str>) -> Result<(), End> {
        self.say(&described(disk, None))?;
        self.say(&becomes(layout))?;
        if given.is_some() || !self.terminal.asks {
            return match given {
                Some(given) if given == name => Ok(()),
                Some(given) => Err(unconfirmed(&format!(
                    "--confirm is {given:?} and --disk is {name:?}: nothing was written"
                ))),
                None => Err(unconfirmed(&format!("nothing was written: confirm it with --confirm {name}"))),
            };
        }
        let is_empty = disk.content.is_empty();
        let question = if is_empty {
            "It is empty. Type yes to write it: ".to_owned()
        } else {
            format!("EVERYTHING ON IT IS LOST. Type {name} to go on: ")
        };
        let wanted = if is_empty { "yes" } else { name };
        match self.terminal.ask(&question)? {
            Some(answer) if answer == wanted => Ok(()),
            _ => Err(unconfirmed("nothing was written")),
        }
    }

    fn status(&mut self, bench: &mut dyn Workbench) -> Result<(), End> {
        let Installed { runs, next } = bench.installed()?;
        let first = next.trial.unwrap_or(next.slot);
        if self.json {
            return self.print(&json!({"item": {"runs": runs, "kept": next.slot, "next": first}}));
        }
        writeln!(self.terminal.out, "{}", told(runs, next))?;
        Ok(())
    }

    fn update(
        &mut self,
        bench: &mut dyn Workbench,
        file: &Path,
        older: bool,
        restart: bool,
    ) -> Result<(), End> {
        let mut progress = Progress::default();
        let tell = &mut |what: &str, done, total| progress.tell(&mut self.terminal, what, done, total);
        let slot = bench.update(file, older, tell)?;
        progress.end(&mut self.terminal);
        if self.json {
            self.print(&json!({"item": {"slot": slot, "restarts": restart}}))?;
        } else {
            writeln!(
                self.terminal.out,
                "Slot {} has it, and is started once with the next restart: systemctl reboot\n\
                 If it does not come up, one more restart is back here.",
                slot.word()
            )?;
        }
        self.restart_if(restart, bench)
    }

    fn keep(&mut self, bench: &mut dyn Workbench) -> Result<(), End> {
        let slot = bench.keep()?;
        if self.json {
            return self.print(&json!({"item": {"kept": slot}}));
        }
        writeln!(self.terminal.out, "slot {} is well, and is what is started from now on", slot.word())?;
        Ok(())
    }

    fn restart_if(&mut self, wanted: bool, bench: &mut dyn Workbench) -> Result<(), End> {
        if wanted { Ok(bench.restart()?) } else { Ok(()) }
    }

    fn say(&mut self, lines: &[String]) -> Result<(), End> {
        for line in lines {
            writeln!(self.terminal.err, "{line}")?;
        }
        Ok(())
    }

    fn print(&mut self, item: &serde_json::Value) -> Result<(), End> {
        let mut whole = json!({"apiVersion": fleet::view::API_VERSION});
        if let (Some(whole), Some(item)) = (whole.as_object_mut(), item.as_object()) {
            whole.extend(item.clone());
        }
        Ok(self.terminal.out.write_all(pretty(&whole).as_bytes())?)
    }
}

fn unconfirmed(why: &str) -> End {
    End(exit::UNCONFIRMED, why.to_owned())
}

/// A disk in lines of at most 80 columns.
fn described(disk: &Disk, number: Option<usize>) -> Vec<String> {
    let name = disk.name.as_deref().unwrap_or("no serial number");
    let mark = number.map_or_else(|| "   ".to_owned(), |number| format!("{number:>2} "));
    let removable = if disk.removable { ", removable" } else { "" };
    let size = disk_bytes(disk.bytes);
    let head =
        format!("{mark}{}  {size}  {}  ({}{removable})", clean(name), clean(&disk.model), clean(&disk.path));
    let content = match disk.content.as_slice() {
        [] => vec!["     on it: nothing".to_owned()],
        all => all.iter().map(|line| format!("     on it: {}", clean(line))).collect(),
    };
    let hindrance = disk.hindrance.iter().map(|why| format!("     can't be used: {}", clean(why)));
    let lines = std::iter::once(head).chain(content).chain(hindrance);
    lines.map(|line| fit(&line, 80)).collect()
}

fn becomes(layout: Layout) -> Vec<String> {
    let (slot, data) = (disk_bytes(layout.slot().bytes()), disk_bytes(layout.data().bytes()));
    vec![
        format!("   It becomes: loaders for BIOS and UEFI, two slots of {slot} for the system,"),
        format!("   {data} for what the controller keeps. No other disk is written to."),
    ]
}

fn told(runs: Slot, next: Environment) -> String {
    let kept = next.slot;
    match next.trial {
        Some(trial) if trial != runs => {
            format!("slot {} runs; slot {} is started once, with the next restart", runs.word(), trial.word())
        }
        _ if kept == runs => format!("slot {} runs, and is what is started", runs.word()),
        _ => format!(
            "slot {} runs on trial: unless rackwright update keep says that it is well,\n\
             the next restart is slot {}",
            runs.word(),
            kept.word()
        ),
    }
}

/// Says how far something is: one line that is drawn again on a terminal, some lines elsewhere.
#[derive(Default)]
struct Progress {
    what: String,
    meter: Meter,
    pace: Pace,
    begun: Option<Instant>,
    drawn: bool,
}

impl Progress {
    fn tell(&mut self, terminal: &mut Terminal, what: &str, done: u64, total: u64) {
        let now = u64::try_from(self.begun.get_or_insert_with(Instant::now).elapsed().as_millis())
            .unwrap_or(u64::MAX);
        if what != self.what {
            self.end(terminal);
            (self.what, self.meter, self.pace) = (what.to_owned(), Meter::default(), Pace::default());
        }
        self.meter.note(now, done);
        let far = if total == 0 { String::new() } else { format!("  {}", line(done, total, &self.meter)) };
        let shown = format!("{what}{far}");
        // What can't be shown is no reason to stop half way.
        let _ = if terminal.err_tty {
            self.drawn = true;
            write!(terminal.err, "\r{}\u{1b}[K", fit(&shown, 79)).and_then(|()| terminal.err.flush())
        } else if self.pace.is_due(now, percent(done, total)) {
            writeln!(terminal.err, "{}", fit(&shown, 80))
        } else {
            Ok(())
        };
    }

    fn end(&mut self, terminal: &mut Terminal) {
        if std::mem::take(&mut self.drawn) {
            let _ = writeln!(terminal.err);
        }
    }
}
