//! The black box: steps as strangers make them in, findings that a person can read out.

use std::net::Ipv4Addr;

use pxe::diagnose::{Facts, MOST_FINDINGS, diagnose};
use pxe::trace::{
    Answer, Book, By, Class, Dhcp, End, Fetch, MOST_CARDS, MOST_STEPS, Message, Plain, STEPS, Silence, Stage,
    Step, Task, What,
};
use pxe::{Mac, Time};

use crate::Reached;
use crate::input::Input;

const NAMES: [&str; 16] = [
    "sb/shimx64.efi",
    "/sb//grubx64.efi",
    "grubx64.efi",
    "undionly.kpxe",
    "ipxe/snponly.efi",
    "/grub/grub.cfg",
    "autoexec.ipxe",
    "/boot/52:54:00:00:00:01/grub.cfg",
    "/boot/52-54-00-00-00-01/script.ipxe",
    "/boot/vmlinuz",
    "/boot/initrd.img",
    "pxelinux.0",
    "",
    "/",
    "x/local-boot",
    "sb/revocations_sku.efi",
];

/// Whatever comes in whatever order at whatever time: memory stays bounded, and every finding and every step can be
/// printed.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut book = Book::default();
    let facts = facts(&mut input);
    let mut now = Time(input.u64());
    let mut steps = 0;
    while !input.is_empty() && steps < 4 * STEPS {
        // Mostly forwards, now and then back or far ahead, as clocks that are set do.
        let jump = u64::from(input.byte());
        now = match jump {
            0 => Time(input.u64()),
            1..=4 => Time(now.0.saturating_sub(jump * 1000)),
            _ => Time(now.0.saturating_add(jump * jump * 4)),
        };
        let last = input.byte();
        let mac = Mac::new([2, 0, 0, 0, 0, last & 3]).unwrap_or_else(|_| unreachable!("no group, not zero"));
        let step = Step::new(now, what(&mut input));
        match step.what {
            What::Link { .. } | What::Foreign { .. } => book.note_around(step),
            What::Dhcp(_) | What::Fetch(_) | What::Router | What::Tls { .. } | What::Hello { .. } => {
                book.note(mac, || last & 4 == 0, step)
            }
        }
        steps += 1;
    }
    look(&book, &facts, now);
    Reached::when(steps > 0)
}

fn look(book: &Book, facts: &Facts, now: Time) {
    assert!(book.cards().count() <= MOST_CARDS && book.len() <= MOST_STEPS);
    for mac in book.cards() {
        let trace = book.trace(mac).expect("it was listed");
        assert!(trace.len() <= STEPS, "{} steps", trace.len());
        assert!(trace.attempts().all(|attempt| !attempt.steps.is_empty()), "an attempt of nothing");
        let facts = Facts { twin: facts.twin.or(book.twin(mac)), ..facts.clone() };
        for now in [now, Time(0), Time(u64::MAX)] {
            let findings = diagnose(&trace, &facts, now);
            assert!(findings.len() <= MOST_FINDINGS);
            for finding in findings {
                for text in [&finding.what, &finding.why, &finding.fix] {
                    printable(text);
                    assert!(
                        !text.is_empty() && text.len() <= 1000,
                        "{}: {} octets",
                        finding.rule,
                        text.len()
                    );
                }
            }
        }
        for step in trace.attempts().flat_map(|attempt| &attempt.steps) {
            printable(&step.what.arrived());
            printable(&step.what.answered());
        }
    }
}

fn printable(text: &str) {
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
}

fn facts(input: &mut Input<'_>) -> Facts {
    let flags = input.byte();
    let some = |bit: u8| flags & bit != 0;
    Facts {
        node: some(1).then(|| "n1".to_owned()),
        state: some(2).then(|| "discovered".to_owned()),
        memory_mib: some(4).then(|| u64::from(input.byte()) * 16),
        heard: some(8).then(|| Time(input.u64())),
        deaf: if some(16) { vec!["tftp: no interface".to_owned()] } else { Vec::new() },
        twin: some(32)
            .then(|| (Mac::new([2, 0, 0, 0, 0, 9]).ok(), Stage::Script))
            .and_then(|(mac, stage)| Some((mac?, stage))),
    }
}

fn plain(input: &mut Input<'_>) -> Plain {
    match input.byte() {
        0 => Plain::new(&input.text()),
        n => NAMES.get(usize::from(n) % NAMES.len()).copied().unwrap_or_default().into(),
    }
}

