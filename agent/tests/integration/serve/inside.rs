//! What runs in the container, beside the agent: its controller, and a person at its shell.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::{Epoch, IdentityFile, OrderKind, Report, StateDocument, TaskResult};

use super::container::SHARED;
use super::controller::Controller;
use super::documents::{document, file, is, journal, of, pid, service, systemctl, task, unit};
use super::staged::{
    one_that_holds_on_keeps_the_machine_up, services_are_waited_for_beside_each_other,
    services_come_up_in_order,
};

pub(super) const UNIT: &str = include_str!(
    "../../../../image-build/recipes/node/files/usr/lib/systemd/system/rackwright-agent.service"
);
pub(super) const AGENT: &str = "rackwright-agent.service";
/// The product's promise.
const REPORTED: Duration = Duration::from_secs(2);

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

fn seed_path() -> String {
    format!("{SHARED}/seed")
}

/// The agent as in an image, but for where its seed is.
fn install() {
    std::fs::write("/etc/systemd/system/rackwright-agent.service", UNIT).unwrap();
    let folder = "/etc/systemd/system/rackwright-agent.service.d";
    std::fs::create_dir_all(folder).unwrap();
    let start =
        format!("[Service]\nExecStart=\nExecStart=/usr/bin/rackwright-agent serve --seed {}\n", seed_path());
    std::fs::write(format!("{folder}/seed.conf"), start).unwrap();
    systemctl(&["daemon-reload"]);
}

fn leave_seed(controller: &Controller) {
    std::fs::write(seed_path(), controller.seed().encode().unwrap()).unwrap();
}

const CHRONY: &str = "chrony.service";
const SSH: &str = "ssh.service";

fn base(generation: u64) -> StateDocument {
    let mut base = document(generation);
    base.files = vec![
        // Without its hands on the clock, which is the host's.
        file("/etc/default/chrony", "DAEMON_OPTS=\"-x\"\n", &[CHRONY]),
        file("/etc/chrony/chrony.conf", "driftfile /var/lib/chrony/drift\n", &[CHRONY]),
        file("/etc/hosts", "127.0.0.1 localhost\n10.77.0.11 n1\n", &[]),
    ];
    base.units = vec![unit(CHRONY), unit(SSH)];
    base.tasks = vec![task("mark", &["/usr/bin/test", "-e", "/run/mark"], &["/usr/bin/touch", "/run/mark"])];
    base
}

#[test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
fn a_node_from_seed_to_last_order() {
    run(async {
        let controller = Controller::start().await;
        // A node image starts its agent by itself; without a seed that one has only waited.
        let _ = Command::new("systemctl").args(["stop", AGENT]).status();
        let _ = std::fs::remove_dir_all("/var/lib/rackwright-agent");
        systemctl(&["stop", CHRONY, SSH]);
        for name in IdentityFile::PATHS {
            let _ = std::fs::remove_file(name);
        }
        install();
        enrols(&controller).await;
        becomes_what_it_shall_be(&controller).await;
        stopped_behind_our_back(&controller).await;
        disabled_behind_our_back(&controller).await;
        only_what_changed_is_restarted(&controller).await;
        nothing_is_restarted_with_the_agent(&controller).await;
        restarted_once_for_each_wish(&controller).await;
        what_fails_does_not_stop_the_rest(&controller).await;
        what_leaves_the_document_is_stopped(&controller).await;
        a_replaced_controller_is_not_obeyed(&controller).await;
        a_slow_unit_holds_nobody_up(&controller).await;
        after_an_outage_the_first_report_comes_at_once(&controller).await;
        logs_are_answered(&controller).await;
        a_flapping_unit_is_left_alone(&controller).await;
        services_come_up_in_order(&controller).await;
        services_are_waited_for_beside_each_other(&controller).await;
        one_that_holds_on_keeps_the_machine_up(&controller).await;
    });
}

