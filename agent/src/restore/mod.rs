//! `rackwright-agent restore`: an image file onto a disk by hand, without a controller: from a USB stick in front of a server
//! that nothing else helps, and for measuring.
//!
//! ```text
//! image (signed) -> disk looked at -> its serial typed -> all others read-only -> opened, alone -> fitted -> delivered as in `deploy`
//! ```
//! It is the very same delivery: the disk is scanned, only what differs is written, the tables last, everything is read
//! back. Stopped, or cut off from power, the disk does not boot, and the same command goes on where it was.

mod error;
mod image;
mod options;
mod receipt;
mod target;
mod watch;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use cast::{Left, Millis};

use crate::chain::Chain;
#[doc(hidden)]
pub use crate::deploy::bystander::Bystander;
use crate::deploy::imaging::deliver::{self, Delivery, Ended};
use crate::deploy::imaging::fetch::{Fetcher, ImageFile};
#[doc(hidden)]
pub use crate::deploy::imaging::fetch::{NoRange, Origin};
use crate::deploy::imaging::fitting::fit;
use crate::deploy::imaging::hold::Protected;
use crate::deploy::imaging::listen::Listening;
use crate::deploy::imaging::sharing::Sharing;
use crate::deploy::imaging::shelf::Budget;
use crate::deploy::imaging::target::{Begun, Drive};

#[doc(hidden)]
pub use crate::deploy::imaging::listen::{Desk, Live, NoReply, Seating};
pub use error::RestoreError;
pub use options::{HELP, Options};
pub use receipt::Receipt;

use image::Opened;
use target::Found;
use watch::Watch;

/// A file that can't be read now can't be read in a minute either; a stick that was pulled may be put back.
const PATIENCE: Millis = Millis(60_000);
/// The file is not far: a few of its ranges are enough to keep the disk busy.
const SPOOL_BYTES: u64 = 16 << 20;
/// What this program says of a command line that it does not understand.
const MISUSED: u8 = 2;
/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The groups in which an image is sent to all, as the controller cuts it too.
#[doc(hidden)]
pub fn groups(manifest: &pack::Manifest) -> cast::groups::Groups {
    cast::groups::Groups::of(&manifest.chunks().iter().map(deliver::piece).collect::<Vec<_>>())
}

/// The whole verb, with these words after `restore`.
pub fn main(words: &[&str]) -> ExitCode {
    if words.iter().any(|word| matches!(*word, "--help" | "-h")) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = Options::parse(words).map_err(RestoreError::from).and_then(|options| {
        let receipt = run(&options, ask)?;
        let text = if options.json { receipt.json() } else { receipt.text() };
        println!("{text}");
        Ok(())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rackwright-agent: {}", Chain(&error));
            if matches!(error, RestoreError::Options(_)) {
                return ExitCode::from(MISUSED);
            }
            if matches!(error, RestoreError::Stopped(_)) {
                return ExitCode::from(INTERRUPTED);
            }
            ExitCode::FAILURE
        }
    }
}

/// Restores; `ask` gets from a person what the question's words are about.
///
/// # Errors
/// [`RestoreError`]: what stands in the way, and what the disk is now.
pub fn run(options: &Options, ask: impl FnOnce(&str) -> Option<String>) -> Result<Receipt, RestoreError> {
    run_from(options, ask, |image| {
        let file = image
            .file
            .try_clone()
            .map_err(|source| RestoreError::Read { image: options.image.clone(), source })?;
        Ok(Source { origin: ImageFile::new(file, image.data_begin), live: None, spool_bytes: SPOOL_BYTES })
    })
}

/// Restores an image of whose file the head is here, and the rest comes from elsewhere as it does in `deploy`: for measuring.
///
/// # Errors
/// As [`run`].
#[doc(hidden)]
pub fn run_live<O: Origin>(
    options: &Options,
    origin: O,
    live: Live,
    spool_bytes: u64,
) -> Result<Receipt, RestoreError> {
    run_from(options, |_| None, |_| Ok(Source { origin, live: Some(live), spool_bytes }))
}

