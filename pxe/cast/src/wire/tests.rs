use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];
const SESSION: u64 = 0x0102_0304_0506_0708;
const SLOT: u32 = 3;

/// Only [`SLOT`] of [`SESSION`] may report.
fn key_of(session: u64, slot: u32) -> Option<[u8; 32]> {
    (session == SESSION && slot == SLOT).then_some(KEY)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn data() -> Data {
    Data { session: SESSION, group: 9, symbols: 1000, symbol: 1030, sequence: 0xffff_fffe, asks: true }
}

fn beat() -> Beat {
    Beat { session: SESSION, next: 0x0a0b_0c0d, asks: true }
}

fn report() -> Report {
    let runs = vec![Run { groups: 300, deficit: 0 }, Run { groups: 1, deficit: 17 }];
    Report { session: SESSION, slot: SLOT, number: 5, next: 70_000, received: 69_000, first: 2, runs }
}

fn data_packet(data: &Data) -> Vec<u8> {
    let symbol = (0..SYMBOL_BYTES).map(|at| u8::try_from(at % 251).unwrap());
    data.header().into_iter().chain(symbol).collect()
}

/// A packet with some bytes replaced.
fn bent(packet: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut bent = packet.to_vec();
    bent[at..at + bytes.len()].copy_from_slice(bytes);
    bent
}

/// A report's bytes, with some replaced, and the code that belongs to them.
fn signed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let whole = report().packet(&KEY);
    let body = bent(&whole[..whole.len() - CODE_BYTES], at, bytes);
    sealed(&body)
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &blake3::keyed_hash(&KEY, body).as_bytes()[..CODE_BYTES]].concat()
}

prop_compose! {
    fn any_data()(session: u64, group: u32, symbols in 1..=SYMBOLS_MAX, symbol: u16, sequence: u32, asks: bool) -> Data {
        Data { session, group, symbols, symbol, sequence, asks }
    }
}

prop_compose! {
    fn any_report()(
        number: u32,
        next: u32,
        received: u32,
        first in 0..u32::MAX - (1 << 25),
        runs in prop::collection::vec((1..=u16::MAX, 0..=SYMBOLS_MAX), 0..=RUNS_MAX),
    ) -> Report {
        let runs = runs.into_iter().map(|(groups, deficit)| Run { groups, deficit }).collect();
        Report { session: SESSION, slot: SLOT, number, next, received, first, runs }
    }
}

proptest! {
    #[test]
    fn data_is_heard_as_it_was_sent(data in any_data()) {
        let packet = data_packet(&data);
        prop_assert_eq!(packet.len(), DATA_BYTES);
        let Ok(Heard::Data(heard, symbol)) = hear(&packet) else { panic!("{packet:?}") };
        prop_assert_eq!(heard, data);
        prop_assert_eq!(&symbol[..], &packet[HEADER_BYTES..]);
    }

    #[test]
    fn a_beat_is_heard_as_it_was_sent(session: u64, next: u32, asks: bool) {
        let beat = Beat { session, next, asks };
        let packet = beat.packet();
        prop_assert_eq!(hear(&packet), Ok(Heard::Beat(beat)));
    }

    #[test]
    fn a_report_is_read_as_it_was_written(report in any_report()) {
        let packet = report.packet(&KEY);
        prop_assert!(packet.len() <= REPORT_BYTES_MAX);
        prop_assert_eq!(Report::read(&packet, key_of), Ok(report));
    }

    /// Whatever is accepted is written back as the same bytes: there is one spelling only.
    #[test]
    fn what_is_heard_has_one_spelling(
        head in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], HEADER_BYTES),
        kind in 1..=2_u8,
    ) {
        let mut packet = [VERSION, kind].to_vec();
        packet.extend_from_slice(&head[2..]);
        match kind {
            KIND_DATA => packet.resize(DATA_BYTES, 9),
            _ => packet.truncate(BEAT_BYTES),
        }
        match hear(&packet) {
            Ok(Heard::Data(data, symbol)) => prop_assert_eq!([&data.header()[..], symbol].concat(), packet),
            Ok(Heard::Beat(beat)) => prop_assert_eq!(&beat.packet()[..], packet),
            Err(why) => prop_assert_eq!(why, Malformed::Number),
        }
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..2 * DATA_BYTES)) {
        let _heard = hear(&bytes);
        prop_assert!(Report::read(&bytes, key_of).is_err(), "nobody guesses the code");
    }
}

#[test]
fn each_bit_of_a_report_is_authenticated() {
    let packet = report().packet(&KEY);
    for bit in 0..packet.len() * 8 {
        let flipped = packet[bit / 8] ^ (1 << (bit % 8));
        let read = Report::read(&bent(&packet, bit / 8, &[flipped]), key_of);
        let expected = match bit / 8 {
            0 => Malformed::Version,
            1 => Malformed::Kind,
            _ => Malformed::Forged,
        };
        assert_eq!(read, Err(expected), "bit {bit}");
    }
}

#[test]
fn a_report_is_only_his_who_has_the_key() {
    let packet = report().packet(&[8; 32]);
    assert_eq!(Report::read(&packet, key_of), Err(Malformed::Forged), "another's key");
    assert_eq!(Report::read(&packet, |_, _| None), Err(Malformed::Forged), "nobody's");
    let other = Report { slot: SLOT + 1, ..report() }.packet(&KEY);
    assert_eq!(Report::read(&other, key_of), Err(Malformed::Forged), "in another's name");
    let other = Report { session: SESSION + 1, ..report() }.packet(&KEY);
    assert_eq!(Report::read(&other, key_of), Err(Malformed::Forged), "of another session");
}

