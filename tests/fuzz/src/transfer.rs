//! A TFTP client after its request: whatever it says, and whenever.

use std::time::Duration;

use pxe::tftp::{OPENINGS, Packet, Sender, TftpAnswer, Transfer, decide};

use crate::Reached;
use crate::input::Input;

/// Things that a client does in one input.
const STEPS: usize = 400;
/// Sendings of a window that one acknowledgement, time-out or request can bring.
const ROUNDS: u64 = 2;

/// One transfer, and what its client has been sent.
struct Run {
    sender: Sender,
    transfer: Transfer,
    size: u64,
    now: Duration,
    /// The furthest end of what was sent.
    furthest: u64,
    packets: u64,
    /// What can have brought packets: time-outs, further requests, acknowledgements of something.
    causes: u64,
    heard: bool,
}

/// Never more than a window each time, never beyond the end, and to an end when the client falls silent.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let size = u64::from(input.u32() % 3_000_000);
    let TftpAnswer::Serve { transfer, .. } = decide(input.block(), 1500) else { return Reached::Refusal };
    let now = Duration::from_secs(1);
    let sender = Sender::new(transfer, size, now);
    let mut run = Run { sender, transfer, size, now, furthest: 0, packets: 0, causes: 1, heard: false };
    for _ in 0..STEPS {
        run.send(usize::from(input.byte()));
        if input.is_empty() || run.sender.ended().is_some() {
            break;
        }
        run.client(&mut input);
    }
    run.silence();
    Reached::when(run.furthest > 0)
}

impl Run {
    /// At most so many packets are taken: the kernel may have no room for more.
    fn send(&mut self, most: usize) {
        let window = u64::from(self.transfer.window);
        for _ in 0..most {
            let Some(packet) = self.sender.next() else { break };
            assert_eq!(self.sender.ended(), None, "sent after the end");
            assert_eq!(self.sender.next(), Some(packet), "the same until it was sent");
            if let Packet::Data { offset, length, number } = packet {
                let block = u64::from(self.transfer.block);
                assert!(offset.is_multiple_of(block) && offset <= self.size && u64::from(length) <= block);
                assert!(offset + u64::from(length) <= self.size);
                assert_eq!(u64::from(number), (offset / block + 1) % 65_536);
                self.furthest = self.furthest.max(offset + 1);
            }
            self.sender.sent();
            self.packets += 1;
        }
        assert!(self.packets <= self.causes * window * ROUNDS, "{} packets of {}", self.packets, self.causes);
    }

    fn client(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        match what % 8 {
            // Any packet.
            0 => {
                let packet = input.block();
                self.hear(packet);
            }
            1 => {
                self.now += Duration::from_millis(u64::from(input.byte()) * 50);
                self.late();
            }
            2 => {
                self.causes += 1;
                self.sender.asked_again(self.now);
            }
            // An acknowledgement near what was sent last.
            _ => {
                let block = u64::from(self.transfer.block);
                let last = self.furthest.checked_sub(1).map_or(0, |offset| offset / block + 1);
                let back = u64::from(input.byte() % 20);
                let number = last.wrapping_add(2).wrapping_sub(back) % 65_536;
                let [.., high, low] = number.to_be_bytes();
                self.hear(&[0, 4, high, low]);
            }
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        self.heard |= packet.starts_with(&[0, 4]);
        self.causes += u64::from(packet.starts_with(&[0, 4]));
        self.sender.hear(packet, self.now);
    }

    fn late(&mut self) {
        self.causes += u64::from(self.now >= self.sender.deadline());
        self.sender.late(self.now);
    }

    /// The client says nothing more: the transfer ends, after a bounded number of packets.
    fn silence(&mut self) {
        for _ in 0..200 {
            self.send(usize::MAX);
            if let Some(ended) = self.sender.ended() {
                assert!(!ended.to_string().is_empty());
                assert!(self.heard || self.packets <= u64::from(OPENINGS) + self.causes);
                return;
            }
            assert!(
                self.sender.deadline() > self.now,
                "a deadline that has passed would be looked at for ever"
            );
            self.now = self.sender.deadline();
            self.late();
        }
        panic!("it never ends");
    }
}

/// A whole transfer as OVMF makes it; one of 1992; refused options; round the block numbers.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let request = |options: &str| {
        let packet = format!("\0\u{1}undionly.kpxe\0octet\0{}", options.replace(' ', "\0"));
        let length = u16::try_from(packet.len()).unwrap_or_default();
        [&length.to_le_bytes()[..], packet.as_bytes()].concat()
    };
    let seed = |size: u32, options: &str, client: &[u8]| {
        [&size.to_le_bytes()[..], &request(options), client].concat()
    };
    let follows = [200, 3, 2].repeat(60);
    let refuses = [&[200, 0, 6, 0][..], b"\0\x05\0\x08no"].concat();
    let lossy = [200, 3, 2, 3, 3, 5, 200, 1, 30, 9, 3, 2, 200, 3, 3, 1, 3, 2].repeat(20);
    vec![
        seed(20_000, "blksize 1468 windowsize 4 ", &[&[200, 0, 4, 0, 0, 4, 0, 0][..], &follows].concat()),
        seed(5000, "", &follows),
        seed(5000, "tsize 0 blksize 1468 ", &refuses),
        seed(2_000_000, "blksize 8 ", &[&[200, 0, 4, 0, 0, 4, 0, 0][..], &follows].concat()),
        seed(40_000, "windowsize 16 ", &[&[200, 0, 4, 0, 0, 4, 0, 0][..], &lossy].concat()),
        seed(100, "timeout 10 ", &[200, 2, 200, 2, 200, 1, 255, 200, 1, 255]),
    ]
}
