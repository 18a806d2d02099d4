//! Backups of small sites, and files that are none.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet::Time;
use fleet::journal::{Actor, Entry};
use rusqlite::Connection;

use super::parts::{DATABASE, HEADS, MANIFEST, is_name};
use super::seal::{HEAD, Opener, PIECE, SealError, Sealer, TAG, VERSION};
use super::{BackupError, Content, Copies, Kit, KitError, Sources, copy, kit, make, verify};
use crate::ca::{SiteCa, Start};
use crate::config::Site;
use crate::journal::chain::sha256;
use crate::journal::{Heads, Place};
use crate::store::{Batch, Store};
use crate::writer::AddressWish;

pub(crate) const CONFIG: &str = "site = \"lab\"\n[[provision]]\ninterface = \"rw0\"\naddress = \"10.77.0.1/24\"\n\
    pool = \"10.77.0.100-10.77.0.199\"\ndhcp = \"off\"\n";

fn kit() -> Kit {
    Kit::of([9; 32])
}

/// A site with a CA and a journal of so many records, which are signed.
pub(crate) fn site(folder: &Path, records: u64) -> Sources {
    let sources = around(folder);
    let mut store = Store::open(&sources.database).unwrap();
    for number in 1..=records {
        let body = serde_json::json!({"number": number});
        let entry = Entry { time: Time(number), actor: Actor::Controller, kind: "job", node: None, body };
        store.save(&Batch { journal: vec![entry], ..Batch::default() }).unwrap();
    }
    drop(Heads::start(&Place::beside(&sources.database), store.head()).unwrap());
    sources
}

/// All of a site but its data base.
fn around(folder: &Path) -> Sources {
    let sources = Sources {
        site: "lab".to_owned(),
        state: folder.to_owned(),
        database: folder.join("state.db"),
        ca: folder.join("ca"),
        heads: folder.join("journal/heads"),
        config: folder.join("rackwright.toml"),
        image_keys: folder.join("keys"),
    };
    let name = Site::parse("lab").unwrap();
    SiteCa::open(&sources.ca, &name, Start::First, SystemTime::now()).unwrap();
    crate::ca::image_key(&sources.ca).unwrap();
    std::fs::write(&sources.config, CONFIG).unwrap();
    std::fs::create_dir(&sources.image_keys).unwrap();
    std::fs::write(sources.image_keys.join("build.pub"), "ab".repeat(32)).unwrap();
    std::fs::write(sources.image_keys.join("notes.txt"), "not a key").unwrap();
    sources
}

fn made(sources: &Sources) -> Vec<u8> {
    let mut out = Vec::new();
    make(sources, &kit(), &mut out, Time(1_800_000_000_000)).unwrap();
    out
}

fn open(bytes: &[u8]) -> Result<Content, BackupError> {
    Content::open(bytes, u64::try_from(bytes.len()).unwrap(), &kit())
}

