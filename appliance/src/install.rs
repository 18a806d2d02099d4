//! This machine, for the installer: its disks, the medium that it was started from, the slots that it is installed in.
//!
//! Knows what the first program of the ISO (`image-build/recipes/iso/init`) leaves below `/run/live`, and the tools that make file
//! systems. Refuses to know what is asked and said (`console::install`) and what lies where on a disk (`setup::install`).

mod disks;
mod loops;
mod medium;
mod origin;
mod program;
mod slots;
mod target;
mod write;

use std::fs::File;
use std::path::Path;

use console::install::{Installed, Told, Workbench};
use setup::install::{Disk, Layout, Slot};

use medium::Medium;

/// One of us at a time.
const LOCK: &str = "/run/rackwright-install.lock";

/// The machine that we run on.
#[derive(Debug)]
pub struct Bench;

/// Nobody else writes to disks while this is held, and Ctrl-C waits: half way there is nothing to go back to.
fn alone() -> Result<File, String> {
    let file = File::create(LOCK).map_err(|why| format!("opening {LOCK}: {why}"))?;
    file.try_lock().map_err(|_| {
        "somebody else installs or updates this machine just now: wait for that to end".to_owned()
    })?;
    nix::sys::signal::SigSet::all().thread_block().map_err(|why| format!("holding back signals: {why}"))?;
    Ok(file)
}

impl Workbench for Bench {
    fn disks(&mut self) -> Result<Vec<Disk>, String> {
        disks::all()
    }

    fn medium(&mut self) -> Result<u64, String> {
        Ok(Medium::of_live()?.bytes)
    }

    fn install(&mut self, disk: &Disk, layout: Layout, told: Told<'_>) -> Result<(), String> {
        let _alone = alone()?;
        write::install(&Medium::of_live()?, disk, layout, told)
    }

    fn installed(&mut self) -> Result<Installed, String> {
        slots::installed()
    }

    fn update(&mut self, file: &Path, older: bool, told: Told<'_>) -> Result<Slot, String> {
        let _alone = alone()?;
        slots::update(file, older, told)
    }

    fn keep(&mut self) -> Result<Slot, String> {
        let _alone = alone()?;
        slots::keep()
    }

    fn restart(&mut self) -> Result<(), String> {
        program::run("systemctl", ["reboot"]).map(drop)
    }
}
