//! Journals in data bases of their own, bent in every way that one record can be.

use std::path::Path;

use data_encoding::HEXLOWER;
use fleet::Time;
use fleet::journal::{Actor, Entry};
use protocol::NodeId;
use ring::signature::Ed25519KeyPair;
use rusqlite::{Connection, params};
use serde_json::json;

use super::chain::{Head, Record, canonical, hexadecimal};
use super::check::Chain;
use super::{FaultKind, Report, SignedHead, check, head, records};
use crate::store::{Batch, Log, Store};

const RECORDS: u64 = 200;

fn entry(number: u64) -> Entry {
    let actor = match number % 3 {
        0 => Actor::Operator { uid: 1000, user: Some("ann".to_owned()), login: None, login_user: None },
        1 => Actor::Agent { node: NodeId([7; 16]) },
        _ => Actor::Controller,
    };
    let node = number.is_multiple_of(2).then_some(NodeId([7; 16]));
    Entry {
        time: Time(1_800_000_000_000 + number),
        actor,
        kind: "job",
        node,
        body: json!({"number": number}),
    }
}

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

/// A journal with so many records, and a head signed after every tenth.
fn journal(folder: &Path, count: u64) -> (Connection, Vec<SignedHead>) {
    let path = folder.join("state.db");
    let mut store = Store::open(&path).unwrap();
    let mut heads = Vec::new();
    for number in 1..=count {
        store.save(&Batch { journal: vec![entry(number)], ..Batch::default() }).unwrap();
        if number.is_multiple_of(10) {
            heads.push(SignedHead::sign(&key(), &store.head(), Time(number)));
        }
    }
    drop(store);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TRIGGER journal_stays; DROP TRIGGER journal_as_written").unwrap();
    (connection, heads)
}

fn look(connection: &Connection, heads: &[SignedHead]) -> Report {
    check(connection, heads, &head::public(&key())).unwrap()
}

/// The first fault after this was done; it is undone again.
fn after(
    connection: &Connection,
    heads: &[SignedHead],
    bend: impl FnOnce(&Connection),
) -> Option<(u64, FaultKind)> {
    connection.execute_batch("SAVEPOINT bent").unwrap();
    bend(connection);
    let report = look(connection, heads);
    connection.execute_batch("ROLLBACK TO bent; RELEASE bent").unwrap();
    assert_eq!(report.sound, report.fault.is_none());
    report.fault.map(|fault| (fault.seq, fault.kind))
}

#[test]
fn every_change_of_one_record_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, heads) = journal(folder.path(), RECORDS);
    let whole = look(&connection, &heads);
    assert!(whole.sound && whole.records == RECORDS && whole.signed == RECORDS, "{whole:?}");
    let edits = [
        "time = time + 1",
        "actor = actor || ' '",
        "kind = 'node'",
        "node = node || '0'",
        "body = replace(body, 'number', 'Number')",
        "previous = CAST('another hash' AS BLOB)",
        "hash = zeroblob(32)",
        "hash = x''",
        // What one text loses another gains: lengths are hashed too.
        "kind = kind || substr(actor, 1, 1), actor = substr(actor, 2)",
    ];
    for seq in 1..=RECORDS {
        // Every edit on every tenth; on the others two of them in turn, for the sake of time.
        let all = seq.is_multiple_of(10);
        let turn = usize::try_from(seq).unwrap();
        let chosen = edits.iter().enumerate().filter(|(at, _)| all || (at + turn) % edits.len() < 2);
        for (_, edit) in chosen {
            let bend = |connection: &Connection| {
                let sql = format!("UPDATE journal SET {edit} WHERE seq = ?1");
                assert_eq!(connection.execute(&sql, [seq]).unwrap(), 1);
            };
            assert_eq!(after(&connection, &heads, bend), Some((seq, FaultKind::Changed)), "{seq} {edit}");
        }
    }
    assert!(look(&connection, &heads).sound, "all was undone");
}

