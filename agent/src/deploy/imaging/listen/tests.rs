use std::net::{SocketAddrV4, UdpSocket};

use cast::wire::{self, SYMBOL_BYTES};
use cast::{Limits, Start};
use pack::Digest;
use protocol::{JobId, ReportKey};
use tokio::time::timeout;

use super::*;
use crate::deploy::imaging::fixture::Image;

const SESSION: u64 = 7;

/// Nothing is kept; what is for others is noted.
#[derive(Default)]
struct Nowhere(std::sync::Mutex<Vec<u32>>);

impl Spool for Nowhere {
    fn keep(&self, _: u32, _: Bytes) {}

    fn lay_by(&self, _: u32, _: Bytes) {}

    fn shelve(&self, id: u32, _: &Bytes) {
        self.0.lock().unwrap().push(id);
    }
}

/// One who listens, and the controller and the sender in one.
struct Scene {
    listening: Listening,
    _sharing: Sharing,
    receiver: Receiver,
    spool: Nowhere,
    say: watch::Sender<Option<CastReply>>,
    asks: watch::Sender<CastAsk>,
    urge: Arc<Urge>,
    sender: UdpSocket,
    group: Ipv4Addr,
    /// A port that nobody else has at the moment.
    port: u16,
}

impl Scene {
    /// `group` is the last byte of it: tests run at once.
    async fn new(group: u8, image: &Image, has_begun: bool) -> Self {
        let (say, replies) = watch::channel(None);
        let (asks, _asked) = watch::channel(CastAsk::new(JobId([1; 8])));
        let urge = Arc::new(Urge::default());
        let live = Live { local: Ipv4Addr::LOCALHOST, replies, asks: asks.clone(), urge: Arc::clone(&urge) };
        let sharing = Sharing::begin(&live, &Digest([3; 32]), 1 << 30).await;
        let listening = Listening::new(Arc::clone(&image.manifest), live, &sharing, 1 << 30, has_begun);
        let pieces = image.manifest.chunks().iter().map(super::super::deliver::piece).collect();
        let start = Start { seed: false, begun: true, lost_from: u32::MAX, read_back: false };
        let receiver = Receiver::new(pieces, start, Limits::default()).unwrap();
        let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        sender.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (spool, group) = (Nowhere::default(), Ipv4Addr::new(239, 192, 9, group));
        let sender = sender.into();
        Self { listening, _sharing: sharing, receiver, spool, say, asks, urge, sender, group, port }
    }

    fn seat(&self, session: u64, looks_first: bool) {
        let port = self.sender.local_addr().unwrap().port();
        let source = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let (group, port, key) = (self.group, self.port, ReportKey([0; 32]));
        let seat = Seat { session, group, port, source, slot: 0, key, looks_first };
        self.say.send_replace(Some(CastReply { seat: Some(seat), sources: Vec::new() }));
    }

    fn send(&self, packet: &[u8]) {
        self.sender.send_to(packet, (self.group, self.port)).unwrap();
    }

    fn beat(&self) {
        self.send(&wire::Beat { session: SESSION, next: 0, asks: false }.packet());
    }

    fn steer(&mut self) -> CastAsk {
        self.listening.steered = None;
        self.listening.steer(&mut self.receiver, &self.spool, Millis(0));
        self.asks.borrow().clone()
    }

