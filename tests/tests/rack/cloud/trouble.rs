//! What befalls a cloud: a daemon that is killed again and again, services that die, a node that is written anew, no power.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use xtask::rack::container::Container;
use xtask::say;

use super::bed::Bed;
use super::client::Client;
use super::{RISE, comes_up};
use crate::lab::{Site, fail};

/// How often the daemon is killed while the cloud comes up.
const KILLS: u32 = 30;
/// One command on a node.
const CALL: Duration = Duration::from_secs(120);
/// A unit that died has to run again this soon: twice the 10 s that a quiet machine is given.
const BACK: Duration = Duration::from_secs(20);

/// A row of `cloud status`.
#[derive(Deserialize)]
struct Row {
    node: String,
    state: String,
    units: Vec<String>,
}

/// The rows of `cloud status`; none while nobody answers.
fn rows(site: &Site) -> Option<Vec<Row>> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Row>,
    }
    let said = site.controller.exec(&["rackwright", "cloud", "status", "-o", "json"]).ok()?;
    serde_json::from_str::<List>(&said.stdout).ok().map(|list| list.items)
}

fn is_well(site: &Site) -> bool {
    rows(site).is_some_and(|rows| !rows.is_empty() && rows.iter().all(|row| row.state == "well"))
}

/// Until all is well, the daemon is killed at moments that nobody chose. What makes a database has run once all the same.
pub(super) fn killed_while_it_rises(site: &Site, bed: &Bed<'_>) {
    let well = AtomicBool::new(false);
    let (start, mut kills) = (Instant::now(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_well(site) && start.elapsed() < RISE {
                thread::sleep(Duration::from_secs(1));
            }
            well.store(true, Ordering::SeqCst);
        });
        // 2 to 9 s, and no two waits alike.
        let mut chance = 0x2545_f491_u32;
        while kills < KILLS && !well.load(Ordering::SeqCst) {
            chance ^= chance << 13;
            chance ^= chance >> 17;
            chance ^= chance << 5;
            thread::sleep(Duration::from_millis(u64::from(2000 + chance % 7000)));
            site.controller.kill9_daemon().unwrap_or_else(|error| fail(&error));
            kills += 1;
        }
    });
    say::line(&format!("    the daemon was killed {kills} times"));
    assert!(kills >= 10, "the cloud was up after {kills} kills already: this shows nothing");
    // The last kill may have been just now.
    site.controller.wait_ready(CALL).unwrap_or_else(|error| fail(&error));
    comes_up(site);
    let said = on(
        bed.node(0),
        &["journalctl", "--no-pager", "-o", "cat", "--grep=^Start(ing|ed) .*Rackwright task .*"],
    );
    for task in
        ["keystone-database", "glance-database", "nova-database", "neutron-database", "keystone-bootstrap"]
    {
        let ends = |line: &&str| line.starts_with("Starting") && line.contains(&format!("task {task}"));
        assert_eq!(said.lines().filter(ends).count(), 1, "{task} has to run once:\n{said}");
    }
}

/// A node runs what is its own. Units of packages want others: the message queue, keystone.
pub(super) fn nothing_else_runs_on_a_compute_node(bed: &Bed<'_>) {
    let units = ["rabbitmq-server.service", "keystone.service", "mariadb.service", "memcached.service"];
    let argv =
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--state=active,activating,failed"];
    let found = on(bed.node(1), &[&argv[..], &units[..]].concat());
    assert_eq!(found.trim(), "", "n2 is for compute alone");
}

