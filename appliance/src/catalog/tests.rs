//! The catalog that ships, as a whole.

use std::collections::BTreeSet;

mod swift;

use fleet::cloud::objects::Objects;
use fleet::cloud::passwords::{Edition, Passwords};
use fleet::cloud::{Cloud, CloudKey, Datapath, Salt};
use fleet::{Change, Fleet, Node, Site, Subnet, Time, converge};
use protocol::{CaPin, File, StateDocument, When};

use super::embedded;

/// Without storage: its data disk is named in a plan, which this node has none of.
const ALL: [&str; 3] = ["control", "network", "compute"];

#[test]
fn every_role_has_its_services_and_every_file_its_template() {
    let catalog = embedded().unwrap();
    for role in ["control", "compute", "network", "storage"] {
        assert!(catalog.has_role(role), "{role}");
        let roles = [role.to_owned()].into();
        assert!(catalog.units_of(&roles).next().is_some(), "{role} runs nothing");
        assert_eq!(catalog.wants(&roles, "disk.data"), role == "storage", "{role}");
    }
    assert!(!catalog.has_role("cloud") && !catalog.has_role("base"));
}

/// An active node.
fn node(roles: &[&str]) -> Node {
    let text = format!(
        r#"{{"id":"{}","name":"n1","state":{{"state":"active"}},"since":1,"heard":1,"discovered":1,"roles":[],
        "inventory":{{"cpu":{{"model":"","threads":1,"arch":"","virtualisation":false}},"memory_bytes":1,"nics":[],
        "disks":[],"smbios":{{"vendor":"","product":"","serial":"","uuid":"","bios":""}},"firmware":"bios","bmc":null}},
        "boot":{{"mac":"52:54:00:ab:cd:05","address":"10.77.0.100","path":"bios-pxe"}},"claim":null,"deploy":null,
        "run":null,"generation":1,"installed":null,"wishes":{{"stopped":[],"restarts":{{}}}},
        "document":{{"generation":1,"digest":null}},"orders":[],"last_order":0,"report":null,"reported":null}}"#,
        "ab".repeat(16)
    );
    let node: Node = serde_json::from_str(&text).unwrap();
    Node { roles: roles.iter().map(|&role| role.to_owned()).collect(), ..node }
}

/// What a node of a cloud is told, all it needs elsewhere being here.
fn document(roles: &[&str], key: u8) -> StateDocument {
    rotated(roles, key, None)
}

/// The same, with the passwords of the rotation that brought this salt.
fn rotated(roles: &[&str], key: u8, salt: Option<u8>) -> StateDocument {
    let subnet = Subnet {
        net: "10.77.0.0/24".parse().unwrap(),
        controller: "10.77.0.1".parse().unwrap(),
        gateway: None,
    };
    let cloud = Cloud {
        region: "RegionOne".to_owned(),
        datapath: Datapath::Kernel,
        key: CloudKey::new([key; 32]),
        external: None,
        tunnel: None,
        objects: Some(100 << 30),
    };
    let site = Site {
        name: "test".to_owned(),
        subnets: vec![subnet],
        ca: CaPin([1; 32]),
        addresses: [].into(),
        cloud: Some(cloud),
    };
    let catalog = embedded().unwrap().of_cloud(true);
    let all = catalog.optional().into_iter().map(str::to_owned).collect();
    let catalog = catalog.with_optional(all);
    let mut node = node(roles);
    if roles.contains(&"storage") {
        swift::give_disk(&mut node);
    }
    let all = catalog.services_of(&node.roles);
    node.document.released = all.iter().map(|service| service.name.clone()).collect();
    let wanted = Edition { number: 1, salt: salt.map(|salt| Salt::new([salt; 32])) };
    let passwords = salt.map(|_| Passwords { wanted, before: None, since: Time(0) });
    let mut fleet = Fleet { passwords, ..Fleet::default() };
    fleet.objects = Some(Objects { nodes: vec![node.id] });
    fleet.put(Change::Node(Box::new(node.clone())));
    converge(&fleet, &site, &catalog, &node).unwrap()
}

