//! Batches with one node that is late, for every reason that there is.

use serde_json::{Value, json};

use super::{Slow, Standing, median_left, slow};
use crate::view::JobRow;

const GIB: u64 = 1 << 30;

/// A node in the middle of it that listens and loses nothing.
fn row(job: Value, lane: Value) -> JobRow {
    let mut row = json!({
        "id": "5f3a", "kind": "image", "node": "n1", "nodeState": "imaging", "plan": "p-1", "image": "base", "disk": "serial:A",
        "state": "running", "phase": "write", "doneBytes": 2 * GIB, "sameBytes": 0, "readBackBytes": 0, "totalBytes": 8 * GIB,
        "fetchedBytes": GIB, "percent": 25, "takes": 1, "created": "", "started": null, "ended": null, "why": null, "silentSeconds": 1,
        "lane": {"lane": "multicast", "multicastBytes": GIB, "lostPpm": 100, "why": null, "hadBytes": GIB, "peerBytes": 0, "imageBytes": 4 * GIB}
    });
    let with = |place: &mut Value, changes: Value| {
        place.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    };
    with(&mut row["lane"], lane);
    with(&mut row, job);
    serde_json::from_value(row).unwrap()
}

fn late(row: &JobRow) -> Option<String> {
    let standing = Standing { row, rate: Some(10 << 20), left: Some(600) };
    slow(&standing, Some(60)).map(|slow| slow.to_string())
}

#[test]
fn the_reason_is_told_in_words() {
    let table = [
        (json!({}), json!({}), "slower than the others"),
        (json!({"silentSeconds": 14}), json!({"lostPpm": 500_000}), "not heard of for 14 s"),
        (json!({}), json!({"lostPpm": 124_000}), "12 of 100 packets are lost"),
        (json!({}), json!({"lostPpm": 20_000}), "2 of 100 packets are lost"),
        (json!({}), json!({"lostPpm": 19_999}), "slower than the others"),
        (json!({}), json!({"hadBytes": 2 * GIB}), "its disk is slower than the network"),
        (json!({}), json!({"hadBytes": 2 * GIB, "lostPpm": 60_000}), "its disk is slower than the network"),
        (json!({"sameBytes": 2 * GIB}), json!({}), "its disk is slower than the network"),
        (json!({}), json!({"hadBytes": GIB + (5 << 20)}), "slower than the others"),
        (
            json!({}),
            json!({"lane": "others", "lostPpm": null, "why": "it loses too much"}),
            "fetches from other nodes: it loses too much",
        ),
        (json!({}), json!({"lane": "controller", "lostPpm": null}), "fetches from the controller"),
        (json!({}), json!({"imageBytes": 0, "hadBytes": 9 * GIB}), "slower than the others"),
        (
            json!({"totalBytes": u64::MAX}),
            json!({"hadBytes": u64::MAX, "imageBytes": 1}),
            "its disk is slower than the network",
        ),
        (json!({"lane": null}), json!({}), "slower than the others"),
    ];
    for (job, lane, words) in table {
        assert_eq!(late(&row(job.clone(), lane.clone())).as_deref(), Some(words), "{job} {lane}");
    }
}

#[test]
fn a_quick_disk_is_not_blamed_for_what_it_writes_in_a_second() {
    let row = row(json!({}), json!({"hadBytes": GIB + (64 << 20)}));
    let quick = Standing { row: &row, rate: Some(500 << 20), left: Some(600) };
    assert_eq!(slow(&quick, Some(60)), Some(Slow::Unknown), "128 MiB wait, a quarter of a second");
    let dull = Standing { rate: Some(20 << 20), ..quick };
    assert_eq!(slow(&dull, Some(60)), Some(Slow::Disk));
    let still = Standing { rate: Some(0), left: None, ..quick };
    assert_eq!(slow(&still, Some(60)), Some(Slow::Disk));
}

#[test]
fn only_who_needs_half_as_long_again_is_late() {
    let row = row(json!({}), json!({}));
    let needs = |left, rate, median| slow(&Standing { row: &row, rate, left }, median).is_some();
    let table = [
        (Some(90), Some(1), Some(60), false),
        (Some(91), Some(1), Some(60), true),
        (Some(1), Some(1), Some(0), true),
        (Some(0), Some(1), Some(0), false),
        (None, Some(0), Some(60), true),
        (None, None, Some(60), false),
        (Some(90), Some(1), None, false),
        (None, Some(0), None, false),
        (Some(u64::MAX), Some(1), Some(u64::MAX), false),
    ];
    for (left, rate, median, late) in table {
        assert_eq!(needs(left, rate, median), late, "{left:?} {rate:?} {median:?}");
    }
}

#[test]
fn half_of_those_who_know_need_at_most_the_median() {
    let row = row(json!({}), json!({}));
    let of = |left: &[Option<u64>]| {
        let batch =
            left.iter().map(|left| Standing { row: &row, rate: None, left: *left }).collect::<Vec<_>>();
        median_left(&batch)
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[None, None]), None);
    assert_eq!(of(&[Some(9), None]), Some(9));
    assert_eq!(of(&[Some(9), Some(3)]), Some(3), "of two, the slow one is late");
    assert_eq!(of(&[Some(9), Some(3), Some(5)]), Some(5));
    assert_eq!(of(&[Some(9), Some(3), Some(5), Some(7)]), Some(5));
}
