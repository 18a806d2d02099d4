//! Where an image's bytes lie on a disk that has not its size: decided before anything is written, from the windows that have the
//! partition tables.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cast::Millis;
use pack::table::Unfit;
use pack::{ChunkError, Fit, Manifest};

use crate::deploy::imaging::fetch::{Fetcher, NoRange, NoWindow, Origin};

const PAUSE: Duration = Duration::from_secs(1);
/// How often a window may come as it should not.
const TRIES: u32 = 5;

/// Why an image can't be fitted to a disk. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum FittingError {
    /// It does not fit.
    #[error("the image can't be fitted to the disk")]
    Unfit(#[from] Unfit),
    /// The windows with its tables did not come.
    #[error("fetching the image's partition tables: {why}")]
    Fetch {
        /// The origin's words.
        why: String,
        /// Whether the origin will not give them.
        is_final: bool,
    },
    /// They came, and are not what the manifest says.
    #[error("fetching the image's partition tables")]
    Spoilt(#[source] ChunkError),
}

/// Fits an image to a disk of so many bytes. Nothing is fetched for one of the image's own size. `trouble` is told what goes wrong
/// meanwhile.
///
/// # Errors
/// [`FittingError`]; a failing origin only after all this patience.
pub(crate) async fn fit<O: Origin>(
    fetcher: &Fetcher<O>,
    manifest: &Manifest,
    disk_bytes: u64,
    patience: Millis,
    trouble: impl Fn(&str),
) -> Result<Fit, FittingError> {
    let mut known = BTreeMap::new();
    for window in Fit::needs(manifest, disk_bytes) {
        known.insert(window, fetch(fetcher, window, patience, &trouble).await?);
    }
    Ok(Fit::new(manifest, disk_bytes, &known)?)
}

async fn fetch<O: Origin>(
    fetcher: &Fetcher<O>,
    window: u32,
    Millis(patience): Millis,
    trouble: &impl Fn(&str),
) -> Result<Vec<u8>, FittingError> {
    let (begun, mut tries) = (Instant::now(), 0);
    loop {
        match fetcher.window(window).await {
            Ok(raw) => return Ok(raw),
            Err(NoWindow::Chunk(error)) => {
                tries += 1;
                if tries == TRIES {
                    return Err(FittingError::Spoilt(error));
                }
            }
            Err(NoWindow::Range(NoRange { why, is_final })) => {
                if is_final || begun.elapsed() > Duration::from_millis(patience) {
                    return Err(FittingError::Fetch { why, is_final });
                }
                trouble(&why);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
