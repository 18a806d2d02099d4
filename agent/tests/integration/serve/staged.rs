//! Services of a cloud under a real systemd: each comes up when what it needs is well, and how it is, is told.

use std::path::Path;
use std::time::Instant;

use protocol::{
    Check, CheckKind, Leave, OrderKind, Report, ServiceHealth, ServiceWanted, StateDocument, UnitWanted, When,
};

use super::controller::Controller;
use super::documents::{document, file, is, service, systemctl, task, unit};

const FIRST: &str = "first.service";
const SECOND: &str = "second.service";
const SSH: &str = "ssh.service";
/// Beyond all that the other stories count to.
const GENERATION: u64 = 900;

fn wanted() -> StateDocument {
    let not_by_the_boot = |name: &str| UnitWanted { enabled: false, ..unit(name) };
    let before = ["/bin/sh", "-ec", "test -e /run/allowed && touch /run/first-made"];
    let mut first = task("first-before", &["/usr/bin/test", "-e", "/run/first-made"], &before);
    first.when = When::BeforeUnits;
    let after = ["/bin/sh", "-ec", "systemctl is-active second.service && touch /run/second-done"];
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let answers = CheckKind::Command { argv: words(&["/usr/bin/test", "-e", "/run/first-answers"]) };
    let one = |name: &str, unit: &str, task: &str, needs: &[&str]| ServiceWanted {
        name: name.to_owned(),
        units: words(&[unit]),
        tasks: words(&[task]),
        needs: words(needs),
        check: None,
        leave: None,
    };
    let holds_on = "echo \"$*\" >/run/second-left; echo it goes nowhere; test \"$2\" = --force";
    let leave = Leave {
        argv: words(&["/bin/sh", "-c", holds_on, "second"]),
        back: words(&["/usr/bin/touch", "/run/second-back"]),
        timeout_seconds: 30,
    };
    StateDocument {
        files: vec![
            file("/etc/systemd/system/first.service", &service("exec sleep 9999"), &[]),
            file("/etc/systemd/system/second.service", &service("exec sleep 9999"), &[]),
        ],
        // In the wrong order: what needs what is what counts.
        units: vec![not_by_the_boot(SECOND), not_by_the_boot(FIRST)],
        tasks: vec![task("second-after", &["/usr/bin/test", "-e", "/run/second-done"], &after), first],
        services: vec![
            ServiceWanted {
                check: Some(Check { kind: answers, within_seconds: 1 }),
                ..one("first", FIRST, "first-before", &[])
            },
            ServiceWanted { leave: Some(leave), ..one("second", SECOND, "second-after", &["first"]) },
        ],
        ..document(GENERATION)
    }
}

fn of<'a>(report: &'a Report, name: &str) -> Option<&'a ServiceHealth> {
    report.services.iter().find(|told| told.name == name).map(|told| &told.health)
}

fn is_ill(report: &Report, name: &str, why: &str) -> bool {
    matches!(of(report, name), Some(ServiceHealth::Ill { why: told }) if told.contains(why))
}

fn waits(report: &Report) -> bool {
    of(report, "second") == Some(&ServiceHealth::Coming { what: "first to be well".to_owned() })
}

pub(super) async fn services_come_up_in_order(controller: &Controller) {
    for mark in ["allowed", "first-made", "first-answers", "second-done"] {
        let _ = std::fs::remove_file(format!("/run/{mark}"));
    }
    controller.with(|s| s.document = Some(wanted()));
    let begun = Instant::now();
    let fails = |r: &Report| is_ill(r, "first", "task first-before failed") && waits(r);
    let (_, report) = controller.report(begun, "the first one's task fails", fails).await;
    assert!(!is(&report, FIRST, "active") && !is(&report, SECOND, "active"), "{report:?}");
    assert_eq!(systemctl(&["is-active", FIRST, SECOND]), "inactive\ninactive");

    std::fs::write("/run/allowed", "").unwrap();
    let silent = |r: &Report| is_ill(r, "first", "not well 1 s after its units were up") && waits(r);
    let (_, report) = controller.report(Instant::now(), "the first one does not answer", silent).await;
    assert!(is(&report, FIRST, "active") && !is(&report, SECOND, "active"), "{report:?}");
    assert!(!Path::new("/run/second-done").exists());

    std::fs::write("/run/first-answers", "").unwrap();
    let well = |r: &Report, name: &str| of(r, name) == Some(&ServiceHealth::Well);
    let both = |r: &Report| well(r, "first") && well(r, "second") && r.generation == GENERATION;
    let (_, report) = controller.report(Instant::now(), "both are well", both).await;
    assert!(is(&report, FIRST, "active") && is(&report, SECOND, "active"), "{report:?}");
    assert!(Path::new("/run/second-done").exists(), "after its units");
    assert_eq!(systemctl(&["is-enabled", FIRST]), "disabled", "the boot starts none of them");

    std::fs::remove_file("/run/first-answers").unwrap();
    let gone = |r: &Report| is_ill(r, "first", "says no");
    let (_, report) = controller.report(Instant::now(), "the first one answers no more", gone).await;
    assert!(
        well(&report, "second") && is(&report, SECOND, "active"),
        "nothing is stopped for that: {report:?}"
    );
}

