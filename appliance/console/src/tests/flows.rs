//! What is asked of the daemon, in which order, and what a person or a script sees of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::samples::{self, but};
use super::{run, run_asked, run_on_terminal};
use crate::fake::{Fake, Reply, item, list, problem, problem_text};

/// Answers the nth request with the nth reply, and all later ones with the last.
fn in_turn(replies: Vec<Reply>) -> impl Fn(&str) -> Reply {
    let turn = AtomicUsize::new(0);
    move |_| {
        let index = turn.fetch_add(1, Ordering::SeqCst);
        replies.get(index).or(replies.last()).unwrap().clone()
    }
}

fn job(changes: Value) -> Reply {
    item(but(samples::job(), changes))
}

fn done() -> Reply {
    job(json!({"state": "done", "nodeState": "active"}))
}

#[test]
fn verbs_of_a_node() {
    let table = [
        ("reject n1 --why visitor", "reject", json!({"why": "visitor"})),
        ("rename n1 db1", "rename", json!({"name": "db1"})),
        ("role set n1 control,network", "roles", json!({"roles": ["control", "network"]})),
        ("retry n1", "retry", json!({})),
        ("rescue n1 --end", "rescue-end", json!({})),
        ("service n1 on --why DIMM", "service", json!({"why": "DIMM"})),
        ("service n1 on", "service", json!({})),
        ("service n1 off", "service-end", json!({})),
        ("set-address n1 10.77.0.21", "address", json!({"address": "10.77.0.21"})),
        (
            "set-address n1 10.77.0.21 --mac 52:54:00:12:34:56",
            "address",
            json!({"address": "10.77.0.21", "mac": "52:54:00:12:34:56"}),
        ),
    ];
    for (words, verb, body) in table {
        let fake = Fake::start(|_| item(samples::node("n1")));
        let ran = run(&fake, &format!("node {words}"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
        assert!(ran.out.contains("n1    active"), "{}", ran.out);
        assert_eq!(fake.body(&format!("POST /v1/nodes/n1/{verb}")), body, "{words}");
    }
}

#[test]
fn a_lease_is_named_by_mac_or_by_address() {
    for word in ["52:54:00:12:34:56", "10.77.0.10"] {
        let row = json!({"address": "10.77.0.10", "mac": "52:54:00:12:34:56", "freeFrom": null});
        let fake = Fake::start(move |_| item(row.clone()));
        let ran = run(&fake, &format!("network release {word}"));
        assert_eq!((ran.code, ran.out.as_str()), (0, "10.77.0.10 of 52:54:00:12:34:56 is free\n"));
        assert_eq!(fake.lines(), [format!("POST /v1/network/leases/{word}/release")]);
    }
    let fake = Fake::start(|_| problem(409, "10.77.0.10 is n1's", 4));
    assert_eq!(run(&fake, "network release 10.77.0.10").code, 4);
}

#[test]
fn plans_that_wait_are_shown_in_full_and_may_be_the_exit_code() {
    let fake = Fake::start(|_| list(&[samples::plan(), but(samples::plan(), json!({"id": "p-9"}))]));
    let ran = run(&fake, "plan");
    assert_eq!((ran.code, fake.lines()), (0, vec!["GET /v1/plans?state=open".to_owned()]));
    assert!(
        ran.out.contains("serial:QM1  QEMU HARDDISK") && ran.out.contains("WILL BE ERASED"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("rackwright apply p-8f31") && ran.out.contains("rackwright apply p-9"));
    assert_eq!(run(&fake, "plan --exit-code").code, 10);
    let none = Fake::start(|_| list(&[]));
    let ran = run(&none, "plan --exit-code");
    assert!(ran.code == 0 && ran.out.contains("rackwright node plan NODE"), "{ran:?}");
}

#[test]
fn verbs_of_the_network() {
    let mac = "52:54:00:12:34:56";
    let fake = Fake::start(|_| item(samples::reservation()));
    let ran = run(&fake, &format!("network reserve {mac} 10.77.0.21"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("52:54:00:12:34:56  10.77.0.21  n1"), "{}", ran.out);
    let reserved = "POST /v1/network/reservations";
    assert_eq!(fake.body(reserved), json!({"mac": mac, "address": "10.77.0.21"}));
    assert_eq!(run(&fake, &format!("network reserve {mac}")).code, 0);
    assert_eq!(fake.body(reserved), json!({ "mac": mac }));
    assert_eq!(run(&fake, &format!("network unreserve {mac}")).code, 0);
    assert_eq!(fake.body(&format!("{reserved}/{mac}/unreserve")), json!({}));
    let bare = but(samples::reservation(), json!({"address": null, "node": null, "made": null}));
    let fake = Fake::start(move |_| list(std::slice::from_ref(&bare)));
    let ran = run(&fake, "network reservations --no-header");
    assert_eq!(ran.out.split_whitespace().collect::<Vec<_>>(), [mac, "-", "-", "-"]);
}

#[test]
fn a_check_of_the_networks_is_its_exit_code() {
    for (advice, code) in [(json!("Switch it off."), 9), (Value::Null, 0)] {
        let fake = Fake::start(move |_| list(&[but(samples::network("eno2"), json!({ "advice": advice }))]));
        assert_eq!(run(&fake, "network check eno2").code, code);
        assert_eq!(fake.body("POST /v1/networks/check"), json!({"interface": "eno2"}));
    }
}

#[test]
fn a_list_of_servers_goes_in_one_request_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.csv");
    let words = format!("network import {}", file.display());
    let fake = Fake::start(|_| list(&[samples::reservation()]));
    let ran = run(&fake, &words);
    assert_eq!((ran.code, fake.lines().len()), (3, 0), "{ran:?}");
    std::fs::write(&file, "mac,ip\n52:54:00:00:00:01,10.77.0.21\n52:54:00:00:00:02,\n").unwrap();
    assert_eq!(run(&fake, &words).code, 0);
    let row = |line: u64, mac: &str, address: Value| json!({"line": line, "mac": mac, "address": address});
    let rows = [row(2, "52:54:00:00:00:01", "10.77.0.21".into()), row(3, "52:54:00:00:00:02", Value::Null)];
    let post = "POST /v1/network/reservations/import";
    assert_eq!(fake.body(post), json!({"rows": rows, "dryRun": false}));
    assert_eq!(run(&fake, &format!("{words} --dry-run")).code, 0);
    assert_eq!(fake.body(post)["dryRun"], true);
    std::fs::write(&file, "52:54:00:00:00:01,nowhere\n").unwrap();
    let ran = run(&fake, &words);
    assert!(ran.code == 1 && ran.err.contains("line 1") && ran.err.contains("--help"), "{ran:?}");
    let fake = Fake::start(|_| problem(409, "nothing was reserved\nserver 1: it is held", 4));
    std::fs::write(&file, "52:54:00:00:00:01\n").unwrap();
    let ran = run(&fake, &words);
    assert!(ran.code == 4 && ran.err.contains("  server 1: it is held"), "{ran:?}");
}

#[test]
fn verbs_of_a_unit() {
    for verb in ["start", "stop", "restart"] {
        let fake = Fake::start(|_| item(samples::service()));
        assert_eq!(run(&fake, &format!("service {verb} n1 chrony")).code, 0);
        assert_eq!(fake.lines(), [format!("POST /v1/services/n1/chrony.service/{verb}")]);
    }
    let fake = Fake::start(|_| item(json!({"lines": ["one", "two  "]})));
    assert_eq!(run(&fake, "service logs controller chrony.service -n 7").out, "one\ntwo\n");
    assert_eq!(fake.lines(), ["GET /v1/services/controller/chrony.service/logs?lines=7"]);
    let fake = Fake::start(|_| list(&[samples::service()]));
    assert_eq!(run(&fake, "service list --node n1").code, 0);
    assert_eq!(fake.lines(), ["GET /v1/services?node=n1"]);
}

fn unapproved() -> impl Fn(&str) -> Reply {
    let waiting = json!({"state": "discovered", "code": "X7K2QD"});
    move |line| match line.starts_with("GET") {
        true => item(but(samples::node_view("n1"), waiting.clone())),
        false => item(samples::node("db1")),
    }
}

/// What was seen is what is approved: the code goes to the daemon, not the name.
#[test]
fn approval_is_of_a_code() {
    let fake = Fake::start(unapproved());
    let ran = run(&fake, "node approve n1 --name db1 --role control,network");
    assert_eq!(ran.code, 0);
    assert!(ran.err.starts_with("approving code X7K2QD\n  n1  52:54:00:12:34:56"), "{}", ran.err);
    assert_eq!(
        fake.body("POST /v1/nodes/X7K2QD/approve"),
        json!({"name": "db1", "roles": ["control", "network"]})
    );
    run(&fake, "node approve n1 --moved");
    assert_eq!(fake.body("POST /v1/nodes/X7K2QD/approve"), json!({"moved": true}));
}

#[test]
fn a_person_is_asked_for_the_code() {
    for (answer, words, code) in
        [("y\n", "", 0), ("Yes\n", "", 0), ("n\n", "", 5), ("\n", "", 5), ("", "", 5), ("", "--yes", 0)]
    {
        let fake = Fake::start(unapproved());
        let ran = run_asked(&fake, &format!("node approve n1 {words}"), answer);
        assert_eq!(ran.code, code, "{answer:?} {words}");
        assert_eq!(ran.err.contains("Does the server's own screen show X7K2QD? [y/N]"), words.is_empty());
        assert_eq!(
            fake.lines().len(),
            if code == 0 { 2 } else { 1 },
            "{answer:?}: nothing is approved without a yes"
        );
    }
}

#[test]
fn a_plan_changes_nothing_and_says_so() {
    let fake = Fake::start(|_| item(samples::plan()));
    let ran = run(&fake, "node plan n1 --image base --disk serial:QM1 --data-disk serial:D1 --role compute");
    assert_eq!(ran.code, 0);
    assert!(ran.out.ends_with("Nothing has been changed. Apply: rackwright apply p-8f31\n"), "{}", ran.out);
    let body = json!({"image": "base", "disk": "serial:QM1", "data": "serial:D1", "roles": ["compute"]});
    assert_eq!(fake.body("POST /v1/nodes/n1/plan"), body);
    run(&fake, "node plan n1");
    assert_eq!(fake.body("POST /v1/nodes/n1/plan"), json!({}));
}

fn applying() -> Vec<Reply> {
    vec![item(samples::plan()), job(json!({"state": "waiting"})), job(json!({})), done()]
}

#[test]
fn a_script_confirms_with_the_name() {
    let fake = Fake::start(in_turn(applying()));
    let ran = run(&fake, "apply p-8f31 --confirm n1");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "");
    assert!(
        ran.err.starts_with("job 5f3a2b1c9d8e7f60 has begun; Ctrl-C leaves it to itself\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("[2/5] imaging    n1  [#####-----]   50 %"), "{}", ran.err);
    assert!(ran.err.ends_with("n1 is active\n"), "{}", ran.err);
    assert_eq!(fake.body("POST /v1/plans/p-8f31/apply"), json!({"confirm": "n1", "force": false}));
    let fake = Fake::start(in_turn(applying()));
    assert_eq!(run(&fake, "apply p-8f31 --confirm n1 --force").code, 0);
    assert_eq!(fake.body("POST /v1/plans/p-8f31/apply"), json!({"confirm": "n1", "force": true}));
}

#[test]
fn without_the_name_nothing_is_applied() {
    let asked: [(Option<&str>, &str, u8); 6] = [
        (None, "", 5),
        (None, "--confirm n2", 5),
        (None, "--no-input", 5),
        (Some("n2\n"), "", 5),
        (Some("y\n"), "", 5),
        (Some("n1\n"), "", 0),
    ];
    for (answer, words, code) in asked {
        let fake = Fake::start(in_turn(applying()));
        let words = format!("apply p-8f31 {words}");
        let ran = answer.map_or_else(|| run(&fake, &words), |answer| run_asked(&fake, &words, answer));
        assert_eq!(ran.code, code, "{words} {answer:?} {ran:?}");
        assert_eq!(fake.lines().len() > 1, code == 0, "{words} {answer:?}: {:?}", fake.lines());
        if answer.is_some() {
            assert!(ran.err.contains("WILL BE ERASED"), "a person sees what is erased: {}", ran.err);
            assert!(ran.err.contains("This erases serial:QM1 of n1. Type the node's name to continue: "));
        }
    }
}

#[test]
fn not_waiting_prints_the_id() {
    let fake = Fake::start(in_turn(applying()));
    let ran = run(&fake, "apply p-8f31 --confirm n1 --no-wait");
    assert_eq!((ran.code, ran.out.as_str()), (0, "5f3a2b1c9d8e7f60\n"));
    assert_eq!(fake.lines().len(), 2);
    let ran = run(&Fake::start(in_turn(applying())), "apply p-8f31 --confirm n1 -o json");
    let last = serde_json::from_str::<Value>(&ran.out).unwrap();
    assert_eq!(last["item"]["state"], "done", "JSON gets the last state, once");
}

#[test]
fn rebuild_is_plan_and_apply() {
    let fake = Fake::start(in_turn(applying()));
    let ran = run(&fake, "node rebuild n1 --image base --confirm n1");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("WILL BE ERASED"), "{}", ran.err);
    let lines = fake.lines();
    assert_eq!(lines[..2], ["POST /v1/nodes/n1/plan", "POST /v1/plans/p-8f31/apply"]);
    assert_eq!(fake.body("POST /v1/nodes/n1/plan"), json!({"image": "base"}));

    let fake = Fake::start(in_turn(applying()));
    let ran = run(&fake, "node rebuild n1");
    assert_eq!((ran.code, fake.lines()), (5, vec![]), "no plan is made that nobody can confirm");
    assert!(ran.err.contains("rackwright node plan n1"), "{}", ran.err);

    let fake = Fake::start(in_turn(applying()));
    let ran = run_asked(&fake, "node rebuild n1", "n3\n");
    assert_eq!((ran.code, fake.lines().len()), (5, 1));
    assert!(ran.err.contains("the plan is still there: rackwright apply p-8f31"), "{}", ran.err);
}

/// Asked before anything restarts; followed to the image and back.
#[test]
fn capture_is_confirmed_followed_and_told() {
    let answers = || {
        vec![
            item(samples::node_view("n1")),
            item(but(samples::captured(), json!({"state": "waiting", "nodeState": "draining"}))),
            item(but(samples::captured(), json!({"state": "running", "nodeState": "capturing"}))),
            item(but(samples::captured(), json!({"state": "verified", "nodeState": "booting"}))),
            item(samples::captured()),
            item(samples::captured()),
        ]
    };
    let words = "image capture n1 --name lab-2 --generalize --keep ssh-host-key --keep x --disk serial:A --role compute";
    let fake = Fake::start(in_turn(answers()));
    let ran = run(&fake, &format!("{words} --confirm n1"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let body = json!({"name": "lab-2", "identity": "generalize", "keep": ["ssh-host-key", "x"],
                      "disk": "serial:A", "roles": ["compute"], "confirm": "n1", "force": false});
    assert_eq!(fake.body("POST /v1/nodes/n1/capture"), body);
    assert!(ran.err.contains("[2/3] capturing") && ran.err.contains("[3/3] booting"), "{}", ran.err);
    assert!(ran.out.contains("ssh-host-key") && ran.out.contains("has it"), "{}", ran.out);

    let fake = Fake::start(in_turn(answers()));
    let ran = run_asked(&fake, words, "n2\n");
    assert_eq!((ran.code, fake.lines().len()), (5, 1), "nothing was asked for: {ran:?}");
    let fake = Fake::start(in_turn(answers()));
    assert_eq!(run_asked(&fake, words, "n1\n").code, 0);

    // One that stays in the ramdisk restarts nothing, and nobody is asked.
    let mut ready = answers();
    ready[0] = item(but(samples::node_view("n1"), json!({"state": "ready"})));
    let fake = Fake::start(in_turn(ready));
    let ran = run(&fake, "image capture n1 --name lab-2 --as-is --no-wait -o json");
    assert_eq!(ran.code, 0, "{ran:?}");
    let body = json!({"name": "lab-2", "identity": "as-is", "disk": null, "confirm": null, "force": false});
    assert_eq!(fake.body("POST /v1/nodes/n1/capture"), body);
}

#[test]
fn ends_of_a_job() {
    let failed = job(json!({"state": "failed", "why": "chunk 7 is bad"}));
    let stuck = job(json!({"state": "verified", "nodeState": "attention"}));
    let table = [
        (vec![job(json!({})), done()], "", 0, ""),
        (
            vec![job(json!({})), failed],
            "",
            1,
            "error: job 5f3a2b1c9d8e7f60 on n1 failed\n  why:  chunk 7 is bad\n",
        ),
        (vec![job(json!({})), stuck], "", 1, "error: n1 needs attention"),
        (vec![job(json!({}))], "--timeout 10ms", 7, "next: rackwright job watch 5f3a2b1c9d8e7f60\n"),
        (vec![problem(404, "no such job", 3)], "", 3, "error: no such job\n"),
    ];
    for (replies, words, code, said) in table {
        let ran = run(&Fake::start(in_turn(replies)), &format!("job watch 5f3a2b1c9d8e7f60 {words}"));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.contains(said), "{said:?} is not in {}", ran.err);
    }
}

/// The daemon is restarted while a job runs: the watcher finds it again, and gives up only when it stays away.
#[test]
fn a_daemon_that_comes_back() {
    let mut replies =
        vec![job(json!({})), job(json!({})), Reply::HangUp, Reply::HangUp, job(json!({})), done()];
    let ran = run(&Fake::start(in_turn(replies.clone())), "job watch x");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.err.matches("the daemon does not answer; looking for it again").count(), 1, "{}", ran.err);
    replies.truncate(3);
    assert_eq!(run(&Fake::start(in_turn(replies)), "job watch x").code, 6);
}

#[test]
fn a_watched_job_in_json_is_a_line_per_change() {
    let looks = vec![job(json!({})), job(json!({})), job(json!({})), job(json!({"percent": 26})), done()];
    let ran = run(&Fake::start(in_turn(looks)), "job watch x -o json");
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    let percents =
        lines.iter().map(|line| (line["percent"].clone(), line["state"].clone())).collect::<Vec<_>>();
    assert_eq!(
        percents,
        [(json!(25), json!("running")), (json!(26), json!("running")), (json!(25), json!("done"))]
    );
}

/// The jobs of three nodes, as they are in one look.
fn batch(changes: [Value; 3]) -> Reply {
    let row = |(name, changes): (&str, Value)| {
        but(but(samples::job(), json!({"id": format!("id-{name}"), "node": name})), changes)
    };
    list(&["n1", "n2", "n3"].into_iter().zip(changes).map(row).collect::<Vec<_>>())
}

fn ended() -> Value {
    json!({"state": "done", "nodeState": "active"})
}

#[test]
fn all_that_run_are_watched_until_the_last_one_ends() {
    let looks = vec![
        batch([json!({}), ended(), json!({"doneBytes": 0, "percent": 0})]),
        batch([json!({}), ended(), json!({"silentSeconds": 12})]),
        Reply::HangUp,
        batch([ended(), ended(), json!({"silentSeconds": 13})]),
        batch([ended(), ended(), ended()]),
    ];
    let ran = run(&Fake::start(in_turn(looks.clone())), "job watch");
    let lines = ran.err.lines().collect::<Vec<_>>();
    let wanted = [
        "n1  imaging  50 %",
        "n3  imaging  0 %",
        "[#---------]  12 %  0 of 2 done",
        "n3  imaging  50 %  slow: not heard of for 12 s",
        "[##--------]  25 %  0 of 2 done  1 slow",
        "the daemon does not answer; looking for it again",
        "n1  done",
        "n3  done",
    ];
    let told = lines.iter().filter(|line| wanted.contains(line)).copied().collect::<Vec<_>>();
    assert_eq!((ran.code, told), (0, wanted.to_vec()), "{ran:?}");
    assert!(ran.out.is_empty() && !ran.err.contains("n2"), "n2 was over: {ran:?}");

    let ran = run(&Fake::start(in_turn(looks)), "job watch -o json");
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    let told = lines.iter().map(|line| (line["node"].as_str().unwrap(), line["state"].as_str().unwrap()));
    let wanted = [("n1", "running"), ("n3", "running"), ("n3", "running"), ("n1", "done"), ("n3", "done")];
    assert_eq!(told.collect::<Vec<_>>(), wanted, "{}", ran.out);
    assert_eq!((&lines[0]["slow"], &lines[2]["slow"]), (&Value::Null, &json!("not heard of for 12 s")));
    assert!(lines[0].get("bytesPerSecond").is_some() && lines[0].get("leftSeconds").is_some());
}

#[test]
fn on_a_terminal_lines_are_replaced_and_the_last_screen_stays() {
    let looks = vec![
        batch([json!({}), json!({}), ended()]),
        Reply::HangUp,
        batch([json!({}), ended(), ended()]),
        batch([ended(), ended(), ended()]),
    ];
    let ran = run_on_terminal(&Fake::start(in_turn(looks)), "job watch --no-header");
    let frames = ran.err.split("\r\u{1b}[").collect::<Vec<_>>();
    let [first, away, second, last] = frames[..] else { panic!("{frames:?}") };
    assert_eq!(first.matches("imaging").count(), 2, "{first:?}");
    assert_eq!(away, "1Athe daemon does not answer; looking for it again\u{1b}[K\r\n");
    assert!(second.starts_with("2An2           done ") && !second.contains("n1"), "{second:?}");
    assert!(last.starts_with("3An1           done ") && last.contains("2 of 2 done"), "{last:?}");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
}

#[test]
fn jobs_are_watched_by_the_names_of_their_nodes() {
    let failed = json!({"state": "failed", "why": "chunk 7 is bad"});
    let turn = AtomicUsize::new(0);
    let answer = move |line: &str| match line {
        "GET /v1/jobs/id-n1" => item(but(samples::job(), json!({"id": "id-n1"}))),
        "GET /v1/jobs" => match turn.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => batch([json!({}), json!({}), json!({})]),
            _ => batch([ended(), json!({}), failed.clone()]),
        },
        _ => problem(404, "no such job", 3),
    };
    let fake = Fake::start(answer);
    let ran = run(&fake, "job watch id-n1 n3");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.ends_with(
            "error: job id-n3 on n3 failed\n  why:  chunk 7 is bad\n  next: rackwright node why n3\n"
        ),
        "{ran:?}"
    );
    assert!(!ran.err.contains("n2"), "{ran:?}");
    assert_eq!(run(&fake, "job watch nowhere").code, 3);
    let waits = Fake::start(|_| batch([json!({}), json!({}), json!({})]));
    assert_eq!(run(&waits, "job watch --timeout 10ms").code, 7);
    let none = Fake::start(|_| list(&[]));
    let ran = run(&none, "job watch");
    assert_eq!((ran.code, ran.err.as_str(), fake.lines().len() > 3), (0, "no job runs\n", true));
}

#[test]
fn one_node_with_one_job_is_told_stage_by_stage() {
    let answer = |line: &str| match line {
        "GET /v1/jobs" => list(&[samples::job()]),
        "GET /v1/jobs/5f3a2b1c9d8e7f60" => done(),
        _ => problem(404, "no such job", 3),
    };
    let ran = run(&Fake::start(answer), "job watch n1");
    assert_eq!((ran.code, ran.err.contains("n1 is active")), (0, true), "{ran:?}");
}

#[test]
fn events_as_they_happen() {
    let over = problem(503, "the daemon stops", 6);
    let looks = vec![
        list(&[samples::event(1), samples::event(2)]),
        list(&[samples::event(3)]),
        list(&[]),
        list(&[samples::event(5), samples::event(4)]),
        over,
    ];
    let fake = Fake::start(in_turn(looks.clone()));
    let ran = run(&fake, "event watch --node n1 -n 2");
    let times = ran.out.lines().map(|line| &line[..8]).collect::<Vec<_>>();
    assert_eq!(times, ["14:30:01", "14:30:02", "14:30:03", "14:30:04", "14:30:05"]);
    assert!(
        ran.out.starts_with("14:30:01  n1            approved      let in by the operator\n"),
        "{}",
        ran.out
    );
    assert_eq!(
        fake.lines(),
        [
            "GET /v1/events?after=0&limit=2&node=n1",
            "GET /v1/events?after=2&limit=200&node=n1&wait=20",
            "GET /v1/events?after=3&limit=200&node=n1&wait=20",
            "GET /v1/events?after=3&limit=200&node=n1&wait=20",
            "GET /v1/events?after=5&limit=200&node=n1&wait=20",
        ]
    );
    let ran = run(&Fake::start(in_turn(looks)), "event watch -o json");
    let sequence = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone());
    assert_eq!(sequence.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn nodes_as_they_change() {
    let nodes = |changes: Value| {
        list(&[but(samples::node("n1"), changes), but(samples::node("n2"), json!({"id": "ff"}))])
    };
    let looks = vec![
        list(&[samples::event(7)]),
        nodes(json!({"state": "ready"})),
        list(&[]),
        nodes(json!({"state": "imaging", "percent": 1, "units": null})),
        list(&[samples::event(8)]),
        nodes(json!({"state": "imaging", "percent": 9, "units": null})),
        list(&[]),
        nodes(json!({"state": "imaging", "percent": 10, "units": null})),
        problem(503, "the daemon stops", 6),
    ];
    let ran = run(&Fake::start(in_turn(looks)), "node watch");
    let wanted = "\
14:28:02  n1            ready                     4/4 up
14:28:02  n2            active                    4/4 up
14:28:02  n1            ready -> imaging          1 %
14:28:02  n1            imaging                   10 %
";
    assert_eq!(ran.out, wanted);
    assert_eq!(ran.code, 6);
}

#[test]
fn an_image_goes_up_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.rwimage");
    let bytes = (0..1_000_003u32).map(|index| index.to_le_bytes()[index as usize % 3]).collect::<Vec<_>>();
    std::fs::write(&path, &bytes).unwrap();
    let words = format!("image import {}", path.display());
    let fake = Fake::start(|_| item(samples::image()));
    let ran = run(&fake, &words);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("base\n  digest "), "{}", ran.out);
    assert!(fake.raw_body("POST /v1/images") == bytes, "every byte, in order");

    std::fs::write(&path, b"").unwrap();
    assert_eq!(run(&Fake::start(|_| problem(400, "an empty file is no image", 1)), &words).code, 1);
}

/// No room, or a file that is no image: the daemon need not read it all to say so.
#[test]
fn an_image_that_is_refused_early() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.rwimage");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    let fake = Fake::start(|_| Reply::Early(409, problem_text("no room for 64 MiB", 4)));
    let ran = run(&fake, &format!("image import {}", path.display()));
    assert_eq!((ran.code, ran.err.lines().last()), (4, Some("error: no room for 64 MiB")), "{ran:?}");
}

#[test]
fn files_that_are_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|_| item(samples::image()));
    let ran = run(&fake, &format!("image import {}", dir.path().join("absent").display()));
    assert_eq!(ran.code, 3, "{ran:?}");
    let ran = run(&fake, &format!("image import {}", dir.path().display()));
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = run(&fake, "image import /dev/zero");
    assert_eq!(ran.code, 1, "an endless file is not begun: {ran:?}");
    assert_eq!(fake.lines(), [] as [String; 0]);
}
