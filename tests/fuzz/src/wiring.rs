//! The network between nodes: what a switch says of itself, ARP, packets of a check, and what an agent tells.

use agent::preflight::fuzzing::claimant;
use protocol::{NetworkAsk, NetworkReply, Probe, ProbeKind, ReportKey, TEXT_BYTES_MAX, read_lldp};

use crate::Reached;

/// What is believed is one clean line each, and short; a unit that is cut says nothing else than the whole.
pub(crate) fn lldp(data: &[u8]) -> Reached {
    let (neighbour, _) = match read_lldp(data) {
        Ok(read) => read,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    for text in [&neighbour.chassis, &neighbour.port, &neighbour.port_description, &neighbour.system] {
        assert!(text.len() <= 3 * TEXT_BYTES_MAX && !text.chars().any(char::is_control), "{text:?}");
    }
    assert!(neighbour.vlan.is_none_or(|vlan| (1..4095).contains(&vlan)));
    Reached::Inside
}

/// A unit of a switch; one with everything; one that is cut.
pub(crate) fn lldp_seeds() -> Vec<Vec<u8>> {
    let plain =
        [&b"\x02\x07\x04\x02\x00\x00\x00\x00\x0a"[..], b"\x04\x05\x05ge-1", b"\x06\x02\x00\x78"].concat();
    let named =
        [&plain[..], b"\x08\x04rack", b"\x0a\x04sw-1", b"\xfe\x06\x00\x80\xc2\x01\x00\x64", b"\x00\x00"]
            .concat();
    let cut = named.get(..18).unwrap_or_default().to_vec();
    vec![plain, named, cut]
}

/// Whoever claims an address has one, and a hardware address that is no group's.
pub(crate) fn arp(data: &[u8]) -> Reached {
    let Some((mac, address)) = claimant(data) else { return Reached::Refusal };
    assert!(mac.first().is_some_and(|first| first & 1 == 0) && !address.is_unspecified());
    assert!(data.len() >= 42);
    Reached::Inside
}

/// An answer, and one of somebody else.
pub(crate) fn arp_seeds() -> Vec<Vec<u8>> {
    let head = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    let body = [2, 0, 0, 0, 0, 2, 10, 0, 0, 7, 2, 0, 0, 0, 0, 1, 10, 0, 0, 9];
    let other = [2, 0, 0, 0, 0, 3, 10, 0, 0, 8, 2, 0, 0, 0, 0, 1, 10, 0, 0, 9];
    vec![[&head[..], &body].concat(), [&head[..], &other].concat()]
}

/// Nobody guesses a code; what is read with the right one is written back as the same bytes, and its answer is no longer.
pub(crate) fn probe(data: &[u8]) -> Reached {
    assert_eq!(Probe::read(data, &ReportKey([8; 32])), None, "nobody has this key");
    let Some(probe) = Probe::read(data, &KEY) else { return Reached::Refusal };
    let head = probe.head(&KEY);
    assert!(data.starts_with(&head));
    assert!(probe.kind != ProbeKind::Question || probe.answer().head(&KEY).len() <= data.len());
    Reached::Inside
}

const KEY: ReportKey = ReportKey([7; 32]);

/// A question, its answer, the beginning of a transfer.
pub(crate) fn probe_seeds() -> Vec<Vec<u8>> {
    let question =
        Probe { kind: ProbeKind::Question, size: 100, check: 1, from: 2, to: 3, network: 0, number: 1 };
    let stream = Probe { kind: ProbeKind::Stream, size: 0, ..question };
    vec![question.question(&KEY), question.answer().head(&KEY).to_vec(), stream.head(&KEY).to_vec()]
}

/// What an agent tells is bounded before it is looked at; what it is told is read whatever more is in it.
pub(crate) fn message(data: &[u8]) -> Reached {
    let told = serde_json::from_slice::<NetworkReply>(data);
    if let Ok(reply) = &told {
        let again = serde_json::to_vec(reply).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<NetworkReply>(&again).ok().as_ref(), Some(reply));
    }
    let Ok(ask) = serde_json::from_slice::<NetworkAsk>(data) else { return Reached::when(told.is_ok()) };
    let again = serde_json::to_vec(&ask).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<NetworkAsk>(&again).ok().as_ref(), Some(&ask));
    Reached::when(ask.check().is_ok())
}

/// A question of a node with a link; an answer with a step.
pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let ask = r#"{"wait_seconds":25,"links":[{"name":"eno1","mac":"52:54:00:00:00:01","carrier":true,"mtu":1500,
        "addresses":[{"address":"10.77.0.100","prefix":24}],"neighbours":[{"chassis":"a","port":"b"}]}],
        "done":{"check":1,"number":2,"heard":[{"from":1,"network":0,"packets":3,"largest":1500}]}}"#;
    let key = "07".repeat(32);
    let step = format!(
        r#"{{"step":{{"check":1,"number":2,"key":"{key}","me":0,"targets":[{{"to":1,"network":0,"address":"10.77.0.101",
        "sizes":[576,1500]}}]}}}}"#
    );
    vec![ask.as_bytes().to_vec(), step.into_bytes(), b"{}".to_vec()]
}
