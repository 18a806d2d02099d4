//! A restore that is cut off anywhere, and where there is state already.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fleet::cloud::Salt;
use fleet::cloud::passwords::{Edition, Passwords};
use fleet::power::{Act, Power, Request, Step, Way, Wish};
use fleet::preflight::{CheckId, Preflight, PreflightState, Terms};
use fleet::rollout::{Group, Rollout, RolloutId, RolloutState};
use fleet::{Change, Time};
use protocol::{JobId, NodeId};

use super::{DECIDED, PART, RestoreError, complete, restore, write};
use crate::backup::tests::site;
use crate::backup::{Content, Kit, make};
use crate::config::Paths;
use crate::journal::Peer;
use crate::lock::Lock;
use crate::store::{Batch, Store};

fn kit() -> Kit {
    Kit::of([9; 32])
}

fn content(folder: &Path) -> Content {
    let mut out = Vec::new();
    make(&site(folder, 9), &kit(), &mut out, Time(1_800_000_000_000)).unwrap();
    Content::open(out.as_slice(), 1 << 30, &kit()).unwrap()
}

/// Every file below a folder, but the lock.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name() != "lock" {
                let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn everything_is_in_its_place_and_a_new_reign_begins() {
    let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (content, paths) = (content(from.path()), Paths::under(Some(root.path())));
    let epoch = restore(&paths, &content, &kit(), None, &Peer::own()).unwrap();
    assert!(epoch > content.manifest.epoch);
    let found = files(root.path());
    let names = found.keys().map(String::as_str).collect::<Vec<_>>();
    let issuers = names.iter().copied().find(|name| name.contains("ca/issuers-")).unwrap();
    assert_eq!(
        names,
        [
            "etc/rackwright/image-keys/build.pub",
            "etc/rackwright/rackwright.toml",
            "var/lib/rackwright/ca/images.key",
            issuers,
            "var/lib/rackwright/ca/journal.key",
            "var/lib/rackwright/ca/site-ca.pem",
            "var/lib/rackwright/journal/heads",
            "var/lib/rackwright/recovery.key",
            "var/lib/rackwright/state.db",
        ]
    );
    assert_eq!(found["var/lib/rackwright/ca/site-ca.pem"], content.parts["ca/site-ca.pem"]);
    assert_eq!(Kit::stored(&paths.state.join("recovery.key")), Ok(Some(kit())));
    let store = Store::open(&paths.state_db).unwrap();
    assert_eq!(store.fleet().unwrap().epoch.0, epoch);
    assert_eq!(store.head().seq, content.manifest.journal + 1, "that it was restored is written down");
    drop(store);
    // The same again: a later reign, whatever the clock says.
    let refused = restore(&paths, &content, &kit(), None, &Peer::own()).unwrap_err();
    assert!(matches!(&refused, RestoreError::Unconfirmed { site, .. } if site == "lab"), "{refused}");
    assert!(restore(&paths, &content, &kit(), Some("elsewhere"), &Peer::own()).is_err());
    let _lock = Lock::take(&paths.state).unwrap();
    let refused = restore(&paths, &content, &kit(), Some("lab"), &Peer::own()).unwrap_err();
    assert!(matches!(refused, RestoreError::Lock(_)), "{refused}");
}

