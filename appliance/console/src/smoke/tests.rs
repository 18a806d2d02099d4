//! Whole runs: words in, a daemon and a cloud that are not there, a table and an exit code out; and what is left.

mod fake_cloud;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, item, problem};
use crate::tests::{Ran, run};
use fake_cloud::{FakeCloud, Instead, SMALL, WHOLE};

/// A daemon that knows the way into this cloud.
fn daemon(cloud: &FakeCloud) -> Fake {
    let access = json!({"authUrl": format!("http://127.0.0.1:{}/v3", cloud.port), "region": "RegionOne",
        "username": "admin", "project": "admin", "domain": "Default", "password": "00ff"});
    Fake::start(move |line| match line {
        "POST /v1/cloud/access" => item(access.clone()),
        line if line.starts_with("GET /v1/cloud/guest?part=") => Reply::Http(200, "a part".to_owned()),
        _ => problem(404, "no", 3),
    })
}

fn smoke(cloud: &FakeCloud, options: &str) -> Ran {
    run(&daemon(cloud), &format!("cloud smoke {options}"))
}

fn no_trouble(_: &str) -> Option<Instead> {
    None
}

fn instead(status: u16, body: impl ToString) -> Option<Instead> {
    Some((status, body.to_string().into_bytes()))
}

/// (step, result) of a table.
fn results(ran: &Ran) -> Vec<(&str, &str)> {
    let lines = ran.out.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .map(|line| line.split_whitespace())
        .filter_map(|mut words| Some((words.next()?, words.next()?)))
        .collect()
}

fn result<'a>(ran: &'a Ran, step: &str) -> &'a str {
    results(ran).iter().find(|(name, _)| *name == step).map_or("none", |(_, result)| result)
}

