//! Members on one machine, each at a loopback address of its own.

use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use protocol::{Aim, Endpoint, Heed, NetworkStep, PROBE_PORT, Peer, Probe, ProbeKind, ReportKey, Stream};

use super::{LINKS, Party, Summons};

const KEY: ReportKey = ReportKey([9; 32]);

fn address(member: u16) -> Ipv4Addr {
    Ipv4Addr::new(127, 84, 47, 1 + u8::try_from(member).unwrap())
}

/// Opens a member's posts, and nothing else.
fn step(me: u16, number: u32) -> NetworkStep {
    let peers = (0..2).filter(|number| *number != me);
    NetworkStep {
        check: 7,
        number,
        key: KEY,
        me,
        over: false,
        endpoints: vec![Endpoint { network: 0, address: address(me) }],
        peers: peers.map(|number| Peer { number, network: 0, address: address(number) }).collect(),
        targets: Vec::new(),
        claims: Vec::new(),
        send: None,
        hear: None,
    }
}

/// One test, because they share the port.
#[test]
fn members_answer_members_and_nobody_else() {
    let (mut one, mut two) = (Party::default(), Party::default());
    assert_eq!(one.carry_out(&step(0, 1)).error, None);
    assert_eq!(two.carry_out(&step(1, 1)).error, None);
    let aim = Aim { to: 1, network: 0, address: address(1), sizes: vec![576, 1500, 9000] };
    let done = one.carry_out(&NetworkStep { targets: vec![aim], ..step(0, 2) });
    assert_eq!((done.answered[0].packets, done.answered[0].largest), (4, 9000));
    assert!(done.answered[0].rtt_us < 400_000, "{done:?}");
    let heard = two.carry_out(&step(1, 2)).heard;
    assert_eq!((heard[0].from, heard[0].packets, heard[0].largest), (0, 4, 9000));
    strangers(&mut two);
    let sends = NetworkStep {
        send: Some(Stream { to: 1, network: 0, address: address(1), milliseconds: 200 }),
        ..step(0, 3)
    };
    let hears = NetworkStep { hear: Some(Heed { from: 0, network: 0, milliseconds: 200 }), ..step(1, 3) };
    let sending = std::thread::spawn(move || (one.carry_out(&sends), one));
    let streamed = two.carry_out(&hears).stream.unwrap();
    let (sent, mut one) = sending.join().unwrap();
    assert_eq!(sent.error, None);
    assert!(streamed.bytes > 1 << 20 && (150_000..2_000_000).contains(&streamed.micros), "{streamed:?}");
    // The same transfer again, as one who has recorded it would have it.
    let again = NetworkStep {
        send: Some(Stream { to: 1, network: 0, address: address(1), milliseconds: 200 }),
        ..step(0, 3)
    };
    assert!(one.carry_out(&again).error.is_some());
    one.carry_out(&NetworkStep { over: true, ..step(0, 4) });
    UdpSocket::bind((address(0), PROBE_PORT)).expect("nothing answers any more");
}

/// Packets that are not of a member, from a member's address or not: none is answered, and none counts.
fn strangers(two: &mut Party) {
    let probe =
        Probe { kind: ProbeKind::Question, size: 200, check: 7, from: 0, to: 1, network: 0, number: 0 };
    let place = (address(1), PROBE_PORT);
    let stranger = UdpSocket::bind((Ipv4Addr::new(127, 84, 47, 99), 0)).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = [0; 64];
    for packet in [
        probe.question(&KEY),
        probe.question(&ReportKey([1; 32])),
        Probe { check: 8, ..probe }.question(&KEY),
        Probe { to: 0, ..probe }.question(&KEY),
        Probe { network: 1, ..probe }.question(&KEY),
        Vec::new(),
    ] {
        stranger.send_to(&packet, place).unwrap();
        assert!(stranger.recv(&mut answer).is_err());
    }
    let mut peeled = TcpStream::connect(place).unwrap();
    peeled.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(matches!(std::io::Read::read(&mut peeled, &mut answer), Ok(0) | Err(_)), "closed at once");
    assert_eq!(two.carry_out(&step(1, 2)).heard[0].packets, 4, "nothing of that was counted");
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_comes_when_it_is_called_or_after_some_minutes() {
    let (summons, begun) = (Summons::default(), tokio::time::Instant::now());
    summons.rest().await;
    assert_eq!((begun.elapsed(), summons.is_attending()), (LINKS, false));
    let begun = tokio::time::Instant::now();
    let calls = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        summons.come();
    };
    tokio::join!(summons.rest(), calls);
    assert_eq!((begun.elapsed(), summons.is_attending()), (Duration::from_secs(7), true));
}
