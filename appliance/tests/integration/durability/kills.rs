//! `rackwright serve` is killed over and over while commands and an agent's progress are acknowledged.
//!
//! `RACKWRIGHT_KILLS` says how often; a kill of a process loses nothing that the kernel has, so that this is about what is
//! acknowledged before it is written, not about power cuts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use appliance::journal::{Place, check, head};
use protocol::{ImageJob, Progress, routes};
use rusqlite::Connection;
use serde_json::json;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::daemon::{Daemon, alone, post, root, run};
use crate::journey::{control_image, imaging, nothing_yet};

/// Kills in an ordinary run.
const KILLS: u32 = 8;
/// The chain is walked after every kill while it is shorter than this, and now and then after that.
const SHORT: u64 = 1500;

/// What was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    reserved: BTreeSet<String>,
    unreserved: BTreeSet<String>,
    done_bytes: u64,
}

#[test]
fn nothing_that_was_acknowledged_is_lost_however_often_the_daemon_is_killed() {
    if !alone("durability::kills::nothing_that_was_acknowledged_is_lost_however_often_the_daemon_is_killed") {
        return;
    }
    let kills = std::env::var("RACKWRIGHT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    run(async move {
        let folder = tempfile::tempdir().unwrap();
        let state = root(folder.path());
        let controller = Controller::start(&state).await;
        control_image(&controller).await;
        let (mut agent, job) = imaging(&controller, 1).await;
        controller.stop().await;
        let known = Arc::new(Mutex::new(Acknowledged::default()));
        let begun = std::time::Instant::now();
        for kill in 0..kills {
            let daemon = Daemon::start(folder.path()).await;
            agent.moves_to(daemon.agents());
            let working = work(&daemon, &agent, &job, &known, kill);
            // From before the first answer to in the middle of many.
            let life = Duration::from_micros(u64::from(kill.wrapping_mul(2_654_435_761) % 90_000));
            drop(tokio::time::timeout(life, working).await);
            daemon.kill();
            judge(&state, &known.lock().unwrap(), kill);
        }
        drop(Daemon::start(folder.path()).await);
        let known = known.lock().unwrap();
        eprintln!(
            "{kills} kills in {:?}: {} reservations, {} taken back, {} bytes of progress, none lost",
            begun.elapsed(),
            known.reserved.len(),
            known.unreserved.len(),
            known.done_bytes
        );
        assert!(
            kills < 5 || (known.reserved.len() > 5 && known.done_bytes > 0),
            "something was acknowledged"
        );
    });
}

/// Commands and progress, for as long as they are answered.
async fn work(daemon: &Daemon, agent: &Agent, job: &ImageJob, known: &Mutex<Acknowledged>, kill: u32) {
    let commands = async {
        for number in 0..u32::MAX {
            let mac = format!(
                "52:54:{:02x}:{:02x}:{:02x}:{:02x}",
                kill >> 8 & 255,
                kill & 255,
                number >> 8 & 255,
                number & 255
            );
            let reserve = json!({"mac": mac});
            if post(&daemon.socket(), "/v1/network/reservations", &reserve).await != Some(200) {
                return;
            }
            known.lock().unwrap().reserved.insert(mac.clone());
            if number % 4 == 3 {
                let path = format!("/v1/network/reservations/{mac}/unreserve");
                // Whether it is there is not known from here on, unless that is answered.
                known.lock().unwrap().reserved.remove(&mac);
                if post(&daemon.socket(), &path, &json!({})).await != Some(200) {
                    return;
                }
                known.lock().unwrap().unreserved.insert(mac);
            }
        }
    };
    let progress = async {
        loop {
            let done_bytes = known.lock().unwrap().done_bytes + 1;
            let told = Progress { done_bytes, fetched_bytes: done_bytes, ..nothing_yet(job.job) };
            let answer = agent.post(routes::PROGRESS, serde_json::to_vec(&told).unwrap()).await;
            if !matches!(answer, Ok((200, _))) {
                return;
            }
            known.lock().unwrap().done_bytes = done_bytes;
        }
    };
    tokio::join!(commands, progress);
}

/// What the next life finds.
fn judge(state: &Path, known: &Acknowledged, kill: u32) {
    let database = state.join("state.db");
    let connection = Connection::open(&database).unwrap();
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok", "after kill {kill}");
    let done: u64 = connection
        .query_row("SELECT json_extract(body, '$.progress.done_bytes') FROM job", [], |row| {
            Ok(row.get::<_, Option<u64>>(0)?.unwrap_or(0))
        })
        .unwrap();
    assert!(done >= known.done_bytes, "kill {kill}: {done} < {}", known.done_bytes);
    let mut statement = connection.prepare("SELECT key FROM reservation").unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    let found = found.collect::<rusqlite::Result<BTreeSet<String>>>().unwrap();
    let lost = known.reserved.difference(&found).collect::<Vec<_>>();
    assert!(lost.is_empty(), "kill {kill} lost {lost:?}");
    let back = known.unreserved.intersection(&found).collect::<Vec<_>>();
    assert!(back.is_empty(), "kill {kill} brought back {back:?}");
    // Every one of them is in the journal, and nothing is there that did not happen.
    let told = |change: &str| -> BTreeSet<String> {
        let sql = "SELECT json_extract(body, '$.mac') FROM journal WHERE kind = 'reservation'
                   AND json_extract(body, '$.change') = ?1";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([change], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    let (reserved, unreserved) = (told("reserved"), told("unreserved"));
    assert_eq!(&reserved - &unreserved, found, "kill {kill}: the journal and the state agree");
    let records: u64 = connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    if records < SHORT || kill % 50 == 49 {
        let place = Place::beside(&database);
        let key = head::public(&appliance::ca::journal_key(&place.keys).unwrap());
        let report = check(&connection, &head::read(&place.heads).unwrap(), &key).unwrap();
        assert!(report.sound && report.records == records, "kill {kill}: {report:?}");
    }
}
