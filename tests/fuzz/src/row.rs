//! Rows of the database: written by us, and read as if by a stranger, for disks fail and people edit.

use std::sync::OnceLock;

use fleet::view;
use fleet::{Catalog, Change, Fleet, Site, Subnet, Time};
use protocol::CaPin;
use pxe::Mac;
use pxe::dhcp::{Lease, Leases};

use crate::Reached;

/// A row is written back as it was read, and everything a person can look at can be shown.
pub(crate) fn run(data: &[u8]) -> Reached {
    let leases = lease(data);
    let Ok(change) = serde_json::from_slice::<Change>(data) else { return Reached::when(leases) };
    let text = serde_json::to_vec(&change).expect("a row can be written");
    let again: Change = serde_json::from_slice(&text).expect("what was written can be read");
    assert!(again == change, "another row after a journey");
    let mut fleet = Fleet::default();
    fleet.put(change);
    show(&fleet, Time(1_800_000_000_000));
    Reached::Inside
}

fn lease(data: &[u8]) -> bool {
    let Ok(row) = serde_json::from_slice::<(Mac, Lease)>(data) else { return false };
    let text = serde_json::to_vec(&row).expect("a row can be written");
    assert!(serde_json::from_slice::<(Mac, Lease)>(&text).is_ok_and(|again| again == row));
    let (mac, address) = (row.0, row.1.ip);
    let leases = Leases::from_rows([row], []).expect("one row contradicts no other");
    assert_eq!(leases.holder(address), Some(mac));
    true
}

/// Everything that the command line can ask for, of a whole fleet.
pub(crate) fn show(fleet: &Fleet, now: Time) {
    let site = site();
    let json = |value: serde_json::Result<String>| assert!(value.is_ok(), "a view is JSON");
    for node in fleet.nodes.values() {
        json(serde_json::to_string(&view::node_row(fleet, &site, node, now)));
        json(serde_json::to_string(&view::node_view(fleet, &site, node, now)));
        for mac in node.macs() {
            fleet::boot_task(fleet, mac);
        }
        for word in [node.name.to_string(), node.id.to_string(), node.id.short()] {
            assert!(fleet.find(&word, &site.ca).is_ok_and(|found| found.id == node.id), "{word}");
        }
    }
    fleet.plans.values().for_each(|plan| json(serde_json::to_string(&view::plan_view(fleet, plan))));
    for job in fleet.jobs.values() {
        let row = view::job_row(fleet, job);
        assert!(row.percent <= 100);
        json(serde_json::to_string(&row));
    }
    fleet.images.values().for_each(|image| json(serde_json::to_string(&view::image_row(fleet, image))));
    json(serde_json::to_string(&view::service_rows(fleet, catalog())));
    view::next_step(fleet);
    fleet::patience::overdue(fleet, now);
}

/// A site for views and documents.
pub(crate) fn site() -> Site {
    Site {
        name: "test".to_owned(),
        subnets: vec![Subnet {
            net: "10.77.0.0/24".parse().expect("a network"),
            controller: [10, 77, 0, 1].into(),
            gateway: None,
        }],
        ca: CaPin([1; 32]),
        addresses: [].into(),
        cloud: None,
    }
}

/// A catalog with a file, a unit and a task; read once.
pub(crate) fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::parse(FILES.iter().copied()).expect("a catalog"))
}

const FILES: &[(&str, &str)] = &[
    ("roles/base.toml", "name='base'\nsummary=''\nservices=['names']"),
    ("roles/control.toml", "name='control'\nsummary=''\nservices=['db']"),
    ("roles/storage.toml", "name='storage'\nsummary=''\nservices=['volumes']"),
    (
        "services/names/service.toml",
        "name='names'\nsummary=''\n[[files]]\npath='/etc/hosts'\nmode='0644'\nowner='root:root'\ntemplate='hosts'",
    ),
    (
        "services/db/service.toml",
        "name='db'\nsummary=''\n[[units]]\nname='a.service'\nenabled=true\nrunning=true",
    ),
    (
        "services/volumes/service.toml",
        "name='volumes'\nsummary=''\n[[tasks]]\nname='vg'\nguard=['/bin/false']\nargv=['/bin/vg','${disk.data}']\n\
         timeout_seconds=5\nbefore_units=true",
    ),
    ("services/names/hosts", "${node.address} ${node.name}\n${rack.hosts}\n"),
];

/// Rows of each table, as the exchange makes them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all = crate::exchange::rows();
    all.push(
        br#"["52:54:00:ab:cd:05",{"ip":"10.77.0.100","state":"bound","pinned":false,"since":1,"expires":2,
        "client_id":[1],"hostname":"n1","arch":7,"path":"uefi-pxe"}]"#
            .to_vec(),
    );
    all
}
