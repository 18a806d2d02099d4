//! Whatever a server calls itself, its disks and its units: the terminal obeys none of it, and no line is forged.

use serde_json::{Value, json};

use super::samples;
use super::{passwords, run, upgrading};
use crate::fake::{Fake, Reply, item, list, problem};
use crate::hostile::HOSTILE;
use crate::text::is_hostile;

/// Fields whose type refuses anything else, and the words that the flow goes by.
const TYPED: &[&str] = &[
    "mac",
    "address",
    "code",
    "bus",
    "content",
    "result",
    "time",
    "state",
    "nodeState",
    "kind",
    "part",
    "unit",
    "verdict",
];

/// The value with the text at the end of every free string.
fn poisoned(value: Value, hostile: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text + hostile),
        Value::Array(items) => items.into_iter().map(|item| poisoned(item, hostile)).collect(),
        Value::Object(map) => {
            let pairs = map.into_iter().map(|(key, item)| {
                match TYPED.contains(&key.as_str()) || key == "addresses" {
                    true => (key, item),
                    false => (key.clone(), poisoned(item, hostile)),
                }
            });
            Value::Object(pairs.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn answer(line: &str, hostile: &str) -> Reply {
    let one = |value: Value| item(poisoned(value, hostile));
    let many = |value: Value| list(&[poisoned(value.clone(), hostile), poisoned(value, hostile)]);
    let done = samples::but(samples::job(), json!({"state": "done", "nodeState": "active"}));
    match line.split('?').next().unwrap_or_default() {
        "GET /v1/status" => one(samples::status()),
        "GET /v1/nodes" => many(samples::node("n1")),
        "GET /v1/nodes/n1" => one(samples::node_view("n1")),
        "GET /v1/nodes/n1/tests" => many(samples::test()),
        "GET /v1/nodes/n1/why" => one(samples::but(samples::why(), json!({"boot": samples::boot()}))),
        "GET /v1/network/trace/18:66:da:10:20:30" => one(samples::boot()),
        "GET /v1/nodes/18:66:da:10:20:30/why" => problem(404, &format!("no such node{hostile}"), 3),
        "GET /v1/doctor" => one(samples::doctor()),
        "POST /v1/nodes/n1/plan" | "GET /v1/plans/p" => one(samples::plan()),
        "GET /v1/plans" => many(samples::plan()),
        "GET /v1/jobs" => many(samples::job()),
        "GET /v1/jobs/j" => one(done),
        "GET /v1/nodes/n2" => one(samples::but(samples::node_view("n2"), json!({"state": "ready"}))),
        "POST /v1/nodes/n2/capture" | "POST /v1/jobs/j/cancel" => one(samples::captured()),
        path if path.starts_with("GET /v1/jobs/5f3a2b1c9d8e7f60") => one(samples::captured()),
        "GET /v1/images" => many(samples::image()),
        "GET /v1/images/i" => one(samples::image_view()),
        "GET /v1/images/i/diff/j" => one(samples::diff()),
        "POST /v1/store/scrub" | "GET /v1/store/scrub" => one(samples::scrub(&[7])),
        "POST /v1/store/prune" => one(samples::prune(false)),
        "GET /v1/network/leases" => many(samples::lease("10.77.0.10")),
        "POST /v1/network/leases/10.77.0.10/release" => one(
            json!({"address": "10.77.0.10", "mac": "52:54:00:12:34:56", "freeFrom": "2026-11-20T15:28:02.000Z"}),
        ),
        "GET /v1/nodes/n1/power" | "POST /v1/nodes/n1/power-look" | "POST /v1/nodes/n1/power" => {
            one(samples::power())
        }
        "GET /v1/services" => many(samples::service()),
        "GET /v1/services/n1/a.service/logs" => one(json!({"lines": ["a", "b"]})),
        "GET /v1/cloud/upgrade" => one(upgrading::view()),
        "GET /v1/cloud/passwords" => one(passwords::rotating()),
        "GET /v1/networks" | "POST /v1/networks/check" => many(samples::network("eno2")),
        "POST /v1/network/check" | "GET /v1/network/check" | "POST /v1/network/check/stop" => {
            one(samples::check("done"))
        }
        "GET /v1/network/map" => many(samples::map_row()),
        "GET /v1/network/reservations" => many(samples::reservation()),
        "GET /v1/events" => many(samples::event(1)),
        "GET /v1/ansible/inventory" => {
            Reply::Http(200, poisoned(json!({"all": {"hosts": ["n1"]}}), hostile).to_string())
        }
        _ => problem(409, &format!("refused{hostile}"), 4),
    }
}

const COMMANDS: &[&str] = &[
    "status",
    "node list",
    "node show n1",
    "node test show n1",
    "node test stop n1",
    "node why n1",
    "node why 18:66:da:10:20:30",
    "doctor",
    "node plan n1",
    "node approve n1",
    "node rebuild n1 --confirm n1",
    "plan list",
    "plan show p",
    "apply p",
    "job list",
    "job show j",
    "job watch j",
    "job watch --timeout 1ms",
    "job watch j j2 --timeout 1ms",
    "image capture n2 --name lab-2 --generalize",
    "job cancel j",
    "image list",
    "image show i",
    "image diff i j",
    "image scrub i",
    "image scrub --all --no-wait",
    "image prune --dry-run",
    "image prune",
    "image delete i",
    "network leases",
    "network release 10.77.0.10",
    "service list",
    "service logs n1 a.service",
    "event list",
    "network reservations",
    "network list",
    "network check eno2",
    "network check",
    "network show",
    "network stop",
    "network map",
    "ansible inventory",
    "node retry n1",
    "node power status n1",
    "node power on n1",
    "node bmc show n1",
    "cloud passwords show",
    "cloud upgrade --plan",
];

#[test]
fn no_command_prints_what_a_terminal_obeys() {
    for words in COMMANDS {
        let clean = Fake::start(|line| answer(line, ""));
        for format in ["table", "json"] {
            let words = format!("{words} -o {format}");
            let lines = run(&clean, &words).out.lines().count();
            let fake = Fake::start(|line| answer(line, &HOSTILE.concat()));
            let ran = run(&fake, &words);
            let bad = |text: &str| text.chars().any(|c| c != '\n' && is_hostile(c));
            assert!(!bad(&ran.out) && !bad(&ran.err), "{words} printed {ran:?}");
            assert_eq!(ran.out.lines().count(), lines, "{words} has a forged line: {}", ran.out);
        }
    }
}

#[test]
fn json_is_the_daemons_own_answer() {
    for hostile in HOSTILE {
        let fake = Fake::start(|line| answer(line, hostile));
        let ran = run(&fake, "node show n1 -o json");
        let got = serde_json::from_str::<Value>(&ran.out).unwrap();
        assert_eq!(got["item"], poisoned(samples::node_view("n1"), hostile), "nothing is lost for a program");
        assert_eq!(got["apiVersion"], "rackwright/v1");
    }
}
