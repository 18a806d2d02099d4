//! An object storage: one name asks for its services, a node is in the rings from its first mount on, and a number stays a node's.

use std::io::Read as _;

use data_encoding::BASE64;
use flate2::read::GzDecoder;
use fleet::cloud::objects::Objects;
use fleet::cloud::ring::PART_POWER;
use fleet::{Catalog, Change, Event, Node, State, journal};
use protocol::{JobId, NodeId, ServiceHealth, StateDocument};
use serde_json::Value;

use crate::cloud::{FILES, cloud, document, states, tells};
use crate::rack::Rack;

/// The role `compute` stands for storage here: it needs no data disk.
const MORE: &[(&str, &str)] = &[
    (
        "roles/control.toml",
        "name='control'\nsummary=''\nservices=['db']\ncloud=['shop','token']\noptional=['swift-rings','front']",
    ),
    (
        "roles/compute.toml",
        "name='compute'\nsummary=''\nservices=[]\ncloud=['worker']\noptional=['swift-space','swift-disk','swift-rings','swift-object']",
    ),
    ("services/swift-space/service.toml", "name='swift-space'\nsummary=''\npart_of='swift'"),
    (
        "services/swift-disk/service.toml",
        "name='swift-disk'\nsummary=''\npart_of='swift'\n[[units]]\nname='srv.mount'\nenabled=false\nrunning=true\n[check]\ntcp='${node.address}:1'\nwithin_seconds=5",
    ),
    (
        "services/swift-rings/service.toml",
        "name='swift-rings'\nsummary=''\npart_of='swift'\n\
         [[files]]\npath='/etc/ring'\nmode='0644'\nowner='root:root'\ntemplate='ring'",
    ),
    ("services/swift-rings/ring", "${ring.object}\n"),
    (
        "services/swift-object/service.toml",
        "name='swift-object'\nsummary=''\npart_of='swift'\nneeds=['swift-disk','swift-rings']\n\
         [[units]]\nname='swift-object.service'\nenabled=false\nrunning=true",
    ),
    (
        "services/front/service.toml",
        "name='front'\nsummary=''\npart_of='swift'\nneeds=['swift-rings','swift-object']\naccount='front'\n\
         [identity]\ntype='object-store'\nurl='http://${rack.control}:8080/v1/AUTH_%(project_id)s'\n\
         [[units]]\nname='front.service'\nenabled=false\nrunning=true",
    ),
    (
        "services/worker/service.toml",
        "name='worker'\nsummary=''\nafter=['swift-space']\n[[units]]\nname='worker.service'\nenabled=false\nrunning=true",
    ),
];

fn catalog(chosen: &[&str]) -> Catalog {
    let files = FILES.iter().filter(|(path, _)| !MORE.iter().any(|(other, _)| path == other));
    let chosen = chosen.iter().map(|&name| name.to_owned()).collect();
    Catalog::parse(files.chain(MORE).copied()).unwrap().of_cloud(true).with_optional(chosen)
}

/// A control node, and one that is to keep objects.
fn rack() -> (Rack, NodeId, NodeId) {
    let (mut rack, control, keeper) = cloud();
    rack.catalog = catalog(&["swift"]);
    for image in rack.fleet.images.values_mut() {
        image.roles.insert("swift".to_owned());
    }
    rack.bring(Event::Tick).unwrap();
    (rack, control, keeper)
}

fn another(rack: &mut Rack, like: NodeId, id: u8) -> NodeId {
    let (id, name) = (NodeId([id; 16]), format!("s{id}").parse().unwrap());
    let mut node = Node { id, name, ..rack.fleet.nodes[&like].clone() };
    node.document = fleet::node::Document::default();
    node.report = None;
    rack.fleet.put(Change::Node(Box::new(node)));
    rack.bring(Event::Tick).unwrap();
    id
}

fn mounts(rack: &mut Rack, node: NodeId) {
    tells(rack, node, &[("swift-space", ServiceHealth::Well), ("swift-disk", ServiceHealth::Well)]);
}

fn ring_of(document: &StateDocument) -> Option<String> {
    document.files.iter().find(|file| file.path == "/etc/ring").map(|file| file.content.trim_end().to_owned())
}

/// The devices of the ring that a node is told, each at the place of its number.
fn devices(rack: &Rack, node: NodeId) -> Vec<Value> {
    let text = ring_of(&document(rack, node)).expect("it is told no ring");
    let mut ring = Vec::new();
    GzDecoder::new(BASE64.decode(text.as_bytes()).unwrap().as_slice()).read_to_end(&mut ring).unwrap();
    let length = u32::from_be_bytes(ring[6..10].try_into().unwrap()) as usize;
    let head: Value = serde_json::from_slice(&ring[10..10 + length]).unwrap();
    let copies = usize::try_from(head["replica_count"].as_u64().unwrap()).unwrap();
    assert_eq!(ring.len(), 10 + length + (copies << (PART_POWER + 1)));
    head["devs"].as_array().unwrap().clone()
}

