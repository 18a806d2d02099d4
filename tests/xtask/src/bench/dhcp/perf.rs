//! `perfdhcp`: every exchange is a new client's, and the rate is looked for at which less than 1 % are lost.

use std::error::Error;

use super::lab::{Lab, Running, SERVER_ADDRESS, Server};
use super::ready;
use crate::bench::wire::CLIENTS;
use crate::say;
use crate::tool::Tool;

/// How long each rate is held, in seconds.
const SECONDS: u32 = 4;
/// Client addresses it draws from: nearly every exchange is the first of its client.
const FRESH: &str = "5000000";
/// The share of exchanges that may be lost.
const LOSS: f64 = 0.01;

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    /// Exchanges of four packets each second that were completed.
    pub(super) rate: f64,
    /// The share of those begun that were not.
    pub(super) lost: f64,
    /// The mean time from a REQUEST to its ACK, in milliseconds.
    pub(super) ack_ms: Option<f64>,
}

/// The best rate of a server, each tried on one that knows nothing yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Best {
    pub(super) rate: f64,
    /// The most memory it had at any rate, in MiB, and the leases it had given then.
    pub(super) peak: Option<(f64, f64)>,
}

/// Doubles from `from` until it is too much, then halves the distance, `steps` runs in all. A rate is too much when it
/// was twice: machines have other things to do as well.
pub(super) fn search(lab: &Lab, server: Server, from: f64, steps: u32) -> Result<Best, Box<dyn Error>> {
    let (mut low, mut high, mut rate) = (0.0, None::<f64>, from);
    let (mut best, mut again) = (Best::default(), false);
    for _ in 0..steps {
        let running = lab.start(server)?;
        ready(lab, &running)?;
        let held = hold(lab, rate)?;
        note(&mut best, &running, held);
        say::line(&format!(
            "    {}: {rate:.0}/s asked, {:.0}/s held, {:.2} % lost, ACK after {:.2} ms",
            server.name(),
            held.rate,
            held.lost * 100.0,
            held.ack_ms.unwrap_or_default()
        ));
        let passed = held.lost < LOSS;
        if passed {
            best.rate = best.rate.max(held.rate);
        }
        // Also when whoever plays the clients did not get to ask for as much.
        if (!passed || held.rate < rate * 0.9) && !again {
            again = true;
            continue;
        }
        again = false;
        if passed {
            low = rate
        } else {
            high = Some(rate)
        }
        rate = high.map_or(rate * 2.0, |high| f64::midpoint(low, high));
    }
    if best.rate == 0.0 && server != Server::Ours {
        // It was lower than the lowest that was tried: that does a peer no wrong. What we did not hold is not ours.
        best.rate = high.unwrap_or(from);
    }
    Ok(best)
}

fn note(best: &mut Best, running: &Running<'_>, held: Held) {
    if let Some(mib) = running.peak_mib()
        && best.peak.is_none_or(|(most, _)| mib > most)
    {
        best.peak = Some((mib, held.rate * f64::from(SECONDS)));
    }
}

fn hold(lab: &Lab, rate: f64) -> Result<Held, Box<dyn Error>> {
    let mut words = lab.wire.beside_clients(&["perfdhcp", "-4"]).into_iter();
    let tool = Tool::new(words.next().unwrap_or_default()).args(words);
    let tool = tool.args(["-r", &format!("{rate:.0}"), "-p", &SECONDS.to_string(), "-R", FRESH, "-W", "1"]);
    // Its exit code says that something was lost.
    let said = tool.args(["-l", CLIENTS, &SERVER_ADDRESS.to_string()]).output()?.stdout;
    parse(&said).ok_or_else(|| format!("perfdhcp said:\n{said}").into())
}

/// Reads what perfdhcp 2.2 and later print.
fn parse(said: &str) -> Option<Held> {
    let rate =
        said.lines().find_map(|line| line.trim().strip_prefix("Rate: ")?.split(' ').next()?.parse().ok())?;
    let field = |section: &str, name: &str| -> Option<f64> {
        let (_, text) = said.split_once(&format!("***Statistics for: {section}***"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.trim_start_matches(':').trim().split(' ').next()?.parse().ok()
    };
    let begun = field("DISCOVER-OFFER", "sent packets")?;
    let done = field("REQUEST-ACK", "received packets")?;
    let lost = if begun > 0.0 { 1.0 - done / begun } else { 1.0 };
    Some(Held { rate, lost, ack_ms: field("REQUEST-ACK", "avg delay") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perfdhcp_prints_is_read() {
        let said = "Running: perfdhcp -4\n***Rate statistics***\n\
            Rate: 3392.18 4-way exchanges/second, expected rate: 4000\n\n\
            ***Statistics for: DISCOVER-OFFER***\nsent packets: 20000\nreceived packets: 17538\ndrops: 2462\n\
            drops ratio: 12.3 %\n\nmin delay: 0.1 ms\navg delay: 9.372 ms\n\n\
            ***Statistics for: REQUEST-ACK***\nsent packets: 17538\nreceived packets: 15000\ndrops: 2538\n\
            min delay: 0.1 ms\navg delay: 8.642 ms\n";
        let held = parse(said).unwrap();
        assert_eq!((held.rate, held.ack_ms), (3392.18, Some(8.642)));
        assert!((held.lost - 0.25).abs() < 1e-9, "{held:?}");
        let nothing =
            said.replace("17538", "0").replace("15000", "0").replace("avg delay: 8.642 ms", "avg delay: n/a");
        assert_eq!(parse(&nothing).unwrap().lost, 1.0);
        assert_eq!(parse(&nothing).unwrap().ack_ms, None);
        assert_eq!(parse("perfdhcp: not found"), None);
    }
}
