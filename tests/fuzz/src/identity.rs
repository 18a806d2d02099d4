//! Names of machines, keys, disks and images, as texts.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use pack::{Digest, PublicKey};
use protocol::{CaPin, Code, DiskId, HardwareAddress, HostKey, JobId, Key, NodeId, Nonce, Signature};
use pxe::Mac;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Reached;

/// What is read is written in one spelling, which is read as the same again, as text and in JSON.
pub(crate) fn run(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let accepted = [
        one::<HardwareAddress>(&text),
        one::<Code>(&text),
        one::<NodeId>(&text),
        one::<JobId>(&text),
        one::<Key>(&text),
        one::<Signature>(&text),
        one::<Nonce>(&text),
        one::<CaPin>(&text),
        one::<HostKey>(&text),
        one::<Digest>(&text),
        one::<PublicKey>(&text),
        one::<pack::Signature>(&text),
        one::<Mac>(&text),
    ];
    let disk = disk(&text);
    if let Ok(mac) = text.parse::<Mac>() {
        let address: HardwareAddress = mac.to_string().parse().expect("an Ethernet address is a NIC's");
        assert_eq!(address.as_str(), mac.to_string());
    }
    Reached::when(accepted.contains(&true) || disk)
}

fn one<T>(text: &str) -> bool
where
    T: FromStr + Display + Debug + PartialEq + Serialize + DeserializeOwned,
    T::Err: Display,
{
    let value = match text.parse::<T>() {
        Ok(value) => value,
        Err(why) => {
            let why = why.to_string();
            assert!(why.len() < 1200 && !why.chars().any(char::is_control), "{why:?}");
            assert!(serde_json::from_value::<T>(text.into()).is_err(), "JSON takes what text does not");
            return false;
        }
    };
    let spelt = value.to_string();
    assert!(spelt.bytes().all(|b| b.is_ascii_graphic()), "{spelt:?}");
    assert!(spelt.parse::<T>().is_ok_and(|again| again == value));
    let json = serde_json::to_value(&value).expect("a text is JSON");
    assert_eq!(json, serde_json::Value::from(spelt), "one spelling everywhere");
    assert!(serde_json::from_value::<T>(text.into()).is_ok_and(|again| again == value));
    true
}

/// A disk's name from a wire is one that [`DiskId::of`] could have made.
fn disk(text: &str) -> bool {
    if let Some(made) = DiskId::of(text, "") {
        let json = serde_json::to_value(&made).expect("a text is JSON");
        assert!(serde_json::from_value::<DiskId>(json).is_ok_and(|again| again == made));
    }
    let Ok(id) = serde_json::from_value::<DiskId>(text.into()) else { return false };
    is_made(&id);
    true
}

/// Asserts that a disk's name has no character that could not be printed, and is no longer than drives' names are.
pub(crate) fn is_made(id: &DiskId) {
    let name = id.as_str().strip_prefix("wwn:").or_else(|| id.as_str().strip_prefix("serial:"));
    let fits = name.is_some_and(|n| (1..=128).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_graphic()));
    assert!(fits, "a disk called {:?}", id.as_str());
}

/// One text of each kind, and near misses.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [8, 16, 32, 64].map(|bytes| "aB".repeat(bytes).into_bytes()).into();
    let texts = [
        "52:54:00:AB:cd:0f",
        "5254.00ab.cd0f",
        "52-54-00-ab-cd:0f",
        "A2b3C4",
        "A2B3C0",
        "wwn:naa.5000c500a1b2c3d4",
        "serial:QM\u{1b}[2J0001",
        "serial:",
    ];
    all.extend(texts.map(Into::into));
    all.push(format!("80:00:{}", vec!["fe"; 18].join(":")).into_bytes());
    all.push("ab".repeat(32).into_bytes());
    all.push(format!("SHA256:{}AQE", "AQEB".repeat(10)).into_bytes());
    all
}
