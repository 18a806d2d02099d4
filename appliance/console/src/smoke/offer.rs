//! What the cloud offers, read from what its services say of themselves, and where instances go because of it.

use serde_json::Value;

use super::cloud::{list, text};
use super::fault::Fault;

/// A node that runs instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) zone: String,
}

impl Host {
    /// As an instance's zone: this node and no other (administrators may).
    pub(super) fn forced(&self) -> String {
        format!("{}:{}", self.zone, self.name)
    }
}

/// A network to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) id: String,
    pub(super) name: String,
}

/// Everything that decides which steps there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    /// Whose compute service is up.
    pub(super) hosts: Vec<Host>,
    /// `nova-compute on n2`: what should be up and is not.
    pub(super) down: Vec<String>,
    /// Why there are no volumes, where there are none.
    pub(super) no_volumes: Option<String>,
}

impl Offer {
    /// Takes in the list of compute services.
    pub(super) fn computes(&mut self, answer: &Value) {
        for service in list(answer, &["services"]).iter().filter(|service| is_wanted(service)) {
            if text(service, &["state"]) != "up" {
                self.down.push(named(service, "binary"));
            } else if text(service, &["binary"]) == "nova-compute" {
                let zone = Some(text(service, &["zone"])).filter(|zone| !zone.is_empty()).unwrap_or("nova");
                let name = text(service, &["host"]).to_owned();
                self.hosts.push(Host { name, zone: zone.to_owned() });
            }
        }
        self.hosts.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Takes in the list of network agents.
    pub(super) fn agents(&mut self, answer: &Value) {
        let flag = |agent: &Value, key: &str| agent.get(key).and_then(Value::as_bool).unwrap_or(true);
        let dead = |agent: &&Value| flag(agent, "admin_state_up") && !flag(agent, "alive");
        let agents = list(answer, &["agents"]).iter().filter(dead);
        self.down.extend(agents.map(|agent| named(agent, "agent_type")));
    }

    /// Takes in the list of volume services.
    pub(super) fn volumes(&mut self, answer: &Value) {
        let services = list(answer, &["services"]).iter().filter(|service| is_wanted(service));
        let (up, down): (Vec<_>, Vec<_>) = services.partition(|service| text(service, &["state"]) == "up");
        self.down.extend(down.into_iter().map(|service| named(service, "binary")));
        if !up.iter().any(|service| text(service, &["binary"]) == "cinder-volume") {
            self.no_volumes = Some("no cinder-volume is up".to_owned());
        }
    }
}

/// Somebody has taken the others out of service.
fn is_wanted(service: &Value) -> bool {
    text(service, &["status"]) != "disabled"
}

fn named(service: &Value, kind: &str) -> String {
    format!("{} on {}", text(service, &[kind]), text(service, &["host"]))
}

/// Where the instances go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Nowhere in particular: the cloud decides.
    pub(super) first: Option<Host>,
    /// The other node, or why there is no second instance.
    pub(super) second: Result<Host, String>,
}

/// Where the instances go; `node`: the one that is to be proven.
pub(super) fn places(hosts: &[Host], node: Option<&str>) -> Result<Places, Fault> {
    let up = hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(first) = hosts.first() else {
        return Err(Fault::new("no compute service is up").advise("rackwright cloud status"));
    };
    if let Some(node) = node {
        let is_it = |host: &&Host| host.name == node || host.name.split('.').next() == Some(node);
        let none = || Fault::new(format!("no compute service is up on {node}; on these: {up}"));
        let none = || none().advise(format!("rackwright node why {node}; rackwright cloud status"));
        let host = hosts.iter().find(is_it).ok_or_else(none)?;
        return Ok(Places { first: Some(host.clone()), second: Err("--node: one instance only".to_owned()) });
    }
    Ok(match hosts.get(1) {
        Some(second) => Places { first: Some(first.clone()), second: Ok(second.clone()) },
        None => Places { first: None, second: Err(format!("one compute service only: {up}")) },
    })
}