#[test]
fn a_cloud_in_one_node_has_every_value_and_comes_up_in_an_order_that_can_be() {
    let document = document(&ALL, 1);
    let names = document.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>();
    for name in [
        "keystone",
        "glance",
        "placement",
        "nova",
        "neutron",
        "nova-compute",
        "ovn-gateway",
        "heat",
        "horizon",
        "swift-proxy",
        "swift-expirer",
    ] {
        assert!(names.contains(&name), "{name} is in no role: {names:?}");
    }
    for (at, service) in document.services.iter().enumerate() {
        let before = &names[..at];
        assert!(service.needs.iter().all(|need| before.contains(&need.as_str())), "{service:?}");
    }
    let paths = document.files.iter().map(|file| &file.path).collect::<BTreeSet<_>>();
    assert_eq!(paths.len(), document.files.len(), "two services write one file");
    // The agent takes no other.
    let elsewhere = paths.iter().find(|path| !path.starts_with("/etc/") && !path.starts_with("/var/lib/"));
    assert_eq!(elsewhere, None);
    let staged = document.services.iter().flat_map(|service| &service.units).collect::<BTreeSet<_>>();
    let boots = document.units.iter().filter(|unit| unit.enabled && staged.contains(&unit.name));
    assert_eq!(boots.count(), 0, "a boot would start it before what it needs");
}

#[test]
fn only_files_that_not_everybody_can_read_have_secrets_in_them() {
    let (one, other) = (document(&ALL, 1), document(&ALL, 2));
    let mut secret = 0;
    for (file, other) in one.files.iter().zip(&other.files) {
        if file.content != other.content {
            secret += 1;
            assert_eq!(file.mode & 0o007, 0, "{} has a secret in it, and mode {:o}", file.path, file.mode);
        }
    }
    assert!(secret > 10, "of {} files only {secret} differ: this looks at nothing", one.files.len());
    // Everything else can be seen by whoever is on the node: command lines, units, checks.
    assert_eq!((&one.tasks, &one.units, &one.services), (&other.tasks, &other.units, &other.services));
}

#[test]
fn tasks_of_services_that_come_up_in_order_have_guards() {
    let document = document(&ALL, 1);
    for task in &document.tasks {
        assert!(
            !task.guard.is_empty(),
            "{} would run once for each of its forms, whatever came of it",
            task.name
        );
        assert!(task.timeout_seconds >= 60 || task.when == When::AfterUnits, "{}", task.name);
    }
}

/// Each file of this document that is another one after a rotation, as it is before and after it.
fn changed<'a>(one: &'a StateDocument, other: &'a StateDocument) -> Vec<(&'a File, &'a File)> {
    let pairs = one.files.iter().zip(&other.files);
    pairs.filter(|(one, other)| one.content != other.content).collect()
}

#[test]
fn a_rotation_changes_passwords_in_files_that_not_everybody_can_read_and_nothing_else() {
    let (first, one, other) = (document(&ALL, 1), rotated(&ALL, 1, Some(1)), rotated(&ALL, 1, Some(2)));
    for (a, b) in [(&first, &one), (&one, &other)] {
        let changed = changed(a, b);
        assert!(changed.len() > 10, "only {} files differ: this looks at nothing", changed.len());
        for (file, after) in &changed {
            assert_eq!(file.mode & 0o007, 0, "{} has a secret in it, and mode {:o}", file.path, file.mode);
            let lines = file.content.lines().zip(after.content.lines());
            assert_eq!(file.content.lines().count(), after.content.lines().count(), "{}", file.path);
            for (line, after) in lines.filter(|(line, after)| line != after) {
                assert_eq!(line.len(), after.len(), "{}: more than a password: {line}", file.path);
            }
        }
        // Command lines, units and checks have none, and no task is due by itself: its guard has to notice.
        assert_eq!((&a.tasks, &a.units, &a.services), (&b.tasks, &b.units, &b.services));
    }
}

/// With another of these, what is in the databases could not be read any more, and every user's token would be refused.
#[test]
fn a_rotation_leaves_what_data_at_rest_is_encrypted_with() {
    let (first, after) = (document(&ALL, 1), rotated(&ALL, 1, Some(1)));
    let mut lasts = Vec::new();
    for (file, after) in first.files.iter().zip(&after.files) {
        let is_key = |line: &str| {
            file.path.contains("-keys/")
                || line.contains("encryption_key")
                || line.contains("swift_hash_path")
        };
        for (line, after) in file.content.lines().zip(after.content.lines()).filter(|(line, _)| is_key(line))
        {
            assert_eq!(line, after, "{}", file.path);
            lasts.push(format!("{}: {line}", file.path));
        }
    }
    // With another key of the cloud they are others: these are secrets, and not words.
    let other = document(&ALL, 2);
    let all = other.files.iter().map(|file| file.content.as_str()).collect::<String>();
    assert!(lasts.iter().all(|last| !all.contains(last.split_once(": ").unwrap().1)), "{}", lasts.len());
    let has = |part: &str| lasts.iter().filter(|last| last.contains(part)).count();
    assert_eq!([has("/fernet-keys/"), has("/credential-keys/"), has("/heat.conf")], [2, 2, 1]);
    assert_eq!(has("/swift.conf"), 2);
}

