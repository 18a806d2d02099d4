//! `cargo xtask bench dhcp`: a thousand servers that are switched on at once, the rate that is held, how long an answer
//! takes, and what a lossy network costs; beside Kea and dnsmasq, on the same cable in the same run.
//!
//! Ours is the daemon as it ships, with its state on the same disk as the peers' leases. What clients were given is
//! looked for again after the daemon was killed and started anew: a lease that is not durable is not counted.

mod clients;
pub(super) mod lab;
mod perf;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Report, Row};
use crate::cargo::cargo;
use crate::{interrupt, place, prerequisites, say};
use clients::{Crowd, Found, Way};
use lab::{Lab, Running, Server};
use perf::Best;

/// Servers that are switched on at once.
const STORM: u32 = 1000;
/// The bars.
const STORM_SECONDS: f64 = 3.0;
const KEA: f64 = 1.2;
const DNSMASQ: f64 = 20.0;
const P99_MS: f64 = 10.0;
const MIB: f64 = 64.0;
/// New clients each second while answers are timed.
const STEADY: u32 = 500;
/// How long a new server may look around before it answers.
const READY: Duration = Duration::from_secs(30);

/// Measures, saves, and gives the table. `quick`: one run of each, and a coarser search.
///
/// # Errors
/// A package or a program that can't be had; a server that never answers; leases that are gone after a restart.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    prerequisites::install(prerequisites::BENCH_DHCP)?;
    let dir = place::target().join("bench/dhcp");
    fs::create_dir_all(&dir)?;
    let peers = dir.join("peers");
    // Unpacked and not installed: its package would start it.
    prerequisites::unpack("kea-dhcp4-server", &peers)?;
    let lab = Lab::up(&dir, daemon()?, Some(peers.join("usr/sbin/kea-dhcp4")))?;
    let rounds = if quick { 1 } else { 3 };
    let mut rows = storms(&lab, rounds)?;
    rows.extend(steady(&lab, rounds)?);
    rows.extend(rates(&lab, rounds, if quick { 8 } else { 9 })?);
    let setting = "one cable between two namespaces, clients on the same machine";
    let report = Report::new("dhcp", setting, rows);
    report.save()?;
    Ok(report.table())
}

fn daemon() -> Result<PathBuf, Box<dyn Error>> {
    let build = cargo(["build", "--profile", "ship", "--locked", "-p", "appliance", "--bin", "rackwright"]);
    say::step("building the daemon as it ships", || build.show())?;
    Ok(place::target().join("ship/rackwright"))
}

/// Waits until a server answers.
fn ready(lab: &Lab, running: &Running<'_>) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    while clients::one(lab)?.is_none() {
        interrupt::check()?;
        if start.elapsed() > READY {
            return Err(format!("no answer after {READY:?}; its log ends:\n{}", running.said()).into());
        }
    }
    Ok(())
}

/// All at once, on a good cable and on a bad one.
fn storms(lab: &Lab, rounds: u8) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for loss in [0, 30] {
        let (mut seconds, mut bound, mut durable, mut peaks) = (vec![], vec![], vec![], vec![]);
        // Patience is what a lossy network takes most: once is enough.
        for number in 1..=if loss > 0 { 1 } else { rounds } {
            let mut running = lab.start(Server::Ours)?;
            ready(lab, &running)?;
            let limit = Duration::from_secs(if loss > 0 { 180 } else { 30 });
            let crowd =
                Crowd { count: STORM, number, every: Duration::ZERO, limit, lost: loss, way: Way::Lan };
            let found = clients::play(lab, crowd)?;
            peaks.extend(running.peak_mib());
            running.again()?;
            let kept = kept(&running, &found.bound)?;
            say::line(&format!(
                "    {} of {STORM} bound after {}, {kept} found again after a kill; {} packets sent, {loss} % lost",
                found.bound.len(),
                say::seconds(found.took),
                found.sent
            ));
            seconds.push(found.took.as_secs_f64());
            bound.push(count(found.bound.len()));
            durable.push(count(kept));
        }
        let case =
            if loss > 0 { format!("{STORM} at once, {loss} % lost") } else { format!("{STORM} at once") };
        let every = f64::from(STORM);
        rows.extend(Row::at_least(&case, "bound", "servers", every, &bound));
        rows.extend(Row::at_least(&case, "durable after SIGKILL", "servers", every, &durable));
        rows.extend(if loss > 0 {
            Row::shown(&case, "until the last is bound", "s", &seconds)
        } else {
            Row::at_most(&case, "until the last is bound", "s", STORM_SECONDS, &seconds)
        });
        rows.extend(Row::at_most(&case, "peak memory", "MiB", MIB, &peaks));
    }
    Ok(rows)
}

/// How many leases a daemon that was killed knows again, with the address that the client has.
fn kept(running: &Running<'_>, bound: &BTreeMap<[u8; 6], Ipv4Addr>) -> Result<usize, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Rows {
        items: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        address: Ipv4Addr,
        mac: Option<String>,
        state: String,
    }
    let start = Instant::now();
    let said = loop {
        let output = running.ask(&["network", "leases", "-o", "json"])?;
        if output.status.success() {
            break output.stdout;
        }
        if start.elapsed() > READY {
            return Err(format!("the daemon does not answer: {}", output.stderr).into());
        }
        interrupt::check()?;
        thread::sleep(Duration::from_millis(100));
    };
    let rows: Rows = serde_json::from_str(&said)?;
    let rows = rows.items.into_iter().filter(|row| row.state == "bound");
    let rows = rows.filter_map(|row| Some((row.mac?, row.address))).collect::<BTreeMap<_, _>>();
    let text = |mac: &[u8; 6]| mac.map(|octet| format!("{octet:02x}")).join(":");
    Ok(bound.iter().filter(|(mac, address)| rows.get(&text(mac)) == Some(address)).count())
}

