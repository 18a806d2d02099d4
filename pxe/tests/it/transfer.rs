//! A transfer after its request: against a client that loses, repeats and reorders packets, and against those that do
//! worse.

use std::collections::VecDeque;
use std::time::Duration;

use pxe::tftp::{Ended, OPENINGS, PATIENCE, Packet, Sender, TftpAnswer, Transfer, decide};

const MTU: u16 = 1500;
const NOW: Duration = Duration::from_secs(1000);

fn request(options: &str) -> Vec<u8> {
    format!("\0\u{1}undionly.kpxe\0octet\0{}", options.replace(' ', "\0")).into_bytes()
}

fn agreed(options: &str) -> Transfer {
    match decide(&request(options), MTU) {
        TftpAnswer::Serve { transfer, .. } => transfer,
        other @ (TftpAnswer::Error(_) | TftpAnswer::Silence(_)) => panic!("{other:?}"),
    }
}

fn started(options: &str, size: u64) -> Sender {
    Sender::new(agreed(options), size, NOW)
}

/// Everything that is to be sent now.
fn out(sender: &mut Sender) -> Vec<Packet> {
    std::iter::from_fn(|| {
        let packet = sender.next()?;
        sender.sent();
        Some(packet)
    })
    .collect()
}

fn numbers(sender: &mut Sender) -> Vec<u16> {
    let number = |packet| match packet {
        Packet::Data { number, .. } => number,
        Packet::Oack => panic!("an OACK"),
    };
    out(sender).into_iter().map(number).collect()
}

fn ack(sender: &mut Sender, number: u16, now: Duration) {
    let [high, low] = number.to_be_bytes();
    sender.hear(&[0, 4, high, low], now);
}

#[test]
fn without_options_the_first_block_opens_and_a_short_one_ends() {
    let mut sender = started("", 1100);
    for (number, offset, length) in [(1, 0, 512), (2, 512, 512), (3, 1024, 76)] {
        assert_eq!(out(&mut sender), [Packet::Data { number, offset, length }]);
        assert_eq!(sender.ended(), None);
        ack(&mut sender, number, NOW);
    }
    assert_eq!(sender.ended(), Some(&Ended::Whole));
    assert_eq!(out(&mut sender), []);
    for (size, blocks) in [(0, 1), (511, 1), (512, 2), (1024, 3)] {
        let mut sender = started("", size);
        let mut sent = 0;
        while sender.ended().is_none() {
            sent += numbers(&mut sender).len();
            ack(&mut sender, u16::try_from(sent).unwrap(), NOW);
        }
        assert_eq!(sent, blocks, "{size}");
    }
}

#[test]
fn with_options_the_answer_to_them_opens_and_windows_follow() {
    let mut sender = started("blksize 1000 windowsize 4 ", 9500);
    assert_eq!(out(&mut sender), [Packet::Oack]);
    for early in [1, 4, 9999] {
        ack(&mut sender, early, NOW);
    }
    assert_eq!(out(&mut sender), [], "nothing was acknowledged that was sent");
    ack(&mut sender, 0, NOW);
    assert_eq!(numbers(&mut sender), [1, 2, 3, 4]);
    ack(&mut sender, 4, NOW);
    assert_eq!(numbers(&mut sender), [5, 6, 7, 8]);
    ack(&mut sender, 6, NOW);
    assert_eq!(numbers(&mut sender), [7, 8, 9, 10], "7 was lost: RFC 7440 section 4");
    ack(&mut sender, 10, NOW);
    assert_eq!(sender.ended(), Some(&Ended::Whole));
}

#[test]
fn what_could_not_be_sent_is_asked_for_again() {
    let mut sender = started("windowsize 2 ", 9500);
    assert_eq!(sender.next(), Some(Packet::Oack));
    assert_eq!(sender.next(), Some(Packet::Oack));
    ack(&mut sender, 0, NOW);
    assert_eq!(sender.next(), Some(Packet::Oack), "an answer to what was not sent is none");
}

#[test]
fn the_number_comes_round_to_0() {
    let blocks = 3 * 65_536_u64 + 10;
    let mut sender = started("blksize 8 windowsize 16 ", blocks * 8);
    out(&mut sender);
    ack(&mut sender, 0, NOW);
    let (mut total, mut last) = (0_u64, 0_u16);
    while sender.ended().is_none() {
        for number in numbers(&mut sender) {
            assert_eq!(number, last.wrapping_add(1));
            (last, total) = (number, total + 1);
        }
        ack(&mut sender, last, NOW);
    }
    assert_eq!(total, blocks + 1, "and an empty one at the end");
}

