//! On a veth pair: a real dnsmasq on one side, us on the other; and what only a hand-made packet shows.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pxe::dhcp::probe::{self, HeardKind};
use tokio::sync::{Notify, watch};

use super::{ForeignService, Sighting, serve};
use crate::listen::tests::bound;
use crate::listen::{ListenerState, Place};
use crate::net::tests::{Other, alone, ip, runtime};
use crate::net::{Net, watch as watch_interface};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// Writes down what it is told.
#[derive(Default)]
struct Diary {
    sightings: Mutex<Vec<Sighting>>,
    looks: Mutex<u32>,
    plugs: Mutex<u32>,
    wish: Notify,
    news: Notify,
}

impl ForeignService for Diary {
    async fn heard(&self, interface: &str, sighting: Sighting) {
        assert_eq!(interface, "rw0");
        self.sightings.lock().unwrap().push(sighting);
        self.news.notify_one();
    }

    async fn plugged(&self, _: &str) {
        *self.plugs.lock().unwrap() += 1;
        self.news.notify_one();
    }

    async fn looked(&self, _: &str) {
        *self.looks.lock().unwrap() += 1;
        self.news.notify_one();
    }

    fn beside(&self, _: &str) -> bool {
        false
    }

    async fn wanted(&self, _: &str) {
        self.wish.notified().await;
    }
}

impl Diary {
    /// Waits for something to be written. The bound is only there so that a hang is a failure with a name.
    async fn until(&self, so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !so(self) {
                let _ = tokio::time::timeout(Duration::from_millis(50), self.news.notified()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it was never written");
    }

    fn looks(&self) -> u32 {
        *self.looks.lock().unwrap()
    }

    fn heard_from(&self, server: Ipv4Addr) -> Vec<Sighting> {
        let all = self.sightings.lock().unwrap();
        all.iter().filter(|sighting| sighting.server == server).cloned().collect()
    }
}

async fn start(diary: &Arc<Diary>) -> (watch::Sender<bool>, Arc<ListenerState>) {
    let net = Net::open().unwrap();
    let address = "10.77.0.1/24".parse().unwrap();
    net.prepare("rw0", address, Duration::from_secs(10), |_| ()).await.unwrap();
    let presence = watch_interface("rw0", address).await.unwrap();
    let place = Place { interface: "rw0".into(), address: OURS, presence };
    let (stopper, stop) = watch::channel(false);
    let state = ListenerState::new("foreign", "rw0");
    tokio::spawn(serve(place, Arc::clone(diary), Arc::clone(&state), stop));
    bound(&state).await;
    (stopper, state)
}

/// A DHCP server of the Debian package dnsmasq-base at the other end of the cable.
pub(crate) struct Dnsmasq(Child);

impl Dnsmasq {
    pub(crate) fn start(other: &Other, folder: &std::path::Path) -> Self {
        other.ip("addr add 10.77.0.9/24 dev rw1");
        let words = "--no-daemon --conf-file=/dev/null --port=0 --interface=rw1 --bind-interfaces --no-ping \
                     --dhcp-range=10.77.0.150,10.77.0.160 --user=root --log-dhcp";
        let command = || {
            let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
            let mut command = Command::new("dnsmasq");
            command.args(words.split_whitespace()).arg(leases);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        Self(other.run(command).expect("dnsmasq of the Debian package dnsmasq-base"))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_server_is_found_by_the_first_look_and_on_demand() {
    if !alone("listen::foreign::tests::a_real_server_is_found_by_the_first_look_and_on_demand") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let other = Other::new();
    other.cable();
    let dnsmasq = Dnsmasq::start(&other, folder.path());
    runtime().block_on(async {
        let diary = Arc::new(Diary::default());
        let (_stopper, state) = start(&diary).await;
        diary.until(|diary| !diary.heard_from(THEIRS).is_empty()).await;
        diary.until(|diary| diary.looks() == 1).await;
        let found = diary.heard_from(THEIRS).remove(0);
        assert!(found.answers && found.heard.kind == HeardKind::Offer, "{found:?}");
        assert_eq!((found.heard.boots, found.heard.site), (false, None));
        drop(dnsmasq);
        let before = diary.heard_from(THEIRS).len();
        diary.wish.notify_one();
        diary.until(|diary| diary.looks() == 2).await;
        assert_eq!(diary.heard_from(THEIRS).len(), before, "it is gone");
        assert_eq!(state.report().refused, 0);
    });
}

#[test]
fn what_is_said_to_others_is_heard_and_what_we_say_is_not() {
    if !alone("listen::foreign::tests::what_is_said_to_others_is_heard_and_what_we_say_is_not") {
        return;
    }
    let other = Other::new();
    other.cable();
    other.ip("addr add 10.77.0.9/24 dev rw1");
    runtime().block_on(async {
        let diary = Arc::new(Diary::default());
        let (_stopper, state) = start(&diary).await;
        diary.until(|diary| diary.looks() == 1).await;
        assert!(diary.sightings.lock().unwrap().is_empty(), "nobody is there");

        let mut offer = probe::discover("52:54:00:ab:cd:01".parse().unwrap(), 77);
        offer[0] = 2;
        offer[242] = 2;
        let say = |packet: Vec<u8>| {
            let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(&packet, SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 255), 68)).unwrap();
        };
        // From our own end first: it comes back to every socket of ours that takes broadcasts.
        say(offer.clone());
        other.run(|| say(offer.clone()));
        other.run(|| say(b"nonsense".to_vec()));
        diary.until(|_| state.report().refused == 1).await;
        let all = diary.sightings.lock().unwrap().clone();
        let [one] = all.as_slice() else { panic!("{all:?}") };
        // It does not say who it is: where it came from counts.
        assert_eq!((one.server, one.answers, one.heard.kind), (THEIRS, false, HeardKind::Offer));
    });
}

#[test]
fn a_cable_that_is_put_in_is_looked_through_at_once() {
    if !alone("listen::foreign::tests::a_cable_that_is_put_in_is_looked_through_at_once") {
        return;
    }
    ip("link add rw0 type veth peer name rw1");
    runtime().block_on(async {
        let diary = Arc::new(Diary::default());
        let (_stopper, _) = start(&diary).await;
        // Two questions and the wait after them, with nobody at the other end: nothing was looked at.
        tokio::time::sleep(3 * super::WAIT).await;
        let plugs = |diary: &Diary| *diary.plugs.lock().unwrap();
        assert_eq!((plugs(&diary), diary.looks()), (1, 0), "a beginning is a cable put in too");
        ip("link set rw1 up");
        diary.until(|diary| plugs(diary) == 2 && diary.looks() == 1).await;
    });
}
