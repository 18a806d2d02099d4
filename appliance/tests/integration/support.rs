//! Canaries: secrets that are planted everywhere a controller has or might meet some, and found nowhere else.

use std::path::Path;
use std::process::Command;

use data_encoding::BASE64;
use protocol::{Drift, IdentityFile, Report, routes};
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::journey::{self, control_image, enrolled, state, verified};
use crate::operator::{self, rackwright};

/// Files in the state directory that other parts of a controller may keep.
const FILES: [(&str, &str); 5] = [
    ("credentials/bmc.json", "{\"n1\": {\"user\": \"root\", \"word\": \"canary-bmc-word-1\"}}\n"),
    ("credentials/wifi.txt", "canary-plain-line-2\n"),
    ("notify/hmac.key", "canary-hmac-key-3\n"),
    ("power/session", "canary-session-4\n"),
    ("deep/er/still/token", "canary-deep-token-5\n"),
];
const CONFIG: &str = "site = \"lab\"\n[[provision]]\ninterface = \"lo\"\naddress = \"10.77.0.1/24\"\n\
    pool = \"10.77.0.100-10.77.0.199\"\n[smtp]\npassword = \"canary-smtp-6\"\nuser = \"canary-user-7\"\n\
    [webhook]\nurl = \"https://hook.example/canary-path-8\"\nsecrets = [\"canary-list-9\", \"canary-list-10\"]\n";
/// What a person, or a node, may let slip into the log.
const SLIPS: [&str; 6] = [
    "password=canary-slip-11 did not work",
    "see https://me:canary-slip-12@bmc.example/redfish",
    "Authorization: Bearer canary-slip-13",
    "{\"token\": \"canary-slip-14\"}",
    "-----BEGIN PRIVATE KEY----- canary-slip-15 -----END PRIVATE KEY-----",
    "SECRET: 'canary-slip-16'",
];

/// Everything that must be found nowhere: what was planted, and what the controller made for itself.
struct Canaries {
    planted: Vec<String>,
    own: Vec<String>,
}

impl Canaries {
    fn found(&self, text: &str) -> Vec<&String> {
        self.planted.iter().chain(&self.own).filter(|canary| text.contains(canary.as_str())).collect()
    }
}

fn plant(folder: &Path) -> Canaries {
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::write(folder.join("rackwright.toml"), CONFIG).unwrap();
    let numbered = |text: &str| {
        text.match_indices("canary-")
            .map(|(at, _)| {
                let rest = &text[at..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
                rest[..end].to_owned()
            })
            .collect::<Vec<_>>()
    };
    let texts = FILES.iter().map(|(_, text)| *text).chain([CONFIG]).chain(SLIPS);
    let planted = texts.flat_map(numbered).collect();
    let mut own = Vec::new();
    for entry in std::fs::read_dir(folder.join("ca")).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains("PRIVATE KEY") && text.contains("-----BEGIN") => {}
            Ok(text) => own.extend(
                text.lines().filter(|line| line.len() > 16 && !line.contains("-----")).map(str::to_owned),
            ),
            Err(error) => own.push(BASE64.encode(error.as_bytes())),
        }
    }
    assert!(!own.is_empty(), "the CA has a key somewhere");
    Canaries { planted, own }
}

