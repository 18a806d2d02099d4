//! What is kept of which node, and what a seed undoes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use protocol::{CaPin, IdentityFile, JobId, NodeId, Seed, StateDocument};
use tempfile::TempDir;

use super::Unread::{GoesOn, Waits};
use super::{AttemptError, Folder, Identity, Unread, forget, own_key, settled, standing, wipe};
use crate::serve::folder::{Applied, PLACE};
use crate::serve::root_disk::tests::Tree;
use crate::serve::seed::PartitionError;
use crate::serve::{Options, seed};

const FIRST: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);

fn a_seed(node: NodeId, job: u8, complete: bool) -> Seed {
    Seed {
        controller: "10.77.0.1:8443".parse().unwrap(),
        ca: CaPin([7; 32]),
        node,
        name: "n1".into(),
        job: Some(JobId([job; 8])),
        key: crate::keys::KeyPair::generate().unwrap().pkcs8_base64(),
        certificate: String::new(),
        complete,
    }
}

/// A root file system with what node 1 kept that was installed by job 1, and a place for a seed.
fn restored() -> (TempDir, Folder, Options) {
    let root = TempDir::new().unwrap();
    let folder = restored_in(root.path());
    let place = root.path().join("seed");
    fs::write(&place, b"").unwrap();
    let options = Options { root: root.path().to_owned(), seed: Some(place) };
    (root, folder, options)
}

fn restored_in(root: &Path) -> Folder {
    let folder = Folder::open(root).unwrap();
    let of = a_seed(FIRST, 1, true);
    assert!(forget(root, &folder, &of).unwrap(), "who it is, before anything else");
    own_key(&folder).unwrap();
    folder.keep_applied(&Applied { generation: 9, done_order: 4, ..Applied::default() }).unwrap();
    let document: StateDocument = serde_json::from_value(serde_json::json!({
        "generation": 9, "name": "n1", "files": [], "units": [], "tasks": []
    }))
    .unwrap();
    folder.keep_document(&document).unwrap();
    folder.keep_certificate("a certificate").unwrap();
    fs::create_dir_all(root.join("etc/ssh")).unwrap();
    for name in IdentityFile::PATHS {
        fs::write(root.join(name.trim_start_matches('/')), "of node 1").unwrap();
    }
    folder
}

/// Names and content of all files of the folder and of the host keys.
fn kept(root: &Path) -> Vec<(String, Vec<u8>)> {
    let inside = |folder: &str| fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut all = inside(PLACE).chain(inside("etc/ssh")).collect::<Vec<_>>();
    all.sort();
    all.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

fn names(root: &Path) -> Vec<String> {
    let name = |(path, _): (String, Vec<u8>)| path.rsplit('/').next().unwrap().to_owned();
    kept(root).into_iter().map(name).collect()
}

fn identity(folder: &Folder) -> Identity {
    folder.identity().unwrap().unwrap()
}

#[test]
fn a_seed_of_another_job_makes_the_node_forget_what_the_disk_brought_along() {
    for (node, host_keys) in [(FIRST, 6), (OTHER, 0)] {
        let (root, folder, options) = restored();
        let old = own_key(&folder).unwrap().public();
        seed::write(options.seed.as_ref().unwrap(), &a_seed(node, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).unwrap().is_none(), "it is to enrol");
        let names = names(root.path());
        assert_eq!(names.iter().filter(|name| name.starts_with("ssh_host")).count(), host_keys);
        assert_eq!(
            names.iter().filter(|name| !name.starts_with("ssh_host")).collect::<Vec<_>>(),
            ["identity.json"]
        );
        assert_eq!((identity(&folder).node, identity(&folder).job), (node, Some(JobId([2; 8]))));
        let new = own_key(&folder).unwrap().public();
        assert_ne!(new, old);
        // Until it is wiped the seed is there at every start, and takes nothing more away.
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!(own_key(&folder).unwrap().public(), new, "one key for all attempts");
    }
}

#[test]
fn a_disk_of_another_rack_says_nothing_of_this_node() {
    let tree = Tree::of_a_node();
    let (folder, options) = (restored_in(tree.root()), Options { root: tree.root().to_owned(), seed: None });
    let before = kept(tree.root());
    tree.add_foreign();
    seed::write(&tree.path("dev/vdb3"), &a_seed(OTHER, 2, true)).unwrap();
    assert!(settled(&options, &folder, Waits).is_err(), "its own certificate is looked at");
    assert!(kept(tree.root()) == before);
    wipe(&options, &Identity { job: Some(JobId([2; 8])), ..identity(&folder) });
    assert_eq!(seed::read(&tree.path("dev/vdb3")).unwrap().node, OTHER, "it is not ours to wipe");
    // On the disk that it runs from, the same words count.
    seed::write(&tree.path("dev/vda3"), &a_seed(OTHER, 2, true)).unwrap();
    assert!(settled(&options, &folder, Waits).unwrap().is_none());
    assert_eq!(identity(&folder).node, OTHER);
}

/// A certificate that the kept key belongs to.
fn enrolled(folder: &Folder) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    folder.keep_key(key.serialized_der()).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    folder.keep_certificate(&certificate.pem()).unwrap();
}

