//! Many nodes rebuilt a few at a time, by the program that ships and the real daemon, over a restart of it.

use fleet::Event;
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::journey::{self, control_image, enrolled, state, verified};
use crate::operator::{self, rackwright};

/// So many active nodes.
async fn active(controller: &Controller, count: u8) {
    control_image(controller).await;
    let mut agents = Vec::new();
    for number in 1..=count {
        let (mut agent, job) = journey::imaging(controller, number).await;
        verified(&agent, &job).await;
        enrolled(controller, &mut agent).await;
        agents.push(agent);
    }
    // Each knows of the others only when all are there.
    for agent in agents {
        let report = journey::all_up(&state(&agent).await);
        let _: Value = agent.ask(protocol::routes::REPORT, &report).await.unwrap();
    }
}

async fn states(controller: &Controller, rollout: &str) -> Vec<(String, String)> {
    let row = operator::get(controller, &format!("/v1/rollouts/{rollout}")).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    row["steps"].as_array().unwrap().iter().map(|step| (text(&step["node"]), text(&step["state"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(node, state)| ((*node).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_confirmed_by_count_goes_on_after_a_restart_and_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    active(&controller, 3).await;
    let nobody = rackwright(&controller, "rebuild --role control").await;
    assert!(nobody.code == Some(5) && nobody.err.contains("--plan-only"), "{nobody:?}");
    let plans = operator::get(&controller, "/v1/plans?state=open").await.unwrap();
    assert_eq!(plans, json!([]), "nothing was planned for nothing");
    let made = rackwright(&controller, "rebuild --role control --canary n2 --plan-only").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.out.contains("rebuild 3 control (open)") && made.out.contains("WILL BE ERASED"),
        "{}",
        made.out
    );
    let id = made.out.split_whitespace().nth(1).unwrap().trim_end_matches(':').to_owned();
    let begin = format!("/v1/rollouts/{id}/begin");
    for wrong in [json!({}), json!({"confirm": "control"}), json!({"confirm": "2 control"})] {
        let refused = operator::post(&controller, &begin, wrong).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 5), "{refused:?}");
        assert!(refused.error.contains("--confirm=\"3 control\""), "{refused:?}");
    }
    let refused = rackwright(&controller, &format!("rollout begin {id}")).await;
    assert!(refused.code == Some(5) && refused.err.contains("--confirm '3 control'"), "{refused:?}");
    controller.core.bring(Event::Tick).await.unwrap();
    let waits = pairs(&[("n2", "waiting"), ("n1", "waiting"), ("n3", "waiting")]);
    assert_eq!(states(&controller, &id).await, waits);
    operator::post(&controller, &begin, json!({"confirm": "3 control"})).await.unwrap();
    controller.stop().await;

    let controller = Controller::start(folder.path()).await;
    for _ in 0..3 {
        controller.core.bring(Event::Tick).await.unwrap();
    }
    let begun = pairs(&[("n2", "underway"), ("n1", "waiting"), ("n3", "waiting")]);
    assert_eq!(states(&controller, &id).await, begun);
    let node = operator::get(&controller, "/v1/nodes/n2").await.unwrap();
    assert_eq!(node["state"], "draining");
    let shown = rackwright(&controller, &format!("rollout show {id}")).await;
    assert!(shown.out.contains("Waiting for n2 to be active again"), "{}", shown.out);
    let late = rackwright(&controller, &format!("rollout watch {id} --timeout 1s")).await;
    assert!(late.code == Some(7) && late.err.contains("n2  underway: canary, job "), "{late:?}");
    let twice = rackwright(&controller, "rebuild n1 --plan-only").await;
    assert!(twice.code == Some(4) && twice.err.contains(&format!("rollout cancel {id}")), "{twice:?}");
    let cancelled = rackwright(&controller, &format!("rollout cancel {id}")).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let over = pairs(&[("n2", "underway"), ("n1", "dropped"), ("n3", "dropped")]);
    assert_eq!(states(&controller, &id).await, over);
    assert_eq!(operator::get(&controller, "/v1/plans?state=open").await.unwrap(), json!([]));
    let ended = rackwright(&controller, &format!("rollout watch {id}")).await;
    assert!(ended.code == Some(4) && ended.err.contains("an operator has cancelled it"), "{ended:?}");
    // Who began it, and what became of it, in the order in which it happened.
    let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let kinds = journal.as_array().unwrap().iter().filter(|row| row["kind"] == "rollout");
    let becomes = kinds.map(|row| row["body"]["becomes"]["state"].as_str().unwrap().to_owned());
    assert_eq!(becomes.collect::<Vec<_>>(), ["open", "running", "withdrawn"]);
    controller.stop().await;
}
