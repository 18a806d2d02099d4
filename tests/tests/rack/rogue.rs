//! Another DHCP server appears on the provisioning network while a disk is being written: it is seen at its first
//! packet, jobs wait, nobody is answered; when it is gone, everything goes on where it was.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use xtask::operator::{Event, Job, Node};
use xtask::rack::controller::ADDRESS;
use xtask::rack::firmware::Firmware;
use xtask::rack::host::{Host, Leg, Program};
use xtask::rack::machine::{Bus, Reboot};
use xtask::rack::netns::Network;
use xtask::say;

use crate::lab::{Lab, PATIENCE, fail, spec};
use crate::neighbours;

/// The bar: from the other server's first packet to the event.
const SEEN: Duration = Duration::from_secs(1);
/// A job stops at its next report, and goes on at its next question.
const SOON: Duration = Duration::from_secs(60);
/// Of the system disk, in bytes a second: the job must last.
const SPEED: u64 = 40_000_000;
/// How long nothing has to happen until nothing is what happens.
const STILL: Duration = Duration::from_secs(5);
/// The other server.
const OTHER: &str = "10.77.0.9";

#[test]
fn another_dhcp_server_is_seen_at_once_and_stops_jobs_until_it_is_gone() {
    let mut servers = vec![spec("n5", Firmware::Bios, 5, Bus::Virtio, false)];
    servers[0].disks[0].speed = Some(SPEED);
    let Some(mut lab) = Lab::up(servers) else { return };
    let (other, guest) = (host(&lab, "other", Some("10.77.0.9/24")), host(&lab, "guest", None));
    lab.start(0, Reboot::Off);
    until(&mut lab, PATIENCE, "written to", |_, job| job.done_bytes > 16 << 20);
    let sniffer = sniff(&other, "other", "udp src port 67 and src host 10.77.0.9");
    let rogue = neighbours::dnsmasq(&other, "other", "10.77.0.210,10.77.0.219");
    seen(&lab, &guest, &sniffer);
    let held = paused(&mut lab);
    nobody_is_answered(&lab, &guest);
    drop(rogue);
    let gone = SystemTime::now();
    let event = wait_event(&lab, "foreign-dhcp-gone", SOON);
    say::line(&format!("    gone {} after it stopped: {}", since(gone, &event), event.text));
    let job = until(&mut lab, SOON, "going on", |_, job| job.done_bytes > held.done_bytes);
    assert_eq!(job.id, held.id, "another job took over");
    assert_eq!(lab.servers[0].powered().len(), 1, "the server was restarted");
    lab.passed();
}

fn host(lab: &Lab, name: &str, address: Option<&str>) -> Host {
    let leg = Leg { network: Network::Provision, interface: name, address };
    lab.rack.host(name, &[leg]).unwrap_or_else(|error| fail(&error))
}

/// What passes this interface and `filter`, each packet with the time at which it did.
fn sniff(host: &Host, interface: &str, filter: &str) -> Program {
    let argv = ["tcpdump", "-l", "-n", "-tt", "--immediate-mode", "-i", interface, filter];
    let sniffer = host.start("tcpdump", &argv).unwrap_or_else(|error| fail(&error));
    let start = Instant::now();
    while !sniffer.said().contains("listening on") {
        assert!(start.elapsed() < SOON, "tcpdump does not listen: {}", sniffer.said());
        thread::sleep(Duration::from_millis(20));
    }
    sniffer
}

/// A machine asks, the other server answers as it does anybody, and we know.
fn seen(lab: &Lab, guest: &Host, sniffer: &Program) {
    let answer = ask(guest);
    let event = wait_event(lab, "foreign-dhcp", SOON);
    let first = first_packet(&sniffer.said()).unwrap_or_else(|| panic!("it never answered: {answer}"));
    // Events are stamped in whole milliseconds, rounded down: it may look as if it had been known a little before.
    let at = event.at().unwrap() + Duration::from_millis(1);
    let late =
        at.duration_since(first).unwrap_or_else(|_| panic!("known before it said anything: {event:?}"));
    say::line(&format!("    seen {} ms after its first packet: {}", late.as_millis(), event.text));
    assert!(late <= SEEN, "seen only {late:?} after its first packet");
    assert!(event.text.contains(OTHER) && event.text.contains("prov0"), "{event:?}");
}

