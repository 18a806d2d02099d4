//! Services that a cloud has where its operator asks for them.

use std::collections::BTreeSet;

use fleet::{Catalog, Change, Event};
use protocol::NodeId;

use crate::cloud::{FILES, cloud, document, states};
use crate::rack::Rack;

const CONTROL: (&str, &str) = (
    "roles/control.toml",
    "name='control'\nsummary=''\nservices=['db']\ncloud=['shop','token']\noptional=['stacks']",
);
const STACKS: (&str, &str) = (
    "services/stacks/service.toml",
    "name='stacks'\nsummary=''\nneeds=['token']\naccount='stacks'\ndatabases=['stacks']\n\
     [identity]\ntype='orchestration'\nurl='http://${rack.control}:2/'\n\
     [[units]]\nname='stacks.service'\nenabled=false\nrunning=true",
);

fn catalog(chosen: &[&str]) -> Catalog {
    let files = FILES.iter().copied().chain([CONTROL, STACKS]);
    let chosen = chosen.iter().map(|&name| name.to_owned()).collect();
    Catalog::parse(files).unwrap().of_cloud(true).with_optional(chosen)
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&name| name.to_owned()).collect()
}

fn has_stacks(rack: &Rack, node: NodeId) -> bool {
    document(rack, node).services.iter().any(|service| service.name == "stacks")
}

#[test]
fn nobody_has_heard_of_an_optional_service_that_was_not_asked_for() {
    let (mut rack, control, _) = cloud();
    rack.catalog = catalog(&[]);
    assert_eq!(rack.catalog.optional(), ["stacks"].into());
    rack.bring(Event::Tick).unwrap();
    let document = document(&rack, control);
    assert!(!document.services.iter().any(|service| service.name == "stacks"));
    let told = document.files.iter().find(|file| file.content.contains("stacks"));
    assert_eq!(told, None, "neither the database nor keystone is told of it");
    assert_eq!(rack.catalog.image_roles(&names(&["control"])), names(&["cloud", "control"]));
    let no_cloud = catalog(&["stacks"]).of_cloud(false);
    assert_eq!(no_cloud.image_roles(&names(&["control"])), names(&["control"]));
    assert!(no_cloud.services_of(&names(&["control"])).iter().all(|service| service.name != "stacks"));
}

#[test]
fn an_optional_service_comes_up_where_its_image_carries_it() {
    let (mut rack, control, compute) = cloud();
    rack.catalog = catalog(&["stacks"]);
    assert_eq!(rack.catalog.image_roles(&names(&["control"])), names(&["cloud", "control", "stacks"]));
    assert_eq!(rack.catalog.image_roles(&names(&["compute"])), names(&["cloud", "compute"]));
    // That node was let go of the rest before anybody asked.
    rack.bring(Event::Tick).unwrap();
    let name = rack.fleet.nodes[&control].name.to_string();
    let row = states(&rack).into_iter().find(|row| row.0 == "stacks").unwrap();
    let why = format!("an image that carries stacks: rackwright node rebuild {name}");
    assert_eq!((row.1.as_str(), row.2), ("held", Some(why)));
    assert!(!has_stacks(&rack, control));

    for mut image in rack.fleet.images.values().cloned().collect::<Vec<_>>() {
        image.roles.insert("stacks".to_owned());
        rack.fleet.put(Change::Image(Box::new(image)));
    }
    rack.bring(Event::Tick).unwrap();
    assert!(has_stacks(&rack, control) && !has_stacks(&rack, compute));
    let document = document(&rack, control);
    let told = document.files.iter().find(|file| file.path == "/etc/token.conf").unwrap();
    assert!(told.content.contains("EXISTS `stacks`") && told.content.contains("orchestration"));
}

#[test]
fn a_catalog_whose_optional_services_can_not_be_is_refused() {
    let role = |more: &str| format!("name='control'\nsummary=''\nservices=['a']\n{more}");
    let service = |name: &str, more: &str| format!("name='{name}'\nsummary=''\n{more}");
    for (control, a, want) in [
        (role("optional=['c']"), service("a", ""), "there is no service \"c\""),
        (role("optional=['a']"), service("a", ""), "optional for one role, and not for this one"),
        (role("optional=['network']"), service("a", ""), "an optional service, and a role"),
        (role("optional=['b']"), service("a", "needs=['b']"), "which not every cloud has"),
    ] {
        let files = [
            ("roles/control.toml", control.as_str()),
            ("roles/network.toml", "name='network'\nsummary=''\nservices=[]"),
            ("services/a/service.toml", a.as_str()),
            ("services/b/service.toml", "name='b'\nsummary=''"),
            ("services/network/service.toml", "name='network'\nsummary=''"),
        ];
        let told = Catalog::parse(files).unwrap_err().to_string();
        assert!(told.contains(want), "{told}: {want}");
    }
}
