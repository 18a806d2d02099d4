//! Figures, as a real parser of Prometheus' text format reads them.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::controller::Controller;
use crate::journey::{approved, control_image, imaging, progress};
use crate::operator::rackwright;

/// Reads standard input with Prometheus' own client library and says what it understood: name, kind, labels, value.
const PARSER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
rows = []
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    for s in family.samples:
        rows.append([s.name, family.type, s.labels, s.value])
json.dump(rows, sys.stdout)
";

fn parsed(text: &str) -> Vec<(String, String, Value, f64)> {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "not understood, or the package python3-prometheus-client is missing:\n{text}"
    );
    serde_json::from_slice(&out.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_parser_reads_every_figure_and_they_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let image = control_image(&controller).await;
    let (agent, job) = imaging(&controller, 1).await;
    assert!(progress(&agent, &job, 1 << 20).await);
    approved(&controller, 2, "control").await;
    let (status, data) = agent.get(&protocol::routes::data(&image.digest())).await.unwrap();
    assert_eq!(status, 200);
    let ran = rackwright(&controller, "metrics show").await;
    assert!(ran.code == Some(0) && ran.err.is_empty(), "{ran:?}");
    let rows = parsed(&ran.out);
    let value = |name: &str, labels: Value| {
        let row = rows.iter().find(|row| row.0 == name && row.2 == labels);
        row.map(|row| row.3).unwrap_or_else(|| panic!("no {name} {labels} in\n{}", ran.out))
    };
    assert_eq!(value("rackwright_nodes", json!({"state": "imaging"})), 1.0);
    assert_eq!(value("rackwright_nodes", json!({"state": "inspecting"})), 1.0);
    assert_eq!(value("rackwright_nodes", json!({"state": "attention"})), 0.0);
    assert_eq!(value("rackwright_jobs", json!({"kind": "image", "state": "running"})), 1.0);
    assert!(value("rackwright_node_heartbeat_age_seconds", json!({"node": "n1"})) < 60.0);
    let until =
        value("rackwright_certificate_expiry_timestamp_seconds", json!({"node": "n1", "stage": "deploy"}));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((until - now - 4.0 * 3600.0).abs() < 120.0, "{until}");
    let lane = json!({"image": "control", "digest": image.digest().short(), "lane": "controller"});
    assert_eq!(value("rackwright_image_sent_bytes_total", lane), data.len() as f64);
    assert!(value("rackwright_database_commits_total", json!({})) > 5.0);
    assert!(value("rackwright_database_commit_seconds_total", json!({})) > 0.0);
    assert_eq!(value("rackwright_events_total", json!({})), controller.core.world().seq as f64);
    assert_eq!(value("rackwright_listener_up", json!({"listener": "https", "interface": "lo"})), 1.0);
    assert!(value("rackwright_state_free_bytes", json!({})) > 0.0);
    assert!(value("process_resident_memory_bytes", json!({})) > 1e6);
    let names = rows.iter().map(|row| row.0.as_str()).collect::<std::collections::BTreeSet<_>>();
    // These have nothing to count here: no DHCP, no installed node.
    let absent = ["rackwright_dhcp_silences_total", "rackwright_node_units"];
    for (name, ..) in appliance::metrics::Metric::ALL.map(appliance::metrics::Metric::about) {
        assert_eq!(names.contains(name), !absent.contains(&name), "{name}");
    }
    let json: Value =
        serde_json::from_str(&rackwright(&controller, "metrics show -o json").await.out).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), appliance::metrics::Metric::ALL.len());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_serves_them_and_nothing_else() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (stopper, stop) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(appliance::metrics::serve(controller.metrics.clone(), address, stop));
    let ask = async |line: &str| {
        let mut stream = loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        };
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let answer = ask("GET /metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(parsed(body).len() > 20);
    assert!(ask("GET /v1/nodes").await.starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics").await.starts_with("HTTP/1.1 405"));
    stopper.send_replace(true);
    serving.await.unwrap();
    controller.stop().await;
}