/// A service answers only when one is up that comes after it and needs nothing of it: with one after the other it would be given up.
pub(super) async fn services_are_waited_for_beside_each_other(controller: &Controller) {
    let answers = ["/usr/bin/test", "-e", "/run/quick-done"].map(str::to_owned).into();
    // Long enough for a report of what waits meanwhile.
    let touch = ["/bin/sh", "-c", "sleep 3 && touch /run/quick-done"];
    let one = |name: &str, unit: &str| ServiceWanted {
        name: name.to_owned(),
        units: vec![unit.to_owned()],
        tasks: Vec::new(),
        needs: Vec::new(),
        check: None,
        leave: None,
    };
    let check = Check { kind: CheckKind::Command { argv: answers }, within_seconds: 30 };
    let slow = ServiceWanted { check: Some(check), ..one("slow", FIRST) };
    let after = ServiceWanted { needs: vec!["slow".to_owned()], ..one("after", SSH) };
    let quick = ServiceWanted { tasks: vec!["quick-done".to_owned()], ..one("quick", SECOND) };
    let before = wanted();
    let document = StateDocument {
        tasks: vec![task("quick-done", &["/usr/bin/test", "-e", "/run/quick-done"], &touch)],
        services: vec![slow, after, quick],
        units: [before.units.clone(), vec![unit(SSH)]].concat(),
        ..StateDocument { generation: GENERATION + 1, ..before.clone() }
    };
    let _ = std::fs::remove_file("/run/quick-done");
    let begun = Instant::now();
    controller.with(|s| s.document = Some(document));
    let well = |report: &Report, name: &str| of(report, name) == Some(&ServiceHealth::Well);
    let all = |report: &Report| ["slow", "after", "quick"].iter().all(|name| well(report, name));
    let waited = |report: &Report| {
        let slow = ServiceHealth::Coming { what: "slow to be well".to_owned() };
        of(report, "after") == Some(&slow)
    };
    controller.report(begun, "one that needs the slow one waits", waited).await;
    controller.report(begun, "all three are well", all).await;
    let gave_up =
        |report: &Report| is_ill(report, "slow", "") || well(report, "after") && !well(report, "slow");
    let seen = controller.with(|s| s.reports.iter().find(|(at, r)| *at >= begun && gave_up(r)).cloned());
    assert!(seen.is_none(), "{seen:?}");
    std::fs::write("/run/first-answers", "").unwrap();
    let begun = Instant::now();
    controller.with(|s| s.document = Some(StateDocument { generation: GENERATION + 2, ..before }));
    let back = |report: &Report| well(report, "second") && report.generation == GENERATION + 2;
    controller.report(begun, "as it was", back).await;
}

/// As [`services_come_up_in_order`] left it: the service that gives its work away can't, and so the machine stays, with that service.
pub(super) async fn one_that_holds_on_keeps_the_machine_up(controller: &Controller) {
    for (kind, said) in [
        (OrderKind::Redeploy { force: false, keeps: false }, "rewrite\n"),
        (OrderKind::Redeploy { force: false, keeps: true }, "restart\n"),
    ] {
        for mark in ["second-left", "second-back"] {
            let _ = std::fs::remove_file(format!("/run/{mark}"));
        }
        let since = Instant::now();
        let order = controller.order(kind);
        let refuses = |report: &Report| {
            let answer = report.answers.iter().find(|answer| answer.order == order);
            answer.and_then(|answer| answer.error.as_deref()) == Some("second: it goes nowhere")
        };
        controller.report(since, "the refusal", refuses).await;
        assert_eq!(std::fs::read_to_string("/run/second-left").unwrap(), said);
        assert!(Path::new("/run/second-back").exists(), "it takes part again");
        assert_eq!(systemctl(&["is-active", SECOND]), "active");
    }
}