    async fn steer_until(&mut self, is_so: impl Fn(&CastAsk) -> bool) -> CastAsk {
        loop {
            let told = self.steer();
            if is_so(&told) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_urgent(&self) -> bool {
        timeout(Duration::ZERO, self.urge.asked()).await.is_ok()
    }
}

#[tokio::test]
async fn who_has_never_heard_anything_fetches_before_one_who_has() {
    let image = Image::new(4);
    let (mut deaf, mut other) = (Scene::new(1, &image, false).await, Scene::new(2, &image, false).await);
    other.seat(SESSION, false);
    other.steer();
    while other.listening.ear().last.is_none() {
        other.beat();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It comes later, and yet is the first to fetch.
    let begun = Instant::now();
    deaf.seat(SESSION, false);
    let told = deaf.steer();
    assert_eq!((told.session, told.hearing.pulls), (Some(SESSION), false));
    assert!(told.door.is_some_and(|door| door.port > 0));
    assert!(deaf.is_urgent().await, "the first seat is told of at once");
    assert!(!deaf.is_urgent().await);
    deaf.steer_until(|told| told.hearing.pulls).await;
    assert!(begun.elapsed() + Duration::from_millis(50) >= NOTHING);
    assert!(deaf.is_urgent().await, "silence is told of before anything is fetched");
    assert!(!other.steer().hearing.pulls);
    other.steer_until(|told| told.hearing.pulls).await;
    assert!(other.listening.silence() >= Some(SILENCE));
    // And it listens on.
    while other.listening.silence() >= Some(SUSPECT) {
        other.beat();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!other.steer().hearing.pulls);
}

#[tokio::test]
async fn a_newcomer_looks_before_it_joins_and_only_once() {
    let image = Image::new(4);
    let mut scene = Scene::new(3, &image, false).await;
    scene.seat(SESSION, true);
    let told = scene.steer();
    assert_eq!((told.session, told.hearing.pulls), (None, false), "nothing is fetched meanwhile");
    let told = loop {
        scene.beat();
        let told = scene.steer();
        if told.session.is_some() {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // The loopback floods; only root sees it.
    assert_ne!(told.floods, Some(false));
    assert!(scene.is_urgent().await, "it is told at once");
    let joined_at = scene.listening.listener.as_ref().map(|(.., begun)| *begun);
    scene.seat(SESSION, false);
    assert_eq!(scene.steer().session, Some(SESSION));
    assert_eq!(scene.listening.listener.as_ref().map(|(.., begun)| *begun), joined_at, "it stays");
    scene.seat(SESSION + 1, true);
    let again = scene.steer();
    assert_eq!((again.session, again.floods), (Some(SESSION + 1), told.floods), "it was there already");
    let mut begun_before = Scene::new(4, &image, true).await;
    begun_before.seat(SESSION, true);
    let told = begun_before.steer();
    assert_eq!((told.session, told.floods), (Some(SESSION), None), "the switch may think that it is there");
}

#[tokio::test]
async fn what_is_heard_is_told_and_goes_to_others_needed_or_not() {
    let image = Image::new(4);
    let mut scene = Scene::new(5, &image, false).await;
    scene.seat(SESSION, false);
    scene.steer();
    // The disarm: then it is known what is needed.
    scene.receiver.poll(Millis(0));
    let groups = scene.listening.subject.groups.clone();
    let (number, group) = groups.iter().next().unwrap();
    let symbols = image.data.chunks(SYMBOL_BYTES);
    let (_, listener, _) = scene.listening.listener.as_ref().unwrap();
    listener.say(Word::Need(vec![number]));
    let came = loop {
        for (symbol, bytes) in (0..).zip(symbols.clone()) {
            let (symbols, asks) = (group.symbols, false);
            let head =
                wire::Data { session: SESSION, group: number, symbols, symbol, sequence: 0, asks }.header();
            let mut padded = bytes.to_vec();
            padded.resize(SYMBOL_BYTES, 0);
            scene.send(&[&head[..], &padded].concat());
        }
        scene.send(b"garbage");
        if let Ok(came) = timeout(Duration::from_millis(20), scene.listening.next()).await {
            break came;
        }
    };
    scene.listening.take(came, &mut scene.receiver, &scene.spool, Millis(0));
    assert_eq!(*scene.spool.0.lock().unwrap(), [0, 1, 2, 3]);
    let told = scene.steer_until(|told| told.hearing.refused > 0).await.hearing;
    assert_eq!(told.bytes, image.data.len() as u64);
    assert!(told.received >= u64::from(group.symbols) && told.received >= told.useless, "{told:?}");
    assert_eq!((told.spoilt, told.peer_bytes), (0, 0));
}
