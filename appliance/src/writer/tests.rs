//! A whole writer on a state in a folder of its own, and the way of a server through it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use fleet::clock::{Doubt, Look, Verb, Verdict, Why};
use fleet::cloud::Cloud;
use fleet::image::Image;
use fleet::network::Rule;
use fleet::{Event, Reply, Site, Subnet};
use pack::{Digest, PublicKey};
use protocol::{
    BootFacts, CaPin, Disk, DiskBus, DiskId, Hello, Inventory, JobId, Key, Nic, NodeId, Receipt, Verify,
};
use pxe::dhcp::{Arrival, Door, Lease, LeaseChange, Mode, Network, Policy, Pool};
use pxe::{HttpBase, Mac};

use super::{AddressWish, Answered, Core, DhcpAnswer, Done, Packet, Refused, Wired, now};
use crate::store::{Batch, Log, Store};

pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x77, 0, 1];

/// A controller's state, with a pool of ten addresses, .100 to .109.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn state() -> State {
    opened(tempfile::tempdir().unwrap())
}

/// The state in this folder, as a daemon finds it when it starts.
pub(crate) fn opened(folder: tempfile::TempDir) -> State {
    opened_as(folder, None)
}

/// The same, of a rack that is this cloud.
pub(crate) fn opened_as(folder: tempfile::TempDir, cloud: Option<Cloud>) -> State {
    let path = folder.path().join("state.db");
    let site = Site {
        name: "lab".to_owned(),
        subnets: vec![Subnet { net: "10.77.0.0/24".parse().unwrap(), controller: OURS, gateway: None }],
        ca: CaPin([1; 32]),
        addresses: BTreeMap::new(),
        cloud,
    };
    let policy = Policy {
        server: OURS,
        subnet: "10.77.0.0/24".parse().unwrap(),
        relay: None,
        pools: vec![Pool { first: ip(100), last: ip(109) }],
        lease_seconds: 3600,
        router: None,
        dns: vec![],
        mode: Mode::Full,
        proxy: false,
        http: HttpBase::at(OURS),
    };
    let catalog = crate::catalog::embedded().unwrap().of_cloud(site.cloud.is_some());
    let store = Store::open(&path).unwrap();
    let (core, _) = Core::start(
        store,
        Log::new(&path),
        catalog,
        vec![Wired { dhcp: Network::single("rw0", policy), rule: Rule::Ignore }],
        site,
    )
    .unwrap();
    State { core, folder }
}

impl State {
    /// The same state a year later: every lease has run out, in the order they were taken in.
    pub(crate) fn much_later(self) -> State {
        let path = self.folder.path().join("state.db");
        let world = self.core.world();
        drop(self.core);
        let mut store = Store::open(&path).unwrap();
        let ago = now().0 - 365 * 86_400_000;
        let change = |(mac, lease): (Mac, &Lease)| {
            let expires = pxe::Time(ago + u64::from(lease.ip.octets()[3]));
            LeaseChange {
                mac,
                lease: Some(Lease { expires, ..lease.clone() }),
                evicts: None,
                quarantine: None,
            }
        };
        let leases = world.leases.iter().map(change).collect();
        store.save(&Batch { leases, ..Batch::default() }).unwrap();
        drop(store);
        opened(self.folder)
    }
}

pub(crate) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

pub(crate) fn mac(octets: [u8; 6]) -> Mac {
    Mac::new(octets).unwrap()
}

/// A DHCP message of a client with these options.
pub(crate) fn packet(mac: [u8; 6], kind: u8, options: &[(u8, &[u8])]) -> Packet {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[28..34].copy_from_slice(&mac);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    for (code, value) in options {
        bytes.extend([*code, u8::try_from(value.len()).unwrap()]);
        bytes.extend(*value);
    }
    bytes.push(255);
    let arrival = Arrival { door: Door::Lan, source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68) };
    Packet { interface: "rw0".into(), bytes, arrival }
}

impl State {
    pub(crate) async fn bring(&self, event: Event) -> Result<Done, Refused> {
        self.core.bring(event).await
    }

    /// A DHCP message of this kind (option 53), with these options beside it.
    pub(crate) async fn dhcp(&self, mac: [u8; 6], kind: u8, options: &[(u8, &[u8])]) -> DhcpAnswer {
        self.core.dhcp(packet(mac, kind, options)).await
    }

