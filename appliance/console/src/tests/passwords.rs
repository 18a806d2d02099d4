//! Other passwords for the cloud: what is asked, of a person and of the daemon, and what is shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::samples::{NOW, but, read};
use super::{PIPE, run, run_asked};
use crate::cloud::passwords::render;
use crate::fake::{Fake, Reply, item, problem};

const ROTATE: &str = "POST /v1/cloud/passwords/rotate";

pub(super) fn settled() -> Value {
    json!({"number": 2, "since": "2026-11-20T14:28:02.000Z", "state": "settled", "why": null, "nodes": 3, "waiting": [],
        "confirm": "lab"})
}

pub(super) fn rotating() -> Value {
    let row = |node: &str, away: bool, why: &str| json!({"node": node, "state": "active", "heard": "2026-11-20T14:28:02.000Z", "away": away, "why": why});
    let why = "it goes through generation 9 of its document";
    let rows = [
        row("n1", false, why),
        row("n3", true, "off or silent since 2026-11-20T14:28:02.000Z: it has them when it is back"),
    ];
    but(settled(), json!({"state": "rotating", "why": format!("n1: {why}"), "waiting": rows}))
}

/// Goes on for so many looks after it was begun.
fn rack(looks: usize) -> Fake {
    let asked = AtomicUsize::new(usize::MAX);
    Fake::start(move |line| match line {
        ROTATE => {
            asked.store(0, Ordering::SeqCst);
            item(rotating())
        }
        "GET /v1/cloud/passwords" => {
            let before = asked.load(Ordering::SeqCst);
            asked.store(before.saturating_add(1), Ordering::SeqCst);
            item(if before < looks { rotating() } else { settled() })
        }
        other => problem(404, other, 3),
    })
}

#[test]
fn a_script_gives_the_name_and_a_person_types_it_and_nothing_is_begun_otherwise() {
    for (ran, fake) in [
        (run as fn(&Fake, &str) -> _, rack(0)),
        (|fake, words| run_asked(fake, words, "lib\n"), rack(0)),
        (|fake, words| run_asked(fake, words, "\n"), rack(0)),
        (|fake, words| run(fake, &format!("{words} --confirm lib")), rack(0)),
    ] {
        let ran = ran(&fake, "cloud passwords rotate");
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.err.contains("all passwords are as before"), "{ran:?}");
        assert!(ran.err.contains("rackwright cloud passwords rotate --confirm lab"), "{ran:?}");
        assert!(!fake.lines().contains(&ROTATE.to_owned()));
    }
    let fake = rack(0);
    let ran = run_asked(&fake, "cloud passwords rotate --no-wait", "lab\n");
    assert!(ran.code == 0 && ran.err.contains("instances run on. Type \"lab\" to continue"), "{ran:?}");
    assert_eq!(fake.body(ROTATE), json!({"confirm": "lab"}));
    assert_eq!(fake.lines().last().unwrap(), ROTATE, "it comes back at once");
    assert!(ran.out.contains("Next: rackwright cloud passwords show --wait"), "{ran:?}");
}

#[test]
fn it_waits_until_it_is_over_and_says_once_for_whom() {
    let fake = rack(2);
    let ran = run(&fake, "cloud passwords rotate --confirm lab");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.err.matches("n1: it goes through generation 9").count(), 1, "{ran:?}");
    assert!(ran.out.contains("settled") && ran.out.contains("rackwright cloud openrc"), "{ran:?}");
    let ran = run(&rack(0), "cloud passwords rotate --confirm lab -o json");
    let got = serde_json::from_str::<Value>(&ran.out).unwrap();
    assert_eq!((&got["apiVersion"], &got["item"]), (&json!("rackwright/v1"), &settled()));
    let ran = run(&rack(0), "cloud passwords show");
    assert!(ran.code == 0 && ran.out.contains("3 of 3 nodes"), "{ran:?}");
}

#[test]
fn what_the_daemon_refuses_is_said_as_it_says_it() {
    let why = "the passwords of the cloud are still being rotated: n1: x (rackwright cloud passwords show)";
    let fake = Fake::start(move |line| match line {
        ROTATE => problem(409, why, 4),
        _ => item(rotating()),
    });
    let ran = run(&fake, "cloud passwords rotate --confirm lab");
    assert!(ran.code == 4 && ran.err.contains(why) && ran.out.is_empty(), "{ran:?}");
    // An older daemon knows nothing of it.
    let old =
        Fake::start(|_| Reply::Http(404, crate::fake::problem_text("there is no /v1/cloud/passwords", 3)));
    assert_eq!(run(&old, "cloud passwords rotate --confirm lab").code, 3);
}

#[test]
fn how_far_it_is_fits_a_terminal() {
    assert_eq!(
        render(&read(rotating()), &PIPE, NOW),
        "  rotated    2 times, last 3m ago
  state      rotating
  have them  1 of 3 nodes

Without them
  NODE  STATE   HEARD  WHY
  n1    active  3m     it goes through generation 9 of its document
  n3    active  3m     off or silent since 2026-11-20T14:28:02.000Z: it has them when it is back

Next: rackwright cloud passwords show --wait; it goes on by itself
"
    );
}
