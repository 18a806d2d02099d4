//! Who is who: ids, keys, nonces, proofs and the code a person compares.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Serialize};

/// Why a textual identity was not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not hexadecimal of the length that this kind of identity has.
    #[error("{kind} is {bytes} bytes in hexadecimal, not {got:?}")]
    Hex {
        /// What was expected.
        kind: &'static str,
        /// Its length.
        bytes: usize,
        /// What came, shortened.
        got: String,
    },
    /// Not a hardware address as the kernel prints it.
    #[error("{0:?} is not a hardware address (pairs of hexadecimal digits with colons)")]
    HardwareAddress(String),
    /// Not a disk's name.
    #[error("{0:?} is not the name of a disk (wwn: or serial:, then 1 to 128 printable ASCII characters)")]
    Disk(String),
    /// Not an enrolment code.
    #[error("{0:?} is not an enrolment code (six letters and digits)")]
    Code(String),
}

macro_rules! hex_identity {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEX.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                let wrong = || IdentityError::Hex {
                    kind: $kind,
                    bytes: $bytes,
                    got: text.chars().take(80).collect(),
                };
                let raw = HEX.decode(text.as_bytes()).map_err(|_| wrong())?;
                Ok(Self(raw.try_into().map_err(|_| wrong())?))
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdentityError;
            fn try_from(text: String) -> Result<Self, IdentityError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

pub(crate) use hex_identity;

hex_identity!(
    /// A node: random, made by the controller, kept for the server's whole life here.
    NodeId, 16, "a node id"
);
hex_identity!(
    /// A job: random, made by the controller.
    JobId, 8, "a job id"
);
hex_identity!(
    /// An agent's raw Ed25519 public key.
    Key, 32, "a public key"
);
hex_identity!(
    /// An Ed25519 signature.
    Signature, 64, "a signature"
);
hex_identity!(
    /// A challenge: random, made by the controller, one per pending key.
    Nonce, 16, "a nonce"
);
hex_identity!(
    /// SHA-256 of the site CA's certificate (DER): a public value, on the kernel command line as `sha256:<hex>`.
    CaPin, 32, "a CA pin"
);

impl NodeId {
    /// The first eight digits: enough for a screen, never for a look-up.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

/// The controller's reign. A command with a lower epoch than one seen is from a controller that was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A NIC's address as the kernel prints it: 6 bytes on Ethernet, 20 on InfiniBand; lower case with colons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HardwareAddress(String);

impl HardwareAddress {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HardwareAddress {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let lower = text.to_ascii_lowercase();
        let pairs = lower.split(':').collect::<Vec<_>>();
        let hex = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
        if !matches!(pairs.len(), 6 | 8 | 20) || !pairs.iter().all(hex) {
            return Err(IdentityError::HardwareAddress(text.chars().take(80).collect()));
        }
        Ok(Self(lower))
    }
}

impl TryFrom<String> for HardwareAddress {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<HardwareAddress> for String {
    fn from(address: HardwareAddress) -> String {
        address.0
    }
}

/// The enrolment code: six characters that a person compares between the server's screen and the controller's.
///
/// Thirty bits of the transcript {CA pin, key, nonce}. Both sides compute it; neither sends it, so a machine in the
/// middle would have to find a key pair whose transcript collides while the person is looking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

/// No 0/O, 1/I/L, U: read aloud across a server room without a mistake.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ#$";

impl Code {
    /// The code of this transcript.
    pub fn of(pin: &CaPin, key: &Key, nonce: &Nonce) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("rackwright 2026 enrolment code v1");
        hash.update(&pin.0).update(&key.0).update(&nonce.0);
        let mut stream = hash.finalize_xof();
        let mut text = String::new();
        let mut byte = [0u8; 1];
        // The two fillers of the alphabet are drawn again, so that every code is letters and digits.
        while text.len() < 6 {
            stream.fill(&mut byte);
            let letter = ALPHABET.get(usize::from(byte[0] & 31)).copied().unwrap_or(b'#');
            if letter.is_ascii_alphanumeric() {
                text.push(char::from(letter));
            }
        }
        Self(text)
    }

    /// The six characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Code {
    type Err = IdentityError;
    /// Case does not matter to the person who types it.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let upper = text.to_ascii_uppercase();
        if upper.len() == 6 && upper.bytes().all(|b| b.is_ascii_alphanumeric() && ALPHABET.contains(&b)) {
            Ok(Self(upper))
        } else {
            Err(IdentityError::Code(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Code {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.0
    }
}

/// What the ramdisk's agent signs to prove that the key of its hello is its own.
pub fn hello_proof(pin: &CaPin, node: &NodeId, key: &Key, nonce: &Nonce) -> Vec<u8> {
    [b"rackwright hello v1\0".as_slice(), &pin.0, &node.0, &key.0, &nonce.0].concat()
}

/// What the installed agent signs to prove that the key it enrols is its own.
pub fn enrol_proof(pin: &CaPin, node: &NodeId, key: &Key) -> Vec<u8> {
    [b"rackwright enrol v1\0".as_slice(), &pin.0, &node.0, &key.0].concat()
}
