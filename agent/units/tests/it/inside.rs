//! The same verbs with a real systemd, as root, in a container that is thrown away afterwards. Started by
//! `container`; each test writes the unit files it needs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use units::{Active, Change, Exit, JobOutcome, Systemd, Task, TaskName, UnitError, Watch};

use crate::cases::name;

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

async fn with_units(files: &[(&str, &str)]) -> Systemd {
    assert!(Path::new("/opt/units-test").exists(), "this changes units: run it in the container only");
    for (name, text) in files {
        std::fs::write(format!("/etc/systemd/system/{name}"), text).unwrap();
    }
    let systemd = Systemd::connect().await.unwrap();
    systemd.daemon_reload().await.unwrap();
    systemd
}

fn systemctl(args: &[&str]) {
    assert!(Command::new("systemctl").args(args).status().unwrap().success(), "systemctl {args:?}");
}

async fn until(watch: &mut Watch, unit: &str, active: Active) {
    loop {
        match watch.next().await {
            Ok(state) if state.name.as_str() == unit && state.active == active => return,
            Ok(_) | Err(UnitError::BusLost { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_service_goes_up_and_down() {
    let systemd = with_units(&[("rw-up.service", SLEEPER)]).await;
    let unit = name("rw-up.service");
    let Change::Made(up) = systemd.start(&unit).await.unwrap() else { panic!("was down") };
    assert_eq!(
        (up.active.as_str(), up.sub.as_str(), up.file_state.as_str()),
        ("active", "running", "disabled")
    );
    assert!(Path::new(&format!("/proc/{}", up.main_pid)).exists() && up.since_usec > 0);
    assert!(up.invocation.as_deref().is_some_and(|id| id.len() == 32), "{up:?}");
    let Change::Already(again) = systemd.start(&unit).await.unwrap() else { panic!("was up") };
    assert_eq!(again, up);
    let Change::Made(new) = systemd.restart(&unit).await.unwrap() else { panic!("restarts") };
    assert_ne!((new.main_pid, &new.invocation), (up.main_pid, &up.invocation));
    let Change::Made(down) = systemd.stop(&unit).await.unwrap() else { panic!("was up") };
    assert_eq!((down.active, down.main_pid), (Active::Inactive, 0));
    assert!(!systemd.stop(&unit).await.unwrap().changed());
    let listed = systemd.list(&["multi-user.target", "-.mount"]).await.unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn failures_have_their_names() {
    let systemd = with_units(&[
        ("rw-false.service", "[Service]\nExecStart=/bin/false\n"),
        ("rw-true.service", "[Service]\nExecStart=/bin/true\n"),
        ("rw-late.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.2; exit 3'\n"),
        ("rw-none.service", "[Service]\nType=exec\nExecStart=/bin/none\n"),
        ("rw-once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("rw-once-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("rw-slow.service", "[Service]\nType=notify\nTimeoutStartSec=1\nExecStart=/bin/sleep infinity\n"),
        (
            "rw-needs.service",
            "[Unit]\nRequires=rw-none.service\nAfter=rw-none.service\n[Service]\nExecStart=/bin/sleep 9\n",
        ),
        (
            "rw-cond.service",
            "[Unit]\nConditionPathExists=/nowhere\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
        ),
        ("rw-bad.service", "[Service]\nType=nonsense\n"),
    ])
    .await;
    for (unit, told) in [
        ("rw-true.service", "not up inactive success"),
        ("rw-false.service", "not up failed exit-code"),
        ("rw-late.service", "not up failed exit-code"),
        ("rw-cond.service", "not up inactive success"),
        ("rw-none.service", "failed failed exit-code"),
        ("rw-once-bad.service", "failed failed exit-code"),
        ("rw-slow.service", "failed failed timeout"),
        ("rw-needs.service", "dependency inactive success"),
        ("rw-once.service", "made inactive success"),
        ("rw-bad.service", "refused"),
        ("rw-nowhere.service", "no such unit"),
    ] {
        let said = match systemd.start(&name(unit)).await {
            Ok(change) => format!("made {} {}", change.get().active, change.get().result),
            Err(UnitError::NotUp { state, .. }) => format!("not up {} {}", state.active, state.result),
            Err(UnitError::Job { outcome, state, .. }) => {
                format!("{outcome} {} {}", state.active, state.result)
            }
            Err(UnitError::NoSuchUnit { .. }) => "no such unit".to_owned(),
            Err(UnitError::Refused { .. }) => "refused".to_owned(),
            Err(other) => panic!("{unit}: {other}"),
        };
        assert_eq!(said, told, "{unit}");
    }
    assert!(!systemd.state(&name("rw-nowhere.service")).await.unwrap().exists());
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn reload_asks_only_what_can_reload() {
    let can = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n";
    let cannot = "[Service]\nExecStart=/bin/sleep infinity\n";
    let bad = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/false\n";
    let files = [("rw-rl.service", can), ("rw-norl.service", cannot), ("rw-badrl.service", bad)];
    let systemd = with_units(&files).await;
    assert!(systemd.reload(&name("rw-rl.service")).await.is_err(), "it is down");
    for (unit, _) in files {
        assert!(systemd.start(&name(unit)).await.unwrap().changed());
    }
    assert_eq!(systemd.reload(&name("rw-rl.service")).await.unwrap().get().active, Active::Active);
    assert!(matches!(systemd.reload(&name("rw-norl.service")).await, Err(UnitError::Refused { .. })));
    match systemd.reload(&name("rw-badrl.service")).await {
        Err(UnitError::Job { outcome, .. }) => assert_eq!(outcome, JobOutcome::Failed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn the_start_limit_has_a_way_out() {
    let text = "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n[Service]\nExecStart=/bin/false\n";
    let systemd = with_units(&[("rw-limit.service", text)]).await;
    let unit = name("rw-limit.service");
    for _ in 0..2 {
        assert!(matches!(systemd.start(&unit).await, Err(UnitError::NotUp { .. })));
    }
    match systemd.start(&unit).await {
        // Not started at all, so the result is still that of the last run.
        Err(UnitError::Job { outcome, .. }) => assert_eq!(outcome, JobOutcome::Failed),
        other => panic!("{other:?}"),
    }
    systemd.reset_failed(&unit).await.unwrap();
    assert_eq!(systemd.state(&unit).await.unwrap().active, Active::Inactive);
    assert!(matches!(systemd.start(&unit).await, Err(UnitError::NotUp { .. })), "it may try again");
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn unit_files_are_switched_and_say_whether_that_was_needed() {
    let static_unit = "[Service]\nExecStart=/bin/sleep infinity\n";
    let systemd = with_units(&[("rw-en.service", SLEEPER), ("rw-static.service", static_unit)]).await;
    let unit = name("rw-en.service");
    let file_state = async || systemd.state(&unit).await.unwrap().file_state;
    assert_eq!(file_state().await, "disabled");
    assert!(systemd.enable(&unit).await.unwrap().changed());
    assert_eq!(file_state().await, "enabled");
    assert!(!systemd.enable(&unit).await.unwrap().changed());
    assert!(systemd.disable(&unit).await.unwrap().changed());
    assert!(!systemd.disable(&unit).await.unwrap().changed());
    assert_eq!(file_state().await, "disabled");
    assert!(!systemd.enable(&name("rw-static.service")).await.unwrap().changed());
    assert!(matches!(systemd.enable(&name("rw-no.service")).await, Err(UnitError::NoSuchUnit { .. })));
    // What is masked has to be without a file in /etc.
    std::fs::write("/usr/lib/systemd/system/rw-mask.service", SLEEPER).unwrap();
    let unit = name("rw-mask.service");
    assert!(systemd.mask(&unit).await.unwrap().changed());
    assert!(!systemd.mask(&unit).await.unwrap().changed());
    assert!(matches!(systemd.start(&unit).await, Err(UnitError::Masked { .. })));
    assert!(systemd.unmask(&unit).await.unwrap().changed());
    assert!(!systemd.unmask(&unit).await.unwrap().changed());
    assert!(systemd.start(&unit).await.unwrap().changed());
}

fn task(of: &str, script: &str) -> Task {
    Task::new(TaskName::parse(of).unwrap(), ["/bin/sh", "-c", script], Duration::from_secs(60))
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn tasks_end_as_they_end() {
    let systemd = with_units(&[]).await;
    let run = async |task: &Task| systemd.run(task).await.unwrap();
    let said = run(&task("say", "echo one; echo two >&2; printf '\\033[31mred\\n'")).await;
    assert!(said.success());
    assert_eq!(said.log, ["one", "two", "red"]);
    let bad = run(&task("bad", "echo why; exit 7")).await;
    assert_eq!(
        (bad.exit, bad.result.as_str(), bad.log.as_slice()),
        (Exit::Status(7), "exit-code", &["why".to_owned()][..])
    );
    let killed = run(&task("killed", "kill -9 $$")).await;
    assert_eq!((killed.exit, killed.result.as_str()), (Exit::Signal(9), "signal"));
    let late =
        run(&Task { timeout: Duration::from_secs(1), ..task("late", "echo started; sleep 600") }).await;
    assert_eq!(
        (late.exit, late.result.as_str(), late.log.as_slice()),
        (Exit::Signal(15), "timeout", &["started".to_owned()][..])
    );
    let none = run(&Task { argv: vec!["/no/such/program".to_owned()], ..task("none", "") }).await;
    assert_eq!((none.exit, none.success()), (Exit::Status(203), false), "{none:?}");
    // The quickest of failures keep their words.
    for _ in 0..20 {
        let quick = task("quick", "echo why; exit 1");
        assert_eq!(run(&quick).await.log, ["why"]);
    }
    // The same name again, after success and after failure: nothing is left in the way.
    assert_eq!(run(&task("say", "echo three")).await.log, ["three"]);
    assert!(run(&task("bad", "true")).await.success());
    let left = systemd.list(&["rackwright-task-*"]).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn arguments_and_environment_arrive_to_the_letter() {
    let systemd = with_units(&[]).await;
    let mut task = Task::new(
        TaskName::parse("letter").unwrap(),
        ["/usr/bin/printf", "%s|", "$HOME", "${PATH}", "%n %%", "a b", "'q\"", "\\x41", "", "计算"],
        Duration::from_secs(60),
    );
    task.env.insert("HOME".to_owned(), "/never".to_owned());
    assert_eq!(systemd.run(&task).await.unwrap().log, ["$HOME|${PATH}|%n %%|a b|'q\"|\\x41||计算|"]);
    let mut task = Task { user: Some("nobody".to_owned()), ..self::task("env", "echo \"$A|$(id -un)\"") };
    task.env.insert("A".to_owned(), "x $B %n \"y\" 'z' \\".to_owned());
    assert_eq!(systemd.run(&task).await.unwrap().log, ["x $B %n \"y\" 'z' \\|nobody"]);
    let relative = Task { argv: vec!["sh".to_owned()], ..self::task("rel", "") };
    assert!(matches!(systemd.run(&relative).await, Err(UnitError::TaskProgram { .. })));
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_task_outlives_who_started_it_and_runs_once() {
    let systemd = with_units(&[]).await;
    let task = task("long", "echo begun; while ! test -e /run/rw-go; do sleep 0.1; done; echo over; exit 4");
    let mut watch = systemd.watch([task.name.unit()]);
    let started = tokio::spawn({
        let (systemd, task) = (systemd.clone(), task.clone());
        async move { systemd.run(&task).await }
    });
    until(&mut watch, task.name.unit().as_str(), Active::Activating).await;
    started.abort();
    let other = Systemd::connect().await.unwrap();
    assert!(matches!(other.run(&task).await, Err(UnitError::TaskRunning { .. })));
    assert!(matches!(other.collect(&task.name).await, Err(UnitError::TaskRunning { .. })));
    std::fs::write("/run/rw-go", "").unwrap();
    until(&mut watch, task.name.unit().as_str(), Active::Failed).await;
    let outcome = other.collect(&task.name).await.unwrap().unwrap();
    assert_eq!(
        (outcome.exit, outcome.log.as_slice()),
        (Exit::Status(4), &["begun".to_owned(), "over".to_owned()][..])
    );
    assert_eq!(other.collect(&task.name).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn the_journal_of_a_unit_is_readable() {
    let text = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'for n in 1 2 3; do printf \"\\\\033[1mline %%s\\\\n\" $$n; done'\n";
    let systemd = with_units(&[("rw-log.service", text)]).await;
    assert!(systemd.start(&name("rw-log.service")).await.unwrap().changed());
    assert!(Command::new("journalctl").arg("--sync").status().unwrap().success());
    let lines = systemd.journal(&name("rw-log.service"), 100).await.unwrap();
    let all = lines.join("\n");
    assert!(all.contains(": line 1\n") && all.contains(": line 3") && !all.contains('\u{1b}'), "{all}");
    assert!(lines[0].starts_with("20"), "a time first: {all}");
    assert_eq!(systemd.journal(&name("rw-log.service"), 2).await.unwrap().len(), 2);
    assert!(systemd.journal(&name("rw-silent.service"), 2).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_watch_sees_units_come_change_and_go() {
    let systemd = with_units(&[]).await;
    let unit = name("rw-new.service");
    let mut watch = systemd.watch([unit.clone()]);
    assert!(!watch.next().await.unwrap().exists());
    let writer = with_units(&[("rw-new.service", SLEEPER)]).await;
    let there = watch.next().await.unwrap();
    assert!(there.exists() && there.active == Active::Inactive, "{there:?}");
    assert!(writer.start(&unit).await.unwrap().changed());
    until(&mut watch, unit.as_str(), Active::Active).await;
    let pid = writer.state(&unit).await.unwrap().main_pid;
    kill(pid);
    let dead = loop {
        let state = watch.next().await.unwrap();
        if state.active == Active::Failed {
            break state;
        }
    };
    assert_eq!((dead.result.as_str(), dead.main_pid), ("signal", 0));
    assert!(writer.enable(&unit).await.unwrap().changed());
    while watch.next().await.unwrap().file_state != "enabled" {}
    // An alias is followed under the name it was asked by.
    let alias = name("rw-alias.service");
    std::os::unix::fs::symlink("rw-new.service", "/etc/systemd/system/rw-alias.service").unwrap();
    writer.daemon_reload().await.unwrap();
    let mut watch = systemd.watch([alias.clone()]);
    assert_eq!(watch.next().await.unwrap().active, Active::Failed);
    assert!(writer.start(&unit).await.unwrap().changed());
    until(&mut watch, alias.as_str(), Active::Active).await;
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_quiet_watch_costs_systemd_nothing() {
    let systemd = with_units(&[("rw-idle.service", SLEEPER)]).await;
    let mut watch = systemd.watch([name("rw-idle.service"), name("rw-nowhere.service")]);
    for _ in 0..2 {
        watch.next().await.unwrap();
    }
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/1/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Both units are not in memory: a watch that loaded them on every signal would go round in circles.
    let before = ticks();
    assert!(tokio::time::timeout(Duration::from_secs(3), watch.next()).await.is_err(), "nothing happened");
    let spent = ticks() - before;
    println!("PID 1 spent {spent} ticks of 10 ms in 3 s");
    assert!(spent < 30, "{spent} ticks");
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn the_bus_and_systemd_itself_may_restart() {
    let systemd = with_units(&[("rw-stay.service", SLEEPER), ("rw-go.service", SLEEPER)]).await;
    for unit in ["rw-stay.service", "rw-go.service"] {
        assert!(systemd.start(&name(unit)).await.unwrap().changed());
    }
    for restart in [&["restart", "dbus.service"][..], &["daemon-reexec"]] {
        let mut watch = systemd.watch([name("rw-stay.service"), name("rw-go.service")]);
        for _ in 0..2 {
            watch.next().await.unwrap();
        }
        // systemd goes on without a bus: the change is made while nobody can be told.
        let pid = systemd.state(&name("rw-go.service")).await.unwrap().main_pid;
        let killing = Command::new("sh").args(["-c", &format!("sleep 0.2; kill -9 {pid}")]).spawn();
        systemctl(restart);
        let begun = Instant::now();
        until(&mut watch, "rw-go.service", Active::Failed).await;
        println!("{restart:?}: the change was told {} ms after it", begun.elapsed().as_millis());
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(killing.unwrap().wait().unwrap().success());
        let started = systemd.start(&name("rw-go.service")).await.unwrap();
        assert!(started.changed());
        assert!(!systemd.start(&name("rw-stay.service")).await.unwrap().changed());
    }
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_job_in_flight_when_systemd_goes_is_never_guessed() {
    let slow = "[Service]\nType=notify\nTimeoutStartSec=30\nExecStart=/bin/sleep infinity\n";
    let systemd = with_units(&[("rw-flight.service", slow)]).await;
    let unit = name("rw-flight.service");
    let mut watch = systemd.watch([unit.clone()]);
    let starting = tokio::spawn({
        let (systemd, unit) = (systemd.clone(), unit.clone());
        async move { systemd.start(&unit).await }
    });
    until(&mut watch, unit.as_str(), Active::Activating).await;
    systemctl(&["restart", "dbus.service"]);
    let error = starting.await.unwrap().unwrap_err();
    assert!(error.is_uncertain(), "{error:?}");
    assert_eq!(systemd.state(&unit).await.unwrap().active, Active::Activating, "it goes on");
    assert!(systemd.stop(&unit).await.unwrap().changed());
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn a_stranger_may_look_and_not_touch() {
    let unit = name("rw-foreign.service");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if status.contains("Uid:\t0\t") {
        let systemd = with_units(&[("rw-foreign.service", SLEEPER)]).await;
        assert!(systemd.start(&unit).await.unwrap().changed());
        let again = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "/opt/units-test",
                "--ignored",
                "--exact",
            ])
            .arg("inside::a_stranger_may_look_and_not_touch")
            .status();
        assert!(again.unwrap().success());
        return;
    }
    let systemd = Systemd::connect().await.unwrap();
    assert_eq!(systemd.state(&unit).await.unwrap().active, Active::Active);
    assert!(!systemd.start(&unit).await.unwrap().changed(), "nothing had to be done");
    assert!(matches!(systemd.stop(&unit).await, Err(UnitError::Denied { .. })));
    assert!(matches!(systemd.enable(&unit).await, Err(UnitError::Denied { .. })));
    assert!(matches!(systemd.run(&task("foreign", "true")).await, Err(UnitError::Denied { .. })));
    let mut watch = systemd.watch([unit]);
    assert_eq!(watch.next().await.unwrap().active, Active::Active);
}

#[tokio::test]
#[ignore = "runs in the container that `container` boots; `cargo xtask test` brings it"]
async fn latencies_are_small() {
    let systemd = with_units(&[("rw-quick.service", SLEEPER)]).await;
    let unit = name("rw-quick.service");
    let eager = systemd.with_settling(Duration::ZERO);
    let mut watch = systemd.watch([unit.clone()]);
    watch.next().await.unwrap();
    let (mut starts, mut stops, mut told, mut killed) = (vec![], vec![], vec![], vec![]);
    for _ in 0..20 {
        let at = Instant::now();
        let up = eager.start(&unit).await.unwrap().into_inner();
        starts.push(at.elapsed());
        until(&mut watch, unit.as_str(), Active::Active).await;
        let at = Instant::now();
        kill(up.main_pid);
        until(&mut watch, unit.as_str(), Active::Failed).await;
        killed.push(at.elapsed());
        assert!(eager.start(&unit).await.unwrap().changed());
        until(&mut watch, unit.as_str(), Active::Active).await;
        let at = Instant::now();
        let (stopped, ()) = tokio::join!(async { (eager.stop(&unit).await, at.elapsed()) }, async {
            until(&mut watch, unit.as_str(), Active::Inactive).await;
            told.push(at.elapsed());
        });
        assert!(stopped.0.unwrap().changed());
        stops.push(stopped.1);
    }
    for (what, mut times) in [
        ("start returns", starts),
        ("stop returns", stops),
        ("stop is told", told),
        ("death is told", killed),
    ] {
        times.sort();
        println!("{what}: median {:?}, worst {:?} of {}", times[10], times[19], times.len());
        assert!(times[10] < Duration::from_secs(1), "{what}");
    }
}

fn kill(pid: u32) {
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().unwrap().success());
}
