//! What a proof leaves in a cloud, found by its name: so it is also found when the run that made it was killed, or when the
//! answer to the request that made it was lost.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cloud::{Cloud, Service, list, text};
use super::fault::Fault;
use crate::client::segment;

/// How the name of everything begins that is made here.
pub(super) const PREFIX: &str = "rackwright-smoke";

/// A kind of thing, in the order in which they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    FloatingAddress,
    Instance,
    Volume,
    Router,
    Network,
    SecurityGroup,
    KeyPair,
    Flavor,
    Image,
    Container,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::FloatingAddress,
        Kind::Instance,
        Kind::Volume,
        Kind::Router,
        Kind::Network,
        Kind::SecurityGroup,
        Kind::KeyPair,
        Kind::Flavor,
        Kind::Image,
        Kind::Container,
    ];

    fn word(self) -> &'static str {
        match self {
            Kind::FloatingAddress => "floating address",
            Kind::Instance => "instance",
            Kind::Volume => "volume",
            Kind::Router => "router",
            Kind::Network => "network",
            Kind::SecurityGroup => "security group",
            Kind::KeyPair => "key pair",
            Kind::Flavor => "flavor",
            Kind::Image => "image",
            Kind::Container => "container",
        }
    }

    fn service(self) -> Service {
        match self {
            Kind::FloatingAddress | Kind::Router | Kind::Network | Kind::SecurityGroup => Service::Network,
            Kind::Instance | Kind::KeyPair | Kind::Flavor => Service::Compute,
            Kind::Volume => Service::Volumes,
            Kind::Image => Service::Image,
            Kind::Container => Service::Objects,
        }
    }

    /// Where its things lie, and below what an answer lists them.
    fn place(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Kind::FloatingAddress => ("/floatingips", &["floatingips"]),
            Kind::Instance => ("/servers", &["servers"]),
            Kind::Volume => ("/volumes", &["volumes"]),
            Kind::Router => ("/routers", &["routers"]),
            Kind::Network => ("/networks", &["networks"]),
            Kind::SecurityGroup => ("/security-groups", &["security_groups"]),
            Kind::KeyPair => ("/os-keypairs", &["keypairs"]),
            Kind::Flavor => ("/flavors", &["flavors"]),
            Kind::Image => ("/images", &["images"]),
            Kind::Container => ("", &[]),
        }
    }

    /// The list that has all of ours in it, and of what is others' as little as the service can leave out.
    fn listing(self, project: &str) -> String {
        let (path, _) = self.place();
        match self {
            Kind::FloatingAddress | Kind::Router | Kind::Network | Kind::SecurityGroup => {
                format!("{path}?project_id={}", segment(project))
            }
            Kind::Image => format!("{path}?tag={PREFIX}&limit=200"),
            Kind::Container => format!("{path}?format=json&prefix={PREFIX}"),
            Kind::Instance | Kind::Volume | Kind::KeyPair | Kind::Flavor => path.to_owned(),
        }
    }

    /// What must be gone before: these hold on to it.
    fn after(self) -> &'static [Kind] {
        match self {
            Kind::Volume | Kind::SecurityGroup | Kind::Image => &[Kind::Instance],
            Kind::Router => &[Kind::FloatingAddress],
            Kind::Network => &[Kind::Instance, Kind::Router],
            Kind::FloatingAddress | Kind::Instance | Kind::KeyPair | Kind::Flavor | Kind::Container => &[],
        }
    }
}

/// Something of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    kind: Kind,
    id: String,
    name: String,
}

impl Thing {
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }
}

/// Everything of ours that is there, and why there may be more: a service that does not answer keeps nobody from removing
/// what the others have.
pub(super) async fn look(cloud: &mut Cloud) -> (Vec<Thing>, Option<Fault>) {
    let (mut found, mut unseen) = (Vec::new(), None);
    for kind in Kind::ALL.into_iter().filter(|kind| cloud.has(kind.service())).collect::<Vec<_>>() {
        let listing = kind.listing(cloud.project());
        match cloud.get(kind.service(), &listing).await {
            Ok(answer) => found.extend(ours(kind, &answer)),
            Err(fault) => unseen = unseen.or(Some(fault)),
        }
    }
    (found, unseen)
}

/// What a list has of ours.
fn ours(kind: Kind, answer: &Value) -> Vec<Thing> {
    let rows = list(answer, kind.place().1);
    let read = |row: &Value| {
        let (id, name) = match kind {
            // It has no name; what it is for is written on it.
            Kind::FloatingAddress => (text(row, &["id"]), text(row, &["description"])),
            Kind::KeyPair => (text(row, &["keypair", "name"]), text(row, &["keypair", "name"])),
            Kind::Container => (text(row, &["name"]), text(row, &["name"])),
            Kind::Instance
            | Kind::Volume
            | Kind::Router
            | Kind::Network
            | Kind::SecurityGroup
            | Kind::Flavor
            | Kind::Image => (text(row, &["id"]), text(row, &["name"])),
        };
        let is_ours = name.starts_with(PREFIX) && !id.is_empty();
        is_ours.then(|| Thing { kind, id: id.to_owned(), name: name.to_owned() })
    };
    rows.iter().filter_map(read).collect()
}

