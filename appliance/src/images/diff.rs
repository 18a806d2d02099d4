//! What two images have in common, and what a node fetches that goes from one to the other.

use std::collections::BTreeMap;

use fleet::view::image::{Amount, DiffRow, DiffView, VolumeDiff};
use pack::{Chunk, Manifest, VolumeId};

/// The difference between two images. A window is the same when both say the same of each of its blocks; a node that holds
/// the first may need less than is said, when it needs less of a window than the first had there.
pub(super) fn diff(from: &Manifest, to: &Manifest) -> DiffView {
    let volumes = &to.layout().volumes;
    let mut whole = DiffRow::default();
    // In the order of the disk; what is in no volume comes first.
    let mut parts = BTreeMap::<Option<usize>, DiffRow>::new();
    for (before, after) in windows(from.chunks(), to.chunks()) {
        let begin = after.or(before).map_or(0, Chunk::disk_offset);
        let inside = volumes.iter().position(|v| v.offset <= begin && begin - v.offset < v.bytes);
        add(&mut whole, before, after);
        add(parts.entry(inside).or_default(), before, after);
    }
    let place = |inside: Option<usize>| inside.and_then(|at| volumes.get(at));
    let volumes = parts.into_iter().map(|(inside, row)| VolumeDiff {
        place: place(inside).map_or_else(|| "outside".to_owned(), called),
        offset: place(inside).map_or(0, |volume| volume.offset),
        row,
    });
    DiffView {
        from: from.name().to_owned(),
        from_digest: from.digest().to_string(),
        to: to.name().to_owned(),
        to_digest: to.digest().to_string(),
        whole,
        volumes: volumes.collect(),
        obstacle: obstacle(from, to),
    }
}

fn called(volume: &VolumeId) -> String {
    if volume.label.is_empty() { volume.kind.clone() } else { format!("{} {}", volume.kind, volume.label) }
}

fn obstacle(from: &Manifest, to: &Manifest) -> Option<String> {
    let (from, to) = (from.layout().sector_bytes, to.layout().sector_bytes);
    (from != to).then(|| format!("the first is for sectors of {from} bytes, the second for {to}"))
}

/// The windows of either, in order, each with its chunk in both.
fn windows<'a>(
    from: &'a [Chunk],
    to: &'a [Chunk],
) -> impl Iterator<Item = (Option<&'a Chunk>, Option<&'a Chunk>)> {
    let (mut from, mut to) = (from.iter().peekable(), to.iter().peekable());
    std::iter::from_fn(move || {
        let next = |chunk: Option<&&Chunk>| chunk.map_or(u32::MAX, |chunk| chunk.window);
        let (one, other) = (next(from.peek()), next(to.peek()));
        let before = if one <= other { from.next() } else { None };
        let after = if other <= one { to.next() } else { None };
        (before.is_some() || after.is_some()).then_some((before, after))
    })
}

fn add(row: &mut DiffRow, before: Option<&Chunk>, after: Option<&Chunk>) {
    let (to, used) = match (before, after) {
        (Some(before), Some(after)) if before.digest == after.digest && before.map == after.map => {
            (&mut row.same, after.used_bytes())
        }
        (Some(_), Some(after)) => {
            row.fetch_bytes += u64::from(after.stored);
            (&mut row.changed, after.used_bytes())
        }
        (Some(before), None) => (&mut row.only_from, before.used_bytes()),
        (None, Some(after)) => {
            row.fetch_bytes += u64::from(after.stored);
            (&mut row.only_to, after.used_bytes())
        }
        (None, None) => return,
    };
    let Amount { chunks, bytes } = to;
    (*chunks, *bytes) = (*chunks + 1, *bytes + u64::from(used));
}