#[test]
fn a_repeated_acknowledgement_is_no_second_one() {
    let mut sender = started("", 5000);
    numbers(&mut sender);
    ack(&mut sender, 1, NOW);
    assert_eq!(numbers(&mut sender), [2]);
    for number in [1, 1, 0, 3, 40_000, 65_535] {
        ack(&mut sender, number, NOW);
    }
    assert_eq!(numbers(&mut sender), [0_u16; 0], "the sorcerer's apprentice: RFC 1123 section 4.2.3.1");
}

#[test]
fn with_windows_a_repeated_acknowledgement_brings_the_window_back_once() {
    let mut sender = started("windowsize 4 ", 50_000);
    out(&mut sender);
    ack(&mut sender, 0, NOW);
    numbers(&mut sender);
    ack(&mut sender, 4, NOW);
    assert_eq!(numbers(&mut sender), [5, 6, 7, 8]);
    ack(&mut sender, 4, NOW);
    assert_eq!(numbers(&mut sender), [5, 6, 7, 8], "5 was lost");
    ack(&mut sender, 4, NOW);
    assert_eq!(numbers(&mut sender), [0_u16; 0], "once");
    ack(&mut sender, 8, NOW);
    assert_eq!(numbers(&mut sender), [9, 10, 11, 12]);
    ack(&mut sender, 8, NOW);
    assert_eq!(numbers(&mut sender), [0_u16; 0], "the answer to the second sending of 5 to 8");
    ack(&mut sender, 12, NOW);
    numbers(&mut sender);
    ack(&mut sender, 16, NOW);
    numbers(&mut sender);
    ack(&mut sender, 16, NOW);
    assert_eq!(numbers(&mut sender), [17, 18, 19, 20], "and believed again");
}

/// Lets time pass until the end; how many packets were sent.
fn wait_out(sender: &mut Sender) -> usize {
    let mut sent = 0;
    for _ in 0..10_000 {
        sent += out(sender).len();
        if sender.ended().is_some() {
            return sent;
        }
        sender.late(sender.deadline());
    }
    panic!("it never ends");
}

#[test]
fn a_client_that_says_nothing_costs_three_packets() {
    for options in ["", "tsize 0 ", "blksize 1468 windowsize 16 timeout 10 "] {
        let mut sender = started(options, 1_000_000);
        assert_eq!(wait_out(&mut sender), 3, "{options}");
        assert_eq!((sender.ended(), OPENINGS), (Some(&Ended::Unanswered), 3));
        assert_eq!(sender.taken(), None);
        let waited = sender.deadline() - NOW;
        assert!(waited <= Duration::from_secs(50), "{waited:?}");
    }
    // With IP's and UDP's headers (28 octets), the answer to options costs at most three times its request.
    let options = "blksize 1468 windowsize 16 timeout 10 tsize 0 ";
    let (asked, oack) = (request(options).len(), agreed(options).oack(99_999_999).unwrap().len());
    assert!(3 * (28 + oack) <= 3 * (28 + asked), "{oack} {asked}");
}

#[test]
fn a_client_that_falls_silent_is_let_go() {
    let mut sender = started("windowsize 16 ", 1_000_000);
    out(&mut sender);
    ack(&mut sender, 0, NOW);
    let sent = wait_out(&mut sender);
    let Some(Ended::Silent(quiet)) = sender.ended() else { panic!("{:?}", sender.ended()) };
    assert!(*quiet >= PATIENCE && sent <= 16 * 31, "{quiet:?}, {sent}");
    assert_eq!(sender.taken(), Some(0), "it has heard us, and not one block");
    let mut late = started("timeout 10 ", 1_000_000);
    out(&mut late);
    ack(&mut late, 0, NOW);
    wait_out(&mut late);
    assert!(late.deadline() - NOW >= Duration::from_secs(80), "eight of its time-outs");
}

#[test]
fn asking_again_brings_the_answer_again_until_something_was_heard() {
    let mut sender = started("blksize 1024 ", 5000);
    for _ in 0..3 {
        assert_eq!(out(&mut sender), [Packet::Oack]);
        sender.asked_again(NOW);
    }
    out(&mut sender);
    ack(&mut sender, 0, NOW);
    assert_eq!(numbers(&mut sender), [1]);
    sender.asked_again(NOW);
    assert_eq!(out(&mut sender), [], "a request that was late");
}