fn refused(bytes: &[u8]) -> SealError {
    // What is cut off was longer once.
    match Content::open(bytes, 1 << 30, &kit()) {
        Err(BackupError::Seal(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("taken for a backup"),
    }
}

#[test]
fn a_backup_has_everything_and_is_found_to_be_good() {
    let folder = tempfile::tempdir().unwrap();
    let sources = site(folder.path(), 25);
    let path = folder.path().join("lab.rwbackup");
    std::fs::write(&path, made(&sources)).unwrap();
    let (content, verified) = verify(&path, &kit()).unwrap();
    let names = content.parts.keys().map(String::as_str).collect::<Vec<_>>();
    let issuers = names.iter().find(|name| name.starts_with("ca/issuers-")).copied().unwrap();
    assert_eq!(
        names,
        [
            "ca/images.key",
            issuers,
            "ca/journal.key",
            "ca/site-ca.pem",
            HEADS,
            "image-keys/build.pub",
            "rackwright.toml",
            DATABASE
        ]
    );
    for name in ["images.key", "journal.key", "site-ca.pem"] {
        assert_eq!(content.parts[&format!("ca/{name}")], std::fs::read(sources.ca.join(name)).unwrap());
    }
    assert_eq!((verified.check.records, verified.check.signed, verified.manifest.journal), (25, 25, 25));
    assert_eq!((verified.manifest.site.as_str(), verified.manifest.epoch), ("lab", 1));
    let left = std::fs::read_dir(folder.path()).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(".copy-"));
    assert_eq!(left.count(), 0, "the copy of the data base is gone");
    // Sealed: nothing that is secret, and nothing that is not, can be read in it.
    let bytes = std::fs::read(&path).unwrap();
    let secret = std::fs::read(sources.ca.join("journal.key")).unwrap();
    for needle in [&secret[..16], b"PRIVATE KEY", b"SQLite format", b"rackwright.toml"] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
    assert_ne!(made(&sources)[..], bytes[..], "every file has a key of its own");
}

#[test]
fn what_is_not_as_it_was_is_refused_at_every_byte_and_at_every_length() {
    let small = sealed(&[(MANIFEST, b"{}"), ("heads", b"some")], &[0]);
    assert!(matches!(open(&small), Err(BackupError::Content(_))), "it is opened, and is no manifest");
    for at in 0..small.len() {
        for bit in 0..8 {
            let mut bent = small.clone();
            bent[at] ^= 1 << bit;
            let why = refused(&bent);
            let expected = match at {
                0..8 => SealError::Magic,
                8..HEAD => SealError::Head,
                _ => SealError::Damaged(HEAD as u64),
            };
            assert_eq!(why, expected, "byte {at}, bit {bit}");
        }
        let cut = refused(&small[..at]);
        let expected = match at {
            0..8 => SealError::Magic,
            8..HEAD => SealError::Head,
            _ => SealError::Damaged(HEAD as u64),
        };
        assert_eq!(cut, expected, "cut at {at}");
    }
    let mut longer = small.clone();
    longer.push(0);
    assert_eq!(refused(&longer), SealError::Damaged(HEAD as u64));
}

#[test]
fn pieces_cannot_be_left_out_moved_or_taken_from_another_file() {
    let long = vec![7; 3 * PIECE];
    let file = sealed(&[("heads", &long)], &[0]);
    let other = sealed(&[("heads", &long)], &[0]);
    let sealed_piece = PIECE + TAG;
    let piece = |file: &[u8], number: usize| {
        file[HEAD + number * sealed_piece..HEAD + (number + 1) * sealed_piece].to_vec()
    };
    let (first, second, rest) = (piece(&file, 0), piece(&file, 1), file[HEAD + 2 * sealed_piece..].to_vec());
    let head = &file[..HEAD];
    let at = |number: usize| SealError::Damaged((HEAD + number * sealed_piece) as u64);
    assert_eq!(refused(&[head, &second, &first, &rest].concat()), at(0), "exchanged");
    assert_eq!(refused(&[head, &first, &rest].concat()), at(1), "left out");
    assert_eq!(refused(&[head, &first, &piece(&other, 1), &rest].concat()), at(1), "another file's");
    assert_eq!(refused(&[head, &first, &first, &rest].concat()), at(1), "twice");
    assert_eq!(refused(&[head, &first, &second].concat()), at(1), "the end is not there");
    assert_eq!(refused(&[head, &first].concat()), at(0), "nor here");
}

#[test]
fn a_length_of_any_number_of_pieces_comes_back() {
    for bytes in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 5] {
        let text = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>();
        let mut out = Sealer::begin(Vec::new(), &kit()).unwrap();
        out.write_all(&text).unwrap();
        let file = out.end().unwrap();
        let mut opener = Opener::begin(file.as_slice(), &kit()).unwrap();
        assert_eq!(opener.take(bytes).unwrap(), text);
        assert!(opener.is_at_end().unwrap());
        assert!(opener.take(1).is_err(), "there is no more");
    }
}

#[test]
fn another_kit_a_later_version_and_other_files_are_told_apart() {
    let small = sealed(&[("heads", b"some")], &[0]);
    let other = Kit::of([1; 32]);
    let why = Content::open(small.as_slice(), 1000, &other).unwrap_err().to_string();
    assert!(why.contains(&kit().name()) && why.contains(&other.name()), "{why}");
    let mut later = small.clone();
    later[8..10].copy_from_slice(&(VERSION + 1).to_be_bytes());
    let sum = sha256(&later[..64]);
    later[64..72].copy_from_slice(&sum[..8]);
    assert_eq!(refused(&later), SealError::Later(VERSION + 1));
    for file in [b"".as_slice(), b"RWBACKU", b"SQLite format 3\0", &[0; 4096]] {
        assert_eq!(refused(file), SealError::Magic);
    }
}

