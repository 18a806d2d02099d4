//! What an installed node is told by name: units, tasks, files, its own name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Component, Path};

use agent::serve::fuzzing::{account, below_root, is_host_name};
use units::{TaskName, UnitName};

use crate::Reached;

/// A unit's name is one systemd would take, and nothing else: no path, no pattern, no option.
pub(crate) fn unit_name(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let task = TaskName::parse(&text);
    if let Ok(task) = &task {
        assert_eq!(UnitName::parse(task.unit().as_str()).as_ref(), Ok(&task.unit()));
    }
    let name = match UnitName::parse(&text) {
        Ok(name) => name,
        Err(why) => {
            assert!(!why.to_string().chars().any(char::is_control), "{why}");
            return Reached::when(task.is_ok());
        }
    };
    assert_eq!(name.as_str(), text);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    assert!(text.len() <= 255 && text.bytes().all(allowed));
    assert!(!name.is_template() || text.contains("@."), "{text}");
    let json = serde_json::to_string(&name).expect("a text is JSON");
    assert!(serde_json::from_str::<UnitName>(&json).is_ok_and(|again| again == name));
    Reached::Inside
}

/// Units and tasks, and what would be something else.
pub(crate) fn unit_name_seeds() -> Vec<Vec<u8>> {
    let texts =
        ["nova-compute.service", "getty@tty1.service", "openvpn@.service", r"srv-a\x2db.mount", "db-sync"];
    let hostile = ["../../etc/passwd.service", "*.service", "--root=x.service", "a\n.service", "@.timer"];
    texts.into_iter().chain(hostile).map(Into::into).collect()
}

/// A file of a document lies below the two trees, however its path is written.
pub(crate) fn path(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let below = match below_root(&text) {
        Ok(below) => below,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    assert_eq!(format!("/{below}"), text);
    let below = Path::new(below);
    assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{text}");
    assert!(below.starts_with("etc") || below.starts_with("var/lib"));
    assert!(!below.starts_with("var/lib/rackwright-agent"), "the agent's own folder");
    assert!(below.components().count() > 1 && !text.ends_with('/'));
    Reached::Inside
}

/// Configuration files, and ways out.
pub(crate) fn path_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "/etc/hosts",
        "/var/lib/nova/compute_id",
        "/etc/../bin/sh",
        "/etc//shadow",
        "/var/lib/rackwright-agent/key",
        "/etc/a\nb",
        "etc/passwd",
    ];
    texts.map(Into::into).into()
}

/// What one crate takes for a host's name, the others take too.
pub(crate) fn host_name(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    if let Some(number) = account(&text, "nova") {
        assert!(text.contains(&"nova:".to_owned()) && text.contains(&number.to_string()));
    }
    let site = appliance::config::Site::parse(&text);
    assert!(site.as_ref().map_or_else(|why| !why.is_empty(), |site| site.as_str() == text));
    let name = match text.parse::<fleet::Name>() {
        Ok(name) => name,
        Err(why) => {
            assert!(!why.to_string().chars().any(char::is_control));
            return Reached::when(site.is_ok());
        }
    };
    assert_eq!(name.as_str(), text);
    assert!(is_host_name(name.as_str()), "the agent refuses {text}");
    let host = ansible_compat::Host::new(&text, IpAddr::from([10, 0, 0, 1]), [], BTreeMap::new());
    assert!(host.is_ok(), "Ansible refuses {text}");
    Reached::Inside
}

/// Names, near misses, a passwd file.
pub(crate) fn host_name_seeds() -> Vec<Vec<u8>> {
    let texts =
        ["n1", "compute-01", "localhost", "a.b", "-a", "N1", "root:x:0:0::/:\nnova:x:104:109::/:/x\n"];
    texts.map(Into::into).into()
}
