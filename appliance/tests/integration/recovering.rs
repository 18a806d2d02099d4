//! A controller is lost, and another machine takes its place.

use std::path::{Path, PathBuf};

use protocol::{Envelope, StateAsk, StateDocument, StateReply, routes};
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::daemon::{Daemon, alone, root, run};
use crate::journey::{control_image, enrolled, imaging, state, verified};
use crate::operator::{self, Ran, rackwright, rackwright_at};
use crate::{dhcp, witness};

/// The program without a daemon.
async fn offline(words: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rackwright"));
    let output = command.args(words).stdin(std::process::Stdio::null()).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Makes the kit and a backup at this socket: the files.
async fn backed_up(socket: &Path, folder: &Path) -> (PathBuf, PathBuf) {
    let (kit, backup) = (folder.join("kit.txt"), folder.join("lab.rwbackup"));
    let none = rackwright_at(socket, &format!("backup create {}", backup.display())).await;
    assert!(none.code == Some(4) && none.err.contains("rackwright backup key"), "{none:?}");
    let made = rackwright_at(socket, "backup key").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    std::fs::write(&kit, &made.out).unwrap();
    let again = rackwright_at(socket, "backup key").await;
    assert!(
        again.code == Some(4) && again.err.contains("--replace lab") && again.out.is_empty(),
        "{again:?}"
    );
    let done = rackwright_at(socket, &format!("backup create {}", backup.display())).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    (kit, backup)
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The same document, for the certificate that the node had.
fn is_renumbered(before: &StateDocument, after: StateDocument) {
    let generation = before.generation;
    assert!(after.generation > generation + 1_000_000, "a number that the old one can't have given");
    assert_eq!(StateDocument { generation, ..after }, *before);
}

#[test]
fn a_node_goes_on_with_another_machine_as_its_controller_and_nobody_touches_it() {
    if !alone("recovering::a_node_goes_on_with_another_machine_as_its_controller_and_nobody_touches_it") {
        return;
    }
    run(async {
        let (old, new, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let controller = Controller::start(&root(old.path())).await;
        let image = control_image(&controller).await;
        let lease = dhcp::boot(&controller, 1).await.unwrap();
        let (mut agent, job) = imaging(&controller, 1).await;
        verified(&agent, &job).await;
        enrolled(&controller, &mut agent).await;
        let document = state(&agent).await.document.unwrap();
        controller.stop().await;

        let daemon = Daemon::start(old.path()).await;
        let (kit, backup) = backed_up(&daemon.socket(), out.path()).await;
        let ask = StateAsk::default();
        agent.moves_to(daemon.agents());
        let before: Envelope<StateReply> = agent.ask(routes::STATE, &ask).await.unwrap();
        let refused =
            offline(&["restore", shown(&backup), "--kit", shown(&kit), "--root", shown(old.path())]).await;
        assert!(refused.code == Some(4) && refused.err.contains("in use by another"), "{refused:?}");
        daemon.kill();
        let refused =
            offline(&["restore", shown(&backup), "--kit", shown(&kit), "--root", shown(old.path())]).await;
        assert!(refused.code == Some(5) && refused.err.contains("--confirm lab"), "{refused:?}");

        // The other machine: nothing of the old one is there, but the network.
        std::fs::create_dir_all(new.path().join("run/rackwright")).unwrap();
        let done =
            offline(&["restore", shown(&backup), "--kit", shown(&kit), "--root", shown(new.path())]).await;
        assert!(
            done.code == Some(0) && done.out.contains("1 nodes") && done.out.contains("control"),
            "{done:?}"
        );
        let begun = std::time::Instant::now();
        let daemon = Daemon::start(new.path()).await;
        let after: Envelope<StateReply> = agent.ask(routes::STATE, &ask).await.unwrap();
        eprintln!("the node was answered {:?} after the other controller was started", begun.elapsed());
        is_renumbered(&document, after.body.document.clone().unwrap());
        assert_eq!((after.node, after.generation), (before.node, before.generation));
        assert!(after.epoch > before.epoch, "orders of the old one are refused from now on");
        let leases = rackwright_at(&daemon.socket(), "network leases -o json").await;
        let leases: Value = serde_json::from_str(&leases.out).unwrap();
        assert_eq!(leases["items"][0]["address"], json!(lease.address), "{leases}");
        let images = rackwright_at(&daemon.socket(), "image list").await;
        assert!(images.out.contains("control") && images.out.contains("not in the store"), "{images:?}");
        let status = rackwright_at(&daemon.socket(), "status --check").await;
        assert!(status.code == Some(9) && status.out.contains("rackwright image import FILE"), "{status:?}");
        let journal = rackwright_at(&daemon.socket(), "event verify -o json").await;
        let report: Value = serde_json::from_str(&journal.out).unwrap();
        assert_eq!((journal.code, &report["item"]["sound"]), (Some(0), &json!(true)), "{report}");
        let lines = rackwright_at(&daemon.socket(), "event list --journal --limit 500").await;
        assert!(lines.out.contains("restored") && lines.out.contains("backup/key"), "{lines:?}");
        let image = image.digest().to_string();
        assert!(lines.out.contains(&image[..12]) || lines.out.contains("imported"), "{lines:?}");
        daemon.kill();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_looked_at_without_the_daemon_and_a_bad_one_is_refused() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("rackwright.toml"), crate::daemon::CONFIG).unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (kit, backup) = backed_up(&controller.socket(), out.path()).await;
    let good = offline(&["backup", "verify", shown(&backup), "--kit", shown(&kit)]).await;
    assert!(good.code == Some(0) && good.out.contains("is good") && good.out.contains("control"), "{good:?}");
    let json = offline(&["backup", "verify", shown(&backup), "--kit", shown(&kit), "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["apiVersion"], &json["item"]["site"]), (&json!("rackwright/v1"), &json!("lab")));
    let nobody = offline(&["backup", "verify", shown(&backup), "--root", shown(out.path())]).await;
    assert!(nobody.code == Some(4) && nobody.err.contains("--kit"), "{nobody:?}");
    let mut bytes = std::fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&backup, bytes).unwrap();
    let bad = offline(&["backup", "verify", shown(&backup), "--kit", shown(&kit)]).await;
    assert!(bad.code == Some(9) && bad.err.contains("damaged"), "{bad:?}");
    let nothing =
        offline(&["restore", shown(&backup), "--kit", shown(&kit), "--root", shown(out.path())]).await;
    assert_eq!(nothing.code, Some(9), "{nothing:?}");
    assert!(!out.path().join("var").exists(), "nothing was made");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_is_written_down_before_it_is_in_force_and_one_that_is_not_kept_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    // Where the kit is written first there is something that can't be replaced.
    let blocked = folder.path().join(".recovery.key.part");
    std::fs::create_dir(&blocked).unwrap();
    let failed = rackwright(&controller, "backup key").await;
    assert!(failed.code != Some(0) && failed.out.is_empty(), "{failed:?}");
    assert!(!folder.path().join("recovery.key").exists());
    std::fs::remove_dir(&blocked).unwrap();
    let made = rackwright(&controller, "backup key").await;
    assert!(made.code == Some(0) && made.out.contains("KEY"), "{made:?}");
    let rows = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let kits = rows.as_array().unwrap().iter().filter(|row| row["kind"] == "backup");
    let mut told = kits.map(|row| (row["seq"].as_u64(), row["body"]["change"].clone())).collect::<Vec<_>>();
    told.sort_by_key(|(seq, _)| *seq);
    let told = told.into_iter().map(|(_, change)| change).collect::<Vec<_>>();
    assert_eq!(told, [json!("made"), json!("not kept"), json!("made")]);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_do_is_written_down_with_who_asked_and_why_it_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (agent, _) = imaging(&controller, 1).await;
    let uid = rustix::process::geteuid().as_raw();
    rackwright(&controller, "node retry n1").await;
    rackwright(&controller, "node rename n9 n8").await;
    let secret = json!({"mac": "52:54:00:00:00:01", "bmcPassword": "hunter2"});
    operator::post(&controller, "/v1/network/reservations", secret).await.unwrap_err();
    operator::post(&controller, "/v1/network/reservations", json!({"mac": "52:54:00:00:00:02"}))
        .await
        .unwrap();
    let rows = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
    let rows = rows.as_array().unwrap().clone();
    let find = |kind: &str, part: &str| {
        let row = rows.iter().find(|row| row["kind"] == kind && row["body"].to_string().contains(part));
        row.unwrap_or_else(|| panic!("no {kind} with {part}: {rows:#?}")).clone()
    };
    let approve = find("command", "/approve");
    assert_eq!((&approve["actor"]["is"], &approve["actor"]["uid"]), (&json!("operator"), &json!(uid)));
    assert_eq!(approve["body"]["arguments"]["roles"], json!(["control"]));
    assert!(find("refused", "/n1/retry")["body"]["why"].as_str().unwrap().contains("needs attention"));
    assert!(find("refused", "/n9/rename")["body"]["why"].as_str().unwrap().contains("no node"));
    let hidden = find("refused", "bmcPassword");
    assert_eq!(hidden["body"]["arguments"]["bmcPassword"], "(secret)");
    assert!(!format!("{rows:?}").contains("hunter2"));
    assert_eq!(find("certificate", &agent.fingerprint())["actor"]["is"], "agent");
    let (applied, job) = (find("plan", "applied"), find("job", "waiting"));
    assert_eq!(applied["body"]["plan"], job["body"]["plan"]);
    assert_eq!(
        (find("image", "imported")["body"]["name"].clone(), &applied["actor"]["uid"]),
        (json!("control"), &json!(uid))
    );
    find("reservation", "52:54:00:00:00:02");
    find("node", "imaging");
    // The command comes before what came of it.
    let place = |row: &Value| row["seq"].as_u64().unwrap();
    assert!(place(&find("command", "/apply")) < place(&applied));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_addresses_do_not_make_the_journal_grow() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let before = witness::open(folder.path())
        .query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, u64>(0))
        .unwrap();
    for number in 2..40 {
        dhcp::boot(&controller, number).await.unwrap();
        let stranger = crate::agent::Agent::new(&controller, number);
        let _: protocol::HelloReply = stranger.ask(routes::HELLO, &stranger.hello(None)).await.unwrap();
    }
    let after = witness::open(folder.path())
        .query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, u64>(0))
        .unwrap();
    assert_eq!(after, before, "38 servers that nobody knows have come");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_bent_under_the_daemon_is_found_by_its_first_bent_record() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    imaging(&controller, 1).await;
    let sound = rackwright(&controller, "event verify").await;
    assert!(sound.code == Some(0) && sound.out.contains("the journal is whole"), "{sound:?}");
    let heads = folder.path().join("journal/heads");
    let signed = std::fs::read_to_string(&heads).unwrap();
    std::fs::write(&heads, format!("bent\n{signed}")).unwrap();
    let found = rackwright(&controller, "event verify").await;
    assert!(found.code == Some(9) && found.out.contains("line 1"), "{found:?}");
    std::fs::write(&heads, signed).unwrap();
    let bent = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    bent.execute_batch("DROP TRIGGER journal_as_written; UPDATE journal SET time = time - 1 WHERE seq = 3")
        .unwrap();
    let found = rackwright(&controller, "event verify -o json").await;
    let report: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((found.code, &report["item"]["fault"]["seq"]), (Some(9), &json!(3)), "{report}");
    controller.stop().await;
}
