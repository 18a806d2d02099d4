//! Requests that nobody would think of: the rows of the matrix, bent at random, by the certificates of four nodes.

use std::collections::BTreeSet;

use appliance::agents::Route;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use super::asks::{Ask, own, trespasses};
use super::others::{difference, others};
use super::principals::{Principal, principals};
use super::victims::{SECOND_NIC, Victims};
use crate::agent::Line;
use crate::controller::Controller;

/// How many there are; another number with `RACKWRIGHT_GENERATED`, other ones with `RACKWRIGHT_SEED`.
const USUALLY: u64 = 10_000;
/// After so many everything that is another's is compared.
const COMPARED: u64 = 100;
const ASKERS: [&str; 4] =
    ["deploy, imaging", "deploy, capturing", "run, active", "run, draining for a rebuild"];

/// xorshift64*: the same requests for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len());
        &from[at]
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_of_a_node_neither_change_nor_tell_what_is_anothers() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start(folder.path()).await;
    let foreign = Controller::start(elsewhere.path()).await;
    let victims = Victims::settle(&controller).await;
    let principals = principals(&controller, &foreign).await;
    let (count, seed) = (number("RACKWRIGHT_GENERATED", USUALLY), number("RACKWRIGHT_SEED", 0x5eed));
    let mut dice = Dice(seed | 1);
    let (mut statuses, mut sent) = (std::collections::BTreeMap::<u16, u64>::new(), 0);
    for asker in principals.iter().filter(|principal| ASKERS.contains(&principal.name)) {
        let templates = templates(asker, &controller, &victims);
        let words = words(asker, &victims);
        let before = others(folder.path(), &asker.asker());
        let mut line = asker.agent.line().await.unwrap();
        let mut last = Vec::new();
        for turn in 1..=count / 4 {
            let ask = bent(dice.pick(&templates).clone(), &words, &mut dice);
            let (status, text) = exchange(&mut line, asker, &ask).await;
            *statuses.entry(status).or_default() += 1;
            let said = format!("{}{}", ask.path, String::from_utf8_lossy(&ask.body));
            let told = victims.secrets.iter().find(|&secret| text.contains(secret) && !said.contains(secret));
            assert_eq!(told, None, "seed {seed}: {} was told it: {said} -> {text}", asker.name);
            last.push(said.chars().take(400).collect::<String>());
            if turn % COMPARED == 0 || turn == count / 4 {
                let changed = difference(&before, &others(folder.path(), &asker.asker()));
                let suspects = last.join("\n");
                assert_eq!(changed, [""; 0], "seed {seed}: {}, one of {suspects}", asker.name);
                last.clear();
            }
            sent += 1;
        }
    }
    victims.are_what_they_were(&controller).await;
    println!("{sent} requests, by status: {statuses:?}");
    let kinds = statuses.keys().copied().collect::<BTreeSet<_>>();
    assert!(kinds.contains(&200) && kinds.contains(&400) && kinds.contains(&403), "{statuses:?}");
    assert!(kinds.iter().all(|status| *status < 500), "{statuses:?}");
    controller.stop().await;
    foreign.stop().await;
}

fn templates(asker: &Principal, controller: &Controller, victims: &Victims) -> Vec<Ask> {
    // A hello is nobody's: what it may change is in the matrix.
    let routes = Route::ALL.into_iter().filter(|route| *route != Route::Hello);
    let all = routes.flat_map(|route| {
        let theirs = trespasses(route, asker, controller, victims).into_iter().map(|(_, ask)| ask);
        [own(route, asker, controller)].into_iter().chain(theirs).collect::<Vec<_>>()
    });
    all.collect()
}

/// What fields are given: names of others' things, and what is at the edge of every type.
fn words(asker: &Principal, victims: &Victims) -> Vec<Value> {
    let (writes, job) = &victims.writes;
    let (_, capture) = &victims.captured;
    let mut words = vec![
        json!(job.job),
        json!(job.image),
        json!(job.target.disk),
        json!(capture.job),
        json!(victims.runs_node),
        json!(victims.ramdisk_key),
        json!(writes.keys.public()),
        json!(victims.runs.boot.mac),
        json!(SECOND_NIC),
        json!(asker.job()),
        json!(asker.node),
        json!(asker.agent.keys.public()),
    ];
    words.extend([
        json!(0),
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(0.5),
        json!(null),
        json!(true),
        json!(""),
    ]);
    words.extend([
        json!([]),
        json!({}),
        json!("x".repeat(600)),
        json!("\u{202e}\r\n\u{1b}[2J"),
        json!("../.."),
    ]);
    words
}

/// The request with some of it replaced, added, or cut off.
fn bent(mut ask: Ask, words: &[Value], dice: &mut Dice) -> Ask {
    let Ok(mut body) = serde_json::from_slice::<Value>(&ask.body) else {
        if !ask.body.is_empty() && dice.below(2) == 0 {
            ask.body.truncate(dice.below(4096));
        }
        return ask;
    };
    for _ in 0..dice.below(4) {
        bend(&mut body, words, dice);
    }
    ask.body = serde_json::to_vec(&body).unwrap();
    if dice.below(50) == 0 {
        ask.body.truncate(dice.below(ask.body.len()));
    }
    ask
}

fn bend(value: &mut Value, words: &[Value], dice: &mut Dice) {
    match value {
        Value::Object(map) if !map.is_empty() && dice.below(10) > 0 => {
            let keys = map.keys().cloned().collect::<Vec<_>>();
            if dice.below(12) == 0 {
                let extra = *dice.pick(&["node", "generation", "job", "epoch", "stage", "name"]);
                map.insert(extra.to_owned(), dice.pick(words).clone());
            } else if let Some(inner) = map.get_mut(dice.pick(&keys)) {
                bend(inner, words, dice);
            }
        }
        Value::Array(items) if !items.is_empty() && dice.below(10) > 0 => {
            let at = dice.below(items.len());
            bend(&mut items[at], words, dice);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = dice.pick(words).clone(),
    }
}

async fn exchange(line: &mut Line, asker: &Principal, ask: &Ask) -> (u16, String) {
    let request = || {
        let request = if ask.post { Request::post(&ask.path) } else { Request::get(&ask.path) };
        request.header("host", "controller").body(Full::from(Bytes::from(ask.body.clone()))).unwrap()
    };
    let (status, body) = match line.exchange(request()).await {
        Ok(answer) => answer,
        // A connection may be closed after a refusal; a new one is not.
        Err(_) => {
            *line = asker.agent.line().await.unwrap();
            line.exchange(request()).await.unwrap()
        }
    };
    (status, String::from_utf8_lossy(&body).into_owned())
}
