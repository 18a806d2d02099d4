//! A server that runs a system of its own is invited, asks, and is let in: the command line, the daemon as it ships, and an agent.

use std::path::Path;

use appliance::config::{Config, Paths};
use fleet::view::JoinLine;
use protocol::{Adoption, HelloReply, Report, Token, Verdict, routes};
use pxe::files::StoreFile;
use serde_json::{Value, json};

use crate::agent::{Agent, Refused};
use crate::controller::Controller;
use crate::operator::{self, rackwright};

/// A boot store with an agent in it that is none, and its digest.
pub(crate) fn boot_store(folder: &Path, agent: &[u8]) -> String {
    std::fs::create_dir_all(folder).unwrap();
    for file in StoreFile::REQUIRED {
        std::fs::write(folder.join(file.store_name()), "a file").unwrap();
    }
    std::fs::write(folder.join(StoreFile::Agent.store_name()), agent).unwrap();
    let sum = data_encoding::HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, agent).as_ref());
    let versions = json!({ StoreFile::Agent.store_name(): { "sha256": sum } });
    std::fs::write(folder.join("versions.json"), versions.to_string()).unwrap();
    sum
}

/// The token in a line.
fn token(line: &str) -> Token {
    let (_, rest) = line.split_once("RACKWRIGHT_TOKEN=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

async fn invited(controller: &Controller, body: Value) -> (String, Token, String) {
    let invited = operator::post(controller, "/v1/invitations", body).await.unwrap();
    let lines: Vec<JoinLine> = serde_json::from_value(invited["lines"].clone()).unwrap();
    let [JoinLine { subnet, line }] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(subnet, "10.77.0.0/24");
    (invited["id"].as_str().unwrap().to_owned(), token(line), line.clone())
}

fn asking(controller: &Controller, number: u8, token: Token) -> Agent {
    let mut agent = Agent::new(controller, number);
    agent.adoption = Some(Adoption {
        token,
        host: format!("web{number}"),
        system: "Debian GNU/Linux 13 (trixie)".to_owned(),
    });
    agent
}

async fn asks(agent: &Agent) -> Result<HelloReply, Refused> {
    agent.ask(routes::HELLO, &agent.hello(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_line_to_active_with_its_address_and_its_disks() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let none = rackwright(&controller, "node adopt").await;
    assert!(
        none.code == Some(1) && none.err.contains("image-build ramdisk"),
        "without a boot store: {none:?}"
    );
    boot_store(&folder.path().join("boot"), b"an agent");

    let ran = rackwright(&controller, "node adopt --name web9 --for 30m").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let [line] = ran.out.lines().collect::<Vec<_>>()[..] else { panic!("one line: {ran:?}") };
    assert!(ran.err.contains("as root") && ran.err.contains("node adopt --revoke"), "{ran:?}");
    let secret = token(line);
    let listed = rackwright(&controller, "node adopt --list").await;
    assert!(listed.out.contains("open") && listed.out.contains("web9"), "{listed:?}");

    let mut agent = asking(&controller, 1, secret);
    let first = asks(&agent).await.unwrap();
    assert!(matches!(first.verdict, Verdict::Waiting { .. }) && first.name == "web9", "{first:?}");
    let row = rackwright(&controller, "node list").await;
    assert!(row.out.contains("web9") && row.out.contains("code "), "{row:?}");
    let why = rackwright(&controller, "node why web9").await;
    assert!(why.out.contains("disks stay as they are"), "{why:?}");

    let approved = rackwright(&controller, "node approve web9 --role control --yes").await;
    assert!(approved.code == Some(0) && approved.out.contains("enrolling"), "{approved:?}");
    let address = agent.boot.address;
    let mac = agent.boot.mac.to_string().parse::<pxe::Mac>().unwrap();
    assert_eq!(
        controller.core.world().leases.get(mac).map(|lease| lease.ip),
        Some(address),
        "nobody else is given it"
    );

    let Verdict::Approved { certificate } = agent.prove(&controller, &first).await.verdict else { panic!() };
    agent.holds(&certificate);
    enrolled(&controller, &mut agent, first.node).await;
    let state = crate::journey::state(&agent).await;
    let document = state.document.as_ref().unwrap();
    let packages = document.units.iter().flat_map(|unit| unit.packages.clone()).collect::<Vec<_>>();
    assert!(packages.contains(&"mariadb-server".to_owned()), "{packages:?}");
    let up = crate::journey::all_up(&state);
    let absent = Report {
        units: up.units.iter().cloned().map(|unit| absent(unit, "apt install mariadb-server")).collect(),
        ..up.clone()
    };
    let _: Value = agent.ask(routes::REPORT, &absent).await.unwrap();
    let why = rackwright(&controller, "node why web9").await;
    assert!(why.out.contains("apt install mariadb-server"), "{why:?}");
    let _: Value = agent.ask(routes::REPORT, &up).await.unwrap();
    let shown = operator::get(&controller, "/v1/nodes/web9").await.unwrap();
    assert_eq!((shown["state"].as_str(), shown["image"].as_str()), (Some("active"), None), "{shown}");
    assert!(shown["adopted"]["system"].as_str().unwrap().contains("trixie"), "{shown}");
    let shown = rackwright(&controller, "node show web9").await;
    assert!(shown.out.contains("its disks as they were"), "{shown:?}");
    assert!(controller.core.world().fleet.jobs.is_empty(), "nothing was written");

    no_token_is_told(controller, folder.path(), secret).await;
}

/// What is kept, and what is handed on, has no token in it.
async fn no_token_is_told(controller: Controller, folder: &Path, secret: Token) {
    let secret = secret.reveal();
    for path in ["/v1/journal", "/v1/invitations", "/v1/support", "/v1/events", "/v1/nodes/web9"] {
        let told = operator::get(&controller, path).await.unwrap().to_string();
        assert!(!told.contains(&secret), "{path}");
    }
    let journal = operator::get(&controller, "/v1/journal").await.unwrap().to_string();
    assert!(
        journal.contains("/v1/invitations") && journal.contains("\"invitation\""),
        "who invited: {journal}"
    );
    controller.stop().await;
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = if entry.is_file() { std::fs::read(&entry).unwrap() } else { continue };
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", entry.display());
    }
}

fn absent(mut unit: protocol::UnitReport, what: &str) -> protocol::UnitReport {
    if unit.name == "mariadb.service" {
        (unit.load, unit.active) = ("not-found".to_owned(), "inactive".to_owned());
        unit.log = vec![format!("{} is not installed on this server: {what}", unit.name)];
    }
    unit
}

async fn enrolled(controller: &Controller, agent: &mut Agent, node: protocol::NodeId) {
    let own = crate::agent::Keys::new();
    let proof = own.sign(&protocol::enrol_proof(&controller.ca.pin(), &node, &own.public()));
    let enrol = protocol::Enrol {
        protocol: protocol::VERSION,
        key: own.public(),
        proof,
        boot_id: "b00t".to_owned(),
        uptime_seconds: 20,
    };
    let enrolled: protocol::Enrolled = agent.ask(routes::ENROL, &enrol).await.unwrap();
    agent.keys = own;
    agent.holds(&enrolled.certificate);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_one_that_was_invited_is_told_why_not() {
    let folder = tempfile::tempdir().unwrap();
    boot_store(&folder.path().join("boot"), b"an agent");
    let controller = Controller::start(folder.path()).await;
    let no = |answer: Result<HelloReply, Refused>| {
        let (status, refusal) = answer.unwrap_err();
        assert!(status == 409 && !refusal.retry, "{refusal:?}");
        refusal.error
    };
    let (id, secret, _) = invited(&controller, json!({})).await;
    assert!(no(asks(&asking(&controller, 1, Token([3; 16]))).await).contains("not one of this controller's"));
    let mut elsewhere = asking(&controller, 1, secret);
    elsewhere.boot.address = [192, 168, 7, 7].into();
    assert!(no(asks(&elsewhere).await).contains("none of the controller's networks"));
    let mut long = asking(&controller, 1, secret);
    long.adoption.as_mut().unwrap().host = "x".repeat(600);
    assert_eq!(asks(&long).await.unwrap_err().0, 400);
    let first = asking(&controller, 1, secret);
    asks(&first).await.unwrap();
    assert!(no(asks(&asking(&controller, 2, secret)).await).contains("another server has come with it"));
    let refused =
        operator::post(&controller, &format!("/v1/invitations/{id}/revoke"), json!({})).await.unwrap_err();
    assert!(refused.status == 409 && refused.error.contains("node reject web1"), "{refused:?}");
    // Killed and started again in between: the same is so.
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    let mut first = first;
    first.finds(&controller);
    asks(&first).await.unwrap();
    assert!(no(asks(&asking(&controller, 2, secret)).await).contains("another server has come with it"));
    operator::post(&controller, "/v1/nodes/web1/reject", json!({"why": "a visitor"})).await.unwrap();
    let told = asks(&first).await.unwrap().verdict;
    assert!(matches!(&told, Verdict::Rejected { reason } if reason == "a visitor"), "{told:?}");
    let (back, token, _) = invited(&controller, json!({"seconds": 60})).await;
    let revoked = operator::rackwright(&controller, &format!("node adopt --revoke {back}")).await;
    assert!(revoked.code == Some(0) && revoked.out.contains("over"), "{revoked:?}");
    assert!(no(asks(&asking(&controller, 3, token)).await).contains("taken back"));
    for wrong in [json!({"seconds": 5}), json!({"seconds": 999_999_999_u64})] {
        assert_eq!(operator::post(&controller, "/v1/invitations", wrong).await.unwrap_err().status, 409);
    }
    assert_eq!(
        operator::post(&controller, "/v1/invitations", json!({"for": 5})).await.unwrap_err().status,
        400
    );
    let missing = operator::rackwright(&controller, "node adopt --revoke 12345678").await;
    assert!(missing.code == Some(3) && missing.err.contains("node adopt --list"), "{missing:?}");
}

/// The script is run by a shell that has no server to change, and the line checks it first.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_is_what_the_line_promises_and_says_nothing_secret() {
    let folder = tempfile::tempdir().unwrap();
    let sum = boot_store(&folder.path().join("boot"), b"an agent");
    let controller = Controller::start(folder.path()).await;
    let (_, secret, line) = invited(&controller, json!({})).await;
    let joining =
        appliance::join::Joining { boot: folder.path().join("boot"), http_port: 80, agents_port: 8443 };
    let world = controller.core.world();
    let script = joining.script(&world, [10, 77, 0, 1].into()).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, script.as_bytes());
    assert!(
        line.contains(&data_encoding::HEXLOWER.encode(digest.as_ref())) && !line.contains('\n'),
        "{line}"
    );
    assert!(script.contains(&sum) && script.contains(&controller.ca.pin().to_string()), "{script}");
    assert!(!script.contains('@') && !script.contains(&secret.reveal()), "{script}");
    let syntax = |text: &str| {
        let out = std::process::Command::new("sh").args(["-n", "-c", text]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    syntax(&script);
    syntax(&line);
    // Another machine, another user, no token: said before anything is fetched.
    let fakes = folder.path().join("bin");
    std::fs::create_dir_all(&fakes).unwrap();
    let fake = |name: &str, says: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(fakes.join(name), format!("#!/bin/sh\necho {says}\n")).unwrap();
        std::fs::set_permissions(fakes.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let run = || {
        let path = format!("{}:/usr/bin:/bin", fakes.display());
        let mut shell = std::process::Command::new("sh");
        let out = shell.args(["-c", &script]).env_clear().env("PATH", path).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        String::from_utf8(out.stderr).unwrap()
    };
    fake("id", "1000");
    let said = run();
    assert!(said.contains("only root") && said.contains("nothing was changed. Next:"), "{said}");
    fake("id", "0");
    fake("uname", "riscv64");
    assert!(run().contains("made for x86-64"));
    fake("uname", "x86_64");
    assert!(run().contains("the token is missing"));
}

#[test]
fn a_configuration_says_where_scripts_lead() {
    let base = "site = \"lab\"\n[[provision]]\ninterface = \"lo\"\naddress = \"10.77.0.1/24\"\n\
                pool = \"10.77.0.100-10.77.0.199\"\n[http]\nport = 8080\n";
    let config: Config = appliance::config::parse(base).unwrap();
    let joining = appliance::join::Joining::of(&Paths::under(None), &config);
    assert_eq!((joining.http_port, joining.agents_port), (8080, 8443));
    assert!(joining.boot.ends_with("boot"));
}
