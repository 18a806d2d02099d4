//! A pack that grows.

use pack::{Header, Parsed};

use super::power::Names;
use super::{files, image, key, open};
use crate::images::ImageError;

#[test]
fn a_growing_pack_is_written_out_from_time_to_time() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    // 20 KiB of noise each: the last of them does not come whole.
    let (_, file) = image("node", &[1, 2, 4, 5, 7, 8, 10]);
    let mut import = images.import(file.len() as u64).unwrap();
    import.push(&file[..file.len() - 1]).unwrap();
    let part = || files(folder.path()).into_iter().find(|(name, _)| name.ends_with(".part")).unwrap().1;
    let written = part();
    assert!(written > 6 * 20_000, "{written}");
    // Half of what was not written out is lost.
    images.folder.power.aftermath(Names::Kept);
    assert!(part() > 4 * 20_000, "{} of {written}: its end would have to wait for all of it", part());
}

#[test]
fn what_could_not_be_written_out_is_not_taken_for_written() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let (_, file) = image("node", &[1, 2, 4, 5, 7, 8, 10]);
    let Parsed::Whole(header) = Header::parse(&file).unwrap() else { panic!("a head") };
    let begin = usize::try_from(header.data_begin()).unwrap();
    let (_, manifest) = header.signed.verify(&[key().public()]).unwrap();
    let mut intake = images.intake();
    let mut put = |number: usize| {
        let chunk = &manifest.chunks()[number];
        let at = begin + usize::try_from(chunk.offset).unwrap();
        intake.put(chunk, &file[at..at + chunk.stored as usize])
    };
    (0..3).for_each(|number| put(number).unwrap());
    // The fourth is written, and what is before it can't be brought to the disk.
    images.folder.power.cut_after(1);
    let failed = put(3).unwrap_err();
    assert!(matches!(failed, ImageError::File { what: "syncing", .. }), "{failed}");
    images.folder.power.cut_after(1000);
    (3..7).for_each(|number| put(number).unwrap());
    let sealed = intake.seal(header.signed.clone()).unwrap_err();
    assert!(matches!(sealed, ImageError::Incomplete { missing: 3 }), "{sealed}");
    assert_eq!(files(folder.path()).keys().filter(|name| name.ends_with(".pack")).count(), 0);
}
