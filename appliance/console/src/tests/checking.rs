//! A check of the network between nodes: what is asked for, what is shown, how it ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::goldens::assert_golden;
use super::samples::{self, NOW, but, read};
use super::{PIPE, run};
use crate::fake::{Fake, Reply, item, list, problem};
use crate::preflight;
use crate::terminal::Look;

#[test]
fn what_is_shown_of_a_check() {
    assert_golden(
        &preflight::render_preflight(&read(samples::check("done")), &PIPE, NOW),
        "
        Check c-8f310a2c of 3 nodes: done, begun 1m ago, took 34s

          NETWORK       NODES  REACHED  TRANSFERS  MIDDLE
          10.77.0.0/24  3      2/6      2          941 Mbit/s

        [fail] n3 reaches nobody on 10.77.0.0/24, and nobody reaches it
                next: look at its cable
        Left out: n4 is imaging

        Next: rackwright network map; when it is mended, rackwright network check
        ",
    );
    let going = but(
        samples::check("running"),
        json!({"stage": "transferring", "round": 2, "rounds": 6, "ended": null}),
    );
    let going = preflight::render_preflight(&read(going), &PIPE, NOW);
    assert!(going.contains("  transfers, round 2 of 6, 1 s each\n"), "{going}");
    assert!(!going.contains("[fail]") && going.contains("Next: rackwright network show"), "{going}");
    let fine = json!({"healthy": true, "findings": [], "absent": []});
    let fine = preflight::render_preflight(&read(but(samples::check("done"), fine)), &PIPE, NOW);
    assert!(
        fine.contains("Everything that was tried is as it should be.") && !fine.contains("Next:"),
        "{fine}"
    );
}

#[test]
fn the_map_fits_into_eighty_columns() {
    let plain = samples::map_row();
    let silent = but(
        plain.clone(),
        json!({"link": "eno2", "carrier": false, "switch": null, "port": null,
        "portDescription": null, "vlan": null, "speedMbps": null}),
    );
    let rows = [plain, silent].map(read);
    assert_golden(
        &preflight::render_map(&rows, &PIPE),
        "
        NODE  LINK  MBIT/S   MTU   VLAN  SWITCH  PORT
        n1    eno1  10000    1500  100   sw-1    ge-0/0/1 (機櫃 1)
              eno2  no link  1500  -     -       -
        ",
    );
    let long = json!({"switch": "機櫃交換器".repeat(9), "port": "Port-channel".repeat(9), "node": "compute-with-a-name"});
    let rows = [read(but(samples::map_row(), long))];
    let narrow = Look { columns: Some(80), ..PIPE };
    let drawn = preflight::render_map(&rows, &narrow);
    assert!(drawn.lines().all(|line| crate::text::width(line) <= 80), "{drawn}");
    let dark = but(samples::map_row(), json!({"switch": null, "port": null}));
    let dark = preflight::render_map(&[read(dark)], &narrow);
    assert!(dark.contains("No switch says by LLDP"), "{dark}");
    assert!(preflight::render_map(&[], &PIPE).contains("No node has told"));
}

#[test]
fn a_check_is_watched_to_its_end_and_its_health_is_the_exit_code() {
    for (healthy, code) in [(true, 0), (false, 9)] {
        let asked = AtomicUsize::new(0);
        let fake = Fake::start(move |line| match line {
            "POST /v1/network/check" => item(samples::check("running")),
            "GET /v1/network/check" if asked.fetch_add(1, Ordering::SeqCst) < 2 => {
                item(but(samples::check("running"), json!({"stage": "reaching"})))
            }
            "GET /v1/network/check" => item(but(samples::check("done"), json!({ "healthy": healthy }))),
            _ => problem(404, "no", 3),
        });
        let ran = run(&fake, "network check --role compute --transfer-seconds 3");
        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(ran.err.matches("every node asks every other").count(), 1, "{ran:?}");
        let body = json!({"nodes": [], "role": "compute", "besideJobs": false, "transferSeconds": 3});
        assert_eq!(fake.body("POST /v1/network/check"), body);
        assert_eq!(run(&fake, "network show").code, code);
    }
}

#[test]
fn what_is_asked_for_is_what_was_said() {
    let fake = Fake::start(|line| match line {
        "POST /v1/network/check" => item(samples::check("running")),
        "GET /v1/network/check" => item(samples::check("running")),
        "POST /v1/network/check/stop" => item(samples::check("stopped")),
        "GET /v1/network/map" => list(&[samples::map_row()]),
        _ => problem(404, "no", 3),
    });
    let ran = run(&fake, "network check --nodes n1,n2 --no-throughput --no-wait");
    assert_eq!((ran.code, ran.out.as_str()), (0, "c-8f310a2c\n"), "{ran:?}");
    let body = json!({"nodes": ["n1", "n2"], "role": Value::Null, "besideJobs": false, "transferSeconds": 0});
    assert_eq!(fake.body("POST /v1/network/check"), body);
    let late = run(&fake, "network check --timeout 1ms");
    assert!(late.code == 7 && late.err.contains("rackwright network show"), "{late:?}");
    assert_eq!(run(&fake, "network stop").code, 0);
    assert_eq!(run(&fake, "network map -o json").code, 0);
    let other = Fake::start(|line| match line {
        "POST /v1/network/check" => item(samples::check("running")),
        _ => item(but(samples::check("running"), json!({"id": "c-00000001"}))),
    });
    assert_eq!(run(&other, "network check").code, 4, "another was begun meanwhile");
    let refused: fn(&str) -> Reply = |_| problem(404, "the network between nodes was not checked yet", 3);
    assert_eq!(run(&Fake::start(refused), "network show").code, 3);
}