#[test]
fn a_seed_that_comes_late_is_waited_for() {
    let (root, folder, options) = restored();
    enrolled(&folder);
    let before = kept(root.path());
    let late = Options { seed: Some(root.path().join("late")), ..options.clone() };
    for _ in 0..3 {
        let told = settled(&late, &folder, Waits).unwrap_err();
        assert!(matches!(told, AttemptError::Unread(PartitionError::Read(_))), "{told:?}");
    }
    // The disk of the root is not known either.
    let lost = Options { seed: None, ..options.clone() };
    let told = settled(&lost, &folder, Waits).unwrap_err();
    assert!(matches!(told, AttemptError::Unread(PartitionError::Find(_))), "{told:?}");
    for unread in [&late, &lost] {
        let standing = settled(unread, &folder, GoesOn).unwrap().expect("a disk that fails");
        assert_eq!(standing.identity, identity(&folder));
    }
    // One that was read and is none is not waited for.
    assert!(settled(&options, &folder, Waits).unwrap().is_some());
    assert!(kept(root.path()) == before);
    fs::write(root.path().join("late"), b"").unwrap();
    seed::write(&root.path().join("late"), &a_seed(OTHER, 2, true)).unwrap();
    assert!(settled(&late, &folder, Waits).unwrap().is_none(), "who it was came with an image");
    assert_eq!(identity(&folder).node, OTHER);
    // Nobody knows who this is: there is only the seed to wait for, and that is done elsewhere.
    assert!(settled(&lost, &folder, Waits).unwrap().is_none());
}

#[test]
fn it_is_waited_for_half_a_minute_and_only_after_a_boot() {
    let seconds = Duration::from_secs;
    let table = [(0, 0, Waits), (29, 599, Waits), (30, 0, GoesOn), (0, 600, GoesOn), (900, 2, GoesOn)];
    for (running, uptime_seconds, want) in table {
        assert_eq!(Unread::after(seconds(running), uptime_seconds), want, "{running} {uptime_seconds}");
    }
}

#[test]
fn only_a_seed_that_was_used_is_wiped() {
    let (_root, folder, options) = restored();
    let place = options.seed.as_ref().unwrap();
    let identity = identity(&folder);
    for seed in [a_seed(FIRST, 2, true), Seed { job: None, ..a_seed(FIRST, 1, false) }] {
        seed::write(place, &seed).unwrap();
        wipe(&options, &identity);
        assert_eq!(seed::read(place).unwrap(), seed);
    }
    seed::write(place, &a_seed(FIRST, 1, true)).unwrap();
    wipe(&options, &identity);
    assert!(matches!(seed::read(place), Err(PartitionError::Seed(_))));
}

#[test]
fn nothing_else_makes_it_forget() {
    let (root, folder, options) = restored();
    let before = kept(root.path());
    let unreadable = Options { seed: Some(root.path().join("nowhere")), ..options.clone() };
    for seed in [
        None,
        // Its own, not wiped yet.
        Some(a_seed(FIRST, 1, true)),
        // A ticket, or an image that is still being written.
        Some(Seed { job: None, ..a_seed(FIRST, 1, false) }),
        Some(a_seed(OTHER, 2, false)),
    ] {
        if let Some(seed) = &seed {
            seed::write(options.seed.as_ref().unwrap(), seed).unwrap();
        }
        // The certificate of this test is none: that it is looked at is what counts.
        assert!(settled(&options, &folder, Waits).is_err(), "{seed:?}");
        assert!(settled(&unreadable, &folder, GoesOn).is_err(), "{seed:?}");
        assert!(kept(root.path()) == before, "{seed:?}");
    }
}

/// A key whose writing a power cut ended is a key.
#[test]
fn drafts_are_forgotten_with_what_they_were_to_be() {
    let (root, folder, options) = restored();
    let before = kept(root.path());
    for (path, _) in &before {
        let (folder, name) = path.rsplit_once('/').unwrap();
        fs::write(format!("{folder}/.{name}.rackwright-new"), "secret").unwrap();
    }
    assert_eq!(kept(root.path()).len(), before.len() * 2);
    seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
    assert!(settled(&options, &folder, Waits).unwrap().is_none());
    assert_eq!(names(root.path()), ["identity.json"]);
}

