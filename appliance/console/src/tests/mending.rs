//! A node into its operator's hands: what is asked of the daemon, and what is shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use serde_json::{Value, json};

use super::samples::{self, NOW, but, read};
use super::{PIPE, run, run_asked};
use crate::fake::{Fake, item, problem};
use crate::{Cli, node, why};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab";

fn in_rescue(entered: Value, host_key: Value) -> Value {
    let waiting = "you: mend it: ssh root@10.77.0.10 (host key SHA256:x), or Enter on its console; then end it (rackwright \
                   node rescue n1 --end)";
    let rescue = json!({"from": "active", "entered": entered, "address": "10.77.0.10", "hostKey": host_key,
        "keys": ["ssh-ed25519 alice@lab"], "trouble": null});
    let row = json!({"state": "rescue", "health": "", "waiting": waiting, "rescue": rescue});
    but(samples::node_view("n1"), row)
}

#[test]
fn the_keys_of_a_file_go_along_and_the_name_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pub");
    std::fs::write(&file, KEY).unwrap();
    let fake = Fake::start(|_| item(samples::node("n1")));
    let ran = run(&fake, &format!("node rescue n1 --ssh-key {} --confirm n1", file.display()));
    assert!(ran.code == 0 && ran.err.contains("rackwright node show n1"), "{ran:?}");
    assert_eq!(fake.body("POST /v1/nodes/n1/rescue"), json!({"keys": KEY, "confirm": "n1"}));
    let ran = run(&fake, &format!("node rescue n1 --ssh-key {}", folder.path().join("none").display()));
    assert!(ran.code == 3 && ran.err.contains("cannot read"), "{ran:?}");

    let refuses_once = || {
        let asked = AtomicUsize::new(0);
        Fake::start(move |_| {
            let error = "this restarts n1: confirm it with its name (--confirm=n1)";
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                problem(409, error, 5)
            } else {
                item(samples::node("n1"))
            }
        })
    };
    let ran = run(&refuses_once(), "node rescue n1");
    assert!(ran.code == 5 && ran.err.contains("--confirm=n1"), "a script gives it: {ran:?}");
    let fake = refuses_once();
    let ran = run_asked(&fake, "node rescue n1", "n1\n");
    assert!(ran.code == 0 && ran.err.contains("this restarts n1. Type the node's name"), "{ran:?}");
    assert_eq!(fake.body("POST /v1/nodes/n1/rescue"), json!({"confirm": "n1"}), "as it was typed");
}

#[test]
fn what_ends_a_rescue_takes_no_keys() {
    for words in ["node rescue n1 --end --ssh-key x", "node rescue n1 --end --confirm n1", "node service n1"]
    {
        let words = ["rackwright"].into_iter().chain(words.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err());
    }
}

#[test]
fn how_to_get_in_is_shown_and_what_ends_it() {
    let view = in_rescue(json!("2026-11-20T14:30:02.000Z"), json!("SHA256:x"));
    let page = node::render_node(&read(view.clone()), &PIPE, NOW);
    for want in
        ["n1 is rescue", "ssh root@10.77.0.10", "SHA256:x", "ssh-ed25519 alice@lab", "Enter opens a shell"]
    {
        assert!(page.contains(want), "{want} in\n{page}");
    }
    assert!(page.trim_end().ends_with("rackwright node rescue n1 --end"), "{page}");
    let page = node::render_node(&read(in_rescue(Value::Null, Value::Null)), &PIPE, NOW);
    assert!(page.contains("on its way into the ramdisk") && !page.contains("login "), "{page}");
    let row = but(samples::node("n1"), json!({"state": "rescue", "health": "", "waiting": view["waiting"]}));
    let told = json!({"node": row, "waiting": view["waiting"], "until": null, "facts": []});
    let page = why::render_why(&read(told), &PIPE, NOW);
    assert!(page.contains("mend it: ssh root@10.77.0.10") && page.contains("it may wait for ever"), "{page}");
}

#[test]
fn why_somebody_works_at_a_node_stands_in_the_list() {
    let waiting = "you: it is in service: a new DIMM (rackwright node service n1 off)";
    let row = json!({"state": "servicing", "health": "", "service": "a new DIMM", "waiting": waiting});
    let page = node::render_nodes(&[read(but(samples::node("n1"), row))], &PIPE, NOW);
    assert!(page.contains("servicing") && page.contains("it is in service: a new DIMM"), "{page}");
}