    /// The address that this NIC takes, if it is given one.
    pub(crate) async fn takes(&self, mac: [u8; 6]) -> Option<Ipv4Addr> {
        let DhcpAnswer::Send(offer) = self.dhcp(mac, 1, &[]).await else { return None };
        let wish = offer.address.unwrap().octets();
        let answer = self.dhcp(mac, 3, &[(50, &wish), (54, &OURS.octets())]).await;
        let DhcpAnswer::Send(ack) = answer else { panic!("{answer:?}") };
        ack.address
    }

    pub(crate) async fn hello(&self, key: u8, mac: [u8; 6]) -> Result<NodeId, Refused> {
        let hello = Box::new(hello(key, mac));
        let reply = self.bring(Event::Hello { hello, proven: false, answered: None }).await?.reply;
        let Reply::Hello { node, .. } = reply else { panic!("{reply:?}") };
        Ok(node)
    }

    /// A server that has enrolled with this role; its image carries every role.
    pub(crate) async fn enrolled(&self, role: &str) -> NodeId {
        let node = self.hello(1, MAC).await.unwrap();
        let image = image();
        let digest = image.digest;
        self.bring(Event::Imported(image)).await.unwrap();
        let roles = Some([role.to_owned()].into());
        self.bring(Event::Approve { node, name: None, roles, moved: false }).await.unwrap();
        let again = Event::Hello { hello: Box::new(hello(1, MAC)), proven: true, answered: None };
        self.bring(again).await.unwrap();
        let asked = || Event::Asked {
            node,
            certificate: String::new(),
            inventory: Box::new(hello(1, MAC).inventory),
        };
        self.bring(asked()).await.unwrap();
        let Reply::Plan(plan) = self
            .bring(Event::Plan {
                node,
                image: None,
                disk: None,
                data: None,
                roles: None,
                erase: Vec::new(),
                verify: Verify::default(),
            })
            .await
            .unwrap()
            .reply
        else {
            panic!("no plan")
        };
        let Reply::Job(job) =
            self.bring(Event::Apply { plan: plan.id.clone(), force: false }).await.unwrap().reply
        else {
            panic!("no job")
        };
        self.bring(asked()).await.unwrap();
        let receipt = receipt(job, digest, plan.target.disk.clone());
        self.bring(Event::Verified { node, receipt }).await.unwrap();
        self.bring(Event::Enrolled {
            node,
            certificate: String::new(),
            key: Key([9; 32]),
            uptime_seconds: 20,
        })
        .await
        .unwrap();
        node
    }
}

fn receipt(job: JobId, image: Digest, disk: DiskId) -> Receipt {
    Receipt {
        job,
        image,
        disk,
        total_bytes: 1 << 30,
        written_bytes: 1 << 30,
        same_bytes: 0,
        fetched_bytes: 1 << 28,
        milliseconds: 60_000,
        verify: Verify::Readback,
        proof: None,
    }
}

pub(crate) fn hello(key: u8, mac: [u8; 6]) -> Hello {
    let mac: protocol::HardwareAddress = self::mac(mac).to_string().parse().unwrap();
    let nic = Nic {
        name: "eth0".to_owned(),
        mac: mac.clone(),
        speed_mbps: Some(1000),
        carrier: true,
        driver: "virtio_net".to_owned(),
    };
    let disk = Disk {
        name: "vda".to_owned(),
        model: "QEMU".to_owned(),
        serial: "SYS".to_owned(),
        bytes: 8 << 30,
        sector_bytes: 512,
        bus: DiskBus::Virtio,
        content: Some(Digest::of(b"SYS")),
        ..Disk::default()
    };
    let inventory =
        Inventory { nics: vec![nic], disks: vec![disk], firmware: "bios".to_owned(), ..Inventory::default() };
    let boot = BootFacts {
        mac,
        address: ip(100),
        path: "bios-pxe".to_owned(),
        uptime_seconds: 4,
        boot_id: String::new(),
    };
    Hello::new(Key([key; 32]), boot, inventory)
}

#[tokio::test]
async fn a_stranger_fills_neither_the_log_nor_the_memory() {
    let state = state();
    let node = state.hello(1, MAC).await.unwrap();
    let lines = || state.core.world().seq;
    let before = lines();
    // A key of its own for every hello, in the name of a server that is known.
    for key in 2..100 {
        state.hello(key, MAC).await.unwrap();
    }
    assert_eq!(lines() - before, 1, "one line for all of them");
    let served = |text: String| {
        let mac = mac(MAC).to_string().parse().unwrap();
        state.core.mention(Event::Served { mac, what: "script".to_owned(), text });
    };
    for _ in 0..100 {
        served("told to wait".to_owned());
    }
    for i in 0..100 {
        served(format!("told to wait {i}"));
    }
    state.bring(Event::Tick).await.unwrap();
    assert!((2..=33).contains(&(lines() - before)), "{}", lines() - before);
    assert_eq!(state.core.world().fleet.nodes.len(), 1);
    assert_eq!(state.core.world().fleet.nodes[&node].claim.as_ref().unwrap().key, Key([99; 32]));
}