/// What another node left is nobody's to have, also when who that was can't be read any more.
#[test]
fn host_keys_go_when_nobody_says_whose_they_are() {
    let damages: [fn(&Path); 3] = [
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, "{ \"node\": ").unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    for damage in damages {
        let (root, folder, options) = restored();
        damage(&root.path().join(PLACE).join("identity.json"));
        seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!(names(root.path()), ["identity.json"]);
        assert_eq!(identity(&folder).node, OTHER);
    }
    // Of a system that never was a node's they are its own.
    let (root, _, options) = restored();
    fs::remove_dir_all(root.path().join(PLACE)).unwrap();
    let folder = Folder::open(root.path()).unwrap();
    seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
    assert!(settled(&options, &folder, Waits).unwrap().is_none());
    assert_eq!(names(root.path()).len(), 1 + IdentityFile::PATHS.len());
}

#[test]
fn a_folder_of_the_time_before_jobs_were_kept_is_forgotten_too() {
    let (root, folder, _) = restored();
    let path = root.path().join(PLACE).join("identity.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(json.as_object_mut().unwrap().remove("job").is_some());
    fs::write(&path, json.to_string()).unwrap();
    assert_eq!(identity(&folder).job, None);
    assert!(forget(root.path(), &folder, &a_seed(FIRST, 2, true)).unwrap());
    assert_eq!(identity(&folder).job, Some(JobId([2; 8])));
}

#[test]
fn without_a_job_it_is_the_node_and_the_site_that_are_compared() {
    let jobless = |node| Seed { job: None, ..a_seed(node, 0, true) };
    let changes: [fn(&mut Seed); 2] = [|seed| seed.node = OTHER, |seed| seed.ca = CaPin([8; 32])];
    for change in changes {
        let (_root, folder, options) = restored();
        let place = options.seed.as_ref().unwrap();
        folder.keep_identity(&Identity { job: None, ..identity(&folder) }).unwrap();
        seed::write(place, &jobless(FIRST)).unwrap();
        assert!(settled(&options, &folder, Waits).is_err(), "its own: the certificate is looked at");
        let mut other = jobless(FIRST);
        change(&mut other);
        seed::write(place, &other).unwrap();
        wipe(&options, &identity(&folder));
        assert_eq!(seed::read(place).unwrap(), other);
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!((identity(&folder).node, identity(&folder).ca), (other.node, other.ca));
        // Once: with what is made then it goes on.
        folder.keep_certificate("a certificate").unwrap();
        let key = own_key(&folder).unwrap().public();
        assert!(settled(&options, &folder, Waits).is_err());
        assert_eq!(own_key(&folder).unwrap().public(), key);
    }
}

/// Every set of files that a power cut can leave behind ends in the same: the removed ones in any order, because a file
/// system may keep another order than ours, as long as who the node is comes last.
#[test]
fn a_power_cut_between_any_two_steps_ends_right() {
    let removed = ["certificate.pem", "applied.json", "document.json", "key"];
    let ssh = IdentityFile::PATHS.map(|path| path.trim_start_matches('/').to_owned());
    for cut in 0..1_u32 << (removed.len() + 1) {
        let (root, folder, options) = restored();
        let old = own_key(&folder).unwrap().public();
        let new = a_seed(OTHER, 2, true);
        seed::write(options.seed.as_ref().unwrap(), &new).unwrap();
        for (_, name) in removed.iter().enumerate().filter(|(at, _)| cut & 1 << at != 0) {
            fs::remove_file(root.path().join(PLACE).join(name)).unwrap();
        }
        if cut & 1 << removed.len() != 0 {
            ssh.iter().take(3).for_each(|name| fs::remove_file(root.path().join(name)).unwrap());
        }
        assert!(settled(&options, &folder, Waits).unwrap().is_none(), "cut {cut:b}");
        assert_eq!(names(root.path()), ["identity.json"], "cut {cut:b}");
        assert_eq!(identity(&folder).node, OTHER);
        assert_ne!(own_key(&folder).unwrap().public(), old);
    }
    // After the last step: the key is the new one's, and is kept; then a certificate that the seed no longer undoes.
    let (root, folder, options) = restored();
    let new = a_seed(OTHER, 2, true);
    seed::write(options.seed.as_ref().unwrap(), &new).unwrap();
    assert!(forget(root.path(), &folder, &new).unwrap());
    assert!(!forget(root.path(), &folder, &new).unwrap());
    let key = own_key(&folder).unwrap().public();
    assert!(settled(&options, &folder, Waits).unwrap().is_none());
    folder.keep_certificate("a certificate").unwrap();
    assert!(settled(&options, &folder, Waits).is_err(), "the new certificate is looked at");
    assert_eq!(own_key(&folder).unwrap().public(), key);
    assert!(standing(&folder).is_err());
}
