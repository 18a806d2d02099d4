//! `rackwright serve` is killed over and over while commands, an agent's progress and addresses by DHCP are acknowledged.
//!
//! `RACKWRIGHT_KILLS` says how often (10000: about an hour on two processors that do nothing else); a kill of a process loses nothing that the kernel has, so
//! that this is about what is acknowledged before it is written, not about power cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use appliance::journal::{Place, check, head};
use protocol::{ImageJob, Progress, routes};
use rusqlite::Connection;
use serde_json::json;

use super::wire::Wire;
use crate::agent::Agent;
use crate::controller::Controller;
use crate::daemon::{CONFIG, Daemon, alone, post, root, run};
use crate::journey::{control_image, imaging, nothing_yet, planned};

/// Kills in an ordinary run.
const KILLS: u32 = 8;
/// After so many a state begins anew: everything in it is looked at after every kill, and that shall not take longer and longer.
const LOT: u32 = 250;
/// What clients of DHCP are there; each renews its address over and over.
const CLIENTS: u8 = 40;
/// What was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    reserved: BTreeSet<String>,
    unreserved: BTreeSet<String>,
    done_bytes: u64,
    /// Whether the node is held; none: it was asked for, and not answered.
    held: Option<bool>,
    holds: u64,
    /// By hardware address: which address, and in which millisecond since 1970 it was given.
    leases: BTreeMap<String, (Ipv4Addr, u64)>,
    acks: u64,
}

#[test]
fn nothing_that_was_acknowledged_is_lost_however_often_the_daemon_is_killed() {
    if !alone("durability::kills::nothing_that_was_acknowledged_is_lost_however_often_the_daemon_is_killed") {
        return;
    }
    let kills = std::env::var("RACKWRIGHT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    run(async move {
        let begun = std::time::Instant::now();
        let (mut total, mut wire) = (Total::default(), Wire::new());
        for first in (0..kills).step_by(usize::try_from(LOT).unwrap()) {
            lot(first..kills.min(first + LOT), &mut wire, &mut total).await;
            eprintln!("{total} in {:?}, none lost", begun.elapsed());
        }
        let all = [total.reserved, total.unreserved, total.done_bytes, total.holds, total.acks];
        let kinds = all.iter().filter(|number| **number > 0).count();
        // A few kills on a busy machine may come before one of the rarer kinds had its turn.
        let enough = if kills < 100 { kinds * 2 > all.len() } else { kinds == all.len() };
        assert!(kills < 5 || enough, "something of each kind was acknowledged: {total}");
    });
}

/// Of all lots.
#[derive(Debug, Default)]
struct Total {
    kills: u32,
    reserved: usize,
    unreserved: usize,
    done_bytes: usize,
    holds: usize,
    acks: usize,
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, reserved, unreserved, done_bytes, holds, acks } = self;
        write!(
            f,
            "{kills} kills: {reserved} reservations, {unreserved} taken back, {done_bytes} reports of progress, {holds} holds and \
             releases of a node, {acks} leases"
        )
    }
}

/// So many kills of controllers of one state.
async fn lot(kills: Range<u32>, wire: &mut Wire, total: &mut Total) {
    let folder = tempfile::tempdir().unwrap();
    let state = root(folder.path());
    // Whoever looks for other servers first answers nobody in so short a life.
    let config = CONFIG.replace("dhcp = \"off\"", "dhcp = \"full\"\nforeign = \"ignore\"");
    std::fs::write(folder.path().join("etc/rackwright/rackwright.toml"), config).unwrap();
    let controller = Controller::start(&state).await;
    control_image(&controller).await;
    // Held and released again and again: it rests, and has no part in anything else.
    drop(planned(&controller, 2).await);
    let (mut agent, job) = imaging(&controller, 1).await;
    controller.stop().await;
    let known = Arc::new(Mutex::new(Acknowledged::default()));
    for kill in kills {
        let daemon = Daemon::start(folder.path()).await;
        agent.moves_to(daemon.agents());
        let working = work(&daemon, &agent, &job, &known, kill);
        // From before the first answer to in the middle of many.
        let life = Duration::from_micros(u64::from(kill.wrapping_mul(2_654_435_761) % 90_000));
        let leasing = wire.leases(CLIENTS, |mac, address, at| {
            let mut known = known.lock().unwrap();
            known.leases.insert(mac, (address, at));
            known.acks += 1;
        });
        drop(tokio::time::timeout(life, async { tokio::join!(working, leasing) }).await);
        daemon.kill();
        judge(&state, &known.lock().unwrap(), kill);
        total.kills += 1;
    }
    drop(Daemon::start(folder.path()).await);
    let known = known.lock().unwrap();
    total.reserved += known.reserved.len();
    total.unreserved += known.unreserved.len();
    total.done_bytes += usize::try_from(known.done_bytes).unwrap();
    total.holds += usize::try_from(known.holds).unwrap();
    total.acks += usize::try_from(known.acks).unwrap();
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
    let holds = async {
        loop {
            // What was asked for and not answered may be so or not: it is asked for again.
            let hold = known.lock().unwrap().held.take() != Some(true);
            let (path, body) = if hold { ("hold", json!({"why": "a test"})) } else { ("release", json!({})) };
            // 409: it is so already.
            match post(&daemon.socket(), &format!("/v1/nodes/n2/{path}"), &body).await {
                Some(200 | 409) => {}
                _ => return,
            }
            let mut known = known.lock().unwrap();
            known.held = Some(hold);
            known.holds += 1;
        }
    };
    tokio::join!(commands, progress, holds);
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
    judge_rows(&connection, known, kill);
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
    let place = Place::beside(&database);
    let key = head::public(&appliance::ca::journal_key(&place.keys).unwrap());
    let report = check(&connection, &head::read(&place.heads).unwrap(), &key).unwrap();
    assert!(report.sound && report.records == records, "kill {kill}: {report:?}");
}

/// The node that is held and released, and who has which address.
fn judge_rows(connection: &Connection, known: &Acknowledged, kill: u32) {
    if let Some(held) = known.held {
        let sql = "SELECT json_extract(body, '$.hold') IS NOT NULL FROM node WHERE json_extract(body, '$.name') = 'n2'";
        let found: bool = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, held, "kill {kill}: whether n2 is held");
    }
    for (mac, (address, at)) in &known.leases {
        let sql = "SELECT json_extract(body, '$[1].ip'), json_extract(body, '$[1].expires') FROM lease WHERE key = ?1";
        let row =
            connection.query_row(sql, [mac], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)));
        let (found, expires) = row.unwrap_or_else(|why| panic!("kill {kill} lost the lease of {mac}: {why}"));
        assert_eq!(found, address.to_string(), "kill {kill}: the address of {mac}");
        assert!(expires > *at, "kill {kill}: {mac} was promised more time");
    }
}