async fn enrols(controller: &Controller) {
    // A controller that is not there yet, a seed that is not complete yet.
    let mut seed = controller.seed();
    seed.complete = false;
    std::fs::write(seed_path(), seed.encode().unwrap()).unwrap();
    controller.with(|s| s.broken = true);
    systemctl(&["start", AGENT]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(controller.with(|s| s.enrols.is_empty()));
    leave_seed(controller);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // A power cut before the answer came.
    systemctl(&["kill", "--signal=KILL", AGENT]);
    let key = std::fs::read("/var/lib/rackwright-agent/key").unwrap();
    let begun = Instant::now();
    controller.with(|s| s.broken = false);
    controller.report(begun, "the first sign of life", |_| true).await;
    let (enrols, escrows) = controller.with(|s| (s.enrols.clone(), s.escrows.clone()));
    let ours = agent::keys::KeyPair::from_pkcs8(&key).unwrap().public();
    assert!(!enrols.is_empty() && enrols.iter().all(|enrol| enrol.key == ours), "one key for all attempts");
    let handed = escrows.last().unwrap().iter().map(|file| file.path.as_str()).collect::<Vec<_>>();
    assert_eq!(handed, IdentityFile::PATHS);
    assert!(std::fs::read(seed_path()).unwrap().iter().all(|&byte| byte == 0), "the seed is wiped");
    let renewed = || std::fs::read_to_string("/var/lib/rackwright-agent/identity.json").unwrap();
    while renewed().contains("\"renew_ms\": 0") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mode = |path: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    };
    assert_eq!(mode("/var/lib/rackwright-agent"), 0o700);
    assert_eq!(mode("/var/lib/rackwright-agent/key"), 0o600);
    println!("enrolled {:?} after the controller answered", begun.elapsed());
}

async fn becomes_what_it_shall_be(controller: &Controller) {
    let begun = Instant::now();
    controller.with(|s| s.document = Some(base(1)));
    let whole = |r: &Report| r.generation == 1 && is(r, CHRONY, "active") && is(r, SSH, "active");
    let (took, report) = controller.report(begun, "generation 1, units up", whole).await;
    println!("generation 1 true after {took:?}");
    assert_eq!(report.applying, None);
    assert_eq!(report.tasks[0].result, TaskResult::Done);
    assert_eq!(report.facts.hostname, "n1");
    assert!(report.units.iter().all(|unit| unit.since_ms > 0 && unit.load == "loaded"), "{report:?}");
    assert_eq!(std::fs::read_to_string("/etc/hostname").unwrap(), "n1\n");
    assert!(std::fs::read_to_string("/etc/hosts").unwrap().contains("10.77.0.11 n1"));
    assert!(Path::new("/run/mark").exists());
    assert_eq!(systemctl(&["is-enabled", CHRONY]), "enabled");
    assert!(report.drift.is_empty(), "{report:?}");
}

async fn stopped_behind_our_back(controller: &Controller) {
    for round in 0..3 {
        let before = pid(CHRONY);
        let begun = Instant::now();
        Command::new("systemctl").args(["stop", CHRONY]).status().unwrap();
        let stop = begun.elapsed();
        let (seen, _) = controller.report(begun, "chrony down", |r| !is(r, CHRONY, "active")).await;
        let drift = |r: &Report| r.drift.iter().any(|drift| drift.what == CHRONY);
        let (told, report) = controller.report(begun, "chrony was stopped", drift).await;
        let (back, _) = controller.report(begun + seen, "chrony up again", |r| is(r, CHRONY, "active")).await;
        println!(
            "round {round}: systemctl took {stop:?}; reported after {seen:?}, drift {told:?}, up again {back:?}"
        );
        assert!(seen <= REPORTED && told <= REPORTED, "reported after {seen:?}, called drift after {told:?}");
        assert_eq!(report.drift[0].done, "starting it again");
        assert_ne!(pid(CHRONY), before);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Killed: systemd says failed, and why.
    let begun = Instant::now();
    systemctl(&["kill", "--signal=KILL", SSH]);
    let (back, report) = controller.report(begun, "ssh up again", |r| is(r, SSH, "active")).await;
    println!("killed ssh was up again after {back:?}: {:?}", report.drift);
}

async fn disabled_behind_our_back(controller: &Controller) {
    let begun = Instant::now();
    systemctl(&["disable", CHRONY]);
    let drift = |r: &Report| r.drift.iter().any(|drift| drift.done == "enabled again");
    controller.report(begun, "chrony was disabled", drift).await;
    assert_eq!(systemctl(&["is-enabled", CHRONY]), "enabled");
}

async fn only_what_changed_is_restarted(controller: &Controller) {
    let (chrony, ssh) = (pid(CHRONY), pid(SSH));
    let mut next = base(2);
    next.files[1] = file("/etc/chrony/chrony.conf", "driftfile /var/lib/chrony/other\n", &[CHRONY]);
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next));
    let (_, report) = controller.report(begun, "generation 2", |r| r.generation == 2).await;
    assert_ne!(pid(CHRONY), chrony, "its file changed");
    assert_eq!(pid(SSH), ssh);
    assert_eq!(report.tasks[0].result, TaskResult::Already);
    assert!(is(&report, CHRONY, "active"), "{report:?}");
}

