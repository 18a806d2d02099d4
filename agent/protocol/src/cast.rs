//! How an image comes to several nodes at once: where a node listens, and what it lacks it may say. The packets themselves are in
//! the crate `cast`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::JobId;

/// While it writes an image the agent asks, about once a second, how it shall come by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastAsk {
    /// Its job.
    pub job: JobId,
    /// What it listens to already.
    pub session: Option<u64>,
    /// How that goes; counted since it began to listen to this session.
    pub hearing: Hearing,
    /// Where others may fetch from it what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
    /// Whether packets to a group came to it that it had not joined; none: it has not looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floods: Option<bool>,
    /// Stored bytes of the image that it has had so far, however they came.
    #[serde(default)]
    pub had_bytes: u64,
    /// Others that gave wrong bytes, or none: they are not asked any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shunned: Vec<SocketAddr>,
}

impl CastAsk {
    /// The first: nothing was heard yet.
    pub fn new(job: JobId) -> Self {
        let (session, hearing, door, floods, had_bytes) = (None, Hearing::default(), None, None, 0);
        Self { job, session, hearing, door, floods, had_bytes, shunned: Vec::new() }
    }
}

/// Where a node gives others what it has of its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// The TCP port.
    pub port: u16,
    /// What authenticates those who ask.
    pub key: ReportKey,
}

/// Another node that has the image, or will have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its door.
    pub address: SocketAddr,
    /// What authenticates us there.
    pub key: ReportKey,
}

/// What a listener has heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hearing {
    /// Data packets that came.
    pub received: u64,
    /// Of these, such as were of no use: there already, or not needed.
    pub useless: u64,
    /// Packets dropped because they were not this session's, or impossible.
    pub refused: u64,
    /// Groups that were complete and not what the manifest says.
    pub spoilt: u64,
    /// Stored bytes that came this way and were right.
    pub bytes: u64,
    /// Stored bytes that came from other nodes.
    #[serde(default)]
    pub peer_bytes: u64,
    /// Whether it fetches its pieces itself at the moment: it has heard nothing for a while.
    pub pulls: bool,
}

/// The answer to [`CastAsk`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CastReply {
    /// Where to listen from now on; none: fetch.
    pub seat: Option<Seat>,
    /// Nodes to fetch from, the best one first, before the controller is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

/// A place among those who listen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The transmission. Another number than before: it began anew, and knows nothing of what was reported.
    pub session: u64,
    /// Where it is sent to.
    pub group: Ipv4Addr,
    /// And to which port.
    pub port: u16,
    /// Who sends. Nothing from anybody else counts, and reports go there.
    pub source: SocketAddrV4,
    /// What the listener is called in its reports.
    pub slot: u32,
    /// What authenticates them.
    pub key: ReportKey,
    /// Others listen already: before it joins, it is to look whether what is sent to them comes to it too.
    #[serde(default)]
    pub looks_first: bool,
}

/// Shows everything but the key.
impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seat { session, group, port, source, slot, .. } = self;
        write!(f, "Seat {{ session {session}, {group}:{port} from {source}, slot {slot}, .. }}")
    }
}

/// The key of one listener's reports, or of one door, as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReportKey(pub [u8; 32]);

impl std::fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReportKey(…)")
    }
}

impl From<ReportKey> for String {
    fn from(key: ReportKey) -> String {
        data_encoding::HEXLOWER.encode(&key.0)
    }
}

impl TryFrom<String> for ReportKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| "no hexadecimal digits")?;
        bytes.try_into().map(ReportKey).map_err(|_| "a key has 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_never_shown() {
        let key = ReportKey([0xa5; 32]);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, format!("\"{}\"", "a5".repeat(32)));
        assert_eq!(serde_json::from_str::<ReportKey>(&text).unwrap(), key);
        assert!(!format!("{key:?}").contains("a5"));
        for bad in
            ["\"\"", "\"zz\"", &format!("\"{}\"", "a5".repeat(33)), &format!("\"{}\"", "A5".repeat(32)), "7"]
        {
            assert!(serde_json::from_str::<ReportKey>(bad).is_err(), "{bad}");
        }
    }
}
