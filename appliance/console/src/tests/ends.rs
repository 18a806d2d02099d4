//! How runs end: the exit code and what is said on standard error.

use serde_json::json;

use super::{run, run_asked, samples};
use crate::fake::{Fake, Reply, item, list, problem};

#[test]
fn a_refusal_is_told_in_the_daemons_words_with_its_code() {
    for (status, exit) in [(400, 2), (403, 11), (404, 3), (409, 4), (409, 5), (503, 6), (500, 1)] {
        let fake = Fake::start(move |_| problem(status, "no such node: n9\nsee: rackwright node list", exit));
        let ran = run(&fake, "node show n9");
        assert_eq!((ran.code, ran.out.as_str()), (exit, ""));
        assert_eq!(ran.err, "error: no such node: n9\n  see: rackwright node list\n");
    }
}

#[test]
fn an_answer_that_is_none() {
    let table = [
        (Reply::Http(404, "nothing here".to_owned()), 3),
        (Reply::Http(409, String::new()), 4),
        (Reply::Http(403, "{}".to_owned()), 11),
        (Reply::Http(503, "[]".to_owned()), 6),
        (Reply::Http(500, "<html>".to_owned()), 1),
        (Reply::Http(200, "nonsense".to_owned()), 1),
        (Reply::Http(200, String::new()), 1),
        (Reply::Http(200, json!({"apiVersion": "rackwright/v1", "items": [{"name": 7}]}).to_string()), 1),
        (Reply::Http(200, json!({"apiVersion": "rackwright/v2", "items": []}).to_string()), 1),
        (Reply::HangUp, 6),
    ];
    for (reply, code) in table {
        let answer = reply.clone();
        let ran = run(&Fake::start(move |_| answer.clone()), "node list");
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{reply:?} {ran:?}");
        assert!(ran.err.starts_with("error: "), "{reply:?} {ran:?}");
    }
}

