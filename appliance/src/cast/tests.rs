//! Questions of several nodes, over time; the transmissions are real ones, on the loopback interface.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use cast::wire::{Beat, Report, Run};
use pack::{About, BLOCK, BlockMap, Builder, Compression, Extents, Header, Signed, SigningKey, WINDOW};
use protocol::{Door, Hearing, JobId, ReportKey, Seat, Source};

use super::*;

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An image of noise, in a store; one that is large enough not to be sent to each in no time at a megabit a second.
struct Stage {
    _folder: tempfile::TempDir,
    casts: Casts,
    image: Digest,
    other: Digest,
    begun: Instant,
}

fn import(images: &Images, key: &SigningKey, seed: u8) -> Digest {
    let about = About {
        name: format!("noise{seed}"),
        arch: "amd64".into(),
        roles: Vec::new(),
        disk_bytes: u64::from(WINDOW),
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let mut raw = vec![0; WINDOW as usize];
    let noise = 100 * BLOCK as usize;
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut raw[..noise]);
    let used = std::iter::once(0..noise as u64).collect::<Extents>();
    let packed = pack::pack_window(0, &raw, BlockMap::scan(&raw, 0, &used), Compression::Zstd(1)).unwrap();
    let mut builder = Builder::new(about);
    builder.push(&packed).unwrap();
    let head = Header { signed: Signed::new(&builder.finish().unwrap(), key) }.encode();
    let mut import = images.import((head.len() + packed.stored.len()) as u64).unwrap();
    import.push(&head).unwrap();
    import.push(&packed.stored).unwrap();
    import.finish().unwrap().digest
}

fn stage(limit_mbit: Option<u64>, rules: Rules) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("test.pub"), key.public().to_string()).unwrap();
    let own = SigningKey::from_seed(&[8; 32]).unwrap();
    let images = Images::open(&folder.path().join("images"), &keys, own).unwrap();
    let (image, other) = (import(&images, &key, 1), import(&images, &key, 2));
    let casts = Casts::new(Arc::new(images), limit_mbit).with(rules);
    Stage { _folder: folder, casts, image, other, begun: Instant::now() }
}

impl Stage {
    fn asker(&self, node: u8, company: usize) -> Asker {
        Asker {
            node: NodeId([node; 16]),
            address: IpAddr::from([127, 0, 0, node]),
            network: "127.0.0.0/8".parse().unwrap(),
            link_mbit: None,
            image: self.image,
            local: LOCAL,
            company,
        }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.begun + Duration::from_millis(milliseconds)
    }

    /// A node of four asks.
    fn ask(&self, milliseconds: u64, node: u8, ask: &CastAsk) -> CastReply {
        self.casts.ask_at(&self.asker(node, 4), ask, self.at(milliseconds)).unwrap()
    }

    /// The first one fetches from the controller, and each from the one before it.
    fn is_chain(&self, milliseconds: u64, asks: &BTreeMap<u8, CastAsk>) {
        // What was said last is planned with.
        let replies: Vec<_> = [0, 300]
            .into_iter()
            .flat_map(|more| {
                asks.iter().map(move |(node, ask)| (*node, self.ask(milliseconds + more, *node, ask)))
            })
            .collect();
        let replies = &replies[asks.len()..];
        assert!(replies.iter().all(|(_, reply)| reply.seat.is_none()));
        let heads = replies.iter().filter(|(_, reply)| reply.sources.is_empty()).count();
        assert_eq!(heads, 1, "{replies:?}");
        let firsts: BTreeSet<_> = replies
            .iter()
            .filter_map(|(_, reply)| reply.sources.first())
            .map(|first| first.address)
            .collect();
        assert_eq!(firsts.len(), asks.len() - 1, "each gives to one: {replies:?}");
    }
}

fn port(node: u8) -> u16 {
    40_000 + u16::from(node)
}

fn address(node: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, node], port(node)))
}

/// What a node asks that has a door.
fn ask(node: u8) -> CastAsk {
    let door = Some(Door { port: port(node), key: ReportKey([node; 32]) });
    CastAsk { door, ..CastAsk::new(JobId([node; 8])) }
}

/// And one that sits there, and hears.
fn hears(node: u8, seat: &Seat) -> CastAsk {
    let hearing = Hearing { received: 100, ..Hearing::default() };
    CastAsk { session: Some(seat.session), hearing, ..ask(node) }
}

