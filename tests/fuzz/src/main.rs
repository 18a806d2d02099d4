//! Looks for inputs that break a target, with libFuzzer. `cargo xtask fuzz` builds and starts it.
//!
//! libFuzzer owns the command line, so what is ours comes by environment: `FUZZ_TARGET` names the target (`list` prints
//! all names), `FUZZ_SEEDS` a folder that the target's seeds are written to before libFuzzer reads it.
#![no_main]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use fuzz::{Target, targets};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: begin(),
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);

/// Finds the target and writes its seeds; ends the program when there is nothing to run.
fn begin() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        targets().for_each(|target| println!("{}", target.name));
        exit(0);
    }
    let Some(target) = Target::named(&name) else {
        eprintln!("fuzz: FUZZ_TARGET={name:?} is no target; FUZZ_TARGET=list names them all");
        exit(2);
    };
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS")
        && let Err(error) = plant(target, Path::new(&folder))
    {
        eprintln!("fuzz: writing seeds to {}: {error}", Path::new(&folder).display());
        exit(2);
    }
    TARGET.get_or_init(|| target);
}

fn plant(target: &Target, folder: &Path) -> std::io::Result<()> {
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
