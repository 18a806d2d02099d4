//! When what is read, and what is remembered of it.

use std::sync::Arc;

use fleet::Time;

use super::{damage, image, import, open, packs, scrubbed};
use crate::images::Rest;

#[test]
fn a_scrub_runs_by_itself_and_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let images = Arc::new(open(folder.path()));
    let [(one, old), (two, new)] = [image("a", &[1, 2, 0, 4]), image("b", &[1, 5, 0, 7])];
    import(&images, &old).unwrap();
    import(&images, &new).unwrap();
    let before = images.scrubbing();
    assert!(!before.running && before.begun.is_none() && before.found.is_empty());
    damage(&folder.path().join(&packs(folder.path())[0]), 3);
    images.begin_scrub(&[one, two, one], Rest::None);
    let ended = loop {
        let now = images.scrubbing();
        if !now.running {
            break now;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert_eq!(ended.found, [(one, vec![0]), (two, vec![0])], "the chunk that both have");
    assert_eq!((ended.image, ended.done_bytes), (None, ended.total_bytes));
    assert!(ended.begun.is_some() && ended.ended >= ended.begun);
    assert!(images.checked(&one).is_some());
    assert_eq!(open(folder.path()).checked(&one), images.checked(&one), "it is remembered");
}

#[test]
fn images_are_due_by_their_last_scrub_and_new_ones_on_different_days() {
    let folder = tempfile::tempdir().unwrap();
    let images = open(folder.path());
    let week = 7 * 86_400;
    let all = (1..9).map(|content| image("node", &[content])).collect::<Vec<_>>();
    for (_, file) in &all {
        import(&images, file).unwrap();
    }
    let listed = all.iter().map(|(digest, _)| (*digest, Time(0))).collect::<Vec<_>>();
    assert_eq!(images.overdue(&listed, week, Time(0)), None);
    let first_due = |digest: &pack::Digest| {
        let due = |day: &u64| images.overdue(&[(*digest, Time(0))], week, Time(0).plus_seconds(day * 86_400));
        (0..=7).find(|day| due(day).is_some()).expect("within a week")
    };
    let days = all.iter().map(|(digest, _)| first_due(digest)).collect::<std::collections::BTreeSet<_>>();
    assert!(days.len() > 2, "{days:?}");
    let (digest, _) = &all[0];
    scrubbed(&images, digest);
    let checked = images.checked(digest).unwrap();
    let at = |seconds| images.overdue(&[(*digest, Time(0))], week, checked.plus_seconds(seconds));
    assert_eq!((at(week - 1), at(week)), (None, Some(*digest)));
    assert!(images.overdue(&listed, week, checked).is_some_and(|due| due != *digest));
}