#[test]
fn one_alone_fetches_from_the_controller() {
    let stage = stage(Some(1), Rules::default());
    for milliseconds in [0, 1000, 9000] {
        let alone = stage.asker(1, 1);
        let reply = stage.casts.ask_at(&alone, &ask(1), stage.at(milliseconds)).unwrap();
        assert_eq!(reply, CastReply::default());
    }
    let lane = stage.casts.lane(NodeId([1; 16])).unwrap();
    assert_eq!(lane.by, By::Controller);
    assert!(lane.why.unwrap().contains("alone") && lane.seconds > 1.0);
    assert_eq!(stage.casts.lane(NodeId([2; 16])), None);
}

#[test]
fn where_the_link_is_quick_each_is_served() {
    let stage = stage(None, Rules::default());
    assert_eq!(stage.ask(0, 1, &ask(1)), CastReply::default());
    assert_eq!(stage.ask(10, 2, &ask(2)), CastReply::default());
    let why = stage.casts.lane(NodeId([2; 16])).unwrap().why.unwrap();
    assert!(why.contains("fast enough"), "{why}");
}

#[test]
fn a_seat_is_kept_until_its_listener_begins_anew() {
    let stage = stage(Some(1), Rules::default());
    let seat = stage.ask(0, 1, &ask(1)).seat.unwrap();
    assert!(!seat.looks_first, "nobody else listens");
    // Its question went out before the answer came, or it looks first.
    assert_eq!(stage.ask(50, 1, &ask(1)).seat.unwrap(), seat);
    let listening = hears(1, &seat);
    assert_eq!(stage.ask(1000, 1, &listening).seat.unwrap(), seat);
    let again = stage.ask(2000, 1, &ask(1)).seat.unwrap();
    assert!(again.session == seat.session && again.slot != seat.slot && again.key != seat.key);
    let other_job = CastAsk { job: JobId([99; 8]), ..hears(1, &again) };
    assert_ne!(stage.ask(3000, 1, &other_job).seat.unwrap().slot, again.slot);
    let lane = stage.casts.lane(NodeId([1; 16])).unwrap();
    assert_eq!((lane.by, lane.why), (By::Multicast, None));
}

#[test]
fn a_newcomer_looks_when_others_have_listened_for_a_while() {
    let stage = stage(Some(1), Rules::default());
    let first = stage.ask(0, 1, &ask(1)).seat.unwrap();
    let socket = UdpSocket::bind((first.group, first.port)).unwrap();
    socket.join_multicast_v4(&first.group, &LOCAL).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stage.ask(1000, 1, &hears(1, &first));
    assert!(!stage.ask(1400, 2, &ask(2)).seat.unwrap().looks_first, "too early");
    let third = stage.ask(2500, 3, &ask(3)).seat.unwrap();
    assert!(third.looks_first);
    // There is something to see, although nobody lacks anything.
    let beat = Beat { session: first.session, next: 0, asks: false };
    for _ in 0..10 {
        let mut packet = [0; 2000];
        let bytes = socket.recv(&mut packet).unwrap();
        assert_eq!(packet[..bytes], beat.packet());
    }
    let looked = CastAsk { floods: Some(false), ..hears(3, &third) };
    assert_eq!(stage.ask(3500, 3, &looked).seat.unwrap(), third, "it stays as it is");
    let again = CastAsk { floods: Some(false), ..ask(3) };
    assert!(!stage.ask(4500, 3, &again).seat.unwrap().looks_first, "it knows already");
}