#[test]
fn what_is_sealed_and_still_no_backup_is_refused() {
    let manifest = manifest();
    let good = sealed(&[(MANIFEST, &manifest), ("heads", b"")], &[0]);
    assert_eq!(open(&good).unwrap().parts.len(), 1);
    let bomb = [&[5], b"heads".as_slice(), &u64::MAX.to_be_bytes()].concat();
    let long = [&[5], b"heads".as_slice(), &(1u64 << 40).to_be_bytes()].concat();
    let spoilt = [&[5], b"heads".as_slice(), &1u64.to_be_bytes(), b"x", &[0; 32], &[0]].concat();
    for (file, part) in [
        (sealed(&[("heads", b"")], &[0]), "no manifest"),
        (sealed(&[(MANIFEST, b"[]")], &[0]), "manifest can't be read"),
        (sealed(&[(MANIFEST, &manifest), ("heads", b""), ("heads", b"")], &[0]), "twice"),
        (sealed(&[(MANIFEST, &manifest)], &[0, 0]), "follows its end"),
        (sealed(&[], &bomb), "longer than the whole file"),
        (sealed(&[], &long), "longer than the whole file"),
        (sealed(&[], &spoilt), "not what it was"),
        (sealed(&[("../etc/passwd", b"")], &[0]), "no name"),
        (sealed(&[("ca/../../x", b"")], &[0]), "no name"),
        (sealed(&[("ca/.ssh", b"")], &[0]), "no name"),
        (sealed(&[("/etc/shadow", b"")], &[0]), "no name"),
        (sealed(&[("ca/", b"")], &[0]), "no name"),
    ] {
        let why = open(&file).unwrap_err().to_string();
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(matches!(open(&sealed(&[(MANIFEST, &manifest)], &[])), Err(BackupError::Seal(_))), "no end");
    for name in ["ca/a/b", "ca/a b", "image-keys/..", "state.db/x", "", "x"] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn what_no_controller_could_start_from_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sources = site(folder.path(), 12);
    let good = open(&made(&sources)).unwrap();
    super::verify::look(&good).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = open(&made(&site(other.path(), 12))).unwrap();
    let bend = |name: &str, content: Option<&[u8]>, part: &str| {
        let mut bent = good.clone();
        match content {
            Some(content) => bent.parts.insert(name.to_owned(), content.to_vec()),
            None => bent.parts.remove(name),
        };
        let why = crate::chain(&super::verify::look(&bent).unwrap_err());
        assert!(why.contains(part), "{name}: {why}");
    };
    bend("ca/site-ca.pem", None, "no ca/site-ca.pem");
    bend("ca/site-ca.pem", Some(b"x"), "site CA can't be used");
    bend(
        "ca/site-ca.pem",
        other.parts.get("ca/site-ca.pem").map(Vec::as_slice),
        "not the one that the manifest names",
    );
    bend(
        "ca/journal.key",
        other.parts.get("ca/journal.key").map(Vec::as_slice),
        "not signed with this controller's key",
    );
    bend("rackwright.toml", Some(b"site = 5"), "the configuration");
    bend("rackwright.toml", Some(CONFIG.replace("lab", "elsewhere").as_bytes()), "another site");
    bend(HEADS, Some(b"{}\n"), "line 1");
    bend(DATABASE, None, "no data base");
    bend(DATABASE, Some(b"not a data base"), "data base");
    for (sql, part) in [
        ("PRAGMA user_version = 99", "later version (schema 99"),
        ("DROP TRIGGER journal_stays; DELETE FROM journal WHERE seq = 5", "record 5 is missing"),
        ("DROP TRIGGER journal_stays; DELETE FROM journal WHERE seq = 12", "cut off"),
        ("DROP TRIGGER journal_as_written; UPDATE journal SET kind = 'x' WHERE seq = 7", "record 7"),
    ] {
        bend(DATABASE, Some(&bent_database(&good.parts[DATABASE], sql)), part);
    }
    // A page of an index that says something else than its table.
    let mut torn = good.parts[DATABASE].clone();
    let middle = torn.len() / 2 / 4096 * 4096;
    torn[middle..middle + 4096].fill(0xa5);
    assert!(
        super::verify::look(&Content {
            parts: [good.parts.clone(), [(DATABASE.to_owned(), torn)].into()].into_iter().flatten().collect(),
            ..good.clone()
        })
        .is_err()
    );
}

fn bent_database(bytes: &[u8], sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, bytes).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    std::fs::read(&path).unwrap()
}

fn manifest() -> Vec<u8> {
    br#"{"made":"","site":"lab","version":"1","epoch":1,"schema":1,"ca":"","journal":0,"journalHash":"","nodes":0,
        "images":[]}"#
        .to_vec()
}

/// A sealed file with these parts and then these bytes.
fn sealed(parts: &[(&str, &[u8])], then: &[u8]) -> Vec<u8> {
    let mut out = Sealer::begin(Vec::new(), &kit()).unwrap();
    for (name, content) in parts {
        super::parts::put(&mut out, name, content).unwrap();
    }
    out.write_all(then).unwrap();
    out.end().unwrap()
}

