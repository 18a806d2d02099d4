//! Somebody who is not looking is told: a node that needs attention, through a real daemon and a real receiver.

mod mail;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::controller::Controller;
use crate::journey::{control_image, imaging};
use crate::operator::rackwright;

/// A receiver that takes everything, and what it was sent.
async fn receiver() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&got);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.ends_with('}') {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.unwrap();
                text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            }
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            log.lock().unwrap().push(serde_json::from_str(body).unwrap());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    (format!("http://{address}/hook"), got)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_told_and_a_test_is_sent_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got) = receiver().await;
    let controller =
        Controller::start_as(folder.path(), &format!("[notify]\nwebhook = \"{address}\"\n")).await;
    let ran = rackwright(&controller, "notify test").await;
    assert!(ran.code == Some(0) && ran.out.starts_with("told http://127.0.0.1:"), "{ran:?}");
    assert_eq!(got.lock().unwrap().remove(0)["notices"][0]["kind"], "test");
    control_image(&controller).await;
    let notifier = controller.notifier.clone().unwrap();
    notifier.look().await;
    let (agent, job) = imaging(&controller, 1).await;
    let failed = protocol::Progress {
        failed: Some("byte 4096: it is gone".to_owned()),
        ..crate::journey::nothing_yet(job.job)
    };
    let _: Value = agent.ask(protocol::routes::PROGRESS, &failed).await.unwrap();
    // Looked at by hand: the daemon does it every five seconds, and waits for more that comes with it.
    let told = async {
        while got.lock().unwrap().is_empty() {
            notifier.look().await;
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), told).await.expect("nobody was told");
    let message = got.lock().unwrap()[0].clone();
    assert_eq!((&message["site"], &message["apiVersion"]), (&json!("lab"), &json!("rackwright/v1")));
    let notices = message["notices"].as_array().unwrap();
    let attention = notices.iter().find(|notice| notice["kind"] == "attention").unwrap();
    assert_eq!(attention["about"], "n1");
    assert!(attention["text"].as_str().unwrap().contains("byte 4096"), "{attention}");
    assert_eq!(attention["next"], "rackwright node why n1");
    drop(notifier);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_to_tell_a_test_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let ran = rackwright(&controller, "notify test").await;
    assert!(ran.code == Some(4) && ran.err.contains("[notify]"), "{ran:?}");
    controller.stop().await;
    let (address, _) = receiver().await;
    let gone = address.replace("/hook", "/secret-path").replace("127.0.0.1", "127.0.0.2");
    let said = format!("[notify]\nwebhook = \"{gone}\"\n");
    let controller = Controller::start_as(folder.path(), &said).await;
    let ran = rackwright(&controller, "notify test").await;
    assert!(ran.code == Some(1) && ran.err.contains("connecting to http://127.0.0.2"), "{ran:?}");
    assert!(!ran.err.contains("secret-path"), "{ran:?}");
    controller.stop().await;
}
