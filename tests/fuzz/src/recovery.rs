//! What a controller is restored from: a sealed file from anywhere, a kit that a person types, heads that were kept elsewhere.

use appliance::backup::fuzzing::sealed;
use appliance::backup::parts::{DATABASE, HEADS, MANIFEST};
use appliance::backup::{BackupError, Content, Kit};
use appliance::journal::head;

use crate::Reached;

fn kit() -> Kit {
    Kit::of([9; 32])
}

fn open(file: &[u8]) -> Result<Content, BackupError> {
    Content::open(file, u64::try_from(file.len()).unwrap_or(u64::MAX), &kit())
}

/// Any file is refused with a reason, or opened as what it is; no more is made of it than it has.
pub(crate) fn file(data: &[u8]) -> Reached {
    read(data, data.len())
}

/// What is in a file that was sealed with the right kit, as if whoever sealed it were a stranger.
pub(crate) fn parts(data: &[u8]) -> Reached {
    read(&sealed(&kit(), data), data.len())
}

fn read(file: &[u8], most: usize) -> Reached {
    match open(file) {
        Ok(content) => {
            let bytes = content.parts.values().map(Vec::len).sum::<usize>();
            assert!(bytes <= most, "more than there is");
            for name in content.parts.keys() {
                let plain = name.trim_start_matches("ca/").trim_start_matches("image-keys/");
                assert!(!plain.is_empty() && !plain.starts_with('.') && !plain.contains('/'), "{name}");
            }
            Reached::Inside
        }
        Err(why) => {
            let why = why.to_string();
            assert!(!why.is_empty() && !why.chars().any(char::is_control), "{why:?}");
            Reached::Refusal
        }
    }
}

/// Whatever is typed is refused, naming what is wrong, or is the kit that is printed so.
pub(crate) fn typed(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    match Kit::parse(&text) {
        Ok(kit) => {
            assert_eq!(Kit::parse(&kit.groups().join(" ")).as_ref(), Ok(&kit));
            assert_eq!(Kit::parse(&kit.page("lab", "now")).as_ref(), Ok(&kit));
            Reached::Inside
        }
        Err(why) => {
            assert!(why.to_string().len() < 400);
            Reached::Refusal
        }
    }
}

/// Lines that are heads are written back as they were; none is believed that this key did not sign.
pub(crate) fn heads(data: &[u8]) -> Reached {
    let Ok(heads) = head::parse(data) else { return Reached::Refusal };
    for signed in &heads {
        assert_eq!(head::parse(&signed.line()).as_deref(), Ok([signed.clone()].as_slice()));
        assert_eq!(signed.verified(&[7; 32]), None, "signed by nobody");
    }
    Reached::when(!heads.is_empty())
}

fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let length = u64::try_from(content.len()).unwrap_or(0).to_be_bytes();
    let digest = appliance::journal::chain::sha256(content);
    let name_length = u8::try_from(name.len()).unwrap_or(0);
    [&[name_length], name.as_bytes(), &length, content, &digest].concat()
}

/// What a small backup has in it, whole, cut, and with a length that lies.
pub(crate) fn parts_seeds() -> Vec<Vec<u8>> {
    let manifest = part(
        MANIFEST,
        br#"{"made":"","site":"lab","version":"1","epoch":1,"schema":1,"ca":"","journal":0,"journalHash":"","nodes":0,
        "images":[]}"#,
    );
    let whole =
        [manifest, part("ca/site-ca.pem", b"pem"), part(HEADS, b""), part(DATABASE, b"db"), vec![0]].concat();
    let mut lying = whole.clone();
    if let Some(byte) = lying.get_mut(14) {
        *byte = 0x7f;
    }
    let cut = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
    vec![whole, cut, lying, part("../../etc/passwd", b"")]
}

/// The same, sealed.
pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let mut all = parts_seeds().iter().map(|data| sealed(&kit(), data)).collect::<Vec<_>>();
    all.push(sealed(&Kit::of([1; 32]), b"\0"));
    all.push(b"RWBACKUP\0\x02".to_vec());
    all
}

/// A page, its key alone, and a slip.
pub(crate) fn typed_seeds() -> Vec<Vec<u8>> {
    let groups = kit().groups().join(" ");
    let slip = groups.replacen('4', "5", 1);
    vec![
        kit().page("lab", "2027-01-15").into_bytes(),
        groups.to_lowercase().into_bytes(),
        slip.into_bytes(),
        vec![],
    ]
}

/// A line, two, and one that was cut off.
pub(crate) fn heads_seeds() -> Vec<Vec<u8>> {
    let line = format!(
        "{{\"seq\":2,\"time\":1800000001000,\"hash\":\"{}\",\"signature\":\"{}\"}}\n",
        "ab".repeat(32),
        "cd".repeat(64)
    );
    vec![line.clone().into_bytes(), line.repeat(2).into_bytes(), line.trim_end().as_bytes().to_vec()]
}