fn held(rack: &Rack, service: &str) -> Vec<String> {
    let rows = states(rack).into_iter().filter(|row| row.0 == service && row.1 == "held");
    rows.map(|row| row.2.unwrap_or_default()).collect()
}

fn give(rack: &mut Rack, id: NodeId, change: impl FnOnce(&mut Node)) {
    let mut node = rack.fleet.nodes[&id].clone();
    change(&mut node);
    rack.fleet.put(Change::Node(Box::new(node)));
    rack.bring(Event::Tick).unwrap();
}

#[test]
fn one_name_asks_for_all_its_services_of_whichever_role() {
    let named = |name: &str| [name.to_owned()].into();
    let chosen = catalog(&["swift"]);
    assert_eq!(chosen.optional(), ["swift"].into());
    let image = |role: &str| chosen.image_roles(&named(role)).into_iter().collect::<Vec<_>>();
    assert_eq!(image("control"), ["cloud", "control", "swift"]);
    assert_eq!(image("compute"), ["cloud", "compute", "swift"]);
    assert_eq!(image("network"), ["cloud", "network"]);
    let has = |catalog: &Catalog, role: &str| {
        catalog.services_of(&named(role)).iter().filter(|one| one.part_of.is_some()).count()
    };
    assert_eq!((has(&chosen, "control"), has(&chosen, "compute")), (2, 4));
    for not in [&[][..], &["swift-rings"], &["front"]] {
        let catalog = catalog(not);
        assert_eq!((has(&catalog, "control"), has(&catalog, "compute")), (0, 0), "{not:?}");
        assert!(catalog.services().all(|service| service.part_of.is_none()), "keystone is told of it");
    }
}

#[test]
fn nothing_of_it_is_there_where_nobody_asked() {
    let (mut rack, control, keeper) = rack();
    rack.catalog = catalog(&[]);
    rack.bring(Event::Tick).unwrap();
    mounts(&mut rack, keeper);
    assert_eq!(rack.fleet.objects, None);
    for node in [control, keeper] {
        let document = document(&rack, node);
        assert_eq!(ring_of(&document), None);
        assert!(
            document
                .services
                .iter()
                .all(|service| !service.needs.iter().any(|need| need.starts_with("swift")))
        );
    }
}

#[test]
fn a_node_is_in_the_rings_from_its_first_mount_on() {
    let (mut rack, control, keeper) = rack();
    let why = held(&rack, "swift-rings");
    assert_eq!(why.len(), 2, "{:?}", states(&rack));
    assert!(
        why.iter().all(|why| why.contains("no storage node has its disk for objects mounted")),
        "{why:?}"
    );
    assert!(
        held(&rack, "front")[0].starts_with("swift-rings, which waits for"),
        "{:?}",
        held(&rack, "front")
    );
    let ill = ServiceHealth::Ill { why: "no".to_owned() };
    tells(&mut rack, keeper, &[("swift-disk", ill)]);
    assert_eq!(rack.fleet.objects, None, "what is not mounted keeps nothing");

    let before = [control, keeper].map(|node| rack.fleet.nodes[&node].document.generation);
    mounts(&mut rack, keeper);
    assert_eq!(rack.fleet.objects, Some(Objects { nodes: vec![keeper] }));
    for (node, before) in [control, keeper].into_iter().zip(before) {
        assert_eq!(rack.fleet.nodes[&node].document.generation, before + 1, "told in the same breath");
        let devices = devices(&rack, node);
        let address = rack.fleet.nodes[&keeper].boot.address.to_string();
        assert_eq!((devices.len(), &devices[0]["ip"]), (1, &address.into()));
    }
    assert!(held(&rack, "front")[0].contains("swift-object"), "{:?}", held(&rack, "front"));
    tells(&mut rack, keeper, &[("swift-disk", ServiceHealth::Well), ("swift-object", ServiceHealth::Well)]);
    assert_eq!(held(&rack, "front"), [] as [String; 0]);
    let settled = rack.fleet.nodes[&keeper].document.generation;
    rack.bring(Event::Tick).unwrap();
    mounts(&mut rack, keeper);
    assert_eq!(rack.fleet.nodes[&keeper].document.generation, settled, "nothing new is nothing new");
    let change = Change::Objects(Box::new(rack.fleet.objects.clone().unwrap()));
    let record = journal::effect(&fleet::Fleet::default(), &change).unwrap();
    assert_eq!((record.kind, &record.body["devices"][0]), ("objects", &keeper.to_string().into()));
}

/// Swift writes beside it meanwhile, and what it has is still there afterwards: nothing is to move for that.
#[test]
fn a_node_that_is_rebuilt_ill_or_silent_stays_where_it_is() {
    let (mut rack, control, keeper) = rack();
    mounts(&mut rack, keeper);
    let other = another(&mut rack, keeper, 20);
    mounts(&mut rack, other);
    let ring = ring_of(&document(&rack, control));
    let job = JobId([1; 8]);
    for state in [State::Draining { job }, State::Imaging { job }, State::Booting { job }, State::Active] {
        give(&mut rack, keeper, |node| {
            node.state = state;
            node.document.released.clear();
            node.report = None;
        });
        assert_eq!(ring_of(&document(&rack, control)), ring);
    }
    let ill = ServiceHealth::Ill { why: "gone".to_owned() };
    tells(&mut rack, keeper, &[("swift-disk", ill)]);
    assert_eq!(ring_of(&document(&rack, control)), ring);
    assert_eq!(rack.fleet.objects.as_ref().unwrap().nodes, [keeper, other]);
}

