//! A swarm: opentracker, one aria2 that has it, and one at each receiver that goes on giving when it has it too.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::bench::cast::lab::CONTROLLER;
use crate::bench::cast::peer::{Arrival, First, Peer, Stage};
use crate::bench::cast::scenario::Scenario;
use crate::tool::Tool;

pub(super) struct BitTorrent;

/// Where aria2 listens; its default is any of 100 ports.
const PORT: u16 = 6881;
/// Where trackers are.
const TRACKER: u16 = 6969;
/// No other peers than the tracker's, no waiting before a file is made, and no end of giving.
const OPTIONS: &str = "--enable-dht=false --enable-dht6=false --bt-enable-lpd=false --enable-peer-exchange=false \
                       --file-allocation=none --seed-ratio=0.0 --summary-interval=0 --console-log-level=warn \
                       --bt-max-peers=0 --disable-ipv6=true --allow-overwrite=true --no-conf=true";

impl Peer for BitTorrent {
    fn name(&self) -> &'static str {
        "aria2 and opentracker"
    }

    fn refuses(&self, scenario: &Scenario) -> Option<String> {
        scenario.needs_a_disk()
    }

    fn prepare(&self, stage: &Stage<'_>) -> Result<(), Box<dyn Error>> {
        let torrent = torrent(stage);
        let _ = fs::remove_file(&torrent);
        let announce = format!("http://{CONTROLLER}:{TRACKER}/announce");
        // Pieces of 256 KiB.
        let words = ["-l", "18", "-a", &announce, "-o"];
        Tool::new("mktorrent").args(words).arg(&torrent).arg(&stage.image).read()?;
        // Debian's tracker serves only what it was told of.
        let said = Tool::new("aria2c").arg("--show-files").arg(&torrent).read()?;
        let hash = said.lines().find_map(|line| line.strip_prefix("Info Hash: "));
        fs::write(listed(stage), format!("{}\n", hash.ok_or("aria2 does not tell the torrent's hash")?))?;
        let (script, text) = (done(stage), "#!/bin/sh\n: > \"$3.done\"\n");
        fs::write(&script, text)?;
        Ok(fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?)
    }

    fn controller(&self, stage: &Stage<'_>) -> Vec<Vec<OsString>> {
        let libraries = format!("LD_LIBRARY_PATH={}", stage.program("usr/lib"));
        let tracker = stage.program("usr/bin/opentracker");
        let options = format!("-i {CONTROLLER} -p {TRACKER} -P {TRACKER} -w");
        let folder = stage.image.parent().unwrap_or(&stage.image);
        // It believes that it has all of it, as it was made a moment ago.
        let seed = aria2(stage, folder, "--bt-seed-unverified=true");
        vec![Stage::words(&["env", &libraries, &tracker, &options], &[&listed(stage)]), seed]
    }

    fn receiver(&self, stage: &Stage<'_>, _scenario: &Scenario, receiver: u16) -> Vec<OsString> {
        let told = format!("--on-bt-download-complete={}", done(stage).display());
        aria2(stage, &stage.folder(receiver), &told)
    }

    fn first(&self, _stage: &Stage<'_>) -> First {
        First::Servers(&[TRACKER, PORT])
    }

    fn arrival(&self, stage: &Stage<'_>, receiver: u16) -> Arrival {
        Arrival::File(stage.sink(receiver).with_extension("done"))
    }
}

fn aria2(stage: &Stage<'_>, folder: &Path, option: &str) -> Vec<OsString> {
    let listen = format!("--listen-port={PORT}");
    let dir = format!("--dir={}", folder.display());
    let mut argv = Stage::words(&["aria2c", OPTIONS, &listen], &[]);
    argv.extend([option.into(), dir.into(), torrent(stage).into_os_string()]);
    argv
}

fn torrent(stage: &Stage<'_>) -> PathBuf {
    stage.dir.join("image.torrent")
}

/// What the tracker may serve; it reads that as nobody.
fn listed(stage: &Stage<'_>) -> PathBuf {
    stage.image.with_extension("listed")
}

/// What aria2 runs when it has all of it.
fn done(stage: &Stage<'_>) -> PathBuf {
    stage.dir.join("done.sh")
}
