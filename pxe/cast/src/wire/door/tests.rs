use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn ask() -> Ask {
    Ask { offset: 0x0102_0304_0506_0708, bytes: 4 << 20, image: [0xa5; 32] }
}

/// A question with some bytes replaced, and the code that belongs to them.
fn signed(at: usize, bytes: &[u8]) -> [u8; ASK_BYTES] {
    let mut packet = ask().packet(&KEY);
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    let code = blake3::keyed_hash(&KEY, &packet[..SIGNED_BYTES]);
    packet[SIGNED_BYTES..].copy_from_slice(&code.as_bytes()[..CODE_BYTES]);
    packet
}

fn answered(at: usize, bytes: &[u8]) -> [u8; ANSWER_BYTES] {
    let mut packet = Answer::Follows(5).packet();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn a_question_is_read_as_it_was_asked(
        offset in 0..=u64::MAX - u64::from(RANGE_BYTES_MAX),
        bytes in 1..=RANGE_BYTES_MAX,
        image: [u8; 32],
        key: [u8; 32],
    ) {
        let ask = Ask { offset, bytes, image };
        prop_assert_eq!(Ask::read(&ask.packet(&key), &key), Ok(ask));
    }

    #[test]
    fn an_answer_has_one_spelling(start in prop::array::uniform4(prop_oneof![0_u8..6, any::<u8>()]), bytes: u32) {
        let [version, kind, status, zero] = start;
        let [a, b, c, d] = bytes.to_le_bytes();
        let packet = [version, kind, status, zero, a, b, c, d];
        if let Ok(answer) = Answer::read(&packet) {
            prop_assert_eq!(answer.packet(), packet);
        }
    }

    #[test]
    fn nobody_guesses_a_code(start: [u8; 32], end: [u8; 32]) {
        let mut packet = [0; ASK_BYTES];
        packet[..32].copy_from_slice(&start);
        packet[32..].copy_from_slice(&end);
        prop_assert!(Ask::read(&packet, &KEY).is_err());
    }
}

#[test]
fn each_bit_of_a_question_is_authenticated() {
    let packet = ask().packet(&KEY);
    for bit in 0..ASK_BYTES * 8 {
        let mut bent = packet;
        bent[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Malformed::Version,
            1 => Malformed::Kind,
            _ => Malformed::Forged,
        };
        assert_eq!(Ask::read(&bent, &KEY), Err(expected), "bit {bit}");
    }
    assert_eq!(Ask::read(&packet, &[8; 32]), Err(Malformed::Forged), "of another door");
}

/// Whoever has a key may lie, not break anything.
#[test]
fn hostile_questions_with_the_right_code_are_refused() {
    let cases: [(&str, [u8; ASK_BYTES], Malformed); 9] = [
        ("version 0", signed(0, &[0]), Malformed::Version),
        ("the next version", signed(0, &[2]), Malformed::Version),
        ("a report", signed(1, &[3]), Malformed::Kind),
        ("an answer", signed(1, &[KIND_ANSWER]), Malformed::Kind),
        ("no zeros", signed(2, &[1, 0]), Malformed::Number),
        ("no bytes", signed(4, &[0; 4]), Malformed::Number),
        ("too many", signed(4, &(RANGE_BYTES_MAX + 1).to_le_bytes()), Malformed::Number),
        ("all there are", signed(4, &u32::MAX.to_le_bytes()), Malformed::Number),
        ("beyond all numbers", signed(8, &u64::MAX.to_le_bytes()), Malformed::Number),
    ];
    for (what, packet, why) in cases {
        assert_eq!(Ask::read(&packet, &KEY), Err(why), "{what}");
    }
    let last = Ask { offset: u64::MAX - 1, bytes: 1, ..ask() };
    assert_eq!(Ask::read(&last.packet(&KEY), &KEY), Ok(last), "up to the last number");
}

#[test]
fn hostile_answers_are_refused() {
    let cases: [(&str, [u8; ANSWER_BYTES], Malformed); 10] = [
        ("version 0", answered(0, &[0]), Malformed::Version),
        ("the next version", answered(0, &[2]), Malformed::Version),
        ("a question", answered(1, &[KIND_ASK]), Malformed::Kind),
        ("an unknown status", answered(2, &[3, 0, 0, 0, 0, 0]), Malformed::Number),
        ("no zero", answered(3, &[1]), Malformed::Number),
        ("nothing follows", answered(4, &[0; 4]), Malformed::Number),
        ("too much follows", answered(4, &(RANGE_BYTES_MAX + 1).to_le_bytes()), Malformed::Number),
        ("all there is follows", answered(4, &u32::MAX.to_le_bytes()), Malformed::Number),
        ("not here, and yet it follows", answered(2, &[NOT_HERE]), Malformed::Number),
        ("another image, and yet it follows", answered(2, &[OTHER_IMAGE]), Malformed::Number),
    ];
    for (what, packet, why) in cases {
        assert_eq!(Answer::read(&packet), Err(why), "{what}");
    }
    for answer in [Answer::Follows(1), Answer::Follows(RANGE_BYTES_MAX), Answer::NotHere, Answer::OtherImage]
    {
        assert_eq!(Answer::read(&answer.packet()), Ok(answer));
    }
}

#[test]
fn the_doors_wire_is_pinned() {
    let document = include_str!("../../../../../appliance/docs/cast.md");
    for bytes in [&ask().packet(&KEY)[..], &Answer::Follows(4 << 20).packet(), &Answer::NotHere.packet()] {
        let told = hex(bytes);
        assert!(document.contains(&format!("`{told}`")), "not in the document: {told}");
    }
}
