//! Stage *deploy*: a server that its operator mends by hand, in the ramdisk. Nothing is written by the agent.
//!
//! ```text
//! RescueJob -> every few seconds a Rescue: how to get in, what is wrong -> RescueReply: stay, or restart
//! ```
//! Who may get in by SSH is in the job as public keys, and nothing else of what an `authorized_keys` file can say is.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};

use crate::{JobId, TEXT_BYTES_MAX, TooMuch};

/// Public keys of one rescue, at most.
pub const SSH_KEYS_MAX: usize = 16;
/// One line of a public key, in bytes, at most: RSA with 8192 bits has 1,400.
const LINE_MAX: usize = 2048;
/// All lines that are looked at together, in bytes.
const FILE_MAX: usize = 64 << 10;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Stay in the ramdisk, write nothing, and let the operator in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueJob {
    /// Which rescue.
    pub job: JobId,
    /// Who may get in by SSH, as root; nobody when there is none.
    pub keys: Vec<SshKey>,
}

/// How a rescue goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescue {
    /// Which.
    pub job: JobId,
    /// By what the SSH server is known, which was made in this boot; none: there is no server.
    pub host_key: Option<HostKey>,
    /// What is not as it should be, for a person.
    pub trouble: Option<String>,
}

impl Rescue {
    /// Whether every text stays within bounds.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        crate::bounds::texts("what is wrong with a rescue", &self.trouble)
    }
}

/// The answer to [`Rescue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueReply {
    /// False: it is over; restart.
    pub go_on: bool,
}

/// Why a line is not taken for a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// More than is looked at.
    #[error("{0} bytes are more than the {1} that are looked at")]
    Long(usize, usize),
    /// A file without a key, or with too many.
    #[error("there are {0} public keys in it, and 1 to {SSH_KEYS_MAX} may be")]
    Count(usize),
    /// Something that no line of text has.
    #[error("it has a byte that is no printable ASCII: give the public key as ssh-keygen wrote it")]
    Byte,
    /// The other half of a key.
    #[error("this is a private key, which belongs to nobody else: give the file beside it that ends in .pub")]
    Private,
    /// It begins with something else than a kind of key.
    #[error(
        "a public key begins with its kind (ssh-ed25519, ecdsa-sha2-nistp256, nistp384 or nistp521, ssh-rsa, \
         sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com), and options before it are not taken; this \
         begins with {0:?}"
    )]
    Kind(String),
    /// The middle of the line is none.
    #[error("what follows {0} is not the base64 of such a key")]
    Blob(&'static str),
    /// Too weak, or too large to be computed with.
    #[error("it has {0} bits, and 2048 to 8192 are taken: ssh-keygen -t ed25519 makes a better one")]
    Bits(usize),
}

/// An SSH public key: its kind and its bytes. What stood behind them is only kept for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshKey {
    kind: String,
    blob: Vec<u8>,
    comment: String,
}

/// Kinds of keys, as OpenSSH spells them.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl SshKey {
    /// The keys of a file: one a line; empty lines, and those that begin with `#`, are none. At least one.
    ///
    /// # Errors
    /// [`SshKeyError`], with the number of the line that is wrong, counted from 1; 0: the whole.
    pub fn read_all(text: &str) -> Result<Vec<SshKey>, (usize, SshKeyError)> {
        if text.len() > FILE_MAX {
            return Err((0, SshKeyError::Long(text.len(), FILE_MAX)));
        }
        let mut keys = Vec::<SshKey>::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r').trim_matches(' ');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.parse::<SshKey>().map_err(|why| (number + 1, why))?;
            if !keys.iter().any(|known| known.blob == key.blob) {
                keys.push(key);
            }
        }
        if keys.is_empty() || keys.len() > SSH_KEYS_MAX {
            return Err((0, SshKeyError::Count(keys.len())));
        }
        Ok(keys)
    }

    /// The line for an `authorized_keys` file: kind and bytes, made anew, and nothing else.
    pub fn line(&self) -> String {
        format!("{} {}", self.kind, BASE64.encode(&self.blob))
    }

    /// What OpenSSH calls it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The key as OpenSSH signs and hashes it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What stood behind it, usually whose it is; empty when there was nothing.
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

impl FromStr for SshKey {
    type Err = SshKeyError;