#[tokio::test]
async fn a_full_pool_takes_back_what_strangers_left_and_never_what_nodes_have() {
    let state = state();
    // A pool of ten: one node, nine machines that were here once.
    assert_eq!(state.takes(MAC).await, Some(ip(100)));
    state.hello(1, MAC).await.unwrap();
    for last in 1..10 {
        assert!(state.takes([2, 0, 0, 0, 0, last]).await.is_some());
    }
    assert_eq!(state.takes([2, 0, 0, 0, 0, 99]).await, None, "all leases run");
    let state = state.much_later();
    assert_eq!(state.takes([2, 0, 0, 0, 0, 99]).await, Some(ip(101)), "the one that ran out longest ago");
    for last in 100..108 {
        assert!(state.takes([2, 0, 0, 0, 0, last]).await.is_some());
    }
    assert_eq!(state.takes([2, 0, 0, 0, 0, 108]).await, None, "the last one is the node's");
    assert_eq!(state.core.world().leases.holder(ip(100)), Some(mac(MAC)));
    assert_eq!(state.core.world().leases.get(mac([2, 0, 0, 0, 0, 1])), None);
}

#[tokio::test]
async fn an_address_is_released_unless_it_is_a_nodes() {
    let state = state();
    let stranger = [2, 0, 0, 0, 0, 1];
    assert_eq!(state.takes(MAC).await, Some(ip(100)));
    state.hello(1, MAC).await.unwrap();
    assert_eq!(state.takes(stranger).await, Some(ip(101)));
    let refused = state.core.release(mac(MAC)).await.unwrap_err().to_string();
    assert!(refused.contains("10.77.0.100 is n1's") && refused.contains("node set-address n1"), "{refused}");
    let change = state.core.release(mac(stranger)).await.unwrap();
    assert_eq!(change.quarantine.map(|(ip, _)| ip), Some(ip(101)), "its client may still use it");
    assert!(
        matches!(state.core.release(mac(stranger)).await, Err(Refused::Denied(_))),
        "there is none any more"
    );
    let state = opened(state.folder);
    assert_eq!(state.core.world().leases.get(mac(stranger)), None, "it is durable");
    assert_eq!(state.core.world().leases.holder(ip(100)), Some(mac(MAC)));
}

#[tokio::test]
async fn a_document_names_the_address_that_the_node_has() {
    let state = state();
    assert_eq!(state.takes(MAC).await, Some(ip(100)));
    let node = state.enrolled("control").await;
    let generation = |state: &State| state.core.world().fleet.nodes[&node].document.generation;
    let address = |state: &State| state.core.world().site.addresses.values().copied().collect::<Vec<_>>();
    let before = generation(&state);
    state.core.address(AddressWish::Fix { node, mac: mac(MAC), address: ip(50) }).await.unwrap();
    state.bring(Event::Rename { node, name: "n1".parse().unwrap() }).await.unwrap();
    assert_eq!((generation(&state), address(&state)), (before, vec![ip(100)]));
    let state = opened(state.folder);
    assert_eq!((generation(&state), address(&state)), (before, vec![ip(100)]), "after a restart too");
    assert_eq!(state.takes(MAC).await, Some(ip(50)));
    assert_eq!((generation(&state), address(&state)), (before + 1, vec![ip(50)]));
}

/// A data base in which nothing can be saved, for another reason than a full disk.
fn without_tables(state: &State) {
    let other = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    other.execute_batch("DROP TABLE lease; DROP TABLE event").unwrap();
}

