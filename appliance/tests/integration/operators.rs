//! People at the control socket: what each role may, and what nobody may too often.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{self, control_image, enrolled, state, verified};
use crate::operator;

/// The user `nobody` and its group, which every system has.
pub(crate) const NOBODY: u32 = 65_534;

/// Exit code and what was said on standard error, of `nobody` at this socket.
async fn as_nobody(controller: &Controller, words: &str) -> (Option<i32>, String) {
    let program = controller.folder.join("rackwright");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_rackwright"), &program).unwrap();
    }
    let (socket, words) = (controller.socket(), words.to_owned());
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.arg("--socket").arg(socket).args(words.split_whitespace()).uid(NOBODY).gid(NOBODY);
        command.output().unwrap()
    });
    let ran = ran.await.unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

/// As an installation would have it, where `nobody` is in the group that may open the socket.
pub(crate) fn let_in(socket: &Path) {
    std::os::unix::fs::chown(socket, None, Some(NOBODY)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_what_a_person_may_do() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    // What each command ends with for each role: 11 is not permitted, 3 comes after permission.
    let commands = [
        ("status", [11, 0, 0, 0]),
        ("node list", [11, 0, 0, 0]),
        ("event list", [11, 0, 0, 0]),
        ("node approve n1", [11, 11, 0, 0]),
        ("network reserve 52:54:00:00:00:09 10.77.0.50", [11, 11, 0, 0]),
        ("image prune", [11, 11, 11, 0]),
    ];
    let roles =
        ["viewer = [\"root\"]", "viewer = [\"nobody\"]", "operator = [\"@nogroup\"]", "admin = [\"nobody\"]"];
    for (column, rule) in roles.iter().enumerate() {
        let folder =
            tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
        let controller = Controller::start_as(folder.path(), &format!("[operators]\n{rule}\n")).await;
        let_in(&controller.socket());
        let agent = Agent::new(&controller, 1);
        let _: serde_json::Value = agent.ask(protocol::routes::HELLO, &agent.hello(None)).await.unwrap();
        for (words, codes) in commands {
            let (code, said) = as_nobody(&controller, words).await;
            let expected = codes[column];
            assert_eq!(code, Some(expected), "{rule}: {words}: {said}");
            if expected == 11 {
                assert!(
                    said.contains("nobody has ") && said.contains("[operators]"),
                    "{rule}: {words}: {said}"
                );
            }
        }
        assert!(
            operator::get(&controller, "/v1/status").await.is_ok(),
            "nobody locks out who runs the daemon"
        );
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_roles_the_sockets_mode_and_group_are_the_permission() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let socket = std::fs::metadata(controller.socket()).unwrap();
    assert_eq!((socket.mode() & 0o777, socket.uid()), (0o660, 0));
    assert_eq!(as_nobody(&controller, "status").await.0, Some(11), "it may not open it");
    let_in(&controller.socket());
    assert_eq!(as_nobody(&controller, "status").await.0, Some(0));
    let (code, said) = as_nobody(&controller, "image delete nothing --confirm nothing").await;
    assert_eq!(code, Some(3), "a member of the group may do everything: {said}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_stop_at_the_limit_and_a_restart_forgets_none() {
    let folder = tempfile::tempdir().unwrap();
    let limit = "[limits]\nrebuilds_per_hour = 1\n";
    let mut controller = Controller::start_as(folder.path(), limit).await;
    control_image(&controller).await;
    // Three first installations: a rack of new servers is no accident.
    for number in 1..=3 {
        let (mut agent, job) = journey::imaging(&controller, number).await;
        verified(&agent, &job).await;
        enrolled(&controller, &mut agent).await;
        let report = journey::all_up(&state(&agent).await);
        let _: serde_json::Value = agent.ask(protocol::routes::REPORT, &report).await.unwrap();
    }
    rebuild(&controller, 1).await.unwrap();
    for _ in 0..2 {
        let refused = rebuild(&controller, 2).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 4));
        assert!(
            refused.error.contains("1 nodes were rebuilt within the last hour, and 1 are the most"),
            "{refused:?}"
        );
        assert!(refused.error.contains("rebuilds_per_hour under [limits]"), "{refused:?}");
        controller.stop().await;
        controller = Controller::start_as(folder.path(), limit).await;
    }
    controller.stop().await;
    let controller = Controller::start_as(folder.path(), "[limits]\nrebuilds_per_hour = 2\n").await;
    rebuild(&controller, 2).await.unwrap();
    rebuild(&controller, 3).await.unwrap_err();
    controller.stop().await;
}

async fn rebuild(controller: &Controller, number: u8) -> Result<serde_json::Value, operator::Refused> {
    let path = format!("/v1/nodes/n{number}/plan");
    let plan = operator::post(controller, &path, json!({})).await?;
    let path = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    operator::post(controller, &path, json!({"confirm": format!("n{number}")})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_severe_takes_two_people_where_that_is_wanted() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    if login.trim().parse().is_ok_and(|login: u32| login != u32::MAX) {
        eprintln!("skipped: whoever logged in here stays one person, whatever the user");
        return;
    }
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let said = "[operators]\nadmin = [\"nobody\"]\nsecond_person = true\n";
    let controller = Controller::start_as(folder.path(), said).await;
    let_in(&controller.socket());
    control_image(&controller).await;
    // A first installation is nothing severe.
    let (mut agent, job) = journey::imaging(&controller, 1).await;
    verified(&agent, &job).await;
    enrolled(&controller, &mut agent).await;
    let report = journey::all_up(&state(&agent).await);
    let _: serde_json::Value = agent.ask(protocol::routes::REPORT, &report).await.unwrap();
    let plan = operator::post(&controller, "/v1/nodes/n1/plan", json!({})).await.unwrap();
    let apply = format!("apply {} --confirm n1", plan["id"].as_str().unwrap());
    let path = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    for _ in 0..2 {
        let refused = operator::post(&controller, &path, json!({"confirm": "n1"})).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 5));
        assert!(refused.error.contains(&format!("rackwright {apply}")), "{refused:?}");
    }
    let node = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(node["state"], "active", "one alone has changed nothing");
    let (code, said) = as_nobody(&controller, "image delete control --confirm control").await;
    assert!(code == Some(5) && said.contains("nobody has asked for it now"), "something else: {said}");
    let (code, said) = as_nobody(&controller, &format!("{apply} --no-wait")).await;
    assert_eq!(code, Some(0), "{said}");
    let node = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(node["state"], "draining");
    // Both are in the journal: who asked in vain, and who was the second.
    let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let asked = journal.as_array().unwrap().iter().filter(|row| row["body"]["route"] == path.as_str());
    let asked = asked.map(|row| (row["kind"].as_str().unwrap(), row["actor"]["uid"].as_u64().unwrap()));
    assert_eq!(asked.collect::<Vec<_>>(), [("refused", 0), ("refused", 0), ("command", u64::from(NOBODY))]);
    controller.stop().await;
}
