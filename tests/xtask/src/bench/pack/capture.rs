//! Capture: `image-build capture`, and `partclone -c | zstd -3 -T0`.

use std::error::Error;
use std::fs::{self, File};
use std::process::Stdio;

use super::disk::{Kind, Loop};
use super::measure::{Took, pipeline, words};
use super::{Lab, case, mega, no_more};
use crate::bench::Row;
use crate::say;

/// What the peer's rate is multiplied with, and its size.
const BARS: (f64, f64) = (1.5, 1.03);
const PEER: &str = "partclone and zstd -3 -T0";

/// Captures the disk in `source`, of which `used` bytes are used, in turns. The files of the last round stay: they are what is
/// restored.
pub(super) fn measure(lab: &Lab, kind: Kind, used: u64) -> Result<Vec<Row>, Box<dyn Error>> {
    let (mut ours, mut theirs): (Vec<Took>, Vec<Took>) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds {
        for turn in 0..2 {
            let is_ours = (round + turn) % 2 == 0;
            let took = if is_ours { by_us(lab)? } else { by_partclone(lab, kind)? };
            say::line(&format!(
                "    {} captured by {}: {:.1} s, {:.1} s of processor",
                kind.name,
                if is_ours { "us" } else { PEER },
                took.seconds,
                took.cpu
            ));
            if is_ours { ours.push(took) } else { theirs.push(took) }
        }
    }
    let rate = |runs: &[Took]| runs.iter().map(|took| mega(used) / took.seconds).collect::<Vec<_>>();
    let cpu = |runs: &[Took]| runs.iter().map(|took| took.cpu / (mega(used) / 1e3)).collect::<Vec<_>>();
    let case = case(kind, lab);
    let sizes =
        [lab.path("image"), lab.path("peer")].map(|path| fs::metadata(path).map(|look| mega(look.len())));
    let [size, peer_size] = sizes;
    let memory: Vec<f64> = ours.iter().map(|took| took.peak / 1e6).collect();
    let rows = [
        Row::against(&case, "capture", "MB/s", BARS.0, &rate(&ours), PEER, &rate(&theirs)),
        no_more(Row::beside(&case, "image", "MB", &[size?], PEER, &[peer_size?]), BARS.1),
        Row::beside(&case, "capture, processor", "s/GB", &cpu(&ours), PEER, &cpu(&theirs)),
        Row::shown(&case, "capture, memory", "MB", &memory),
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn by_us(lab: &Lab) -> Result<Took, Box<dyn Error>> {
    let (source, image, key) = (lab.path("source"), lab.path("image"), lab.path("key"));
    let device = Loop::whole(&source)?;
    device.forget()?;
    let _ = fs::remove_file(&image);
    let mut argv = words([Lab::program("image-build")]);
    argv.extend(words(["--quiet", "capture", "--name", "bench", "--out"]));
    argv.extend([image.into(), "--key".into(), key.into(), device.device().into()]);
    pipeline(&[argv], Stdio::null(), &lab.path("log"))
}

fn by_partclone(lab: &Lab, kind: Kind) -> Result<Took, Box<dyn Error>> {
    let (source, peer, log) = (lab.path("source"), lab.path("peer"), lab.path("partclone.log"));
    let device = Loop::partition(&source)?;
    device.forget()?;
    let _ = fs::remove_file(&peer);
    let mut saves = words([kind.partclone, "-c", "-s"]);
    saves.extend([device.device().into(), "-L".into(), log.into(), "-o".into(), "-".into()]);
    let packs = words(["zstd", "-q", "-3", "-T0", "-c"]);
    let mut took = pipeline(&[saves, packs], File::create(&peer)?.into(), &lab.path("log"))?;
    // Ours is durable when it ends.
    took.seconds += pipeline(&[words(["sync".into(), peer])], Stdio::null(), &lab.path("log"))?.seconds;
    Ok(took)
}
