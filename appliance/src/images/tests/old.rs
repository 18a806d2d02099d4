//! Folders of the layout before: one file for each image.

use super::power::Names;
use super::{damage, files, image, import, open, scrubbed, sound, whole};
use crate::images::folder::Folder;
use crate::images::{Damage, Images};

#[test]
fn image_files_become_packs_whenever_the_power_goes() {
    let (one, old) = image("node", &[1, 2, 0, 3, 3]);
    let (two, new) = image("node", &[1, 4, 0, 3, 5]);
    for names in [Names::Kept, Names::Lost] {
        for steps in 0..30 {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(format!("{one}.rwimage")), &old).unwrap();
            std::fs::write(folder.path().join(format!("{two}.rwimage")), &new).unwrap();
            let power = Folder::new(folder.path());
            power.power.cut_after(steps);
            // It goes away during the start.
            let watched = power.power.clone();
            drop(Images::open_in(power, vec![super::key().public()], super::own()));
            watched.aftermath(names);
            let images = open(folder.path());
            assert!(whole(&images, &one).unwrap() == old, "{names:?} after {steps} steps");
            assert!(whole(&images, &two).unwrap() == new, "{names:?} after {steps} steps");
            let left = files(folder.path());
            assert!(
                left.keys().all(|name| !name.ends_with(".rwimage") && !name.ends_with(".part")),
                "{left:?}"
            );
        }
    }
}

#[test]
fn an_image_file_that_is_cut_off_is_left_alone_until_the_image_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, file) = image("node", &[1, 2]);
    let path = folder.path().join(format!("{digest}.rwimage"));
    std::fs::write(&path, &file[..file.len() - 1]).unwrap();
    let images = open(folder.path());
    assert_eq!(images.damaged(&digest), Damage::Absent);
    assert!(path.exists());
    import(&images, &file).unwrap();
    assert!(!path.exists());
    assert!(whole(&images, &digest).unwrap() == file);
}

#[test]
fn files_that_a_disk_damaged_are_told_and_mended() {
    let (digest, file) = image("node", &[1, 2, 4]);
    for kind in ["manifest", "pack"] {
        let folder = tempfile::tempdir().unwrap();
        import(&open(folder.path()), &file).unwrap();
        let name = files(folder.path()).into_keys().find(|name| name.ends_with(kind)).unwrap();
        let length = files(folder.path())[&name];
        // In the middle of the manifest; in the index of the pack.
        let at = if kind == "pack" { length - 60 } else { 200 };
        damage(&folder.path().join(&name), at);
        let images = open(folder.path());
        assert_ne!(images.damaged(&digest), sound(), "{kind}");
        assert!(whole(&images, &digest).is_err());
        import(&images, &file).unwrap();
        assert!(whole(&images, &digest).unwrap() == file, "{kind}");
        images.compact().unwrap();
        let images = open(folder.path());
        assert!(whole(&images, &digest).unwrap() == file, "{kind} after a start");
        assert_eq!(scrubbed(&images, &digest), [0; 0]);
        assert_eq!(files(folder.path()).len(), 3, "{kind}: manifest, pack, what the scrub knows");
    }
}
