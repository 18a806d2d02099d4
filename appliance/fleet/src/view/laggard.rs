//! Which nodes of a batch keep the others waiting, and why.

use std::fmt;

use super::JobRow;

/// A node that has not said anything for longer than this is not heard of; its agent asks once a second.
const SILENT_SECONDS: u64 = 10;
/// So many of a million packets lost are worth telling.
const LOST_PPM: u32 = 20_000;
/// What waits for a disk for so many seconds does not wait for the network.
const WAITS_SECONDS: u64 = 2;
/// And it is more than what is always on its way.
const WAITS_BYTES: u64 = 16 << 20;

/// How one node of a batch comes on.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its job.
    pub row: &'a JobRow,
    /// Bytes a second that it does; none: nobody knows yet.
    pub rate: Option<u64>,
    /// Seconds until it is through at that rate; none: it does not move, or nobody knows yet.
    pub left: Option<u64>,
}

/// Why a node is slower than the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Nothing was heard of it.
    Silent {
        /// For so long.
        seconds: u64,
    },
    /// What arrives waits for its disk.
    Disk,
    /// Too much does not arrive.
    Loss {
        /// Of a million packets.
        ppm: u32,
    },
    /// It fetches.
    Fetches {
        /// From whom, as a [`super::LaneRow`] says it.
        from: String,
        /// Why it does not listen, where that is known.
        why: Option<String>,
    },
    /// Nothing that can be seen from here.
    Unknown,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slow::Silent { seconds } => write!(f, "not heard of for {seconds} s"),
            Slow::Disk => f.write_str("its disk is slower than the network"),
            Slow::Loss { ppm } => {
                write!(f, "{} of 100 packets are lost", ppm.saturating_add(5_000) / 10_000)
            }
            Slow::Fetches { from, why } => {
                let from = if from == "others" { "other nodes" } else { "the controller" };
                match why {
                    Some(why) => write!(f, "fetches from {from}: {why}"),
                    None => write!(f, "fetches from {from}"),
                }
            }
            Slow::Unknown => f.write_str("slower than the others"),
        }
    }
}

/// What half of those who know it still need at most, in seconds; none where nobody knows.
pub fn median_left<'a>(batch: impl IntoIterator<Item = &'a Standing<'a>>) -> Option<u64> {
    let mut left = batch.into_iter().filter_map(|standing| standing.left).collect::<Vec<_>>();
    left.sort_unstable();
    left.get(left.len().checked_sub(1)? / 2).copied()
}

/// Why this node keeps the others waiting; none when it does not. Nobody waits for a node that needs as long as the others,
/// `median` seconds, and half of that again. One that is not heard of is always told.
pub fn slow(standing: &Standing<'_>, median: Option<u64>) -> Option<Slow> {
    let seconds = standing.row.silent_seconds.unwrap_or(0);
    if seconds > SILENT_SECONDS {
        return Some(Slow::Silent { seconds });
    }
    let is_late = match (standing.left, median) {
        (Some(left), Some(median)) => u128::from(left) * 2 > u128::from(median) * 3,
        // It stands still while others come on.
        (None, Some(_)) => standing.rate == Some(0),
        (_, None) => false,
    };
    is_late.then(|| cause(standing))
}

fn cause(standing: &Standing<'_>) -> Slow {
    let Some(lane) = &standing.row.lane else { return Slow::Unknown };
    let waits = waiting(standing.row);
    let needs = standing.rate.map(|rate| rate.saturating_mul(WAITS_SECONDS));
    if waits >= WAITS_BYTES && needs.is_none_or(|needs| waits >= needs) {
        return Slow::Disk;
    }
    match lane.lost_ppm {
        Some(ppm) if ppm >= LOST_PPM => Slow::Loss { ppm },
        _ if lane.lane != "multicast" => Slow::Fetches { from: lane.lane.clone(), why: lane.why.clone() },
        _ => Slow::Unknown,
    }
}

/// Bytes of the disk that have arrived and are not written, as far as the image's mean compression tells.
fn waiting(row: &JobRow) -> u64 {
    let Some(lane) = row.lane.as_ref().filter(|lane| lane.image_bytes > 0) else { return 0 };
    let had = u128::from(lane.had_bytes) * u128::from(row.total_bytes) / u128::from(lane.image_bytes);
    let written = row.done_bytes.saturating_sub(row.same_bytes);
    u64::try_from(had).unwrap_or(u64::MAX).saturating_sub(written)
}

#[cfg(test)]
#[path = "laggard_tests.rs"]
mod tests;