#[test]
fn every_record_that_is_taken_out_put_in_or_moved_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, heads) = journal(folder.path(), RECORDS);
    for seq in 1..=RECORDS {
        let kind = if seq == RECORDS { FaultKind::Cut } else { FaultKind::Missing };
        let delete = |connection: &Connection| {
            connection.execute("DELETE FROM journal WHERE seq = ?1", [seq]).unwrap();
        };
        assert_eq!(after(&connection, &heads, delete), Some((seq, kind)), "without {seq}");
        // Deleted, and all that come after it moved up.
        let close = |connection: &Connection| {
            connection.execute("DELETE FROM journal WHERE seq = ?1", [seq]).unwrap();
            connection.execute("UPDATE journal SET seq = -seq WHERE seq > ?1", [seq]).unwrap();
            connection.execute("UPDATE journal SET seq = -seq - 1 WHERE seq < 0", []).unwrap();
        };
        let kind = if seq == RECORDS { FaultKind::Cut } else { FaultKind::Changed };
        assert_eq!(after(&connection, &heads, close), Some((seq, kind)), "closed over {seq}");
        // Put in: a copy of another one, with all later ones moved down.
        let insert = |connection: &Connection| {
            connection.execute("UPDATE journal SET seq = -seq WHERE seq >= ?1", [seq]).unwrap();
            connection.execute("UPDATE journal SET seq = -seq + 1 WHERE seq < 0", []).unwrap();
            let from = if seq == 1 { 3 } else { seq - 1 };
            let copy =
                "INSERT INTO journal SELECT ?1, time, actor, kind, node, body, previous, hash FROM journal
                        WHERE seq = ?2";
            connection.execute(copy, [seq, from]).unwrap();
        };
        assert_eq!(after(&connection, &heads, insert), Some((seq, FaultKind::Changed)), "put in at {seq}");
        for other in
            [seq + 1, (seq + 97).min(RECORDS)].into_iter().filter(|other| (seq + 1..=RECORDS).contains(other))
        {
            let swap = |connection: &Connection| {
                for (from, to) in [(seq, 0), (other, seq), (0, other)] {
                    connection.execute("UPDATE journal SET seq = ?2 WHERE seq = ?1", [from, to]).unwrap();
                }
            };
            let found = after(&connection, &heads, swap);
            assert_eq!(found, Some((seq, FaultKind::Changed)), "{seq} and {other} swapped");
        }
    }
}

#[test]
fn a_chain_that_was_made_anew_or_cut_off_is_found_by_its_heads() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, heads) = journal(folder.path(), RECORDS);
    for keep in 0..RECORDS {
        let cut = |connection: &Connection| {
            connection.execute("DELETE FROM journal WHERE seq > ?1", [keep]).unwrap();
        };
        assert_eq!(after(&connection, &heads, cut), Some((keep + 1, FaultKind::Cut)), "cut after {keep}");
        assert_eq!(after(&connection, &[], cut), None, "a chain alone can't show it");
    }
    for seq in (1..=RECORDS).step_by(3) {
        let signed = seq.next_multiple_of(10);
        let anew = |connection: &Connection| rewrite(connection, seq);
        assert_eq!(after(&connection, &heads, anew), Some((signed, FaultKind::Rewritten)), "anew from {seq}");
        assert_eq!(after(&connection, &[], anew), None);
    }
    let mut forged = heads.clone();
    let other = Ed25519KeyPair::from_seed_unchecked(&[6; 32]).unwrap();
    forged[3] = SignedHead::sign(&other, &Head { seq: 40, hash: [1; 32] }, Time(40));
    assert_eq!(after(&connection, &forged, |_| ()), Some((40, FaultKind::Forged)));
    let mut moved = heads;
    moved[3].seq = 41;
    assert_eq!(after(&connection, &moved, |_| ()), Some((41, FaultKind::Forged)));
}

/// Changes a record, and makes the chain anew from there.
fn rewrite(connection: &Connection, from: u64) {
    let mut chain = Head::default();
    for mut record in records(connection, 0, 10_000, None).unwrap() {
        if record.seq == from {
            record.body = "{}".to_owned();
        }
        record.previous = chain.hash;
        record.hash = record.computed();
        chain = record.head();
        let sql = "UPDATE journal SET body = ?2, previous = ?3, hash = ?4 WHERE seq = ?1";
        let Record { seq, body, previous, hash, .. } = record;
        connection.execute(sql, params![seq, body, previous, hash]).unwrap();
    }
}

#[test]
fn nobody_changes_or_deletes_a_record_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).unwrap();
    store.save(&Batch { journal: vec![entry(1)], ..Batch::default() }).unwrap();
    let other = Connection::open(&path).unwrap();
    for sql in ["DELETE FROM journal", "UPDATE journal SET kind = 'x'"] {
        assert!(other.execute(sql, []).unwrap_err().to_string().contains("only appended to"));
    }
}

#[test]
fn what_was_not_saved_has_no_place_in_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).unwrap();
    store.save(&Batch { journal: vec![entry(1)], ..Batch::default() }).unwrap();
    let busy = Connection::open(&path).unwrap();
    busy.execute_batch(
        "CREATE TRIGGER t BEFORE INSERT ON journal WHEN NEW.seq = 3 BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .unwrap();
    store.save(&Batch { journal: vec![entry(2), entry(3)], ..Batch::default() }).unwrap_err();
    assert_eq!(store.head().seq, 1);
    busy.execute_batch("DROP TRIGGER t").unwrap();
    store.save(&Batch { journal: vec![entry(4)], ..Batch::default() }).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.head().seq, 2, "it goes on where it ended");
    let found = look(&Log::new(&path).open().unwrap(), &[]);
    assert!(found.sound && found.records == 2, "{found:?}");
}