/// Each unit of each service on each node is killed; it runs again by itself, and its service is well again.
pub(super) fn every_service_is_killed(site: &Site, bed: &Bed<'_>) {
    let rows = rows(site).unwrap();
    let seen = site.last_event();
    let mut back = Vec::new();
    for (at, name) in bed.names().into_iter().enumerate() {
        let node = bed.node(at);
        for unit in rows.iter().filter(|row| row.node == name).flat_map(|row| &row.units) {
            let main = || show(node, unit, "MainPID");
            let before = main();
            // A socket, or what has done its work and ended.
            if before.is_empty() || before == "0" {
                continue;
            }
            on(node, &["systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit]);
            let start = Instant::now();
            while show(node, unit, "ActiveState") != "active" || [&before, "0"].contains(&main().as_str()) {
                assert!(start.elapsed() < BACK, "{unit} on {name} is not back: {}", status(node, unit));
                thread::sleep(Duration::from_millis(200));
            }
            back.push((start.elapsed(), format!("{unit} on {name}")));
        }
    }
    back.sort();
    let killed = back.len();
    say::line(&format!("    {killed} units were killed; the slowest were back after"));
    for (time, unit) in back.iter().rev().take(8) {
        say::line(&format!("    {:>8}  {unit}", say::seconds(*time)));
    }
    assert!(killed > 25, "{killed} units are not all of a cloud");
    comes_up(site);
    let events = site.events();
    let told = |unit: &str| events.iter().any(|event| event.seq > seen && event.text.contains(unit));
    let mute = ["keystone.service", "nova-compute.service", "mariadb.service"]
        .into_iter()
        .filter(|unit| !told(unit));
    assert_eq!(mute.collect::<Vec<_>>(), Vec::<&str>::new(), "no event names them");
}

/// The second server is written anew, and is the same host to all of OpenStack. An instance on it is alive on the other one afterwards;
/// as long as it has nowhere to go, the server stays as it is.
pub(super) fn a_compute_node_is_written_anew(site: &Site, bed: &mut Bed<'_>) {
    let ids = |bed: &Bed<'_>| {
        let client = Client::on(site, bed.node(0));
        [
            "compute service list -f value -c ID -c Binary -c Host --sort-column ID",
            "hypervisor list -f value -c ID -c Hypervisor\\ Hostname --sort-column ID",
            "network agent list -f value -c ID -c Binary -c Host --sort-column ID",
        ]
        .map(|words| client.says(words))
    };
    let before = ids(bed);
    let image = bed.image().to_owned();
    let client = Client::on(site, bed.node(0));
    client.prepares();
    let start = "--os-compute-api-version 2.74 server create kept --image blank --flavor tiny --network inside --host n2 --wait";
    client.says(start);
    client.says("compute service set --disable n1 nova-compute");
    let mut since = site.last_event();
    site.operator().rebuild("n2", &image).unwrap_or_else(|error| fail(&error));
    site.until_event("a refusal", |event| {
        event.seq > since && event.node == "n2" && event.text.contains("1 of its instances can't move: kept")
    });
    assert_eq!(is_at(&client, "n2"), "enabled", "it takes part again");
    assert_eq!(
        client.says("server show kept -f value -c OS-EXT-SRV-ATTR:host -c status").trim(),
        "n2\nACTIVE"
    );
    client.says("compute service set --enable n1 nova-compute");
    since = site.last_event();
    let again = site.controller.rackwright(&["node", "retry", "n2"]);
    again.unwrap_or_else(|error| fail(&error));
    bed.rebuilt(1, since);
    comes_up(site);
    let client = Client::on(site, bed.node(0));
    assert_eq!(
        client.says("server show kept -f value -c OS-EXT-SRV-ATTR:host -c status").trim(),
        "n1\nACTIVE"
    );
    client.says("server delete kept --wait");
    assert_eq!(is_at(&client, "n2"), "enabled");
    assert_eq!(ids(bed), before, "the same host, and no other beside it");
}

/// What nova says of a host.
fn is_at(client: &Client<'_>, host: &str) -> String {
    client
        .says(&format!("compute service list --service nova-compute --host {host} -f value -c Status"))
        .trim()
        .to_owned()
}

/// Everything is without power at once, and comes back with the compute node first.
pub(super) fn all_power_is_gone(site: &Site, bed: &mut Bed<'_>) {
    let since = site.last_event();
    site.controller.kill9_daemon().unwrap_or_else(|error| fail(&error));
    for at in [0, 1] {
        bed.cut(at);
    }
    for at in [1, 0] {
        bed.boot(at);
    }
    bed.until("active", |node| node.state == "active" && node.health != "silent");
    // Until then all that is known of a node is from before.
    for name in bed.names() {
        site.until_event(&format!("{name} with its units down"), |event| {
            event.seq > since && event.node == name && event.text.contains(" is inactive (dead)")
        });
    }
}

fn on(node: &Container, argv: &[&str]) -> String {
    let out = node.exec(argv, CALL).unwrap_or_else(|error| fail(&error));
    assert!(out.status.success(), "{argv:?}: {}{}", out.stdout, out.stderr);
    out.stdout
}

fn show(node: &Container, unit: &str, property: &str) -> String {
    on(node, &["systemctl", "show", "--value", "--property", property, unit]).trim().to_owned()
}

/// All that systemd says of it, and what its cgroup says itself.
fn status(node: &Container, unit: &str) -> String {
    let script = format!(
        "systemctl status --no-pager --full {unit}; systemctl show {unit}; systemctl list-jobs --no-pager; \
         systemctl list-dependencies --no-pager --reverse {unit}; \
         head -v /sys/fs/cgroup/system.slice/{unit}/cgroup.{{procs,events,threads}}; \
         journalctl --no-pager -o short-precise -n 60"
    );
    node.exec(&["bash", "-c", &script], CALL).map(|out| out.stdout + &out.stderr).unwrap_or_default()
}
