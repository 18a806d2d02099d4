//! Verbs against the fake: words nobody has heard of, jobs that end badly, early or never, and liars.

use std::time::Duration;

use units::{Active, Change, JobOutcome, Systemd, UnitError, UnitName};

use crate::fake::{Act, Bus, Fake, unit};

const A: &str = "a.service";

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) async fn connected(bus: &Bus) -> Systemd {
    Systemd::connect_to(&bus.address()).await.unwrap().with_settling(Duration::ZERO)
}

#[tokio::test]
async fn words_of_a_newer_systemd_are_told_as_they_are() {
    let bus = Bus::start();
    let units = [(A, unit("refreshing", "reload-notify")), ("b.service", unit("levitating", "hovering"))];
    let _fake = Fake::on(&bus, &units).await;
    let systemd = connected(&bus).await;
    let state = systemd.state(&name(A)).await.unwrap();
    assert_eq!((state.active, state.sub.as_str()), (Active::Refreshing, "reload-notify"));
    assert_eq!(state.file_state, "indirect");
    let listed = systemd.list(&["*"]).await.unwrap();
    let words: Vec<_> = listed.iter().map(|row| (row.active.as_str(), row.sub.as_str())).collect();
    assert_eq!(words, [("refreshing", "reload-notify"), ("levitating", "hovering")]);
}

#[tokio::test]
async fn a_restart_of_the_machine_is_accepted_not_waited_for_and_nothing_calls_it_off() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[("reboot.target", unit("inactive", "dead"))]).await;
    let systemd = connected(&bus).await;
    // Of a machine that goes down, nobody hears that it is down.
    fake.will(Act::Hang);
    systemd.reboot().await.unwrap();
    let asked = fake.world.modes.lock().unwrap().clone();
    assert_eq!(asked, [("reboot.target".to_owned(), "replace-irreversibly".to_owned())]);
    fake.will(Act::Deny);
    let denied = systemd.reboot().await.unwrap_err();
    assert!(matches!(denied, UnitError::Denied { .. }) && !denied.is_uncertain(), "{denied}");
}

#[tokio::test]
async fn a_start_tells_the_state_it_led_to() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    let systemd = connected(&bus).await;
    let Change::Made(state) = systemd.start(&name(A)).await.unwrap() else { panic!("it was down") };
    assert_eq!((state.active, state.main_pid, state.since_usec), (Active::Active, 77, 1_700_000_000_000_000));
    assert_eq!(state.invocation.as_deref(), Some("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
    assert!(matches!(systemd.start(&name(A)).await.unwrap(), Change::Already(_)));
    assert_eq!(fake.starts(), 1);
}

#[tokio::test]
async fn a_queued_job_makes_nothing_already_so() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("active", "running"))]).await;
    fake.set(A, |unit| unit.job = 9);
    assert!(connected(&bus).await.start(&name(A)).await.unwrap().changed());
    assert_eq!(fake.starts(), 1);
}