fn address(input: &mut Input<'_>) -> Option<Ipv4Addr> {
    let last = input.byte();
    (last & 1 == 1).then(|| Ipv4Addr::new(10, 77, 0, last >> 4))
}

fn what(input: &mut Input<'_>) -> What {
    match input.byte() % 10 {
        0..=3 => What::Dhcp(Box::new(dhcp(input))),
        4..=6 => What::Fetch(Box::new(fetch(input))),
        7 => What::Router,
        8 if input.byte() & 1 == 0 => What::Hello { refused: (input.byte() & 1 == 0).then(|| plain(input)) },
        8 => What::Tls { why: plain(input) },
        _ if input.byte() & 1 == 0 => What::Link { interface: "eno2".into(), up: input.byte() & 1 == 0 },
        _ => What::Foreign {
            interface: "eno2".into(),
            server: Ipv4Addr::from(input.array::<4>()),
            rackwright: input.byte() & 1 == 0,
        },
    }
}

fn dhcp(input: &mut Input<'_>) -> Dhcp {
    let messages = [Message::Discover, Message::Request, Message::Decline, Message::Release, Message::Inform];
    let causes = [
        Silence::Off,
        Silence::StoodBack,
        Silence::Stranger,
        Silence::Arch,
        Silence::NoArch,
        Silence::OtherServer,
        Silence::PoolExhausted,
        Silence::Relay,
        Silence::Subnet,
        Silence::InUse,
        Silence::Elsewhere,
        Silence::Other,
    ];
    let flags = input.byte();
    let answer = match input.byte() % 6 {
        0 | 1 => Answer::Offer { address: address(input), boot: (flags & 1 == 0).then(|| plain(input)) },
        2 | 3 => {
            Answer::Ack { address: address(input), boot: Some(format!("http://{}", plain(input)).into()) }
        }
        4 => Answer::Nak,
        _ => Answer::Silence { cause: input.one_of(&causes, Silence::Other), why: plain(input) },
    };
    Dhcp {
        message: input.one_of(&messages, Message::Discover),
        port: if flags & 2 == 0 { 67 } else { 4011 },
        interface: if flags & 4 == 0 { "eno2" } else { "eno3" }.into(),
        xid: u32::from(input.byte()),
        secs: u16::from(input.byte()),
        class: input.one_of(&[Class::Pxe, Class::Http, Class::Other, Class::Absent], Class::Pxe),
        vendor: None,
        ipxe: (flags & 8 == 0).then(|| plain(input)),
        arch: (flags & 16 == 0).then(|| u16::from(input.byte())),
        uuid: (flags & 32 == 0).then(|| plain(input)),
        relay: address(input),
        requested: address(input),
        uses: address(input),
        server: address(input),
        answer,
    }
}

fn fetch(input: &mut Input<'_>) -> Fetch {
    let end = match input.byte() % 12 {
        0 => End::Begun,
        1..=3 => End::Whole { bytes: input.u64() },
        4 => End::Part { bytes: 7 },
        5 => End::Told,
        6 => End::BrokenOff { said: plain(input) },
        7 => End::Stopped { sent: (input.byte() & 1 == 0).then(|| input.u64()), why: plain(input) },
        8 => End::Optional,
        9 => End::NotFound,
        10 => End::Missing { why: plain(input) },
        _ if input.byte() & 1 == 0 => End::Busy,
        _ => End::Refused { why: plain(input) },
    };
    let flags = input.byte();
    let name = plain(input);
    let told = [Some(Task::Agent), Some(Task::LocalDisk), Some(Task::Hold), None];
    let by = input.one_of(&[By::Firmware, By::Grub, By::Ipxe, By::Agent, By::Other], By::Other);
    let asked = if flags & 1 == 0 { Fetch::tftp(name, end) } else { Fetch::http(name, by, end) };
    Fetch {
        head: flags & 2 == 0,
        block: (flags & 4 == 0).then_some(1468),
        window: (flags & 8 == 0).then_some(4),
        size: flags & 16 == 0,
        told: input.one_of(&told, None),
        ..asked
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let noise = |from: u8, by: u8, length: usize| {
        let mut byte = from;
        std::iter::repeat_with(move || {
            byte = byte.wrapping_mul(by).wrapping_add(from | 1);
            byte
        })
        .take(length)
        .collect::<Vec<u8>>()
    };
    vec![
        noise(3, 5, 600),
        noise(17, 13, 2400),
        noise(90, 29, 9000),
        [noise(200, 21, 40), vec![0; 200]].concat(),
    ]
}
