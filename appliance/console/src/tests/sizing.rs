//! `rackwright plan size`: counted without a daemon, beside the nodes of one, and as the operator's guide shows it.

use serde_json::{Value, json};

use super::goldens::assert_golden;
use super::run;
use crate::fake::{Fake, list};

const GUIDE: &str = include_str!("../../../docs/operator.md");
const COMMAND: &str = "plan size --vms 200 --server 16c32t,128G,2x960G,3x10G";

fn member(node: &str, state: &str, roles: &[&str]) -> Value {
    json!({
        "node": node, "state": state, "roles": roles, "virtualisation": node != "n3",
        "server": {"cores": 0, "threads": 32, "memoryBytes": 137_438_953_472_u64,
                   "disksBytes": [960_000_000_000_u64, 960_000_000_000_u64], "nicsMbps": [10_000, 0]}
    })
}

fn rack() -> Fake {
    Fake::start(|_| {
        list(&[
            member("n1", "active", &["control"]),
            member("n2", "active", &["compute"]),
            member("n3", "ready", &["compute"]),
            member("n4", "attention", &["compute"]),
            member("n5", "ready", &[]),
        ])
    })
}

#[test]
fn the_guide_shows_what_is_printed() {
    let nobody = Fake::start(|line| panic!("{line}"));
    let ran = run(&nobody, COMMAND);
    assert_eq!((ran.code, ran.err.as_str(), nobody.lines().len()), (0, "", 0));
    assert!(ran.out.lines().all(|line| crate::text::width(line) <= 80), "{}", ran.out);
    let shown =
        GUIDE.split_once(&format!("$ rackwright {COMMAND}\n")).expect("the command is in the guide").1;
    let shown = shown.split_once("```").unwrap().0;
    assert!(ran.out == shown, "got:\n{}\nin the guide:\n{shown}", ran.out);
}

#[test]
fn a_rack_is_compared_and_says_what_it_lacks() {
    let fake = rack();
    let ran = run(&fake, "plan size --vms 60 --mbit 10 --check");
    assert_eq!((ran.code, ran.err.as_str()), (9, ""));
    assert_eq!(fake.lines(), ["GET /v1/capacity"]);
    assert_golden(
        &ran.out,
        "
        60 instances, each with 2 vCPU, 4 GiB memory, 40 GiB disk, 10 Mb/s

        The rack that is there, as basic: something is missing
          control: n1
            memory  12 GiB of each, for its services and itself
          compute: n2, n3
            n2       21 by its disk
            n3       21 by its disk; it can't run virtual machines in hardware
            compute  42 of 60 instances; 21 with 1 failed
            MISSING: 2 more servers like n2, which carry 21 each
          ready, without a role: n5
          not counted: n4: it is attention
        ",
    );
    assert_eq!(run(&fake, "plan size --vms 20 --mbit 10 --check").code, 0);
}

#[test]
fn a_node_is_the_kind_of_server() {
    let fake = rack();
    let ran = run(&fake, "plan size --vms 60 --mbit 10 --from n2 -o json");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["apiVersion"], "rackwright/v1");
    let item = &answer["item"];
    assert_eq!((&item["instances"]["count"], &item["server"]["threads"]), (&json!(60), &json!(32)));
    assert_eq!((&item["terms"]["cpuPercent"], &item["check"]), (&json!(400), &Value::Null));
    let basic = &item["estimates"][0];
    assert_eq!(
        (&basic["topology"], &basic["limit"], &basic["carries"]),
        (&json!("basic"), &json!("disk"), &json!(21))
    );
    assert_eq!(basic["nodes"], json!({"control": 1, "network": 0, "compute": 4, "storage": 0, "servers": 5}));
    assert_eq!(item["estimates"].as_array().unwrap().len(), 6);
    let ran = run(&fake, "plan size --vms 60 --from n9");
    assert!(ran.code == 3 && ran.err.contains("node list"), "{ran:?}");
}

#[test]
fn a_shape_that_can_not_be_built_ends_with_9() {
    let nobody = Fake::start(|line| panic!("{line}"));
    for words in [
        "--vms 200 --server 16c32t,128G,960G,10G --topology full-2",
        "--vms 200 --ram 200G --server 16c32t,128G,960G,10G",
    ] {
        let ran = run(&nobody, &format!("plan size {words}"));
        assert!(ran.code == 9 && ran.out.contains("is no way: "), "{ran:?}");
    }
}
