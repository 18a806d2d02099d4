//! A node on which virtual machines run, by the program that ships and the real daemon.

use protocol::{Domain, Facts, Hypervisor, OrderKind, Report, routes};
use serde_json::Value;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{all_up, control_image, enrolled, imaging, state, verified};
use crate::operator::{self, rackwright};

async fn says_what_runs(agent: &Agent, names: &[&str]) {
    let domain = |name: &&str| {
        let (name, uuid) = ((*name).to_owned(), String::new());
        Domain { name, uuid, vcpus: 1, memory_bytes: 1 << 30 }
    };
    let domains = names.iter().map(domain).collect();
    let facts =
        Facts { hypervisor: Some(Hypervisor { domains, ..Hypervisor::default() }), ..Facts::default() };
    let report = Report { facts, ..all_up(&state(agent).await) };
    let _: Value = agent.ask(routes::REPORT, &report).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_it_down_but_force() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, job) = imaging(&controller, 1).await;
    verified(&agent, &job).await;
    enrolled(&controller, &mut agent).await;
    says_what_runs(&agent, &["web"]).await;

    let planned = rackwright(&controller, "node plan n1").await;
    assert!(planned.out.contains("! VIRTUAL MACHINES RUN ON IT: web"), "{planned:?}");
    let id = planned.out.split_whitespace().nth(1).unwrap().trim_end_matches(':').to_owned();
    let taking_down = [
        format!("apply {id} --confirm n1"),
        "node power cycle n1 --confirm n1".to_owned(),
        "image capture n1 --name copy --as-is --confirm n1".to_owned(),
    ];
    for words in &taking_down {
        let refused = rackwright(&controller, words).await;
        assert_eq!(refused.code, Some(4), "{words}: {refused:?}");
        assert!(
            refused.err.contains("web runs on n1") && refused.err.contains("--force"),
            "{words}: {refused:?}"
        );
    }
    assert_eq!(operator::get(&controller, "/v1/nodes/n1").await.unwrap()["state"], "active");
    assert!(state(&agent).await.orders.is_empty());

    let forced = rackwright(&controller, &format!("apply {id} --confirm n1 --force --no-wait")).await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let orders = state(&agent).await.orders;
    assert_eq!(
        orders.iter().map(|order| &order.kind).collect::<Vec<_>>(),
        [&OrderKind::Redeploy { force: true, keeps: false }]
    );
    let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let applies =
        journal.as_array().unwrap().iter().filter(|row| row["body"].to_string().contains("\"force\":true"));
    assert_eq!(applies.count(), 1, "that it was forced is written down: {journal}");
}
