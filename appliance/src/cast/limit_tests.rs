//! Caps that are set, lifted and shared, on a store without images.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::hours::{Cap, DAY, Days, Hours};
use protocol::NodeId;

use super::{Casts, LINGERS, fetching};
use crate::images::Images;
use crate::listen::turns::Turns;

/// Where there is a link that says nothing of its speed.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn casts(mbit: Option<u64>) -> (Arc<Casts>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = crate::ca::image_key(folder.path()).unwrap();
    let images = Images::open(&folder.path().join("images"), &folder.path().join("keys"), key).unwrap();
    (Arc::new(Casts::new(Arc::new(images), mbit)), folder)
}

async fn take(turns: &Arc<Turns>, bytes: usize) {
    let mut turn = turns.of(NodeId([7; 16]));
    let mut left = bytes;
    while left > 0 {
        left = left.saturating_sub(poll_fn(|context| turn.poll(left, context)).await);
    }
}

#[test]
fn fetching_has_what_the_cap_says_but_for_the_frames() {
    let of = |mbit, spares, sends| fetching(Cap { mbit, spares }, HERE, sends);
    assert_eq!(of(None, false, true), None);
    assert_eq!(of(Some(0), false, false), None, "all fetch, and none is held back");
    assert_eq!(of(Some(0), true, false), Some(11_718_750), "a tenth of a gigabit");
    assert_eq!(of(Some(800), false, false), Some(93_750_000));
    assert_eq!(of(Some(800), false, true), Some(46_875_000));
}

#[tokio::test]
async fn who_fetches_much_halves_what_is_sent_to_all_until_a_while_after() {
    let (casts, _folder) = casts(Some(80));
    let begun = Instant::now();
    let turns = casts.turns(HERE);
    assert_eq!(casts.limit.sending(HERE), 10_000_000, "nobody fetches");
    take(&turns, 5_000).await;
    casts.limit.level(&[HERE], begun);
    assert_eq!(casts.limit.sending(HERE), 10_000_000, "that is hardly anything");
    take(&turns, 500_000).await;
    assert_eq!(casts.limit.level(&[HERE], begun), [HERE]);
    assert_eq!(casts.limit.sending(HERE), 5_000_000);
    assert!(casts.limit.level(&[HERE], begun).is_empty(), "no news");
    let later = begun + LINGERS + Duration::from_secs(1);
    assert_eq!(casts.limit.level(&[HERE], later), [HERE]);
    assert_eq!(casts.limit.sending(HERE), 10_000_000);
}

#[tokio::test]
async fn a_limit_may_be_set_at_any_time() {
    let (casts, _folder) = casts(None);
    let turns = casts.turns(HERE);
    assert!(Arc::ptr_eq(&turns, &casts.turns(HERE)), "one for each network");
    take(&turns, 1 << 30).await;
    assert_eq!((turns.given(), casts.limit.mbit() == Some(0)), (0, false));
    casts.set_limit(Cap { mbit: Some(8), spares: false });
    take(&turns, 20_000).await;
    assert_eq!(turns.given(), 20_000);
    casts.set_limit(Cap { mbit: Some(0), spares: true });
    assert!(casts.limit.mbit() == Some(0) && casts.limit.sending(HERE) == 0);
    casts.set_limit(Cap { mbit: None, spares: false });
    take(&turns, 1 << 30).await;
    assert_eq!(turns.given(), 20_000);
}

#[tokio::test]
async fn the_hours_are_looked_at_when_the_daemon_begins() {
    let (casts, _folder) = casts(Some(800));
    let (stopper, stop) = tokio::sync::watch::channel(false);
    let always = Hours { from: 0, to: DAY, days: Days::DAILY, limit_mbit: 0 };
    let keeping = tokio::spawn(Arc::clone(&casts).keep_limit(Some(800), vec![always], stop));
    while casts.limit.mbit() != Some(0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stopper.send(true).unwrap();
    keeping.await.unwrap();
}
