//! Where pieces are fetched from: other nodes first, as the controller names them, and at last the controller.
//!
//! ```text
//! order ─► source ─► bytes ─► each piece compared with its digest ─► right: to the spool
//!            ▲                                                     └► wrong, or none: the next source; a liar is shunned
//!            └── the controller's list; then the controller itself
//! ```
//! Bytes are checked here and nowhere else: only here is known whose they are.

mod call;
mod peers;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cast::wire::door::RANGE_BYTES_MAX;
use pack::{Chunk, Manifest};

pub(crate) use self::peers::Peers;
use crate::chain::Chain;
use crate::deploy::imaging::fetch::{NoRange, Origin};

/// All places where an image's stored bytes are.
#[derive(Debug)]
pub(crate) struct Sources<O> {
    origin: O,
    peers: Option<Arc<Peers>>,
    manifest: Arc<Manifest>,
}

/// What came of the pieces that were wanted.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    /// Those that are what the manifest says, with their stored bytes.
    pub(crate) right: Vec<(u32, Bytes)>,
    /// Those that came otherwise, from the origin too, and how; for people.
    pub(crate) spoilt: Vec<(u32, String)>,
    /// Why the others did not come.
    pub(crate) missing: Option<NoRange>,
}

/// Pieces that lie one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stretch {
    offset: u64,
    bytes: u32,
    ids: Vec<u32>,
}

impl<O: Origin> Sources<O> {
    /// The origin alone.
    pub(crate) fn new(origin: O, manifest: Arc<Manifest>) -> Self {
        Self { origin, peers: None, manifest }
    }

    /// The same, and others who are asked before it.
    pub(crate) fn with(self, peers: Arc<Peers>) -> Self {
        Self { peers: Some(peers), ..self }
    }

    /// The last resort.
    pub(crate) fn origin(&self) -> &O {
        &self.origin
    }

    /// Fetches these pieces, each from the first place that has it as it should be.
    pub(crate) async fn fetch(&self, ids: Vec<u32>) -> Supply {
        let mut supply = Supply::default();
        let mut lacking = ids;
        if let Some(peers) = self.peers.as_ref().filter(|_| !self.has_table(&lacking)) {
            let turn = peers.in_turn();
            for source in &turn {
                for stretch in self.stretches(&lacking) {
                    let Some(body) = peers.range(source, stretch.offset, stretch.bytes).await else { break };
                    let checked = self.check(stretch, body).await;
                    let bytes = checked.right.iter().map(|(_, stored)| stored.len() as u64).sum();
                    peers.gave(source, bytes);
                    supply.right.extend(checked.right);
                    if !checked.spoilt.is_empty() {
                        peers.shun(source);
                        break;
                    }
                }
                let here: BTreeSet<_> = supply.right.iter().map(|(id, _)| *id).collect();
                lacking.retain(|id| !here.contains(id));
                if lacking.is_empty() {
                    return supply;
                }
            }
            if !turn.is_empty() {
                peers.used_up();
            }
        }
        self.resort(&lacking, &mut supply).await;
        supply
    }

    /// Asks the last resort.
    async fn resort(&self, lacking: &[u32], supply: &mut Supply) {
        for stretch in self.stretches(lacking) {
            let bytes = usize::try_from(stretch.bytes).unwrap_or(usize::MAX);
            match self.origin.range(stretch.offset, bytes).await {
                Ok(body) => {
                    let checked = self.check(stretch, body).await;
                    supply.right.extend(checked.right);
                    supply.spoilt.extend(checked.spoilt);
                    supply.missing = checked.missing;
                }
                Err(no) => supply.missing = Some(no),
            }
            if supply.missing.is_some() {
                return;
            }
        }
        let unknown = lacking.iter().filter(|id| self.manifest.chunk(**id).is_none());
        supply.spoilt.extend(unknown.map(|id| (*id, "the image has no such window".to_owned())));
    }

    /// The windows with the partition tables are fetched last: others have them no earlier, and it is no use to wait for them there.
    fn has_table(&self, ids: &[u32]) -> bool {
        let chunks = self.manifest.chunks();
        let tables = [chunks.first(), chunks.last()].into_iter().flatten();
        tables.into_iter().any(|table| ids.contains(&table.window))
    }

    fn stretches(&self, ids: &[u32]) -> Vec<Stretch> {
        stretches(ids.iter().filter_map(|id| self.manifest.chunk(*id)))
    }

    /// Cuts bytes into their pieces and compares each with its digest, where that holds up nobody.
    async fn check(&self, stretch: Stretch, body: Bytes) -> Supply {
        let manifest = Arc::clone(&self.manifest);
        let sorted = tokio::task::spawn_blocking(move || sort(&manifest, &stretch, &body)).await;
        // A thread that died has checked nothing, and says nothing of the source.
        sorted.unwrap_or_else(|error| {
            let missing = Some(NoRange { why: error.to_string(), is_final: false });
            Supply { missing, ..Supply::default() }
        })
    }
}

fn sort(manifest: &Manifest, stretch: &Stretch, body: &Bytes) -> Supply {
    let mut supply = Supply::default();
    for id in &stretch.ids {
        match piece(manifest, *id, stretch.offset, body) {
            Ok(stored) => supply.right.push((*id, stored)),
            Err(cause) => supply.spoilt.push((*id, cause)),
        }
    }
    supply
}

fn piece(manifest: &Manifest, id: u32, offset: u64, body: &Bytes) -> Result<Bytes, String> {
    let chunk = manifest.chunk(id).ok_or_else(|| "the image has no such window".to_owned())?;
    let from = usize::try_from(chunk.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
    let to = from.saturating_add(usize::try_from(chunk.stored).unwrap_or(usize::MAX));
    let stored = body.get(from..to).ok_or_else(|| "it lies outside the range".to_owned())?;
    chunk.check_stored(stored).map_err(|error| Chain(&error).to_string())?;
    Ok(body.slice(from..to))
}

/// Joins what lies together, up to what may be asked for at once.
fn stretches<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for Chunk { window, offset, stored, .. } in chunks {
        let open = stretches.last_mut().filter(|last| {
            let end = last.offset.checked_add(u64::from(last.bytes));
            end == Some(*offset) && last.bytes.saturating_add(*stored) <= RANGE_BYTES_MAX
        });
        match open {
            Some(last) => {
                last.bytes = last.bytes.saturating_add(*stored);
                last.ids.push(*window);
            }
            None => stretches.push(Stretch { offset: *offset, bytes: *stored, ids: vec![*window] }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests;