/// Those that nothing else of ours holds on to.
pub(super) fn due(things: &[Thing]) -> Vec<Thing> {
    let is_there = |kind: &Kind| things.iter().any(|thing| thing.kind == *kind);
    things.iter().filter(|thing| !thing.kind.after().iter().any(is_there)).cloned().collect()
}

/// `2 instances, 1 network`
pub(super) fn summary(things: &[Thing]) -> String {
    let mut counts = BTreeMap::new();
    for thing in things {
        *counts.entry(thing.kind).or_insert(0u32) += 1;
    }
    let words = counts.into_iter().map(|(kind, count)| match (count, kind) {
        (1, kind) => format!("1 {}", kind.word()),
        (count, Kind::FloatingAddress) => format!("{count} floating addresses"),
        (count, kind) => format!("{count} {}s", kind.word()),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Has one thing removed; it may be there a while longer.
pub(super) async fn remove(cloud: &mut Cloud, thing: &Thing) -> Result<(), Fault> {
    let id = segment(&thing.id);
    match thing.kind {
        Kind::Router => let_go(cloud, &id).await?,
        Kind::Network => unplug(cloud, &id).await?,
        Kind::Container => empty(cloud, &id).await?,
        Kind::FloatingAddress
        | Kind::Instance
        | Kind::Volume
        | Kind::SecurityGroup
        | Kind::KeyPair
        | Kind::Flavor
        | Kind::Image => {}
    }
    cloud.delete(thing.kind.service(), &format!("{}/{id}", thing.kind.place().0)).await
}

/// Takes a router out of the networks that it is in.
async fn let_go(cloud: &mut Cloud, router: &str) -> Result<(), Fault> {
    let ports = cloud.get(Service::Network, &format!("/ports?device_id={router}")).await?;
    for port in list(&ports, &["ports"]) {
        if text(port, &["device_owner"]).starts_with("network:router_interface") {
            let path = format!("/routers/{router}/remove_router_interface");
            cloud.put(Service::Network, &path, json!({"port_id": text(port, &["id"])})).await?;
        }
    }
    Ok(())
}

/// Deletes ports that an instance has left behind.
async fn unplug(cloud: &mut Cloud, network: &str) -> Result<(), Fault> {
    let ports = cloud.get(Service::Network, &format!("/ports?network_id={network}")).await?;
    for port in list(&ports, &["ports"]) {
        let owner = text(port, &["device_owner"]);
        if owner.is_empty() || owner.starts_with("compute:") {
            cloud.delete(Service::Network, &format!("/ports/{}", segment(text(port, &["id"])))).await?;
        }
    }
    Ok(())
}

async fn empty(cloud: &mut Cloud, container: &str) -> Result<(), Fault> {
    let objects = cloud.get(Service::Objects, &format!("/{container}?format=json")).await?;
    for object in objects.as_array().into_iter().flatten() {
        let name = segment(text(object, &["name"]));
        cloud.delete(Service::Objects, &format!("/{container}/{name}")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(kind: Kind, name: &str) -> Thing {
        Thing { kind, id: format!("id-{name}"), name: name.to_owned() }
    }

    #[test]
    fn only_what_has_our_name_is_ours() {
        let answer = json!({"servers": [
            {"id": "1", "name": "rackwright-smoke-1"},
            {"id": "2", "name": "somebody's"},
            {"id": "3", "name": "my-rackwright-smoke"},
            {"id": "", "name": "rackwright-smoke-2"},
            {"name": "rackwright-smoke-3"},
            7,
        ]});
        let found = ours(Kind::Instance, &answer);
        assert_eq!(found.iter().map(|thing| thing.id.as_str()).collect::<Vec<_>>(), ["1"]);
        let keys =
            json!({"keypairs": [{"keypair": {"name": "rackwright-smoke"}}, {"name": "rackwright-smoke"}]});
        assert_eq!(ours(Kind::KeyPair, &keys).len(), 1);
        let addresses = json!({"floatingips": [{"id": "1", "description": "rackwright-smoke"}, {"id": "2"}]});
        assert_eq!(ours(Kind::FloatingAddress, &addresses).len(), 1);
        assert_eq!(ours(Kind::Container, &json!([{"name": "rackwright-smoke"}, {"name": "x"}])).len(), 1);
        for kind in Kind::ALL {
            for garbage in [json!(null), json!([]), json!({"servers": 7}), json!({"images": [[]]})] {
                assert_eq!(ours(kind, &garbage), []);
            }
        }
    }

    #[test]
    fn what_holds_on_to_another_goes_first() {
        let mut left = Kind::ALL.map(|kind| thing(kind, "x")).to_vec();
        let mut rounds = Vec::new();
        while !left.is_empty() {
            let now = due(&left);
            assert!(!now.is_empty(), "two wait for each other: {left:?}");
            rounds.push(summary(&now));
            left.retain(|thing| !now.contains(thing));
        }
        assert_eq!(
            rounds,
            [
                "1 floating address, 1 instance, 1 key pair, 1 flavor, 1 container",
                "1 volume, 1 router, 1 security group, 1 image",
                "1 network",
            ]
        );
        // A volume alone waits for nobody.
        assert_eq!(due(&[thing(Kind::Volume, "v")]).len(), 1);
        let many = [thing(Kind::Image, "a"), thing(Kind::Image, "b"), thing(Kind::FloatingAddress, "c")];
        assert_eq!(summary(&many), "1 floating address, 2 images");
    }
}
