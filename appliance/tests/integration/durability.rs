//! Killed at any moment, the controller starts from its last answer.

mod kills;
mod points;
mod wire;

use std::path::Path;

use protocol::{Task, routes};
use rusqlite::Connection;

use crate::controller::Controller;
use crate::journey::{control_image, enrolled, imaging, progress, state, take, verified};
use crate::witness::{self, everything, only};

/// What a kill leaves: the files as they are now, with nothing closed or tidied up. No lock keeps us from copying
/// them between two transactions, which is where an answer finds them.
fn killed(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            killed(&source, &target);
        } else if entry.file_type().unwrap().is_file() && entry.file_name() != "state.db-shm" {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_the_controller_was_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let image = control_image(&controller).await;
    let (mut agent, job) = imaging(&controller, 1).await;
    assert!(progress(&agent, &job, 1 << 20).await);
    let before = everything(&controller.folder);
    controller.stop().await;
    assert!(agent.get(&routes::data(&image.digest())).await.is_err(), "nobody answers");

    let controller = Controller::start(folder.path()).await;
    assert_eq!(everything(&controller.folder), before, "a start changes nothing");
    agent.finds(&controller);
    assert!(progress(&agent, &job, 2 << 20).await, "it did not even have to ask again");
    assert_eq!(only(&controller.folder, "job")["progress"]["done_bytes"], 2 << 20);
    let again = take(&agent).await;
    assert_eq!((again.job, &again.target), (job.job, &job.target));
    assert_eq!(agent.get(&routes::data(&image.digest())).await.unwrap().0, 200);
    assert_eq!(verified(&agent, &job).await, Task::Reboot);
    enrolled(&controller, &mut agent).await;
    assert!(state(&agent).await.document.is_some());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_the_moment_of_an_answer_loses_nothing_of_it() {
    let (folder, grave) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, job) = imaging(&controller, 1).await;
    for step in 1..=3u64 {
        assert!(progress(&agent, &job, step << 20).await);
        let to = grave.path().join(step.to_string());
        std::fs::create_dir_all(&to).unwrap();
        killed(&controller.folder, &to);
        let heir = Controller::start(&to).await;
        assert_eq!(only(&to, "job")["progress"]["done_bytes"], step << 20);
        agent.finds(&heir);
        assert_eq!(take(&agent).await.job, job.job, "the heir knows the certificate and the job");
        assert_eq!(witness::integrity(&to), "ok");
        heir.stop().await;
        agent.finds(&controller);
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_base_of_the_first_version_is_brought_forward_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (agent, _job) = imaging(&controller, 1).await;
    controller.stop().await;
    let db = folder.path().join("state.db");
    let old = Connection::open(&db).unwrap();
    old.execute_batch(
        "DROP TABLE reservation; DROP TABLE boot; DROP TABLE capture; DROP TABLE power; DROP TABLE journal; \
         DROP TABLE retirement; DROP TABLE rollout; DROP TABLE site; DROP TABLE burn_in; DROP TABLE preflight; \
         DROP TABLE cloud; PRAGMA user_version = 1;",
    )
    .unwrap();
    // As that version wrote them: without the fields that came later.
    for (table, field) in [
        ("plan", "$.roles"),
        ("node", "$.document.resting"),
        ("node", "$.document.passwords"),
        ("node", "$.document.taken"),
        ("node", "$.hold"),
    ] {
        let strip = format!("UPDATE {table} SET body = json_remove(body, '{field}')");
        assert_eq!(old.execute(&strip, []).unwrap(), 1);
    }
    drop(old);
    let controller = Controller::start(folder.path()).await;
    let world = controller.core.world();
    assert_eq!((world.fleet.nodes.len(), world.fleet.jobs.len(), world.reservations.len()), (1, 1, 0));
    let certificates = world.fleet.certificates.keys().collect::<Vec<_>>();
    assert_eq!(certificates, [&agent.fingerprint()]);
    let version: u32 =
        witness::open(folder.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 10);
    controller.stop().await;
}

#[test]
fn a_data_base_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("state.db");
    drop(appliance::store::Store::open(&db).unwrap());
    Connection::open(&db).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let before = std::fs::read(&db).unwrap();
    let refused = appliance::store::Store::open(&db).unwrap_err().to_string();
    assert!(
        refused.contains("later version (schema 99") && refused.contains("install that version"),
        "{refused}"
    );
    assert_eq!(std::fs::read(&db).unwrap(), before);
}