#[test]
fn a_replayed_report_shows_its_number() {
    let packet = report().packet(&KEY);
    let read = || Report::read(&packet, key_of).map(|report| report.number);
    assert_eq!((read(), read()), (Ok(5), Ok(5)), "the sender, which remembers the last, refuses it");
}

#[test]
fn a_packet_of_another_length_is_refused() {
    let (data, beat, report) = (data_packet(&data()), beat().packet(), report().packet(&KEY));
    for packet in [&data[..], &beat] {
        for length in 0..packet.len() {
            assert_eq!(hear(&packet[..length]), Err(Malformed::Length), "{length} of {}", packet.len());
        }
        assert_eq!(hear(&[packet, &[0]].concat()), Err(Malformed::Length), "one more than {}", packet.len());
    }
    for length in 0..report.len() {
        let read = Report::read(&report[..length], key_of);
        let is_long_enough = length >= REPORT_HEAD + CODE_BYTES;
        let expected = if is_long_enough { Malformed::Forged } else { Malformed::Length };
        assert_eq!(read, Err(expected), "{length} of {}", report.len());
    }
}

#[test]
fn hostile_packets_of_the_sender_are_refused() {
    let (data, beat) = (data_packet(&data()), beat().packet());
    let cases: [(&str, Vec<u8>, Malformed); 13] = [
        ("nothing", vec![], Malformed::Length),
        ("one byte", vec![VERSION], Malformed::Length),
        ("another version, one byte more", vec![VERSION + 1, KIND_DATA], Malformed::Version),
        ("version 0", bent(&data, 0, &[0]), Malformed::Version),
        ("the next version", bent(&data, 0, &[VERSION + 1]), Malformed::Version),
        ("kind 0", bent(&data, 1, &[0]), Malformed::Kind),
        ("a report", report().packet(&KEY), Malformed::Kind),
        ("an unknown kind", bent(&beat, 1, &[4]), Malformed::Kind),
        ("data in a beat's length", bent(&beat, 1, &[KIND_DATA]), Malformed::Length),
        ("a beat in data's length", bent(&data, 1, &[KIND_BEAT]), Malformed::Length),
        ("no symbols", bent(&data, 16, &[0, 0]), Malformed::Number),
        ("1025 symbols", bent(&data, 16, &1025_u16.to_le_bytes()), Malformed::Number),
        ("unknown flags", bent(&data, 18, &[3, 0]), Malformed::Number),
    ];
    for (what, packet, why) in cases {
        assert_eq!(hear(&packet), Err(why), "{what}");
    }
    for flags in 2..=u16::MAX {
        assert_eq!(hear(&bent(&beat, 2, &flags.to_le_bytes())), Err(Malformed::Number), "flags {flags}");
    }
}

/// Whoever has a key may lie, not break anything.
#[test]
fn hostile_reports_with_the_right_code_are_refused() {
    let whole = report().packet(&KEY);
    let body = &whole[..whole.len() - CODE_BYTES];
    let too_long = [&body[..REPORT_HEAD], &[1, 0, 0, 0].repeat(RUNS_MAX + 1)].concat();
    let nothing = bent(&bent(body, 36, &[0, 0]), 32, &1_u32.to_le_bytes());
    let cases: [(&str, Vec<u8>, Malformed); 12] = [
        ("a run of no groups, and the sum is right", sealed(&nothing), Malformed::Number),
        ("a beat", sealed(&bent(body, 1, &[KIND_BEAT])), Malformed::Kind),
        ("another version", sealed(&bent(body, 0, &[VERSION + 1])), Malformed::Version),
        ("flags", signed(2, &[1, 0]), Malformed::Number),
        ("a head that is cut", sealed(&body[..REPORT_HEAD - 1]), Malformed::Length),
        ("a run that is cut", sealed(&body[..body.len() - 1]), Malformed::Length),
        ("a run of no groups", signed(36, &[0, 0]), Malformed::Number),
        ("a deficit of 1025", signed(38, &1025_u16.to_le_bytes()), Malformed::Number),
        ("fewer groups than it says", signed(32, &302_u32.to_le_bytes()), Malformed::Number),
        ("more groups than it says", signed(32, &300_u32.to_le_bytes()), Malformed::Number),
        ("groups beyond all numbers", signed(28, &(u32::MAX - 300).to_le_bytes()), Malformed::Number),
        ("more runs than there may be", sealed(&too_long), Malformed::Length),
    ];
    for (what, packet, why) in cases {
        assert_eq!(Report::read(&packet, key_of), Err(why), "{what}");
    }
    let last = signed(28, &(u32::MAX - 301).to_le_bytes());
    assert!(Report::read(&last, key_of).is_ok(), "up to the last number");
    let empty = bent(&body[..REPORT_HEAD], 32, &[0; 4]);
    assert!(Report::read(&sealed(&empty), key_of).is_ok(), "of no groups");
}

#[test]
fn runs_that_do_not_fit_are_left_out() {
    let runs = vec![Run { groups: u16::MAX, deficit: SYMBOLS_MAX }; RUNS_MAX + 9];
    let packet = Report { runs, ..report() }.packet(&KEY);
    assert_eq!(packet.len(), REPORT_BYTES_MAX);
    assert_eq!(Report::read(&packet, key_of).map(|report| report.runs.len()), Ok(RUNS_MAX));
}

#[test]
fn the_wire_is_pinned() {
    let document = include_str!("../../../../appliance/docs/cast.md");
    for bytes in [&data().header()[..], &beat().packet(), &report().packet(&KEY)] {
        let told = hex(bytes);
        assert!(document.contains(&told), "not in the document: {told}");
    }
}