#[tokio::test]
async fn results_of_jobs_come_through() {
    for (word, outcome) in [
        ("failed", JobOutcome::Failed),
        ("canceled", JobOutcome::Canceled),
        ("timeout", JobOutcome::Timeout),
        ("dependency", JobOutcome::Dependency),
        ("skipped", JobOutcome::Skipped),
        ("frozen", JobOutcome::Other("frozen".to_owned())),
    ] {
        let bus = Bus::start();
        let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
        fake.will(Act::End { result: word, active: "failed", sub: "failed" });
        match connected(&bus).await.start(&name(A)).await {
            Err(UnitError::Job { outcome: told, state, .. }) => {
                assert_eq!((told, state.active), (outcome, Active::Failed));
            }
            other => panic!("{word}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_start_that_leaves_nothing_running_is_no_start() {
    for (kind, result, up) in [("simple", "done", false), ("oneshot", "done", true)] {
        let bus = Bus::start();
        let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
        fake.set(A, |unit| unit.kind = kind.to_owned());
        fake.will(Act::End { result, active: "inactive", sub: "dead" });
        match connected(&bus).await.start(&name(A)).await {
            Ok(Change::Made(_)) => assert!(up, "{kind}"),
            Err(UnitError::NotUp { state, .. }) => assert!(!up && state.sub == "dead", "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_service_that_falls_over_while_it_settles_is_no_start() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    let systemd = connected(&bus).await.with_settling(Duration::from_secs(3600));
    let unit = name(A);
    let fall = async {
        // The second reading is the one after the job: from then on it settles.
        fake.world.readings_begun.acquire_many(2).await.unwrap().forget();
        fake.set(A, |unit| (unit.active, unit.result) = ("failed".to_owned(), "exit-code".to_owned()));
        fake.signal(A).await;
    };
    let (outcome, ()) = tokio::join!(systemd.start(&unit), fall);
    assert!(matches!(outcome, Err(UnitError::NotUp { state, .. }) if state.active == Active::Failed));
}

#[tokio::test]
async fn the_end_of_a_job_may_come_before_the_reply() {
    for act in [Act::EndFirst, Act::Flood] {
        let bus = Bus::start();
        let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
        fake.will(act);
        assert!(connected(&bus).await.start(&name(A)).await.unwrap().changed());
    }
}

#[tokio::test]
async fn a_start_says_that_it_has_begun_long_before_its_end_and_not_when_it_is_refused() {
    for (act, begins) in [(Act::Hang, true), (Act::Deny, false)] {
        let bus = Bus::start();
        let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
        fake.will(act);
        let systemd = connected(&bus).await;
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let unit = name(A);
        let start = systemd.start_then(&unit, || begun.send(()).unwrap());
        tokio::select! {
            biased;
            told = has_begun => assert_eq!(told.is_ok(), begins),
            ended = start => assert!(!begins && matches!(ended, Err(UnitError::Denied { .. }))),
        }
        assert_eq!(fake.starts(), 1);
    }
}

#[tokio::test]
async fn only_systemd_is_believed() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    fake.will(Act::Forged);
    match connected(&bus).await.start(&name(A)).await {
        Err(UnitError::Job { outcome, .. }) => assert_eq!(outcome, JobOutcome::Failed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_kind() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    fake.will(Act::Deny);
    let error = connected(&bus).await.start(&name(A)).await.unwrap_err();
    assert!(matches!(error, UnitError::Denied { .. }) && !error.is_uncertain());
    assert_eq!(error.to_string(), "starting a.service: not permitted: no");
}

#[tokio::test]
async fn a_bus_lost_in_the_middle_of_a_job_is_an_uncertain_end() {
    let mut bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    fake.will(Act::Hang);
    let systemd = connected(&bus).await;
    let waiting = tokio::spawn({
        let systemd = systemd.clone();
        async move { systemd.start(&name(A)).await }
    });
    while fake.starts() == 0 {
        tokio::task::yield_now().await;
    }
    bus.kill();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, UnitError::BusLost { .. }) && error.is_uncertain(), "{error:?}");
    let error = systemd.state(&name(A)).await.unwrap_err();
    assert!(matches!(error, UnitError::BusLost { .. }), "nobody is there: {error:?}");
    // The bus is back, and systemd on it: the next call finds both by itself.
    bus.restart();
    let _fake = Fake::on(&bus, &[(A, unit("active", "running"))]).await;
    assert_eq!(systemd.state(&name(A)).await.unwrap().active, Active::Active);
    assert!(!systemd.start(&name(A)).await.unwrap().changed());
}

#[tokio::test]
async fn systemd_falling_off_a_bus_that_stays_is_a_loss_too() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    fake.will(Act::Hang);
    let systemd = connected(&bus).await;
    let waiting = tokio::spawn({
        let systemd = systemd.clone();
        async move { systemd.start(&name(A)).await }
    });
    while fake.starts() == 0 {
        tokio::task::yield_now().await;
    }
    fake.connection.close().await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(UnitError::BusLost { .. })));
    let _fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    assert!(systemd.start(&name(A)).await.unwrap().changed());
}

#[tokio::test]
async fn no_bus_at_all_is_told_at_once() {
    for address in ["unix:path=/nonexistent/bus", "", "nonsense", "tcp:"] {
        assert!(matches!(Systemd::connect_to(address).await, Err(UnitError::BusLost { .. })), "{address:?}");
    }
}