#[test]
fn a_switch_that_floods_is_spared_for_ten_minutes() {
    let stage = stage(Some(1), Rules::default());
    let mut asks: BTreeMap<u8, CastAsk> = (1..5).map(|node| (node, ask(node))).collect();
    for (node, ask) in &mut asks {
        *ask = hears(*node, &stage.ask(0, *node, ask).seat.unwrap());
    }
    let before = asks[&1].session;
    asks.get_mut(&4).unwrap().floods = Some(true);
    stage.is_chain(1000, &asks);
    assert!(stage.casts.lane(NodeId([1; 16])).unwrap().why.unwrap().contains("floods"));
    assert_eq!(stage.casts.lane(NodeId([2; 16])).unwrap().by, By::Others);
    assert!(stage.casts.lock().ended.len() == 1, "it is waited for elsewhere");
    // Another image is not sent there either.
    let other = Asker { image: stage.other, ..stage.asker(9, 4) };
    let reply = stage.casts.ask_at(&other, &ask(9), stage.at(1200)).unwrap();
    assert_eq!(reply.seat, None);
    for at in 2..=600 {
        asks.iter().for_each(|(node, ask)| assert!(stage.ask(at * 1000, *node, ask).seat.is_none(), "{at}"));
    }
    // Meanwhile the switch may have been set up; who said it then has not looked since.
    let seats: Vec<_> = [601_000, 601_300]
        .into_iter()
        .flat_map(|at| asks.iter().map(|(node, ask)| stage.ask(at, *node, ask).seat).collect::<Vec<_>>())
        .collect();
    let seat = seats.last().unwrap().clone().unwrap();
    assert!(Some(seat.session) != before);
}

#[test]
fn what_a_waiting_node_has_seen_counts_from_the_first_packet_on() {
    let stage = stage(Some(1), Rules::default());
    let network = stage.asker(9, 4).network;
    let told = Some(protocol::Reach { seconds: 60, own: true, others: true });
    let way = (Ipv4Addr::new(127, 0, 0, 9), LOCAL);
    assert!(stage.casts.waits(NodeId([9; 16]), network, way, told).is_some());
    let asks: BTreeMap<u8, CastAsk> = (1..5).map(|node| (node, ask(node))).collect();
    stage.is_chain(0, &asks);
    assert!(stage.casts.lane(NodeId([1; 16])).unwrap().why.unwrap().contains("floods"));
    // Behind a router nothing is sent that could flood.
    let elsewhere = "192.0.2.0/24".parse().unwrap();
    let way = (Ipv4Addr::new(192, 0, 2, 9), LOCAL);
    assert!(stage.casts.waits(NodeId([9; 16]), elsewhere, way, told).is_none());
}

#[test]
fn a_switch_may_flood_where_that_is_allowed() {
    let stage = stage(Some(1), Rules { flooding: Flooding::Allow, ..Rules::default() });
    let seat = stage.ask(0, 1, &ask(1)).seat.unwrap();
    let floods = CastAsk { floods: Some(true), ..hears(1, &seat) };
    assert_eq!(stage.ask(1600, 1, &floods).seat, Some(seat));
    let (network, way) = (stage.asker(9, 4).network, (Ipv4Addr::new(127, 0, 0, 9), LOCAL));
    assert!(stage.casts.waits(NodeId([9; 16]), network, way, None).is_none(), "nobody looks");
    assert!(!stage.ask(1700, 2, &ask(2)).seat.unwrap().looks_first, "nobody needs to know");
}

#[test]
fn sent_to_nobody_they_give_it_to_each_other() {
    let stage = stage(Some(0), Rules::default());
    let mut asks: BTreeMap<u8, CastAsk> = (1..5).map(|node| (node, ask(node))).collect();
    stage.is_chain(0, &asks);
    let reply = stage.ask(400, 2, &asks[&2]);
    assert_eq!(reply.sources[0], Source { address: address(1), key: ReportKey([1; 32]) });
    // One gives wrong bytes: nobody is sent there any more, also when the one who told has gone.
    asks.get_mut(&3).unwrap().shunned = vec![address(2), "192.0.2.1:1".parse().unwrap()];
    stage.ask(1000, 3, &asks[&3]);
    for at in 2..12 {
        if at == 4 {
            asks.remove(&3);
        }
        let replies: Vec<_> = asks.iter().map(|(node, ask)| stage.ask(at * 1000, *node, ask)).collect();
        let mut sources = replies.iter().flat_map(|reply| &reply.sources).peekable();
        assert!(sources.peek().is_some() && sources.all(|source| source.address != address(2)));
    }
    // It begins anew, and is believed anew.
    let again = CastAsk { job: JobId([77; 8]), ..ask(2) };
    asks.insert(2, again);
    stage.is_chain(12_000, &asks);
}

