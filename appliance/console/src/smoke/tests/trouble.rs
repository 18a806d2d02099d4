//! When something gets in the way of a run: a person, a service, answers of anything.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use super::fake_cloud::{FakeCloud, SMALL, WHOLE};
use super::{daemon, instead, no_trouble, put_leftovers, result, smoke};
use crate::cli::SmokeArgs;
use crate::fake::{Fake, problem};
use crate::hostile::HOSTILE;
use crate::tests::{Ran, run, run_in};
use crate::text::is_hostile;

/// A run that is interrupted as soon as the cloud was asked this, and again as soon as it was asked that.
fn interrupted(cloud: &FakeCloud, when: &'static [&'static str]) -> Ran {
    let fake = daemon(cloud);
    let words = ["rackwright", "--socket", fake.socket.to_str().unwrap(), "cloud", "smoke"];
    let cli = crate::Cli::try_parse_from(words).unwrap();
    let times = AtomicUsize::new(0);
    run_in(&cli.global, None, false, async |session| {
        let interrupt = || {
            let wanted = when.get(times.fetch_add(1, Ordering::SeqCst));
            async move {
                while !cloud.asked().iter().any(|asked| Some(&asked.as_str()) == wanted) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let nothing = SmokeArgs { keep: false, external: None, node: None, no_attach: false };
        crate::smoke::prove(session, nothing, interrupt).await.unwrap()
    })
}

#[test]
fn whoever_interrupts_it_finds_nothing_left_unless_it_is_interrupted_twice() {
    let slow = |asked: &str| {
        let building = json!({"server": {"status": "BUILD"}});
        asked.starts_with("GET /compute/servers/").then(|| instead(200, building))?
    };
    let cloud = FakeCloud::start(SMALL, slow);
    let ran = interrupted(&cloud, &["POST /compute/servers"]);
    assert_eq!((ran.code, result(&ran, "removed")), (130, "ok"), "{ran:?}");
    assert_eq!((result(&ran, "security-group"), result(&ran, "instance")), ("ok", "none"), "{ran:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);

    let cloud =
        FakeCloud::start(SMALL, |asked| asked.starts_with("DELETE ").then(|| instead(409, "not yet"))?);
    let ran = interrupted(&cloud, &["POST /compute/servers", "DELETE /compute/flavors/id-4"]);
    assert_eq!((ran.code, result(&ran, "removed")), (130, "failed"), "{ran:?}");
    assert!(ran.out.contains("interrupted before everything was gone"), "{ran:?}");
    assert!(ran.out.contains("rackwright cloud smoke removes them at its start"), "{ran:?}");
}

#[test]
fn a_service_that_is_away_keeps_nobody_from_removing_the_rest() {
    let cloud = FakeCloud::start(WHOLE, |asked| {
        asked.starts_with("GET /volumes/volumes").then(|| instead(503, "away"))?
    });
    put_leftovers(&cloud);
    let ran = smoke(&cloud, "");
    assert_eq!(
        (ran.code, result(&ran, "leftovers"), result(&ran, "image")),
        (9, "failed", "skipped"),
        "{ran:?}"
    );
    assert!(ran.out.contains("it can't be seen what is left"), "{ran:?}");
    let left = cloud.left().into_iter().filter(|left| !left.ends_with(" theirs")).collect::<Vec<_>>();
    assert_eq!(left, ["/volumes/volumes rackwright-smoke-old"]);
}

#[test]
fn a_token_that_runs_out_is_replaced() {
    let asked_before = AtomicUsize::new(0);
    let cloud = FakeCloud::start(SMALL, move |asked| {
        let late = asked == "POST /compute/servers" && asked_before.fetch_add(1, Ordering::SeqCst) == 0;
        late.then(|| instead(401, ""))?
    });
    let ran = smoke(&cloud, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(cloud.asked().iter().filter(|line| line.ends_with("/auth/tokens")).count(), 2);
}

#[test]
fn a_service_that_has_just_come_up_is_given_the_time_to_report() {
    for (times, code) in [(3, 0), (u32::MAX, 9)] {
        let looks = AtomicU32::new(0);
        let row = json!({"binary": "nova-compute", "host": "n9", "state": "down", "status": "enabled", "zone": "nova"});
        let down = json!({"services": [row]}).to_string();
        let cloud = FakeCloud::start(SMALL, move |asked| {
            let is_early =
                asked == "GET /compute/os-services" && looks.fetch_add(1, Ordering::SeqCst) < times;
            is_early.then(|| instead(200, &down))?
        });
        let ran = smoke(&cloud, "");
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(format!("{}{}", ran.out, ran.err).contains("down: nova-compute on n9"), "{ran:?}");
    }
}

#[test]
fn whatever_a_cloud_answers_is_survived_and_obeyed_by_no_terminal() {
    let huge = "x".repeat(5 << 20);
    let deep = "[".repeat(100_000);
    let text = HOSTILE.concat();
    let worded = json!({"servers": [{"id": text, "name": format!("rackwright-smoke{text}")}], "id": text,
        "server": {"id": text}, "status": text, "e": {"message": text}});
    for answer in [worded.to_string(), text, huge, deep, "null".to_owned(), "[]".to_owned()] {
        for line in [
            "POST /v3/auth/tokens",
            "GET /compute/os-services",
            "GET /compute/servers",
            "POST /compute/servers",
            "POST /network/v2.0/networks",
        ] {
            for status in [200, 500] {
                let answer = answer.clone();
                let cloud = FakeCloud::start(SMALL, move |asked| {
                    (asked == line).then(|| instead(status, &answer))?
                });
                let ran = smoke(&cloud, "");
                let shown = format!("{}{}", ran.out, ran.err);
                assert!(!shown.chars().any(|c| c != '\n' && is_hostile(c)), "{line}: {shown:?}");
                assert!(shown.len() < 20_000, "{line}: {} bytes", shown.len());
                assert!(ran.code == 9 || ran.code == 0, "{line}: {ran:?}");
            }
        }
    }
}

#[test]
fn without_a_guest_or_a_cloud_nothing_is_asked_of_it() {
    let said = "the boot store has no usable guest.img (No such file); run `image-build ramdisk --out boot`";
    let fake = Fake::start(move |_| problem(409, said, 4));
    let ran = run(&fake, "cloud smoke");
    assert!(ran.code == 4 && ran.err.contains("image-build ramdisk"), "{ran:?}");
    assert_eq!(fake.lines(), ["GET /v1/cloud/guest?part=kernel"]);
    let gone = FakeCloud::start(SMALL, no_trouble);
    let fake = daemon(&gone);
    drop(gone);
    let ran = run(&fake, "cloud smoke");
    assert!(ran.code == 9 && ran.out.contains("can't be reached"), "{ran:?}");
    assert_eq!((result(&ran, "token"), result(&ran, "removed")), ("failed", "skipped"));
}
