//! The program that ships, against a real daemon's socket: exit codes and what is said.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::controller::Controller;
use crate::journey::{control_image, imaging, planned, progress};
use crate::operator::{self, Ran, rackwright, rackwright_at};

/// `error: WHAT`, and what to do about it somewhere in the text.
fn says(ran: &Ran, code: i32, part: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.err.starts_with("error: ") && ran.err.contains(part), "{ran:?}");
    assert_eq!(ran.out, "", "messages are not data");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (_agent, plan) = planned(&controller, 1).await;
    for words in
        ["status", "status --check", "node list", "plan list", "image list", "job list", "event list"]
    {
        let ran = rackwright(&controller, words).await;
        assert!(ran.code == Some(0) && ran.err.is_empty() && !ran.out.is_empty(), "{words}: {ran:?}");
        let ran = rackwright(&controller, &format!("{words} -o json")).await;
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["apiVersion"], "rackwright/v1", "{words}");
    }
    says(
        &rackwright(&controller, "node show n9").await,
        3,
        "there is no node \"n9\": see rackwright node list",
    );
    says(&rackwright(&controller, "job show 00").await, 3, "see rackwright job list");
    let ran = rackwright(&controller, "plan --exit-code").await;
    assert!(ran.code == Some(10) && ran.out.contains("serial:SYS1") && ran.out.contains(&plan), "{ran:?}");
    says(&rackwright(&controller, "node retry n1").await, 4, "only a node that needs attention");
    says(&rackwright(&controller, "node rename n1 localhost").await, 2, "host name");
    says(&rackwright(&controller, &format!("apply {plan}")).await, 5, "--confirm n1");
    says(
        &rackwright(&controller, &format!("apply {plan} --confirm n2")).await,
        5,
        "nothing has been changed",
    );
    says(&rackwright(&controller, "node rebuild n1").await, 5, "--confirm");
    let nowhere = folder.path().join("nobody.sock");
    says(&rackwright_at(&nowhere, "status").await, 6, "systemctl status rackwright.service");
    assert_eq!(rackwright(&controller, "node list --colour").await.code, Some(2));
    let ran = rackwright(&controller, &format!("apply {plan} --confirm n1 --no-wait")).await;
    assert_eq!((ran.code, ran.out.trim().len()), (Some(0), 16), "the job's id: {ran:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_over_and_an_interrupt_leave_the_job_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (agent, job) = imaging(&controller, 1).await;
    assert!(progress(&agent, &job, 1 << 20).await);
    let id = job.job.to_string();
    let ran = rackwright(&controller, &format!("job watch {id} --timeout 1s")).await;
    assert!(ran.code == Some(7) && ran.err.contains(&format!("rackwright job watch {id}")), "{ran:?}");
    for (names, hint) in
        [(vec![id], "rackwright job watch "), (vec![], "the jobs go on; rackwright job watch")]
    {
        let (code, said) = interrupted(&controller, names).await;
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("on; ") && said.contains(hint), "{said}");
    }
    assert!(progress(&agent, &job, 2 << 20).await, "nobody stopped it");
    controller.stop().await;
}

/// Watches jobs, presses Ctrl-C, and says how that ended.
async fn interrupted(controller: &Controller, names: Vec<String>) -> (Option<i32>, String) {
    let socket = controller.socket();
    let watching = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackwright"));
        command.arg("--socket").arg(socket).args(["job", "watch"]).args(names);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The first thing it says is the first look at the job: from then on it watches.
        let mut child = child;
        let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut err, &mut line).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::io::Read::read_to_string(&mut err, &mut line).unwrap();
        (child.wait().unwrap().code(), line)
    });
    watching.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_exit_code_nine_for_those_who_check() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (agent, job) = imaging(&controller, 1).await;
    let failed = json!({"job": job.job, "phase": "write", "total_bytes": 1, "done_bytes": 0, "same_bytes": 0,
        "read_back_bytes": 0, "fetched_bytes": 0, "failed": "writing serial:SYS1 at byte 4096: it is gone"});
    let _: Value = agent.ask(protocol::routes::PROGRESS, &failed).await.unwrap();
    assert_eq!(rackwright(&controller, "status").await.code, Some(0));
    let ran = rackwright(&controller, "status --check").await;
    assert!(ran.code == Some(9) && ran.out.contains("ATTENTION"), "{ran:?}");
    assert!(ran.out.contains("rackwright node why n1"), "what to do next: {ran:?}");
    let why = rackwright(&controller, "node why n1").await;
    assert!(why.code == Some(0) && why.out.contains("byte 4096"), "{why:?}");
    let id = job.job.to_string();
    says(&rackwright(&controller, &format!("job watch {id}")).await, 1, "rackwright node why n1");
    controller.stop().await;
}

/// The socket's mode is the permission. Only root can become somebody else to try.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_may_not_open_the_socket_is_told_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(open).tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    // The program too must be where anybody can reach it.
    let program = folder.path().join("rackwright");
    std::fs::copy(env!("CARGO_BIN_EXE_rackwright"), &program).unwrap();
    let socket = controller.socket();
    let done = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.arg("--socket").arg(socket).arg("status").uid(65_534).gid(65_534);
        command.output().unwrap()
    });
    let done = done.await.unwrap();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(11), "{err}");
    assert!(err.contains("as root or as a member of the group rackwright"), "{err}");
    assert!(operator::get(&controller, "/v1/status").await.is_ok());
    controller.stop().await;
}