/// One new client after the other, and how long each waits.
fn steady(lab: &Lab, rounds: u8) -> Result<Vec<Row>, Box<dyn Error>> {
    let servers = [Server::Ours, Server::Kea];
    let mut found = [Vec::new(), Vec::new()];
    let mut syncs = Vec::new();
    for number in 1..=rounds {
        syncs.push(sync_ms(&place::target().join("bench/dhcp/sync"))?);
        for (server, found) in servers.into_iter().zip(&mut found) {
            let running = lab.start(server)?;
            ready(lab, &running)?;
            let every = Duration::from_secs(1) / STEADY;
            let limit = Duration::from_secs(60);
            let crowd = Crowd { count: STEADY * 10, number, every, limit, lost: 0, way: Way::Relay };
            let mut run = clients::play(lab, crowd)?;
            let (ack, exchange) = (ms(&mut run.acks, 0.99), ms(&mut run.exchanges, 0.99));
            let median = ms(&mut run.acks, 0.5);
            say::line(&format!(
                "    {}: {STEADY}/s, ACK after {median:.1} ms, 99 % after {ack:.1} ms; exchange {exchange:.1} ms",
                server.name()
            ));
            found.push((run, median, ack, exchange));
        }
    }
    let case = format!("{STEADY} new clients/s for 10 s");
    let [ours, kea] = found;
    let of = |found: &[(Found, f64, f64, f64)], part: fn(&(Found, f64, f64, f64)) -> f64| {
        found.iter().map(part).collect::<Vec<_>>()
    };
    let beside = |metric: &str, part: fn(&(Found, f64, f64, f64)) -> f64| {
        Row::beside(&case, metric, "ms", &of(&ours, part), Server::Kea.name(), &of(&kea, part))
    };
    let bound = of(&ours, |run| count(run.0.bound.len()));
    let mut rows = Vec::new();
    // The times are those of the clients that were served: a server may not leave out some.
    rows.extend(Row::at_least(&case, "bound", "servers", f64::from(STEADY * 10), &bound));
    rows.extend(Row::at_most(&case, "p99 from REQUEST to ACK", "ms", P99_MS, &of(&ours, |run| run.2)));
    rows.extend(Row::shown("this disk", "p99 of a sync of 16 KiB", "ms", &syncs));
    rows.extend(beside("median from REQUEST to ACK", |run| run.1));
    rows.extend(beside("p99 from REQUEST to ACK", |run| run.2));
    rows.extend(beside("p99 from DISCOVER to ACK", |run| run.3));
    Ok(rows)
}

/// What the disk itself takes for a commit, 99 times of 100, in milliseconds. Kea does not wait for it.
fn sync_ms(path: &Path) -> Result<f64, Box<dyn Error>> {
    let mut file = fs::File::create(path)?;
    let mut times = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        file.write_all(&[7; 16 << 10])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(path)?;
    Ok(ms(&mut times, 0.99))
}

/// The rate that is held, server after server, round after round.
fn rates(lab: &Lab, rounds: u8, steps: u32) -> Result<Vec<Row>, Box<dyn Error>> {
    let servers = [Server::Ours, Server::Kea, Server::Dnsmasq, Server::DnsmasqNoPing];
    let mut best: [Vec<Best>; 4] = Default::default();
    for _ in 0..rounds {
        for (server, best) in servers.into_iter().zip(&mut best) {
            let from = if matches!(server, Server::Ours | Server::Kea) { 3000.0 } else { 50.0 };
            best.push(perf::search(lab, server, from, steps)?);
        }
    }
    let rates = |best: &[Best]| best.iter().map(|best| best.rate).collect::<Vec<_>>();
    let (case, metric) = ("perfdhcp, new clients", "exchanges held at < 1 % lost");
    let [ours, kea, dnsmasq, no_ping] = &best;
    let mut rows = Vec::new();
    for (server, peer, bar) in [
        (Server::Kea, kea, KEA),
        (Server::Dnsmasq, dnsmasq, DNSMASQ),
        (Server::DnsmasqNoPing, no_ping, DNSMASQ),
    ] {
        rows.extend(Row::against(case, metric, "/s", bar, &rates(ours), server.name(), &rates(peer)));
    }
    let peaks = ours.iter().filter_map(|best| best.peak).collect::<Vec<_>>();
    let leases = peaks.iter().map(|(_, leases)| *leases).fold(0.0, f64::max);
    let case = format!("{case}, up to {leases:.0} leases");
    let peaks = peaks.iter().map(|(mib, _)| *mib).collect::<Vec<_>>();
    rows.extend(Row::at_most(&case, "peak memory", "MiB", MIB, &peaks));
    Ok(rows)
}

/// The time that so great a share was not longer than, in milliseconds.
fn ms(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among some thousand")]
    let place = (count(times.len()) * share).ceil() as usize;
    times.get(place.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

#[allow(clippy::cast_precision_loss, reason = "some thousand")]
fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_times() {
        let mut times = (1..=200).rev().map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!((ms(&mut times, 0.5), ms(&mut times, 0.99), ms(&mut times, 1.0)), (100.0, 198.0, 200.0));
        assert!(ms(&mut [], 0.5).is_nan());
    }
}