#[tokio::test]
async fn an_offer_is_made_at_once_and_no_address_is_given_before_its_row_is_durable() {
    let state = state();
    let rows = || Store::open(&state.folder.path().join("state.db")).unwrap().leases().unwrap();
    let DhcpAnswer::Send(offer) = state.dhcp(MAC, 1, &[]).await else { panic!("no offer") };
    assert_eq!(offer.address, Some(ip(100)));
    assert_eq!(rows().get(mac(MAC)), None, "an offer needs no row");
    state.bring(Event::Tick).await.unwrap();
    assert_eq!(state.core.world().leases.holder(ip(100)), Some(mac(MAC)), "and is nobody else's");
    assert_eq!(state.takes([2, 0, 0, 0, 0, 1]).await, Some(ip(101)));
    without_tables(&state);
    let asks = |octets: [u8; 6], wish: u8| {
        let wish = ip(wish).octets();
        let state = &state;
        async move { state.dhcp(octets, 3, &[(50, &wish), (54, &OURS.octets())]).await }
    };
    let answer = asks(MAC, 100).await;
    assert!(
        matches!(&answer, DhcpAnswer::Silence(why) if format!("{why:?}").contains("no such table")),
        "{answer:?}"
    );
    assert_eq!(state.core.world().leases.holder(ip(100)), Some(mac(MAC)), "the offer stands");
    let answer = asks([2, 0, 0, 0, 0, 1], 101).await;
    assert!(
        matches!(&answer, DhcpAnswer::Send(reply) if reply.lease.is_none()),
        "the rest of its lease: {answer:?}"
    );
    let answer = state.dhcp([2, 0, 0, 0, 0, 2], 1, &[]).await;
    assert!(
        matches!(answer, DhcpAnswer::Silence(_)),
        "it is known now that nothing can be saved: {answer:?}"
    );
    assert_eq!(state.core.world().leases.holder(ip(102)), None);
}