#[test]
fn a_whole_cloud_is_proven_and_nothing_of_it_is_left() {
    let cloud = FakeCloud::start(WHOLE, no_trouble);
    let ran = smoke(&cloud, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    for (step, result) in results(&ran) {
        // A machine without the program ping can prove nothing by it.
        assert!(result == "ok" || (step == "ping" && result == "skipped"), "{step}: {ran:?}");
    }
    assert_eq!(results(&ran).len(), 18, "{ran:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);
    assert!(ran.out.contains("ACTIVE on n1") && ran.out.contains("from n2 to n1"), "{ran:?}");
    assert!(ran.err.lines().any(|line| line == "address: ok, 192.168.233.9/24 via 192.168.233.1"), "{ran:?}");
    assert!(!ran.out.contains("00ff") && !ran.err.contains("00ff"), "the password is for nobody's eyes");
}

#[test]
fn what_a_cloud_does_not_have_is_skipped_and_says_so() {
    let cloud = FakeCloud::start(SMALL, no_trouble);
    let ran = smoke(&cloud, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    for step in ["tunnel", "floating-address", "ping", "volume", "objects"] {
        assert_eq!(result(&ran, step), "skipped", "{ran:?}");
    }
    assert!(ran.out.contains("the cloud has no external network") && ran.out.contains("one compute service"));
    assert_eq!(cloud.left(), [] as [&str; 0]);

    let cloud = FakeCloud::start(WHOLE, no_trouble);
    let ran = smoke(&cloud, "--node n2 -o json");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["apiVersion"]), (0, &json!("rackwright/v1")), "{ran:?}");
    let steps = report["item"]["steps"].as_array().unwrap();
    let what = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap()["what"].as_str().unwrap();
    assert_eq!(what("instance"), "ACTIVE on n2");
    assert!(what("tunnel").contains("--node"), "{ran:?}");
    assert_eq!(smoke(&cloud, "--node n9").code, 9);
    let ran = smoke(&cloud, "--external other");
    assert!(ran.code == 9 && ran.out.contains("there is outside"), "{ran:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);
}

#[test]
fn a_volume_that_nobody_could_be_given_is_made_all_the_same() {
    let cloud = FakeCloud::start(WHOLE, no_trouble);
    let ran = smoke(&cloud, "--no-attach");
    assert_eq!((ran.code, result(&ran, "volume")), (0, "ok"), "{ran:?}");
    assert!(ran.out.contains("given to no instance: --no-attach"), "{ran:?}");
    let asked = cloud.asked();
    assert!(asked.iter().any(|line| line == "POST /volumes/volumes"));
    assert!(!asked.iter().any(|line| line.contains("os-volume_attachments")), "{asked:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);
}

#[test]
fn a_step_that_fails_in_the_middle_leaves_nothing_either() {
    for (line, step) in [
        ("POST /network/v2.0/security-groups", "security-group"),
        ("POST /compute/servers", "instance"),
        ("PUT /image/v2/images/id-2/file", "image"),
        ("POST /volumes/volumes", "volume"),
        ("PUT /objects/rackwright-smoke/rackwright-smoke", "objects"),
    ] {
        let said = json!({"itemNotFound": {"message": "there is no room"}});
        let cloud = FakeCloud::start(WHOLE, move |asked| (asked == line).then(|| instead(409, &said))?);
        let ran = smoke(&cloud, "");
        assert_eq!((ran.code, result(&ran, step), result(&ran, "removed")), (9, "failed", "ok"), "{ran:?}");
        assert!(ran.out.contains("there is no room") && ran.out.contains("        next: "), "{ran:?}");
        assert_eq!(cloud.left(), [] as [&str; 0], "{line}");
    }
}

/// Swift's list of a container may be behind what is in it.
#[test]
fn a_container_whose_list_is_behind_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let cloud = FakeCloud::start(WHOLE, move |line| {
        let behind = line == "DELETE /objects/rackwright-smoke" && asked.fetch_add(1, Ordering::SeqCst) < 2;
        behind.then(|| (409, b"There was a conflict when trying to complete your request.".to_vec()))
    });
    let ran = smoke(&cloud, "");
    assert_eq!((ran.code, result(&ran, "objects"), result(&ran, "removed")), (0, "ok", "ok"), "{ran:?}");
    assert!(ran.err.contains("the container's list still has the object"), "{ran:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);
    let deletions = cloud.asked().into_iter().filter(|line| line == "DELETE /objects/rackwright-smoke");
    assert_eq!(deletions.count(), 3);
    let cloud = FakeCloud::start(WHOLE, |line| {
        (line == "DELETE /objects/rackwright-smoke").then(|| (403, Vec::new()))
    });
    let ran = smoke(&cloud, "");
    assert_eq!((ran.code, result(&ran, "objects")), (9, "failed"), "another refusal is one: {ran:?}");
    assert!(ran.out.contains("service logs NODE swift-proxy.service"), "{ran:?}");
}

#[test]
fn an_object_that_comes_back_otherwise_is_a_failure() {
    let cloud = FakeCloud::start(WHOLE, |line| {
        (line == "GET /objects/rackwright-smoke/rackwright-smoke").then(|| (200, vec![7; 1000]))
    });
    let ran = smoke(&cloud, "");
    assert_eq!((ran.code, result(&ran, "objects"), result(&ran, "removed")), (9, "failed", "ok"), "{ran:?}");
    assert!(ran.out.contains("262144 bytes were put, and 1000 others came back"), "{ran:?}");
    assert_eq!(cloud.left(), [] as [&str; 0]);
}

#[test]
fn an_instance_that_breaks_says_why() {
    let cloud = FakeCloud::start(SMALL, |asked| {
        let broken = json!({"server": {"status": "ERROR", "fault": {"message": "No valid host was found."}}});
        asked.starts_with("GET /compute/servers/").then(|| instead(200, broken))?
    });
    let ran = smoke(&cloud, "");
    assert!(ran.code == 9 && ran.out.contains("went to ERROR: No valid host was found."), "{ran:?}");
    assert_eq!(result(&ran, "metadata"), "skipped");
    assert_eq!(cloud.left(), [] as [&str; 0]);
}

#[test]
fn a_guest_without_metadata_is_a_failure_and_a_silent_one_too() {
    for (said, step, why) in [
        (
            "rackwright-guest: address 192.168.233.9/24\nrackwright-guest: no metadata\n",
            "metadata",
            "169.254.169.254",
        ),
        ("rackwright-guest: no address\n", "address", "got none by DHCP"),
        ("rackwright-guest: address 10.9.9.9/24\n", "address", "neutron says 192.168.233.9"),
        ("Kernel panic\n", "address", "it ends with: Kernel panic"),
    ] {
        let cloud = FakeCloud::start(SMALL, move |asked| {
            asked.ends_with("/action").then(|| instead(200, json!({"output": said})))?
        });
        let ran = smoke(&cloud, "");
        assert_eq!((ran.code, result(&ran, step)), (9, "failed"), "{ran:?}");
        assert!(ran.out.contains(why), "{ran:?}");
        assert_eq!(cloud.left(), [] as [&str; 0]);
    }
}

/// What a run leaves that was killed, each in its place.
fn put_leftovers(cloud: &FakeCloud) {
    for (number, place) in
        ["compute/servers", "network/v2.0/networks", "volumes/volumes", "compute/flavors"].iter().enumerate()
    {
        cloud.put(
            &format!("/{place}"),
            json!({"id": format!("old-{number}"), "name": "rackwright-smoke-old"}),
        );
        cloud.put(&format!("/{place}"), json!({"id": format!("theirs-{number}"), "name": "theirs"}));
    }
    cloud.put("/network/v2.0/floatingips", json!({"id": "old-ip", "description": "rackwright-smoke"}));
    cloud.put("/compute/os-keypairs", json!({"keypair": {"name": "rackwright-smoke"}}));
}

#[test]
fn what_a_killed_run_left_goes_first_and_what_is_others_stays() {
    let cloud = FakeCloud::start(WHOLE, no_trouble);
    put_leftovers(&cloud);
    let ran = smoke(&cloud, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("1 floating address, 1 instance, 1 volume, 1 network, 1 key pair, 1 flavor"),
        "{ran:?}"
    );
    let asked = cloud.asked();
    let first = |line: &str| asked.iter().position(|asked| asked.starts_with(line)).unwrap();
    assert!(first("DELETE /compute/servers/old-0") < first("DELETE /network/v2.0/networks/old-1"));
    assert!(first("DELETE /compute/flavors/old-3") < first("POST /image/v2/images"));
    assert_eq!(cloud.left().len(), 4, "{:?}", cloud.left());
    assert!(cloud.left().iter().all(|left| left.ends_with(" theirs")), "{:?}", cloud.left());
}

#[test]
fn what_does_not_want_to_go_is_named_and_tried_again() {
    let tried = AtomicUsize::new(0);
    let cloud = FakeCloud::start(SMALL, move |asked| {
        let is_early =
            asked.starts_with("DELETE /network/v2.0/networks/") && tried.fetch_add(1, Ordering::SeqCst) < 3;
        is_early.then(|| instead(409, json!({"NeutronError": {"message": "in use"}})))?
    });
    let ran = smoke(&cloud, "");
    assert_eq!((ran.code, cloud.left()), (0, vec![]), "{ran:?}");

    let cloud = FakeCloud::start(SMALL, |asked| {
        asked.starts_with("DELETE /network/v2.0/networks/").then(|| instead(409, "it stays"))?
    });
    let ran = smoke(&cloud, "");
    assert_eq!((ran.code, result(&ran, "removed")), (9, "failed"), "{ran:?}");
    assert!(ran.out.contains("still there: network rackwright-smoke; DELETE"), "{ran:?}");
    assert_eq!(cloud.left(), ["/network/v2.0/networks rackwright-smoke"]);
}

#[test]
fn what_is_to_stay_stays_and_is_said() {
    let cloud = FakeCloud::start(SMALL, no_trouble);
    let ran = smoke(&cloud, "--keep");
    assert_eq!((ran.code, result(&ran, "removed")), (0, "skipped"), "{ran:?}");
    for thing in ["instance rackwright-smoke-1", "network rackwright-smoke", "key pair rackwright-smoke"] {
        assert!(ran.out.contains(&format!("\n  {thing}\n")), "{thing}: {ran:?}");
    }
    assert_eq!(cloud.left().len(), 9, "{:?}", cloud.left());
    assert_eq!(smoke(&cloud, "").code, 0);
    assert_eq!(cloud.left(), [] as [&str; 0]);
}
