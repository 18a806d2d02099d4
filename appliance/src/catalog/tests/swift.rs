//! What of the object storage is in the catalog that ships.

use std::io::Write as _;
use std::process::{Command, Stdio};

use fleet::cloud::objects::KEEPER;
use fleet::cloud::ring::Kind;
use fleet::data_disk::DataDisk;
use fleet::node::Installed;
use fleet::{Node, Time};
use pack::Digest;
use protocol::{CheckKind, Disk, DiskBus, DiskId, JobId, StateDocument};

use super::super::embedded;
use super::document;

const STORAGE: [&str; 1] = ["storage"];

/// A system that a plan has put there, and the data disk that it named.
pub(super) fn give_disk(node: &mut Node) {
    let id = DiskId::of("", "DATA").unwrap();
    let content = Digest::of(b"nothing");
    let disk = Disk {
        model: "QEMU".to_owned(),
        serial: "DATA".to_owned(),
        bytes: 1 << 40,
        bus: DiskBus::Virtio,
        content: Some(content),
        ..Disk::default()
    };
    let (model, serial) = (disk.model.clone(), disk.serial.clone());
    node.inventory.disks.push(disk);
    let data = DataDisk { disk: id.clone(), model, serial, bytes: 1 << 40, content, kept: false };
    let (image, job) = (Digest::of(b"image"), JobId([1; 8]));
    node.installed = Some(Installed { image, disk: id, at: Time(1), job, data: Some(data) });
}

fn names(document: &StateDocument) -> Vec<&str> {
    document.services.iter().map(|service| service.name.as_str()).collect()
}

fn content<'a>(document: &'a StateDocument, path: &str) -> &'a str {
    document.files.iter().find(|file| file.path == path).map(|file| file.content.as_str()).unwrap()
}

#[test]
fn a_storage_node_makes_room_before_volumes_take_it() {
    let document = document(&STORAGE, 1);
    let names = names(&document);
    let place =
        |name: &str| names.iter().position(|one| *one == name).unwrap_or_else(|| panic!("{name}: {names:?}"));
    assert!(place("swift-space") < place("cinder-volume"));
    assert!(place("swift-space") < place(KEEPER) && place(KEEPER) < place("swift-object"));
    let needs = &document.services[place("cinder-volume")].needs;
    assert!(needs.contains(&"swift-space".to_owned()), "{needs:?}");
    let task = document.tasks.iter().find(|task| task.name == "swift-space").unwrap();
    let script = task.argv.last().unwrap();
    assert!(script.contains("--size 107374182400b cinder-volumes"), "{script}");
    // A file system is made of what is not called objects yet, and of nothing else.
    let is_made = |arg: &String| arg.lines().any(|line| line.trim_start().starts_with("mkfs"));
    let makes = document.tasks.iter().filter(|task| task.argv.iter().any(is_made));
    assert_eq!(makes.map(|task| task.name.as_str()).collect::<Vec<_>>(), ["swift-space"]);
    assert!(
        script.contains("new=cinder-volumes/objects-new\n") && script.contains("mkfs.xfs -f -q /dev/$new\n"),
        "{script}"
    );
    assert!(!script.contains("wipefs") && !script.contains("lvremove"), "{script}");
}

#[test]
fn what_is_not_mounted_is_not_written_to() {
    let document = document(&STORAGE, 1);
    for kind in Kind::ALL {
        let (word, port) = (kind.word(), kind.port());
        let text = content(&document, &format!("/etc/swift/{word}-server.conf"));
        assert!(
            text.contains("\nmount_check = true\n") && text.contains("\ndevices = /srv/node\n"),
            "{text}"
        );
        assert!(text.contains(&format!("\nbind_port = {port}\n")), "the rings have another port: {text}");
        assert!(text.contains("\nbind_ip = 10.77.0.100\n"), "{text}");
        let service = document.services.iter().find(|one| one.name == format!("swift-{word}")).unwrap();
        assert!(service.needs.contains(&KEEPER.to_owned()), "{service:?}");
        let url = format!("http://10.77.0.100:{port}/healthcheck");
        assert_eq!(service.check.as_ref().unwrap().kind, CheckKind::Http { url });
        assert!(content(&document, "/etc/rsyncd.conf").contains(&format!("\n[{word}]\npath = /srv/node\n")));
        assert!(text.contains(&format!("\nrsync_module = {{replication_ip}}::{word}\n")), "{text}");
    }
    assert!(
        content(&document, "/etc/systemd/system/srv-node-objects.mount")
            .contains("What=/dev/cinder-volumes/objects\n")
    );
}

/// Keystone puts the project's id in; a `$` or another bracket would be part of every address.
#[test]
fn keystone_is_told_where_accounts_are() {
    let document = document(&["control"], 1);
    let identity: serde_json::Value =
        serde_json::from_str(content(&document, "/etc/rackwright/identity.json")).unwrap();
    let services = identity["services"].as_array().unwrap();
    let entry = services.iter().find(|entry| entry["type"] == "object-store").unwrap();
    assert_eq!(entry["account"], "swift");
    assert_eq!(entry["url"], "http://10.77.0.100:8080/v1/AUTH_%(project_id)s");
    assert!(
        embedded().unwrap().services().all(|service| service.part_of.is_none()),
        "nobody has asked for it"
    );
}

/// The script that puts rings in place, in a folder instead of /etc/swift.
fn rings(folder: &std::path::Path, verb: &str) -> Option<i32> {
    let document = document(&STORAGE, 1);
    let script = content(&document, "/etc/rackwright/rings").replace("cd /etc/swift", "cd \"$FOLDER\"");
    let mut shell = Command::new("sh");
    shell.args(["-s", verb]).env("FOLDER", folder).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    shell.wait().unwrap().code()
}

#[test]
fn rings_are_put_whole_or_not_at_all_and_an_empty_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let came = |kind: &str, text: &str| std::fs::write(path(&format!("{kind}.ring.b64")), text).unwrap();
    let document = document(&STORAGE, 1);
    for kind in Kind::ALL {
        came(kind.word(), content(&document, &format!("/etc/swift/{}.ring.b64", kind.word())));
    }
    assert_ne!(rings(folder.path(), "are"), Some(0), "nothing was put so far");
    assert_eq!(rings(folder.path(), "put"), Some(0));
    assert_eq!(rings(folder.path(), "are"), Some(0));
    let ring = std::fs::read(path("object.ring.gz")).unwrap();
    assert_eq!(ring[..2], [0x1f, 0x8b], "gzip");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6, "no draft stays");

    std::fs::write(path("container.ring.gz"), b"something else").unwrap();
    assert_ne!(rings(folder.path(), "are"), Some(0));
    assert_eq!((rings(folder.path(), "put"), rings(folder.path(), "are")), (Some(0), Some(0)));

    came("object", "\n");
    assert_eq!((rings(folder.path(), "are"), rings(folder.path(), "put")), (Some(0), Some(0)));
    assert_eq!(std::fs::read(path("object.ring.gz")).unwrap(), ring, "nobody is in it any more: it stays");

    came("object", "H4sI!no base 64\n");
    assert_ne!(rings(folder.path(), "are"), Some(0));
    assert_ne!(rings(folder.path(), "put"), Some(0));
    assert_eq!(
        std::fs::read(path("object.ring.gz")).unwrap(),
        ring,
        "what is damaged takes no other's place"
    );
}
