use serde_json::{Value, json};

use super::*;
use crate::tests::samples::{self, but, read};

fn row(changes: Value) -> JobRow {
    read(but(samples::job(), changes))
}

#[test]
fn stages() {
    let table = [
        (json!({"state": "waiting", "nodeState": "draining", "phase": null}), Stage::Waiting),
        (json!({"state": "waiting", "nodeState": "imaging", "phase": null}), Stage::Waiting),
        (json!({"state": "running", "phase": null}), Stage::Imaging),
        (json!({"state": "running", "phase": "disarm"}), Stage::Imaging),
        (json!({"state": "running", "phase": "write"}), Stage::Imaging),
        (json!({"state": "running", "phase": "read_back"}), Stage::Verifying),
        (json!({"state": "running", "phase": "arm", "nodeState": "verifying"}), Stage::Verifying),
        (json!({"state": "verified", "nodeState": "booting"}), Stage::Booting),
        (json!({"state": "verified", "nodeState": "enrolling"}), Stage::Enrolling),
        (json!({"state": "done", "nodeState": "active"}), Stage::Enrolling),
        (json!({"state": "a word of tomorrow"}), Stage::Waiting),
    ];
    for (changes, is) in table {
        assert_eq!(stage(&row(changes.clone())), is, "{changes}");
    }
}

/// The whole life of a job, as a script's log shows it.
#[test]
fn from_waiting_to_active() {
    let gib = 1u64 << 30;
    let looks = [
        (
            0,
            json!({"state": "waiting", "nodeState": "draining", "phase": null, "totalBytes": 0, "doneBytes": 0}),
        ),
        (8_000, json!({"phase": "disarm", "doneBytes": 0, "totalBytes": 0})),
        (9_000, json!({"doneBytes": gib / 4, "sameBytes": gib / 8})),
        (10_000, json!({"doneBytes": gib / 2, "sameBytes": gib / 8})),
        (
            12_000,
            json!({"phase": "read_back", "doneBytes": gib, "sameBytes": gib / 8, "readBackBytes": gib / 2}),
        ),
        (20_000, json!({"state": "verified", "nodeState": "booting"})),
        (21_000, json!({"state": "verified", "nodeState": "booting"})),
        (80_000, json!({"state": "verified", "nodeState": "enrolling"})),
        (95_000, json!({"state": "done", "nodeState": "active"})),
    ];
    let mut story = Story::default();
    let mut lines = Vec::new();
    let mut end = None;
    for (now, changes) in looks {
        assert_eq!(end, None, "nothing comes after the end");
        let told = story.tell(&row(changes), now, false);
        lines.extend(told.lines);
        end = told.end;
    }
    assert_eq!(end, Some(End::Done));
    assert_eq!(
        lines,
        [
            "[1/5] waiting    n1  restarts into the ramdisk",
            "[1/5] waiting    done  8s",
            "[2/5] imaging    n1  prepares the disk",
            "[2/5] imaging    n1  [##--------]   25 %  256 MiB of 1 GiB",
            "[2/5] imaging    n1  [#####-----]   50 %  512 MiB of 1 GiB  256 MiB/s  2s left",
            "[2/5] imaging    done  4s  1 GiB, 128 MiB were right already",
            "[3/5] verifying  n1  [#####-----]   50 %  512 MiB of 1 GiB",
            "[3/5] verifying  done  8s",
            "[4/5] booting    n1  starts from its disk",
            "[4/5] booting    done  1m",
            "[5/5] enrolling  n1  starts its units",
            "[5/5] enrolling  done  15s",
        ]
    );
}

#[test]
fn where_lines_are_redrawn_only_ends_of_stages_stay() {
    let mut story = Story::default();
    assert_eq!(story.tell(&row(json!({})), 0, true).lines, [] as [&str; 0]);
    let told = story.tell(&row(json!({"doneBytes": 1u64 << 30})), 60_000, true);
    assert_eq!(told.lines, [] as [&str; 0]);
    assert!(told.progress.contains("100 %"), "{}", told.progress);
    let told = story.tell(&row(json!({"state": "verified", "nodeState": "booting"})), 61_000, true);
    assert_eq!(told.lines, ["[2/5] imaging    done  1m1s  1 GiB"]);
}

#[test]
fn ends() {
    let end = |changes: Value| Story::default().tell(&row(changes), 0, false).end;
    assert_eq!(end(json!({"state": "failed", "why": "chunk 7"})), Some(End::Failed("chunk 7".to_owned())));
    assert_eq!(end(json!({"state": "failed"})), Some(End::Failed("no reason was given".to_owned())));
    assert_eq!(end(json!({"state": "verified", "nodeState": "attention"})), Some(End::Stuck));
    assert_eq!(end(json!({"state": "done", "nodeState": "attention"})), Some(End::Done));
    assert_eq!(end(json!({"state": "running"})), None);
}

/// A job that was finished before anybody looked is no stage at all.
#[test]
fn nothing_is_made_up() {
    let told = Story::default().tell(&row(json!({"state": "done", "nodeState": "active"})), 5, false);
    assert_eq!((told.end, told.lines.len()), (Some(End::Done), 1));
    let huge = row(json!({"doneBytes": u64::MAX, "totalBytes": 1, "sameBytes": u64::MAX}));
    assert!(Story::default().tell(&huge, u64::MAX, true).progress.contains("100 %"));
}

#[test]
fn the_story_of_a_test() {
    let test = |changes: Value| {
        read(but(but(samples::job(), json!({"kind": "test", "image": "", "disk": ""})), changes))
    };
    let looks = [
        (0, json!({"state": "waiting", "nodeState": "testing", "phase": null, "percent": 0})),
        (2_000, json!({"nodeState": "testing", "phase": "cpu", "percent": 3})),
        (300_000, json!({"nodeState": "testing", "phase": "memory", "percent": 50})),
        (600_000, json!({"nodeState": "ready", "state": "done", "phase": "network", "percent": 100})),
    ];
    let mut story = Story::default();
    let (mut lines, mut end) = (Vec::new(), None);
    for (now, changes) in looks {
        let told = story.tell(&test(changes), now, false);
        lines.extend(told.lines);
        end = told.end;
    }
    assert_eq!(end, Some(End::Done));
    assert_eq!(
        lines,
        [
            "[1/2] waiting    n1  its agent has not taken the job yet",
            "[1/2] waiting    done  2s",
            "[2/2] testing    n1    3 %  cpu",
            "[2/2] testing    n1   50 %  memory",
            "[2/2] testing    done  9m58s",
        ]
    );
}

#[test]
fn stages_of_a_capture() {
    let table = [
        (json!({"state": "waiting", "nodeState": "draining"}), Stage::Waiting),
        (json!({"state": "running", "nodeState": "capturing", "phase": "survey"}), Stage::Capturing),
        (json!({"state": "verified", "nodeState": "booting"}), Stage::Booting),
        (json!({"state": "done", "nodeState": "active"}), Stage::Booting),
        (json!({"state": "done", "nodeState": "ready"}), Stage::Capturing),
    ];
    for (changes, is) in table {
        assert_eq!(stage(&read(but(samples::captured(), changes.clone()))), is, "{changes}");
    }
}