#[test]
fn a_number_is_never_another_nodes() {
    let (mut rack, control, first) = rack();
    mounts(&mut rack, first);
    let second = another(&mut rack, first, 20);
    mounts(&mut rack, second);
    let numbers = |rack: &Rack| {
        let devices = devices(rack, control);
        devices.iter().map(|device| device["id"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&rack), [Some(0), Some(1)]);
    // On its way out: its disks are being erased.
    give(&mut rack, first, |node| node.state = State::Retiring { job: JobId([1; 8]) });
    assert_eq!(numbers(&rack), [None, Some(1)]);
    give(&mut rack, first, |node| node.state = State::Retired);
    let third = another(&mut rack, second, 2);
    mounts(&mut rack, third);
    assert_eq!(numbers(&rack), [None, Some(1), Some(2)], "whatever its id is");
    // Without the role it keeps nothing, and is told of no ring; with it again, it is who it was.
    let roles = rack.fleet.nodes[&second].roles.clone();
    give(&mut rack, second, |node| node.roles = ["network".to_owned()].into());
    assert_eq!(numbers(&rack), [None, None, Some(2)]);
    assert_eq!(ring_of(&document(&rack, second)), None);
    give(&mut rack, second, |node| node.roles = roles);
    assert_eq!(numbers(&rack), [None, Some(1), Some(2)]);
    let text = serde_json::to_string(&rack.fleet.objects).unwrap();
    assert_eq!(
        serde_json::from_str::<Option<Objects>>(&text).unwrap(),
        rack.fleet.objects,
        "it is kept as it is"
    );
}

/// A document that could not be made would keep the control node from everything else as well.
#[test]
fn when_all_are_gone_everybody_still_has_a_document() {
    let (mut rack, control, keeper) = rack();
    mounts(&mut rack, keeper);
    give(&mut rack, keeper, |node| node.state = State::Retired);
    assert_eq!(
        ring_of(&document(&rack, control)),
        Some(String::new()),
        "the node keeps the ring that it has"
    );
    let next = another(&mut rack, keeper, 30);
    give(&mut rack, next, |node| node.state = State::Active);
    mounts(&mut rack, next);
    assert_eq!(devices(&rack, control)[0], Value::Null);
    assert_eq!(devices(&rack, control)[1]["id"], 1);
}

/// Room for objects is taken before volumes take all that there is; and who has none of it, waits for nothing.
#[test]
fn what_comes_after_another_waits_for_it_where_the_node_has_it() {
    let (mut rack, _, keeper) = rack();
    let worker = |rack: &Rack| {
        let document = document(rack, keeper);
        document.services.into_iter().find(|one| one.name == "worker").map(|one| one.needs)
    };
    assert_eq!(worker(&rack), Some(vec!["swift-space".to_owned()]));
    let names = document(&rack, keeper).services.into_iter().map(|one| one.name).collect::<Vec<_>>();
    let place = |name: &str| names.iter().position(|one| one == name).unwrap();
    assert!(place("swift-space") < place("worker"), "{names:?}");

    // Its image does not carry the object storage: it would take the room, once and for all.
    for mut image in rack.fleet.images.values().cloned().collect::<Vec<_>>() {
        image.roles.remove("swift");
        rack.fleet.put(Change::Image(Box::new(image)));
    }
    rack.bring(Event::Tick).unwrap();
    assert!(worker(&rack).is_some(), "what was let go once is not taken back");
    give(&mut rack, keeper, |node| node.document.released.clear());
    let why = &held(&rack, "worker")[0];
    assert!(why.starts_with("swift-space, which waits for an image that carries swift"), "{why}");
    rack.catalog = catalog(&[]);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(worker(&rack), Some(Vec::new()));
}

#[test]
fn a_catalog_in_which_parts_and_turns_can_not_be_is_refused() {
    let role = "name='control'\nsummary=''\nservices=['a']\noptional=['b']";
    let service = |name: &str, more: &str| format!("name='{name}'\nsummary=''\n{more}");
    for (a, b, want) in [
        (service("a", "part_of='x'"), service("b", ""), "every cloud has it"),
        (service("a", "after=['c']"), service("b", ""), "there is no service \"c\""),
        (service("a", "after=['b']"), service("b", "needs=['a']"), "it needs itself"),
        (service("a", "after=['a']"), service("b", ""), "it needs itself"),
        (service("a", ""), service("b", "part_of='control'"), "an optional service, and a role"),
    ] {
        let files = [
            ("roles/control.toml", role),
            ("services/a/service.toml", a.as_str()),
            ("services/b/service.toml", b.as_str()),
        ];
        let told = Catalog::parse(files).unwrap_err().to_string();
        assert!(told.contains(want), "{told}: {want}");
    }
}