#[test]
fn the_dead_are_nobodys_source_and_those_behind_them_move_up() {
    for dies in 1..5 {
        let stage = stage(Some(0), Rules::default());
        let mut asks: BTreeMap<u8, CastAsk> = (1..5).map(|node| (node, ask(node))).collect();
        stage.is_chain(0, &asks);
        asks.remove(&dies);
        for at in [1000, 2000, 3000] {
            asks.iter().for_each(|(node, ask)| drop(stage.ask(at, *node, ask)));
        }
        stage.is_chain(3500, &asks);
        let reply = |node: u8| stage.ask(3900, node, &asks[&node]);
        assert!(
            asks.keys().flat_map(|node| reply(*node).sources).all(|source| source.address != address(dies))
        );
        // And comes back at the end.
        asks.insert(dies, ask(dies));
        stage.is_chain(5000, &asks);
        stage.casts.clear(stage.at(60_000));
        assert_eq!(stage.casts.lane(NodeId([1; 16])), None);
        stage.casts.clear(stage.at(70_000));
        assert!(stage.casts.lock().deliveries.is_empty(), "nothing is kept for ever");
    }
}

#[test]
fn after_a_restart_all_is_as_it_was_from_what_the_nodes_say() {
    let before = stage(Some(1), Rules::default());
    let mut asks: BTreeMap<u8, CastAsk> = (1..5).map(|node| (node, ask(node))).collect();
    for (node, ask) in &mut asks {
        *ask = hears(*node, &before.ask(0, *node, ask).seat.unwrap());
    }
    drop(before);
    let after = stage(Some(1), Rules::default());
    for (node, ask) in &asks {
        let seat = after.ask(0, *node, ask).seat.unwrap();
        assert!(Some(seat.session) != ask.session, "nothing is known of what was reported");
    }
    // And a switch that was found to flood is not sent to again.
    let found = stage(Some(1), Rules::default());
    asks.values_mut().for_each(|ask| ask.floods = Some(true));
    found.is_chain(0, &asks);
}

#[test]
fn behind_a_router_they_give_it_to_each_other_and_never_across() {
    let stage = stage(Some(1), Rules::default());
    let far = |node: u8| Asker {
        network: "10.9.0.0/24".parse().unwrap(),
        address: IpAddr::from([10, 9, 0, node]),
        ..stage.asker(node, 4)
    };
    let at = |node: u8, at: u64| stage.casts.ask_at(&far(node), &ask(node), stage.at(at)).unwrap();
    stage.ask(0, 1, &ask(1));
    at(3, 0);
    at(4, 0);
    stage.ask(400, 1, &ask(1));
    assert_eq!(at(3, 400), CastReply::default());
    let second = at(4, 400);
    assert_eq!(second.seat, None);
    assert_eq!(second.sources.len(), 1);
    assert_eq!(second.sources[0].address, SocketAddr::from(([10, 9, 0, 3], port(3))));
    let why = stage.casts.lane(NodeId([4; 16])).unwrap().why.unwrap();
    assert_eq!(why, "behind a router");
}