/// Where the stored bytes come from.
struct Source<O> {
    origin: O,
    live: Option<Live>,
    spool_bytes: u64,
}

fn run_from<O: Origin>(
    options: &Options,
    ask: impl FnOnce(&str) -> Option<String>,
    source: impl FnOnce(&Opened) -> Result<Source<O>, RestoreError>,
) -> Result<Receipt, RestoreError> {
    let image = image::open(options)?;
    let source = source(&image)?;
    let found = target::find(options, &image.manifest)?;
    found.confirm(options, &image, ask)?;
    let (protected, in_use) = Protected::all_unused_but(&options.root, &found.disk.name)?;
    if !in_use.is_empty() {
        eprintln!("not set read-only, because they are in use: {}", in_use.join(", "));
    }
    let drive = Drive::open(&options.root, &found.disk, found.words())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let receipt =
        runtime.map_err(RestoreError::Runtime)?.block_on(deliver(options, (image, source), &found, drive));
    drop(protected);
    receipt
}

async fn deliver<O: Origin>(
    options: &Options,
    (image, source): (Opened, Source<O>),
    found: &Found,
    drive: Drive,
) -> Result<Receipt, RestoreError> {
    let begun = Instant::now();
    let watch = Watch::begin(options.json)?;
    let manifest = Arc::new(image.manifest);
    let (digest, mut spool_bytes) = (image.digest, source.spool_bytes);
    let mut fetcher = Fetcher::new(source.origin, Arc::clone(&manifest));
    let trouble = |why: &str| eprintln!("{why}");
    let fit = Arc::new(fit(&fetcher, &manifest, found.disk.bytes, PATIENCE, trouble).await?);
    let has_begun = drive.has_begun(digest)?;
    let (mut listening, mut _sharing) = (None, None);
    if let Some(live) = source.live {
        let (memory, budget) = (spool_bytes, Budget::of(spool_bytes, manifest.data_bytes()));
        let sharing = Sharing::begin(&live, &digest, budget.shelf).await;
        (fetcher, spool_bytes) = (fetcher.sharing(&sharing), budget.spool);
        listening = Some(Listening::new(Arc::clone(&manifest), live, &sharing, memory, has_begun));
        _sharing = Some(sharing);
    }
    let delivery = Delivery {
        manifest: Arc::clone(&manifest),
        drive: Arc::new(drive),
        fit,
        fetcher: Arc::new(fetcher),
        begun: Begun::Image(digest),
        seed: None,
        rotational: found.disk.rotational,
        engine: options.engine,
        discard: options.discard,
        has_begun,
        verify: options.verify,
        patience: PATIENCE,
        spool_bytes,
        watcher: &watch,
    };
    let ended = delivery.run(listening).await;
    watch.end();
    match ended? {
        Ended::Done(progress, root) => {
            delivery.drive.reread_partitions();
            let (took, engine, verify) = (begun.elapsed(), watch.words(), options.verify);
            let done = receipt::Done { progress, root, took, engine, verify };
            Ok(Receipt::of(&manifest, (digest, image.signer, image.trusted), &found.disk, done))
        }
        Ended::Failed(failure) => {
            let left = match failure.left {
                Left::Whole => "the disk is the image all the same",
                Left::Unbootable => "the disk does not boot; the same command goes on from here",
                Left::Unknown => "the disk may be as it was, or half written",
            };
            Err(RestoreError::Failed { why: failure.to_string(), left })
        }
        Ended::Stopped(why) => Err(RestoreError::Stopped(why)),
        Ended::Exposed(error) => Err(RestoreError::Exposed(error)),
    }
}

/// Asks the person at the terminal; `None` when there is none.
fn ask(question: &str) -> Option<String> {
    let mut line = String::new();
    eprint!("{question}");
    std::io::stderr().flush().ok()?;
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
}
