//! Commands and answers of TPMs, against what one has said; and answers that no TPM should give.

use data_encoding::HEXLOWER as HEX;
use protocol::tpm::{
    ATTEST_BYTES_MAX, Attest, AttestError, Handle, KeyKind, ResponseError, acknowledged, activated,
    create_primary, created, quoted, session_started, signed,
};

fn bytes(hex: &str) -> Vec<u8> {
    HEX.decode(hex.lines().collect::<String>().as_bytes()).unwrap()
}

fn ek() -> Vec<u8> {
    bytes(include_str!("../tpm/ek.hex"))
}

fn ak() -> Vec<u8> {
    bytes(include_str!("../tpm/ak.hex"))
}

fn quote() -> Vec<u8> {
    bytes(include_str!("../tpm/quote.hex"))
}

/// With its own length in the header.
fn sound(mut answer: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
    answer[2..6].copy_from_slice(&length);
    answer
}

#[test]
fn keys_are_made_as_a_tpm_makes_them() {
    assert_eq!(create_primary(KeyKind::Endorsement), bytes(include_str!("../tpm/ek-command.hex")));
    assert_eq!(create_primary(KeyKind::Attestation), bytes(include_str!("../tpm/ak-command.hex")));
    let (handle, point) = created(KeyKind::Endorsement, &ek()).unwrap();
    assert_eq!(handle, Handle(0x8000_0000));
    assert!(HEX.encode(&point.0).starts_with("a4641b45e65ebd00"));
    let (handle, point) = created(KeyKind::Attestation, &ak()).unwrap();
    assert_eq!(handle, Handle(0x8000_0001));
    assert!(HEX.encode(&point.0).starts_with("0f7d19a0bbd9f00b"));
    // One is not taken for the other.
    assert_eq!(created(KeyKind::Attestation, &ek()).unwrap_err(), ResponseError::Key);
    assert_eq!(created(KeyKind::Endorsement, &ak()).unwrap_err(), ResponseError::Key);
}

#[test]
fn a_key_with_one_bit_of_its_shape_changed_is_none() {
    let good = ek();
    // The public area, but for the point: type, digest, attributes, policy, ciphers, curve.
    for byte in 20..20 + 122 - 68 {
        for bit in 0..8 {
            let mut bent = good.clone();
            bent[byte] ^= 1 << bit;
            created(KeyKind::Endorsement, &bent).unwrap_err();
        }
    }
}

#[test]
fn a_quote_is_read_to_its_end() {
    let answer = signed(&quote()).unwrap();
    assert_eq!(quoted(&answer.attest).unwrap(), [0x11; 32]);
    assert!(HEX.encode(&answer.signature.0).starts_with("d19126d8c6da1f71"));
    let attest = |change: fn(&mut Vec<u8>)| {
        let mut bytes = answer.attest.as_bytes().to_vec();
        change(&mut bytes);
        quoted(&Attest::new(bytes).unwrap()).map(<[u8]>::to_vec)
    };
    assert_eq!(attest(|all| all[0] = 0), Err(AttestError::Foreign));
    assert_eq!(attest(|all| all[5] = 0x17), Err(AttestError::Kind(0x8017)), "a certified key is no quote");
    assert_eq!(attest(|all| all.push(0)), Err(AttestError::Length));
    assert_eq!(attest(Vec::clear), Err(AttestError::Length));
    let banks = answer.attest.as_bytes().len() - 34 - 4;
    let mut bent = answer.attest.as_bytes().to_vec();
    bent[banks + 3] = 1;
    assert_eq!(quoted(&Attest::new(bent).unwrap()), Err(AttestError::Banks(1)));
    for length in 0..answer.attest.as_bytes().len() {
        let cut = Attest::new(answer.attest.as_bytes()[..length].to_vec()).unwrap();
        quoted(&cut).unwrap_err();
    }
}

#[test]
fn hostile_answers_are_refused() {
    for answer in [ek(), ak(), quote()] {
        for length in 0..answer.len() {
            let cut = &answer[..length];
            assert_eq!(acknowledged(cut), Err(ResponseError::Length), "it does not say so itself");
            let cut = if length < 10 { cut.to_vec() } else { sound(cut.to_vec()) };
            // Cut where it says so, no key, secret or signature is whole; what follows them is not ours.
            let _ =
                (created(KeyKind::Endorsement, &cut), signed(&cut), activated(&cut), session_started(&cut));
        }
    }
    let refused = |code: u32| {
        let answer = [&[0x80, 0x01, 0, 0, 0, 10], code.to_be_bytes().as_slice()].concat();
        acknowledged(&answer).unwrap_err()
    };
    assert_eq!(refused(0x922), ResponseError::Busy(0x922));
    assert!(refused(0x9a2).to_string().contains("has a password"), "{}", refused(0x9a2));
    assert!(refused(0x101).to_string().contains("failure mode"));
    assert!(refused(0x184).to_string().ends_with("0x184"));
    let table: [(&str, Vec<u8>); 5] = [
        ("nothing", vec![]),
        ("a header that ends", vec![0x80, 0x02, 0, 0, 0, 10, 0, 0, 0]),
        ("longer than a buffer", sound([ek(), vec![0; 4096]].concat())),
        ("a length of 4 GiB", [&[0x80, 0x02, 0xff, 0xff, 0xff, 0xff], &ek()[6..]].concat()),
        ("a key of 65535 bytes", {
            let mut answer = ek();
            answer[18..20].copy_from_slice(&[0xff; 2]);
            answer
        }),
    ];
    for (what, answer) in table {
        assert_eq!(created(KeyKind::Endorsement, &answer), Err(ResponseError::Length), "{what}");
    }
    // A secret of another length, a number of more than 32 bytes, another scheme.
    let secret = |bytes: usize| {
        let mut answer = [&ek()[..14], &u16::try_from(bytes).unwrap().to_be_bytes()].concat();
        answer.extend(vec![7; bytes]);
        activated(&sound(answer))
    };
    assert_eq!(secret(31), Err(ResponseError::Secret));
    assert_eq!(secret(32).unwrap().0, [7; 32]);
    let mut other = quote();
    let scheme = 16 + 139;
    other[scheme + 1] = 0x14;
    assert_eq!(signed(&other), Err(ResponseError::Scheme));
    let mut long = quote();
    long[scheme + 5] = 0x21;
    assert_eq!(signed(&long), Err(ResponseError::Scheme));
    assert_eq!(Attest::new(vec![0; ATTEST_BYTES_MAX + 1]), None);
    let text = "00".repeat(ATTEST_BYTES_MAX + 1);
    Attest::try_from(text).unwrap_err();
}
