//! Other passwords for the cloud, asked for at the control socket.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::tests::{api, get, read};
use super::{Api, ApiError};
use crate::journal::Peer;
use crate::writer::passwords_tests::cloud;
use crate::writer::tests::{State, opened_as, state};

const ROUTE: &str = "/v1/cloud/passwords/rotate";

async fn rotate(api: &Api, body: &str) -> Result<Value, ApiError> {
    let api = api.on_behalf(&Peer::own(), ROUTE, body.as_bytes());
    let answer = api.act(&["v1", "cloud", "passwords", "rotate"], body.as_bytes()).await.unwrap();
    match api.settle(answer).await {
        Ok(answer) => Ok(read(Ok(answer)).await["item"].clone()),
        Err(why) => Err(why),
    }
}

/// Of every record of these kinds: its kind, and who brought it about.
fn journal(state: &State) -> Vec<(String, String, String)> {
    let database = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    let sql = "SELECT kind, actor, body FROM journal WHERE kind IN ('command', 'refused', 'passwords') ORDER BY seq";
    let mut rows = database.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<Vec<_>, _>>().unwrap()
}

#[tokio::test]
async fn it_takes_the_sites_name_and_is_written_down_with_who_asked() {
    let state = opened_as(tempfile::tempdir().unwrap(), Some(cloud()));
    state.enrolled("control").await;
    let api = api(&state);
    let access = async || {
        read(api.act(&["v1", "cloud", "access"], b"").await.unwrap()).await["item"]["password"].clone()
    };
    let first = access().await;
    for (body, status) in [
        ("", StatusCode::CONFLICT),
        (r#"{"confirm":"lib"}"#, StatusCode::CONFLICT),
        (r#"{"confirm":"LAB"}"#, StatusCode::CONFLICT),
        (r#"{"confirm":null}"#, StatusCode::CONFLICT),
        (r#"{"confirm":"lab","salt":"00"}"#, StatusCode::BAD_REQUEST),
        (r#"{"confirm":["lab"]}"#, StatusCode::BAD_REQUEST),
        ("lab", StatusCode::BAD_REQUEST),
        ("\0", StatusCode::BAD_REQUEST),
    ] {
        let refused = rotate(&api, body).await.unwrap_err();
        assert_eq!(refused.codes().0, status, "{body}: {refused}");
        if status == StatusCode::CONFLICT {
            assert!(refused.to_string().contains("--confirm=lab") && refused.codes().1 == 5, "{refused}");
        }
    }
    assert_eq!(access().await, first, "what is refused changes nothing");
    let begun = rotate(&api, r#"{"confirm":"lab"}"#).await.unwrap();
    assert_eq!(
        (&begun["number"], &begun["state"], &begun["confirm"]),
        (&json!(1), &json!("rotating"), &json!("lab"))
    );
    assert_eq!(get(&api, "v1/cloud/passwords").await["item"], begun);
    let second = access().await;
    assert_ne!(second, first, "openrc has the new one");
    let refused = rotate(&api, r#"{"confirm":"lab"}"#).await.unwrap_err();
    assert!(refused.to_string().contains("still being rotated: n1: it goes through generation"), "{refused}");
    assert_eq!(refused.codes(), (StatusCode::CONFLICT, 4));

    let records = journal(&state);
    let of = |kind: &'static str| records.iter().filter(move |row| row.0 == kind);
    assert_eq!((of("refused").count(), of("command").count(), of("passwords").count()), (9, 1, 1));
    let uid = format!("\"uid\":{}", rustix::process::geteuid().as_raw());
    assert!(of("command").chain(of("passwords")).all(|row| row.1.contains(&uid)), "{records:?}");
    let all = format!("{records:?}");
    assert!(![&first, &second].iter().any(|password| all.contains(password.as_str().unwrap())));
}

#[tokio::test]
async fn a_rack_that_is_no_cloud_is_told_how_it_becomes_one() {
    let state = state();
    let api = api(&state);
    let refused = rotate(&api, r#"{"confirm":"lab"}"#).await.unwrap_err();
    assert!(refused.to_string().contains("[cloud] into rackwright.toml"), "{refused}");
    let world = state.core.world();
    for answer in [api.passwords(&world), api.upgrade(&world)] {
        assert_eq!(answer.unwrap_err().codes(), (StatusCode::CONFLICT, 4));
    }
}

#[tokio::test]
async fn what_an_upgrade_would_be_is_asked_of_the_store_too() {
    let state = opened_as(tempfile::tempdir().unwrap(), Some(cloud()));
    state.enrolled("control").await;
    let plan = get(&api(&state), "v1/cloud/upgrade").await["item"].clone();
    assert_eq!((&plan["rebuilds"], &plan["commands"]), (&json!(0), &json!([])));
    let row = &plan["nodes"][0];
    assert_eq!(
        (&row["node"], &row["order"], &row["samePackages"]),
        (&json!("n1"), &Value::Null, &Value::Null)
    );
    assert_eq!(row["why"], "it has the image that a rebuild would take");
}
