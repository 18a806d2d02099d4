//! Keys of every kind, and hostile lines.

use data_encoding::BASE64;

use super::{HostKey, JobId, LINE_MAX, Rescue, SSH_KEYS_MAX, SshKey, SshKeyError};
use crate::{TEXT_BYTES_MAX, TooMuch};

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab";
const NISTP256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAL4flZ0fhmkRqxogNLFuBrHO59aAKt0JmbVePrbsmWA7E/5RMgRUNm6EOzly8q0f5nk5xkdAiBpidRbr28Ch3s=";
const NISTP384: &str = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBAoMB3oCwEQy2bWC1NwwQNLoq/YbUrDMcwHydNsl0dBLxYPxVPYDCL86tK7byvYpEbdjelv8Rb4kEzzlJQ/WEBPGy8ztYNb86aHdNyYXQ4zoWxBElhAv99E8537b2HvVPg==";
const NISTP521: &str = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAFCdUEQKpFNgHNri1mUEHw/nrHmcP/Y9c7d4ukQ5mmFGu9zxGE8E3AoGyq5mvAcKZERtdqNrKhEQraCa8PwEGVPfQCPkaXEqi2eetTNUjB9F284pZNmIka7RgW62MfxvM86hdxKUNFBqLym+4MinCpcnoSinnTW0EA1Ew25jQdQv24dcA==";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDLK2QTYbJc7NnaNe99wiePyaLXvPBTEqCyXjyBJ7yb9yQWrphlFgDGe0fd33dpZPfh+fM7TuVdXbdFn5SN+Bab+FImrkpYDmJiPq5yrg3oVOt3oNs+BSp/K0aaP47i22zmwQ0FZjzURZT66Smq64lOIB9vdPJcA/UN5MzSHv0v+CpIqLAedxQ9mG2O4XZalDoxkKs+xVPDyas09Ok49/8JOwM1y8YHmf7Lq6DV9qX7/Hw4DPllmUIFzvI8dBUEEjLbN7oiZymlpWsMcM2NP62w1hAA9nn88ZG3V8A/vtW6H03xIcawhmlv38uc1cEZSZNp9xLrWtiIDQANL6IwJUKd bob";
const WEAK: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC6uFOuFppLdpr6xkUleNpFOVMFfurDPvvy5p9M1Hx7jItkorWV3SQuvxv31G6I+LiSm54M+tLPzejyiV5rVgAOTUf4huhxW6KaliQgduRYotuBMtvPJ8UIZOJ1sKwjarwqHm75Mdao1oMAFgYUry+MOgN5vTwmj+UJwo/DmPE+fw== weak";

/// A string as RFC 4251 writes it.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn line(kind: &str, fields: &[&[u8]]) -> String {
    let blob = std::iter::once(kind.as_bytes()).chain(fields.iter().copied()).flat_map(string);
    format!("{kind} {}", BASE64.encode(&blob.collect::<Vec<_>>()))
}

