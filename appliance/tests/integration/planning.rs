//! Plans through the API: what is refused, and that a refusal changes nothing.

use pack::Digest;
use protocol::{Envelope, Task, routes};
use serde_json::json;

use crate::controller::Controller;
use crate::journey::{control_image, planned};
use crate::operator;
use crate::witness::{everything, only, rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_disk_changed_is_refused_with_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, plan) = planned(&controller, 1).await;
    // Somebody wrote to the disk; then another disk is in its place.
    let swapped = crate::agent::disk("OTHER");
    let touched =
        protocol::Disk { content: Some(Digest::of(b"touched")), ..agent.inventory.disks[0].clone() };
    let table = [
        (touched, "what is on disk serial:SYS1 has changed since"),
        (swapped, "disk serial:SYS1 is not there any more"),
    ];
    for (disk, why) in table {
        agent.inventory.disks = vec![disk];
        let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
        let before = everything(&controller.folder);
        let apply = format!("/v1/plans/{plan}/apply");
        let refused = operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 4), "{refused:?}");
        assert!(refused.error.contains(why), "{refused:?}");
        assert!(refused.error.contains("rackwright node plan n1"), "what to do next: {refused:?}");
        let ran = operator::rackwright(&controller, &format!("apply {plan} --confirm n1")).await;
        assert!(ran.code == Some(4) && ran.err.contains(why), "{ran:?}");
        assert_eq!(everything(&controller.folder), before, "nothing was begun");
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_name_is_the_only_way_past_the_question() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (_agent, plan) = planned(&controller, 1).await;
    let apply = format!("/v1/plans/{plan}/apply");
    for confirm in [json!({}), json!({"confirm": "n2"}), json!({"confirm": ""})] {
        let refused = operator::post(&controller, &apply, confirm).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 5), "{refused:?}");
        assert!(
            refused.error.contains("serial:SYS1") && refused.error.contains("--confirm=n1"),
            "{refused:?}"
        );
    }
    assert!(rows(&controller.folder, "job").is_empty());
    operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap();
    let again = operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap_err();
    assert!(again.exit == 4 && again.error.contains("applied already"), "{again:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_roles_that_is_refused_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (_agent, _) = planned(&controller, 1).await;
    let before = everything(&controller.folder);
    let refused =
        operator::post(&controller, "/v1/nodes/n1/plan", json!({"roles": ["storage"]})).await.unwrap_err();
    assert!(refused.exit == 4 && refused.error.contains("no image carries storage"), "{refused:?}");
    assert_eq!(everything(&controller.folder), before, "the roles too");
    let ran = operator::rackwright(&controller, "node plan n1 --role kitchen").await;
    assert!(ran.code == Some(3) && ran.err.contains("kitchen"), "{ran:?}");
    assert_eq!(everything(&controller.folder), before);
    let bytes = crate::image::small("both", &["control", "network"]).1;
    operator::import(&controller, bytes).await.unwrap();
    let both = json!({"roles": ["control", "network"]});
    let plan = operator::post(&controller, "/v1/nodes/n1/plan", both.clone()).await.unwrap();
    assert_eq!((&plan["roles"], &plan["image"]), (&both["roles"], &json!("both")));
    assert_eq!(only(&controller.folder, "node")["roles"], json!(["control"]), "a plan changes nothing");
    let apply = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap();
    assert_eq!(only(&controller.folder, "node")["roles"], both["roles"]);
    controller.stop().await;
}
