//! A rack that is a cloud: what comes up when, on whichever node.

use fleet::cloud::release::lets_go;
use fleet::cloud::{CloudKey, External, Tunnel};
use fleet::{Catalog, Change, Event, Node, Site, State, Time, converge, view};
use protocol::{CheckKind, JobId, Nic, NodeId, Report, ServiceHealth, ServiceReport, StateDocument};

use crate::rack::{Rack, unit};

pub(crate) const FILES: &[(&str, &str)] = &[
    ("roles/base.toml", "name='base'\nsummary=''\nservices=['names']"),
    ("roles/cloud.toml", "name='cloud'\nsummary=''\nservices=[]"),
    ("roles/control.toml", "name='control'\nsummary=''\nservices=['db']\ncloud=['shop','token']"),
    ("roles/network.toml", "name='network'\nsummary=''\nservices=[]\ncloud=['gate']"),
    (
        "services/gate/service.toml",
        "name='gate'\nsummary=''\n[[tasks]]\nname='gate'\nguard=['/bin/false']\nargv=['/bin/echo','${node.external_port}','${cloud.external.first} ${cloud.external.vlan}',\n\
         '${node.tunnel_port}','${node.tunnel_address}','${node.tunnel_prefix}']\n\
         timeout_seconds=5\nbefore_units=true",
    ),
    ("roles/compute.toml", "name='compute'\nsummary=''\nservices=[]\ncloud=['worker']"),
    ("services/names/service.toml", "name='names'\nsummary=''"),
    (
        "services/db/service.toml",
        "name='db'\nsummary=''\n[[units]]\nname='db.service'\nenabled=true\nrunning=true",
    ),
    (
        "services/token/service.toml",
        "name='token'\nsummary=''\nneeds=['db']\naccount='token'\ndatabases=['to_ken']\n\
         [identity]\ntype='identity'\nurl='http://${rack.control}:5000/v3'\n\
         [[files]]\npath='/etc/token.conf'\nmode='0640'\nowner='root:token'\ntemplate='token.conf'\nrestarts=['shop','worker']\n\
         [[units]]\nname='token.service'\nenabled=false\nrunning=true\n\
         [[tasks]]\nname='token-db'\nguard=['/bin/false']\nargv=['/bin/sync']\ntimeout_seconds=5\nbefore_units=true\n\
         [check]\nhttp='http://${node.address}:5000/v3'\nwithin_seconds=60",
    ),
    (
        "services/token/token.conf",
        "key=${secret.token}\nregion=${cloud.region}\n${cloud.databases}${cloud.identity}",
    ),
    (
        "services/shop/service.toml",
        "name='shop'\nsummary=''\nneeds=['token']\naccount='shop'\n[identity]\ntype='image'\nurl='http://${rack.control}:1/'\n\
         [[units]]\nname='shop.service'\nenabled=false\nrunning=true",
    ),
    (
        "services/worker/service.toml",
        "name='worker'\nsummary=''\nneeds=['shop']\n[[units]]\nname='worker.service'\nenabled=false\nrunning=true",
    ),
];

/// An active control node, and an active compute node beside it.
pub(crate) fn cloud() -> (Rack, NodeId, NodeId) {
    let (mut rack, control, _) = Rack::active("control");
    rack.catalog = Catalog::parse(FILES.iter().copied()).unwrap().of_cloud(true);
    for image in rack.fleet.images.values_mut() {
        image.roles.insert("cloud".to_owned());
    }
    let compute = NodeId([9; 16]);
    let node = Node {
        id: compute,
        name: "c1".parse().unwrap(),
        roles: ["compute".to_owned()].into(),
        document: fleet::node::Document::default(),
        ..rack.only().clone()
    };
    rack.fleet.put(Change::Node(Box::new(node)));
    rack.bring(Event::Tick).unwrap();
    (rack, control, compute)
}

pub(crate) fn document(rack: &Rack, node: NodeId) -> StateDocument {
    converge(&rack.fleet, &rack.site(), &rack.catalog, &rack.fleet.nodes[&node]).unwrap()
}

fn services(rack: &Rack, node: NodeId) -> Vec<String> {
    document(rack, node).services.into_iter().map(|service| service.name).collect()
}

