//! Certificates of a day, over real connections: what is refused says that a renewal helps, and who may still have one.

use std::time::{Duration, SystemTime};

use appliance::ca::Leaf;
use fleet::certificate::Stage;
use protocol::{Enrol, Enrolled, Envelope, NodeId, StateAsk, StateReply, enrol_proof, routes};
use serde_json::{Value, json};

use crate::agent::{Agent, Refused};
use crate::controller::Controller;
use crate::journey::{control_image, enrolled, imaging, state, verified};
use crate::witness::{only, rows};
use crate::{operator, witness};

const DAY: u64 = 86_400;

/// An installed node, and its id.
async fn installed(controller: &Controller, number: u8) -> (Agent, NodeId) {
    let (mut agent, job) = imaging(controller, number).await;
    verified(&agent, &job).await;
    enrolled(controller, &mut agent).await;
    let node = controller.core.world().fleet.owner(&agent.boot.mac).unwrap().id;
    (agent, node)
}

/// Asks for the next certificate with the one it has, for the same key.
async fn renew(controller: &Controller, agent: &mut Agent, node: NodeId) -> Result<Enrolled, Refused> {
    let proof = agent.keys.sign(&enrol_proof(&controller.ca.pin(), &node, &agent.keys.public()));
    let (protocol, key, boot_id) = (protocol::VERSION, agent.keys.public(), "b00t".to_owned());
    let enrol = Enrol { protocol, key, proof, boot_id, uptime_seconds: 20 };
    let answer: Enrolled = agent.ask(routes::ENROL, &enrol).await?;
    agent.holds(&answer.certificate);
    Ok(answer)
}

async fn refused(agent: &Agent) -> protocol::Refusal {
    let ask = StateAsk::default();
    agent.ask::<_, Envelope<StateReply>>(routes::STATE, &ask).await.unwrap_err().1
}

/// Shows a certificate of this site for its key that ended so many days ago; recorded as such, or by nobody.
async fn ended(controller: &Controller, agent: &mut Agent, node: NodeId, days: u64, recorded: bool) {
    let over = SystemTime::now() - Duration::from_secs(days * DAY);
    let (key, stage, not_before) = (agent.keys.public(), Stage::Run, over - Duration::from_secs(DAY));
    let issued =
        controller.ca.issue(&Leaf { key, node, stage, generation: 1, not_before, not_after: over }).unwrap();
    let known = controller.core.world().fleet.certificates[&agent.fingerprint()].clone();
    if recorded {
        let until = known.until.0 - (days + 1) * DAY * 1000;
        let row = fleet::certificate::Certificate {
            fingerprint: issued.fingerprint.clone(),
            until: fleet::Time(until),
            ..known
        };
        controller.core.bring(fleet::Event::Issued(row)).await.unwrap();
    }
    agent.holds(&issued.chain_pem);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lives_a_day_and_is_renewed_without_a_line_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, node) = installed(&controller, 1).await;
    let records = || witness::rows(&controller.folder, "certificate").len();
    let written = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let logged = operator::get(&controller, "/v1/events?limit=1000").await.unwrap();
    for _ in 0..20 {
        let now = fleet::Time(u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
        let answer = renew(&controller, &mut agent, node).await.unwrap();
        assert!((DAY / 2..=DAY * 66 / 100).contains(&answer.renew_seconds), "{answer:?}");
        assert!(answer.renew_ms.abs_diff(now.plus_seconds(answer.renew_seconds).0) < 10_000);
        let row = &controller.core.world().fleet.certificates[&agent.fingerprint()];
        assert!(row.until.seconds_since(now) <= DAY && row.until.seconds_since(now) > DAY - 60);
        state(&agent).await;
    }
    // The ramdisk's, the one that was shown last, and the one that was given for it.
    assert_eq!(records(), 3);
    assert_eq!(operator::get(&controller, "/v1/journal?limit=1000").await.unwrap(), written);
    assert_eq!(operator::get(&controller, "/v1/events?limit=1000").await.unwrap(), logged);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_off_is_told_to_renew_and_one_that_was_off_for_too_long_needs_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, node) = installed(&controller, 1).await;
    ended(&controller, &mut agent, node, 29, true).await;
    let answer = refused(&agent).await;
    assert!(answer.renew && answer.error.contains("expired"), "{answer:?}");
    renew(&controller, &mut agent, node).await.unwrap();
    assert_eq!((&only(folder.path(), "node")["generation"], &json!(1)), (&json!(1), &json!(1)));
    state(&agent).await;

    ended(&controller, &mut agent, node, 31, true).await;
    let late = renew(&controller, &mut agent, node).await.unwrap_err();
    assert!(late.0 == 403 && late.1.error.contains("rackwright node retry n1"), "{late:?}");
    let why = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert!(why.to_string().contains("rackwright node retry n1"), "{why}");
    let doctor = operator::get(&controller, "/v1/doctor?area=pxe").await.unwrap();
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == "certificates").unwrap();
    assert!(check["result"] == "fail" && check["fix"].to_string().contains("node retry n1"), "{check}");
    let ran = operator::rackwright(&controller, "node retry n1").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    renew(&controller, &mut agent, node).await.unwrap();
    state(&agent).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_a_renewal_that_nobody_remembers_is_good_for_the_next_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, node) = installed(&controller, 1).await;
    let own = agent.fingerprint();
    ended(&controller, &mut agent, node, 0, false).await;
    assert_ne!(agent.fingerprint(), own);
    let answer = refused(&agent).await;
    assert!(answer.renew && answer.error.contains("not issued by this controller"), "{answer:?}");
    let before = rows(folder.path(), "node");
    // Of the node, but with a key that is not its own: somebody has the CA's word for another key.
    let mut forged = Agent::new(&controller, 1);
    forged.forges(&controller.ca, Stage::Run);
    let key = forged.keys.public();
    let proof = forged.keys.sign(&enrol_proof(&controller.ca.pin(), &node, &key));
    let enrol = Enrol { protocol: protocol::VERSION, key, proof, boot_id: "b".to_owned(), uptime_seconds: 1 };
    let said = forged.ask::<_, Value>(routes::ENROL, &enrol).await.unwrap_err();
    assert!(said.0 == 403 && said.1.error.contains("not issued by this controller"), "{said:?}");
    assert_eq!(rows(folder.path(), "node"), before);

    renew(&controller, &mut agent, node).await.unwrap();
    state(&agent).await;
    controller.stop().await;
}
