//! The whole way: the command line, the daemon, a real emulator, and a node that is heard again.

use std::path::PathBuf;
use std::time::Duration;

use fleet::Event;
use protocol::{HelloReply, routes};
use serde_json::Value;

use super::emulators::{IPMI_PASSWORD, IpmiSim, PASSWORD, Sushy, USER};
use super::front::{Front, Trouble};
use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{approved, imaging};
use crate::operator::{self, Ran, rackwright};

/// Lets time pass as the daemon does.
pub(super) struct Clock(tokio::task::JoinHandle<()>);

impl Clock {
    pub(super) fn of(controller: &Controller) -> Self {
        let core = controller.core.clone();
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                drop(core.bring(Event::Tick).await);
            }
        }))
    }
}

impl Clock {
    /// It has a way in to the writer, which ends with the last of them.
    pub(super) async fn stop(self) {
        self.0.abort();
        drop(self.0.await);
    }
}

fn password_file(controller: &Controller, password: &str) -> PathBuf {
    let path = controller.folder.join("password");
    std::fs::write(&path, format!("{password}\n")).unwrap();
    path
}

pub(super) async fn set(controller: &Controller, kind: &str, port: u16, password: &str) -> Ran {
    let file = password_file(controller, password);
    let ran = rackwright(
        controller,
        &format!(
            "node bmc set n1 --kind {kind} --addr 127.0.0.1:{port} --user {USER} --password-file {}",
            file.display()
        ),
    )
    .await;
    std::fs::remove_file(file).unwrap();
    ran
}

pub(super) async fn power(controller: &Controller) -> Value {
    operator::get(controller, "/v1/nodes/n1/power").await.unwrap()
}

/// The ramdisk of another boot says hello, with the key it was approved with.
async fn boots(controller: &Controller, agent: &mut Agent, boot_id: &str) {
    agent.boot.boot_id = boot_id.to_owned();
    let first: HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    agent.prove(controller, &first).await;
}

