//! Servers under load: what is shown, what is begun and told, what ends how.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::goldens::assert_golden;
use super::samples::{self, NOW, but, read};
use super::{PIPE, run};
use crate::burn_in::render_tests;
use crate::fake::{Fake, item, list, problem};
use crate::terminal::Look;

#[test]
fn what_was_found_on_80_columns() {
    let older = but(samples::test(), json!({"verdict": "died", "parts": ["memory"], "elapsedSeconds": 190}));
    let look = Look { columns: Some(80), ..PIPE };
    let page = render_tests("n1", &[read(samples::test()), read(older)], &look, NOW);
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    assert_golden(
        &page,
        "
        the test of n1 failed: errors were counted
          job    5f3a2b1c9d8e7f60
          tests  cpu, memory, disk, network
          time   10m3s of 10m
          began  2026-11-20 14:20:05 UTC (10m ago)
          ended  2026-11-20 14:30:08 UTC (54s ago)
          why    its test has found errors: memory: P1_DIMM_A1

        Errors
          memory   physical address 0x1a2b3c40: wrong bits 0x0000000000000400
          memory   P1_DIMM_A1: memory errors that were corrected (12x)
          and 3 more

        Worth a look
          cpu      cores were slowed down because of heat (40x)

        Worse than its like
          PART  THIS       MEDIAN     OF  WHAT
          disk  114 MiB/s  486 MiB/s  11  serial:QM2: reading at its start

        Measured
          cores           64, 812.3 rounds/s in the middle, 790.0 rounds/s on core 17
          computed        123456 rounds, each checked
          slowed down     40 times because of heat
          machine checks  0
          memory          480 GiB of 512 GiB, 7 patterns
          memory rate     40 GiB/s written and read
          memory errors   12 corrected, unknown not (EDAC)
          network         1.1 GiB/s from the controller; link 10000 Mb/s
          hottest         88 C

        Disks (MB/s at start, middle, end; 4 KiB at random: 50 %, 99 %, all, in us)
          DISK                      MB/S            US          ERRORS  HEALTH
          wwn:eui.0025385b71b0aaaa  3100/3100/3000  85/140/900  0       well, 3 % use...
          serial:QM2                120/-/-         -/-/-       16      unknown: only...

        Before
          JOB               RESULT  TOOK   AGE  TESTS
          5f3a2b1c9d8e7f60  died    3m10s  11m  memory

        Next: replace what is broken, then: rackwright node test n1
        ",
    );
}

#[test]
fn nothing_is_known_of_one_that_was_never_tested() {
    let page = render_tests("n1", &[], &PIPE, NOW);
    assert_eq!(page, "n1 was never tested.\n\nNext: rackwright node test n1\n");
    let text = "was stopped";
    let stopped =
        but(samples::test(), json!({"verdict": "stopped", "figures": {}, "outliers": [], "faults": []}));
    assert!(render_tests("n1", &[read(stopped)], &PIPE, NOW).contains(text));
}

fn test(changes: Value) -> Value {
    but(
        but(
            samples::job(),
            json!({"kind": "test", "plan": null, "image": "", "disk": "", "nodeState": "testing"}),
        ),
        changes,
    )
}

#[test]
fn a_test_is_begun_and_watched_to_its_end() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |line| match line {
        "POST /v1/nodes/n1/test" => item(test(json!({"state": "waiting", "phase": null, "percent": 0}))),
        "GET /v1/jobs/5f3a2b1c9d8e7f60" => item(match looks.fetch_add(1, Ordering::SeqCst) {
            0..3 => test(json!({"phase": "memory", "percent": 41})),
            _ => test(json!({"state": "done", "nodeState": "ready", "percent": 100})),
        }),
        other => panic!("{other}"),
    });
    let ran = run(&fake, "node test n1 --memory --for 90s");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err.contains("n1: job 5f3a2b1c9d8e7f60 has begun") && ran.err.contains("41 %  memory"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("n1 passed its test; what was measured: rackwright node test show n1"),
        "{ran:?}"
    );
    let body = fake.body("POST /v1/nodes/n1/test");
    assert_eq!(body, json!({"parts": ["memory"], "seconds": 90}));
}

#[test]
fn one_that_cannot_begin_keeps_no_other_from_it() {
    let fake = Fake::start(|line| match line {
        "POST /v1/nodes/n1/test" => problem(409, "n1 is active: testing is not possible now", 4),
        "POST /v1/nodes/n2/test" => item(test(json!({"node": "n2"}))),
        other => panic!("{other}"),
    });
    let ran = run(&fake, "node test n1 n2 --no-wait");
    assert_eq!((ran.code, ran.out.trim()), (4, "5f3a2b1c9d8e7f60"), "{ran:?}");
}

#[test]
fn one_that_fails_is_told_with_where_to_look() {
    let failed =
        json!({"state": "failed", "nodeState": "attention", "why": "its test has found errors: cpu: core 3"});
    let fake = Fake::start(move |line| match line {
        "POST /v1/nodes/n1/test" => item(test(json!({}))),
        "GET /v1/jobs/5f3a2b1c9d8e7f60" => item(test(failed.clone())),
        "GET /v1/nodes/n1/tests" => list(&[samples::test()]),
        "POST /v1/nodes/n1/test-stop" => item(test(json!({"nodeState": "ready"}))),
        other => panic!("{other}"),
    });
    let ran = run(&fake, "node test n1");
    assert!(ran.code != 0 && ran.err.contains("cpu: core 3"), "{ran:?}");
    let shown = run(&fake, "node test show n1 -o json");
    assert!(shown.code == 0 && shown.out.contains("\"moreFaults\": 3"), "{shown:?}");
    let stopped = run(&fake, "node test stop n1");
    assert_eq!(
        (stopped.code, stopped.out.as_str()),
        (0, "n1 is ready; what was found: rackwright node test show n1\n")
    );
}