async fn nothing_is_restarted_with_the_agent(controller: &Controller) {
    let (chrony, ssh) = (pid(CHRONY), pid(SSH));
    systemctl(&["kill", "--signal=KILL", AGENT]);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    controller.report(begun, "whole", |r| r.generation == 2 && is(r, CHRONY, "active")).await;
    assert_eq!((pid(CHRONY), pid(SSH)), (chrony, ssh));
    let drifts = controller.with(|s| {
        let since = s.reports.iter().filter(|(at, _)| *at >= begun);
        since.flat_map(|(_, report)| report.drift.clone()).collect::<Vec<_>>()
    });
    assert!(drifts.is_empty(), "{drifts:?}");
}

async fn restarted_once_for_each_wish(controller: &Controller) {
    let ssh = pid(SSH);
    let mut next = base(3);
    next.files[1] = file("/etc/chrony/chrony.conf", "driftfile /var/lib/chrony/other\n", &[CHRONY]);
    next.units[1].restarts = 1;
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next.clone()));
    controller.report(begun, "generation 3", |r| r.generation == 3).await;
    let again = pid(SSH);
    assert_ne!(again, ssh);
    next.generation = 4;
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next));
    let (_, report) = controller.report(begun, "generation 4", |r| r.generation == 4).await;
    assert_eq!(pid(SSH), again, "the same wish is not obeyed twice");
    assert!(report.drift.is_empty(), "our own doing is nobody's drift: {:?}", report.drift);
}

async fn what_fails_does_not_stop_the_rest(controller: &Controller) {
    let mut next = base(5);
    let broken = service("echo dead on arrival >&2; exit 3");
    next.files.push(file("/etc/systemd/system/broken.service", &broken, &["broken.service"]));
    next.files.push(file("/etc/systemd/system/fine.service", &service("exec sleep infinity"), &[]));
    next.files.push(file("/usr/bin/rackwright-agent", "no", &[]));
    next.units = vec![
        unit("broken.service"),
        unit("missing.service"),
        unit("../bad.service"),
        unit("fine.service"),
        unit(CHRONY),
        unit(SSH),
    ];
    next.tasks.push(task("hopeless", &[], &["/bin/sh", "-c", "echo no hope; exit 4"]));
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next));
    let (_, report) = controller.report(begun, "generation 5", |r| r.generation == 5).await;
    assert!(is(&report, "fine.service", "active") && is(&report, CHRONY, "active"), "{report:#?}");
    let (_, report) = controller
        .report(begun, "the failure", |r| is(r, "broken.service", "failed") && r.generation == 5)
        .await;
    let log = &of(&report, "broken.service").unwrap().log;
    assert!(log.iter().any(|line| line.contains("dead on arrival")), "{log:?}");
    let missing = of(&report, "missing.service").unwrap();
    assert!(missing.load == "not-found" && !missing.log.is_empty(), "{missing:?}");
    let failed = |name: &str| {
        let found = report.tasks.iter().find(|task| task.name == name);
        found.filter(|task| matches!(task.result, TaskResult::Failed { .. })).cloned()
    };
    let task = failed("hopeless").unwrap();
    assert!(task.log.iter().any(|line| line.contains("no hope")), "{task:?}");
    let files = failed("files").unwrap();
    assert!(format!("{files:?}").contains("refused"), "{files:?}");

    // Mended by somebody: the retry finds it.
    let begun = Instant::now();
    std::fs::write("/usr/local/bin/hope", "").unwrap();
    let mut next = base(6);
    next.files.push(file(
        "/etc/systemd/system/broken.service",
        &service("test -e /run/mended && exec sleep infinity"),
        &[],
    ));
    next.units.insert(0, unit("broken.service"));
    controller.with(|s| s.document = Some(next));
    controller
        .report(begun, "still broken", |r| r.generation == 6 && is(r, "broken.service", "failed"))
        .await;
    std::fs::write("/run/mended", "").unwrap();
    let (took, _) = controller.report(begun, "mended", |r| is(r, "broken.service", "active")).await;
    println!("mended unit was tried again after {took:?}");
}

