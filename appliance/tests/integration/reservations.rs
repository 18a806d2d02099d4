//! `dhcp = "known"`: only servers that an operator has made known, by approving or by reserving them.

use std::net::Ipv4Addr;

use pxe::dhcp::Mode;
use serde_json::{Value, json};

use crate::agent::mac;
use crate::controller::Controller;
use crate::dhcp::{boot, discover};
use crate::journey::{approved, control_image, imaging};
use crate::operator::{self, rackwright};
use crate::witness::{everything, rows};

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

async fn reserve(controller: &Controller, body: Value) -> Result<Value, operator::Refused> {
    operator::post(controller, "/v1/network/reservations", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_answered_once_it_is_reserved_and_no_longer_when_that_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start_with(folder.path(), Mode::KnownOnly).await;
    let silence = discover(&controller, 1).await.unwrap_err();
    assert!(silence.contains("52:54:00:77:00:01"), "the silence has a reason: {silence}");
    let row = reserve(&controller, json!({"mac": mac(1)})).await.unwrap();
    assert_eq!((&row["mac"], &row["address"], &row["node"]), (&json!(mac(1)), &Value::Null, &Value::Null));
    assert_eq!(rows(&controller.folder, "reservation")[0][0], json!(mac(1)), "durable before it is said");
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(100));
    discover(&controller, 2).await.unwrap_err();
    controller.stop().await;

    let controller = Controller::start_with(folder.path(), Mode::KnownOnly).await;
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(100), "it outlives a restart");
    let path = format!("/v1/network/reservations/{}/unreserve", mac(1));
    operator::post(&controller, &path, json!({})).await.unwrap();
    discover(&controller, 1).await.unwrap_err();
    assert!(rows(&controller.folder, "reservation").is_empty());
    let gone = operator::post(&controller, &path, json!({})).await.unwrap_err();
    assert_eq!((gone.status, gone.exit), (404, 3), "{gone:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_taken_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start_with(folder.path(), Mode::KnownOnly).await;
    reserve(&controller, json!({"mac": mac(9), "address": ip(29)})).await.unwrap();
    let row = |number: u8, address: Value| json!({"line": number, "mac": mac(number), "address": address});
    let import = |rows: Vec<Value>, dry_run: bool| {
        let body = json!({"rows": rows, "dryRun": dry_run});
        operator::post(&controller, "/v1/network/reservations/import", body)
    };
    let before = everything(&controller.folder);
    let good = vec![row(1, json!(ip(21))), row(2, Value::Null), row(3, json!(ip(23)))];
    assert_eq!(import(good.clone(), true).await.unwrap().as_array().unwrap().len(), 3);
    assert_eq!(everything(&controller.folder), before, "only tried");
    let bad =
        [good.clone(), vec![row(4, json!(ip(29))), row(5, json!(ip(21))), row(1, Value::Null)]].concat();
    let refused = import(bad, false).await.unwrap_err();
    assert_eq!((refused.status, refused.exit), (409, 4));
    for why in ["server 4", "10.77.0.29 is held", "server 5", "10.77.0.21 is held", "server 6", "twice"] {
        assert!(refused.error.contains(why), "{why}: {refused:?}");
    }
    assert_eq!(everything(&controller.folder), before);
    discover(&controller, 2).await.unwrap_err();
    import(good, false).await.unwrap();
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(21));
    assert_eq!(boot(&controller, 2).await.unwrap().address, ip(100));
    assert_eq!(boot(&controller, 3).await.unwrap().address, ip(23));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_server_is_known_and_a_rejected_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start_with(folder.path(), Mode::KnownOnly).await;
    // Known to the fleet from the time when everybody was answered.
    let hello = crate::agent::Agent::new(&controller, 1);
    let _: protocol::HelloReply = hello.ask(protocol::routes::HELLO, &hello.hello(None)).await.unwrap();
    discover(&controller, 1).await.expect_err("seen is not known");
    approved(&controller, 1, "control").await;
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(100));
    operator::post(&controller, "/v1/nodes/n1/reject", json!({})).await.unwrap();
    discover(&controller, 1).await.unwrap_err();
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_address_is_that_servers_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    reserve(&controller, json!({"mac": mac(1), "address": ip(100)})).await.unwrap();
    reserve(&controller, json!({"mac": mac(2), "address": ip(42)})).await.unwrap();
    assert_eq!(boot(&controller, 3).await.unwrap().address, ip(101), "the reserved one is passed over");
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(100));
    assert_eq!(boot(&controller, 2).await.unwrap().address, ip(42));
    let before = everything(&controller.folder);
    let table = [
        (json!({"mac": mac(4), "address": ip(42)}), 409, 4, "held by"),
        (json!({"mac": mac(4), "address": "192.0.2.1"}), 409, 4, "in no provisioning subnet"),
        (json!({"mac": mac(4), "address": ip(1)}), 409, 4, "controller"),
        (json!({"mac": "01:00:5e:00:00:01"}), 400, 2, "group"),
        (json!({"mac": "nonsense"}), 400, 2, "nonsense"),
        (json!({"mac": mac(4), "colour": "red"}), 400, 2, "colour"),
    ];
    for (body, status, exit, why) in table {
        let refused = reserve(&controller, body).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (status, exit), "{refused:?}");
        assert!(refused.error.contains(why), "{refused:?}");
    }
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_a_node_is_set_and_shown_and_comes_with_its_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    imaging(&controller, 1).await;
    boot(&controller, 1).await.unwrap();
    let set = operator::post(&controller, "/v1/nodes/n1/address", json!({"address": ip(42)})).await.unwrap();
    assert_eq!(set["address"], json!(ip(100)), "until it has taken the other");
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(42));
    let listed = operator::get(&controller, "/v1/network/reservations").await.unwrap();
    let wanted = json!([{"mac": mac(1), "address": ip(42), "node": "n1", "made": null}]);
    assert_eq!(listed, wanted, "what was fixed is listed with what was reserved");
    // A reservation of a server that has come meanwhile: the last word counts.
    reserve(&controller, json!({"mac": mac(1), "address": ip(43)})).await.unwrap();
    operator::post(&controller, "/v1/nodes/n1/address", json!({"address": ip(44)})).await.unwrap();
    assert_eq!(boot(&controller, 1).await.unwrap().address, ip(44));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reserves_lists_and_releases() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start_with(folder.path(), Mode::KnownOnly).await;
    let ran = rackwright(&controller, "network reserve 52-54-00-77-00-01 10.77.0.42").await;
    assert!(ran.code == Some(0) && ran.out.contains("52:54:00:77:00:01  10.77.0.42"), "{ran:?}");
    let ran = rackwright(&controller, "network reservations -o json").await;
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&listed["apiVersion"], &listed["items"][0]["mac"]),
        (&json!("rackwright/v1"), &json!(mac(1)))
    );
    let ran = rackwright(&controller, "network reserve 52:54:00:77:00:02 10.77.0.42").await;
    assert!(ran.code == Some(4) && ran.err.contains("held by 52:54:00:77:00:01"), "{ran:?}");
    assert_eq!(rackwright(&controller, "network reserve nonsense").await.code, Some(2));
    assert_eq!(rackwright(&controller, "network unreserve 52:54:00:77:00:01").await.code, Some(0));
    let ran = rackwright(&controller, "network unreserve 52:54:00:77:00:01").await;
    assert!(ran.code == Some(3) && ran.err.contains("52:54:00:77:00:01"), "{ran:?}");
    assert!(rackwright(&controller, "network reservations --no-header").await.out.trim().is_empty());
    controller.stop().await;
}
