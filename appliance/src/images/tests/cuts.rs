//! The power goes at every step of everything that changes the folder.

use super::power::Names;
use super::{files, image, import, open, packs, whole};
use crate::images::{ImageError, Images};

/// Does something with the power cut after each number of steps, and looks at what a start finds; how many steps there are.
fn at_every_step(
    prepare: impl Fn(&Images),
    act: impl Fn(&Images) -> Result<(), ImageError>,
    look: impl Fn(&Images, &std::path::Path, bool),
) -> usize {
    for names in [Names::Kept, Names::Lost] {
        for steps in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let images = open(folder.path());
            prepare(&images);
            images.folder.power.cut_after(steps);
            let done = act(&images).is_ok();
            let taken = images.folder.power.taken();
            images.folder.power.aftermath(names);
            let again = open(folder.path());
            assert!(
                files(folder.path()).keys().all(|name| !name.ends_with(".part")),
                "leftovers after {steps}"
            );
            look(&again, folder.path(), done);
            assert!(steps < 1000, "{taken} steps are not the end of it");
            // Cleaning up takes steps too: only what had power to the end is the end.
            if done && images.folder.power.step().is_ok() {
                if names == Names::Lost {
                    return steps;
                }
                break;
            }
        }
    }
    0
}

#[test]
fn an_import_leaves_the_image_or_nothing() {
    let (first, old) = image("node", &[1, 2, 0, 3]);
    let (digest, file) = image("node", &[1, 5, 0, 3, 8]);
    let steps = at_every_step(
        |images| {
            import(images, &old).unwrap();
        },
        |images| import(images, &file).map(drop),
        |images, folder, done| {
            assert!(whole(images, &first).unwrap() == old, "the other image is as it was");
            match whole(images, &digest) {
                Ok(bytes) => assert!(bytes == file),
                Err(ImageError::Absent(_)) => {
                    assert!(!done, "an image that was promised");
                    assert_eq!(packs(folder).len(), 1, "nothing is left of it");
                }
                Err(other) => panic!("neither whole nor nothing: {other}"),
            }
            import(images, &file).expect("once more");
            assert!(whole(images, &digest).unwrap() == file);
        },
    );
    assert!(steps > 8, "{steps} steps");
}

#[test]
fn a_mending_import_loses_no_good_chunk() {
    let (digest, file) = image("node", &[1, 2, 4]);
    at_every_step(
        |images| {
            import(images, &file).unwrap();
            let folder = images.folder.path();
            super::damage(&folder.join(&packs(folder)[0]), 30_000);
            assert_eq!(super::scrubbed(images, &digest), [1]);
        },
        |images| import(images, &file).map(drop),
        |images, _, done| {
            let windows = super::scrubbed(images, &digest);
            assert!(windows.is_empty() || (!done && windows == [1]), "{windows:?}");
            import(images, &file).unwrap();
            assert!(whole(images, &digest).unwrap() == file);
            assert_eq!(super::scrubbed(images, &digest), [0; 0]);
        },
    );
}

#[test]
fn removing_and_rewriting_lose_nothing_of_the_other_image() {
    let (one, old) = image("node", &[1, 2, 4, 5, 7, 8]);
    let (two, new) = image("node", &[11, 2, 14, 15, 17, 18]);
    at_every_step(
        |images| {
            import(images, &old).unwrap();
            import(images, &new).unwrap();
        },
        |images| {
            images.remove(&one)?;
            images.compact().map(drop)
        },
        |images, _, done| {
            assert!(whole(images, &two).unwrap() == new);
            match whole(images, &one) {
                Ok(bytes) => assert!(bytes == old && !done),
                Err(ImageError::Absent(_)) => {}
                Err(other) => panic!("neither whole nor nothing: {other}"),
            }
            if images.stored(&one).is_ok() {
                images.remove(&one).unwrap();
            }
            images.compact().unwrap();
            assert_eq!(images.sizes().0, images.sizes().1, "nothing is left of the other");
            assert!(whole(images, &two).unwrap() == new);
        },
    );
}
