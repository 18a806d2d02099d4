//! After the rebuild of a compute node: an instance on it, where somebody stays to see it.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::run;
use super::samples::{self, but};
use crate::fake::{Fake, Reply, item, list, problem};

fn job(changes: Value) -> Reply {
    item(but(samples::job(), changes))
}

/// A node that runs instances shows that it does so again, where somebody stays to see it.
#[test]
fn a_compute_node_that_was_rebuilt_is_proven() {
    let service = |name: &str, state: &str| json!({"node": "n1", "service": name, "summary": "", "state": state, "since": null, "why": null, "units": []});
    let rebuilds = move |kind: &'static str, name: &'static str, late: usize| {
        let looks = AtomicUsize::new(0);
        Fake::start(move |line| match line {
            "POST /v1/nodes/n1/plan" => item(but(samples::plan(), json!({ "kind": kind }))),
            "POST /v1/plans/p-8f31/apply" => job(json!({})),
            "GET /v1/cloud" => {
                let state = if looks.fetch_add(1, Ordering::SeqCst) < late { "coming" } else { "well" };
                list(&[service("openvswitch", "well"), service(name, state)])
            }
            "GET /v1/cloud/guest?part=kernel" => problem(409, "there is no guest here", 4),
            _ => job(json!({"state": "done", "nodeState": "active"})),
        })
    };
    let (words, begins) = ("node rebuild n1 --confirm n1", "GET /v1/cloud/guest?part=kernel".to_owned());
    let fake = rebuilds("rebuild", "nova-compute", 1);
    let ran = run(&fake, words);
    assert_eq!(ran.code, 4, "a proof that can't be is no success: {ran:?}");
    assert!(fake.lines().contains(&begins), "{:?}", fake.lines());
    for said in ["n1 is active", "n1 waits for nova-compute: coming", "an instance proves n1", "no guest"] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }

    let fake = rebuilds("rebuild", "nova-compute", usize::MAX);
    let ran = run(&fake, &format!("{words} --timeout 1s"));
    assert!(ran.code == 7 && ran.err.contains("rackwright cloud smoke --node n1"), "{ran:?}");
    assert!(!fake.lines().contains(&begins), "{:?}", fake.lines());
    for (kind, service, more) in [
        ("install", "nova-compute", ""),
        ("rebuild", "cinder-volume", ""),
        ("rebuild", "nova-compute", " --no-proof"),
        ("rebuild", "nova-compute", " --no-wait"),
        ("rebuild", "nova-compute", " -o json"),
    ] {
        let fake = rebuilds(kind, service, 1);
        let ran = run(&fake, &format!("{words}{more}"));
        assert_eq!(ran.code, 0, "{kind} {service}{more}: {ran:?}");
        assert!(!fake.lines().contains(&begins), "{kind} {service}{more}: {:?}", fake.lines());
    }
}