/// A node with identity files, whose reports and rejections let secrets slip.
async fn live(controller: &Controller) -> Vec<String> {
    control_image(controller).await;
    let (mut agent, job) = journey::imaging(controller, 1).await;
    verified(&agent, &job).await;
    enrolled(controller, &mut agent).await;
    let keys = ["canary-host-key-17", "canary-host-key-18", "canary-host-key-19"];
    let files = IdentityFile::PATHS.iter().zip(keys).map(|(path, key)| IdentityFile {
        path: (*path).to_owned(),
        mode: 0o600,
        content: BASE64.encode(format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{key}\n").as_bytes()),
    });
    let files = files.collect::<Vec<_>>();
    let _: Value = agent.ask(routes::ESCROW, &files).await.unwrap();
    let drift = SLIPS.map(|text| Drift {
        what: text.to_owned(),
        found: text.to_owned(),
        done: "canary-free".to_owned(),
    });
    let report = Report { drift: drift.to_vec(), ..journey::all_up(&state(&agent).await) };
    let _: Value = agent.ask(routes::REPORT, &report).await.unwrap();
    let visitor = crate::agent::Agent::new(controller, 9);
    let _: Value = visitor.ask(routes::HELLO, &visitor.hello(None)).await.unwrap();
    let why = json!({"why": "password: canary-slip-20"});
    operator::post(controller, &format!("/v1/nodes/{}/reject", visitor.boot.mac), why).await.unwrap();
    let coded = files.iter().map(|file| file.content.clone());
    keys.iter().map(|key| (*key).to_owned()).chain(coded).chain(["canary-slip-20".to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_planted_secrets_are_in_no_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let mut canaries = plant(folder.path());
    canaries.planted.extend(live(&controller).await);
    assert!(canaries.planted.iter().filter(|canary| canary.starts_with("canary-")).count() >= 20);
    let bundle = folder.path().join("bundle.tar.gz");
    let words = format!("support bundle {}", bundle.display());
    let ran = rackwright(&controller, &words).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let unpacked = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(&bundle).arg("-C").arg(unpacked.path()).status().unwrap();
    assert!(tar.success());
    let files = std::fs::read_dir(unpacked.path().join("rackwright-support")).unwrap().flatten();
    let files = files.map(|entry| {
        let text = String::from_utf8(std::fs::read(entry.path()).unwrap()).unwrap();
        (entry.file_name().into_string().unwrap(), text)
    });
    let files = files.collect::<std::collections::BTreeMap<_, _>>();
    for (name, text) in &files {
        assert_eq!(canaries.found(text), Vec::<&String>::new(), "in {name}");
    }
    // It would be easy to leak nothing by packing nothing.
    for (name, part) in [
        ("version.txt", "rackwright "),
        ("rackwright.toml", "interface = \"lo\""),
        ("rackwright.toml", "password"),
        ("status.json", "\"site\": \"lab\""),
        ("nodes.json", "\"n1\""),
        ("node-n1.json", "SYS1"),
        ("node-n1-why.json", "facts"),
        ("events.json", "canary-free"),
        ("jobs.json", "\"image\""),
        ("disks.txt", "free"),
        ("metrics.txt", "rackwright_nodes{"),
        ("doctor.json", "checks"),
        ("REDACTION.txt", "events.json: "),
    ] {
        assert!(files.get(name).is_some_and(|text| text.contains(part)), "{name} has no {part}: {files:?}");
    }
    assert!(!files["REDACTION.txt"].contains("events.json: 0"), "{}", files["REDACTION.txt"]);
    // Nobody else reads it, and nothing is overwritten.
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&bundle).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = rackwright(&controller, &words).await;
    assert!(again.code == Some(1) && again.err.contains("cannot write"), "{again:?}");
    controller.stop().await;
}

/// What a person typed into the log is there to be read; what the controller keeps as a secret is not, by any route.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_control_socket_and_no_line_of_the_log_has_a_kept_secret() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let mut canaries = plant(folder.path());
    canaries.planted.extend(live(&controller).await);
    canaries.planted.retain(|canary| !canary.starts_with("canary-slip"));
    let paths = [
        "/v1/status",
        "/v1/nodes",
        "/v1/nodes/n1",
        "/v1/nodes/n1/why",
        "/v1/plans",
        "/v1/jobs",
        "/v1/images",
        "/v1/images/control",
        "/v1/store/scrub",
        "/v1/networks",
        "/v1/network/leases",
        "/v1/network/trace",
        "/v1/doctor",
        "/v1/services",
        "/v1/events?limit=10000",
        "/v1/network/reservations",
        "/v1/metrics",
        "/v1/support",
    ];
    for path in paths {
        let answer = operator::get(&controller, path).await.unwrap().to_string();
        assert_eq!(canaries.found(&answer), Vec::<&String>::new(), "in {path}");
    }
    let events = crate::witness::open(folder.path());
    let mut lines = events.prepare("SELECT text FROM event").unwrap();
    let lines = lines.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    for line in lines {
        assert_eq!(canaries.found(&line), Vec::<&String>::new(), "in the log: {line}");
    }
    controller.stop().await;
}
