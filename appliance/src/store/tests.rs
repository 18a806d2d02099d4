//! A data base in a folder of its own.

use fleet::clock::{Doubt, Look, Why};
use fleet::cloud::objects::Objects;
use fleet::event::Fact;
use fleet::{Change, Time};
use protocol::NodeId;

use super::{Batch, Log, Retention, Store};

fn batch(seqs: std::ops::RangeInclusive<u64>, node: Option<NodeId>) -> Batch {
    let fact = || Fact { node, mac: None, kind: "address".to_owned(), text: "offer".to_owned() };
    Batch { facts: seqs.map(|seq| (seq, Time(seq), fact())).collect(), ..Batch::default() }
}

#[test]
fn the_log_keeps_its_newest_lines_and_its_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).unwrap();
    store.retention = Retention { lines: 50, strangers: 10, every: 10 };
    let node = NodeId([7; 16]);
    store.save(&batch(1..=30, Some(node))).unwrap();
    // A flood of strangers pushes its own lines out, and no others.
    for first in (31..=1000).step_by(10) {
        store.save(&batch(first..=first + 9, None)).unwrap();
        if first == 31 {
            assert_eq!(Log::new(&path).lines(0, 1000, Some((node, vec![]))).unwrap().len(), 30);
        }
    }
    store.save(&batch(1001..=1040, Some(node))).unwrap();
    let seqs = |after| {
        let lines = Log::new(&path).lines(after, 1000, None).unwrap();
        lines.iter().map(|line| line.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0), (991..=1040).collect::<Vec<_>>());
    assert_eq!(seqs(1038), [1039, 1040]);
    assert!(seqs(0).is_sorted());
    drop(store);
    assert_eq!(Store::open(&path).unwrap().last_seq().unwrap(), 1040);
}

#[test]
fn every_commit_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let setting = |name: &str| {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        store.connection.query_row(&format!("PRAGMA {name}"), [], read).unwrap()
    };
    // FULL: the log is synced at every commit (sqlite.org/pragma.html#pragma_synchronous).
    assert_eq!(setting("synchronous"), rusqlite::types::Value::Integer(2));
    assert_eq!(setting("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
}

#[test]
fn the_write_ahead_log_is_moved_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).unwrap();
    let mut checkpoints = store.checkpoints().unwrap();
    let before = path.metadata().unwrap().len();
    store.save(&batch(1..=999, None)).unwrap();
    checkpoints.saved(999);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(path.metadata().unwrap().len(), before, "not for so few");
    store.save(&batch(1000..=1100, None)).unwrap();
    checkpoints.saved(101);
    while path.metadata().unwrap().len() == before {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn what_is_no_data_base_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "not a data base, but long enough to look like a file of one ".repeat(99)).unwrap();
    let refused = crate::chain(&Store::open(&path).unwrap_err());
    assert!(refused.contains("state.db") && refused.contains("not a database"), "{refused}");
}

#[test]
fn a_doubt_of_the_clock_outlives_the_daemon_and_so_does_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let kept = || Store::open(&path).unwrap().fleet().unwrap().clock;
    assert_eq!(kept(), None, "nothing was ever said of it");
    let at = Look { wall: Time(9), up_ms: 700_000, boot: "b".to_owned() };
    let doubt = Doubt { why: Why::Jumped, believed: Time(5), at };
    for doubt in [Some(doubt), None] {
        let change = Change::Clock(doubt.clone().map(Box::new));
        let batch = Batch { changes: vec![change], ..Batch::default() };
        Store::open(&path).unwrap().save(&batch).unwrap();
        assert_eq!(kept(), doubt);
    }
}

/// With others, the devices of the rings would have other numbers after a restart.
#[test]
fn who_keeps_objects_outlives_the_daemon_in_the_order_of_coming() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let kept = || Store::open(&path).unwrap().fleet().unwrap().objects;
    assert_eq!(kept(), None, "nobody ever did");
    let mut nodes = Vec::new();
    for id in [9, 2, 5] {
        nodes.push(NodeId([id; 16]));
        let objects = Objects { nodes: nodes.clone() };
        let batch = Batch { changes: vec![Change::Objects(Box::new(objects.clone()))], ..Batch::default() };
        Store::open(&path).unwrap().save(&batch).unwrap();
        assert_eq!(kept(), Some(objects));
    }
}
