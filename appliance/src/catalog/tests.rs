//! The catalog that ships, as a whole.

use std::collections::BTreeSet;

use fleet::cloud::{Cloud, CloudKey, Datapath};
use fleet::{Fleet, Node, Site, Subnet, converge};
use protocol::{CaPin, StateDocument, When};

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
    let all = catalog.services_of(&node.roles);
    node.document.released = all.iter().map(|service| service.name.clone()).collect();
    converge(&Fleet::default(), &site, &catalog, &node).unwrap()
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
