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
mod write;

use std::path::Path;

use console::install::{Installed, Told, Workbench};
use setup::install::{Disk, Layout, Slot};

use medium::Medium;

/// The machine that we run on.
#[derive(Debug)]
pub struct Bench;

impl Workbench for Bench {
    fn disks(&mut self) -> Result<Vec<Disk>, String> {
        disks::all()
    }

    fn medium(&mut self) -> Result<u64, String> {
        Ok(Medium::of_live()?.bytes)
    }

    fn install(&mut self, disk: &Disk, layout: Layout, told: Told<'_>) -> Result<(), String> {
        write::install(&Medium::of_live()?, disk, layout, told)
    }

    fn installed(&mut self) -> Result<Installed, String> {
        slots::installed()
    }

    fn update(&mut self, file: &Path, older: bool, told: Told<'_>) -> Result<Slot, String> {
        slots::update(file, older, told)
    }

    fn keep(&mut self) -> Result<Slot, String> {
        slots::keep()
    }

    fn restart(&mut self) -> Result<(), String> {
        program::run("systemctl", ["reboot"]).map(drop)
    }
}