#[test]
fn a_kit_is_read_as_it_is_printed_typed_or_shown_on_its_page() {
    for secret in [[0; 32], [255; 32], [0x5a; 32], std::array::from_fn(|at| u8::try_from(at * 7).unwrap())] {
        let kit = Kit::of(secret);
        let page = kit.page("a-site-with-quite-a-long-name-of-forty-ch", "2027-01-15T08:00:00.000Z");
        assert!(page.lines().count() <= 24 && page.lines().all(|line| line.chars().count() <= 80), "{page}");
        let typed = kit.groups().join("-");
        assert_eq!(kit.groups().len(), 13);
        for text in [page, typed.clone(), typed.to_lowercase(), typed.replace('0', "O").replace('1', "l")] {
            assert_eq!(Kit::parse(&text).as_ref(), Ok(&kit), "{text}");
        }
    }
    assert_eq!(Kit::parse(""), Err(KitError::Length { found: 0 }));
    assert_eq!(Kit::parse(&"0".repeat(64)), Err(KitError::Length { found: 64 }));
    assert_eq!(Kit::parse(&"U".repeat(65)), Err(KitError::Character { found: 'U' }));
    assert!(!format!("{:?}", kit()).contains("0909"), "the secret is never shown");
}

#[test]
fn every_slip_of_one_character_and_every_exchange_names_its_group() {
    let kit = Kit::of(std::array::from_fn(|at| u8::try_from(at * 11 % 256).unwrap()));
    let groups = kit.groups();
    let text = groups.concat().chars().collect::<Vec<_>>();
    let parse = |text: &[char]| Kit::parse(&text.iter().collect::<String>());
    for at in 0..text.len() {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().filter(|other| *other != text[at]) {
            let mut bent = text.clone();
            bent[at] = other;
            assert!(
                matches!(parse(&bent), Err(KitError::Group { number, .. }) if number == at / 5 + 1),
                "{at} {other}"
            );
        }
        for with in at + 1..text.len() {
            let mut bent = text.clone();
            bent.swap(at, with);
            assert!(bent == text || parse(&bent).is_err(), "{at} and {with} exchanged");
        }
    }
    for one in 0..groups.len() {
        for other in one + 1..groups.len() {
            let mut bent = groups.clone();
            bent.swap(one, other);
            assert!(Kit::parse(&bent.join(" ")).is_err(), "groups {one} and {other} exchanged");
        }
    }
}

#[test]
fn a_stored_kit_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(kit::FILE);
    assert_eq!(Kit::stored(&path), Ok(None));
    kit().store(&path).unwrap();
    assert_eq!(Kit::stored(&path), Ok(Some(kit())));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "ab").unwrap();
    assert!(matches!(Kit::stored(&path), Err(KitError::Damaged(_))));
}

#[test]
fn any_bytes_are_no_backup() {
    let mut random = fleet::entropy::Entropy::new(&[3; 32]);
    let good = sealed(&[], &[0])[..HEAD].to_vec();
    for _ in 0..3000 {
        let [high, low] = random.draw::<2>();
        let mut bytes = random.draw::<400>().to_vec();
        bytes.truncate(usize::from(u16::from_be_bytes([high & 1, low])).min(400));
        assert!(open(&bytes).is_err());
        // The same behind a good head.
        let file = [good.as_slice(), &bytes].concat();
        assert!(Content::open(Cursor::new(&file), 1000, &kit()).is_err());
    }
}

#[tokio::test]
async fn soon_after_every_change_there_is_a_copy_and_trouble_with_it_is_told_and_stops_nothing() {
    let state = crate::writer::tests::state();
    let sources = around(state.folder.path());
    let folder = state.folder.path().join("share");
    let copies = Copies::start(&folder, sources.clone(), &state.core);
    let told = |part: &'static str| {
        let copies = Arc::clone(&copies);
        async move {
            for _ in 0..600 {
                let row = copies.row();
                if row.problem.as_ref().is_some_and(|problem| problem.contains(part)) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("never told {part:?}: {:?}", copies.row());
        }
    };
    let row = told("rackwright backup key").await;
    assert_eq!(row.copied, None);
    kit().store(&sources.kit()).unwrap();
    told("share").await;
    let reserve = |last| {
        let mac = crate::writer::tests::mac([2, 0, 0, 0, 0, last]);
        state.core.address(AddressWish::Reserve { mac, address: None })
    };
    reserve(1).await.unwrap();
    std::fs::create_dir(&folder).unwrap();
    let copy = folder.join(copy::NAME);
    let reserved = || {
        let (content, _) = verify(&copy, &kit()).ok()?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, &content.parts[DATABASE]).unwrap();
        Some(Store::open(&path).unwrap().reservations().unwrap().len())
    };
    let has = async |wanted: usize| {
        let begun = std::time::Instant::now();
        while reserved() != Some(wanted) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted}: {:?}", copies.row());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        begun.elapsed()
    };
    has(1).await;
    let row = copies.row();
    assert!(row.problem.is_none() && row.copied.is_some(), "{row:?}");
    reserve(2).await.unwrap();
    let after = has(2).await;
    assert!(after < Duration::from_secs(20), "the copy came {after:?} after the change");
    assert!(folder.join(copy::BEFORE).exists(), "the one before it is kept");
    let parts = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(parts, 2, "and nothing half-made");
}