    fn from_str(line: &str) -> Result<Self, SshKeyError> {
        if line.len() > LINE_MAX {
            return Err(SshKeyError::Long(line.len(), LINE_MAX));
        }
        if line.contains("PRIVATE KEY") {
            return Err(SshKeyError::Private);
        }
        if !line.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(SshKeyError::Byte);
        }
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let kind = KINDS.into_iter().find(|kind| *kind == first);
        let kind = kind.ok_or_else(|| SshKeyError::Kind(first.chars().take(40).collect()))?;
        let blob = words.next().and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let blob = blob.ok_or(SshKeyError::Blob(kind))?;
        check(kind, &blob)?;
        let comment = words.collect::<Vec<_>>().join(" ");
        Ok(Self { kind: kind.to_owned(), blob, comment })
    }
}

impl TryFrom<String> for SshKey {
    type Error = SshKeyError;
    fn try_from(text: String) -> Result<Self, SshKeyError> {
        text.parse()
    }
}

impl From<SshKey> for String {
    fn from(key: SshKey) -> String {
        key.to_string()
    }
}

/// The next string of the format of RFC 4251, section 5, and what comes after it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Whether the bytes are one whole key of this kind, and nothing more.
fn check(kind: &'static str, blob: &[u8]) -> Result<(), SshKeyError> {
    let not = SshKeyError::Blob(kind);
    let fields = fields(blob).ok_or(not.clone())?;
    let is_point = |point: &[u8], bytes| point.len() == bytes && point.first() == Some(&4);
    let right = match (kind, fields.as_slice()) {
        (_, [name, ..]) if *name != kind.as_bytes() => false,
        ("ssh-ed25519", [_, key]) => key.len() == 32,
        ("ecdsa-sha2-nistp256", [_, b"nistp256", point]) => is_point(point, 65),
        ("ecdsa-sha2-nistp384", [_, b"nistp384", point]) => is_point(point, 97),
        ("ecdsa-sha2-nistp521", [_, b"nistp521", point]) => is_point(point, 133),
        ("sk-ssh-ed25519@openssh.com", [_, key, application]) => key.len() == 32 && is_name(application),
        ("sk-ecdsa-sha2-nistp256@openssh.com", [_, b"nistp256", point, application]) => {
            is_point(point, 65) && is_name(application)
        }
        ("ssh-rsa", [_, exponent, modulus]) => {
            let odd = exponent.last().is_some_and(|last| last % 2 == 1);
            let bits =
                positive(modulus).filter(|_| odd && (2..=64).contains(&positive(exponent).unwrap_or(0)));
            let bits = bits.ok_or(not.clone())?;
            if !RSA_BITS.contains(&bits) {
                return Err(SshKeyError::Bits(bits));
            }
            true
        }
        (_, _) => false,
    };
    right.then_some(()).ok_or(not)
}

/// All strings that bytes are made of; `None` when something is left over.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (field, rest) = string(bytes)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

/// What a security key is for: `ssh:`, and perhaps more.
fn is_name(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ssh:") && bytes.len() <= 128 && bytes.iter().all(u8::is_ascii_graphic)
}

/// The bits of a positive number in its only right spelling; `None` for any other.
fn positive(number: &[u8]) -> Option<usize> {
    let digits = match number {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => rest,
        [first, ..] if (1..0x80).contains(first) => number,
        _ => return None,
    };
    let first = digits.first()?;
    Some(digits.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// By what an SSH server is known: `SHA256:` and the hash of its public key in base64, as `ssh` asks whether it is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey([u8; 32]);

/// Not a fingerprint as `ssh` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SSH host key is told as SHA256: and 43 characters of base64")]
pub struct NotAHostKey;

impl HostKey {
    /// Of a public key's SHA-256.
    pub fn of(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", BASE64_NOPAD.encode(&self.0))
    }
}

impl FromStr for HostKey {
    type Err = NotAHostKey;
    fn from_str(text: &str) -> Result<Self, NotAHostKey> {
        let hash = text.strip_prefix("SHA256:").filter(|hash| hash.len() < TEXT_BYTES_MAX);
        let hash = hash.and_then(|hash| BASE64_NOPAD.decode(hash.as_bytes()).ok());
        hash.and_then(|hash| hash.try_into().ok()).map(Self).ok_or(NotAHostKey)
    }
}

impl TryFrom<String> for HostKey {
    type Error = NotAHostKey;
    fn try_from(text: String) -> Result<Self, NotAHostKey> {
        text.parse()
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> String {
        key.to_string()
    }
}

#[cfg(test)]
#[path = "rescue_tests.rs"]
mod tests;
