//! Chunks that images share.

use std::collections::BTreeSet;

use super::{files, image, import, open, packs, whole};

#[test]
fn a_second_version_takes_the_room_of_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    // Contents that do not compress: a multiple of three would.
    let first = (0..60).map(|at| at * 3 + 1).collect::<Vec<_>>();
    let mut second = first.clone();
    (20..26).for_each(|at| second[at] += 1000 * 3);
    let [(one, old), (two, new)] = [image("node", &first), image("node", &second)];
    import(&images, &old).unwrap();
    let before = files(folder.path());
    import(&images, &new).unwrap();
    let after = files(folder.path());
    let stored = images.stored(&two).unwrap();
    let changed = stored.manifest.chunks()[20..26].iter().map(|chunk| u64::from(chunk.stored)).sum::<u64>();
    let pack = packs(folder.path()).pop().unwrap();
    assert!(!before.contains_key(&pack));
    assert!(after[&pack] * 100 <= changed * 105, "{} for {changed}", after[&pack]);
    assert_eq!(after.len(), before.len() + 2, "a manifest and a pack");
    assert!(whole(&images, &one).unwrap() == old && whole(&images, &two).unwrap() == new);
    assert_eq!(images.bytes_of(&BTreeSet::from([two])), changed);
    let diff = images.diff(&one, &two).unwrap();
    assert_eq!((diff.whole.same.chunks, diff.whole.changed.chunks), (54, 6));
    assert_eq!(diff.whole.fetch_bytes, changed);
    let content = images.content(&two).unwrap();
    assert_eq!(content.shared_bytes, stored.manifest.data_bytes() - changed);
    // An image that is only another name writes no chunk.
    let (_, named) = image("other", &second);
    import(&images, &named).unwrap();
    assert_eq!(packs(folder.path()).len(), 2);
}

#[test]
fn packs_of_which_little_is_needed_are_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let first = (0..30).map(|at| at * 3 + 1).collect::<Vec<_>>();
    let mut second = first.clone();
    (0..20).for_each(|at| second[at] += 1000 * 3);
    let [(one, old), (two, new)] = [image("node", &first), image("node", &second)];
    import(&images, &old).unwrap();
    import(&images, &new).unwrap();
    let stored = images.stored(&two).unwrap().manifest.data_bytes();
    assert_eq!(images.remove(&one).unwrap().bytes, 0, "the second needs some of its pack");
    let freed = images.compact().unwrap();
    assert_eq!(freed.rewritten, 1);
    assert_eq!(images.sizes(), (stored, stored));
    assert!(whole(&images, &two).unwrap() == new);
    assert!(whole(&open(folder.path()), &two).unwrap() == new);
    assert_eq!(images.compact().unwrap(), crate::images::Freed::default(), "nothing is left to do");
}

#[test]
fn a_difference_is_told_by_volume_and_a_bar_shows_where_data_is() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let [(one, old), (two, new)] = [image("a", &[1, 2, 0, 4]), image("b", &[1, 5, 0, 4])];
    import(&images, &old).unwrap();
    import(&images, &new).unwrap();
    let diff = images.diff(&one, &two).unwrap();
    assert_eq!((diff.from.as_str(), diff.to.as_str(), diff.volumes.len()), ("a", "b", 1));
    assert_eq!(diff.volumes[0].row, diff.whole);
    let content = images.content(&one).unwrap();
    let data = content.cells.iter().filter(|cell| cell.data > 0).count();
    assert_eq!((content.cells.len(), data), (64, 3), "20 KiB at the start of each MiB: {:?}", content.cells);
    assert_eq!(content.cells.iter().filter(|cell| cell.zero > 0).count(), 1);
    assert_eq!((content.data_bytes, content.zero_bytes), (3 * 20480, 20480));
}