/// The node tells of its services, and that all units of its document are up.
pub(crate) fn tells(rack: &mut Rack, node: NodeId, all: &[(&str, ServiceHealth)]) {
    let units = document(rack, node).units.iter().map(|wanted| unit(&wanted.name, "active")).collect();
    let told = |(name, health): &(&str, ServiceHealth)| ServiceReport {
        name: (*name).to_owned(),
        health: health.clone(),
        since_ms: 1,
    };
    let services = all.iter().map(told).collect();
    let generation = rack.fleet.nodes[&node].document.generation;
    let report = Report { generation, units, services, ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
}

pub(crate) fn states(rack: &Rack) -> Vec<(String, String, Option<String>)> {
    let rows = view::cloud_rows(&rack.fleet, &rack.site(), &rack.catalog, rack.now);
    rows.into_iter().map(|row| (row.service, row.state, row.why)).collect()
}

#[test]
fn a_service_comes_up_when_what_it_needs_is_well_on_whichever_node_and_is_not_taken_back() {
    use ServiceHealth::{Coming, Ill, Well};
    let (mut rack, control, compute) = cloud();
    assert_eq!(
        services(&rack, control),
        ["token", "shop"],
        "what is needed first, whatever the role's order"
    );
    assert!(services(&rack, compute).is_empty());
    let why = |rack: &Rack| states(rack).into_iter().find(|row| row.0 == "worker").unwrap();
    let held = |why: &str| ("worker".to_owned(), "held".to_owned(), Some(why.to_owned()));
    let name = rack.fleet.nodes[&control].name.to_string();
    assert_eq!(why(&rack), held(&format!("shop on {name}, which has not come up yet")));

    tells(&mut rack, control, &[("token", Well), ("shop", Coming { what: "its first answer".to_owned() })]);
    assert_eq!(why(&rack), held(&format!("shop on {name}, which waits for its first answer")));
    tells(&mut rack, control, &[("token", Well), ("shop", Ill { why: "HTTP 500".to_owned() })]);
    assert_eq!(why(&rack), held(&format!("shop on {name}, which is not well: HTTP 500")));
    assert!(rack.log.contains(&"service-ill".to_owned()));
    let before = rack.fleet.nodes[&compute].document.generation;
    tells(&mut rack, control, &[("token", Well), ("shop", Well)]);
    assert_eq!(services(&rack, compute), ["worker"]);
    assert_eq!(rack.fleet.nodes[&compute].document.generation, before + 1, "its agent hears of it");

    tells(&mut rack, compute, &[("worker", Well)]);
    let settled = rack.fleet.nodes[&compute].document.clone();
    tells(
        &mut rack,
        control,
        &[("token", Ill { why: "gone".to_owned() }), ("shop", Ill { why: "gone".to_owned() })],
    );
    assert_eq!(rack.fleet.nodes[&compute].document, settled, "a failure elsewhere stops nothing here");
    let ill = states(&rack).into_iter().filter(|row| row.1 == "ill").map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(ill, ["token", "shop"]);
    let row = view::node_row(&rack.fleet, &rack.site(), &rack.fleet.nodes[&control], rack.now);
    assert_eq!(row.health, "degraded");
}

#[test]
fn nothing_of_the_cloud_comes_up_before_the_node_is_active_and_a_rebuilt_one_waits_again() {
    let (mut rack, control, compute) = cloud();
    tells(&mut rack, control, &[("token", ServiceHealth::Well), ("shop", ServiceHealth::Well)]);
    assert_eq!(services(&rack, compute), ["worker"]);
    // Its disk was read, or nearly: it is the system that it was.
    let node = Node { state: State::Booting { job: JobId([1; 8]) }, ..rack.fleet.nodes[&compute].clone() };
    rack.fleet.put(Change::Node(Box::new(node)));
    rack.bring(Event::Tick).unwrap();
    assert_eq!(services(&rack, compute), ["worker"], "nothing is stopped that was not written anew");
    // Written anew, as `verified` has it.
    let mut node = Node { state: State::Enrolling { job: None }, ..rack.fleet.nodes[&compute].clone() };
    node.document.released.clear();
    rack.fleet.put(Change::Node(Box::new(node)));
    assert!(services(&rack, compute).is_empty());
    rack.bring(Event::Tick).unwrap();
    assert!(rack.fleet.nodes[&compute].document.released.is_empty());
    let worker = states(&rack).into_iter().find(|row| row.0 == "worker").unwrap();
    assert_eq!(worker.2.as_deref(), Some("the node to be active"));
    rack.fleet.put(Change::ForgetNode(control));
    let node = Node { state: State::Active, ..rack.fleet.nodes[&compute].clone() };
    rack.fleet.put(Change::Node(Box::new(node)));
    let worker = states(&rack).into_iter().find(|row| row.0 == "worker").unwrap();
    assert_eq!(worker.2.as_deref(), Some("shop, which no node runs"));
}

/// The writer looks at all documents after such a report, and not after every one: a thousand nodes report twice a minute.
#[test]
fn only_a_report_of_something_that_is_well_now_may_let_go() {
    use ServiceHealth::{Ill, Well};
    let (mut rack, control, _) = cloud();
    let told = |rack: &mut Rack, all: &[(&str, ServiceHealth)]| {
        let before = rack.fleet.nodes[&control].clone();
        tells(rack, control, all);
        lets_go(&before, &rack.fleet.nodes[&control])
    };
    let ill = || Ill { why: "x".to_owned() };
    assert!(!told(&mut rack, &[("token", ill())]));
    assert!(told(&mut rack, &[("token", Well)]));
    assert!(!told(&mut rack, &[("token", Well)]));
    assert!(told(&mut rack, &[("token", Well), ("shop", Well)]));
    assert!(!told(&mut rack, &[("token", ill()), ("shop", Well)]));
    let active = rack.fleet.nodes[&control].clone();
    let before = Node { state: State::Enrolling { job: None }, ..active.clone() };
    assert!(lets_go(&before, &active) && !lets_go(&active, &before));
}

#[test]
fn a_second_control_node_an_adopted_one_and_an_older_image_have_nothing_of_the_cloud() {
    let (mut rack, control, compute) = cloud();
    let first = rack.fleet.nodes[&control].name.to_string();
    let why = |rack: &Rack, node: NodeId| {
        let name = rack.fleet.nodes[&node].name.to_string();
        let rows = view::cloud_rows(&rack.fleet, &rack.site(), &rack.catalog, rack.now);
        let of_cloud = rows.into_iter().filter(|row| row.node == name && row.service != "db");
        of_cloud.map(|row| (row.service, row.why.unwrap_or_default())).collect::<Vec<_>>()
    };
    let both = ["compute", "control"].map(str::to_owned).into();
    let node = Node { roles: both, discovered: Time(u64::MAX), ..rack.fleet.nodes[&compute].clone() };
    rack.fleet.put(Change::Node(Box::new(node)));
    let told = why(&rack, compute);
    let one = format!("{first} to be the control node no more: a cloud has one");
    assert_eq!(told[..2], [("token".to_owned(), one.clone()), ("shop".to_owned(), one.clone())]);
    assert_eq!(told[2], ("worker".to_owned(), format!("shop, which waits for {one}")));
    rack.bring(Event::Tick).unwrap();
    assert!(services(&rack, compute).is_empty());

    let mut node = rack.fleet.nodes[&control].clone();
    node.document.released.clear();
    let image = fleet::image::Image {
        roles: ["control".to_owned()].into(),
        ..rack.fleet.images.values().next().unwrap().clone()
    };
    rack.fleet.put(Change::Image(Box::new(image)));
    rack.fleet.put(Change::Node(Box::new(node.clone())));
    let rebuild = format!("an image that carries the cloud: rackwright node rebuild {first}");
    assert_eq!(why(&rack, control)[0].1, rebuild);
    let adopted = Some(fleet::adopt::Adopted { at: rack.now, system: "Debian".to_owned() });
    rack.fleet.put(Change::Node(Box::new(Node { installed: None, adopted, ..node })));
    assert_eq!(why(&rack, control)[0].1, rebuild, "nobody knows what it runs already");
}

#[test]
fn a_document_says_how_services_hang_together_and_holds_their_secrets() {
    let (rack, control, _) = cloud();
    let document = document(&rack, control);
    let [token, shop] = document.services.as_slice() else { panic!("{document:?}") };
    assert!(token.needs.is_empty(), "what the base brings is up before: {token:?}");
    assert_eq!((shop.needs.clone(), shop.check.clone()), (vec!["token".to_owned()], None));
    assert_eq!(
        (&token.units, &token.tasks),
        (&vec!["token.service".to_owned()], &vec!["token-db".to_owned()])
    );
    let address = rack.fleet.nodes[&control].boot.address;
    let http = CheckKind::Http { url: format!("http://{address}:5000/v3") };
    assert_eq!(token.check.as_ref().map(|check| check.kind.clone()), Some(http));
    let [file] = document.files.as_slice() else { panic!("{document:?}") };
    assert_eq!(file.restarts, ["token.service", "shop.service"], "what is not on this node is not named");
    let key = CloudKey::new([7; 32]);
    let (token, shop) = (key.password(None, "token"), key.password(None, "shop"));
    assert!(file.content.starts_with(&format!("key={token}\nregion=Here\n")), "{}", file.content);
    assert!(
        file.content.contains(&format!("CREATE USER IF NOT EXISTS 'token'@'%' IDENTIFIED BY '{token}';"))
    );
    assert!(file.content.contains("EXISTS `to_ken`") && !file.content.contains("`shop`"), "{}", file.content);
    assert!(file.content.contains("ON `to\\_ken`.* TO 'token'@'%'"), "an underscore is a wildcard there");
    let json = &file.content[file.content.find("\n[").unwrap()..];
    let rows: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(rows[0]["name"], "shop");
    assert_eq!((&rows[0]["password"], &rows[0]["region"]), (&shop.into(), &"Here".into()));
    assert_eq!(rows[1]["url"], format!("http://{address}:5000/v3"));
    assert!(!format!("{document:?}").contains(&token), "a log has no secret");
}

#[test]
fn a_rack_that_is_no_cloud_has_nothing_of_it() {
    let (mut rack, control, _) = cloud();
    rack.catalog = Catalog::parse(FILES.iter().copied()).unwrap();
    let document = converge(&rack.fleet, &rack.site(), &rack.catalog, &rack.fleet.nodes[&control]).unwrap();
    assert!(document.services.is_empty() && document.files.is_empty());
    assert_eq!(document.units.len(), 1);
    assert!(states(&rack).is_empty());
    assert!(!rack.catalog.has_role("cloud") && !rack.catalog.is_of_cloud("token"));
    let roles = ["control".to_owned()].into();
    assert_eq!(rack.catalog.image_roles(&roles), roles);
    rack.catalog = rack.catalog.of_cloud(true);
    assert_eq!(rack.catalog.image_roles(&roles), ["cloud".to_owned(), "control".to_owned()].into());
    let bare = Site { cloud: None, ..rack.site() };
    let secret = converge(&rack.fleet, &bare, &rack.catalog, &rack.fleet.nodes[&control]).unwrap_err();
    assert!(secret.to_string().contains("[cloud] in rackwright.toml"), "{secret}");
}

#[test]
fn a_catalog_that_does_not_hang_together_is_refused() {
    let service = |more: &str| format!("name='a'\nsummary=''\n{more}");
    for (text, want) in [
        (service("needs=['b']"), "there is no service \"b\""),
        (service("needs=['a']"), "needs itself"),
        (service("databases=['x']"), "no account"),
        (service("[check]\nwithin_seconds=1"), "not one of http, tcp, command"),
        (service("[check]\nhttp='x'\ntcp='x'\nwithin_seconds=1"), "not one of http, tcp, command"),
        (service("[check]\nwithin_seconds=1\nudp='x'"), "reading services/a/service.toml"),
        (service("[[files]]\npath='/x'\nmode='0644'\nowner='root'\ntemplate='x'"), "no template \"x\""),
        ("name='b'\nsummary=''".to_owned(), "another name than its folder"),
    ] {
        let told = Catalog::parse([("services/a/service.toml", text.as_str())]).unwrap_err().to_string();
        assert!(told.contains(want), "{told}: {want}");
    }
    for path in ["services/a.toml", "templates/a", "a", "services/a/b/service.toml", ""] {
        let told = Catalog::parse([(path, "name='a'\nsummary=''")]).unwrap_err().to_string();
        assert!(told.contains("neither roles/FILE nor services/NAME/FILE"), "{path}: {told}");
    }
    let (role, check) =
        ("name='r'\nsummary=''\nservices=['a']", service("[check]\ntcp='x'\nwithin_seconds=1"));
    let base = Catalog::parse([("roles/r.toml", role), ("services/a/service.toml", &check)]).unwrap_err();
    assert!(base.to_string().contains("neither check nor leave is looked at"), "{base}");
    let (a, b) = ("name='a'\nsummary=''\nneeds=['b']", "name='b'\nsummary=''\nneeds=['a']");
    let circle =
        Catalog::parse([("services/a/service.toml", a), ("services/b/service.toml", b)]).unwrap_err();
    assert!(circle.to_string().contains("by way of others"), "{circle}");
}

/// What the task of the gate is told on a node with these cards beside the one that it booted from, else what it is held for.
fn gate(external: Option<External>, tunnel: Option<Tunnel>, cards: &[&str]) -> Result<Vec<String>, String> {
    let (mut rack, _, node) = cloud();
    (rack.external, rack.tunnel) = (external, tunnel);
    let mut next = Node { roles: ["network".to_owned()].into(), ..rack.fleet.nodes[&node].clone() };
    let card = |mac: &str| Nic { mac: mac.parse().unwrap(), ..next.inventory.nics[0].clone() };
    let cards = cards.iter().map(|mac| card(mac)).collect::<Vec<_>>();
    next.inventory.nics.extend(cards);
    rack.fleet.put(Change::Node(Box::new(next)));
    rack.bring(Event::Tick).unwrap();
    match document(&rack, node).tasks.into_iter().find(|task| task.name == "gate") {
        Some(task) => Ok(task.argv),
        None => Err(states(&rack).into_iter().find(|row| row.0 == "gate").unwrap().2.unwrap()),
    }
}

const A: &str = "52:54:00:77:00:0a";
const B: &str = "52:54:00:77:00:0b";
const NOBODY: &str = "ff:ff:ff:ff:ff:ff";

fn external(ports: &[&str]) -> Option<External> {
    Some(External {
        subnet: "10.88.0.0/24".parse().unwrap(),
        gateway: "10.88.0.1".parse().unwrap(),
        first: "10.88.0.100".parse().unwrap(),
        last: "10.88.0.199".parse().unwrap(),
        vlan: (ports.len() == 1).then_some(120),
        ports: ports.iter().map(|mac| mac.parse().unwrap()).collect(),
    })
}

fn tunnel(subnet: &str, ports: &[&str]) -> Option<Tunnel> {
    let ports = ports.iter().map(|mac| mac.parse().unwrap()).collect();
    Some(Tunnel { subnet: subnet.parse().unwrap(), ports })
}

#[test]
fn the_port_to_the_outside_is_the_one_that_is_named_or_the_only_other_one_and_never_guessed() {
    let told = |port: &str, rest: &str| {
        Ok(["/bin/echo", port, rest, NOBODY, "10.77.0.100", ""].map(str::to_owned).to_vec())
    };
    let gate = |external, cards: &[&str]| gate(external, None, cards);
    assert_eq!(gate(None, &[A, B]), told(NOBODY, " "), "there is no outside");
    assert_eq!(gate(external(&[]), &[A]), told(A, "10.88.0.100 "));
    assert_eq!(gate(external(&[B]), &[A, B]), told(B, "10.88.0.100 120"));
    let several = gate(external(&[]), &[A, B]).unwrap_err();
    assert!(several.contains(A) && several.contains(B) && several.contains("has 2"), "{several}");
    assert!(gate(external(&[A, B]), &[A, B]).unwrap_err().contains("has 2"));
    let none = gate(external(&[]), &[]).unwrap_err();
    assert!(none.ends_with("which has only the one that it booted from"), "{none}");
    let other = gate(external(&[B]), &[A]).unwrap_err();
    assert!(other.contains("[cloud.external]") && other.ends_with(A), "{other}");
    // The one that it booted from is never given away.
    assert!(gate(external(&[crate::rack::MAC]), &[A]).is_err());
}

#[test]
fn a_node_has_its_own_number_in_the_network_of_tunnels_and_no_card_is_in_two_networks() {
    let told = |external: &str, tunnel: &str, address: &str, prefix: &str| {
        let (first, tail) = if external == NOBODY { (" ", "") } else { ("10.88.0.100", " 120") };
        let rest = if external == NOBODY { first.to_owned() } else { format!("{first}{tail}") };
        Ok(["/bin/echo", external, &rest, tunnel, address, prefix].map(str::to_owned).to_vec())
    };
    let small = || tunnel("10.20.20.0/24", &[]);
    assert_eq!(gate(None, small(), &[A]), told(NOBODY, A, "10.20.20.100", "10.20.20.100/24"));
    let large = tunnel("10.32.0.0/12", &[B]);
    assert_eq!(gate(None, large, &[A, B]), told(NOBODY, B, "10.32.0.100", "10.32.0.100/12"));
    // The card that is named for one is free for no other.
    let both = gate(external(&[A]), small(), &[A, B]);
    assert_eq!(both, told(A, B, "10.20.20.100", "10.20.20.100/24"));
    let why = gate(external(&[A]), small(), &[A]).unwrap_err();
    assert!(why.starts_with("a card for tunnels: [cloud.tunnel]"), "{why}");
}
