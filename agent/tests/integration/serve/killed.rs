//! The agent is killed once at every single call by which it keeps or tells something, on its way from the first start to active: right before
//! the first message to systemd, the second, …; and the same with every connection, rename and sync. systemd starts it again, and it ends
//! where it would have.
//!
//! `RACKWRIGHT_POINTS=all` tries all of them; an ordinary run some that are spread over the way.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use protocol::{OrderKind, Report, StateDocument, TaskResult};

use super::container::SHARED;
use super::controller::Controller;
use super::documents::{document, file, is, service, systemctl, task, unit};
use super::inside::{AGENT, UNIT, run};

/// Calls, and of which in an ordinary run every how manyth is tried. They are counted in each thread.
const CALLS: [(&str, usize); 8] = [
    ("sendmsg", 60),
    ("sendto", 6),
    ("writev", 18),
    ("connect", 6),
    ("rename", 8),
    ("fsync", 12),
    ("unlink", 16),
    ("write", 48),
];
const STORY: &str = "story.service";
/// There while the next start of the agent is to be killed.
const ARMED: &str = "/run/story-armed";
/// What tasks leave, a line for each run.
const RUNS: [&str; 2] = ["/var/lib/story/once", "/var/lib/story/guarded"];

fn wanted() -> StateDocument {
    let append = |to: &str| format!("mkdir -p /var/lib/story; echo run >> {to}");
    let mut wanted = document(1);
    wanted.files = vec![
        file("/etc/systemd/system/story.service", &service("exec sleep infinity"), &[STORY]),
        file("/etc/story.conf", "a = 1\n", &[STORY]),
        file("/etc/hosts", "127.0.0.1 localhost\n10.77.0.11 n1\n", &[]),
    ];
    wanted.units = vec![unit(STORY)];
    wanted.tasks = vec![
        task("once", &[], &["/bin/sh", "-c", &append(RUNS[0])]),
        task("guarded", &["/usr/bin/test", "-e", RUNS[1]], &["/bin/sh", "-c", &append(RUNS[1])]),
    ];
    wanted
}

/// The agent as in an image, but for where its seed is; started by a script that has it killed where the test says.
fn install() {
    std::fs::write("/etc/systemd/system/rackwright-agent.service", UNIT).unwrap();
    let folder = "/etc/systemd/system/rackwright-agent.service.d";
    std::fs::create_dir_all(folder).unwrap();
    let start = format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=\nExecStart=/bin/sh {SHARED}/start\nRestartSec=100ms\n"
    );
    std::fs::write(format!("{folder}/seed.conf"), start).unwrap();
    systemctl(&["daemon-reload"]);
}

/// Nothing that an earlier story left, but for the host keys.
fn clean() {
    let _ = Command::new("systemctl").args(["stop", AGENT, STORY]).status();
    let _ = Command::new("systemctl").args(["disable", "--quiet", STORY]).status();
    for folder in ["/var/lib/rackwright-agent", "/var/lib/story"] {
        let _ = std::fs::remove_dir_all(folder);
    }
    for name in ["/etc/systemd/system/story.service", "/etc/story.conf", ARMED] {
        let _ = std::fs::remove_file(name);
    }
    systemctl(&["daemon-reload"]);
    let tasks = "rackwright-task-*";
    let _ = Command::new("systemctl").args(["stop", tasks]).status();
    let _ = Command::new("systemctl").args(["reset-failed", AGENT, tasks]).status();
}

/// One story: killed at the `number`th of these calls. `false` when it came to its end before.
async fn is_killed_at(calls: &str, number: usize) -> bool {
    clean();
    let controller = Controller::start().await;
    controller.with(|s| s.document = Some(wanted()));
    std::fs::write(format!("{SHARED}/seed"), controller.seed().encode().unwrap()).unwrap();
    let point = format!("trace={calls} inject={calls}:signal=SIGKILL:when={number}");
    std::fs::write(ARMED, &point).unwrap();
    let begun = Instant::now();
    systemctl(&["start", AGENT]);
    let (_, report) =
        controller.report(begun, &format!("the end of the story, {calls} {number}"), is_whole).await;
    // It may be killed at its last word, and has to say that again.
    let order = controller.order(OrderKind::Logs { unit: STORY.to_owned(), lines: 1 });
    controller
        .report(begun, &format!("an order is carried out, {calls} {number}"), |r| r.done_order >= order)
        .await;
    judge(&controller, &report, &format!("{calls} {number}"));
    systemctl(&["show", "--property=NRestarts", "--value", AGENT]) != "0"
}

fn is_whole(report: &Report) -> bool {
    let done = |task: &protocol::TaskReport| matches!(task.result, TaskResult::Done | TaskResult::Already);
    report.generation == 1
        && is(report, STORY, "active")
        && report.tasks.len() == 2
        && report.tasks.iter().all(done)
}

/// What there is in the end, whatever happened on the way.
fn judge(controller: &Controller, report: &Report, point: &str) {
    for runs in RUNS {
        assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n", "{point}: {runs}");
    }
    assert_eq!(systemctl(&["is-active", STORY]), "active", "{point}");
    assert_eq!(systemctl(&["is-enabled", STORY]), "enabled", "{point}");
    for wanted in wanted().files {
        assert_eq!(
            std::fs::read_to_string(&wanted.path).unwrap(),
            wanted.content,
            "{point}: {}",
            wanted.path
        );
    }
    let key = std::fs::read("/var/lib/rackwright-agent/key").unwrap();
    let ours = agent::keys::KeyPair::from_pkcs8(&key).unwrap().public();
    let enrols = controller.with(|s| s.enrols.clone());
    assert!(
        !enrols.is_empty() && enrols.iter().all(|enrol| enrol.key == ours),
        "{point}: one key, whatever happened"
    );
    let seed = std::fs::read(format!("{SHARED}/seed")).unwrap();
    assert!(seed.iter().all(|&byte| byte == 0), "{point}: the seed is wiped");
    let drafts = Command::new("find")
        .args(["/etc", "/var/lib/rackwright-agent", "-name", "*.rackwright-new"])
        .output();
    // What was begun and not finished is written over by the next life, wherever that has anything to write; a draft is never used.
    let drafts = String::from_utf8(drafts.unwrap().stdout).unwrap();
    for draft in drafts.lines() {
        assert!(!Path::new(draft).metadata().unwrap().is_dir(), "{point}: {draft}");
    }
    assert_eq!(report.applying, None, "{point}");
}

#[test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
fn killed_at_any_call_the_agent_goes_on() {
    run(async {
        let all = Path::new(&format!("{SHARED}/all")).exists();
        install();
        let (mut points, begun) = (0, Instant::now());
        for (calls, stride) in CALLS {
            let before = points;
            for number in (1..).step_by(if all { 1 } else { stride }) {
                if !is_killed_at(calls, number).await {
                    break;
                }
                points += 1;
            }
            println!("killed right before {calls}, at {} points", points - before);
        }
        clean();
        println!("killed at {points} points in {:?}, and the end was the same", begun.elapsed());
        assert!(points > 10, "{points} points: may strace trace here?");
    });
}