#[test]
fn a_client_that_breaks_off_is_heard_at_any_time() {
    let mut sender = started("blksize 1024 tsize 0 ", 5000);
    out(&mut sender);
    sender.hear(b"\0\x05\0\x08no\x1b[2J\xff\0rest", NOW);
    let said = sender.ended().unwrap().to_string();
    assert_eq!(said, "the client broke off: error 8 (options refused): no?[2J?");
    ack(&mut sender, 0, NOW);
    sender.late(NOW + PATIENCE);
    assert_eq!(out(&mut sender), []);
    for (body, shown) in [(&b""[..], "error 0 (not defined): "), (&[0, 200][..], "error 200 (unknown): ")] {
        let mut sender = started("", 1);
        sender.hear(&[&[0, 5], body].concat(), NOW);
        assert_eq!(sender.ended(), Some(&Ended::BrokenOff(shown.to_owned())));
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, of: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % of
    }
}

/// A wire that loses, repeats and reorders.
struct Wire {
    dice: Dice,
    to: VecDeque<Packet>,
    from: VecDeque<u16>,
}

impl Wire {
    fn carry<T: Copy>(dice: &mut Dice, loss: u64, queue: &mut VecDeque<T>, what: T) {
        if dice.roll(100) < loss {
            return;
        }
        let copies = 1 + usize::from(dice.roll(100) < 10);
        for _ in 0..copies {
            let at = if dice.roll(100) < 10 { queue.len().saturating_sub(1) } else { queue.len() };
            queue.insert(at, what);
        }
    }
}

/// A client of RFC 1350 and 7440: blocks in order; what it said last is said again when nothing comes.
#[derive(Default)]
struct Client {
    opened: bool,
    last: u16,
    got: u64,
    unsaid: u16,
    whole: bool,
}

impl Client {
    fn take(&mut self, packet: Packet, block: u16, window: u16) -> Option<u16> {
        match packet {
            Packet::Oack => {
                let first = !self.opened || self.got == 0;
                self.opened = true;
                first.then_some(0)
            }
            Packet::Data { number, offset, length } => {
                if number != self.last.wrapping_add(1) {
                    let gap = number.wrapping_sub(self.last) <= window && self.unsaid > 0;
                    self.unsaid = 0;
                    return (gap || self.whole).then_some(self.last);
                }
                assert_eq!(offset, self.got, "the right place");
                self.got += u64::from(length);
                (self.last, self.unsaid) = (number, self.unsaid + 1);
                self.whole = length < block;
                (self.whole || self.unsaid >= window).then(|| {
                    self.unsaid = 0;
                    self.last
                })
            }
        }
    }
}

#[test]
fn every_transfer_ends_whole_over_a_wire_that_loses_repeats_and_reorders() {
    for (number, loss) in [0, 5, 15, 30].into_iter().enumerate() {
        for options in ["", "blksize 1468 ", "blksize 1468 windowsize 4 ", "windowsize 16 "] {
            let (transfer, size) = (agreed(options), 200_000);
            let mut sender = Sender::new(transfer, size, NOW);
            let dice = Dice(u64::try_from(number).unwrap() + 7);
            let mut wire = Wire { dice, to: VecDeque::new(), from: VecDeque::new() };
            let (mut client, mut now, mut sent) = (Client::default(), NOW, 0_u64);
            while !client.whole {
                for packet in out(&mut sender) {
                    sent += 1;
                    Wire::carry(&mut wire.dice, loss, &mut wire.to, packet);
                }
                if let Some(packet) = wire.to.pop_front() {
                    if let Some(said) = client.take(packet, transfer.block, transfer.window) {
                        Wire::carry(&mut wire.dice, loss, &mut wire.from, said);
                    }
                } else if let Some(said) = wire.from.pop_front() {
                    ack(&mut sender, said, now);
                } else {
                    // The client's time-out is a little longer than ours, as it is said to be.
                    now = sender.deadline();
                    sender.late(now);
                    if !client.opened && client.got == 0 {
                        sender.asked_again(now);
                    } else if wire.dice.roll(2) == 0 {
                        Wire::carry(&mut wire.dice, loss, &mut wire.from, client.last);
                    }
                }
                assert_eq!(
                    sender.ended().filter(|ended| **ended != Ended::Whole),
                    None,
                    "{loss} % {options}"
                );
            }
            let blocks = size / u64::from(transfer.block) + 2;
            assert_eq!(client.got, size, "{loss} % {options}");
            // A client drops what comes after a gap, and what was only late is a gap to it: that costs up to a window each.
            let window = u64::from(transfer.window);
            let times = if loss == 0 { 2 } else { 8 } + window / 4;
            assert!(sent <= blocks * times, "{loss} % {options}: {sent} packets for {blocks} blocks");
        }
    }
}