#[test]
fn wherever_it_is_cut_off_it_is_the_old_controller_or_the_new_one() {
    let (from, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (new, old) = (content(from.path()), content(other.path()));
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(Some(root.path()));
    restore(&paths, &old, &kit(), None, &Peer::own()).unwrap();
    let before = files(root.path());
    // Before the decision: half of it is there, and the old state is what counts.
    let part = paths.state.join(PART);
    super::make_folder(&part).unwrap();
    write(&paths, &new, &kit(), &part, &Peer::own()).unwrap();
    assert!(!complete(&paths).unwrap());
    let mut now = files(root.path());
    now.retain(|name, _| !name.contains(PART));
    assert_eq!(now, before);
    // After it: any number of files was moved, and the log of the old data base is still there.
    let places: Vec<(String, std::path::PathBuf)> =
        serde_json::from_slice(&fs::read(part.join("places.json")).unwrap()).unwrap();
    let whole = files(&part);
    for moved in 0..=places.len() {
        super::clear(&paths.state.join(DECIDED)).unwrap();
        for (name, content) in &before {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let decided = paths.state.join(DECIDED);
        fs::create_dir_all(&decided).unwrap();
        whole.iter().for_each(|(name, content)| fs::write(decided.join(name), content).unwrap());
        if moved == 0 {
            fs::write(paths.state_db.with_extension("db-wal"), "of the old one").unwrap();
        }
        let keys = root.path().join("etc/rackwright/image-keys");
        let gone = [paths.ca.join("old.key"), keys.join("old.pub")];
        gone.iter().for_each(|path| fs::write(path, "of the old one").unwrap());
        fs::write(keys.join("notes.txt"), "not a key").unwrap();
        for (from, to) in places.iter().take(moved) {
            super::take(&paths, &decided.join(from), to).unwrap();
        }
        assert!(complete(&paths).unwrap(), "{moved}");
        assert!(
            !paths.state_db.with_extension("db-wal").exists(),
            "the old one's log is not read into the new one"
        );
        assert!(gone.iter().all(|path| !path.exists()), "an old key is still trusted after {moved}");
        assert!(keys.join("notes.txt").exists());
        assert!(!complete(&paths).unwrap(), "once");
        for (name, content) in &new.parts {
            let found = places.iter().zip(new.parts.keys()).find(|(_, part)| *part == name);
            if name != "state.db" && found.is_some() {
                let place =
                    super::place(&paths, &crate::config::parse(crate::backup::tests::CONFIG).unwrap(), name);
                assert_eq!(&fs::read(&place).unwrap(), content, "{name} after {moved}");
            }
        }
        let store = Store::open(&paths.state_db).unwrap();
        assert_eq!(store.head().seq, new.manifest.journal + 1);
        assert!(!paths.state.join(DECIDED).exists());
    }
}

#[test]
fn the_daemon_that_is_not_root_can_read_what_root_has_restored() {
    let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (content, paths) = (content(from.path()), Paths::under(Some(root.path())));
    let is_root = rustix::process::geteuid().is_root();
    fs::create_dir_all(&paths.state).unwrap();
    if is_root {
        std::os::unix::fs::chown(&paths.state, Some(12345), Some(12346)).unwrap();
    }
    restore(&paths, &content, &kit(), None, &Peer::own()).unwrap();
    let keys = root.path().join("etc/rackwright/image-keys");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (path, wanted) in [
        (paths.config.clone(), 0o640),
        (root.path().join("etc/rackwright"), 0o755),
        (keys.clone(), 0o755),
        (keys.join("build.pub"), 0o644),
        (paths.ca.clone(), 0o700),
        (paths.ca.join("journal.key"), 0o600),
        (paths.state_db.clone(), 0o600),
    ] {
        assert_eq!(mode(&path), wanted, "{}", path.display());
    }
    if is_root {
        let owner = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        assert_eq!((owner(&paths.config), owner(&keys)), ((0, 12346), (0, 0)));
        for path in [&paths.ca, &paths.ca.join("journal.key"), &paths.state_db, &paths.state.join("lock")] {
            assert_eq!(owner(path), (12345, 12346), "{}", path.display());
        }
        // What another user has written is no list for root to follow, nor root's for the daemon.
        let decided = paths.state.join(DECIDED);
        fs::create_dir(&decided).unwrap();
        std::os::unix::fs::chown(&decided, Some(12345), None).unwrap();
        let refused = complete(&paths).unwrap_err();
        assert!(matches!(refused, RestoreError::Unfinished { uid: 12345, .. }), "{refused}");
    }
    let (one, other) = (root.path().join("one"), root.path().join("other"));
    fs::write(&one, "x").unwrap();
    fs::set_permissions(&one, fs::Permissions::from_mode(0o640)).unwrap();
    super::copy(&one, &other).unwrap();
    assert!(mode(&other) == 0o640 && !one.exists(), "to another file system it has the same mode");
}

#[test]
fn what_was_open_with_power_in_the_backup_is_not_carried_out() {
    let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sources = site(from.path(), 3);
    let request = Request {
        id: JobId([1; 8]),
        wish: Wish::Cycle,
        way: Way::Controller,
        asked: Time(1),
        begun: None,
        ended: None,
        step: Step::Ask { act: Act::Cycle, from: Time(1) },
        tries: 0,
        trouble: None,
        before: None,
        forced: false,
    };
    let power = Power { requests: vec![request], ..Power::new(NodeId([1; 16])) };
    let changes = vec![Change::Power(Box::new(power))];
    Store::open(&sources.database).unwrap().save(&Batch { changes, ..Batch::default() }).unwrap();
    let mut out = Vec::new();
    make(&sources, &kit(), &mut out, Time(1_800_000_000_000)).unwrap();
    let content = Content::open(out.as_slice(), 1 << 30, &kit()).unwrap();
    let paths = Paths::under(Some(root.path()));
    restore(&paths, &content, &kit(), None, &Peer::own()).unwrap();
    let powers = Store::open(&paths.state_db).unwrap().fleet().unwrap().powers;
    assert!(powers.len() == 1 && powers.values().all(|power| power.current().is_none()), "{powers:?}");
}

#[test]
fn no_rollout_and_no_check_of_the_backup_goes_on() {
    let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sources = site(from.path(), 3);
    let rollout = |number: u8, state: RolloutState| {
        Change::Rollout(Box::new(Rollout {
            id: RolloutId(format!("r-{number}")),
            group: Group::Role { role: "compute".to_owned() },
            steps: Vec::new(),
            canaries: 0,
            skips: Vec::new(),
            max_unavailable: 1,
            stop_after: 1,
            force: false,
            made: Time(1),
            ended: None,
            forgiven: BTreeSet::new(),
            state,
        }))
    };
    let changes = vec![
        rollout(1, RolloutState::Running),
        rollout(2, RolloutState::Open),
        rollout(3, RolloutState::Done),
        Change::Preflight(Box::new(Preflight {
            id: CheckId(1),
            begun: Time(1),
            ended: None,
            terms: Terms { stream_seconds: 1, beside_jobs: false },
            state: PreflightState::Running,
            members: Vec::new(),
            absent: Vec::new(),
            networks: Vec::new(),
            pairs: Vec::new(),
            findings: Vec::new(),
        })),
    ];
    Store::open(&sources.database).unwrap().save(&Batch { changes, ..Batch::default() }).unwrap();
    let mut out = Vec::new();
    make(&sources, &kit(), &mut out, Time(1_800_000_000_000)).unwrap();
    let content = Content::open(out.as_slice(), 1 << 30, &kit()).unwrap();
    let paths = Paths::under(Some(root.path()));
    restore(&paths, &content, &kit(), None, &Peer::own()).unwrap();
    let fleet = Store::open(&paths.state_db).unwrap().fleet().unwrap();
    assert_eq!(fleet.preflight.unwrap().state, PreflightState::Stopped);
    let words = fleet.rollouts.values().map(|rollout| rollout.state.word()).collect::<Vec<_>>();
    assert_eq!(words, ["stopped", "withdrawn", "done"]);
}

/// What was rotated after the backup is forgotten with everything else that came after it.
#[test]
fn the_passwords_of_the_cloud_are_those_of_the_backup() {
    let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sources = site(from.path(), 3);
    let passwords = |number: u64, salt: [u8; 32]| {
        let wanted = Edition { number, salt: Some(Salt::new(salt)) };
        Passwords { wanted, before: None, since: Time(number) }
    };
    let save = |passwords: Passwords| {
        let changes = vec![Change::Passwords(Box::new(passwords))];
        Store::open(&sources.database).unwrap().save(&Batch { changes, ..Batch::default() }).unwrap();
    };
    save(passwords(1, [1; 32]));
    let mut out = Vec::new();
    make(&sources, &kit(), &mut out, Time(1_800_000_000_000)).unwrap();
    save(passwords(2, [2; 32]));
    let content = Content::open(out.as_slice(), 1 << 30, &kit()).unwrap();
    let paths = Paths::under(Some(root.path()));
    restore(&paths, &content, &kit(), None, &Peer::own()).unwrap();
    let kept = |path: &Path| Store::open(path).unwrap().fleet().unwrap().passwords;
    assert_eq!(kept(&paths.state_db), Some(passwords(1, [1; 32])));
    assert_eq!(kept(&sources.database), Some(passwords(2, [2; 32])));
}