async fn what_leaves_the_document_is_stopped(controller: &Controller) {
    assert_eq!(systemctl(&["is-active", "fine.service"]), "inactive", "it left with generation 6");
    assert_eq!(systemctl(&["is-enabled", "fine.service"]), "disabled");
    let mut next = base(7);
    next.units[1].running = false;
    next.units[1].enabled = false;
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next));
    controller.report(begun, "ssh down", |r| r.generation == 7 && is(r, SSH, "inactive")).await;
    let begun = Instant::now();
    systemctl(&["start", SSH]);
    let drift = |r: &Report| r.drift.iter().any(|drift| drift.done == "stopped again");
    controller.report(begun, "ssh stopped again", drift).await;
    assert_eq!(systemctl(&["is-active", SSH]), "inactive");
}

async fn a_replaced_controller_is_not_obeyed(controller: &Controller) {
    controller.with(|s| (s.epoch, s.document) = (Epoch(2), Some(base(8))));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(systemctl(&["is-active", SSH]), "inactive", "generation 8 wants it up");
    let begun = Instant::now();
    controller.with(|s| s.epoch = Epoch(4));
    controller.report(begun, "generation 8", |r| r.generation == 8 && is(r, SSH, "active")).await;
    let applied = std::fs::read_to_string("/var/lib/rackwright-agent/applied.json").unwrap();
    assert!(applied.contains("\"epoch\": 4"), "{applied}");
}