/// Whoever reads a password gets the new one by itself: a task because its guard hangs on the file, a unit because it is restarted.
#[test]
fn nobody_who_reads_a_password_misses_a_rotation() {
    let (first, after) = (document(&ALL, 1), rotated(&ALL, 1, Some(1)));
    let mut hand_on = BTreeSet::new();
    for (file, _) in changed(&first, &after) {
        // A program reads its own configuration whenever it runs; what a task reads beside that, it puts somewhere.
        let reads = |arg: &String| arg.contains(&file.path) && !file.path.ends_with(".conf");
        let readers = first.tasks.iter().filter(|task| task.argv.iter().any(reads)).collect::<Vec<_>>();
        for task in &readers {
            assert!(
                task.guard.contains(&file.path),
                "{} reads {}, and its guard does not",
                task.name,
                file.path
            );
            // What was done with the file is noted by its digest; or the script that does it says whether that is older than the file.
            let notices = task.guard[..2] == ["/etc/rackwright/done", "is"] || task.guard[0] == task.argv[0];
            assert!(notices, "{}", task.name);
            hand_on.insert(task.name.as_str());
        }
        assert!(!readers.is_empty() || !file.restarts.is_empty(), "nobody is told of {}", file.path);
    }
    let want = ["databases", "heat-domain", "keystone-bootstrap", "keystone-register", "live-migration"];
    assert_eq!(hand_on.into_iter().collect::<Vec<_>>(), want);
    let restarted = |path: &str| {
        let file = first.files.iter().find(|file| file.path == path).unwrap();
        file.restarts.iter().map(String::as_str).collect::<BTreeSet<_>>()
    };
    for (path, units) in [
        ("/etc/rabbitmq/definitions.json", &["rabbitmq-server.service"][..]),
        ("/etc/nova/nova.conf", &["nova-api.service", "nova-conductor.service", "nova-compute.service"]),
        ("/etc/neutron/neutron.conf", &["neutron-api.service", "neutron-rpc-server.service"]),
        ("/etc/neutron/neutron_ovn_metadata_agent.ini", &["neutron-ovn-metadata-agent.service"]),
        ("/etc/cinder/cinder.conf", &["cinder-api.service", "cinder-scheduler.service"]),
        ("/etc/openstack-dashboard/local_settings.py", &["horizon.service"]),
        ("/etc/swift/proxy-server.conf", &["swift-proxy.service"]),
    ] {
        assert!(units.iter().all(|unit| restarted(path).contains(unit)), "{path}: {:?}", restarted(path));
    }
}

/// A service's password is in its own files and where the accounts are made: each of them has the same one, and none of before.
#[test]
fn no_password_of_before_is_left_and_both_sides_have_the_same() {
    let key = CloudKey::new([1; 32]);
    let document = rotated(&ALL, 1, Some(1));
    let has = |name: &str, salt: Option<Salt>| {
        let password = key.password(salt, name);
        document.files.iter().filter(|file| file.content.contains(&password)).count()
    };
    for name in [
        "keystone",
        "keystone-admin",
        "nova",
        "neutron",
        "cinder",
        "glance",
        "placement",
        "heat",
        "heat-domain",
        "swift",
        "queue",
        "metadata",
        "horizon",
    ] {
        assert_eq!(has(name, None), 0, "{name} of before is still there");
        let least = if name == "horizon" { 1 } else { 2 };
        assert!(has(name, Some(Salt::new([1; 32]))) >= least, "{name} is not on both sides");
    }
}

#[test]
fn who_keeps_accounts_is_known_by_what_it_is_given() {
    let catalog = embedded().unwrap().of_cloud(true);
    let keep = catalog.services().filter(|service| catalog.keeps_accounts(service));
    assert_eq!(keep.map(|service| service.name.as_str()).collect::<Vec<_>>(), ["databases", "keystone"]);
}
