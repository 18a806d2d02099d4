//! TPMs: what one answers, as the agent reads it, and what it attests, as the controller does.

use protocol::tpm::{
    Attest, KeyKind, RESPONSE_BYTES_MAX, acknowledged, activated, created, quoted, session_started, signed,
};

use crate::Reached;

/// A key is taken only as it was asked for, whatever the bytes; what is refused says why.
pub(crate) fn answer(data: &[u8]) -> Reached {
    if let Err(why) = acknowledged(data) {
        assert!(!why.to_string().is_empty());
        assert!(session_started(data).is_err() && activated(data).is_err() && signed(data).is_err());
        return Reached::Refusal;
    }
    assert!(data.len() <= RESPONSE_BYTES_MAX);
    let keys =
        [KeyKind::Endorsement, KeyKind::Attestation].map(|kind| created(kind, data).map(|key| (kind, key)));
    assert!(keys.iter().filter(|key| key.is_ok()).count() < 2, "one key is not of both kinds");
    for (kind, (_, point)) in keys.into_iter().flatten() {
        let area = kind.public_area(&point);
        assert!(data.windows(area.len()).any(|window| window == area));
    }
    let _ = (session_started(data), activated(data));
    if let Ok(answer) = signed(data) {
        let _ = quoted(&answer.attest);
    }
    Reached::Inside
}

/// What a TPM has said.
pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../agent/protocol/tests/tpm/ek.hex"),
        include_str!("../../../agent/protocol/tests/tpm/ak.hex"),
        include_str!("../../../agent/protocol/tests/tpm/quote.hex"),
    ];
    let busy = vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22];
    texts.into_iter().map(bytes).chain([busy]).collect()
}

/// What it is over lies inside, and there is nothing behind it.
pub(crate) fn quote(data: &[u8]) -> Reached {
    let Some(attest) = Attest::new(data.to_vec()) else { return Reached::Refusal };
    let text = String::from(attest.clone());
    assert_eq!(Attest::try_from(text).as_ref(), Ok(&attest));
    match quoted(&attest) {
        Ok(over) => {
            assert!(over.len() < data.len());
            let longer = Attest::new([data, &[0]].concat());
            assert!(longer.is_none_or(|longer| quoted(&longer).is_err()));
            Reached::Inside
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            Reached::Refusal
        }
    }
}

/// The quote of a TPM, whole and cut.
pub(crate) fn quote_seeds() -> Vec<Vec<u8>> {
    let whole = bytes(include_str!("../../../agent/protocol/tests/tpm/quote.hex"));
    let attest = whole.get(16..16 + 139).unwrap_or_default().to_vec();
    let cut = attest.get(..80).unwrap_or_default().to_vec();
    vec![attest, cut]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.lines().collect::<String>();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap_or_default()
}
