//! Kills, losses, mix-ups, and what the certificates say.

mod apart;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::certificate::Stage;
use protocol::{Key, NodeId};
use rustls::pki_types::UnixTime;

use super::{CaError, Leaf, SiteCa, Start};
use crate::config::Site;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn site() -> Site {
    Site::parse("lab").unwrap()
}

fn open(dir: &Path, start: Start) -> Result<SiteCa, CaError> {
    SiteCa::open(dir, &site(), start, now())
}

fn leaf() -> Leaf {
    Leaf {
        key: Key([7; 32]),
        node: NodeId([0xab; 16]),
        stage: Stage::Run,
        generation: 3,
        not_before: now() - Duration::from_secs(3600),
        not_after: now() + Duration::from_secs(3600),
    }
}

#[test]
fn made_once_and_the_same_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ca");
    let first = open(&home, Start::First).unwrap();
    let again =
        SiteCa::open(&home, &site(), Start::Later, now() + Duration::from_secs(86_400 * 365)).unwrap();
    assert_eq!(first.pin(), again.pin());
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home), mode(&home.join(super::FILE))), (0o700, 0o600));
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 2, "no temporary file is left");
    let other = tempfile::tempdir().unwrap();
    assert_ne!(first.pin(), open(other.path(), Start::First).unwrap().pin());
}

#[test]
fn killed_between_any_two_writes_it_is_made_at_the_next_start_or_there() {
    let whole = tempfile::tempdir().unwrap();
    let pin = open(whole.path(), Start::First).unwrap().pin();
    let text = std::fs::read(whole.path().join(super::FILE)).unwrap();
    for length in [0, 1, text.len() / 2, text.len()] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".site-ca.pem.new"), &text[..length]).unwrap();
        let made = open(dir.path(), Start::First).unwrap().pin();
        assert_ne!(made, pin, "what was not renamed was never used");
        std::fs::write(dir.path().join(".site-ca.pem.new"), &text[..length]).unwrap();
        assert_eq!(open(dir.path(), Start::First).unwrap().pin(), made);
    }
}

#[test]
fn what_cannot_be_used_is_refused_and_left_alone() {
    let whole = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let read = |d: &tempfile::TempDir| {
        open(d.path(), Start::First).unwrap();
        std::fs::read_to_string(d.path().join(super::FILE)).unwrap()
    };
    let (good, foreign) = (read(&whole), read(&other));
    let split = good.find("-----BEGIN CERT").unwrap();
    let (key, certificate) = good.split_at(split);
    let foreign_key = &foreign[..foreign.find("-----BEGIN CERT").unwrap()];
    let table = [
        ("empty", String::new(), "exactly one"),
        ("cut short", good[..good.len() - 40].into(), "damaged"),
        ("key only", key.into(), "exactly one"),
        ("certificate only", certificate.into(), "exactly one"),
        ("two pairs", format!("{good}{foreign}"), "exactly one"),
        ("another's key", format!("{foreign_key}{certificate}"), "belong together"),
        ("not a key", good.replacen("MIG", "AAA", 1), "damaged"),
        ("not PEM", "\0\0\0".into(), "damaged"),
    ];
    for (name, text, word) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(super::FILE);
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for start in [Start::First, Start::Later] {
            let said = open(dir.path(), start).expect_err(name).to_string();
            assert!(said.contains(word) && said.contains("backup"), "{name}: {said}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}: it was touched");
    }
}

#[test]
fn lost_exposed_and_linked_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(super::FILE);
    assert!(matches!(open(dir.path(), Start::Later), Err(CaError::Lost { .. })));
    open(dir.path(), Start::First).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = open(dir.path(), Start::Later).unwrap_err().to_string();
    assert!(said.contains("640") && said.contains("chmod 600"), "{said}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(matches!(open(dir.path(), Start::First), Err(CaError::File { what: "opening", .. })));
}

#[test]
fn a_node_certificate_says_what_we_decided_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), Start::First).unwrap();
    let issued = ca.issue(&leaf()).unwrap();
    let spiffe = format!("spiffe://lab/node/{}/run/3", NodeId([0xab; 16]));
    let holds = |needle: &[u8]| issued.der.windows(needle.len()).any(|w| w == needle);
    assert!(holds(spiffe.as_bytes()) && holds(&[7; 32]));
    assert_eq!(issued.fingerprint, super::fingerprint(&issued.der));
    assert_eq!(issued.chain_pem.matches("BEGIN CERTIFICATE").count(), 3);
    assert!(issued.chain_pem.ends_with(&ca.certificate_pem()));
    assert_ne!(issued.der, ca.issue(&leaf()).unwrap().der, "each has its own serial number");

    let verifier = crate::tls::strict(&ca).unwrap();
    let chain = [ca.trusted().wanted.nodes.certificate.clone()];
    let at =
        |s: i64| UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000_u64.saturating_add_signed(s)));
    assert!(verifier.verify_client_cert(&issued.der, &chain, at(0)).is_ok());
    assert!(verifier.verify_client_cert(&issued.der, &chain, at(3601)).is_err());
    assert!(verifier.verify_client_cert(&issued.der, &chain, at(-3601)).is_err());
}

#[test]
fn dates_beyond_what_a_certificate_can_name_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let far = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 100);
    let ca = SiteCa::open(dir.path(), &site(), Start::First, far).unwrap();
    assert!(ca.issue(&Leaf { not_after: far, ..leaf() }).is_ok());
    assert!(matches!(ca.issue(&Leaf { not_after: leaf().not_before, ..leaf() }), Err(CaError::Window)));
    let dawn = tempfile::tempdir().unwrap();
    assert!(SiteCa::open(dawn.path(), &site(), Start::First, UNIX_EPOCH).is_ok());
}

#[test]
fn openssl_reads_what_we_made() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), Start::First).unwrap();
    let (root, chain) = (dir.path().join("root.pem"), dir.path().join("chain.pem"));
    std::fs::write(&root, ca.certificate_pem()).unwrap();
    let issued = ca.issue(&Leaf {
        not_before: UNIX_EPOCH,
        not_after: now() + Duration::from_secs(86_400 * 3650),
        ..leaf()
    });
    std::fs::write(&chain, issued.unwrap().chain_pem).unwrap();
    let Ok(done) = std::process::Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
        .args([&root, Path::new("-untrusted"), &chain, &chain])
        .output()
    else {
        return;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
