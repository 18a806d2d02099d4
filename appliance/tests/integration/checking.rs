//! The network between nodes checked: by the program that ships, the real daemon, and agents in both stages that ask it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{
    Answered, Envelope, Heard, Link, LinkAddress, Neighbour, NetworkAsk, NetworkReply, NetworkStep, StateAsk,
    StateReply, StepDone, Streamed, routes,
};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{self, approved, control_image, enrolled, verified};
use crate::operator::{self, rackwright};

/// What has come to each, by who sent: how many packets, and the largest.
type Heap = Arc<Mutex<BTreeMap<(u16, u16), (u32, u16)>>>;

fn link(number: u8) -> Link {
    let neighbour = Neighbour {
        chassis: "02:00:00:00:00:0a".to_owned(),
        port: format!("ge-0/0/{number}"),
        port_description: format!("機櫃 {number}"),
        system: "sw-1".to_owned(),
        vlan: Some(100),
    };
    let address = Ipv4Addr::new(10, 77, 0, 100 + number);
    Link {
        name: "eth0".to_owned(),
        mac: crate::agent::mac(number),
        carrier: true,
        mtu: 1500,
        speed_mbps: Some(1000),
        addresses: vec![LinkAddress { address, prefix: 24 }],
        neighbours: vec![neighbour],
    }
}

/// Waits for news of what the node shall be, as an installed system does: until it is called to a check.
async fn is_called(agent: &Agent, checks: bool) -> bool {
    // What it shall be is not what this is about.
    let have = journey::state(agent).await.document.map_or(0, |document| document.generation);
    let ask = StateAsk { have, wait_seconds: if checks { 1 } else { 20 }, checks, ..StateAsk::default() };
    let reply: Envelope<StateReply> = agent.ask(routes::STATE, &ask).await.unwrap();
    reply.body.check
}