/// Two lack everything, and never hear a word; whether they say so, or leave it to the sender to find out.
fn nobody_hears(says_so: bool) {
    let stage = stage(Some(1), Rules::default());
    let mut asks: BTreeMap<u8, CastAsk> = (1..3).map(|node| (node, ask(node))).collect();
    let ask_now = |node: u8, ask: &CastAsk| stage.casts.ask(&stage.asker(node, 2), ask).unwrap();
    let mut seats = BTreeMap::new();
    for (node, ask) in &mut asks {
        let seat = ask_now(*node, ask).seat.unwrap();
        ask.session = Some(seat.session);
        ask.hearing.pulls = says_so;
        seats.insert(*node, seat);
    }
    let reports = UdpSocket::bind((LOCAL, 0)).unwrap();
    for number in 0..200 {
        for seat in seats.values() {
            let report = Report {
                session: seat.session,
                slot: seat.slot,
                number,
                next: 0,
                received: 0,
                first: 0,
                runs: vec![Run { groups: 1, deficit: 291 }],
            };
            reports.send_to(&report.packet(&seat.key.0), seat.source).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        let replies: Vec<_> = asks.iter().map(|(node, ask)| ask_now(*node, ask)).collect();
        if replies.iter().all(|reply| reply.seat.is_none())
            && replies.iter().any(|reply| !reply.sources.is_empty())
        {
            let why = stage.casts.lane(NodeId([1; 16])).unwrap().why.unwrap();
            assert!(why.contains("arrives on this network"), "{why}");
            assert_eq!(stage.casts.lock().ended.len(), 1, "it has ended");
            // And does not begin again.
            assert!(asks.iter().all(|(node, ask)| ask_now(*node, ask).seat.is_none()));
            return;
        }
    }
    panic!("it is sent and sent: {:?}", stage.casts.lane(NodeId([1; 16])));
}

#[test]
fn what_arrives_nowhere_is_not_sent_any_more() {
    nobody_hears(false);
}

#[test]
fn what_nobody_says_to_have_heard_is_not_sent_any_more() {
    nobody_hears(true);
}

#[test]
fn what_can_not_be_sent_comes_another_way() {
    let stage = stage(Some(1), Rules::default());
    // An address that is not ours.
    let local = Ipv4Addr::new(192, 0, 2, 1);
    let asker = |node: u8| Asker { local, network: "192.0.2.0/24".parse().unwrap(), ..stage.asker(node, 3) };
    let ask_at = |node: u8, at: u64| stage.casts.ask_at(&asker(node), &ask(node), stage.at(at)).unwrap();
    for at in [0, 300, 600] {
        let replies: Vec<_> = (1..4).map(|node| ask_at(node, at)).collect();
        assert!(replies.iter().all(|reply| reply.seat.is_none()));
        let heads = replies.iter().filter(|reply| reply.sources.is_empty()).count();
        assert!(at == 0 || heads == 1, "{replies:?}");
    }
    let why = stage.casts.lane(NodeId([2; 16])).unwrap().why.unwrap();
    assert_eq!(why, cast::plan::Why::Broken.to_string());
}

#[test]
fn switches_are_asked_where_nodes_are_and_where_they_may_come() {
    let own = Ipv4Addr::new(10, 77, 0, 1);
    let stage = stage(Some(1), Rules { networks: vec![own, LOCAL], ..Rules::default() });
    assert_eq!(stage.casts.networks(), [own, LOCAL]);
    stage.ask(0, 1, &ask(1));
    let far = Asker {
        local: Ipv4Addr::new(10, 78, 0, 1),
        network: "10.9.0.0/24".parse().unwrap(),
        ..stage.asker(2, 1)
    };
    stage.casts.ask_at(&far, &ask(2), stage.at(0)).unwrap();
    assert_eq!(stage.casts.networks(), [own, LOCAL], "not through a router");
    let near = Asker {
        local: Ipv4Addr::new(10, 78, 0, 1),
        network: "10.78.0.0/24".parse().unwrap(),
        ..stage.asker(3, 1)
    };
    stage.casts.ask_at(&near, &ask(3), stage.at(0)).unwrap();
    assert_eq!(stage.casts.networks(), [own, Ipv4Addr::new(10, 78, 0, 1), LOCAL]);
}

#[test]
fn a_plan_made_this_very_moment_does_not_outlive_what_it_was_made_for() {
    let stage = stage(Some(1), Rules::default());
    let mut seats = 0;
    for node in 1..200 {
        seats += u32::from(stage.ask(0, node, &ask(node)).seat.is_some());
    }
    assert_eq!(seats, 199, "also those who came after it was planned");
    assert!(stage.ask(0, 1, &CastAsk { floods: Some(true), ..ask(1) }).seat.is_none());
    for node in 1..200 {
        assert!(stage.ask(0, node, &ask(node)).seat.is_none(), "{node}");
    }
}

#[test]
fn the_two_images_of_a_network_share_it_and_one_that_ends_leaves_it_to_the_other() {
    let stage = stage(Some(1), Rules::default());
    let seat = stage.ask(0, 1, &ask(1)).seat.unwrap();
    let other = Asker { image: stage.other, ..stage.asker(9, 4) };
    let second = stage.casts.ask_at(&other, &ask(9), stage.at(0)).unwrap().seat.unwrap();
    assert!(second.session != seat.session && second.group != seat.group);
    assert_eq!(stage.casts.lock().deliveries.values().filter(|one| one.transmission().is_some()).count(), 2);
    for at in 1..20 {
        assert_eq!(stage.ask(at * 1000, 1, &hears(1, &seat)).seat.unwrap(), seat);
        drop(stage.casts.clear(stage.at(at * 1000)));
    }
    let all = stage.casts.lock();
    assert_eq!(all.deliveries.keys().collect::<Vec<_>>(), [&(stage.asker(1, 4).network, stage.image)]);
}