/// The network to the outside: the named one, or the first there is.
pub(super) fn outside(answer: &Value, wanted: Option<&str>) -> Result<Option<Outside>, Fault> {
    let networks = list(answer, &["networks"]).iter();
    let mut found = networks
        .filter(|network| network.get("router:external").and_then(Value::as_bool) == Some(true))
        .map(|network| Outside {
            id: text(network, &["id"]).to_owned(),
            name: text(network, &["name"]).to_owned(),
        })
        .collect::<Vec<_>>();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    match wanted {
        None => Ok(found.into_iter().next()),
        Some(wanted) => {
            let names = found.iter().map(|net| net.name.as_str()).collect::<Vec<_>>().join(", ");
            let names =
                if names.is_empty() { "there is none".to_owned() } else { format!("there is {names}") };
            let none = || Fault::new(format!("no external network is called {wanted}; {names}"));
            let none = || none().advise("openstack network list --external");
            found.into_iter().find(|net| net.name == wanted || net.id == wanted).ok_or_else(none).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(binary: &str, host: &str, state: &str, status: &str) -> Value {
        json!({"binary": binary, "host": host, "state": state, "status": status, "zone": "nova"})
    }

    fn hosts(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| Host { name: (*name).to_owned(), zone: "nova".to_owned() }).collect()
    }

    #[test]
    fn what_should_be_up_and_is_not_is_named() {
        let mut offer = Offer::default();
        offer.computes(&json!({"services": [
            service("nova-compute", "n2", "up", "enabled"),
            service("nova-compute", "n1", "up", "enabled"),
            service("nova-compute", "n3", "down", "enabled"),
            service("nova-compute", "n4", "down", "disabled"),
            service("nova-compute", "n5", "up", "disabled"),
            service("nova-conductor", "n1", "up", "enabled"),
            7,
        ]}));
        offer.agents(&json!({"agents": [
            {"agent_type": "OVN Controller agent", "host": "n1", "alive": true, "admin_state_up": true},
            {"agent_type": "OVN Metadata agent", "host": "n2", "alive": false, "admin_state_up": true},
            {"agent_type": "OVN Metadata agent", "host": "n9", "alive": false, "admin_state_up": false},
        ]}));
        assert_eq!(offer.hosts, hosts(&["n1", "n2"]));
        assert_eq!(offer.down, ["nova-compute on n3", " on ", "OVN Metadata agent on n2"]);
        offer.volumes(&json!({"services": [service("cinder-scheduler", "n1", "up", "enabled")]}));
        assert_eq!(offer.no_volumes.as_deref(), Some("no cinder-volume is up"));
        let mut offer = Offer::default();
        offer.volumes(&json!({"services": [service("cinder-volume", "n1@lvm", "up", "enabled")]}));
        assert_eq!(offer.no_volumes, None);
        for garbage in [json!(null), json!([]), json!({"services": 1, "agents": "x"})] {
            let mut offer = Offer::default();
            offer.computes(&garbage);
            offer.agents(&garbage);
            assert!(offer.hosts.is_empty() && offer.down.is_empty());
        }
    }

    #[test]
    fn two_nodes_make_two_instances_and_a_named_one_is_alone() {
        let of = |names: &[&str], node: Option<&str>| places(&hosts(names), node);
        assert!(of(&[], None).is_err() && of(&[], Some("n1")).is_err());
        let one = of(&["n1"], None).unwrap();
        assert_eq!((one.first, one.second), (None, Err("one compute service only: n1".to_owned())));
        let two = of(&["n1", "n2", "n3"], None).unwrap();
        assert_eq!(two.first.unwrap().forced(), "nova:n1");
        assert_eq!(two.second.unwrap().forced(), "nova:n2");
        let named = of(&["n1", "n2.rack"], Some("n2")).unwrap();
        assert_eq!(named.first.unwrap().name, "n2.rack");
        assert!(named.second.unwrap_err().contains("--node"));
        let why = of(&["n1", "n2"], Some("n9")).unwrap_err().why;
        assert_eq!(why, "no compute service is up on n9; on these: n1, n2");
    }

    #[test]
    fn the_way_out_is_the_named_one_or_the_first() {
        let net = |name: &str, external: Value| json!({"id": format!("id-{name}"), "name": name, "router:external": external});
        let answer =
            json!({"networks": [net("b", json!(true)), net("a", json!(true)), net("inner", json!(false))]});
        assert_eq!(outside(&answer, None).unwrap().unwrap().name, "a");
        assert_eq!(outside(&answer, Some("b")).unwrap().unwrap().id, "id-b");
        assert_eq!(outside(&json!({"networks": []}), None).unwrap(), None);
        let why = outside(&answer, Some("inner")).unwrap_err();
        assert_eq!(why.why, "no external network is called inner; there is a, b");
        assert!(why.next.is_some() && outside(&json!(7), Some("a")).is_err());
    }
}