/// A client that asks for a few seconds and says what it was offered; broadcast, as many firmwares ask for.
fn ask(guest: &Host) -> String {
    let argv =
        ["busybox", "udhcpc", "-f", "-q", "-n", "-B", "-t", "3", "-T", "1", "-s", "/bin/true", "-i", "guest"];
    let said = guest.try_run(&argv, SOON).unwrap_or_else(|error| fail(&error));
    said.stdout + &said.stderr
}

/// Seconds after the epoch, as tcpdump's `-tt` writes them.
fn first_packet(said: &str) -> Option<SystemTime> {
    let stamp = said.lines().find(|line| line.contains(" > "))?.split_once(' ')?.0.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(stamp))
}

fn since(then: SystemTime, event: &Event) -> String {
    say::seconds(event.at().unwrap().duration_since(then).unwrap_or_default())
}

fn wait_event(lab: &Lab, kind: &str, limit: Duration) -> Event {
    let start = Instant::now();
    loop {
        let events = lab.events();
        if let Some(event) = events.iter().find(|event| event.kind == kind) {
            return event.clone();
        }
        assert!(start.elapsed() < limit, "no event {kind} within {limit:?}:\n{events:#?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The job stands still, and the node says why.
fn paused(lab: &mut Lab) -> Job {
    until(lab, SOON, "waiting", |node, _| {
        node.waiting.as_ref().is_some_and(|why| why.contains(OTHER) && why.contains("prov0"))
    });
    let job = standing(lab);
    let why = lab.node(0).waiting.unwrap_or_default();
    say::line(&format!("    the job waits at {} MiB: {why}", job.done_bytes >> 20));
    job
}

/// What was on its way to the disk when the agent was told still counts; after that the job is where it was.
fn standing(lab: &mut Lab) -> Job {
    let start = Instant::now();
    let mut before = until(lab, SOON, "seen", |_, _| true);
    loop {
        thread::sleep(STILL);
        let after = until(lab, SOON, "seen", |_, _| true);
        if after.done_bytes == before.done_bytes {
            return after;
        }
        assert!(start.elapsed() < SOON, "the job goes on beside another DHCP server: {before:#?} {after:#?}");
        before = after;
    }
}

/// Only the other server answers now. A client takes the first offer and tells of no second: the wire does.
fn nobody_is_answered(lab: &Lab, guest: &Host) {
    let sniffer = sniff(guest, "guest", &replies_to(guest));
    let said = ask(guest);
    assert!(said.contains(&format!("server {OTHER}")), "{said}");
    // Ours would not have to come first.
    thread::sleep(STILL);
    let replies = sniffer.said();
    assert!(replies.contains(&format!("{OTHER}.67 > ")), "no reply at all was seen: {replies}");
    assert!(!replies.contains(&format!("{ADDRESS}.67 > ")), "we answer beside another server: {replies}");
    let check = lab
        .controller
        .exec(&["rackwright", "network", "check", "prov0"])
        .unwrap_or_else(|error| fail(&error));
    assert_eq!(check.status.code(), Some(9), "not unhealthy: {check:?}");
    assert!(check.stdout.contains(OTHER), "{check:?}");
}

/// Replies of any server to this host, by the hardware address in them (RFC 2131 §2): a node that runs may be told, all
/// the while, that it keeps its address.
fn replies_to(guest: &Host) -> String {
    let mac = guest.run(&["cat", "/sys/class/net/guest/address"]).unwrap_or_else(|error| fail(&error));
    let digits = mac.trim().replace(':', "");
    let (first, last) = digits.split_at(8);
    format!("udp src port 67 and udp[36:4] = 0x{first} and udp[40:2] = 0x{last}")
}

/// Does what an operator does until the server and its job are as `there` wants them.
fn until(lab: &mut Lab, limit: Duration, what: &str, there: impl Fn(&Node, &Job) -> bool) -> Job {
    let start = Instant::now();
    loop {
        let job = lab.look(0);
        let node = job.is_some().then(|| lab.node(0));
        if let (Some(node), Some(job)) = (&node, &job)
            && there(node, job)
        {
            return job.clone();
        }
        assert!(start.elapsed() < limit, "not {what} within {limit:?}: {node:#?} {job:#?}");
        thread::sleep(Duration::from_millis(200));
    }
}
