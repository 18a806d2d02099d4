//! Where content lies: mapping pairs, each the length of a run of clusters and how far it is from the one before.

/// Clusters that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) clusters: u64,
}

/// The runs, all of them within so many clusters. `None` when they make no sense or one is sparse: nothing that is read
/// here has holes.
pub(super) fn runs(mut pairs: &[u8], clusters: u64) -> Option<Vec<Run>> {
    let (mut runs, mut first) = (Vec::new(), 0_i64);
    loop {
        let (head, rest) = pairs.split_first()?;
        if *head == 0 {
            return Some(runs);
        }
        let (length, rest) = rest.split_at_checked(usize::from(head & 0xf))?;
        let (distance, rest) = rest.split_at_checked(usize::from(head >> 4))?;
        // A distance of no bytes is a hole.
        first = first.checked_add(signed(distance)?)?;
        let run = Run { first: u64::try_from(first).ok()?, clusters: u64::try_from(signed(length)?).ok()? };
        if run.clusters == 0 || run.first.checked_add(run.clusters)? > clusters {
            return None;
        }
        runs.push(run);
        pairs = rest;
    }
}

/// A little-endian number of 1 to 8 bytes, the last with the sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let sign = bytes.last()? >> 7;
    let mut all = if sign == 1 { [0xff; 8] } else { [0; 8] };
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_forward_and_back() {
        let pairs = [0x21, 0x10, 0x00, 0x01, 0x11, 0x08, 0xf0, 0x12, 0x00, 0x02, 0x40, 0x00, 0xff];
        let want = [(0x100, 0x10), (0xf0, 8), (0x130, 0x200)];
        let want = want.map(|(first, clusters)| Run { first, clusters });
        assert_eq!(runs(&pairs, 0x330).unwrap(), want);
        assert_eq!(runs(&pairs, 0x32f), None);
    }

    #[test]
    fn runs_that_make_no_sense_are_refused() {
        let bad: &[&[u8]] = &[
            &[],
            &[0x11],
            &[0x11, 1],
            &[0x11, 1, 1],
            &[0x01, 1, 0],
            &[0x10, 1, 0],
            &[0x11, 0, 1, 0],
            &[0x11, 0x80, 1, 0],
            &[0x11, 1, 0xff, 0],
            &[0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
            &[0x91, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
            &[0x81, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0],
            &[0x11, 1, 1, 0x81, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        ];
        for pairs in bad {
            assert_eq!(runs(pairs, 1 << 40), None, "{pairs:x?}");
        }
        assert_eq!(runs(&[0], 1).unwrap(), []);
    }
}