#[test]
fn keys_of_every_kind_are_read_and_written_as_kind_and_bytes_alone() {
    let sk = line("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"ssh:"]);
    let point = [&[4][..], &[9; 64]].concat();
    let sk_ec = line("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &point, b"ssh:me"]);
    for (text, comment) in [
        (ED, "alice@lab"),
        (NISTP256, ""),
        (NISTP384, ""),
        (NISTP521, ""),
        (RSA, "bob"),
        (&format!("{sk}   a  b "), "a b"),
        (&sk_ec, ""),
    ] {
        let key: SshKey = text.parse().unwrap();
        let words = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        assert_eq!((key.line(), key.comment()), (words, comment));
        assert_eq!(key.to_string().parse::<SshKey>().unwrap(), key);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<SshKey>(&json).unwrap(), key);
    }
}

#[test]
fn a_line_that_could_say_more_than_a_key_is_refused() {
    let long = format!("{ED} {}", "x".repeat(LINE_MAX));
    let cut = ED.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let other = ED.replace("ssh-ed25519 ", "ssh-rsa ");
    let more = line("ssh-ed25519", &[&[7; 32], b"more"]);
    let options = format!("command=\"sh\",no-pty {ED}");
    let modulus = [&[0][..], &[0xff; 256]].concat();
    let even = line("ssh-rsa", &[&[2], &modulus]);
    let negative = line("ssh-rsa", &[&[1, 0, 1], &[0xff; 256]]);
    let padded = line("ssh-rsa", &[&[1, 0, 1], &[&[0, 0][..], &[0xff; 256]].concat()]);
    let huge = line("ssh-rsa", &[&[1, 0, 1], &[&[0][..], &[0xff; 1100]].concat()]);
    let compressed = line("ecdsa-sha2-nistp256", &[b"nistp256", &[&[2][..], &[9; 64]].concat()]);
    let curve = line("ecdsa-sha2-nistp256", &[b"nistp384", &[&[4][..], &[9; 64]].concat()]);
    let web = line("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"https://a"]);
    let table: [(&str, &str); 26] = [
        ("", "begins with \"\""),
        (" ", "begins with \"\""),
        ("ssh-ed25519", "is not the base64"),
        ("ssh-ed25519 !!!!", "is not the base64"),
        ("ssh-ed25519 AAAA", "is not the base64"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "begins with \"ssh-dss\""),
        ("SSH-ED25519 AAAA", "begins with \"SSH-ED25519\""),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("no-pty", "options before it are not taken"),
        (&options, "options before it are not taken"),
        (&format!("{ED}\n{ED}"), "no printable ASCII"),
        (&format!("{ED}\r"), "no printable ASCII"),
        (&format!("{ED}\0"), "no printable ASCII"),
        (&format!("{ED} \u{1b}[2J"), "no printable ASCII"),
        (&format!("{ED} m\u{fc}ller"), "no printable ASCII"),
        (&ED.replace(' ', "\t"), "no printable ASCII"),
        (&long, "bytes are more than the"),
        (&cut[..cut.len() - 4], "is not the base64"),
        (&other, "is not the base64"),
        (&more, "is not the base64"),
        (&even, "is not the base64"),
        (&negative, "is not the base64"),
        (&padded, "is not the base64"),
        (&compressed, "is not the base64"),
        (&curve, "is not the base64"),
        (&web, "is not the base64"),
    ];
    for (text, want) in table {
        let why = text.parse::<SshKey>().expect_err(text).to_string();
        assert!(why.contains(want), "{text:?}: {why}");
        assert!(serde_json::from_value::<SshKey>(text.into()).is_err(), "{text:?}");
    }
    assert_eq!(WEAK.parse::<SshKey>(), Err(SshKeyError::Bits(1024)));
    assert_eq!(huge.parse::<SshKey>(), Err(SshKeyError::Bits(8800)));
    // A length that reaches beyond the end, and one that no memory has.
    for length in [[0, 0, 0, 12], [0xff; 4]] {
        let text = format!("ssh-ed25519 {}", BASE64.encode(&[&length[..], b"ssh-ed25519"].concat()));
        assert_eq!(text.parse::<SshKey>(), Err(SshKeyError::Blob("ssh-ed25519")));
    }
}

#[test]
fn a_file_has_a_key_in_each_line() {
    let file = format!("# ours\n\n{ED}\r\n  {RSA}\n{ED}\n");
    let keys = SshKey::read_all(&file).unwrap();
    assert_eq!(keys.iter().map(SshKey::comment).collect::<Vec<_>>(), ["alice@lab", "bob"], "each once");
    assert_eq!(SshKey::read_all("\n# none\n"), Err((0, SshKeyError::Count(0))));
    let private = "\n-----BEGIN OPENSSH PRIVATE KEY-----\n";
    assert_eq!(SshKey::read_all(private), Err((2, SshKeyError::Private)));
    let many = (0..=SSH_KEYS_MAX).map(|n| line("ssh-ed25519", &[&[u8::try_from(n).unwrap(); 32]]) + "\n");
    let many = many.collect::<String>();
    assert_eq!(SshKey::read_all(&many), Err((0, SshKeyError::Count(SSH_KEYS_MAX + 1))));
    let (line, why) = SshKey::read_all(&"#".repeat(70_000)).unwrap_err();
    assert!(line == 0 && matches!(why, SshKeyError::Long(70_000, _)), "{why}");
}

#[test]
fn a_host_key_has_one_spelling_and_what_a_rescue_tells_is_bounded() {
    let key = HostKey::of([1; 32]);
    let text = key.to_string();
    assert_eq!(text, format!("SHA256:{}", "AQEB".repeat(10) + "AQE"));
    assert_eq!(text.parse(), Ok(key.clone()));
    let long = format!("{text}AAAA");
    for bad in ["", "SHA256:", "MD5:00:11", "SHA256:%%%", &text[..40], &long, &text.replace("SHA", "sha")] {
        assert!(bad.parse::<HostKey>().is_err(), "{bad}");
    }
    let told = |trouble| Rescue { job: JobId([1; 8]), host_key: Some(key.clone()), trouble };
    assert_eq!(told(Some("x".repeat(TEXT_BYTES_MAX))).check(), Ok(()));
    let much = told(Some("x".repeat(TEXT_BYTES_MAX + 1))).check();
    assert!(matches!(much, Err(TooMuch::Text { .. })));
}
