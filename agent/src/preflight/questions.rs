//! Asking others whether packets of all sizes arrive: all at once, and what is not answered once more, and once more.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use protocol::{Aim, Answered, PROBE_PORT, Probe, ProbeKind, SMALLEST};

use super::post::Posts;

const ATTEMPTS: u16 = 3;
/// How long answers are waited for after the last question.
const ANSWERS: Duration = Duration::from_millis(400);
/// Between two packets: a hundred nodes that ask each other send no more than a fast link takes.
const APART: Duration = Duration::from_micros(200);

/// To whom, in which network, how large.
type Question = (u16, u16, u16);

/// Asks all targets; what each has answered.
pub(super) fn ask(posts: &Posts, targets: &[Aim]) -> Vec<Answered> {
    if targets.is_empty() {
        return Vec::new();
    }
    // What came late is of nobody here.
    drop(posts.shared.came());
    let mut answered = targets
        .iter()
        .map(|aim| {
            (
                (aim.to, aim.network),
                Answered { to: aim.to, network: aim.network, packets: 0, largest: 0, rtt_us: u32::MAX },
            )
        })
        .collect::<BTreeMap<_, _>>();
    let mut open = targets.iter().flat_map(questions).collect::<BTreeMap<Question, SocketAddrV4>>();
    for attempt in 0..ATTEMPTS {
        let sent = send(posts, &open, attempt);
        std::thread::sleep(ANSWERS);
        for came in posts.shared.came() {
            let question = (came.probe.from, came.probe.network, came.probe.size);
            let Some(row) = answered.get_mut(&(came.probe.from, came.probe.network)) else { continue };
            if open.remove(&question).is_none() {
                continue;
            }
            row.packets += 1;
            row.largest = row.largest.max(came.probe.size);
            let took = sent.get(&question).filter(|_| came.probe.number == attempt);
            if let Some(took) = took.map(|sent| came.at.saturating_duration_since(*sent)) {
                row.rtt_us = row.rtt_us.min(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
        }
        if open.is_empty() {
            break;
        }
    }
    answered.into_values().collect()
}

fn questions(aim: &Aim) -> impl Iterator<Item = (Question, SocketAddrV4)> + use<'_> {
    let sizes = aim.sizes.iter().copied().filter(|size| *size > SMALLEST);
    let place = SocketAddrV4::new(aim.address, PROBE_PORT);
    std::iter::once(SMALLEST).chain(sizes).map(move |size| ((aim.to, aim.network, size), place))
}

/// Sends all that is open, beginning with whoever comes after us: not everybody asks the first one first.
fn send(posts: &Posts, open: &BTreeMap<Question, SocketAddrV4>, attempt: u16) -> BTreeMap<Question, Instant> {
    let shared = &posts.shared;
    let mut sent = BTreeMap::new();
    let after = open.range((shared.me, 0, 0)..).chain(open.range(..(shared.me, 0, 0)));
    for (question, place) in after {
        let (to, network, size) = *question;
        let Some(socket) = posts.sockets.get(&network) else { continue };
        let (check, from) = (shared.check, shared.me);
        let probe = Probe { kind: ProbeKind::Question, size, check, from, to, network, number: attempt };
        sent.insert(*question, Instant::now());
        // One that is too large for our own link, or has no way, is a lost one.
        drop(socket.send_to(&probe.question(&shared.key), place));
        std::thread::sleep(APART);
    }
    sent
}
