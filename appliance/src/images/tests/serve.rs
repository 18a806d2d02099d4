//! What an agent is sent.

use super::{damage, data, files, image, import, open, packs, scrubbed, whole};
use crate::images::ImageError;

#[test]
fn ranges_over_the_borders_of_packs_are_those_of_the_original_file() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let versions = [vec![1, 2, 4, 5, 7, 3], vec![1, 8, 4, 0, 7, 6], vec![9, 8, 4, 5, 10, 6]];
    let files = versions.map(|contents| image("node", &contents));
    for (_, file) in &files {
        import(&images, file).unwrap();
    }
    assert_eq!(packs(folder.path()).len(), 3);
    for (digest, file) in &files {
        let stored = images.stored(digest).unwrap();
        let length = stored.manifest.data_bytes();
        let area = &file[file.len() - usize::try_from(length).unwrap()..];
        let mut borders = stored.manifest.chunks().iter().map(|chunk| chunk.offset).collect::<Vec<_>>();
        borders.push(length);
        let near = borders.iter().flat_map(|at| [at.saturating_sub(1), *at, (at + 1).min(length)]);
        let near = near.collect::<Vec<_>>();
        for begin in &near {
            for end in near.iter().filter(|end| *end >= begin) {
                let got = data(&images, digest, *begin..*end).unwrap();
                let want = &area[usize::try_from(*begin).unwrap()..usize::try_from(*end).unwrap()];
                assert!(got == want, "{begin}..{end}");
            }
        }
    }
    let first = images.stored(&files[0].0).unwrap();
    let pieces = images.pieces(&first, 0..first.manifest.data_bytes()).unwrap();
    assert_eq!(pieces.len(), 1, "neighbours are one piece");
}

#[test]
fn a_chunk_that_is_known_to_be_damaged_is_not_sent_and_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let (digest, file) = image("node", &[1, 2, 4]);
    import(&images, &file).unwrap();
    let stored = images.stored(&digest).unwrap();
    let [first, second, third] = [0, 1, 2].map(|at| stored.manifest.chunks()[at].clone());
    damage(&folder.path().join(&packs(folder.path())[0]), second.offset + 7);
    assert_eq!(scrubbed(&images, &digest), [1]);
    for images in [&images, &open(folder.path())] {
        let refused = data(images, &digest, 0..third.offset);
        assert!(matches!(refused, Err(ImageError::Damaged { chunks: 1, .. })), "{refused:?}");
        assert!(data(images, &digest, 0..first.offset + u64::from(first.stored)).is_ok());
        assert!(data(images, &digest, third.offset..third.offset + u64::from(third.stored)).is_ok());
        assert!(images.damaged(&digest).told().unwrap().contains("1 of its chunks"));
    }
    import(&images, &file).unwrap();
    assert!(whole(&images, &digest).unwrap() == file);
    assert_eq!(scrubbed(&images, &digest), [0; 0]);
    assert!(whole(&open(folder.path()), &digest).unwrap() == file, "the new copy counts after a start too");
    let before = files(folder.path());
    images.compact().unwrap();
    assert!(files(folder.path()).values().sum::<u64>() <= before.values().sum::<u64>());
    assert!(whole(&images, &digest).unwrap() == file);
}
