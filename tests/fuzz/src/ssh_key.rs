//! Public keys that let somebody in by SSH, as one line, as JSON and as a file.

use protocol::{SSH_KEYS_MAX, SshKey};

use crate::Reached;

/// Whatever is read, the line that is made of it for the SSH server is a kind and base64, and nothing else.
pub(crate) fn run(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let one = text.parse::<SshKey>();
    let json = serde_json::from_value::<SshKey>(text.clone().into());
    assert_eq!(one.as_ref().ok(), json.as_ref().ok(), "JSON takes what text takes");
    match &one {
        Ok(key) => is_bare(key),
        Err(why) => assert!(!why.to_string().chars().any(char::is_control), "{why}"),
    }
    let all = SshKey::read_all(&text);
    match &all {
        Ok(keys) => {
            assert!((1..=SSH_KEYS_MAX).contains(&keys.len()));
            keys.iter().for_each(is_bare);
            let file = keys.iter().map(|key| key.line() + "\n").collect::<String>();
            assert_eq!(file.lines().count(), keys.len(), "a key has brought a line of its own");
            let again = SshKey::read_all(&file).expect("what was written can be read");
            assert!(again.iter().map(SshKey::blob).eq(keys.iter().map(SshKey::blob)));
        }
        Err((_, why)) => assert!(!why.to_string().chars().any(char::is_control), "{why}"),
    }
    Reached::when(one.is_ok() || all.is_ok())
}

fn is_bare(key: &SshKey) {
    let line = key.line();
    let (kind, blob) = line.split_once(' ').expect("a kind, and what it is of");
    assert_eq!(kind, key.kind());
    assert!(blob.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)), "{line:?}");
    assert!(key.comment().bytes().all(|b| (0x20..0x7f).contains(&b)), "{:?}", key.comment());
    let again: SshKey = key.to_string().parse().expect("what was written can be read");
    assert_eq!(&again, key);
}

/// A key of the usual kinds, and what stands around keys in other files.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab";
    let ec = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAL4flZ0fhmkRqxogNLFuBrHO59aAKt0JmbVePrbsmWA7E/5RMgRUNm6EOzly8q0f5nk5xkdAiBpidRbr28Ch3s=";
    [
        ed.to_owned(),
        ec.to_owned(),
        format!("# ours\n{ed}\r\n\n{ec}\n"),
        format!("command=\"sh -c 'x y'\",no-pty {ed}"),
        format!("{ed}\n{ed}\0\u{1b}[2J"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n".to_owned(),
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==".to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}