#[test]
fn nobody_is_there() {
    let fake = Fake::start(|_| list(&[]));
    let elsewhere = fake.socket.with_file_name("other.sock");
    std::os::unix::fs::symlink(&elsewhere, fake.socket.with_file_name("dangling.sock")).unwrap();
    for socket in ["other.sock", "dangling.sock"] {
        let socket = fake.socket.with_file_name(socket);
        let ran = run(&fake, &format!("node list --socket {}", socket.display()));
        assert_eq!(ran.code, 6);
        assert!(
            ran.err.contains("next: see whether it runs: systemctl status rackwright.service"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn doctor_ends_with_9_when_something_is_wrong() {
    for (health, code) in [("ok", 0), ("warn", 0), ("fail", 9)] {
        let doctor = samples::but(samples::doctor(), json!({ "health": health }));
        let fake = Fake::start(move |_| item(doctor.clone()));
        for words in ["doctor", "doctor --area pxe", "doctor -o json"] {
            let ran = run(&fake, words);
            assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{words} with {health}");
            assert!(!ran.out.is_empty());
        }
    }
}

#[test]
fn why_of_a_mac_that_is_no_node_tells_how_it_booted() {
    let asked = |line: &str| match line {
        "GET /v1/network/trace/18:66:da:10:20:30" => item(samples::boot()),
        _ => problem(404, "no such node: it; see: rackwright node list", 3),
    };
    let fake = Fake::start(asked);
    let ran = run(&fake, "node why 18:66:da:10:20:30");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("18:66:da:10:20:30 is no node yet\n"), "{}", ran.out);
    for (words, asked) in
        [("node why n9", 1), ("node why 18-66-da-10-20-31", 2), ("node why deadbeefcafe0", 1)]
    {
        let before = fake.lines().len();
        let ran = run(&fake, words);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{words}");
        assert_eq!(ran.err, "error: no such node: it; see: rackwright node list\n");
        assert_eq!(fake.lines().len() - before, asked, "{words}");
    }
}

#[test]
fn a_journal_that_was_bent_and_a_copy_that_is_not_made_are_told() {
    for (fault, code, part) in [
        (json!(null), 0, "the journal is whole: 12 records, 3 signed heads, the last one of record 11"),
        (
            json!({"seq": 5, "kind": "changed", "why": "record 5 is bent"}),
            9,
            "WRITTEN: record 5 is bent (changed)",
        ),
    ] {
        let check = json!({"sound": code == 0, "records": 12, "hash": "ab", "heads": 3, "signed": 11, "fault": fault});
        let fake = Fake::start(move |_| item(check.clone()));
        let ran = run(&fake, "event verify");
        assert!(ran.code == code && ran.out.contains(part), "{ran:?}");
        assert_eq!(run(&fake, "event verify -o json").code, code);
    }
    let problem = "the state was not copied since 2026-11-20T15:28:02.000Z: no room";
    let copy = json!({"path": "/mnt/usb", "copied": null, "problem": problem});
    let status = samples::but(samples::status(), json!({ "copy": copy }));
    let fake = Fake::start(move |_| item(status.clone()));
    let ran = run(&fake, "status");
    assert!(ran.out.contains(&format!("copy /mnt/usb: {problem}")), "{ran:?}");
}

#[test]
fn health_is_checked_when_asked() {
    for (health, plain, checked) in [("ok", 0, 0), ("busy", 0, 0), ("attention", 0, 9)] {
        let status = samples::but(samples::status(), json!({ "health": health }));
        let fake = Fake::start(move |_| item(status.clone()));
        assert_eq!(run(&fake, "status").code, plain, "{health}");
        let ran = run(&fake, "status --check");
        assert_eq!(ran.code, checked, "{health}");
        assert!(ran.out.contains("Next: "), "the screen is shown all the same");
        assert_eq!(run(&fake, "status --check -o json").code, checked, "{health}");
    }
}

#[test]
fn a_damaged_image_is_a_failure() {
    let check = |bad: &'static [u32]| {
        Fake::start(move |line| match line {
            "GET /v1/images/base" => item(samples::image()),
            _ => item(samples::scrub(bad)),
        })
    };
    let fake = check(&[]);
    let ran = run(&fake, "image scrub base");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, "base (3f9a1c0d5e6b): 1 KiB read and compared, all right\n");
    let lines = ["GET /v1/images/base", "POST /v1/store/scrub", "GET /v1/store/scrub", "GET /v1/store/scrub"];
    assert_eq!(fake.lines(), lines);
    let body = json!({"images": ["3f9a1c0d5e6b7a8899aabbccddeeff00"]});
    assert_eq!(fake.body("POST /v1/store/scrub"), body);

    let ran = run(&check(&[7, 9, 10, 11]), "image scrub --all");
    assert_eq!(ran.code, 1);
    let text = "base (3f9a1c0d5e6b): 1 KiB read and compared, 4 chunks are damaged, at MiB 7, 9-11\n";
    assert_eq!(ran.out, text);
    assert!(ran.err.starts_with("error: 4 chunks of image base are damaged"), "{}", ran.err);
    assert!(ran.err.contains("import it again: rackwright image import FILE"), "{}", ran.err);
}

#[test]
fn images_are_deleted_when_that_was_confirmed_and_only_those_that_were_shown() {
    let daemon = || {
        Fake::start(|line| match line {
            "GET /v1/images/base" => item(samples::image()),
            _ => item(samples::prune(false)),
        })
    };
    for words in ["image prune", "image delete base", "image delete base --confirm=other"] {
        let fake = daemon();
        let ran = run(&fake, words);
        assert_eq!(ran.code, 5, "{words}: {ran:?}");
        assert!(ran.err.contains("nothing has been changed"), "{ran:?}");
        let asked = fake.lines();
        assert!(asked.len() == 1 && !asked[0].contains("delete"), "{words}: {asked:?}");
    }
    assert_eq!(run_asked(&daemon(), "image prune", "n\n").code, 5);
    assert_eq!(run_asked(&daemon(), "image delete base", "y\n").code, 5);
    for (words, answer) in [("image prune", "y\n"), ("image prune --yes", "")] {
        let fake = daemon();
        let ran = run_asked(&fake, words, answer);
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        let body = json!({"images": ["3f9a1c0d5e6b7a8899aabbccddeeff00"]});
        assert_eq!(fake.body("POST /v1/store/prune"), body, "just what was shown");
    }
    let fake = daemon();
    assert_eq!(run(&fake, "image prune --dry-run").code, 0);
    assert_eq!(fake.lines(), ["POST /v1/store/prune"]);
    let delete = "POST /v1/images/3f9a1c0d5e6b7a8899aabbccddeeff00/delete";
    for (words, answer) in [("image delete base", "base\n"), ("image rm base --confirm=base", "")] {
        let fake = daemon();
        assert_eq!(run_asked(&fake, words, answer).code, 0, "{words}");
        assert_eq!(fake.body(delete), json!({"confirm": "base"}));
    }
}

#[test]
fn the_inventory_goes_through_as_it_is_and_silently() {
    let inventory =
        json!({"_meta": {"hostvars": {"n1": {"ansible_host": "10.77.0.10"}}}, "all": {"hosts": ["n1"]}});
    let text = inventory.to_string();
    let fake = Fake::start(move |_| Reply::Http(200, text.clone()));
    for (words, wanted) in [
        ("ansible inventory", inventory.clone()),
        ("ansible inventory --list", inventory),
        ("ansible inventory --host n1", json!({"ansible_host": "10.77.0.10"})),
        ("ansible inventory --host n9", json!({})),
    ] {
        let ran = run(&fake, words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap(), wanted, "{words}");
    }
}