async fn a_slow_unit_holds_nobody_up(controller: &Controller) {
    const SLOW: &str = "slow.service";
    const OTHERS: [&str; 3] = ["zeta.service", "eta.service", "theta.service"];
    let oneshot = |seconds: u32| {
        format!("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep {seconds}\n")
    };
    let mut next = base(9);
    next.files.push(file("/etc/systemd/system/slow.service", &oneshot(3600), &[SLOW]));
    next.units.insert(0, unit(SLOW));
    for name in OTHERS {
        next.files.push(file(&format!("/etc/systemd/system/{name}"), &oneshot(3), &[]));
        next.units.push(unit(name));
    }
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next.clone()));
    let up = |r: &Report| OTHERS.iter().all(|name| is(r, name, "active"));
    let (took, _) = controller.report(begun, "all but the slow one", up).await;
    println!("three units of 3 s each were up after {took:?}, behind one of an hour");
    assert!(took < Duration::from_secs(8), "{took:?}: one after the other");
    let begins = [SLOW].into_iter().chain(OTHERS).map(|name| {
        let property = "--property=InactiveExitTimestampMonotonic";
        systemctl(&["show", property, "--value", name]).parse::<u64>().unwrap()
    });
    let begins = begins.collect::<Vec<_>>();
    // systemd begins in an order of its own what it was told in the same moment; microseconds.
    assert!(
        begins.is_sorted_by(|one, next| *one < next + 100_000),
        "started in the order of the document: {begins:?}"
    );
    assert_eq!(systemctl(&["is-active", SLOW]), "activating");

    // Something else changes: what is on its way does not begin once more.
    let run = || systemctl(&["show", "--property=InvocationID", "--value", SLOW]);
    let first = run();
    next.generation = 10;
    next.files[2] = file("/etc/hosts", "127.0.0.1 localhost\n10.77.0.11 n1\n10.77.0.12 n2\n", &[]);
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next.clone()));
    controller.report(begun, "generation 10 begun", |r| r.applying == Some(10)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(std::fs::read_to_string("/etc/hosts").unwrap().contains("n2"));
    assert_eq!((run(), systemctl(&["is-active", SLOW])), (first, "activating".to_owned()));

    // The operator does not want it after all.
    next.generation = 11;
    (next.units[0].running, next.units[0].enabled) = (false, false);
    let begun = Instant::now();
    controller.with(|s| s.document = Some(next));
    // systemd calls a program that it ended before it was through a failed one.
    let down = |r: &Report| r.generation == 11 && (is(r, SLOW, "failed") || is(r, SLOW, "inactive"));
    let (took, _) = controller.report(begun, "the slow one stopped", down).await;
    println!("a unit that was still starting was stopped after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    controller.with(|s| s.document = Some(base(12)));
    controller.report(begun, "generation 12", |r| r.generation == 12).await;
}

async fn after_an_outage_the_first_report_comes_at_once(controller: &Controller) {
    controller.with(|s| s.broken = true);
    // Long enough for the waits to have grown to their longest.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let begun = Instant::now();
    controller.with(|s| s.broken = false);
    let (took, _) = controller.report(begun, "a report after the outage", |_| true).await;
    println!("reported {took:?} after the controller was there again");
    assert!(took <= REPORTED, "{took:?}; the agent's journal:\n{}", journal(AGENT));
}

async fn logs_are_answered(controller: &Controller) {
    let begun = Instant::now();
    let order = controller.order(OrderKind::Logs { unit: SSH.to_owned(), lines: 5 });
    let bad = controller.order(OrderKind::Logs { unit: "../../etc/shadow".to_owned(), lines: 5 });
    let (_, report) = controller.report(begun, "answers", |r| r.done_order >= bad).await;
    let answer = |id| {
        controller.with(|s| {
            let mut answers = s.reports.iter().flat_map(|(_, report)| &report.answers);
            answers.find(|answer| answer.order == id).cloned()
        })
    };
    let lines = answer(order).unwrap();
    assert!(lines.error.is_none() && (1..=5).contains(&lines.lines.len()), "{lines:?}");
    assert!(answer(bad).unwrap().error.is_some());
    assert_eq!(report.done_order, bad);
}

async fn a_flapping_unit_is_left_alone(controller: &Controller) {
    let alone = |r: &Report| r.drift.iter().any(|drift| drift.done.starts_with("left alone"));
    let begun = Instant::now();
    std::fs::write("/etc/hosts", "127.0.0.1 nobody\n").unwrap();
    for _ in 0..6 {
        let since = Instant::now();
        systemctl(&["stop", CHRONY]);
        let settled = |r: &Report| r.drift.iter().any(|drift| drift.what == CHRONY);
        controller.report(since, "chrony judged", settled).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        if controller.with(|s| s.reports.iter().any(|(at, report)| *at >= begun && alone(report))) {
            break;
        }
    }
    let (_, report) = controller.report(begun, "left alone", alone).await;
    println!("{:?}", report.drift);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(systemctl(&["is-active", CHRONY]), "inactive", "the retry respects it too");
    let hosts = |r: &Report| r.drift.iter().any(|drift| drift.what == "/etc/hosts");
    controller.report(begun, "the changed file", hosts).await;
    assert!(std::fs::read_to_string("/etc/hosts").unwrap().contains("10.77.0.11 n1"));
    // A person who starts it has the last word.
    systemctl(&["start", CHRONY]);
    let since = Instant::now();
    controller.report(since, "up", |r| is(r, CHRONY, "active")).await;
}

#[test]
#[ignore = "runs last in the container that `container` boots; `cargo xtask test` brings it"]
fn a_rebuild_is_ordered() {
    run(async {
        systemctl(&["stop", AGENT]);
        let _ = std::fs::remove_dir_all("/var/lib/rackwright-agent");
        let controller = Controller::start().await;
        // A node that was known before: its keys come back.
        let key = IdentityFile {
            path: IdentityFile::PATHS[2].to_owned(),
            mode: 0o600,
            content: data_encoding::BASE64.encode(b"kept"),
        };
        controller.with(|s| s.identity = vec![key]);
        leave_seed(&controller);
        let begun = Instant::now();
        systemctl(&["start", AGENT]);
        controller.report(begun, "a sign of life", |_| true).await;
        assert_eq!(std::fs::read(IdentityFile::PATHS[2]).unwrap(), b"kept");
        assert!(controller.with(|s| s.escrows.is_empty()));
        controller.order(OrderKind::Redeploy { force: false, keeps: false });
        loop {
            if let Some(ticket) = controller.with(|s| s.tickets.last().copied()) {
                std::fs::write(format!("{SHARED}/ticket"), ticket.key.to_string()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