/// The vector of `appliance/docs/journal.md`, made by a program of ten lines in another language.
#[test]
fn the_format_is_the_one_that_is_written_down() {
    let actor = Actor::Operator { uid: 1000, user: Some("ann".to_owned()), login: None, login_user: None };
    let body = json!({"route": "/v1/nodes/n1/approve", "arguments": {"roles": ["control"], "name": "n1"}});
    let node = Some(NodeId([0xab; 16]));
    let first = Entry { time: Time(1_800_000_000_000), actor, kind: "command", node, body };
    let record = Record::after(&Head::default(), &first);
    assert_eq!(record.actor, r#"{"is":"operator","uid":1000,"user":"ann"}"#);
    assert_eq!(
        record.body,
        r#"{"arguments":{"name":"n1","roles":["control"]},"route":"/v1/nodes/n1/approve"}"#
    );
    assert_eq!(hexadecimal(&record.hash), "360315dbe6d9a3f559525e287c26230171f2568bf9eb8511a67fa26915cfdd86");
    let second = Entry {
        time: Time(1_800_000_000_001),
        actor: Actor::Controller,
        kind: "node",
        node: None,
        body: json!({"becomes": "ärger\n"}),
    };
    let record = Record::after(&record.head(), &second);
    assert_eq!(hexadecimal(&record.hash), "cbd3684663af5854cd948ac6fe96fedb56b5d489c4551bf3efe9c2000eff71fe");
    let seed = (0..32).collect::<Vec<u8>>();
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    assert_eq!(
        hexadecimal(&head::public(&key)),
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    );
    let signed = SignedHead::sign(&key, &record.head(), Time(1_800_000_001_000));
    assert_eq!(
        signed.signature,
        "0ede5d303165c7d1d368f6830028ee55b1cc71e9d4abe7acaada82e246dde7447eb1282047162a96f25d60588292ecda1e9ed449f88c1951681aefaf4dca6a01"
    );
    assert_eq!(signed.verified(&head::public(&key)), Some(record.head()));
}

#[test]
fn canonical_json_has_one_spelling() {
    let value = json!({"b": [1, {"z": null, "a": true}], "a": "x\"y", "Ä": 1.5});
    assert_eq!(canonical(&value), r#"{"a":"x\"y","b":[1,{"a":true,"z":null}],"Ä":1.5}"#);
    let read: serde_json::Value = serde_json::from_str(&canonical(&value)).unwrap();
    assert_eq!(read, value);
}

#[test]
fn a_body_that_is_too_long_is_its_hash() {
    let long = "x".repeat(20_000);
    let record = Record::after(&Head::default(), &Entry { body: json!({"why": long}), ..entry(1) });
    assert!(record.body.starts_with(r#"{"bytes":200"#) && record.body.contains("sha256"), "{}", record.body);
    Chain::default().follow(&record).unwrap();
}

#[test]
fn lines_that_a_power_cut_left_half_written_do_not_count_and_others_must_be_heads() {
    let good = SignedHead::sign(&key(), &Head { seq: 1, hash: [1; 32] }, Time(1));
    let line = good.line();
    assert_eq!(head::parse(&line).unwrap(), std::slice::from_ref(&good));
    for cut in 0..line.len() {
        assert_eq!(head::parse(&line[..cut]), Ok(Vec::new()), "cut at {cut}");
        assert_eq!(head::parse(&format!("{line}{}", &line[..cut])).unwrap(), std::slice::from_ref(&good));
    }
    for (text, bad) in
        [("\n", 1), ("{}\n", 1), (&format!("{line}x\n"), 2), ("[1]\n", 1), ("{\"seq\":-1}\n", 1)]
    {
        assert_eq!(head::parse(text), Err(bad), "{text:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = super::Place::beside(&folder.path().join("state.db"));
    std::fs::create_dir(folder.path().join("journal")).unwrap();
    // No text at all is a bent line too, and the rack goes on.
    std::fs::write(&place.heads, [line.as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
    assert!(matches!(head::read(&place.heads), Err(head::HeadError::Line { line: 2, .. })));
    drop(super::Heads::start(&place, Head::default()).unwrap());
    std::fs::write(&place.heads, format!("bent\n{}", &line[..40])).unwrap();
    drop(super::Heads::start(&place, Head { seq: 1, hash: [1; 32] }).unwrap());
    let found = std::fs::read_to_string(&place.heads).unwrap();
    assert!(found.starts_with("bent\n{\"seq\":1,") && found.lines().count() == 2, "{found}");
    let wild = SignedHead { hash: HEXLOWER.encode(&[1; 31]), ..good.clone() };
    assert_eq!(wild.verified(&head::public(&key())), None);
    assert_eq!(SignedHead { signature: String::new(), ..good }.verified(&head::public(&key())), None);
}
