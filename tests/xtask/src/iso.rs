//! `cargo xtask iso`: the ISO, and the whole of its tests.

use std::path::PathBuf;

use xtask::artifacts::{self, Wish};
use xtask::cargo::cargo;
use xtask::{place, say};

use crate::Done;
use crate::cli::Iso;

pub(crate) fn run(wish: &Iso) -> Done {
    let artifacts = artifacts::build(Wish::default())?;
    let out = wish.out.as_ref().map_or_else(place::iso, PathBuf::from);
    let out = std::path::absolute(out)?;
    artifacts.iso(&out)?;
    say::line(&format!("    {}, signed by {}", out.display(), artifacts.parts.image_key));
    if wish.test {
        artifacts.verify_iso(&out)?;
        artifacts.iso_reproducible(&out)?;
        say::step("the ISO in every way it can be started", || {
            cargo([
                "test",
                "--locked",
                "-p",
                "tests",
                "--test",
                "rack",
                "--",
                "--test-threads=1",
                "--nocapture",
            ])
            .args(["--include-ignored", "iso::"])
            .env("RACKWRIGHT_ISO", &out)
            .show()
        })?;
    }
    Ok(())
}