/// Nothing of the password in what is kept and what was said.
pub(super) async fn no_canary(controller: &Controller, ran: &[&Ran]) {
    for one in ran {
        assert!(!format!("{one:?}").contains("canary"), "{one:?}");
    }
    let mut said = power(controller).await.to_string();
    for path in ["/v1/nodes/n1", "/v1/nodes/n1/why", "/v1/nodes", "/v1/events", "/v1/status"] {
        said += &operator::get(controller, path).await.unwrap().to_string();
    }
    assert!(!said.contains("canary") && !said.contains("sealed"), "{said}");
    for entry in std::fs::read_dir(&controller.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|six| six == b"canary"), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_switched_on_over_ipmi_and_is_on_when_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let clock = Clock::of(&controller);
    let sim = IpmiSim::start();
    let mut agent = approved(&controller, 1, "control").await;
    boots(&controller, &mut agent, "one").await;
    let given = set(&controller, "ipmi", sim.port, IPMI_PASSWORD).await;
    assert_eq!(given.code, Some(0), "{given:?}");
    let tested = rackwright(&controller, "node bmc test n1").await;
    assert_eq!(tested.code, Some(9), "{tested:?}");
    assert!(tested.out.contains("cipher0: BAD") && tested.out.contains("login: ok"), "{tested:?}");
    let status = rackwright(&controller, "node power status n1").await;
    assert!(status.out.contains("it says      off"), "{status:?}");

    let socket = controller.socket();
    let on =
        tokio::spawn(async move { operator::rackwright_at(&socket, "node power on n1 --timeout 60s").await });
    controller.until(|_| sim.power() == "1").await;
    // Its controller has done it, and nobody believes it yet.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(power(&controller).await["requests"][0]["state"], "proving");
    boots(&controller, &mut agent, "two").await;
    let on = on.await.unwrap();
    assert_eq!(on.code, Some(0), "{on:?}");
    assert!(on.out.contains("with a new boot id"), "{on:?}");

    let boot = rackwright(&controller, "node boot n1 pxe --timeout 60s").await;
    assert_eq!(boot.code, Some(0), "{boot:?}");
    assert!(sim.calls().contains("set boot pxe"));
    no_canary(&controller, &[&given, &tested, &status, &on, &boot]).await;

    let forgotten = rackwright(&controller, "node bmc forget n1").await;
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    assert_eq!(power(&controller).await["password"], false);
    clock.stop().await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_wrong_password_nothing_more_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let clock = Clock::of(&controller);
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    let agent = approved(&controller, 1, "control").await;
    set(&controller, "redfish", front.address.port(), "canary-but-wrong").await;
    let on = rackwright(&controller, "node power on n1 --timeout 60s").await;
    assert_eq!(on.code, Some(1), "{on:?}");
    assert!(on.err.contains("bmc set n1"), "{on:?}");
    let came = front.came().len();
    for words in ["node power on n1", "node power cycle n1", "node boot n1 pxe", "node bmc test n1"] {
        let refused = rackwright(&controller, words).await;
        assert_eq!(refused.code, Some(4), "{words}: {refused:?}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(front.came().len(), came, "it was asked again");
    // The right one, and all is well; its certificate is remembered.
    set(&controller, "redfish", front.address.port(), PASSWORD).await;
    let tested = rackwright(&controller, "node bmc test n1").await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert_eq!(power(&controller).await["fingerprint"].as_str().unwrap().len(), 64);
    // Another certificate: nothing is said to it, until the operator has looked.
    front.changes_certificate();
    let status = rackwright(&controller, "node power status n1").await;
    assert!(status.out.contains("locked") && status.out.contains("certificate"), "{status:?}");
    assert!(front.came().is_empty());
    no_canary(&controller, &[&on, &tested, &status]).await;
    drop(agent);
    clock.stop().await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_controller_is_asked_again_and_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let clock = Clock::of(&controller);
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    let mut agent = approved(&controller, 1, "control").await;
    boots(&controller, &mut agent, "one").await;
    set(&controller, "redfish", front.address.port(), PASSWORD).await;
    front.has(Trouble::Says(503));
    let begun = rackwright(&controller, "node power cycle n1 --no-wait").await;
    assert_eq!(begun.code, Some(0), "{begun:?}");
    controller.until(|_| front.came().len() >= 2).await;
    front.has(Trouble::Nothing);
    controller.until(|_| front.came().iter().any(|came| came.path.contains("/Actions/"))).await;
    boots(&controller, &mut agent, "two").await;
    let id = begun.out.trim().to_owned();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let view = power(&controller).await;
        let row = view["requests"].as_array().unwrap().iter().find(|row| row["id"] == *id).unwrap().clone();
        if row["state"] == "done" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{view}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    clock.stop().await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_writes_keeps_its_power() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let sim = IpmiSim::start();
    crate::journey::control_image(&controller).await;
    let (agent, _) = imaging(&controller, 1).await;
    set(&controller, "ipmi", sim.port, IPMI_PASSWORD).await;
    for words in
        ["node power off n1", "node power cycle n1 --confirm n1", "node power off n1 --hard --confirm n1"]
    {
        let refused = rackwright(&controller, words).await;
        assert_eq!(refused.code, Some(4), "{words}: {refused:?}");
        assert!(refused.err.contains("being written"), "{refused:?}");
    }
    let unnamed = rackwright(&controller, "node power cycle n1 --force").await;
    assert_eq!(unnamed.code, Some(5), "{unnamed:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sim.calls(), "", "its controller was asked all the same");
    drop(agent);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_a_person_is_told_where_the_button_is() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let clock = Clock::of(&controller);
    let mut agent = approved(&controller, 1, "control").await;
    agent.inventory.smbios.serial = "CHASSIS-77".to_owned();
    boots(&controller, &mut agent, "one").await;
    let on = rackwright(&controller, "node power on n1 --timeout 3s").await;
    assert_eq!(on.code, Some(7), "{on:?}");
    for part in ["press the button", "CHASSIS-77", agent.boot.mac.as_str()] {
        assert!(on.err.contains(part), "{part}: {on:?}");
    }
    let cancelled = rackwright(&controller, "node power cancel n1").await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let boot = rackwright(&controller, "node boot n1 pxe").await;
    assert_eq!(boot.code, Some(4), "{boot:?}");
    clock.stop().await;
    controller.stop().await;
}
