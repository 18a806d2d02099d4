//! Many nodes at once: what is shown and asked before, what is told while it goes on, how it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::goldens::assert_golden;
use super::samples::{self, NOW, read};
use super::{PIPE, run, run_asked};
use crate::fake::{Fake, Reply, item, problem};
use crate::rollout;

/// A rollout with its steps in these states.
fn at(state: &str, note: Option<&str>, states: [&str; 3]) -> Value {
    let mut row = samples::rollout(state);
    row["note"] = json!(note);
    for (step, state) in row["steps"].as_array_mut().unwrap().iter_mut().zip(states) {
        step["state"] = json!(state);
        step["job"] = if state == "underway" { json!("5f3a2b1c9d8e7f60") } else { Value::Null };
        step["note"] = if state == "failed" { json!("a bad sector") } else { Value::Null };
    }
    row
}

#[test]
fn what_is_shown_before_and_while() {
    assert_golden(
        &rollout::render_rollout(&read(samples::rollout("open")), &PIPE),
        "
        Rollout r-8f310a2c: rebuild 3 compute (open)

          NODE  STATE    IMAGE    ERASES           DETAIL
          n3    waiting  compute  serial:n3 10 GB  canary
          n1    waiting  compute  serial:n1 10 GB
          n2    waiting  compute  serial:n2 10 GB

        - THE SYSTEM DISKS OF ALL THESE NODES WILL BE ERASED
        = names, ids, addresses and SSH host keys are kept
        At most 1 of compute down at a time; stops after 2 failed, or one canary.
        Left alone: n4: n4 is held: its fan

        Next: rackwright rollout begin r-8f310a2c
        ",
    );
    let stopped = at("stopped", Some("2 failed: n1: a bad sector"), ["done", "failed", "waiting"]);
    assert_golden(
        &rollout::render_rollout(&read(stopped.clone()), &PIPE),
        "
        Rollout r-8f310a2c: rebuild 3 compute (stopped)

          NODE  STATE    IMAGE    ERASES           DETAIL
          n3    done     compute  serial:n3 10 GB  canary
          n1    failed   compute  serial:n1 10 GB  a bad sector
          n2    waiting  compute  serial:n2 10 GB

        At most 1 of compute down at a time; stops after 2 failed, or one canary.
        Left alone: n4: n4 is held: its fan
        2 failed: n1: a bad sector

        Next: rackwright node why n1; then rackwright rollout resume r-8f310a2c
        ",
    );
    let rows = [samples::rollout("open"), stopped].map(read);
    assert_golden(
        &rollout::render_rollouts(&rows, &PIPE, NOW),
        "
        ROLLOUT     STATE    AGE  OF       DONE  DETAIL
        r-8f310a2c  open     1m   compute  0/3
        r-8f310a2c  stopped  1m   compute  1/3   2 failed: n1: a bad sector
        ",
    );
}

#[test]
fn many_disks_are_erased_only_for_their_number_and_group() {
    let answers = |line: &str| match line {
        "POST /v1/rollouts" => item(samples::rollout("open")),
        "POST /v1/rollouts/r-8f310a2c/begin" => item(samples::rollout("running")),
        "GET /v1/rollouts/r-8f310a2c" => item(at("done", None, ["done"; 3])),
        _ => problem(404, "no", 3),
    };
    let fake = Fake::start(answers);
    let ran = run(&fake, "rebuild --role compute");
    assert!(
        ran.code == 5 && fake.lines().is_empty(),
        "nothing is planned where nobody can be asked: {ran:?}"
    );
    for wrong in ["yes\n", "compute\n", "2 compute\n", ""] {
        let ran = run_asked(&fake, "rebuild --role compute --canary n3 --stop-after 2", wrong);
        assert!(ran.code == 5 && ran.err.contains("nothing is erased"), "{wrong:?}: {ran:?}");
        assert!(ran.err.contains("WILL BE ERASED") && ran.err.contains("Left alone: n4"), "{ran:?}");
        assert!(ran.err.contains("rackwright rollout begin r-8f310a2c --confirm '3 compute'"), "{ran:?}");
    }
    assert!(fake.lines().iter().all(|line| !line.ends_with("/begin")));
    let ran = run_asked(&fake, "rebuild --role compute --canary n3 --stop-after 2", "3 compute\n");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    assert_eq!(fake.body("POST /v1/rollouts/r-8f310a2c/begin"), json!({"confirm": "3 compute"}));
    let asked = json!({"role": "compute", "nodes": [], "image": null, "canaries": ["n3"],
        "max_unavailable": 1, "stop_after": 2, "force": false});
    assert_eq!(fake.body("POST /v1/rollouts"), asked);
    let ran = run(&fake, "rebuild n1 n2 n3 --plan-only");
    assert!(ran.code == 0 && ran.out.contains("Next: rackwright rollout begin r-8f310a2c"), "{ran:?}");
}

#[test]
fn what_is_told_while_it_goes_on_and_how_it_ends() {
    let table = [
        (at("done", None, ["done"; 3]), 0, ""),
        (at("done", None, ["done", "failed", "done"]), 8, "1 of 3 nodes did not come through"),
        (
            at("stopped", Some("the canary n3 did not come through: x"), ["failed", "waiting", "waiting"]),
            8,
            "n3",
        ),
        (
            at("withdrawn", Some("an operator has cancelled it"), ["done", "dropped", "dropped"]),
            4,
            "cancelled",
        ),
        (samples::rollout("open"), 4, "it has not begun"),
    ];
    for (last, code, said) in table {
        let looks = [
            item(at(
                "running",
                Some("waiting for the canary n3 to be active again"),
                ["underway", "waiting", "waiting"],
            )),
            Reply::HangUp,
            item(last),
        ];
        let turn = AtomicUsize::new(0);
        let answer = move |_: &str| {
            let index = turn.fetch_add(1, Ordering::SeqCst);
            looks.get(index).or(looks.last()).unwrap().clone()
        };
        let ran = run(&Fake::start(answer), "rollout watch r-8f31");
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(
            ran.err.starts_with("n3  underway: canary, job 5f3a2b1c9d8e7f60  (0 of 3 over)\n"),
            "{ran:?}"
        );
        assert!(
            ran.err.contains("  waiting for the canary n3 to be active again\n") && ran.err.contains(said)
        );
        assert!(code == 0 || ran.err.contains("next: rackwright rollout show r-8f310a2c"), "{ran:?}");
    }
    let runs = Fake::start(|_| item(at("running", None, ["done", "underway", "waiting"])));
    let ran = run(&runs, "rollout watch r-8f31 --timeout 10ms");
    assert!(
        ran.code == 7 && ran.err.contains("it goes on\n  next: rackwright rollout watch r-8f310a2c"),
        "{ran:?}"
    );
    let ran = run(&runs, "rollout watch r-8f31 --timeout 10ms -o json");
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    assert!(lines.len() == 1 && lines[0]["steps"][1]["state"] == "underway", "{ran:?}");
}

#[test]
fn words_to_a_rollout() {
    for verb in ["stop", "resume", "cancel"] {
        let fake = Fake::start(|_| item(samples::rollout("stopped")));
        let ran = run(&fake, &format!("rollout {verb} r-8f31"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{verb}");
        assert_eq!(fake.lines(), [format!("POST /v1/rollouts/r-8f31/{verb}")]);
    }
}