/// An agent that takes part for ever. Packets from or to the member `mute` are lost.
async fn takes_part(agent: Agent, number: u8, heap: Heap, mute: Option<u16>) {
    let mut done = None;
    loop {
        let ask = NetworkAsk { wait_seconds: 10, links: vec![link(number)], done: done.take() };
        let reply = agent.ask::<_, Envelope<NetworkReply>>(routes::NETWORK, &ask).await;
        match reply.map(|envelope| envelope.body.step) {
            Ok(Some(step)) => done = Some(carried_out(&step, &heap, mute)),
            Ok(None) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn carried_out(step: &NetworkStep, heap: &Heap, mute: Option<u16>) -> StepDone {
    let is_lost = |from: u16, to: u16| mute.is_some_and(|mute| from == mute || to == mute);
    let mut heap = heap.lock().unwrap();
    let mut answered = Vec::new();
    for aim in step.targets.iter().filter(|aim| !is_lost(step.me, aim.to)) {
        let largest = aim.sizes.iter().copied().max().unwrap();
        heap.insert((step.me, aim.to), (3, largest));
        answered.push(Answered { to: aim.to, network: aim.network, packets: 3, largest, rtt_us: 200 });
    }
    let own = heap.iter().filter(|((_, to), _)| *to == step.me);
    let heard = own.map(|((from, _), (packets, largest))| Heard {
        from: *from,
        network: 0,
        packets: *packets,
        largest: *largest,
    });
    let stream = step.hear.filter(|heed| !is_lost(heed.from, step.me));
    let stream = stream.map(|heed| Streamed {
        from: heed.from,
        network: heed.network,
        bytes: 117_500_000,
        micros: 1_000_000,
    });
    StepDone {
        check: step.check,
        number: step.number,
        answered,
        heard: heard.collect(),
        stream,
        ..StepDone::default()
    }
}

/// Two that run, and one in the ramdisk.
async fn rack(controller: &Controller) -> Vec<Agent> {
    control_image(controller).await;
    let mut agents = Vec::new();
    for number in 1..=2 {
        let (mut agent, job) = journey::imaging(controller, number).await;
        verified(&agent, &job).await;
        enrolled(controller, &mut agent).await;
        agents.push(agent);
    }
    agents.push(approved(controller, 3, "control").await);
    let ready = &agents[2];
    let _: Envelope<protocol::Task> = ready.ask(routes::TASK, &ready.task_ask()).await.unwrap();
    agents
}

async fn checked(controller: &Controller) -> Value {
    operator::get(controller, "/v1/network/check").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_who_is_cut_off_is_kept_and_draws_the_map() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let before = rackwright(&controller, "network show").await;
    assert!(before.code == Some(3) && before.err.contains("rackwright network check"), "{before:?}");
    let nothing = rackwright(&controller, "network stop").await;
    assert!(nothing.code == Some(4) && nothing.err.contains("no check"), "{nothing:?}");
    let heap = Heap::default();
    let mut parts = Vec::new();
    for (number, agent) in (1_u8..).zip(rack(&controller).await) {
        parts.push(tokio::spawn(takes_part(agent, number, Arc::clone(&heap), Some(2))));
    }
    let ran = rackwright(&controller, "network check --timeout 60s").await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert!(ran.err.contains("of 3 nodes has begun"), "{ran:?}");
    let text = "n3 reaches nobody on 10.77.0.0/24, and nobody reaches it";
    assert!(ran.out.contains(text) && ran.out.contains("next: look at its cable"), "{ran:?}");
    let row = checked(&controller).await;
    assert_eq!((&row["state"], &row["healthy"]), (&json!("done"), &json!(false)));
    assert_eq!(row["findings"].as_array().unwrap().len(), 1, "{row}");
    assert_eq!(row["findings"][0]["code"], "unreachable");
    assert_eq!(row["networks"][0]["medianBitsPerSecond"], 940_000_000);
    let map = rackwright(&controller, "network map").await;
    assert!(
        map.code == Some(0) && map.out.contains("sw-1") && map.out.contains("ge-0/0/2 (機櫃 2)"),
        "{map:?}"
    );
    let rows = operator::get(&controller, "/v1/network/map").await.unwrap();
    assert_eq!(
        (&rows[0]["node"], &rows[0]["port"], &rows[0]["vlan"]),
        (&json!("n1"), &json!("ge-0/0/1"), &json!(100))
    );
    parts.iter().for_each(tokio::task::JoinHandle::abort);
    let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let kinds = journal.as_array().unwrap().iter().filter(|row| row["kind"] == "network-check");
    let becomes = kinds.map(|row| row["body"]["becomes"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(becomes, ["running", "done"]);
    controller.stop().await;

    let controller = Controller::start(folder.path()).await;
    let kept = rackwright(&controller, "network show").await;
    assert!(kept.code == Some(9) && kept.out.contains(text), "{kept:?}");
    let map = rackwright(&controller, "network map").await;
    assert!(map.out.contains("ge-0/0/3"), "as the last check had it: {map:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_goes_on_after_a_restart_and_one_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let mut agents = rack(&controller).await;
    let waits = is_called(&agents[0], false);
    let begins = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        rackwright(&controller, "network check --no-throughput --no-wait").await
    };
    let (called, begun) = tokio::join!(waits, begins);
    assert!(called, "an installed system is called over the connection that it has");
    assert!(!is_called(&agents[0], true).await, "one that has come is not called again");
    assert!(begun.code == Some(0) && begun.out.starts_with("c-"), "{begun:?}");
    let twice = rackwright(&controller, "network check").await;
    assert!(twice.code == Some(4) && twice.err.contains("rackwright network stop"), "{twice:?}");
    let named = rackwright(&controller, "network check --nodes n9").await;
    assert_eq!(named.code, Some(3), "{named:?}");
    // Nobody asks: it waits for them, and says so.
    assert_eq!(checked(&controller).await["stage"], "gathering");
    controller.stop().await;

    let controller = Controller::start(folder.path()).await;
    assert_eq!(checked(&controller).await["state"], "running");
    let heap = Heap::default();
    let mut parts = Vec::new();
    for (number, mut agent) in (1_u8..).zip(agents.drain(..)) {
        agent.finds(&controller);
        parts.push(tokio::spawn(takes_part(agent, number, Arc::clone(&heap), None)));
    }
    let until = async {
        while checked(&controller).await["state"] == "running" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until).await.expect("it does not end");
    let shown = rackwright(&controller, "network show").await;
    assert!(shown.code == Some(0) && shown.out.contains("Everything that was tried"), "{shown:?}");
    let stops = rackwright(&controller, "network check --nodes n1,n2 --transfer-seconds 10 --no-wait").await;
    assert_eq!(stops.code, Some(0), "{stops:?}");
    let stopped = rackwright(&controller, "network stop").await;
    assert!(stopped.code == Some(0) && stopped.out.contains("stopped"), "{stopped:?}");
    parts.iter().for_each(tokio::task::JoinHandle::abort);
    controller.stop().await;
}