#[tokio::test]
async fn what_was_decided_ahead_of_a_failure_never_happened_either() {
    let state = state();
    let (one, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let asks = |octets: [u8; 6], wish: u8| {
        let (wish, state) = (ip(wish).octets(), &state);
        async move { state.dhcp(octets, 3, &[(50, &wish), (54, &OURS.octets())]).await }
    };
    // The disk is busy until both are decided, and then takes the first one's row for bad.
    let busy = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    let trouble = format!(
        "BEGIN IMMEDIATE; CREATE TRIGGER trouble BEFORE INSERT ON lease WHEN NEW.key = '{}'
         BEGIN SELECT RAISE(ABORT, 'a bad row'); END;",
        mac(one)
    );
    busy.execute_batch(&trouble).unwrap();
    let after = |ms| tokio::time::sleep(std::time::Duration::from_millis(ms));
    let (first, second, ()) = tokio::join!(
        asks(one, 105),
        async {
            after(300).await;
            asks(other, 106).await
        },
        async {
            after(900).await;
            busy.execute_batch("COMMIT").unwrap();
        }
    );
    for answer in [first, second] {
        assert!(
            matches!(&answer, DhcpAnswer::Silence(why) if format!("{why:?}").contains("a bad row")),
            "{answer:?}"
        );
    }
    let holders = |state: &State| [105, 106].map(|last| state.core.world().leases.holder(ip(last)));
    assert_eq!(holders(&state), [None, None]);
    assert!(matches!(asks(other, 106).await, DhcpAnswer::Send(_)), "and it goes on");
    busy.execute_batch("DROP TRIGGER trouble").unwrap();
    assert!(matches!(asks(one, 105).await, DhcpAnswer::Send(_)));
    let state = opened(state.folder);
    assert_eq!(holders(&state), [Some(mac(one)), Some(mac(other))]);
}

#[tokio::test]
async fn a_doubt_of_the_clock_outlives_a_batch_that_was_not_saved_and_an_operators_word_does_not() {
    let state = state();
    let disk = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    let fails = |wanted: bool| {
        let trouble = "CREATE TRIGGER trouble BEFORE INSERT ON site WHEN NEW.key = 'clock'
             BEGIN SELECT RAISE(ABORT, 'a bad row'); END;";
        disk.execute_batch(if wanted { trouble } else { "DROP TRIGGER trouble" }).unwrap();
    };
    let thought = || state.core.world().fleet.clock.clone();
    // So far ahead that no look meanwhile finds it come true.
    let at = Look { wall: now(), up_ms: 1, boot: "b".to_owned() };
    let doubt = Doubt { why: Why::Behind, believed: now().plus_seconds(365 * 86_400), at };
    fails(true);
    let seen = Event::Clock(Verb::Seen(Verdict::Doubted(doubt.clone())));
    assert!(matches!(state.core.bring(seen).await, Err(Refused::Unsaved(_))));
    assert_eq!(thought(), None);
    fails(false);
    state.core.bring(Event::Tick).await.unwrap();
    assert_eq!(thought().as_ref(), Some(&doubt), "no later look would have seen it again");

    fails(true);
    assert!(matches!(state.core.bring(Event::Clock(Verb::Accept)).await, Err(Refused::Unsaved(_))));
    fails(false);
    state.core.bring(Event::Tick).await.unwrap();
    assert_eq!(thought().as_ref(), Some(&doubt), "whoever said it was told that it is not saved");
    state.core.bring(Event::Clock(Verb::Accept)).await.unwrap();
    assert_eq!(thought(), None);
}

#[tokio::test]
async fn an_offer_stands_when_the_batch_it_was_made_in_cannot_be_saved() {
    let state = state();
    let question =
        |octets: [u8; 6], kind: u8, options: &[(u8, &[u8])]| packet(octets, kind, options).read().unwrap();
    assert_eq!(state.takes(MAC).await, Some(ip(100)));
    without_tables(&state);
    // In one batch: a new machine begins, a second one asks for what a first was given before a restart, and a third begins.
    let wish = ip(105).octets();
    let questions = vec![
        question([2, 0, 0, 0, 0, 1], 1, &[]),
        question([2, 0, 0, 0, 0, 2], 3, &[(50, &wish), (54, &OURS.octets())]),
        question([2, 0, 0, 0, 0, 3], 1, &[]),
    ];
    let (answers, mut said) = tokio::sync::mpsc::unbounded_channel();
    state.core.ask(questions, &answers).await;
    let early = said.recv().await.unwrap();
    let address = |answered: &Answered| match &answered.answer {
        DhcpAnswer::Send(reply) => reply.address,
        DhcpAnswer::Silence(_) | DhcpAnswer::Malformed(_) => None,
    };
    assert_eq!(early.iter().map(address).collect::<Vec<_>>(), [Some(ip(101)), Some(ip(102))]);
    let late = said.recv().await.unwrap();
    let [Answered { answer: DhcpAnswer::Silence(why), .. }] = late.as_slice() else { panic!("{late:?}") };
    assert!(format!("{why:?}").contains("no such table"), "{why:?}");
    let world = state.core.world();
    let holders = [101, 102, 105].map(|last| world.leases.holder(ip(last)));
    assert_eq!(holders, [Some(mac([2, 0, 0, 0, 0, 1])), Some(mac([2, 0, 0, 0, 0, 3])), None]);
}

#[tokio::test]
async fn an_address_that_was_offered_before_a_restart_is_given_to_whom_asks_for_it_first() {
    let state = state();
    let DhcpAnswer::Send(offer) = state.dhcp(MAC, 1, &[]).await else { panic!("no offer") };
    let wish = offer.address.unwrap();
    let state = opened(state.folder);
    assert_eq!(state.core.world().leases.holder(wish), None);
    let answer = state.dhcp(MAC, 3, &[(50, &wish.octets()), (54, &OURS.octets())]).await;
    assert!(matches!(&answer, DhcpAnswer::Send(ack) if ack.address == Some(wish)), "{answer:?}");
    let state = opened(state.folder);
    assert_eq!(state.core.world().leases.holder(wish), Some(mac(MAC)), "that is durable");
}

#[tokio::test]
async fn whoever_goes_on_is_more_urgent_than_whoever_begins() {
    use super::Urgency;
    let state = state();
    state.takes(MAC).await.unwrap();
    state.core.address(AddressWish::Reserve { mac: mac([2, 0, 0, 0, 0, 1]), address: None }).await.unwrap();
    state.dhcp([2, 0, 0, 0, 0, 2], 1, &[]).await;
    // An offer leaves before it is shown.
    let offered = mac([2, 0, 0, 0, 0, 2]);
    state.core.watch().wait_for(|world| world.leases.get(offered).is_some()).await.unwrap();
    let urgency =
        |octets, kind| state.core.world().urgency(&packet(octets, kind, &[]).read().unwrap().request);
    assert_eq!(urgency(MAC, 1), Urgency::Known);
    assert_eq!(urgency([2, 0, 0, 0, 0, 1], 1), Urgency::Known, "an operator has made it known");
    assert_eq!(urgency([2, 0, 0, 0, 0, 2], 1), Urgency::Stranger, "an offer makes nobody known");
    assert_eq!(urgency([2, 0, 0, 0, 0, 2], 3), Urgency::Underway);
    assert_eq!(urgency([2, 0, 0, 0, 0, 3], 3), Urgency::Stranger, "nothing was begun");
    assert!(Urgency::Underway > Urgency::Known && Urgency::Known > Urgency::Stranger);
}

/// One that serves every role.
fn image() -> Image {
    let roles = ["cloud", "control", "compute", "network", "storage"].map(str::to_owned).into();
    Image {
        digest: Digest::of(b"image"),
        name: "node".to_owned(),
        roles,
        arch: "amd64".to_owned(),
        disk_bytes: 2 << 30,
        content_bytes: 1 << 30,
        stored_bytes: 1 << 28,
        signer: PublicKey([3; 32]),
        imported: now(),
        layout: pack::Layout::default(),
        root: None,
    }
}
